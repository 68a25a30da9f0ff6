//! Leaderless keyspaces: their policy, and the copies of each shard.
//!
//! A shard has no view and no leader. What the map records is its **ring**: the nodes that hold a copy, under a version that
//! grows with every change. Messages between nodes name the version, and a node drops what names another one than it knows.
//!
//! A node that leaves is replaced by another one, one at a time: the next change waits until the newcomer has said that it
//! holds what quorums were promised ([`LeaderlessChange::Joined`]). Until then nobody counts it (`crates/protocol/src/leaderless/mod.rs`
//! says why that is enough).
//!
//! | command | by | refused unless |
//! |---|---|---|
//! | create | an operator | there are n nodes |
//! | replace | the control leader, for a node that leaves | the ring has this version, and nobody else joins |
//! | joined | the newcomer | it joins under this version |
//! | alter | an operator | N and SHARDS stay as they are |
//! | begin, report | copies: the stages of a barrier | the ring has this version, and nobody joins (`barrier`) |

use super::{Advice, ClusterMap, NodeState};
use crate::command::{Applied, Refusal, decode_seed, encode_seed};
use crate::event::Change;
use data::codec::{DecodeError, Reader, Writer};
use data::keyspace::{self, Keyspace, Settings};
use data::leaderless::{Barrier, ConflictPolicy, Policy};
use data::table::Seed;
use data::{GroupId, Incarnation, KeyspaceId, NodeId, SlotRange};

/// A run of slots and the nodes that hold copies of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shard {
    /// Never used again, for another shard or group.
    pub group: GroupId,
    pub slots: SlotRange,
    /// Version of `replicas`.
    pub ring: u64,
    pub replicas: Vec<NodeId>,
    /// The one among them that is not known to hold what the others do.
    pub joining: Option<NodeId>,
    /// How far the shard's barrier has come, and who has reported for its stage.
    pub barrier: Barrier,
    pub reported: Vec<(NodeId, Incarnation)>,
}

/// What makes a keyspace leaderless; its name and seed stand with the other keyspaces'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaderless {
    pub policy: Policy,
    /// Whether nodes have ever stood in: then any of them may hold hints.
    pub stood_in: bool,
    /// In the order of their slots.
    pub shards: Vec<Shard>,
}

/// A change of a leaderless keyspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaderlessChange {
    Create {
        name: String,
        policy: Policy,
        seed: Seed,
    },
    /// `to` takes the place of `from` in the ring of this version.
    Replace {
        group: GroupId,
        ring: u64,
        from: NodeId,
        to: NodeId,
    },
    /// The newcomer holds what quorums were promised.
    Joined {
        group: GroupId,
        ring: u64,
        node: NodeId,
    },
    /// Other numbers of copies that answer, and what else can change in use.
    Alter {
        keyspace: KeyspaceId,
        policy: Policy,
    },
    /// Something that deletes have left can be collected.
    Begin {
        group: GroupId,
        ring: u64,
    },
    /// A node, in this life, has done what the barrier's stage asks for.
    Report {
        group: GroupId,
        ring: u64,
        node: NodeId,
        incarnation: Incarnation,
    },
}

impl Leaderless {
    /// The shard that a slot is in.
    pub fn at(&self, slot: u16) -> Option<&Shard> {
        let at = self.shards.partition_point(|shard| shard.slots.last < slot);
        self.shards.get(at).filter(|shard| shard.slots.contains(slot))
    }
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        self.policy.encode(w);
        w.bool(self.stood_in);
        w.list(&self.shards, |w, shard| {
            shard.group.encode(w);
            shard.slots.encode(w);
            w.u64(shard.ring);
            w.list(&shard.replicas, |w, node| node.encode(w));
            w.option(shard.joining, |w, node| node.encode(w));
            shard.barrier.encode(w);
            w.list(&shard.reported, |w, (node, incarnation)| {
                node.encode(w);
                incarnation.encode(w);
            });
        });
    }
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Leaderless, DecodeError> {
        let policy = Policy::decode(r)?;
        let stood_in = r.bool()?;
        let shards = r.list(|r| {
            Ok(Shard {
                group: GroupId::decode(r)?,
                slots: SlotRange::decode(r)?,
                ring: r.u64()?,
                replicas: r.list(NodeId::decode)?,
                joining: r.option(NodeId::decode)?,
                barrier: Barrier::decode(r)?,
                reported: r.list(|r| Ok((NodeId::decode(r)?, Incarnation::decode(r)?)))?,
            })
        })?;
        Ok(Leaderless { policy, stood_in, shards })
    }
}

impl LeaderlessChange {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        match self {
            LeaderlessChange::Create { name, policy, seed } => {
                w.u8(1);
                w.text(name);
                policy.encode(w);
                encode_seed(*seed, w);
            }
            LeaderlessChange::Replace { group, ring, from, to } => {
                w.u8(2);
                group.encode(w);
                w.u64(*ring);
                from.encode(w);
                to.encode(w);
            }
            LeaderlessChange::Joined { group, ring, node } => {
                w.u8(3);
                group.encode(w);
                w.u64(*ring);
                node.encode(w);
            }
            LeaderlessChange::Alter { keyspace, policy } => {
                w.u8(4);
                keyspace.encode(w);
                policy.encode(w);
            }
            LeaderlessChange::Begin { group, ring } => {
                w.u8(5);
                group.encode(w);
                w.u64(*ring);
            }
            LeaderlessChange::Report { group, ring, node, incarnation } => {
                w.u8(6);
                group.encode(w);
                w.u64(*ring);
                node.encode(w);
                incarnation.encode(w);
            }
        }
    }
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<LeaderlessChange, DecodeError> {
        Ok(match r.u8()? {
            1 => LeaderlessChange::Create {
                name: r.text()?,
                policy: Policy::decode(r)?,
                seed: decode_seed(r)?,
            },
            2 => LeaderlessChange::Replace {
                group: GroupId::decode(r)?,
                ring: r.u64()?,
                from: NodeId::decode(r)?,
                to: NodeId::decode(r)?,
            },
            3 => LeaderlessChange::Joined {
                group: GroupId::decode(r)?,
                ring: r.u64()?,
                node: NodeId::decode(r)?,
            },
            4 => LeaderlessChange::Alter { keyspace: KeyspaceId::decode(r)?, policy: Policy::decode(r)? },
            5 => LeaderlessChange::Begin { group: GroupId::decode(r)?, ring: r.u64()? },
            6 => LeaderlessChange::Report {
                group: GroupId::decode(r)?,
                ring: r.u64()?,
                node: NodeId::decode(r)?,
                incarnation: Incarnation::decode(r)?,
            },
            _ => return Err(DecodeError::Invalid("change of a leaderless keyspace")),
        })
    }
}

impl ClusterMap {
    pub fn leaderless_shards(&self) -> impl Iterator<Item = (KeyspaceId, &Policy, &Shard)> {
        self.leaderless.iter().flat_map(|(id, it)| it.shards.iter().map(|shard| (*id, &it.policy, shard)))
    }
    /// Who may stand in for copies of a shard, the preferred ones first: the other nodes, each shard beginning with
    /// another one.
    pub fn stand_ins(&self, shard: &Shard) -> Vec<NodeId> {
        let mut others: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| node.usable() && !shard.replicas.contains(&node.id))
            .map(|node| node.id)
            .collect();
        let count = others.len().max(1);
        others.rotate_left(shard.group.0 as usize % count);
        others
    }
    /// Nodes that leaderless keyspaces need: no ring is smaller than its n.
    pub(crate) fn copies_needed(&self) -> usize {
        self.leaderless.values().map(|it| it.policy.n as usize).max().unwrap_or(0)
    }

    pub(super) fn change_leaderless(
        &mut self,
        change: &LeaderlessChange,
        advice: &Advice,
    ) -> Result<Applied, Refusal> {
        match change {
            LeaderlessChange::Create { name, policy, seed } => {
                self.create_leaderless(name, policy.clone(), *seed, advice)
            }
            LeaderlessChange::Replace { group, ring, from, to } => {
                let fits = self.nodes.get(to).is_some_and(|node| node.usable());
                let keyspace = self.keyspace_of_shard(*group).ok_or(Refusal::UnknownGroup)?;
                let shard = self.shard_mut(*group).ok_or(Refusal::UnknownGroup)?;
                let joins = shard.joining.is_some_and(|node| node != *from);
                if shard.ring != *ring || joins || !fits || shard.replicas.contains(to) {
                    return Err(Refusal::Outdated);
                }
                let place = shard.replicas.iter_mut().find(|node| *node == from);
                *place.ok_or(Refusal::Outdated)? = *to;
                shard.ring += 1;
                shard.joining = Some(*to);
                shard.end_barrier();
                self.remember(Change::KeyspaceAltered(keyspace));
                Ok(Applied::Done)
            }
            LeaderlessChange::Joined { group, ring, node } => {
                let shard = self.shard_mut(*group).ok_or(Refusal::UnknownGroup)?;
                if shard.ring != *ring || shard.joining != Some(*node) {
                    return Err(Refusal::Outdated);
                }
                shard.joining = None;
                Ok(Applied::Done)
            }
            LeaderlessChange::Alter { keyspace, policy } => self.alter_leaderless(*keyspace, policy.clone()),
            LeaderlessChange::Begin { group, ring } => self.begin_barrier(*group, *ring),
            LeaderlessChange::Report { group, ring, node, incarnation } => {
                self.report_barrier(*group, *ring, (*node, *incarnation))
            }
        }
    }

    /// What is under way goes on with the numbers that it began with.
    fn alter_leaderless(&mut self, keyspace: KeyspaceId, policy: Policy) -> Result<Applied, Refusal> {
        policy.check().map_err(Refusal::Invalid)?;
        let it = self.leaderless.get_mut(&keyspace).ok_or(Refusal::UnknownKeyspace)?;
        if policy.n != it.policy.n || policy.shards != it.policy.shards {
            return Err(Refusal::Invalid(NOT_ALTERED));
        }
        let wins = |it: &Policy| it.conflict == ConflictPolicy::LastWriteWins;
        if wins(&policy) != wins(&it.policy) {
            return Err(Refusal::Invalid(LAST_STAYS_LAST));
        }
        it.stood_in |= policy.sloppy;
        it.policy = policy;
        self.remember(Change::KeyspaceAltered(keyspace));
        Ok(Applied::Done)
    }

    pub(super) fn shard_mut(&mut self, group: GroupId) -> Option<&mut Shard> {
        self.leaderless.values_mut().flat_map(|it| &mut it.shards).find(|shard| shard.group == group)
    }
    fn keyspace_of_shard(&self, group: GroupId) -> Option<KeyspaceId> {
        self.leaderless_shards().find(|(.., shard)| shard.group == group).map(|(id, ..)| id)
    }

    fn create_leaderless(
        &mut self,
        name: &str,
        policy: Policy,
        seed: Seed,
        advice: &Advice,
    ) -> Result<Applied, Refusal> {
        self.check_new_name(name)?;
        policy.check().map_err(Refusal::Invalid)?;
        let n = policy.n as usize;
        if self.nodes.values().filter(|node| node.usable()).count() < n {
            return Err(Refusal::Invalid(TOO_FEW_NODES));
        }
        let id = self.next_keyspace;
        self.next_keyspace = id.next();
        // The settings are of single-leader keyspaces and say nothing here.
        self.keyspaces
            .insert(id, Keyspace { id, name: name.to_string(), settings: Settings::default(), seed });
        let (stood_in, shards) = (policy.sloppy, policy.shards);
        self.leaderless.insert(id, Leaderless { policy, stood_in, shards: Vec::new() });
        for slots in SlotRange::divide(shards) {
            let replicas = self.ring_of(n, advice);
            let group = self.next_group;
            self.next_group = group.next();
            if let Some(it) = self.leaderless.get_mut(&id) {
                let (barrier, reported) = (Barrier::default(), Vec::new());
                it.shards.push(Shard { group, slots, ring: 1, replicas, joining: None, barrier, reported });
            }
        }
        self.remember(Change::KeyspaceCreated(id));
        Ok(Applied::Keyspace(id))
    }

    /// Nodes for the copies of a new shard: each at the site that has the fewest of them so far, and there whoever holds least.
    fn ring_of(&self, n: usize, advice: &Advice) -> Vec<NodeId> {
        let mut ring: Vec<NodeId> = Vec::new();
        while ring.len() < n {
            let there = |site: &str| {
                ring.iter().filter(|node| self.nodes.get(node).is_some_and(|it| it.site == site)).count()
            };
            let free = self.nodes.values().filter(|node| node.usable() && !ring.contains(&node.id));
            let rank = |node: &&super::Node| {
                (advice.suspects.contains(&node.id), there(&node.site), self.held(node.id), node.id)
            };
            let Some(best) = free.min_by_key(rank) else { break };
            ring.push(best.id);
        }
        ring
    }

    /// The next change that brings copies off nodes that leave, if one can be made now. `suspects`: who is believed to be down.
    pub(crate) fn next_replacement(&self, advice: &Advice) -> Option<LeaderlessChange> {
        let leaves = |node: &NodeId| self.nodes.get(node).is_none_or(|it| it.state == NodeState::Leaving);
        for (_, policy, shard) in self.leaderless_shards() {
            let Some(from) = shard.replicas.iter().copied().find(leaves) else { continue };
            if shard.joining.is_some_and(|node| node != from) {
                continue;
            }
            // With a quorum of one it may hold what nobody else has: as long as it lives it stays.
            if policy.w.min(policy.r) < 2 && !advice.suspects.contains(&from) {
                continue;
            }
            let to = self.place(1, None, &shard.replicas, advice).into_iter().next();
            let Some(to) = to.filter(|to| !advice.suspects.contains(to)) else { continue };
            return Some(LeaderlessChange::Replace { group: shard.group, ring: shard.ring, from, to });
        }
        None
    }

    /// Refuses a name that is none, or taken.
    pub(super) fn check_new_name(&self, name: &str) -> Result<(), Refusal> {
        if !keyspace::is_valid_name(name) {
            return Err(Refusal::Invalid(
                "a keyspace name is a letter, then letters, digits, '-', '_' or '.', at most 64",
            ));
        }
        if self.keyspace_named(name).is_some() {
            return Err(Refusal::KeyspaceExists);
        }
        Ok(())
    }
}

pub(crate) const NOT_ALTERED: &str =
    "N and SHARDS of a leaderless keyspace cannot be altered in this version: make another one";
pub const LAST_STAYS_LAST: &str = "last-write-wins keeps other values than the other policies do: CONFLICT can be altered among the others only, for last-write-wins make another keyspace";
pub(crate) const TOO_FEW_NODES: &str =
    "the cluster has fewer nodes than N: each copy is on a node of its own";
