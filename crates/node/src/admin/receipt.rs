//! RECEIPT: what the connection's last data command achieved, or what became of a client's own request.
// catalogue: B10, C5, C10

use super::request_options::shown;
use super::wait::Question;
use crate::fate::{Fate, Outcome};
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::options::ClientRequest;
use crate::replies::SlotId;
use crate::route::Routes;
use crate::serve::PATIENCE;
use crate::session::Receipt;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use data::keyspace::Level;
use data::{NodeId, Position};
use protocol::single_leader::RoleName;
use wire::{Protocol, ReplyWriter};

/// What the leader told for a receipt.
pub(super) struct Told<'t> {
    pub holders: &'t [NodeId],
    pub fate: Option<&'t Fate>,
    pub of: Option<&'t ClientRequest>,
}

impl Node {
    pub(super) fn receipt(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        match args {
            [_] => self.receipt_after(connection, None),
            [_, _]
                if self
                    .sessions
                    .get(connection)
                    .is_some_and(|session| self.is_leaderless(session.keyspace)) =>
            {
                let text =
                    "ERR a leaderless keyspace keeps no ids of clients: ask RECEIPT right behind the command";
                self.reply_error(connection, text)
            }
            [_, _]
                if self.sessions.get(connection).is_some_and(|session| self.is_sharded(session.keyspace)) =>
            {
                let text = "ERR an id does not say in which shard its write is: send the write again under its id, it happens once";
                self.reply_error(connection, text)
            }
            [_, id] => match ClientRequest::parse(id) {
                Some(client) => {
                    let deadline = Some(self.now.instant + PATIENCE);
                    self.ask_later(connection, Question::Receipt, deadline, Some(client), None)
                }
                None => self.reply_error(connection, super::request_options::BAD_ID),
            },
            _ => self.reply_error(connection, &commands::spec::wrong_arity("receipt")),
        }
    }

    /// The receipt of the command whose reply is held in this place, or of the last one.
    pub(super) fn receipt_after(&mut self, connection: ConnectionId, after: Option<SlotId>) -> Flow {
        // Whoever leads is asked who holds a write; so are the answers of earlier commands of the connection waited for.
        let waits = self.sessions.get(connection).is_some_and(|session| {
            let placed =
                |it: &Receipt| it.write && (it.position != Position::default() || self.is_uncertain(it));
            session.forwarded > 0 || after.is_some() || session.receipt.as_ref().is_some_and(placed)
        });
        if waits {
            let deadline = Some(self.now.instant + PATIENCE);
            return self.ask_later(connection, Question::Receipt, deadline, None, after);
        }
        let bytes = self.receipt_bytes(connection, &Told { holders: &[], fate: None, of: None });
        self.reply(connection, |w| w.buffer.extend_from_slice(&bytes))
    }

    /// Whether the leader has to be asked what became of a write: nobody knows, its reply may have been given before it was
    /// committed, or it matters who has applied it.
    pub(super) fn is_uncertain(&self, receipt: &Receipt) -> bool {
        let keyspace = self.map.keyspaces.get(&receipt.keyspace);
        let applied = keyspace.is_some_and(|it| it.settings.level == Level::Applied);
        // An election since then may have dropped it.
        let led_since = self.map.view(receipt.group).is_some_and(|view| view.epoch > receipt.position.epoch);
        receipt.indeterminate
            || receipt.position != Position::default() && (receipt.asked.is_some() || applied || led_since)
    }

    /// The reply.
    pub(super) fn receipt_bytes(&self, connection: ConnectionId, told: &Told<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let session = self.sessions.get(connection);
        let protocol = session.map_or(Protocol::Resp2, |session| session.protocol);
        let mut writer = ReplyWriter::new(&mut bytes, protocol);
        let w = &mut writer;
        let of_client = told.of.zip(session).map(|(_, session)| {
            let keyspace = session.keyspace;
            let route = self.routes.get(&keyspace).and_then(Routes::only);
            let (group, node) =
                route.map_or_else(Default::default, |it| (it.group, it.leader.unwrap_or_default()));
            Receipt { keyspace, group, node, write: true, indeterminate: true, ..Receipt::default() }
        });
        let last = || session.and_then(|session| session.receipt.as_ref());
        let Some(receipt) = of_client.as_ref().or_else(last) else {
            w.null();
            return bytes;
        };
        if let Some(quorum) = &receipt.quorum {
            return self.quorum_receipt_bytes(protocol, receipt, quorum);
        }
        let keyspace = self.keyspace_name(receipt.keyspace);
        let node_name = |node| self.map.nodes.get(&node).map_or_else(String::new, |it| it.name.clone());
        let node = node_name(receipt.node);
        let view = self.map.view(receipt.group);
        let settings = view.map(|view| view.settings).unwrap_or_default();
        let electable = view.map_or(0, |view| view.electable.len());
        let group = self.groups.get(&receipt.group);
        let leads = group.is_some_and(|it| it.replica.role() == RoleName::Leader);
        let outcome = outcome(receipt, told);
        let position = match told.fate {
            Some(fate) if receipt.position == Position::default() => fate.position,
            _ => receipt.position,
        };
        let index = position.index;
        let held = receipt.write && matches!(outcome, "committed" | "acknowledged");
        let level = settings.level_held();
        let mut holders: Vec<(String, &'static str)> = Vec::new();
        if held {
            let own = if told.fate.is_some() && outcome == "committed" { Level::Applied } else { level };
            holders.push((node.clone(), own.name()));
            let fate = told.fate.map_or(&[][..], |fate| &fate.holders);
            holders.extend(fate.iter().map(|(follower, level)| (node_name(*follower), level.name())));
            // What is acknowledged at a keyspace's level was persisted so before.
            holders.extend(told.holders.iter().map(|follower| (node_name(*follower), level.name())));
        }
        let role = match receipt.stale {
            true => "follower",
            false if receipt.node == self.config.node && leads => "leader",
            false => "forwarded",
        };
        // What this copy knows to be missing; the leader may have more by now.
        let lag = group
            .filter(|_| receipt.stale)
            .map_or(0, |it| it.replica.log().last().position.index.0.saturating_sub(index.0));
        let (rule, degraded) = view.map_or((settings.commit, false), |view| (view.rule, view.is_degraded()));
        let needed = rule.followers_needed(electable) + 1;
        let site = self.site_receipt(receipt.group, position).filter(|_| held);
        w.fields(|f| {
            f.text("keyspace", &keyspace);
            f.text("kind", if receipt.write { "write" } else { "read" });
            f.text("outcome", outcome);
            f.text("node", &node);
            f.text("role", role);
            f.integer("epoch", position.epoch.0 as i64);
            f.integer("index", index.0 as i64);
            f.integer("lag-known", lag as i64);
            // What is missing was acknowledged no longer before the read than this; a leader's answer misses nothing.
            match (receipt.stale, receipt.age) {
                (false, _) => f.integer("staleness-ms-max", 0),
                (true, Some(age)) => {
                    f.integer("staleness-ms-max", age.as_nanos().div_ceil(1_000_000) as i64);
                }
                (true, None) => f.field("staleness-ms-max").null(),
            }
            f.text("commit-rule", rule.name());
            f.text("copies-required", needed.to_string());
            let w = f.field("holders");
            w.array(holders.len());
            for (name, level) in &holders {
                w.fields(|f| {
                    f.text("node", name);
                    f.text("level", level);
                });
            }
            f.field("degraded").boolean(degraded);
            match &receipt.asked {
                Some(asked) => {
                    let words = shown(asked, &|node| node_name(node));
                    let words: Vec<String> =
                        words.into_iter().flat_map(|(name, value)| [name.into(), value]).collect();
                    f.text("asked", words.join(" "));
                }
                None => f.field("asked").null(),
            }
            if let Some(site) = site {
                site.write(f);
            }
        });
        bytes
    }
}

/// How a command ended, as far as it is known. "acknowledged": its request asked for less than the keyspace's rule, and it is
/// not committed.
fn outcome(receipt: &Receipt, told: &Told<'_>) -> &'static str {
    let unknown = if receipt.indeterminate { "indeterminate" } else { "acknowledged" };
    let asked = receipt.write && (receipt.indeterminate || receipt.asked.is_some());
    match told.fate.map(|fate| fate.outcome) {
        Some(Outcome::Committed) => "committed",
        Some(Outcome::Lost) => "lost",
        Some(Outcome::Unknown) if told.of.is_some() => "not-executed",
        Some(Outcome::TooOld) if told.of.is_some() => "too-old",
        Some(Outcome::Pending | Outcome::Unknown | Outcome::TooOld) => unknown,
        None if receipt.write && !receipt.indeterminate && receipt.position == Position::default() => {
            "nothing-written"
        }
        None if asked => unknown,
        None => "committed",
    }
}
