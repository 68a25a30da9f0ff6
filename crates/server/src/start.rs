//! How a node starts: directory, identity, membership, recovery, then its core.

use crate::clock;
use crate::core::{Core, CoreParts, Status};
use crate::descriptors::clients_served;
use crate::founding::{self, Membership, addresses, become_member};
use crate::log_writer::LogWriter;
use crate::settings::{Settings, StartError};
use crate::tryout::Tryout;
use data::{Incarnation, Process};
use mio::{Poll, Waker};
use node::{Config, Restored};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use storage::disk::read_all;
use storage::identity::{Identity, lock};
use storage::real::boot_id;
use storage::snapshot::{SnapshotReader, clean_up};
use storage::{Disk, Files, Log, LogConfig, Options, Owner, RealDisk, recover};

/// The version that INFO and HELLO tell.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A segment of the log.
const SEGMENT_BYTES: u64 = 64 << 20;
const LET_GO_LOOK: Duration = Duration::from_millis(1);

/// What the outside may do with a running node.
#[derive(Clone)]
pub struct Handle {
    pub stop: Arc<AtomicBool>,
    pub status: Arc<Mutex<Status>>,
    /// Power over the node that only a cluster to try things out has.
    pub tryout: Option<Tryout>,
}

impl Handle {
    /// A node that is told to stop, and nothing else.
    pub fn new(stop: Arc<AtomicBool>) -> Handle {
        Handle { stop, status: Arc::default(), tryout: None }
    }
    /// Whether the node has been killed, as a crash would.
    pub fn is_killed(&self) -> bool {
        self.tryout.as_ref().is_some_and(|tryout| tryout.switch.is_killed())
    }
    /// Whether a node that is still starting shall not go on.
    pub fn ends(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.is_killed()
    }
}

fn failed(error: impl std::fmt::Display) -> StartError {
    StartError::new(error.to_string())
}

/// Runs a node until it is told to stop. Blocks.
pub fn run(settings: Settings, handle: Handle) -> Result<(), StartError> {
    settings.check()?;
    let bind = |what: &str, address: &str| {
        TcpListener::bind(address)
            .map_err(|e| StartError::new(format!("cannot listen on {address} ({what}): {e}")))
    };
    let resp = bind("--resp", &settings.resp)?;
    let peer = bind("--peer", &settings.peer)?;
    let disk: Option<Arc<dyn Disk>> = match &settings.data {
        Some(path) => Some(Arc::new(RealDisk::open(path).map_err(failed)?)),
        None => None,
    };
    let _lock = disk.as_ref().map(|disk| lock(&**disk)).transpose().map_err(failed)?;
    let mut identity = match &disk {
        Some(disk) => Identity::load(&**disk).map_err(failed)?,
        None => None,
    };
    if identity.as_ref().is_some_and(|known| known.abandoned) {
        return Err(StartError::new(
            "this data directory was given up: it is older than what its node had promised. Start with an empty one and --join, and remove the old node",
        ));
    }
    let membership = match &identity {
        Some(known) => Membership {
            cluster: known.cluster,
            node: known.node,
            nonce: founding::nonce(disk.as_deref())?,
            founded: founding::remembered(disk.as_deref()),
            map: founding::remembered_map(disk.as_deref()),
        },
        None => match become_member(&settings, disk.as_deref(), &peer, &handle)? {
            Some(membership) => membership,
            None => return Ok(()),
        },
    };
    refuse_other_cluster(&settings, &membership)?;
    let own = Owner { cluster: membership.cluster, node: membership.node };
    let (mut process, mut incarnation) = (Process(clock::now().instant.0), Incarnation(1));
    let mut restored = Restored { map: membership.map.clone(), ..Restored::default() };
    let poll = Poll::new().map_err(failed)?;
    let waker = Arc::new(Waker::new(poll.registry(), crate::core::WAKER).map_err(failed)?);
    let mut log = None;
    if let Some(disk) = &disk {
        let known = identity.get_or_insert_with(|| Identity::new(own.cluster, own.node, &settings.name));
        // Keyspaces that leave flushing to the system leave this mark: after a power cut the node cannot prove what it holds.
        let flushed_only = read_all(&**disk, crate::core::UNFLUSHED).is_err();
        known.begin_run(&**disk, &boot_id(), flushed_only).map_err(failed)?;
        (process, incarnation) = (known.process, known.incarnation);
        let files = Arc::new(Files::new(Arc::clone(disk)));
        let opened = open_log(disk, &files, own, process, &mut restored)?;
        restored.log_batches = opened.durable_batch();
        log = Some(LogWriter::new(opened, files, Arc::clone(&waker)));
    }
    let control = control::Config {
        node: own.node,
        name: settings.name.clone(),
        process,
        incarnation,
        addresses: addresses(&settings),
        site: settings.site.clone(),
        founded: membership.founded.clone(),
        shards: settings.shards,
        seed: clock::random_u64(),
        timings: control::Timings::default(),
    };
    let config = Config {
        node: own.node,
        name: settings.name.clone(),
        incarnation,
        process,
        control,
        lease: protocol::lease::Timings::default(),
        password: settings.password.clone(),
        connections_max: clients_served(settings.connections_max),
        seed: clock::random_u64(),
        // Without a disk there is no log to shorten: a snapshot is taken when a follower needs one.
        snapshot_log_bytes: if disk.is_some() { settings.snapshot_log_bytes } else { usize::MAX },
        transfer_bytes_per_second: settings.transfer_rate,
        site_bytes_per_second: settings.site_rate,
        merge_engine: &merging::Lua,
        engine_format: data::log_format::ENGINE_FORMAT,
        audit: Default::default(),
        version: VERSION,
    };
    data::table::set_collection_seed(clock::random_u64(), clock::random_u64());
    let (completions, completed) = channel();
    let parts =
        CoreParts { settings, membership, disk: disk.clone(), log, poll, waker, completions, completed };
    let mut core = Core::new(parts, config, restored, resp, peer, handle)?;
    let mut outcome = core.run();
    if let Some(reason) = core.abandoned().map(str::to_owned)
        && let (Some(disk), Some(identity)) = (&disk, &mut identity)
    {
        identity.abandon(&**disk).map_err(failed)?;
        outcome = Err(StartError::new(reason));
    } else if let (Some(disk), Some(identity)) = (&disk, &mut identity) {
        match &outcome {
            // As after a crash: what the directory says of this run is that it never ended.
            Ok(()) if core.is_killed() => {}
            Ok(()) if !core.has_disk_failed() => identity.end_run(&**disk).map_err(failed)?,
            _ => identity.note_disk_failure(&**disk).map_err(failed)?,
        }
    }
    if core.is_killed() {
        drop(core);
        wait_until_let_go(disk);
    }
    outcome
}

/// The next life may begin in the same process. The directory stays locked until the last thread of this one, which ends
/// behind what it was writing when its node was killed, has let go of it.
fn wait_until_let_go(disk: Option<Arc<dyn Disk>>) {
    while disk.as_ref().is_some_and(|disk| Arc::strong_count(disk) > 1) {
        std::thread::sleep(LET_GO_LOOK);
    }
}

/// A directory that was founded with other nodes than this start names is another cluster's.
fn refuse_other_cluster(settings: &Settings, membership: &Membership) -> Result<(), StartError> {
    let Some(founded) = membership.founded.as_ref().filter(|_| !settings.founders.is_empty()) else {
        return Ok(());
    };
    let with: Vec<&str> = founded.nodes().map(|(_, address, _)| address).collect();
    let named = |address: &&str| settings.founders.iter().any(|founder| founder == address);
    if with.len() == settings.founders.len() && with.iter().all(named) {
        return Ok(());
    }
    Err(StartError::new(format!(
        "the data directory belongs to another cluster, founded by {}: give this node its own --data, or the --founders of that cluster",
        with.join(", ")
    )))
}

/// Reads snapshots and log of a directory and opens the log for more.
fn open_log(
    disk: &Arc<dyn Disk>,
    files: &Files,
    owner: Owner,
    process: Process,
    restored: &mut Restored,
) -> Result<Log, StartError> {
    let mut snapshots = Vec::new();
    for (group, position) in clean_up(&**disk).map_err(failed)? {
        let reader = SnapshotReader::open(&**disk, group, position).map_err(failed)?;
        let mut pieces = Vec::new();
        reader.payload(&mut |piece| pieces.push(piece.to_vec())).map_err(failed)?;
        let mut pieces = pieces.into_iter();
        restored.snapshot(&mut || pieces.next(), reader.len()).map_err(failed)?;
        snapshots.push((group, position.index));
    }
    let options = Options { owner };
    let mut recovered =
        recover(disk, &options, &mut |record, bytes| restored.record(record, bytes)).map_err(failed)?;
    let config = LogConfig { owner, process: process.0, segment_bytes: SEGMENT_BYTES };
    let mut log = Log::open(files, config, recovered.take_stream(0)).map_err(failed)?;
    for (group, index) in snapshots {
        log.release(group, index);
    }
    Ok(log)
}
