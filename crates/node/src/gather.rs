//! Commands about a whole keyspace whose keys are in several groups: every group is asked, and the answers become one.

use crate::forward::Purpose;
use crate::io::ConnectionId;
use crate::message::Work;
use crate::node::{Flow, Node};
use crate::replies::SlotId;
use crate::route::Route;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::{Flags, Spec};
use core::time::Duration;
use data::slot::SLOTS;
use data::{GroupId, KeyspaceId, SlotRange};
use wire::number::parse_integer;
use wire::{Protocol, ReplyWriter};

/// All parts of one command together wait so long.
const PATIENCE: Duration = Duration::from_secs(4);

/// What becomes of the answers.
pub(crate) enum Gather {
    /// All say OK (FLUSHDB, FLUSHALL).
    Done,
    /// Numbers are added (DBSIZE).
    Sum(i64),
    /// Arrays are put behind each other (KEYS).
    Items { count: i64, bytes: Vec<u8> },
    /// One that is there, each with the same chance (RANDOMKEY).
    One { seen: u64, bytes: Vec<u8> },
}

impl Gather {
    fn of(name: &str) -> Option<Gather> {
        Some(match name {
            "flushdb" => Gather::Done,
            "dbsize" => Gather::Sum(0),
            "keys" => Gather::Items { count: 0, bytes: Vec::new() },
            "randomkey" => Gather::One { seen: 0, bytes: Vec::new() },
            _ => return None,
        })
    }

    /// Takes one answer in; one of another shape adds nothing. `draw` is random.
    fn take(&mut self, reply: &[u8], draw: u64) {
        match self {
            Gather::Done => {}
            Gather::Sum(sum) => *sum += headed(reply, b':').map_or(0, |(number, _)| number),
            Gather::Items { count, bytes } => {
                if let Some((items, rest)) = headed(reply, b'*') {
                    *count += items.max(0);
                    bytes.extend_from_slice(rest);
                }
            }
            Gather::One { seen, bytes } => {
                if headed(reply, b'$').is_some_and(|(len, _)| len >= 0) {
                    *seen += 1;
                    if draw.is_multiple_of(*seen) {
                        *bytes = reply.to_vec();
                    }
                }
            }
        }
    }

    fn finish(self, protocol: Protocol) -> Vec<u8> {
        let mut reply = Vec::new();
        let mut w = ReplyWriter::new(&mut reply, protocol);
        match self {
            Gather::Done => w.ok(),
            Gather::Sum(sum) => w.integer(sum),
            Gather::Items { count, bytes } => {
                w.array(count as usize);
                reply.extend_from_slice(&bytes);
            }
            Gather::One { seen: 0, .. } => w.null(),
            Gather::One { bytes, .. } => reply = bytes,
        }
        reply
    }
}

/// Several parts whose answers become one.
pub(crate) struct Batch {
    pub connection: ConnectionId,
    slot: SlotId,
    protocol: Protocol,
    left: usize,
    /// Something was done already that an error of another part or page does not take back.
    began: bool,
    error: Option<Bytes>,
    gather: Gather,
    /// What its connection has sent behind it waits: parts may take several turns, one after the other.
    pauses: bool,
    /// When slots had last moved as the parts were sent.
    moved_at: u64,
}

/// The number on the first line of a reply of this kind, and what follows the line.
fn headed(reply: &[u8], kind: u8) -> Option<(i64, &[u8])> {
    let rest = reply.strip_prefix(&[kind])?;
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    Some((parse_integer(&rest[..end])?, rest.get(end + 2..)?))
}

/// A cursor of SCAN over several groups: where the walk of one group stands, and that group by its first slot.
fn split_cursor(text: &[u8]) -> Option<(u64, u16)> {
    let cursor = core::str::from_utf8(text).ok()?.parse::<u64>().ok()?;
    Some((cursor / u64::from(SLOTS), (cursor % u64::from(SLOTS)) as u16))
}

fn join_cursor(walk: u64, slot: u16) -> u64 {
    walk * u64::from(SLOTS) + u64::from(slot)
}

impl Node {
    /// A command without keys in a keyspace with several groups.
    pub(crate) fn serve_all(
        &mut self,
        connection: ConnectionId,
        keyspace: KeyspaceId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Flow {
        let write = spec.flags.has(Flags::WRITE);
        if write && self.options.is_some() {
            let text = "ERR WITH and CONSISTENCY say nothing of a write to all shards: send it without";
            return self.reply_error(connection, text);
        }
        if spec.name == "scan" {
            return self.scan_shard(connection, keyspace, args);
        }
        let work: Vec<Bytes> = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
        if self.sessions.get(connection).is_some_and(|session| session.guards()) {
            let routes = self.routes.get(&keyspace).cloned().unwrap_or_default();
            for Route { group, .. } in routes.iter().copied() {
                if let Some(text) = self.refuse_lost(connection, group) {
                    return self.reply_error(connection, &text);
                }
            }
        }
        let Some(gather) = Gather::of(spec.name) else {
            // It says the same of every group.
            let work = Work::Command(work);
            let deadline = Some(self.patience_of(connection));
            return self.forward_work(connection, work, Purpose::Command, write, false, deadline);
        };
        let parts: Vec<(KeyspaceId, u16)> = self.parts_of(keyspace);
        if write && parts.is_empty() {
            return self.reply_error(
                connection,
                "READONLY this node leads no shard of the keyspace, and does not forward",
            );
        }
        self.ask_all(connection, &parts, &work, gather, write)
    }

    /// The groups that a command about the whole keyspace speaks of, each by its first slot: all, or where nothing is forwarded
    /// those led here, for clients of Redis Cluster ask every leader.
    fn shards_of(&self, keyspace: KeyspaceId) -> Vec<(GroupId, u16)> {
        let settings = self.map.keyspaces.get(&keyspace).map(|it| it.settings).unwrap_or_default();
        let asked = |route: &Route| settings.forward || route.leader == Some(self.config.node);
        match self.routes.get(&keyspace) {
            Some(routes) => routes
                .groups()
                .into_iter()
                .filter(asked)
                .map(|route| (route.group, route.slots.first))
                .collect(),
            None => SlotRange::divide(settings.shards).map(|slots| (GroupId(0), slots.first)).collect(),
        }
    }

    /// The same, each by a slot that stays where it is if it has one: the part shall find its group.
    fn parts_of(&self, keyspace: KeyspaceId) -> Vec<(KeyspaceId, u16)> {
        let shards = self.shards_of(keyspace).into_iter();
        shards.map(|(group, first)| (keyspace, self.slot_that_stays(group).unwrap_or(first))).collect()
    }

    /// A slot of a group that gives others away.
    fn slot_that_stays(&self, group: GroupId) -> Option<u16> {
        let mut slots = self.map.groups.get(&group)?.slots.clone();
        let leaving = self.map.move_of(group).filter(|it| it.is_copying() && it.from == group)?;
        slots.remove(leaving.slots);
        slots.first()
    }

    /// FLUSHALL: every numbered keyspace that is in use becomes empty. Named keyspaces stay.
    pub(crate) fn flush_numbered(&mut self, connection: ConnectionId) -> Flow {
        let numbered = self.routes.keys().filter(|keyspace| keyspace.0 < 16);
        let parts: Vec<(KeyspaceId, u16)> = numbered
            .flat_map(|keyspace| match self.routes.get(keyspace).map(|routes| routes.groups()) {
                // Here nobody asks the other leaders, whatever FORWARD says.
                Some(groups) if groups.len() > 1 => self.parts_of_all(*keyspace, &groups),
                _ => alloc::vec![(*keyspace, 0)],
            })
            .collect();
        self.ask_all(connection, &parts, &[Bytes::from_static(b"FLUSHDB")], Gather::Done, true)
    }

    fn parts_of_all(&self, keyspace: KeyspaceId, groups: &[Route]) -> Vec<(KeyspaceId, u16)> {
        let stays = |route: &Route| self.slot_that_stays(route.group).unwrap_or(route.slots.first);
        groups.iter().map(|route| (keyspace, stays(route))).collect()
    }

    fn ask_all(
        &mut self,
        connection: ConnectionId,
        parts: &[(KeyspaceId, u16)],
        command: &[Bytes],
        gather: Gather,
        write: bool,
    ) -> Flow {
        let pauses = write && parts.iter().any(|(keyspace, _)| self.map.multi_leader.contains_key(keyspace));
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let protocol = session.protocol;
        if parts.is_empty() {
            let bytes = gather.finish(protocol);
            return self.reply(connection, |w| w.buffer.extend_from_slice(&bytes));
        }
        session.replies.begin();
        session.replies.rollback();
        let slot = session.replies.hold();
        self.next_ticket += 1;
        let number = self.next_ticket;
        let batch = Batch {
            connection,
            slot,
            protocol,
            left: parts.len(),
            began: false,
            error: None,
            gather,
            pauses,
            moved_at: self.map.moved_at,
        };
        self.batches.insert(number, batch);
        let deadline = Some(self.now.instant + PATIENCE);
        for (keyspace, slot) in parts {
            let work = Work::Command(command.to_vec());
            let at = (*keyspace, *slot);
            let purpose = Purpose::Part { batch: number, at };
            self.forward_part(connection, at, protocol, work, purpose, write, deadline);
        }
        // Where there was no room to send anything it is answered already.
        if pauses
            && self.batches.contains_key(&number)
            && let Some(session) = self.sessions.get_mut(connection)
        {
            session.paused = true;
            return Flow::Pause;
        }
        Flow::Continue
    }

    /// One part has its answer.
    pub(crate) fn settle_part(&mut self, number: u64, at: (KeyspaceId, u16), bytes: &[u8]) {
        let draw = self.random.draw();
        let Some(batch) = self.batches.get_mut(&number) else { return };
        if matches!(batch.gather, Gather::Done)
            && let Some((leaf, _)) = headed(bytes, b':')
        {
            batch.began = true;
            return self.flush_on(number, at, leaf);
        }
        batch.left -= 1;
        if bytes.first() == Some(&b'-') {
            batch.error = Some(Bytes::copy_from_slice(bytes));
        } else {
            batch.gather.take(bytes, draw);
        }
        if batch.left > 0 {
            return;
        }
        if let Some(batch) = self.batches.remove(&number) {
            // Keys may have gone from a group that was not asked yet to one that had answered.
            let text = b"-TRYAGAIN slots moved between shards meanwhile: not every key was met\r\n";
            let gathered = |gather: Gather| match batch.moved_at == self.map.moved_at {
                true => Bytes::from(gather.finish(batch.protocol)),
                false => Bytes::from_static(text),
            };
            let bytes = match batch.error {
                Some(error) if batch.began => half_flushed(&error),
                Some(error) => error,
                None => gathered(batch.gather),
            };
            self.fill(batch.connection, batch.slot, &bytes);
            if batch.pauses {
                self.resume(batch.connection);
            }
        }
    }

    /// FLUSHDB at a site: the next page of a shard.
    fn flush_on(&mut self, number: u64, at: (KeyspaceId, u16), leaf: i64) {
        let Some(batch) = self.batches.get(&number) else { return };
        let (connection, protocol) = (batch.connection, batch.protocol);
        let leaf = Bytes::from(alloc::format!("{leaf}"));
        let work = Work::Command([Bytes::from_static(b"FLUSHDB"), Bytes::from_static(b"FROM"), leaf].into());
        let deadline = Some(self.now.instant + PATIENCE);
        let purpose = Purpose::Part { batch: number, at };
        self.forward_part(connection, at, protocol, work, purpose, true, deadline);
    }

    /// A step of SCAN in the group that its cursor names.
    fn scan_shard(&mut self, connection: ConnectionId, keyspace: KeyspaceId, args: &[&[u8]]) -> Flow {
        let mut work: Vec<Bytes> = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
        // A cursor that is none is the command's own error to tell.
        let (walk, slot) = split_cursor(args[1]).unwrap_or((u64::MAX, 0));
        if walk != u64::MAX {
            work[1] = Bytes::from(alloc::format!("{walk}"));
        }
        let shards = self.shards_of(keyspace);
        let routes = self.routes.get(&keyspace);
        let here = routes.and_then(|routes| routes.at(slot)).map_or(GroupId(0), |route| route.group);
        // A walk in a group that is no longer asked here goes on behind it.
        let goes_on = shards.iter().find(|(group, first)| match routes {
            Some(_) => *group == here,
            None => *first == slot,
        });
        let goes_on = goes_on.copied();
        let behind = |slot: u16| shards.iter().find(|(_, first)| *first > slot).copied();
        let first = if slot == 0 { shards.first().copied() } else { None };
        let Some((_, shard)) = goes_on.or(first).or_else(|| behind(slot)) else {
            // Nothing is left of what this node leads.
            return self.reply(connection, |w| {
                w.array(2);
                w.bulk(b"0");
                w.array(0);
            });
        };
        if goes_on.is_none() {
            work[1] = Bytes::from_static(b"0");
        }
        let (slot, next) = (shard, behind(shard).map(|(_, first)| first));
        let deadline = Some(self.patience_of(connection));
        let purpose = Purpose::Scan { slot, next };
        self.forward_to(connection, slot, Work::Command(work), purpose, false, false, deadline)
    }

    /// The cursor of a group's walk becomes one of the keyspace's: at the group's end the next group begins.
    pub(crate) fn settle_scan(
        &mut self,
        connection: ConnectionId,
        reply: SlotId,
        at: (u16, Option<u16>),
        bytes: &[u8],
    ) {
        let Some(bytes_out) = keyspace_cursor(at, bytes) else { return self.fill(connection, reply, bytes) };
        self.fill(connection, reply, &bytes_out);
    }
}

/// The answer of a FLUSHDB that ended on the way.
fn half_flushed(error: &[u8]) -> Bytes {
    let why = error.trim_ascii().strip_prefix(b"-").unwrap_or(error);
    let text = b"-INDETERMINATE keys were deleted, not all of them: send it again (";
    Bytes::from([text, why, b")\r\n"].concat())
}

/// `at`: a slot of the group, and where the walk goes on behind it.
fn keyspace_cursor(at: (u16, Option<u16>), reply: &[u8]) -> Option<Vec<u8>> {
    let (_, rest) = headed(reply, b'*')?;
    let (len, rest) = headed(rest, b'$')?;
    let (digits, keys) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    let cursor = match (core::str::from_utf8(digits).ok()?.parse::<u64>().ok()?, at) {
        (0, (_, next)) => next.map_or(0, |next| join_cursor(0, next)),
        (walk, (slot, _)) => join_cursor(walk, slot),
    };
    let mut bytes = Vec::new();
    let mut w = ReplyWriter::new(&mut bytes, Protocol::Resp2);
    w.array(2);
    w.bulk(alloc::format!("{cursor}").as_bytes());
    bytes.extend_from_slice(keys.strip_prefix(b"\r\n")?);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(name: &str, replies: &[&[u8]]) -> Vec<u8> {
        let mut gather = Gather::of(name).expect("gathered");
        replies.iter().for_each(|reply| gather.take(reply, 0));
        gather.finish(Protocol::Resp2)
    }

    #[test]
    fn answers_become_one() {
        assert_eq!(gathered("dbsize", &[b":3\r\n", b":0\r\n", b":4\r\n"]), b":7\r\n");
        assert_eq!(
            gathered("keys", &[b"*1\r\n$1\r\na\r\n", b"*0\r\n", b"*1\r\n$1\r\nb\r\n"]),
            b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"
        );
        assert_eq!(gathered("randomkey", &[b"$-1\r\n", b"$1\r\na\r\n"]), b"$1\r\na\r\n");
        assert_eq!(gathered("randomkey", &[b"$-1\r\n", b"_\r\n"]), b"$-1\r\n");
        assert_eq!(gathered("flushdb", &[b"+OK\r\n"]), b"+OK\r\n");
    }

    #[test]
    fn a_walk_goes_through_all_groups() {
        let reply = |cursor: &str| {
            let mut bytes = b"*2\r\n$".to_vec();
            bytes.extend_from_slice(
                alloc::format!("{}\r\n{cursor}\r\n*1\r\n$1\r\na\r\n", cursor.len()).as_bytes(),
            );
            bytes
        };
        let shown = |at, walk: &str| keyspace_cursor(at, &reply(walk));
        assert_eq!(shown((0, Some(8192)), "0"), Some(reply("8192")));
        assert_eq!(shown((8192, None), "0"), Some(reply("0")));
        assert_eq!(shown((8192, None), "7"), Some(reply("122880")));
        assert_eq!(split_cursor(b"122880"), Some((7, 8192)));
        assert_eq!(split_cursor(b"x"), None);
        let most = join_cursor((1 << 48) - 1, SLOTS - 1);
        assert_eq!(split_cursor(alloc::format!("{most}").as_bytes()), Some(((1 << 48) - 1, SLOTS - 1)));
        assert_eq!(keyspace_cursor((0, Some(1)), b"-ERR invalid cursor\r\n"), None);
    }
}
