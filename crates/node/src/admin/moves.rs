//! KEYSPACE MOVE-SLOTS and CANCEL-MOVE, and what INFO and STATUS say of slots on their way.

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use control::{Command, Move, Phase, ShardChange};
use data::{GroupId, KeyspaceId, SlotRange};
use wire::number::parse_integer;

/// `100-199`, or one slot.
fn slots_of(text: &[u8]) -> Option<SlotRange> {
    let slot = |text: &[u8]| parse_integer(text).and_then(|slot| u16::try_from(slot).ok());
    let dash = text.iter().position(|byte| *byte == b'-').unwrap_or(text.len());
    let first = slot(&text[..dash])?;
    let last = if dash == text.len() { first } else { slot(&text[dash + 1..])? };
    SlotRange::new(first, last)
}

impl Node {
    pub(super) fn move_slots(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let &[name, slots, to, group] = args else {
            return self.reply_error(connection, "ERR KEYSPACE MOVE-SLOTS <name> <first>-<last> TO <group>");
        };
        let Some(keyspace) = self.keyspace_of(name).map(|it| it.id) else {
            return self.reply_error(connection, "ERR no such keyspace");
        };
        let Some(slots) = slots_of(slots).filter(|_| to.eq_ignore_ascii_case(b"to")) else {
            return self.reply_error(
                connection,
                "ERR slots are given as first-last, between 0 and 16383, then TO and a group",
            );
        };
        let group = parse_integer(group).and_then(|n| u32::try_from(n).ok()).map(GroupId);
        let Some(to) = group.filter(|group| self.map.view(*group).is_some_and(|it| it.keyspace == keyspace))
        else {
            return self
                .reply_error(connection, "ERR no such group in this keyspace: KEYSPACE INFO lists them");
        };
        if self.map.dividing.contains(&keyspace) {
            let text = "TRYAGAIN the keyspace goes over to another number of shards: its slots move by themselves until then";
            return self.reply_error(connection, text);
        }
        let change = ShardChange::Begin { keyspace, slots, to };
        self.administrate(connection, Command::ChangeShards(change))
    }

    /// Of a keyspace that is being divided anew the next move begins at once.
    pub(super) fn cancel_move(&mut self, connection: ConnectionId, id: &[u8]) -> Flow {
        let id = parse_integer(id).and_then(|id| u64::try_from(id).ok());
        match id.filter(|id| self.map.moves.contains_key(id)) {
            Some(id) => self.administrate(connection, Command::ChangeShards(ShardChange::Cancel { id })),
            None => self.reply_error(connection, "ERR no such move: KEYSPACE STATUS lists them"),
        }
    }

    /// The moves of a keyspace for people: `3: 8192-16383 of group 1 to group 2, copying, attempt 1`.
    pub(super) fn moves_text(&self, keyspace: KeyspaceId) -> Vec<String> {
        let its = self.map.moves.values().filter(|it| it.keyspace == keyspace);
        its.map(|it| {
            format!(
                "{}: {}-{} of group {} to group {}, {}, attempt {}",
                it.id,
                it.slots.first,
                it.slots.last,
                it.from.0,
                it.to.0,
                phase_name(it),
                it.attempt
            )
        })
        .collect()
    }

    /// All moves as JSON; what was copied is known to the leaders of the two groups.
    pub(super) fn moves_json(&self) -> String {
        let one = |it: &Move| {
            let moving = |group| self.groups.get(&group).and_then(|it| it.moving.as_ref());
            let leaving = moving(it.from).and_then(|moving| moving.leaving.as_ref());
            let arriving = moving(it.to).and_then(|moving| moving.arriving.as_ref());
            let shown = |number: Option<u64>| number.map_or_else(|| String::from("null"), |n| format!("{n}"));
            format!(
                "{{\"id\":{},\"keyspace\":{},\"slots\":[{},{}],\"from\":{},\"to\":{},\"phase\":\"{}\",\"attempt\":{},\"keys_sent\":{},\"pieces_taken\":{},\"fenced\":{}}}",
                it.id,
                super::status::quoted(&self.keyspace_name(it.keyspace)),
                it.slots.first,
                it.slots.last,
                it.from.0,
                it.to.0,
                phase_name(it),
                it.attempt,
                shown(leaving.map(|it| it.keys_sent)),
                shown(arriving.map(|it| it.pieces)),
                leaving.is_some_and(|it| it.is_fenced()),
            )
        };
        let moves: Vec<String> = self.map.moves.values().map(one).collect();
        moves.join(",")
    }

    /// Keyspaces that do not have as many shards yet as was asked for.
    pub(super) fn dividing_json(&self) -> String {
        let names: Vec<String> = self
            .map
            .dividing
            .iter()
            .map(|keyspace| super::status::quoted(&self.keyspace_name(*keyspace)))
            .collect();
        names.join(",")
    }
}

fn phase_name(it: &Move) -> &'static str {
    match it.phase {
        Phase::Copying => "copying",
        Phase::Clearing(_) => "clearing",
    }
}
