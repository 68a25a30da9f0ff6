//! The view of a group: who leads it, who may, and by which rule entries are committed. Made by the control plane,
//! obeyed by the replicas.

use crate::codec::{DecodeError, Reader, Writer};
use crate::keyspace::{CommitRule, Election, Settings};
use crate::{Epoch, GroupId, Incarnation, Index, KeyspaceId, NodeId, Position, Process, ViewNumber};
use alloc::vec::Vec;

/// A replica that counts: this life of this node's data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Replica {
    pub node: NodeId,
    pub incarnation: Incarnation,
}

/// A leader is one process: a restart ends its leadership.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Leader {
    pub replica: Replica,
    pub process: Process,
}

/// Invariants: `number` grows with every change of the view, `epoch` with every leader; `electable` is sorted and a
/// subset of `members` by node; while `election` is set there is no leader that may acknowledge anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    pub group: GroupId,
    pub keyspace: KeyspaceId,
    pub number: ViewNumber,
    pub epoch: Epoch,
    pub leader: Option<Leader>,
    /// Nodes that hold or shall hold a copy, sorted. Those that are not electable are learners.
    pub members: Vec<NodeId>,
    /// Nodes that hold or shall hold a copy to be read only, sorted, none of them a member or electable.
    pub read_replicas: Vec<NodeId>,
    /// Replicas whose acknowledgement counts and one of which the next leader must be, sorted.
    pub electable: Vec<Replica>,
    /// The election under way: the epoch that its winner will lead.
    pub election: Option<Epoch>,
    /// The operator has said that everybody else is gone: only this node's copy is asked, and leads, whatever it lacks.
    pub forced: Option<NodeId>,
    /// Where each epoch began: the position of its first (empty) entry; ascending, the newest last.
    pub history: Vec<Position>,
    /// The newest epoch that began with a possible loss; 0 when none ever did.
    pub last_loss: Epoch,
    /// What commits and elections count by. The keyspace's settings ask for one; its leader brings everything under another
    /// before the control plane records it here.
    pub rule: CommitRule,
    pub settings: Settings,
}

impl View {
    /// e - k: how many replicas an election has to seal.
    pub fn seals_needed(&self) -> usize {
        match self.elects_best() {
            false if self.rule.asks_nobody() => self.electable.len(),
            _ => self.rule.seals_needed(self.electable.len()),
        }
    }
    /// Nodes whose seal the election under way counts, or would.
    pub fn asked(&self) -> impl Iterator<Item = NodeId> {
        let electable = self.electable.iter().map(|replica| replica.node);
        electable.filter(|_| self.forced.is_none()).chain(self.forced)
    }
    /// Whether an election takes the best that can be reached, and may lose what was acknowledged.
    pub fn elects_best(&self) -> bool {
        self.rule.asks_nobody() && self.settings.election == Election::Best
    }
    /// Followers that must hold an entry before it is committed.
    pub fn followers_needed(&self) -> usize {
        self.rule.followers_needed(self.electable.len())
    }
    /// Whether fewer followers are enough than the settings ask for: because they allow it when followers are late, or
    /// because they were altered and the followers are not there yet.
    pub fn is_degraded(&self) -> bool {
        self.followers_needed() < self.settings.commit.followers_needed(self.electable.len())
    }
    pub fn is_electable(&self, replica: Replica) -> bool {
        self.electable.binary_search(&replica).is_ok()
    }
    /// Nodes that the leader ships to: the members, those that have left but still count until the set changes, and those that
    /// are only read.
    pub fn copies(&self) -> impl Iterator<Item = NodeId> {
        let counting = self.members.iter().copied().chain(self.electable.iter().map(|replica| replica.node));
        counting.chain(self.read_replicas.iter().copied())
    }
    /// Whether a node takes part in the group: as a member, or because an election and a commit still count it, in
    /// whatever life it is.
    pub fn holds_copy(&self, node: NodeId) -> bool {
        self.copies().any(|copy| copy == node)
    }
    /// The newest epoch that began at or before `index`.
    pub fn epoch_at(&self, index: Index) -> Epoch {
        self.history.iter().rev().find(|p| p.index <= index).map_or(Epoch(0), |p| p.epoch)
    }
    /// Whether the entry that was made at this position is part of the history: its epoch began at or before it, and no later one
    /// did. Of an epoch that is not recorded yet nothing is known.
    pub fn contains(&self, position: Position) -> bool {
        let begun = self.history.partition_point(|start| start.index <= position.index);
        position.index == Index(0) || (begun > 0 && self.history[begun - 1].epoch == position.epoch)
    }
    /// Whether the position was in the group's history and is not any more. A position of an epoch that the view does not know yet
    /// says that the view is old, and no more.
    pub fn has_lost(&self, position: Position) -> bool {
        position.epoch <= self.epoch && !self.contains(position)
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.group.encode(w);
        self.keyspace.encode(w);
        self.number.encode(w);
        self.epoch.encode(w);
        w.option(self.leader, |w, leader| leader.encode(w));
        w.list(&self.members, |w, node| node.encode(w));
        w.list(&self.read_replicas, |w, node| node.encode(w));
        w.list(&self.electable, |w, replica| replica.encode(w));
        w.option(self.election, |w, epoch| epoch.encode(w));
        w.option(self.forced, |w, node| node.encode(w));
        w.list(&self.history, |w, position| position.encode(w));
        self.last_loss.encode(w);
        self.rule.encode(w);
        self.settings.encode(w);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<View, DecodeError> {
        Ok(View {
            group: GroupId::decode(r)?,
            keyspace: KeyspaceId::decode(r)?,
            number: ViewNumber::decode(r)?,
            epoch: Epoch::decode(r)?,
            leader: r.option(Leader::decode)?,
            members: r.list(NodeId::decode)?,
            read_replicas: r.list(NodeId::decode)?,
            electable: r.list(Replica::decode)?,
            election: r.option(Epoch::decode)?,
            forced: r.option(NodeId::decode)?,
            history: r.list(Position::decode)?,
            last_loss: Epoch::decode(r)?,
            rule: CommitRule::decode(r)?,
            settings: Settings::decode(r)?,
        })
    }
}

impl Replica {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.node.encode(w);
        self.incarnation.encode(w);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Replica, DecodeError> {
        Ok(Replica { node: NodeId::decode(r)?, incarnation: Incarnation::decode(r)? })
    }
}

impl Leader {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.replica.encode(w);
        self.process.encode(w);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Leader, DecodeError> {
        Ok(Leader { replica: Replica::decode(r)?, process: Process::decode(r)? })
    }
}
