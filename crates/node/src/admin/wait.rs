//! WAIT and WAITAOF: how many followers hold the connection's last write. The group's leader knows; it is asked when it is
//! another node. Followers acknowledge what they have made durable as the keyspace asks, so both count the same followers.
// catalogue: C14

use crate::forward::{Origin, Outgoing, Purpose};
use crate::io::ConnectionId;
use crate::message::Work;
use crate::node::{Flow, Node};
use crate::replies::SlotId;
use crate::session::Receipt;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use data::{GroupId, Instant, KeyspaceId, Position};
use wire::Protocol;
use wire::number::parse_integer;

/// The leader is asked again so often.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// A client in WAIT.
pub(crate) struct Waiting {
    connection: ConnectionId,
    slot: SlotId,
    wanted: usize,
    flushed: bool,
    deadline: Option<Instant>,
    known: usize,
    /// When the leader was asked last, and whether its answer is still to come.
    asked_at: Instant,
    asked: bool,
}

/// What WAIT knows at a look.
enum Look {
    /// So many followers hold it, and the leader of this moment said so.
    Held(usize),
    /// The leader elsewhere must be asked for this write.
    Ask(KeyspaceId, Position),
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
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        session.paused = true;
        self.waits.push(Waiting {
            connection,
            slot,
            wanted: wanted as usize,
            flushed,
            deadline,
            known: 0,
            asked_at: Instant::ZERO,
            asked: false,
        });
        self.tend_waits();
        if self.is_paused(connection) { Flow::Pause } else { Flow::Continue }
    }

    /// How many followers hold the log of a group led here through a position.
    pub(crate) fn holders(&self, group: GroupId, position: Position) -> usize {
        let Some(it) = self.groups.get(&group) else { return 0 };
        let electable =
            |node| it.replica.view().is_some_and(|view| view.electable.iter().any(|r| r.node == node));
        it.replica.followers().filter(|(node, p)| electable(*node) && p.matched >= position.index).count()
    }

    /// Looks again how many followers hold what clients wait for.
    pub(crate) fn tend_waits(&mut self) {
        let now = self.now.instant;
        let mut kept = Vec::new();
        for mut wait in core::mem::take(&mut self.waits) {
            if self.sessions.get(wait.connection).is_none() {
                continue;
            }
            let look = self.look(&wait);
            match look {
                Look::Held(count) => wait.known = count,
                Look::Ask(keyspace, position) => self.ask_for_holders(&mut wait, keyspace, position),
                Look::NotYet => {}
            }
            let answered = matches!(look, Look::Held(_)) || (wait.asked_at != Instant::ZERO && !wait.asked);
            let over = wait.deadline.is_some_and(|deadline| now >= deadline);
            if over || (answered && wait.known >= wait.wanted) {
                self.end_wait(&wait);
            } else {
                kept.push(wait);
            }
        }
        self.waits.append(&mut kept);
    }

    fn look(&self, wait: &Waiting) -> Look {
        let Some(session) = self.sessions.get(wait.connection) else { return Look::NotYet };
        // A forwarded HOLDERS counts as one of them.
        if session.forwarded > usize::from(wait.asked) {
            return Look::NotYet;
        }
        let Some(Receipt { keyspace, group, position, .. }) = &session.written else {
            // Nothing was written: every follower holds that.
            let route = self.routes.get(&session.keyspace);
            let view = route.and_then(|route| self.map.view(route.group));
            return Look::Held(view.map_or(0, |view| view.electable.len().saturating_sub(1)));
        };
        if self.groups.get(group).is_some_and(|it| it.is_serving()) {
            return Look::Held(self.holders(*group, *position));
        }
        Look::Ask(*keyspace, *position)
    }

    fn ask_for_holders(&mut self, wait: &mut Waiting, keyspace: KeyspaceId, position: Position) {
        let now = self.now.instant;
        if wait.asked || (wait.asked_at != Instant::ZERO && now.since(wait.asked_at) < ASK_EVERY) {
            return;
        }
        let (connection, slot) = (wait.connection, wait.slot);
        let outgoing = Outgoing {
            keyspace,
            protocol: Protocol::Resp2,
            work: Work::Holders { position },
            origin: Origin::Client { connection, slot, purpose: Purpose::Holders },
            deadline: wait.deadline,
            write: false,
            blocking: false,
            sent_to: None,
            turned_away: None,
            copies: 0,
        };
        // Without room for it now, there may be some at the next look.
        if self.forwards.add(outgoing).is_ok()
            && let Some(session) = self.sessions.get_mut(connection)
        {
            session.forwarded += 1;
            wait.asked_at = now;
            wait.asked = true;
        }
    }

    /// The leader said how many hold it, or nobody did in time.
    pub(crate) fn on_holders(&mut self, connection: ConnectionId, slot: SlotId, reply: &[u8]) {
        let its = |wait: &&mut Waiting| wait.connection == connection && wait.slot == slot;
        let Some(wait) = self.waits.iter_mut().find(its) else { return };
        wait.asked = false;
        let digits = reply.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b"\r\n"));
        match digits.and_then(parse_integer).and_then(|count| usize::try_from(count).ok()) {
            Some(count) => wait.known = count,
            // An error tells nothing: asked again.
            None => wait.asked_at = Instant::ZERO,
        }
        self.tend_waits();
    }

    fn end_wait(&mut self, wait: &Waiting) {
        let bytes = if wait.flushed {
            format!("*2\r\n:1\r\n:{}\r\n", wait.known)
        } else {
            format!(":{}\r\n", wait.known)
        };
        self.fill(wait.connection, wait.slot, bytes.as_bytes());
        self.resume(wait.connection);
    }
}
