//! WAIT, WAITAOF and RECEIPT: which followers hold the connection's last write. The group's leader knows; it is asked when it
//! is another node. Followers acknowledge what they have made durable as the keyspace asks, so WAIT and WAITAOF count the same
//! followers.
// catalogue: C14

use super::receipt::Told;
use crate::fate::Fate;
use crate::forward::{Origin, Outgoing, Purpose};
use crate::io::ConnectionId;
use crate::message::{HELD_SINCE, Work};
use crate::node::{Flow, Node};
use crate::options::ClientRequest;
use crate::replies::SlotId;
use crate::serve::PATIENCE;
use crate::session::{Receipt, WriteName};
use crate::sites::session::decode_held;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use data::{GroupId, Instant, KeyspaceId, NodeId, Position, RequestId};
use protocol::multi_leader::{Shard, SiteToken};
use protocol::session::Wanted;
use wire::number::parse_integer;
use wire::{Protocol, ReplyWriter};

/// The leader is asked again so often.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What a client wants to hear of the holders of its last write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Question {
    Wait {
        followers: usize,
    },
    WaitAof {
        followers: usize,
    },
    Receipt,
    /// SESSION TOKEN: answered once everything before it is.
    Token,
}

/// A client that waits for the answer.
pub(crate) struct Waiting {
    connection: ConnectionId,
    slot: SlotId,
    question: Question,
    deadline: Option<Instant>,
    known: Vec<NodeId>,
    /// WAIT: how many hold what was written, of the groups for which that is known.
    counts: Vec<(GroupId, usize)>,
    /// RECEIPT of a write that may not be committed, and what the leader said of it.
    fate: Option<Fate>,
    /// RECEIPT of a client's own id.
    of: Option<ClientRequest>,
    /// The reply that the receipt belongs to: it comes first.
    after: Option<SlotId>,
    /// When the leader was asked last, and whether its answer is still to come.
    asked_at: Instant,
    asked: bool,
    asks_fate: bool,
    /// SESSION TOKEN: what sites hold whose groups the session saw, of which groups that is known, and which is asked.
    sites: SiteToken,
    told: Vec<GroupId>,
    asks_site: GroupId,
}

/// What WAIT knows at a look.
#[derive(PartialEq, Eq)]
enum Look {
    /// These followers hold it, and the leader of this moment said so.
    Held(Vec<NodeId>),
    /// The leader of the group that has this slot must be asked for this write; with several sites of that group.
    Ask(KeyspaceId, u16, Option<GroupId>, Work),
    /// An earlier command of the connection has no answer yet.
    NotYet,
}

impl Node {
    pub(super) fn wait(&mut self, connection: ConnectionId, args: &[&[u8]], flushed: bool) -> Flow {
        let numbers: Option<Vec<i64>> = args[1..].iter().map(|text| parse_integer(text)).collect();
        let Some(numbers) = numbers else {
            return self.reply_error(connection, "ERR value is not an integer or out of range");
        };
        let (local, wanted, timeout) = match numbers[..] {
            [wanted, timeout] => (0, wanted, timeout),
            [local, wanted, timeout] => (local, wanted, timeout),
            _ => return self.reply_error(connection, "ERR syntax error"),
        };
        if timeout < 0 {
            return self.reply_error(connection, "ERR timeout is negative");
        }
        if !(0..=1).contains(&local) || wanted < 0 {
            return self.reply_error(connection, "ERR value is out of range, must be positive");
        }
        let deadline = (timeout > 0).then(|| self.now.instant + Duration::from_millis(timeout as u64));
        let followers = wanted as usize;
        let question = if flushed { Question::WaitAof { followers } } else { Question::Wait { followers } };
        self.ask_later(connection, question, deadline, None, None)
    }

    /// Holds the reply until the question has an answer.
    pub(super) fn ask_later(
        &mut self,
        connection: ConnectionId,
        question: Question,
        deadline: Option<Instant>,
        of: Option<ClientRequest>,
        after: Option<SlotId>,
    ) -> Flow {
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        session.paused = true;
        session.receipt_due = after.is_some();
        self.waits.push(Waiting {
            connection,
            slot,
            question,
            deadline,
            known: Vec::new(),
            counts: Vec::new(),
            fate: None,
            of,
            after,
            asked_at: Instant::ZERO,
            asked: false,
            asks_fate: false,
            sites: SiteToken::default(),
            told: Vec::new(),
            asks_site: GroupId(0),
        });
        self.tend_waits();
        if self.is_paused(connection) { Flow::Pause } else { Flow::Continue }
    }

    /// Which followers hold the log of a group led here through a position.
    pub(crate) fn holders(&self, group: GroupId, position: Position) -> Vec<NodeId> {
        let Some(it) = self.groups.get(&group) else { return Vec::new() };
        // What stands there now may be another entry.
        let gone = it.shortfall.lost().covers(position.index);
        if gone || it.replica.view().is_some_and(|view| view.has_lost(position)) {
            return Vec::new();
        }
        let electable =
            |node| it.replica.view().is_some_and(|view| view.electable.iter().any(|r| r.node == node));
        let holding = it.replica.followers().filter(|(node, p)| {
            electable(*node) && p.matched >= position.index && it.replica.is_whole(*node)
        });
        let mut holders: Vec<NodeId> = holding.map(|(node, _)| node).collect();
        // In the order in which they fed each other, where they did.
        let order = it.replica.links().order();
        holders.sort_by_key(|node| order.iter().position(|linked| linked == node).unwrap_or(order.len()));
        holders
    }

    /// Looks again how many followers hold what clients wait for.
    pub(crate) fn tend_waits(&mut self) {
        let now = self.now.instant;
        let (mut kept, mut again) = (Vec::new(), false);
        for mut wait in core::mem::take(&mut self.waits) {
            if self.sessions.get(wait.connection).is_none() {
                continue;
            }
            if wait.question == Question::Token {
                match self.is_settled(&wait) && self.has_token(&mut wait) {
                    true => self.end_wait(&wait),
                    false => kept.push(wait),
                }
                continue;
            }
            let look = self.look(&wait);
            if look == Look::NotYet && wait.question == Question::Receipt {
                // It speaks of the last command, so that one is waited for, and then the leader asked.
                wait.deadline = Some(now + PATIENCE);
            }
            let answered = match look {
                Look::Held(holders) => {
                    wait.known = holders;
                    true
                }
                Look::Ask(keyspace, shard, home, work) => {
                    self.ask_leader(&mut wait, (keyspace, shard, home), work);
                    wait.asked_at != Instant::ZERO && !wait.asked
                }
                Look::NotYet => false,
            };
            let wanted = match wait.question {
                Question::Wait { followers } | Question::WaitAof { followers } => followers,
                Question::Receipt | Question::Token => 0,
            };
            let over = wait.deadline.is_some_and(|deadline| now >= deadline);
            let enough = answered && wait.known.len() >= wanted;
            if over || (enough && !self.look_further(&mut wait)) {
                self.end_wait(&wait);
            } else {
                again |= enough;
                kept.push(wait);
            }
        }
        self.waits.append(&mut kept);
        if again {
            self.tend_waits();
        }
    }

    /// Of the groups that the connection wrote to the next one that nobody was asked about.
    fn next_written<'s>(&'s self, wait: &Waiting) -> Option<&'s Receipt> {
        let known = |it: &&Receipt| wait.counts.iter().any(|(group, _)| *group == it.group);
        self.sessions.get(wait.connection)?.written.iter().find(|it| !known(it))
    }

    /// Enough hold the writes to one group: goes on with the next one, if there is one.
    fn look_further(&self, wait: &mut Waiting) -> bool {
        if matches!(wait.question, Question::Receipt | Question::Token) {
            return false;
        }
        let Some(group) = self.next_written(wait).map(|it| it.group) else { return false };
        wait.counts.push((group, wait.known.len()));
        if self.next_written(wait).is_none() {
            return false;
        }
        wait.known.clear();
        (wait.asked_at, wait.asked) = (Instant::ZERO, false);
        true
    }

    /// How many followers hold everything that the connection wrote, as far as is known.
    fn holders_of_all(&self, wait: &Waiting) -> usize {
        let known = |group| wait.counts.iter().find(|(of, _)| *of == group).map(|(_, count)| *count);
        let written = self.sessions.get(wait.connection).map_or(&[][..], |session| &session.written);
        let asked = self.next_written(wait).map(|it| it.group);
        // Of groups that were not asked about in time only what this node knows as their leader.
        let count = |it: &Receipt| match known(it.group) {
            Some(count) => count,
            None if Some(it.group) == asked => wait.known.len(),
            None => self.holders(it.group, it.position).len(),
        };
        written.iter().map(count).min().unwrap_or(wait.known.len())
    }

    /// Whether every command before it on its connection was answered.
    fn is_settled(&self, wait: &Waiting) -> bool {
        let session = self.sessions.get(wait.connection);
        let asked = usize::from(wait.asked);
        session.is_some_and(|session| session.forwarded == asked && session.replies.is_first(wait.slot))
    }

    /// The next group of a site that the session saw and that is still to tell what its site holds.
    fn next_untold(&self, wait: &Waiting) -> Option<(GroupId, Shard)> {
        let session = self.sessions.get(wait.connection)?;
        let is_carried = |group: &GroupId| {
            let carried = session.carried.get(group).map(|at| Wanted::Position(*at));
            carried.is_some_and(|at| session.seen.wanted(*group) == at)
        };
        let groups = session.seen.groups().filter(|group| !wait.told.contains(group) && !is_carried(group));
        groups.into_iter().find_map(|group| Some((group, self.shard_of_site(group)?)))
    }
    /// Whether all is known that a token must tell, or will not be in time. Asks the leader who is to tell next.
    fn has_token(&mut self, wait: &mut Waiting) -> bool {
        while let Some((group, (keyspace, _))) = self.next_untold(wait) {
            let now = self.now.instant;
            let deadline = *wait.deadline.get_or_insert(now + PATIENCE);
            if self.groups.get(&group).is_some_and(|it| it.is_serving()) {
                let held = self.held_here(group);
                self.take_held(wait, group, &held);
                if wait.told.last() == Some(&group) {
                    continue;
                }
            }
            if now >= deadline {
                return true;
            }
            let leader = self.map.leader_of(group).and_then(|leader| self.peers.get(&leader));
            if leader.is_some_and(|version| *version < HELD_SINCE) {
                // It cannot tell: the token counts at its site, as before.
                wait.told.push(group);
                continue;
            }
            wait.asks_site = group;
            let slot = self.map.groups.get(&group).and_then(|it| it.slots.first()).unwrap_or(0);
            self.ask_leader(wait, (keyspace, slot, Some(group)), Work::Held);
            return false;
        }
        true
    }
    fn take_held(&self, wait: &mut Waiting, group: GroupId, reply: &[u8]) {
        if let (Some(shard), Some(held)) = (self.shard_of_site(group), decode_held(reply))
            && wait.sites.note(shard, &held)
        {
            wait.told.push(group);
        }
    }

    fn look(&self, wait: &Waiting) -> Look {
        let Some(session) = self.sessions.get(wait.connection) else { return Look::NotYet };
        let held = wait.after.is_some_and(|slot| session.replies.is_held(slot));
        // A forwarded question counts as one of them.
        if held || session.forwarded > usize::from(wait.asked) {
            return Look::NotYet;
        }
        if let Some(client) = &wait.of {
            let (position, of) = (Position::default(), RequestId::NONE);
            let work = Work::Fate { position, of, client: Some(client.clone()) };
            return Look::Ask(session.keyspace, 0, None, work);
        }
        let subject = match wait.question {
            Question::Receipt => session.receipt.as_ref().filter(|receipt| receipt.write),
            Question::Wait { .. } | Question::WaitAof { .. } => self.next_written(wait),
            Question::Token => None,
        };
        let shard = |group| self.map.groups.get(&group).and_then(|it| it.slots.first()).unwrap_or(0);
        // Every site has a group for the slot: the one that took the write knows.
        let home = |keyspace, group| self.is_multi_leader(keyspace).then_some(group);
        if let Some(it) = subject.filter(|it| wait.question == Question::Receipt && self.is_uncertain(it)) {
            let WriteName { request: of, client } = it.name.as_deref().cloned().unwrap_or_default();
            let work = Work::Fate { position: it.position, of, client };
            return Look::Ask(it.keyspace, shard(it.group), home(it.keyspace, it.group), work);
        }
        let Some(Receipt { keyspace, group, position, .. }) = subject else {
            // Nothing was written: every follower holds that.
            let route = self.route_shown(session.keyspace);
            let view = route.and_then(|route| self.map.view(route.group));
            let followers = |view: &data::view::View| {
                let leader = view.leader.map(|leader| leader.replica.node);
                view.electable.iter().map(|r| r.node).filter(|node| Some(*node) != leader).collect()
            };
            return Look::Held(view.map_or_else(Vec::new, followers));
        };
        if *position == Position::default() {
            return Look::Held(Vec::new());
        }
        if self.groups.get(group).is_some_and(|it| it.is_serving()) {
            return Look::Held(self.holders(*group, *position));
        }
        if home(*keyspace, *group).is_some_and(|group| !self.map.groups.contains_key(&group)) {
            // Its site has left the keyspace.
            return Look::Held(Vec::new());
        }
        let work = Work::Holders { position: *position };
        Look::Ask(*keyspace, shard(*group), home(*keyspace, *group), work)
    }

    /// Replies that end with their receipt: looked at in every turn, so that nobody waits for a tick.
    pub(crate) fn tend_receipts(&mut self) {
        if self.waits.iter().any(|wait| wait.after.is_some()) {
            self.tend_waits();
        }
    }

    fn ask_leader(
        &mut self,
        wait: &mut Waiting,
        (keyspace, shard, home): (KeyspaceId, u16, Option<GroupId>),
        work: Work,
    ) {
        let now = self.now.instant;
        if wait.asked || (wait.asked_at != Instant::ZERO && now.since(wait.asked_at) < ASK_EVERY) {
            return;
        }
        let (connection, slot) = (wait.connection, wait.slot);
        let asks_fate = matches!(work, Work::Fate { .. });
        let origin = Origin::Client { connection, slot, purpose: Purpose::Holders };
        let outgoing = Outgoing::new(keyspace, Protocol::Resp2, work, origin, wait.deadline);
        let outgoing = Outgoing { slot: shard, home, ..outgoing };
        // Without room for it now, there may be some at the next look.
        if self.forwards.add(outgoing).is_ok()
            && let Some(session) = self.sessions.get_mut(connection)
        {
            session.forwarded += 1;
            wait.asked_at = now;
            wait.asked = true;
            wait.asks_fate = asks_fate;
        }
    }

    /// The leader said how many hold it, or nobody did in time.
    pub(crate) fn on_holders(&mut self, connection: ConnectionId, slot: SlotId, reply: &[u8]) {
        let its = |wait: &&mut Waiting| wait.connection == connection && wait.slot == slot;
        let Some(wait) = self.waits.iter_mut().find(its) else { return };
        wait.asked = false;
        if wait.question == Question::Token {
            // An error tells nothing: asked again, a moment later.
            let (group, mut waits) = (wait.asks_site, core::mem::take(&mut self.waits));
            let its = |wait: &&mut Waiting| wait.connection == connection && wait.slot == slot;
            if let Some(wait) = waits.iter_mut().find(its) {
                self.take_held(wait, group, reply);
                if wait.told.last() == Some(&group) {
                    wait.asked_at = Instant::ZERO;
                }
            }
            self.waits = waits;
            return self.tend_waits();
        }
        match (
            decode_holders(reply).filter(|_| !wait.asks_fate),
            Fate::decode(reply).filter(|_| wait.asks_fate),
        ) {
            (Some(holders), _) => wait.known = holders,
            (_, fate @ Some(_)) => wait.fate = fate,
            // An error tells nothing: asked again.
            (None, None) => wait.asked_at = Instant::ZERO,
        }
        self.tend_waits();
    }

    fn end_wait(&mut self, wait: &Waiting) {
        let count = self.holders_of_all(wait);
        let bytes = match wait.question {
            Question::Wait { .. } => format!(":{count}\r\n").into_bytes(),
            Question::WaitAof { .. } => format!("*2\r\n:1\r\n:{count}\r\n").into_bytes(),
            Question::Receipt => {
                let told = Told { holders: &wait.known, fate: wait.fate.as_ref(), of: wait.of.as_ref() };
                self.receipt_bytes(wait.connection, &told)
            }
            Question::Token => {
                let untold = self.next_untold(wait).map(|(group, _)| group);
                self.token_bytes(wait.connection, &wait.sites, untold)
            }
        };
        if let Some(session) = self.sessions.get_mut(wait.connection) {
            session.receipt_due = false;
        }
        self.fill(wait.connection, wait.slot, &bytes);
        self.resume(wait.connection);
    }
}

/// The answer to [`Work::Holders`].
pub(crate) fn encode_holders(holders: &[NodeId]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut w = ReplyWriter::new(&mut bytes, Protocol::Resp2);
    w.array(holders.len());
    holders.iter().for_each(|node| w.integer(i64::from(node.0)));
    bytes
}

fn decode_holders(reply: &[u8]) -> Option<Vec<NodeId>> {
    let mut lines = reply.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let count = parse_integer(lines.next()?.strip_prefix(b"*")?)?;
    let node = |line: &[u8]| u32::try_from(parse_integer(line.strip_prefix(b":")?)?).ok().map(NodeId);
    let holders: Vec<NodeId> = lines.take(usize::try_from(count).ok()?).map(node).collect::<Option<_>>()?;
    (holders.len() as i64 == count).then_some(holders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_travel_as_a_reply() {
        for nodes in [&[][..], &[2], &[2, 3, 4_000_000_000]] {
            let holders: Vec<NodeId> = nodes.iter().map(|n| NodeId(*n)).collect();
            assert_eq!(decode_holders(&encode_holders(&holders)), Some(holders));
        }
        for wrong in [&b"-TRYAGAIN no\r\n"[..], b"*2\r\n:1\r\n", b"*1\r\n:x\r\n", b"", b"*-1\r\n"] {
            assert_eq!(decode_holders(wrong), None, "{wrong:?}");
        }
    }
}
