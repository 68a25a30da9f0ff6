//! One node's part in the control plane.

use crate::command::{Applied, Command, Refusal};
use crate::config::Config;
use crate::event::Event;
use crate::map::ClusterMap;
use crate::message::{Message, Sealed};
use data::{Epoch, GroupId, Instant, NodeId, ViewNumber};
use std::sync::Arc;

/// What a plane is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Called about every 10 ms; what is due follows from `now`.
    Tick,
    Message {
        from: NodeId,
        message: Message,
    },
    /// The records of [`Output::Persist`] up to this token are durable.
    Persisted {
        token: u64,
    },
    /// Change the map; answered by [`Output::Answer`] with the same ticket, always.
    Propose {
        ticket: u64,
        command: Command,
    },
    /// Move a group's leadership without loss; `target`: whither, `None` leaves the choice. Answered like a proposal.
    Switchover {
        ticket: u64,
        group: GroupId,
        target: Option<NodeId>,
    },
    PeerUp {
        node: NodeId,
    },
    /// The connection was reset: suspicion starts at once.
    PeerDown {
        node: NodeId,
    },
    /// The local replica answers a seal.
    Sealed(Sealed),
    /// The local leader has paused and every electable follower holds its log's end.
    SwitchoverReady {
        group: GroupId,
        target: NodeId,
    },
}

/// What a plane wants done. In any order, but `Persist` outputs keep theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    Send {
        to: NodeId,
        message: Message,
    },
    /// Make these payloads durable, in order, and say [`Input::Persisted`]. `replaces`: the first of them holds everything
    /// that all earlier ones said; those may be dropped once it is durable.
    Persist {
        token: u64,
        replaces: bool,
        records: Vec<Vec<u8>>,
    },
    /// The newest map that this node knows.
    MapChanged(Arc<ClusterMap>),
    /// For the local replica. `released`: the deposed leader no longer serves, so leases granted to it bind nobody.
    Seal {
        group: GroupId,
        epoch: Epoch,
        election: ViewNumber,
        released: bool,
    },
    /// For the local leader: pause, let the followers catch up, then say [`Input::SwitchoverReady`].
    PrepareSwitchover {
        group: GroupId,
        target: NodeId,
    },
    /// For the local leader: carry on.
    CallOffSwitchover {
        group: GroupId,
    },
    Answer {
        ticket: u64,
        result: Result<Applied, Refusal>,
    },
    /// Until then no other leader is elected for a group that the newest map says this process leads.
    ControlLease {
        until: Instant,
    },
    Report(Event),
}

/// What a node finds on its disk.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// A map from elsewhere: of the answer to a request to join.
    pub map: Option<Arc<ClusterMap>>,
    /// The payloads of [`Output::Persist`] in the order they were written; those before the last one that replaces all
    /// others may be missing.
    pub records: Vec<Vec<u8>>,
}

/// One node's control plane.
pub struct Plane {
    config: Config,
    map: Arc<ClusterMap>,
}

impl Plane {
    pub fn new(config: Config, recovered: Recovered, _now: Instant) -> Plane {
        Plane { config, map: recovered.map.unwrap_or_default() }
    }
    /// The newest map that this node knows.
    pub fn map(&self) -> &Arc<ClusterMap> {
        &self.map
    }
    /// The control leader, as far as this node knows.
    pub fn control_leader(&self) -> Option<NodeId> {
        None
    }
    pub fn step(&mut self, _now: Instant, _input: Input, _out: &mut Vec<Output>) {
        let _ = &self.config;
    }
}
