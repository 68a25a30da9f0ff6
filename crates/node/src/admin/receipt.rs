//! RECEIPT: what the connection's last data command achieved.
// catalogue: B10

use super::wait::Question;
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::serve::PATIENCE;
use crate::session::Receipt;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use data::{NodeId, Position};
use protocol::single_leader::RoleName;
use wire::{Protocol, ReplyWriter};

impl Node {
    pub(super) fn receipt(&mut self, connection: ConnectionId) -> Flow {
        // Whoever leads is asked who holds a write; so are the answers of earlier commands of the connection waited for.
        let waits = self.sessions.get(connection).is_some_and(|session| {
            let placed = |it: &Receipt| it.write && !it.indeterminate && it.position != Position::default();
            session.forwarded > 0 || session.receipt.as_ref().is_some_and(placed)
        });
        if waits {
            return self.ask_later(connection, Question::Receipt, Some(self.now.instant + PATIENCE));
        }
        let bytes = self.receipt_bytes(connection, &[]);
        self.reply(connection, |w| w.buffer.extend_from_slice(&bytes))
    }

    /// The reply; `followers` hold the write, beside its leader.
    pub(super) fn receipt_bytes(&self, connection: ConnectionId, followers: &[NodeId]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let session = self.sessions.get(connection);
        let protocol = session.map_or(Protocol::Resp2, |session| session.protocol);
        let mut writer = ReplyWriter::new(&mut bytes, protocol);
        let w = &mut writer;
        let Some(receipt) = session.and_then(|session| session.receipt.as_ref()) else {
            w.null();
            return bytes;
        };
        let keyspace = self.keyspace_name(receipt.keyspace);
        let node_name = |node| self.map.nodes.get(&node).map_or_else(String::new, |it| it.name.clone());
        let node = node_name(receipt.node);
        let view = self.map.view(receipt.group);
        let settings = view.map(|view| view.settings).unwrap_or_default();
        let electable = view.map_or(0, |view| view.electable.len());
        let group = self.groups.get(&receipt.group);
        let leads = group.is_some_and(|it| it.replica.role() == RoleName::Leader);
        let index = receipt.position.index;
        let mut holders: Vec<(String, &'static str)> = Vec::new();
        if receipt.write && !receipt.indeterminate {
            // What is acknowledged at a keyspace's level was persisted so before.
            let level = settings.level.name();
            holders.push((node.clone(), level));
            holders.extend(followers.iter().map(|follower| (node_name(*follower), level)));
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
        w.map(13);
        w.bulk(b"keyspace");
        w.bulk(keyspace.as_bytes());
        w.bulk(b"kind");
        w.bulk(if receipt.write { b"write" } else { b"read" });
        w.bulk(b"outcome");
        w.bulk(if receipt.indeterminate { b"indeterminate" } else { b"committed" });
        w.bulk(b"node");
        w.bulk(node.as_bytes());
        w.bulk(b"role");
        w.bulk(role.as_bytes());
        w.bulk(b"epoch");
        w.integer(receipt.position.epoch.0 as i64);
        w.bulk(b"index");
        w.integer(index.0 as i64);
        w.bulk(b"lag-known");
        w.integer(lag as i64);
        // What is missing was acknowledged no longer before the read than this; a leader's answer misses nothing.
        w.bulk(b"staleness-ms-max");
        match (receipt.stale, receipt.age) {
            (false, _) => w.integer(0),
            (true, Some(age)) => w.integer(age.as_nanos().div_ceil(1_000_000) as i64),
            (true, None) => w.null(),
        }
        w.bulk(b"commit-rule");
        w.bulk(rule.name().as_bytes());
        w.bulk(b"copies-required");
        w.bulk(needed.to_string().as_bytes());
        w.bulk(b"holders");
        w.array(holders.len());
        for (name, level) in &holders {
            w.map(2);
            w.bulk(b"node");
            w.bulk(name.as_bytes());
            w.bulk(b"level");
            w.bulk(level.as_bytes());
        }
        w.bulk(b"degraded");
        w.boolean(degraded);
        bytes
    }
}
