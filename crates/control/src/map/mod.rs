//! The cluster map: nodes, keyspaces, and the view of every group. The replicated state of the control plane.
//!
//! It changes only by [`ClusterMap::apply`], which is a function of the map, the command and the advice that stands in
//! the log beside the command; so every control member holds the same map at the same version. Ids are never reused.

mod apply;
mod barrier;
mod group;
mod leaderless;
mod moves;
mod multi_leader;
mod placement;
mod rules;

use crate::config::Addresses;
use crate::event::Change;
use crate::shards::Move;
use data::codec::{DecodeError, Reader, Writer};
use data::keyspace::Keyspace;
use data::rules::Rule;
use data::view::View;
use data::{Epoch, GroupId, Incarnation, KeyspaceId, NodeId, Position, Process, SlotSet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) use apply::ALONE_AT_SITE;
pub use apply::{Advice, NUMBERED_KEYSPACES};
pub use leaderless::{LAST_STAYS_LAST, Leaderless, LeaderlessChange, Shard};
pub(crate) use leaderless::{NOT_ALTERED, TOO_FEW_NODES};
pub(crate) use multi_leader::{
    CHANGED, HOME_KEEPS, HOMES_STAY, NO_FUNCTION, SHARDS_STAY, SITES_MISS_NOTHING, SITES_NOT_SITE,
};
pub use multi_leader::{MultiLeader, MultiLeaderChange, SiteGroups};

/// Changes that the map remembers: a guess, enough for an operator's first look.
const CHANGES_MAX: usize = 128;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    Active,
    /// Asked to leave; its leaderships, copies and vote are moving away.
    Leaving,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    pub id: NodeId,
    /// Drawn by the node when it was empty: asking to join twice gives one number.
    pub nonce: u64,
    pub name: String,
    pub addresses: Addresses,
    pub site: String,
    /// 0 until the node has started for the first time as a member.
    pub process: Process,
    pub incarnation: Incarnation,
    pub state: NodeState,
}

impl Node {
    /// Whether the node may be given something to hold.
    pub fn usable(&self) -> bool {
        self.state == NodeState::Active && self.process != Process(0)
    }
}

/// A group's view and what must outlive its elections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    pub view: View,
    /// The slots that it owns; of a keyspace's groups each slot is in one.
    pub slots: SlotSet,
    /// A copy that does not hold this entry lacks keys that moved here.
    pub complete_from: Position,
    /// In which version of the map they did; 0 where that was not recorded.
    pub completed_at: u64,
    /// The highest epoch ever named, by an election that nobody won too.
    pub last_epoch: Epoch,
}

/// The newest level that this program knows. The control leader raises a map to it once all members have said that they know it; a
/// program that does not cannot read the map from then on.
///
/// | level | since it was raised |
/// |---|---|
/// | 1 | |
/// | 2 | no slots go to a group whose election is under way; the keyspaces of groups that are gone are kept, and when slots came |
pub const LEVEL: u32 = 2;

/// Invariants: `version` grows with every entry applied; ids are below the `next_*` numbers; a group's view names known
/// keyspaces; `control` lists the voters and learners of the consensus library as of `version`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterMap {
    /// 0 before the founding.
    pub cluster: u64,
    /// Index of the last entry of the control log that this map contains.
    pub version: u64,
    /// What the entries of the control log mean: all members must come to the same map by them, whatever program each runs. See
    /// [`LEVEL`].
    pub level: u32,
    pub nodes: BTreeMap<NodeId, Node>,
    pub keyspaces: BTreeMap<KeyspaceId, Keyspace>,
    pub groups: BTreeMap<GroupId, Group>,
    /// What makes some of the keyspaces leaderless: these have no groups.
    pub leaderless: BTreeMap<KeyspaceId, Leaderless>,
    /// What makes some of the keyspaces multi-leader: these have groups in each of their sites.
    pub multi_leader: BTreeMap<KeyspaceId, MultiLeader>,
    /// What becomes of conflicts on some keys of those, the rule that comes first before the others; none for most.
    pub rules: BTreeMap<KeyspaceId, Vec<Rule>>,
    pub voters: Vec<NodeId>,
    /// The voters before the change that is under way: until it ends, theirs is a majority that is needed too. Else empty.
    pub outgoing: Vec<NodeId>,
    pub learners: Vec<NodeId>,
    pub next_node: NodeId,
    pub next_keyspace: KeyspaceId,
    pub next_group: GroupId,
    /// Slots on their way.
    pub moves: BTreeMap<u64, Move>,
    pub next_move: u64,
    /// The version in which slots last changed their owner; 0 for never.
    pub moved_at: u64,
    /// Keyspaces that do not have the number of shards yet that was asked for.
    pub dividing: BTreeSet<KeyspaceId>,
    /// The keyspaces of groups that gave all their slots to others and are gone: a session may have seen something of one.
    pub dropped: BTreeMap<GroupId, KeyspaceId>,
    pub changes: VecDeque<(u64, Change)>,
}

impl ClusterMap {
    pub fn founded(&self) -> bool {
        self.cluster != 0
    }
    pub fn view(&self, group: GroupId) -> Option<&View> {
        self.groups.get(&group).map(|group| &group.view)
    }
    pub fn views(&self) -> impl Iterator<Item = &View> {
        self.groups.values().map(|group| &group.view)
    }
    pub fn keyspace_named(&self, name: &str) -> Option<&Keyspace> {
        self.keyspaces.values().find(|keyspace| keyspace.name == name)
    }
    /// The groups of a keyspace; none before its first use.
    pub fn groups_of(&self, keyspace: KeyspaceId) -> impl Iterator<Item = &Group> {
        self.groups.values().filter(move |group| group.view.keyspace == keyspace)
    }
    /// The node that leads the group, unless an election is under way.
    pub fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        let view = self.view(group)?;
        if view.election.is_some() { None } else { view.leader.map(|leader| leader.replica.node) }
    }

    /// Whether the node has a vote in the control group.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }
    /// Whether the node holds the control log, with or without a vote.
    pub fn is_control_member(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.contains(&node)
    }
    /// Whether those that `counts` are a majority of the control group; while it changes, of the old and of the new one.
    pub fn control_majority(&self, counts: impl Fn(NodeId) -> bool) -> bool {
        let of = |voters: &[NodeId]| voters.iter().filter(|id| counts(**id)).count() * 2 > voters.len();
        of(&self.voters) && (self.outgoing.is_empty() || of(&self.outgoing))
    }

    fn remember(&mut self, change: Change) {
        if self.changes.len() >= CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back((self.version, change));
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        // Format number of the map: it tells which kinds of keyspaces follow. Of the other parts, settings among them, there is
        // one form: members whose programs differ in it cannot read each other's maps, whatever this number says.
        let format = match (self.leaderless.is_empty(), self.multi_leader.is_empty()) {
            (true, true) => 4,
            (false, true) => 5,
            (_, false) => 6,
        };
        let format = if self.rules.is_empty() { format } else { 7 };
        let format = if self.dropped.is_empty() { format } else { 8 };
        let format = if self.level < 2 { format } else { 9 };
        w.u8(format);
        w.u64(self.cluster);
        w.u64(self.version);
        w.u32(self.level);
        w.length(self.nodes.len());
        self.nodes.values().for_each(|node| node.encode(w));
        w.length(self.keyspaces.len());
        self.keyspaces.values().for_each(|keyspace| keyspace.encode(w));
        w.length(self.groups.len());
        for group in self.groups.values() {
            group.view.encode(w);
            group.slots.encode(w);
            group.complete_from.encode(w);
            group.last_epoch.encode(w);
        }
        w.list(&self.voters, |w, node| node.encode(w));
        w.list(&self.outgoing, |w, node| node.encode(w));
        w.list(&self.learners, |w, node| node.encode(w));
        self.next_node.encode(w);
        self.next_keyspace.encode(w);
        self.next_group.encode(w);
        w.length(self.moves.len());
        self.moves.values().for_each(|it| it.encode(w));
        w.u64(self.next_move);
        w.u64(self.moved_at);
        w.length(self.dividing.len());
        self.dividing.iter().for_each(|keyspace| keyspace.encode(w));
        w.length(self.changes.len());
        for (version, change) in &self.changes {
            w.u64(*version);
            change.encode(w);
        }
        if format > 4 {
            w.length(self.leaderless.len());
            for (keyspace, it) in &self.leaderless {
                keyspace.encode(w);
                it.encode(w);
            }
        }
        if format > 5 {
            w.length(self.multi_leader.len());
            for (keyspace, it) in &self.multi_leader {
                keyspace.encode(w);
                it.encode(w);
            }
        }
        if format > 6 {
            w.length(self.rules.len());
            for (keyspace, rules) in &self.rules {
                keyspace.encode(w);
                w.list(rules, |w, rule| rule.encode(w));
            }
        }
        if format > 7 {
            w.length(self.dropped.len());
            for (group, keyspace) in &self.dropped {
                group.encode(w);
                keyspace.encode(w);
            }
        }
        if format > 8 {
            self.groups.values().for_each(|group| w.u64(group.completed_at));
        }
    }

    pub fn decode(r: &mut Reader<'_>) -> Result<ClusterMap, DecodeError> {
        let format = r.u8()?;
        if !(4..=9).contains(&format) {
            return Err(DecodeError::Invalid("format of the cluster map"));
        }
        let (cluster, version, level) = (r.u64()?, r.u64()?, r.u32()?);
        let nodes = r.list(Node::decode)?;
        let keyspaces = r.list(Keyspace::decode)?;
        let group = |r: &mut Reader<'_>| {
            let (view, slots) = (View::decode(r)?, SlotSet::decode(r)?);
            let complete_from = Position::decode(r)?;
            Ok(Group { view, slots, complete_from, completed_at: 0, last_epoch: Epoch::decode(r)? })
        };
        let groups = r.list(group)?;
        let mut map = ClusterMap {
            cluster,
            version,
            level,
            nodes: nodes.into_iter().map(|node| (node.id, node)).collect(),
            keyspaces: keyspaces.into_iter().map(|keyspace| (keyspace.id, keyspace)).collect(),
            groups: groups.into_iter().map(|group| (group.view.group, group)).collect(),
            voters: r.list(NodeId::decode)?,
            outgoing: r.list(NodeId::decode)?,
            learners: r.list(NodeId::decode)?,
            next_node: NodeId::decode(r)?,
            next_keyspace: KeyspaceId::decode(r)?,
            next_group: GroupId::decode(r)?,
            moves: r.list(Move::decode)?.into_iter().map(|it| (it.id, it)).collect(),
            next_move: r.u64()?,
            moved_at: r.u64()?,
            dividing: r.list(KeyspaceId::decode)?.into_iter().collect(),
            changes: r.list(|r| Ok((r.u64()?, Change::decode(r)?)))?.into(),
            leaderless: match format {
                4 => BTreeMap::new(),
                _ => r.list(|r| Ok((KeyspaceId::decode(r)?, Leaderless::decode(r)?)))?.into_iter().collect(),
            },
            multi_leader: match format {
                4 | 5 => BTreeMap::new(),
                _ => r.list(|r| Ok((KeyspaceId::decode(r)?, MultiLeader::decode(r)?)))?.into_iter().collect(),
            },
            rules: match format {
                4..=6 => BTreeMap::new(),
                _ => r.list(|r| Ok((KeyspaceId::decode(r)?, r.list(Rule::decode)?)))?.into_iter().collect(),
            },
            dropped: match format {
                4..=7 => BTreeMap::new(),
                _ => r.list(|r| Ok((GroupId::decode(r)?, KeyspaceId::decode(r)?)))?.into_iter().collect(),
            },
        };
        if format > 8 {
            for group in map.groups.values_mut() {
                group.completed_at = r.u64()?;
            }
        }
        Ok(map)
    }
}

impl Node {
    fn encode(&self, w: &mut Writer<'_>) {
        self.id.encode(w);
        w.u64(self.nonce);
        w.text(&self.name);
        self.addresses.encode(w);
        w.text(&self.site);
        self.process.encode(w);
        self.incarnation.encode(w);
        w.u8(match self.state {
            NodeState::Active => 1,
            NodeState::Leaving => 2,
        });
    }
    fn decode(r: &mut Reader<'_>) -> Result<Node, DecodeError> {
        Ok(Node {
            id: NodeId::decode(r)?,
            nonce: r.u64()?,
            name: r.text()?,
            addresses: Addresses::decode(r)?,
            site: r.text()?,
            process: Process::decode(r)?,
            incarnation: Incarnation::decode(r)?,
            state: match r.u8()? {
                1 => NodeState::Active,
                2 => NodeState::Leaving,
                _ => return Err(DecodeError::Invalid("node state")),
            },
        })
    }
}
