//! A question that a client has and every node within reach answers: LEDGER, INBOX. The client's reply waits for all of them.

use crate::io::ConnectionId;
use crate::node::Node;
use crate::replies::SlotId;
use crate::serve::PATIENCE;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::str::FromStr;
use data::{Instant, KeyspaceId, NodeId};
use wire::Protocol;

/// What is asked for, and what was answered so far.
pub(crate) struct Poll<What, Found> {
    number: u64,
    pub asker: Asker,
    pub what: What,
    pub found: Found,
    waits_for: BTreeSet<NodeId>,
    deadline: Instant,
}

/// The client whose reply waits.
#[derive(Clone, Copy)]
pub(crate) struct Asker {
    pub connection: ConnectionId,
    pub slot: SlotId,
    pub protocol: Protocol,
}

/// Polls that have not ended.
pub(crate) struct Polls<What, Found> {
    open: Vec<Poll<What, Found>>,
    begun: u64,
}

impl<What, Found> Default for Polls<What, Found> {
    fn default() -> Self {
        Polls { open: Vec::new(), begun: 0 }
    }
}

impl<What, Found> Polls<What, Found> {
    /// Begins one that these nodes are asked. Returns its number.
    pub fn begin(
        &mut self,
        now: Instant,
        asker: Asker,
        what: What,
        found: Found,
        asked: &BTreeSet<NodeId>,
    ) -> u64 {
        self.begun += 1;
        let (number, waits_for, deadline) = (self.begun, asked.clone(), now + PATIENCE);
        self.open.push(Poll { number, asker, what, found, waits_for, deadline });
        number
    }
    /// Where a node's answer goes; nothing for one that nobody waits for any more.
    pub fn answered(&mut self, from: NodeId, number: u64) -> Option<&mut Found> {
        let poll = self.open.iter_mut().find(|poll| poll.number == number)?;
        poll.waits_for.remove(&from).then_some(&mut poll.found)
    }
    /// Those that every node answered that still can, or whose time is over.
    pub fn ended(&mut self, now: Instant, peers: &BTreeMap<NodeId, u8>) -> Vec<Poll<What, Found>> {
        let waits = |it: &Poll<What, Found>| {
            now < it.deadline && it.waits_for.iter().any(|node| peers.contains_key(node))
        };
        self.open.extract_if(.., |poll| !waits(poll)).collect()
    }
}

/// Up to which item the lists of several nodes together are whole: behind it somebody has more than was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Horizon<Id>(Option<Id>);

impl<Id> Default for Horizon<Id> {
    fn default() -> Self {
        Horizon(None)
    }
}

impl<Id: Ord + Copy> Horizon<Id> {
    /// A node's list ends here although it has more.
    pub fn note(&mut self, last: Id) {
        self.0 = Some(self.0.map_or(last, |horizon| horizon.min(last)));
    }
    /// Leaves out what lies behind: asked for after the last that stays, it comes.
    pub fn cut<Item>(&self, items: &mut BTreeMap<Id, Item>) {
        if let Some(horizon) = self.0 {
            items.retain(|id, _| *id <= horizon);
        }
    }
}

impl Node {
    /// Makes a client's reply wait, and names the nodes within reach that know of the question since this message version.
    pub(super) fn poll(
        &mut self,
        connection: ConnectionId,
        since_version: u8,
    ) -> Option<(Asker, BTreeSet<NodeId>)> {
        let slot = self.hold_reply(connection)?;
        let protocol = self.sessions.get(connection).map_or(Protocol::Resp2, |session| session.protocol);
        let asked = self.peers.iter().filter(|(_, version)| **version >= since_version);
        Some((Asker { connection, slot, protocol }, asked.map(|(node, _)| *node).collect()))
    }

    /// Names of the members that did not answer and may hold more: a reply tells them.
    pub(super) fn silent<What, Found>(&self, poll: &Poll<What, Found>, since_version: u8) -> Vec<&str> {
        let answered = |node: &NodeId| {
            *node == self.config.node
                || self.peers.get(node).is_some_and(|version| *version >= since_version)
                    && !poll.waits_for.contains(node)
        };
        let silent = self.map.nodes.values().filter(|node| !answered(&node.id));
        silent.map(|node| node.name.as_str()).collect()
    }

    /// The words behind LIST: `[<keyspace>] [AFTER <id>]`. An error says what is wrong with them.
    pub(super) fn list_words<Id: FromStr>(
        &self,
        words: &[&[u8]],
        no_id: &'static str,
    ) -> Result<(Option<KeyspaceId>, Option<Id>), &'static str> {
        let (name, rest) = match words {
            [word, _] if word.eq_ignore_ascii_case(b"AFTER") => (None, words),
            [name, rest @ ..] => (Some(*name), rest),
            [] => (None, words),
        };
        let after = match rest {
            [] => None,
            [word, id] if word.eq_ignore_ascii_case(b"AFTER") => Some(id_of(id).ok_or(no_id)?),
            _ => return Err("ERR syntax error"),
        };
        let known = |name| self.keyspace_of(name).map(|it| it.id).ok_or("ERR no such keyspace");
        Ok((name.map(known).transpose()?, after))
    }
}

/// An item's id as clients write it.
pub(super) fn id_of<Id: FromStr>(text: &[u8]) -> Option<Id> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_several_nodes_are_told_as_far_as_all_of_them_are_whole() {
        let mut items: BTreeMap<u32, ()> = (1..=9).map(|id| (id, ())).collect();
        Horizon::default().cut(&mut items);
        assert_eq!(items.len(), 9);
        let mut horizon = Horizon::default();
        horizon.note(7);
        horizon.note(4);
        horizon.note(6);
        horizon.cut(&mut items);
        assert_eq!(items.into_keys().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn an_answer_counts_once_and_only_while_somebody_waits_for_it() {
        let asker = Asker { connection: ConnectionId(1), slot: 1, protocol: Protocol::Resp2 };
        let (first, second) = (NodeId(1), NodeId(2));
        let mut polls: Polls<(), u32> = Polls::default();
        let number = polls.begin(Instant::ZERO, asker, (), 0, &BTreeSet::from([first, second]));
        let peers = BTreeMap::from([(first, 6), (second, 6)]);
        *polls.answered(first, number).unwrap() += 1;
        assert!(polls.answered(first, number).is_none() && polls.answered(second, number + 1).is_none());
        assert!(polls.ended(Instant::ZERO, &peers).is_empty());
        // The other can no longer answer.
        let ended = polls.ended(Instant::ZERO, &BTreeMap::from([(first, 6)]));
        assert_eq!(ended.iter().map(|poll| poll.found).collect::<Vec<_>>(), [1]);
        assert!(polls.answered(second, number).is_none());
    }
}
