//! What happened: changes that the map remembers, and what a plane reports beside them.

use data::codec::{DecodeError, Reader, Writer};
use data::keyspace::CommitRule;
use data::view::Leader;
use data::{Epoch, GroupId, Incarnation, KeyspaceId, NodeId, Process};

/// A change that the map's bounded history keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Founded,
    NodeAdded(NodeId),
    NodeStarted {
        node: NodeId,
        process: Process,
        incarnation: Incarnation,
    },
    NodeLeaving(NodeId),
    NodeGone(NodeId),
    KeyspaceCreated(KeyspaceId),
    KeyspaceAltered(KeyspaceId),
    KeyspaceDropped(KeyspaceId),
    GroupCreated {
        group: GroupId,
        keyspace: KeyspaceId,
    },
    ElectionStarted {
        group: GroupId,
        epoch: Epoch,
    },
    /// `loss_possible`: too few proved to hold everything; acknowledged writes may be gone.
    Elected {
        group: GroupId,
        epoch: Epoch,
        leader: Leader,
        loss_possible: bool,
    },
    ElectableChanged {
        group: GroupId,
        size: u32,
    },
    /// `degraded`: fewer followers are enough than the settings ask for.
    RuleChanged {
        group: GroupId,
        rule: CommitRule,
        degraded: bool,
    },
    MembersChanged {
        group: GroupId,
        size: u32,
    },
    LevelRaised(u32),
    GroupDropped {
        group: GroupId,
        keyspace: KeyspaceId,
    },
    MoveBegun {
        from: GroupId,
        to: GroupId,
    },
    /// Slots have another owner.
    SlotsMoved {
        from: GroupId,
        to: GroupId,
    },
}

/// What metrics, logs and tests are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The map changed, in its version `version`.
    Recorded {
        version: u64,
        change: Change,
    },
    /// Another control leader, or none, is known to this node.
    ControlLeader {
        leader: Option<NodeId>,
        term: u64,
    },
    /// The control leader no longer hears this node, or hears it again.
    Suspected(NodeId),
    Heard(NodeId),
    SwitchoverStarted {
        group: GroupId,
        target: NodeId,
    },
    SwitchoverCalledOff {
        group: GroupId,
    },
    /// The control group has these voters now.
    Voters(u32),
    /// An unusable message was dropped: why.
    Dropped(&'static str),
}

impl Change {
    pub fn encode(self, w: &mut Writer<'_>) {
        match self {
            Change::Founded => w.u8(1),
            Change::NodeAdded(node) => {
                w.u8(2);
                node.encode(w);
            }
            Change::NodeStarted { node, process, incarnation } => {
                w.u8(3);
                node.encode(w);
                process.encode(w);
                incarnation.encode(w);
            }
            Change::NodeLeaving(node) => {
                w.u8(4);
                node.encode(w);
            }
            Change::NodeGone(node) => {
                w.u8(5);
                node.encode(w);
            }
            Change::KeyspaceCreated(keyspace) => {
                w.u8(6);
                keyspace.encode(w);
            }
            Change::KeyspaceAltered(keyspace) => {
                w.u8(7);
                keyspace.encode(w);
            }
            Change::KeyspaceDropped(keyspace) => {
                w.u8(8);
                keyspace.encode(w);
            }
            Change::GroupCreated { group, keyspace } => {
                w.u8(9);
                group.encode(w);
                keyspace.encode(w);
            }
            Change::ElectionStarted { group, epoch } => {
                w.u8(10);
                group.encode(w);
                epoch.encode(w);
            }
            Change::Elected { group, epoch, leader, loss_possible } => {
                w.u8(11);
                group.encode(w);
                epoch.encode(w);
                leader.encode(w);
                w.bool(loss_possible);
            }
            Change::ElectableChanged { group, size } => {
                w.u8(12);
                group.encode(w);
                w.u32(size);
            }
            Change::RuleChanged { group, rule, degraded } => {
                w.u8(15);
                group.encode(w);
                rule.encode(w);
                w.bool(degraded);
            }
            Change::MembersChanged { group, size } => {
                w.u8(13);
                group.encode(w);
                w.u32(size);
            }
            Change::LevelRaised(level) => {
                w.u8(14);
                w.u32(level);
            }
            Change::GroupDropped { group, keyspace } => {
                w.u8(20);
                group.encode(w);
                keyspace.encode(w);
            }
            Change::MoveBegun { from, to } => {
                w.u8(21);
                from.encode(w);
                to.encode(w);
            }
            Change::SlotsMoved { from, to } => {
                w.u8(22);
                from.encode(w);
                to.encode(w);
            }
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Change, DecodeError> {
        Ok(match r.u8()? {
            1 => Change::Founded,
            2 => Change::NodeAdded(NodeId::decode(r)?),
            3 => Change::NodeStarted {
                node: NodeId::decode(r)?,
                process: Process::decode(r)?,
                incarnation: Incarnation::decode(r)?,
            },
            4 => Change::NodeLeaving(NodeId::decode(r)?),
            5 => Change::NodeGone(NodeId::decode(r)?),
            6 => Change::KeyspaceCreated(KeyspaceId::decode(r)?),
            7 => Change::KeyspaceAltered(KeyspaceId::decode(r)?),
            8 => Change::KeyspaceDropped(KeyspaceId::decode(r)?),
            9 => Change::GroupCreated { group: GroupId::decode(r)?, keyspace: KeyspaceId::decode(r)? },
            10 => Change::ElectionStarted { group: GroupId::decode(r)?, epoch: Epoch::decode(r)? },
            11 => Change::Elected {
                group: GroupId::decode(r)?,
                epoch: Epoch::decode(r)?,
                leader: Leader::decode(r)?,
                loss_possible: r.bool()?,
            },
            12 => Change::ElectableChanged { group: GroupId::decode(r)?, size: r.u32()? },
            13 => Change::MembersChanged { group: GroupId::decode(r)?, size: r.u32()? },
            14 => Change::LevelRaised(r.u32()?),
            20 => Change::GroupDropped { group: GroupId::decode(r)?, keyspace: KeyspaceId::decode(r)? },
            21 => Change::MoveBegun { from: GroupId::decode(r)?, to: GroupId::decode(r)? },
            22 => Change::SlotsMoved { from: GroupId::decode(r)?, to: GroupId::decode(r)? },
            15 => Change::RuleChanged {
                group: GroupId::decode(r)?,
                rule: CommitRule::decode(r)?,
                degraded: r.bool()?,
            },
            _ => return Err(DecodeError::Invalid("change")),
        })
    }
}
