//! One machine: its clock, its disk, and the node process while one runs.

use crate::clocks::Clock;
use crate::disk::NodeDisk;
use data::{Incarnation, NodeId, Process};
use node::{ConnectionId, Input, Node};
use std::collections::BTreeMap;
use storage::SimDisk;

/// What a paused process will find when it goes on.
pub enum Pending {
    Input(Box<Input>),
    Request(ConnectionId, Vec<Vec<u8>>),
}

/// What was done to a disk behind the back of its node, since its log was last read whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Harm {
    /// Bits of what was written have changed.
    Flipped,
    /// A write was reported done and is not there.
    Missing,
    /// All of it is from an old backup, and the other nodes know better.
    Restored,
}

/// A copy of a disk, and what it held at most.
pub struct Backup {
    pub medium: SimDisk,
    pub process: Process,
    pub batches: u64,
    /// Of the control group that it knew.
    pub voters: usize,
}

pub struct Host {
    pub id: NodeId,
    /// The machine that it lives on, and its addresses: a machine whose disk was wiped comes back as another node.
    pub machine: u32,
    /// Took part in the founding.
    pub founder: bool,
    pub node: Option<Node>,
    pub disk: NodeDisk,
    pub clock: Clock,
    pub process: Process,
    /// Processes that ran on this machine: what each draws at its start differs, whatever its disk says.
    pub runs: u64,
    /// The newest message version of its program.
    pub version: u8,
    pub incarnation: Incarnation,
    /// Paused until somebody wakes it; a turn may have been interrupted before its end.
    pub paused: bool,
    /// The next request is the last thing before a pause of this length.
    pub pause_in_turn: Option<u64>,
    pub inbox: Vec<Pending>,
    /// Commands behind one that has to wait, by connection.
    pub behind: BTreeMap<ConnectionId, Vec<Vec<Vec<u8>>>>,
    /// Extra time of every disk job, ns.
    pub disk_slow: u64,
    /// Not to be started again before the end of the fault that stopped it.
    pub held_down: bool,
    /// Its disk was found damaged, or could not be read: it stays away.
    pub lost: bool,
    pub harm: Option<Harm>,
    pub backup: Option<Backup>,
}

impl Host {
    pub fn new(id: NodeId, machine: u32, founder: bool, clock: Clock) -> Host {
        Host {
            id,
            machine,
            founder,
            node: None,
            disk: NodeDisk::new(),
            clock,
            process: Process(0),
            runs: 0,
            version: node::message::VERSION_MAX,
            incarnation: Incarnation(1),
            paused: false,
            pause_in_turn: None,
            inbox: Vec::new(),
            behind: BTreeMap::new(),
            disk_slow: 0,
            held_down: false,
            lost: false,
            harm: None,
            backup: None,
        }
    }
    pub fn is_running(&self) -> bool {
        self.node.is_some()
    }
}
