//! What became of a write: the leader of its group looks its id up, or compares its position with the log's history.
// catalogue: C10

use crate::answers::Known;
use crate::node::Node;
use crate::options::ClientRequest;
use alloc::vec::Vec;
use data::keyspace::Level;
use data::{GroupId, Index, NodeId, Position, RequestId};
use wire::number::parse_integer;
use wire::{Protocol, ReplyWriter};

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Outcome {
    /// The leader knows nothing of it: it was not executed so far.
    #[default]
    Unknown,
    /// In the leader's log, and not committed.
    Pending,
    Committed,
    /// It was in the log of a leader that lost it.
    Lost,
    /// So long ago that nobody can tell.
    TooOld,
}

const OUTCOMES: [Outcome; 5] =
    [Outcome::Unknown, Outcome::Pending, Outcome::Committed, Outcome::Lost, Outcome::TooOld];
const LEVELS: [Level; 3] = [Level::Received, Level::Flushed, Level::Applied];

/// What the leader says of a write.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Fate {
    pub outcome: Outcome,
    pub position: Position,
    /// Followers that hold it, and what they did with it.
    pub holders: Vec<(NodeId, Level)>,
}

impl Fate {
    /// As the answer to [`crate::message::Work::Fate`].
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut w = ReplyWriter::new(&mut bytes, Protocol::Resp2);
        w.array(3 + self.holders.len() * 2);
        let place = OUTCOMES.iter().position(|outcome| *outcome == self.outcome).unwrap_or(0);
        w.integer(place as i64);
        w.integer(self.position.epoch.0 as i64);
        w.integer(self.position.index.0 as i64);
        for (node, level) in &self.holders {
            w.integer(i64::from(node.0));
            w.integer(LEVELS.iter().position(|it| it == level).unwrap_or(0) as i64);
        }
        bytes
    }
    pub fn decode(reply: &[u8]) -> Option<Fate> {
        let mut lines =
            reply.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let count = usize::try_from(parse_integer(lines.next()?.strip_prefix(b"*")?)?).ok()?;
        let numbers =
            lines.take(count).map(|line| u64::try_from(parse_integer(line.strip_prefix(b":")?)?).ok());
        let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
        let [outcome, epoch, index, holders @ ..] = &numbers[..] else { return None };
        if numbers.len() != count || holders.len() % 2 == 1 {
            return None;
        }
        let holder = |pair: &[u64]| {
            let node = NodeId(u32::try_from(pair[0]).ok()?);
            Some((node, *LEVELS.get(usize::try_from(pair[1]).ok()?)?))
        };
        Some(Fate {
            outcome: *OUTCOMES.get(usize::try_from(*outcome).ok()?)?,
            position: Position::new(*epoch, *index),
            holders: holders.chunks_exact(2).map(holder).collect::<Option<_>>()?,
        })
    }
}

impl Node {
    /// What this node, which leads the group, knows of a write.
    pub(crate) fn fate(
        &self,
        group: GroupId,
        told: Position,
        of: RequestId,
        client: Option<ClientRequest>,
    ) -> Fate {
        let Some(it) = self.groups.get(&group) else { return Fate::default() };
        let id = client.map_or(of, |client| client.id(&it.table));
        let known = if id.is_none() { Known::New } else { it.answers.find(id) };
        let position = match known {
            Known::Done { position, .. } => position,
            Known::New => told,
            Known::TooOld => return Fate { outcome: Outcome::TooOld, ..Fate::default() },
        };
        // What a leader went on without has its place in the history, and nothing came of it.
        let gone = it.shortfall.lost().covers(position.index);
        if gone && it.shortfall.lost().is_wide() {
            // So many gaps that what lies between the oldest is no longer told apart.
            return Fate { outcome: Outcome::Unknown, position, holders: Vec::new() };
        }
        let lost = gone || it.replica.view().is_some_and(|view| view.has_lost(position));
        let outcome = match position.index {
            Index(0) => return Fate::default(),
            _ if lost => return Fate { outcome: Outcome::Lost, position, holders: Vec::new() },
            index if index <= it.replica.commit() => Outcome::Committed,
            _ => Outcome::Pending,
        };
        let level = it.keyspace.settings.level_held();
        let applied = |node: NodeId| {
            let progress = it.replica.followers().find(|(follower, _)| *follower == node);
            progress.is_some_and(|(_, progress)| progress.applied >= position.index)
        };
        let holders = self.holders(group, position).into_iter();
        let holders =
            holders.map(|node| (node, if applied(node) { Level::Applied } else { level })).collect();
        Fate { outcome, position, holders }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fate_travels_as_a_reply() {
        for outcome in OUTCOMES {
            let holders = alloc::vec![(NodeId(2), Level::Applied), (NodeId(4_000_000_000), Level::Flushed)];
            let fate = Fate { outcome, position: Position::new(3, 99), holders };
            assert_eq!(Fate::decode(&fate.encode()), Some(fate));
        }
        for wrong in [
            "-TRYAGAIN no\r\n",
            "*3\r\n:2\r\n:1\r\n",
            "*3\r\n:9\r\n:1\r\n:1\r\n",
            "*4\r\n:2\r\n:1\r\n:1\r\n:1\r\n",
            "",
        ] {
            assert_eq!(Fate::decode(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
