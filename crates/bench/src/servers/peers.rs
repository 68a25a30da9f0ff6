//! Redis, Valkey and etcd.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Running, ask, info_field, wait_for};
use crate::process::{Server, TempFolder, free_addresses};

const START_TIMEOUT: Duration = Duration::from_secs(15);

/// One server without a log and without snapshots.
pub fn redis_alone(program: &Path) -> io::Result<Running> {
    let folder = TempFolder::new("redis-alone")?;
    let address = free_addresses(1)?[0];
    let server = start_redis(program, address, &folder.path, &["--appendonly", "no"])?;
    Ok(Running { servers: vec![server], address, folder })
}

/// A leader and two replicas, each flushing its log with every write; clients add `WAIT 1`.
pub fn redis_replicated(program: &Path) -> io::Result<Running> {
    let folder = TempFolder::new("redis-replicated")?;
    let addresses = free_addresses(3)?;
    let leader = addresses[0];
    let mut servers = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let home = folder.path.join(format!("r{number}"));
        std::fs::create_dir(&home)?;
        let settings = ["--appendonly", "yes", "--appendfsync", "always"];
        servers.push(start_redis(program, *address, &home, &settings)?);
        if number > 0 {
            ask(*address, &["REPLICAOF", "127.0.0.1", &leader.port().to_string()]);
        }
    }
    wait_for("two Redis replicas", START_TIMEOUT, || {
        let online = (0..2).filter(|n| {
            info_field(leader, "replication", &format!("slave{n}"))
                .is_some_and(|line| line.contains("state=online"))
        });
        (online.count() == 2).then_some(())
    })?;
    Ok(Running { servers, address: leader, folder })
}

fn start_redis(program: &Path, address: SocketAddr, home: &Path, settings: &[&str]) -> io::Result<Server> {
    let mut command = Command::new(program);
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.arg("--dir").arg(home).args(settings);
    let mut server = Server::start(command, &home.join("output"))?;
    server.wait_until_listening(address, START_TIMEOUT)?;
    Ok(server)
}

/// Three members with their default settings: every write is flushed by a majority.
pub fn etcd_replicated(program: &Path) -> io::Result<Running> {
    let folder = TempFolder::new("etcd")?;
    let addresses = free_addresses(6)?;
    let (clients, peers) = addresses.split_at(3);
    let cluster: Vec<String> =
        peers.iter().enumerate().map(|(number, peer)| format!("e{number}=http://{peer}")).collect();
    let mut servers = Vec::new();
    for (number, (client, peer)) in clients.iter().zip(peers).enumerate() {
        let home = folder.path.join(format!("e{number}"));
        let mut command = Command::new(program);
        command.args(["--name", &format!("e{number}"), "--initial-cluster", &cluster.join(",")]);
        command.args(["--initial-cluster-state", "new", "--logger", "zap", "--log-level", "error"]);
        for (option, address) in [
            ("--listen-client-urls", client),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer),
            ("--initial-advertise-peer-urls", peer),
        ] {
            command.args([option, &format!("http://{address}")]);
        }
        command.arg("--data-dir").arg(&home);
        servers.push(Server::start(command, &folder.path.join(format!("e{number}.output")))?);
    }
    let leader = wait_for("an etcd leader", START_TIMEOUT, || {
        clients.iter().copied().find(|client| is_etcd_leader(*client))
    })?;
    Ok(Running { servers, address: leader, folder })
}

/// Whether a member names itself the leader. Asked through the JSON gateway: this happens once.
fn is_etcd_leader(address: SocketAddr) -> bool {
    let Ok(text) = post(address, "/v3/maintenance/status", "{}") else { return false };
    let id = json_text_field(&text, "member_id");
    id.is_some() && id == json_text_field(&text, "leader")
}

fn post(address: SocketAddr, path: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let head = format!("POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn json_text_field<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("\"{field}\":\""))?;
    rest.split('"').next()
}
