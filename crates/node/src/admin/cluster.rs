//! CLUSTER, as far as Redis tools need it for a view of the nodes. Any node takes any command, so clients need no map:
//! the whole range of slots is shown with the leader of the connection's keyspace.

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::spec::unknown_subcommand;
use data::{KeyspaceId, NodeId};

const HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> ...]. Subcommands are:",
    "INFO",
    "KEYSLOT <key>",
    "MYID",
    "NODES",
    "SHARDS",
    "SLOTS",
    "HELP",
];

/// The 40 hex digits that Redis tools expect of a node's name.
fn long_id(cluster: u64, node: NodeId) -> String {
    format!("{cluster:016x}{:024x}", node.0)
}

impl Node {
    pub(super) fn cluster(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let name = args[1].to_ascii_lowercase();
        match (&name[..], &args[2..]) {
            (b"keyslot", [key]) => {
                let slot = wire::slot::slot(key);
                self.reply(connection, |w| w.integer(i64::from(slot)))
            }
            (b"myid", []) => {
                let id = long_id(self.map.cluster, self.config.node);
                self.reply(connection, |w| w.bulk(id.as_bytes()))
            }
            (b"info", []) => {
                let text = self.cluster_info(connection);
                self.reply(connection, |w| w.verbatim(&text))
            }
            (b"nodes", []) => {
                let text = self.cluster_nodes(connection);
                self.reply(connection, |w| w.verbatim(&text))
            }
            (b"slots", []) => self.cluster_slots(connection),
            (b"shards", []) => self.cluster_shards(connection),
            (b"countkeysinslot", [_]) => self.reply_error(connection, "ERR keys are not counted by slot"),
            (b"help", []) => self.reply(connection, |w| {
                w.array(HELP.len());
                HELP.iter().for_each(|line| w.simple(line));
            }),
            _ => self.reply_error(connection, &unknown_subcommand("cluster", args[1])),
        }
    }

    fn leader_for(&self, connection: ConnectionId) -> Option<NodeId> {
        let keyspace = self.sessions.get(connection).map_or(KeyspaceId(0), |session| session.keyspace);
        self.routes.get(&keyspace)?.leader
    }

    fn cluster_info(&self, connection: ConnectionId) -> String {
        let served = self.leader_for(connection).is_some();
        let state = if served { "ok" } else { "fail" };
        let slots = if served { 16384 } else { 0 };
        format!(
            "cluster_enabled:0\r\ncluster_state:{state}\r\ncluster_slots_assigned:{slots}\r\ncluster_slots_ok:{slots}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\ncluster_current_epoch:{}\r\n",
            self.map.nodes.len(),
            self.map
                .views()
                .filter_map(|view| view.leader)
                .map(|l| l.replica.node)
                .collect::<alloc::collections::BTreeSet<_>>()
                .len(),
            self.map.version,
        )
    }

    /// Nodes in the order of their numbers, the leader of the keyspace marked.
    fn listed(&self, connection: ConnectionId) -> Vec<(NodeId, String, u16, bool)> {
        let leader = self.leader_for(connection);
        self.map
            .nodes
            .keys()
            .map(|node| {
                let (host, port) = self.address_of(*node);
                (*node, host, port.parse().unwrap_or(0), Some(*node) == leader)
            })
            .collect()
    }

    fn cluster_nodes(&self, connection: ConnectionId) -> String {
        let nodes = self.listed(connection);
        let leader = nodes.iter().find(|(_, _, _, leads)| *leads).map(|(node, ..)| *node);
        nodes
            .into_iter()
            .map(|(node, host, port, leads)| {
                let mine = if node == self.config.node { "myself," } else { "" };
                let (role, of, slots) = match (leads, leader) {
                    (true, _) => ("master", String::from("-"), " 0-16383"),
                    (false, Some(leader)) => ("slave", long_id(self.map.cluster, leader), ""),
                    (false, None) => ("slave", String::from("-"), ""),
                };
                let up = node == self.config.node || self.peers.contains_key(&node);
                let link = if up { "connected" } else { "disconnected" };
                let id = long_id(self.map.cluster, node);
                format!(
                    "{id} {host}:{port}@{port} {mine}{role} {of} 0 0 {} {link}{slots}\n",
                    self.map.version
                )
            })
            .collect()
    }

    fn cluster_slots(&mut self, connection: ConnectionId) -> Flow {
        let mut nodes = self.listed(connection);
        // The leader stands first.
        nodes.sort_by_key(|(node, _, _, leads)| (!leads, *node));
        let cluster = self.map.cluster;
        let served = nodes.first().is_some_and(|(_, _, _, leads)| *leads);
        self.reply(connection, |w| {
            if !served {
                return w.array(0);
            }
            w.array(1);
            w.array(2 + nodes.len());
            w.integer(0);
            w.integer(16383);
            for (node, host, port, _) in nodes {
                w.array(4);
                w.bulk(host.as_bytes());
                w.integer(i64::from(port));
                w.bulk(long_id(cluster, node).as_bytes());
                w.array(0);
            }
        })
    }

    fn cluster_shards(&mut self, connection: ConnectionId) -> Flow {
        let nodes = self.listed(connection);
        let cluster = self.map.cluster;
        let peers = self.peers.clone();
        let me = self.config.node;
        self.reply(connection, |w| {
            w.array(1);
            w.map(2);
            w.bulk(b"slots");
            w.array(2);
            w.integer(0);
            w.integer(16383);
            w.bulk(b"nodes");
            w.array(nodes.len());
            for (node, host, port, leads) in nodes {
                w.map(7);
                w.bulk(b"id");
                w.bulk(long_id(cluster, node).as_bytes());
                w.bulk(b"port");
                w.integer(i64::from(port));
                w.bulk(b"ip");
                w.bulk(host.as_bytes());
                w.bulk(b"endpoint");
                w.bulk(host.as_bytes());
                w.bulk(b"role");
                w.bulk(if leads { b"master" } else { b"replica" });
                w.bulk(b"replication-offset");
                w.integer(0);
                w.bulk(b"health");
                w.bulk(if node == me || peers.contains_key(&node) { b"online" } else { b"failed" });
            }
        })
    }
}
