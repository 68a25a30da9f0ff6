//! What one request asks for beside its keyspace's rule: which followers shall hold its entry before it is answered, and how.
//!
//! It moves the moment of the reply and nothing else: what is committed, shown and elected stays the keyspace's rule
//! (DESIGN 7, rule 8). Asking for more than that rule, the reply waits for the commit and for these followers too. Asking
//! for less, it does not wait for the commit: the write stays invisible until then, and may be lost.
// catalogue: C11, C12, C13

use super::io::Output;
use super::leader::Leader;
use super::replica::{Replica, Role};
use crate::quorum::reached_by;
use alloc::vec::Vec;
use data::codec::{DecodeError, Reader, Writer};
use data::keyspace::{CommitRule, Level};
use data::view::View;
use data::{Index, Instant, NodeId};

/// Who shall hold the entry.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Who {
    /// As many as the keyspace's rule needs.
    #[default]
    Keyspace,
    /// Not even the leader's log (Kafka's `acks=0`).
    Nobody,
    /// The leader, and as many electable followers as this rule would need.
    Rule(CommitRule),
    /// The leader, and the first so many of these that are connected, in this order (PostgreSQL's `FIRST`).
    First { count: u32, nodes: Vec<NodeId> },
    /// The leader, and so many of these, whichever (PostgreSQL's `ANY`).
    Any { count: u32, nodes: Vec<NodeId> },
}

/// What one request asks for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Asked {
    pub who: Who,
    /// `None`: the keyspace's.
    pub level: Option<Level>,
    /// How long the reply may wait before it is INDETERMINATE, ms; `None`: as long as the keyspace lets it.
    pub timeout_ms: Option<u32>,
}

/// What the leader knows of an electable follower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    pub node: NodeId,
    pub connected: bool,
    pub matched: Index,
    pub applied: Index,
}

impl Standing {
    fn at(&self, level: Level) -> Index {
        match level {
            Level::Received | Level::Flushed => self.matched,
            Level::Applied => self.applied.min(self.matched),
        }
    }
}

impl Who {
    /// Followers that it waits for, where the keyspace's rule needs `present` in an electable set of `electable` out of
    /// `members`.
    pub fn followers_needed(&self, present: usize, electable: usize, members: usize) -> usize {
        match self {
            Who::Keyspace => present,
            Who::Nobody => 0,
            // Every member: also those that a set which drops laggards is without at the moment.
            Who::Rule(CommitRule::Synchronous) => members.max(electable).saturating_sub(1),
            Who::Rule(rule) => rule.followers_needed(electable),
            Who::First { count, .. } | Who::Any { count, .. } => *count as usize,
        }
    }
    /// Whether this follower is one that is asked for.
    pub fn names(&self, node: NodeId) -> bool {
        match self {
            Who::First { nodes, .. } | Who::Any { nodes, .. } => nodes.contains(&node),
            Who::Keyspace | Who::Nobody | Who::Rule(_) => true,
        }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        let named = |w: &mut Writer<'_>, count: u32, nodes: &[NodeId]| {
            w.u32(count);
            w.list(nodes, |w, node| node.encode(w));
        };
        match self {
            Who::Keyspace => w.u8(1),
            Who::Nobody => w.u8(2),
            Who::Rule(rule) => {
                w.u8(3);
                rule.encode(w);
            }
            Who::First { count, nodes } => {
                w.u8(4);
                named(w, *count, nodes);
            }
            Who::Any { count, nodes } => {
                w.u8(5);
                named(w, *count, nodes);
            }
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Who, DecodeError> {
        Ok(match r.u8()? {
            1 => Who::Keyspace,
            2 => Who::Nobody,
            3 => Who::Rule(CommitRule::decode(r)?),
            4 => Who::First { count: r.u32()?, nodes: r.list(NodeId::decode)? },
            5 => Who::Any { count: r.u32()?, nodes: r.list(NodeId::decode)? },
            _ => return Err(DecodeError::Invalid("whom a request waits for")),
        })
    }
}

impl Asked {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.who.encode(w);
        w.option(self.level, |w, level| level.encode(w));
        w.option(self.timeout_ms, |w, ms| w.u32(ms));
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Asked, DecodeError> {
        Ok(Asked {
            who: Who::decode(r)?,
            level: r.option(Level::decode)?,
            timeout_ms: r.option(|r| r.u32())?,
        })
    }
}

/// The highest index that is where it is asked to be: on the leader (`own`) and on `needed` of the electable followers.
pub fn reached(who: &Who, level: Level, needed: usize, own: Index, followers: &[Standing]) -> Index {
    let mut standing: Vec<Index> = match who {
        Who::Nobody => return Index(u64::MAX),
        Who::First { nodes, .. } => {
            let connected = |node: &NodeId| followers.iter().find(|it| it.node == *node && it.connected);
            nodes.iter().filter_map(connected).take(needed).map(|it| it.at(level)).collect()
        }
        Who::Any { .. } | Who::Keyspace | Who::Rule(_) => {
            followers.iter().filter(|it| who.names(it.node)).map(|it| it.at(level)).collect()
        }
    };
    own.min(reached_by(&mut standing, needed, own))
}

impl Replica {
    /// How far what is asked for is reached by now; nothing, unless this replica leads.
    pub fn reached(&self, asked: &Asked) -> Index {
        let (Role::Leader(leader), Some(view)) = (&self.role, &self.view) else { return Index(0) };
        let level = asked.level.unwrap_or(view.settings.level);
        let needed = self.followers_asked(asked, view);
        reached(&asked.who, level, needed, self.persisted, &standings(leader, view, self.me.node))
    }

    /// Whether less is asked for than the keyspace's rule of now needs: then the reply does not wait for the commit.
    pub fn asks_less(&self, asked: &Asked) -> bool {
        let Some(view) = &self.view else { return false };
        asked.who == Who::Nobody || self.followers_asked(asked, view) < view.followers_needed()
    }

    fn followers_asked(&self, asked: &Asked, view: &View) -> usize {
        let (electable, members) = (view.electable.len(), view.members.len());
        asked.who.followers_needed(view.followers_needed(), electable, members)
    }

    /// Tells followers at once how far the log is committed: they apply it, and say so. For replies that wait for that.
    pub fn announce_commit(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Role::Leader(leader) = &self.role else { return };
        let untold =
            leader.followers.iter().filter(|(_, it)| it.is_replicating() && it.told_less(self.commit));
        let untold: Vec<NodeId> = untold.map(|(node, _)| *node).collect();
        for node in untold {
            self.send_notice(now, node, out);
        }
    }
}

fn standings(leader: &Leader, view: &View, me: NodeId) -> Vec<Standing> {
    let others = view.electable.iter().filter(|replica| replica.node != me);
    others
        .map(|replica| {
            let progress = leader.followers.get(&replica.node);
            let alike = progress.filter(|it| it.incarnation == Some(replica.incarnation));
            let holds = progress.is_some_and(|it| leader.counts(view, it));
            let alike = alike.filter(|_| holds);
            Standing {
                node: replica.node,
                connected: alike.is_some_and(|it| it.connected && it.is_replicating()),
                matched: if holds { Replica::persisted_by(leader, *replica) } else { Index(0) },
                applied: alike.map_or(Index(0), |it| it.applied),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn standing(node: u32, connected: bool, matched: u64, applied: u64) -> Standing {
        Standing { node: NodeId(node), connected, matched: Index(matched), applied: Index(applied) }
    }
    fn nodes(nodes: &[u32]) -> Vec<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    // catalogue: C11, C12, C13
    #[test]
    fn each_wish_counts_its_followers() {
        let followers = [
            standing(2, true, 7, 3),
            standing(3, false, 9, 9),
            standing(4, true, 5, 5),
            standing(5, true, 6, 1),
        ];
        let first = |count, named: &[u32]| Who::First { count, nodes: nodes(named) };
        let any = |count, named: &[u32]| Who::Any { count, nodes: nodes(named) };
        let rule = Who::Rule;
        let (flushed, applied) = (Level::Flushed, Level::Applied);
        let cases = [
            (Who::Nobody, flushed, u64::MAX),
            (rule(CommitRule::Async), flushed, 8),
            (rule(CommitRule::SemiSync { acks: 1 }), flushed, 8),
            (rule(CommitRule::SemiSync { acks: 2 }), flushed, 7),
            (rule(CommitRule::Majority), flushed, 7),
            (rule(CommitRule::InSyncSet { minimum: 0 }), flushed, 5),
            (rule(CommitRule::Synchronous), flushed, 5),
            (Who::Keyspace, flushed, 7),
            (Who::Keyspace, applied, 5),
            (rule(CommitRule::SemiSync { acks: 3 }), applied, 3),
            (first(1, &[2, 4]), flushed, 7),
            (first(1, &[4, 2]), flushed, 5),
            // The one that is not connected gives its place to the next.
            (first(2, &[3, 4, 2]), flushed, 5),
            (first(2, &[3, 4]), flushed, 0),
            (any(1, &[3, 4]), flushed, 8),
            (any(2, &[4, 5]), flushed, 5),
            (any(1, &[2, 5]), applied, 3),
            (any(2, &[4]), flushed, 0),
            (any(1, &[9]), flushed, 0),
        ];
        for (who, level, expected) in cases {
            let needed = who.followers_needed(2, 5, 5);
            let found = reached(&who, level, needed, Index(8), &followers);
            assert_eq!(found, Index(expected), "{who:?} {level:?}");
        }
    }

    #[test]
    fn synchronous_counts_members_that_the_set_is_without() {
        let all = Who::Rule(CommitRule::Synchronous);
        assert_eq!(all.followers_needed(1, 2, 3), 2);
        let in_sync = Who::Rule(CommitRule::InSyncSet { minimum: 0 });
        assert_eq!(in_sync.followers_needed(1, 2, 3), 1);
    }

    #[test]
    fn wishes_travel() {
        let wishes = [
            Asked::default(),
            Asked { who: Who::Nobody, level: None, timeout_ms: Some(5) },
            Asked {
                who: Who::Rule(CommitRule::SemiSync { acks: 2 }),
                level: Some(Level::Applied),
                timeout_ms: None,
            },
            Asked { who: Who::First { count: 1, nodes: nodes(&[2, 3]) }, ..Asked::default() },
            Asked { who: Who::Any { count: 2, nodes: nodes(&[2, 3, 4]) }, ..Asked::default() },
        ];
        for asked in wishes {
            let mut bytes = vec![];
            asked.encode(&mut Writer::new(&mut bytes));
            assert_eq!(Asked::decode(&mut Reader::new(&bytes)), Ok(asked.clone()));
            for cut in 0..bytes.len() {
                assert!(Asked::decode(&mut Reader::new(&bytes[..cut])).is_err(), "{asked:?} cut at {cut}");
            }
        }
    }
}
