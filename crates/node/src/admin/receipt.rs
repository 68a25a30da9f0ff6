//! RECEIPT: what the connection's last data command achieved.

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use protocol::single_leader::RoleName;

impl Node {
    pub(super) fn receipt(&mut self, connection: ConnectionId) -> Flow {
        let receipt = self.sessions.get(connection).and_then(|session| session.receipt.clone());
        let Some(receipt) = receipt else { return self.reply(connection, |w| w.null()) };
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
        if receipt.write && leads && !receipt.indeterminate {
            // What is acknowledged at a keyspace's level was persisted so before.
            let level = settings.level.name();
            holders.push((node.clone(), level));
            if let Some(it) = group {
                let having = it.replica.followers().filter(|(_, progress)| progress.matched >= index);
                holders.extend(having.map(|(follower, _)| (node_name(follower), level)));
            }
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
        let needed = settings.commit.followers_needed(electable) + 1;
        self.reply(connection, |w| {
            w.map(12);
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
            w.bulk(b"commit-rule");
            w.bulk(settings.commit.name().as_bytes());
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
            // A degraded keyspace would say so here; no commit rule of this version degrades.
            w.bulk(b"degraded");
            w.boolean(false);
        })
    }
}
