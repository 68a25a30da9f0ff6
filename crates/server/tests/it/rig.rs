//! Nodes to test with: started, stopped and started again in this process.

use crate::client::Client;
use server::tryout::Tryout;
use server::{Handle, Settings, StartError, Status};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A loopback address nobody listens on. Below the range from which the system gives ports to connections, so that no
/// connection of another test takes it meanwhile.
pub fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = std::process::id().wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let address = format!("127.0.0.1:{}", 20_000 + offset % 12_000);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// A directory that goes with the test.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tercet-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory can be made");
        Directory(path)
    }
}
impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn settings(name: &str) -> Settings {
    let peer = free_address();
    Settings {
        name: name.into(),
        data: None,
        resp: free_address(),
        peer: peer.clone(),
        http: free_address(),
        site: String::new(),
        founders: vec![peer],
        join: Vec::new(),
        shards: 1,
        password: None,
        secret: String::new(),
        connections_max: 1000,
        snapshot_log_bytes: 256 << 20,
        transfer_rate: 32 << 20,
        site_rate: None,
        message_version: node::message::VERSION_MAX,
    }
}

pub struct TestNode {
    pub settings: Settings,
    handle: Handle,
    thread: Option<JoinHandle<Result<(), StartError>>>,
}

impl TestNode {
    pub fn start(settings: Settings) -> TestNode {
        TestNode::start_with(settings, None)
    }

    /// One that can be paused, killed, cut off.
    pub fn start_with(settings: Settings, tryout: Option<Tryout>) -> TestNode {
        let handle = Handle { tryout, ..Handle::new(Arc::new(AtomicBool::new(false))) };
        let (given, told) = (settings.clone(), handle.clone());
        let thread = std::thread::spawn(move || server::run(given, told));
        TestNode { settings, handle, thread: Some(thread) }
    }

    pub fn status(&self) -> Arc<Mutex<Status>> {
        Arc::clone(&self.handle.status)
    }
    pub fn client(&self) -> Client {
        Client::connect(&self.settings.resp)
    }

    /// Tells it to stop and says how it ended.
    pub fn stop(mut self) -> Result<(), StartError> {
        self.handle.stop.store(true, Ordering::Relaxed);
        self.outcome()
    }
    /// Waits until it ends by itself.
    pub fn outcome(&mut self) -> Result<(), StartError> {
        let thread = self.thread.take().expect("a node ends once");
        let deadline = Instant::now() + PATIENCE;
        while !thread.is_finished() {
            assert!(Instant::now() < deadline, "the node does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        thread.join().expect("the node does not panic")
    }
}
impl Drop for TestNode {
    fn drop(&mut self) {
        self.handle.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until `happens` gives something.
pub fn eventually<T>(what: &str, mut happens: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(it) = happens() {
            return it;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the node serves writes.
pub fn serving(node: &TestNode) {
    eventually("the node serves", || {
        std::net::TcpStream::connect(&node.settings.resp).ok()?;
        let mut client = node.client();
        if let Some(password) = &node.settings.password {
            client.call(&["AUTH", password]);
        }
        client.call(&["DEL", "rig:ready"]).as_integer()
    });
}

/// One node that keeps nothing, ready.
pub fn single(change: impl FnOnce(&mut Settings)) -> TestNode {
    let mut settings = settings("n1");
    change(&mut settings);
    let node = TestNode::start(settings);
    serving(&node);
    node
}

/// Settings of founders of one cluster, with a directory each.
pub fn founders(count: usize, directory: &Directory) -> Vec<Settings> {
    let mut all: Vec<Settings> = (1..=count).map(|n| settings(&format!("n{n}"))).collect();
    let peers: Vec<String> = all.iter().map(|node| node.peer.clone()).collect();
    for node in &mut all {
        node.founders = peers.clone();
        node.data = Some(directory.0.join(&node.name));
    }
    all
}

/// The number behind a field of KEYSPACE STATUS, the first of its name.
fn status_number(node: &TestNode, field: &str) -> Option<u64> {
    let status = node.client().call(&["KEYSPACE", "STATUS"]).as_text()?;
    let (_, rest) = status.split_once(&format!("\"{field}\":"))?;
    rest.split([',', '}']).next()?.parse().ok()
}
/// Who leads the first group, as this node knows it.
pub fn leader_of(node: &TestNode) -> Option<u64> {
    status_number(node, "leader")
}
/// The node's own number in its cluster.
pub fn id_of(node: &TestNode) -> u64 {
    status_number(node, "asked").expect("a node that serves knows its number")
}
/// The node that leads the first group.
pub fn leading(nodes: &[TestNode]) -> &TestNode {
    eventually("one of them leads", || nodes.iter().find(|node| leader_of(node) == Some(id_of(node))))
}
