//! Changes of the cluster map, and how they end.

use crate::config::Addresses;
use crate::founding::Founded;
use crate::map::{LeaderlessChange, MultiLeaderChange};
use crate::shards::ShardChange;
use data::codec::{DecodeError, Reader, Writer};
use data::keyspace::{CommitRule, Settings};
use data::rules::RuleChange;
use data::table::Seed;
use data::view::{Leader, Replica};
use data::{GroupId, Incarnation, KeyspaceId, NodeId, Position, Process, ViewNumber};
use std::fmt;

/// A change of the map. Each that touches a group names the view number it was computed from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// The first command of a cluster; proposed by the control leader itself. `seeds`: of the numbered keyspaces.
    Found {
        founded: Founded,
        seeds: Vec<Seed>,
        /// Groups that the slots of each numbered keyspace are divided among.
        shards: u32,
    },
    /// A new member; the same `nonce` again gets the same number.
    AddNode {
        nonce: u64,
        name: String,
        addresses: Addresses,
        site: String,
    },
    /// A node's process started; proposed by every plane for itself until the map shows it.
    StartNode {
        node: NodeId,
        name: String,
        addresses: Addresses,
        site: String,
        process: Process,
        incarnation: Incarnation,
    },
    /// The node shall leave: its leaderships, copies and control vote move away first.
    RemoveNode {
        node: NodeId,
    },
    /// Nothing depends on the node any more; proposed by the control leader.
    ForgetNode {
        node: NodeId,
    },
    CreateKeyspace {
        name: String,
        settings: Settings,
        seed: Seed,
    },
    AlterKeyspace {
        keyspace: KeyspaceId,
        settings: Settings,
    },
    DropKeyspace {
        keyspace: KeyspaceId,
    },
    /// Makes the group of a keyspace that has none yet; answers with the group either way.
    EnsureGroup {
        keyspace: KeyspaceId,
    },
    StartElection {
        group: GroupId,
        number: ViewNumber,
    },
    /// The operator says that everybody else is gone for good: an election that only this node's copy can win, whatever it lacks.
    ForceElection {
        group: GroupId,
        number: ViewNumber,
        node: NodeId,
    },
    /// `start`: where the new epoch begins, one entry behind the winner's last; `starts`: where each epoch of the winner's log
    /// began, empty when it did not say.
    FinishElection {
        group: GroupId,
        number: ViewNumber,
        leader: Leader,
        start: Position,
        starts: Vec<Position>,
        loss_possible: bool,
    },
    /// Proposed by the present leader only.
    ChangeElectable {
        group: GroupId,
        number: ViewNumber,
        leader: Leader,
        rule: CommitRule,
        electable: Vec<Replica>,
    },
    ChangeMembers {
        group: GroupId,
        number: ViewNumber,
        members: Vec<NodeId>,
        read_replicas: Vec<NodeId>,
    },
    /// Gates anything that an older member could not read; only grows.
    RaiseLevel {
        level: u32,
    },
    /// Who owns which slots.
    ChangeShards(ShardChange),
    /// Leaderless keyspaces, and who holds their shards.
    ChangeLeaderless(LeaderlessChange),
    /// Multi-leader keyspaces, and their sites.
    ChangeMultiLeader(Box<MultiLeaderChange>),
    /// What becomes of conflicts on some keys of a leaderless or multi-leader keyspace.
    ChangeRules {
        keyspace: KeyspaceId,
        change: RuleChange,
    },
}

/// What a change led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    Done,
    Node(NodeId),
    Keyspace(KeyspaceId),
    Group(GroupId),
    View { group: GroupId, number: ViewNumber },
}

/// Why a request was not carried out. All but [`Refusal::Unanswered`] mean: surely not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The view has another number than the one the command was computed from.
    Stale {
        number: ViewNumber,
    },
    /// The cluster is not founded yet, or was founded before.
    NotFounded,
    AlreadyFounded,
    UnknownNode,
    UnknownKeyspace,
    UnknownGroup,
    UnknownMove,
    KeyspaceExists,
    /// Name or settings contradict themselves; the sentence is for the user.
    Invalid(&'static str),
    /// Numbered keyspaces cannot be dropped.
    Numbered,
    /// An election is under way.
    InElection,
    /// No election is under way.
    NoElection,
    /// Only the present leader process changes the electable set.
    NotLeader,
    /// No active node can take the group.
    NoNodes,
    /// The last active node stays.
    LastNode,
    /// Something still depends on the node.
    InUse,
    /// Not one of the electable replicas, or not within reach.
    NotElectable,
    /// Another process or incarnation of the node is known.
    Outdated,
    /// No control leader could be reached in time.
    NoControlLeader,
    /// The switchover took too long and was called off; the old leader carries on.
    CalledOff,
    /// No answer in time: it may or may not have happened, or may still happen.
    Unanswered,
}

impl Refusal {
    /// Invariant: `SENTENCES` holds every sentence that [`Refusal::Invalid`] may carry across the wire.
    fn sentence(self) -> &'static str {
        match self {
            Refusal::Stale { .. } => "the view of the group has changed",
            Refusal::NotFounded => "the cluster is not founded yet",
            Refusal::AlreadyFounded => "the cluster is founded already",
            Refusal::UnknownNode => "no such node",
            Refusal::UnknownKeyspace => "no such keyspace",
            Refusal::UnknownGroup => "no such group",
            Refusal::UnknownMove => "no such move",
            Refusal::KeyspaceExists => "a keyspace of this name exists",
            Refusal::Invalid(what) => what,
            Refusal::Numbered => "numbered keyspaces cannot be dropped",
            Refusal::InElection => "an election is under way",
            Refusal::NoElection => "no election is under way",
            Refusal::NotLeader => "only the present leader may change the electable set",
            Refusal::NoNodes => "no active node can hold the group",
            Refusal::LastNode => "the last active node cannot be removed",
            Refusal::InUse => "the node is still in use",
            Refusal::NotElectable => "not an electable replica within reach",
            Refusal::Outdated => "another life of this node is known",
            Refusal::NoControlLeader => "no control leader could be reached",
            Refusal::CalledOff => "the switchover took too long and was called off",
            Refusal::Unanswered => "no answer in time: it may or may not have happened",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}
impl std::error::Error for Refusal {}

/// Sentences of [`Refusal::Invalid`] travel by number; one of a newer version arrives as the last.
const SENTENCES: &[&str] = &[
    "REPLICAS must be between 1 and 64",
    "TIMEOUT must be between 1 and 600000 ms",
    "ACKS must leave a minimum in-sync set between 1 and REPLICAS",
    "LEVEL flushed needs FLUSH always: with another FLUSH choose LEVEL received",
    "FLUSH needs a positive number of milliseconds",
    "a keyspace name is a letter, then letters, digits, '-', '_' or '.', at most 64",
    "the electable set must be sorted, part of the members and contain the leader",
    "the electable set is below its minimum",
    "an electable replica leaves the set only with its membership or its incarnation",
    "the members must be sorted and known nodes",
    "the founders do not fit the seeds",
    "the new epoch begins at another position",
    "this change is the control leader's own",
    "ACKS must be between 1 and one less than REPLICAS",
    "ON-TIMEOUT degrade goes with COMMIT semi-sync",
    "MIN-REPLICAS-TO-WRITE must be below REPLICAS",
    "MIN-REPLICAS-MAX-LAG must be between 1 and 86400 s",
    "the settings ask for another commit rule",
    "a keyspace could not meet its commit rule any more: let another node join first, or ALTER that keyspace",
    "SHARDS must be between 1 and 256",
    "the keyspace has as many groups as it shall have",
    "the slots must all be in one other shard",
    "a shard takes part in one move at a time: wait for the other to end",
    "the members are fewer than the commit rule needs",
    "READ-REPLICAS must be at most 64",
    "the read replicas must be sorted, known nodes that neither are members nor count",
    "FAN-OUT must be at most 64",
    "only a node that holds a copy of the group can be promoted",
    "RECOVERY-SITE is another one than SITE, and takes READ-REPLICAS",
    "no node is at a site of this name",
    data::leaderless::N_BOUNDS,
    data::leaderless::W_BOUNDS,
    data::leaderless::R_BOUNDS,
    crate::map::TOO_FEW_NODES,
    crate::map::NOT_ALTERED,
    data::multi_leader::SITES_BOUNDS,
    data::multi_leader::REPEATED,
    data::multi_leader::NOT_A_SITE,
    data::multi_leader::ONE_ROOT,
    crate::map::CHANGED,
    crate::map::SHARDS_STAY,
    crate::map::HOMES_STAY,
    crate::map::SITES_NOT_SITE,
    crate::map::HOME_KEEPS,
    crate::map::SITES_MISS_NOTHING,
    "BACKLOG must be between 1 KiB and 1 GiB",
    "COMMIT best-effort takes LOG row: behind a gap a command would compute something else, and whole values would mix what is missing with what is not",
    "COMMIT best-effort does not go with FAN-OUT: only a leader drops what a follower misses",
    crate::map::ALONE_AT_SITE,
    crate::map::NO_FUNCTION,
    data::leaderless::FUNCTION_BOUNDS,
    data::leaderless::FUNCTION_NEEDED,
    data::rules::TOO_MANY,
    data::rules::PATTERN_BOUNDS,
    data::rules::NOT_THERE,
    data::rules::NO_RULES_HERE,
    data::rules::NO_RULE,
    "the settings contradict themselves",
];

impl Command {
    /// The group that the command changes and the view number it was computed from.
    pub fn target(&self) -> Option<(GroupId, ViewNumber)> {
        match self {
            Command::StartElection { group, number }
            | Command::ForceElection { group, number, .. }
            | Command::FinishElection { group, number, .. }
            | Command::ChangeElectable { group, number, .. }
            | Command::ChangeMembers { group, number, .. } => Some((*group, *number)),
            Command::Found { .. }
            | Command::AddNode { .. }
            | Command::StartNode { .. }
            | Command::RemoveNode { .. }
            | Command::ForgetNode { .. }
            | Command::CreateKeyspace { .. }
            | Command::AlterKeyspace { .. }
            | Command::DropKeyspace { .. }
            | Command::EnsureGroup { .. }
            | Command::ChangeShards(_)
            | Command::ChangeLeaderless(_)
            | Command::ChangeMultiLeader(_)
            | Command::ChangeRules { .. }
            | Command::RaiseLevel { .. } => None,
        }
    }

    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Command::Found { founded, seeds, shards } => {
                w.u8(1);
                founded.encode(w);
                w.list(seeds, |w, seed| encode_seed(*seed, w));
                w.u32(*shards);
            }
            Command::AddNode { nonce, name, addresses, site } => {
                w.u8(2);
                w.u64(*nonce);
                w.text(name);
                addresses.encode(w);
                w.text(site);
            }
            Command::StartNode { node, name, addresses, site, process, incarnation } => {
                w.u8(3);
                node.encode(w);
                w.text(name);
                addresses.encode(w);
                w.text(site);
                process.encode(w);
                incarnation.encode(w);
            }
            Command::RemoveNode { node } => {
                w.u8(4);
                node.encode(w);
            }
            Command::ForgetNode { node } => {
                w.u8(5);
                node.encode(w);
            }
            Command::CreateKeyspace { name, settings, seed } => {
                w.u8(6);
                w.text(name);
                settings.encode(w);
                encode_seed(*seed, w);
            }
            Command::AlterKeyspace { keyspace, settings } => {
                w.u8(7);
                keyspace.encode(w);
                settings.encode(w);
            }
            Command::DropKeyspace { keyspace } => {
                w.u8(8);
                keyspace.encode(w);
            }
            Command::EnsureGroup { keyspace } => {
                w.u8(9);
                keyspace.encode(w);
            }
            Command::RaiseLevel { level } => {
                w.u8(14);
                w.u32(*level);
            }
            Command::ChangeShards(change) => {
                w.u8(20);
                change.encode(w);
            }
            Command::ChangeLeaderless(change) => {
                w.u8(30);
                change.encode(w);
            }
            Command::ChangeMultiLeader(change) => {
                w.u8(60);
                change.encode(w);
            }
            Command::ChangeRules { keyspace, change } => {
                w.u8(61);
                keyspace.encode(w);
                change.encode(w);
            }
            Command::StartElection { .. }
            | Command::ForceElection { .. }
            | Command::FinishElection { .. }
            | Command::ChangeElectable { .. }
            | Command::ChangeMembers { .. } => self.encode_group_change(w),
        }
    }

    fn encode_group_change(&self, w: &mut Writer<'_>) {
        let Some((group, number)) = self.target() else { return };
        let head = |w: &mut Writer<'_>, tag: u8| {
            w.u8(tag);
            group.encode(w);
            number.encode(w);
        };
        match self {
            Command::StartElection { .. } => head(w, 10),
            Command::ForceElection { node, .. } => {
                head(w, 15);
                node.encode(w);
            }
            Command::FinishElection { leader, start, starts, loss_possible, .. } => {
                head(w, 11);
                leader.encode(w);
                start.encode(w);
                w.list(starts, |w, begun| begun.encode(w));
                w.bool(*loss_possible);
            }
            Command::ChangeElectable { leader, rule, electable, .. } => {
                head(w, 12);
                leader.encode(w);
                rule.encode(w);
                w.list(electable, |w, replica| replica.encode(w));
            }
            Command::ChangeMembers { members, read_replicas, .. } => {
                head(w, 13);
                w.list(members, |w, node| node.encode(w));
                w.list(read_replicas, |w, node| node.encode(w));
            }
            _ => {}
        }
    }

    pub fn decode(r: &mut Reader<'_>) -> Result<Command, DecodeError> {
        Ok(match r.u8()? {
            1 => {
                Command::Found { founded: Founded::decode(r)?, seeds: r.list(decode_seed)?, shards: r.u32()? }
            }
            2 => Command::AddNode {
                nonce: r.u64()?,
                name: r.text()?,
                addresses: Addresses::decode(r)?,
                site: r.text()?,
            },
            3 => Command::StartNode {
                node: NodeId::decode(r)?,
                name: r.text()?,
                addresses: Addresses::decode(r)?,
                site: r.text()?,
                process: Process::decode(r)?,
                incarnation: Incarnation::decode(r)?,
            },
            4 => Command::RemoveNode { node: NodeId::decode(r)? },
            5 => Command::ForgetNode { node: NodeId::decode(r)? },
            6 => Command::CreateKeyspace {
                name: r.text()?,
                settings: Settings::decode(r)?,
                seed: decode_seed(r)?,
            },
            7 => Command::AlterKeyspace { keyspace: KeyspaceId::decode(r)?, settings: Settings::decode(r)? },
            8 => Command::DropKeyspace { keyspace: KeyspaceId::decode(r)? },
            9 => Command::EnsureGroup { keyspace: KeyspaceId::decode(r)? },
            10 => Command::StartElection { group: GroupId::decode(r)?, number: ViewNumber::decode(r)? },
            11 => Command::FinishElection {
                group: GroupId::decode(r)?,
                number: ViewNumber::decode(r)?,
                leader: Leader::decode(r)?,
                start: Position::decode(r)?,
                starts: r.list(Position::decode)?,
                loss_possible: r.bool()?,
            },
            12 => Command::ChangeElectable {
                group: GroupId::decode(r)?,
                number: ViewNumber::decode(r)?,
                leader: Leader::decode(r)?,
                rule: CommitRule::decode(r)?,
                electable: r.list(Replica::decode)?,
            },
            13 => Command::ChangeMembers {
                group: GroupId::decode(r)?,
                number: ViewNumber::decode(r)?,
                members: r.list(NodeId::decode)?,
                read_replicas: r.list(NodeId::decode)?,
            },
            14 => Command::RaiseLevel { level: r.u32()? },
            15 => Command::ForceElection {
                group: GroupId::decode(r)?,
                number: ViewNumber::decode(r)?,
                node: NodeId::decode(r)?,
            },
            20 => Command::ChangeShards(ShardChange::decode(r)?),
            30 => Command::ChangeLeaderless(LeaderlessChange::decode(r)?),
            60 => Command::ChangeMultiLeader(Box::new(MultiLeaderChange::decode(r)?)),
            61 => Command::ChangeRules { keyspace: KeyspaceId::decode(r)?, change: RuleChange::decode(r)? },
            _ => return Err(DecodeError::Invalid("control command")),
        })
    }
}

pub(crate) fn encode_seed(seed: Seed, w: &mut Writer<'_>) {
    w.u64(seed.0);
    w.u64(seed.1);
}

pub(crate) fn decode_seed(r: &mut Reader<'_>) -> Result<Seed, DecodeError> {
    Ok(Seed(r.u64()?, r.u64()?))
}

impl Applied {
    pub fn encode(self, w: &mut Writer<'_>) {
        match self {
            Applied::Done => w.u8(1),
            Applied::Node(node) => {
                w.u8(2);
                node.encode(w);
            }
            Applied::Keyspace(keyspace) => {
                w.u8(3);
                keyspace.encode(w);
            }
            Applied::Group(group) => {
                w.u8(4);
                group.encode(w);
            }
            Applied::View { group, number } => {
                w.u8(5);
                group.encode(w);
                number.encode(w);
            }
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Applied, DecodeError> {
        Ok(match r.u8()? {
            1 => Applied::Done,
            2 => Applied::Node(NodeId::decode(r)?),
            3 => Applied::Keyspace(KeyspaceId::decode(r)?),
            4 => Applied::Group(GroupId::decode(r)?),
            5 => Applied::View { group: GroupId::decode(r)?, number: ViewNumber::decode(r)? },
            _ => return Err(DecodeError::Invalid("control answer")),
        })
    }
}

/// Refusals without content, by their number on the wire (from 3 on).
const PLAIN: &[Refusal] = &[
    Refusal::NotFounded,
    Refusal::AlreadyFounded,
    Refusal::UnknownNode,
    Refusal::UnknownKeyspace,
    Refusal::UnknownGroup,
    Refusal::KeyspaceExists,
    Refusal::Numbered,
    Refusal::InElection,
    Refusal::NoElection,
    Refusal::NotLeader,
    Refusal::NoNodes,
    Refusal::LastNode,
    Refusal::InUse,
    Refusal::NotElectable,
    Refusal::Outdated,
    Refusal::NoControlLeader,
    Refusal::CalledOff,
    Refusal::Unanswered,
    Refusal::UnknownMove,
];

impl Refusal {
    pub fn encode(self, w: &mut Writer<'_>) {
        match self {
            Refusal::Stale { number } => {
                w.u8(1);
                number.encode(w);
            }
            Refusal::Invalid(what) => {
                w.u8(2);
                let known = SENTENCES.iter().position(|sentence| *sentence == what);
                w.u8(known.unwrap_or(SENTENCES.len() - 1) as u8);
            }
            plain => {
                let at = PLAIN.iter().position(|known| *known == plain).unwrap_or(PLAIN.len() - 1);
                w.u8(3 + at as u8);
            }
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Refusal, DecodeError> {
        Ok(match r.u8()? {
            1 => Refusal::Stale { number: ViewNumber::decode(r)? },
            2 => {
                let at = usize::from(r.u8()?);
                Refusal::Invalid(SENTENCES.get(at).or(SENTENCES.last()).copied().unwrap_or_default())
            }
            tag => {
                let at = usize::from(tag).wrapping_sub(3);
                *PLAIN.get(at).ok_or(DecodeError::Invalid("refusal"))?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(refusal: Refusal) -> Refusal {
        let mut bytes = Vec::new();
        refusal.encode(&mut Writer::new(&mut bytes));
        Refusal::decode(&mut Reader::new(&bytes)).unwrap()
    }

    #[test]
    fn refusals_survive_the_wire() {
        for refusal in PLAIN {
            assert_eq!(again(*refusal), *refusal);
        }
        for sentence in SENTENCES {
            assert_eq!(again(Refusal::Invalid(sentence)), Refusal::Invalid(sentence));
        }
        let stale = Refusal::Stale { number: ViewNumber(7) };
        assert_eq!(again(stale), stale);
    }
}
