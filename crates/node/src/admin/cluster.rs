//! CLUSTER: who leads which slots of the connection's keyspace, for clients of Redis Cluster. Others need no map, for any node
//! takes any command.

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::route::Route;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::spec::unknown_subcommand;
use data::slot::{self, SLOTS};
use data::{GroupId, KeyspaceId, NodeId, SlotRange};

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

/// A run of slots of one group.
struct Shard {
    group: GroupId,
    slots: SlotRange,
    leader: Option<NodeId>,
    followers: Vec<NodeId>,
}

/// A group with all its runs of slots, and its nodes with their roles.
type Grouped = (GroupId, Vec<SlotRange>, Vec<(Listed, &'static str)>);

/// A node as clients know it.
struct Listed {
    id: String,
    host: String,
    port: u16,
    up: bool,
}

impl Node {
    pub(super) fn cluster(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let name = args[1].to_ascii_lowercase();
        match (&name[..], &args[2..]) {
            (b"keyslot", [key]) => {
                let slot = slot::slot(key);
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

    /// The shards of the connection's keyspace, in the order of their slots. Clients of Redis Cluster know a node in one role
    /// only: one that leads a shard is not shown as a follower of another.
    fn shards(&self, connection: ConnectionId) -> Vec<Shard> {
        let keyspace = self.sessions.get(connection).map_or(KeyspaceId(0), |session| session.keyspace);
        let Some(routes) = self.routes.get(&keyspace) else { return Vec::new() };
        let leaders: BTreeSet<NodeId> = routes.iter().filter_map(|route| route.leader).collect();
        let shard = |route: &Route| {
            let members = self.map.view(route.group).map(|view| view.members.clone()).unwrap_or_default();
            let followers = members.into_iter().filter(|node| !leaders.contains(node)).collect();
            Shard { group: route.group, slots: route.slots, leader: route.leader, followers }
        };
        routes.iter().map(shard).collect()
    }

    /// Whether the connection's keyspace is one for clients of Redis Cluster.
    pub(super) fn cluster_enabled(&self, connection: ConnectionId) -> bool {
        let keyspace = self.sessions.get(connection).map_or(KeyspaceId(0), |session| session.keyspace);
        let settings = self.map.keyspaces.get(&keyspace).map(|it| it.settings);
        settings.is_some_and(|it| it.shards > 1 || !it.forward)
    }

    fn cluster_info(&self, connection: ConnectionId) -> String {
        let shards = self.shards(connection);
        let count = |shard: &Shard| u32::from(shard.slots.last - shard.slots.first) + 1;
        let assigned: u32 = shards.iter().map(count).sum();
        let served: u32 = shards.iter().filter(|shard| shard.leader.is_some()).map(count).sum();
        let leaders: BTreeSet<NodeId> = shards.iter().filter_map(|shard| shard.leader).collect();
        format!(
            "cluster_enabled:{}\r\ncluster_state:{}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{served}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:{}\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\ncluster_current_epoch:{}\r\n",
            u8::from(self.cluster_enabled(connection)),
            if served == u32::from(SLOTS) { "ok" } else { "fail" },
            assigned - served,
            self.map.nodes.len(),
            leaders.len(),
            self.map.version,
        )
    }

    /// Host and port as clients reach a node, and its long name.
    fn listed(&self, node: NodeId) -> Listed {
        let (host, port) = self.address_of(node);
        let up = node == self.config.node || self.peers.contains_key(&node);
        Listed { id: long_id(self.map.cluster, node), host, port: port.parse().unwrap_or(0), up }
    }

    fn cluster_nodes(&self, connection: ConnectionId) -> String {
        let shards = self.shards(connection);
        let line = |node: NodeId| {
            let Listed { id, host, port, up } = self.listed(node);
            let led = shards.iter().filter(|shard| shard.leader == Some(node));
            let slots: String =
                led.map(|shard| format!(" {}-{}", shard.slots.first, shard.slots.last)).collect();
            let followed = shards.iter().find(|shard| shard.followers.contains(&node));
            let (role, of) = match followed.and_then(|shard| shard.leader).filter(|_| slots.is_empty()) {
                Some(leader) => ("slave", long_id(self.map.cluster, leader)),
                None => ("master", String::from("-")),
            };
            let mine = if node == self.config.node { "myself," } else { "" };
            let link = if up { "connected" } else { "disconnected" };
            format!("{id} {host}:{port}@{port} {mine}{role} {of} 0 0 {} {link}{slots}\n", self.map.version)
        };
        self.map.nodes.keys().map(|node| line(*node)).collect()
    }

    fn cluster_slots(&mut self, connection: ConnectionId) -> Flow {
        let served = |shard: Shard| {
            let nodes = shard.leader.into_iter().chain(shard.followers);
            shard.leader.map(|_| (shard.slots, nodes.map(|node| self.listed(node)).collect::<Vec<_>>()))
        };
        let shards: Vec<_> = self.shards(connection).into_iter().filter_map(served).collect();
        self.reply(connection, |w| {
            w.array(shards.len());
            for (slots, nodes) in shards {
                w.array(2 + nodes.len());
                w.integer(i64::from(slots.first));
                w.integer(i64::from(slots.last));
                for node in nodes {
                    w.array(4);
                    w.bulk(node.host.as_bytes());
                    w.integer(i64::from(node.port));
                    w.bulk(node.id.as_bytes());
                    w.array(0);
                }
            }
        })
    }

    fn cluster_shards(&mut self, connection: ConnectionId) -> Flow {
        let shown = |shard: &Shard| {
            let leader = shard.leader.into_iter().map(|node| (self.listed(node), "master"));
            let followers = shard.followers.iter().map(|node| (self.listed(*node), "replica"));
            leader.chain(followers).collect::<Vec<_>>()
        };
        // One entry for each group, with all its runs.
        let mut shards: Vec<Grouped> = Vec::new();
        for shard in self.shards(connection) {
            match shards.iter_mut().find(|(group, _, _)| *group == shard.group) {
                Some((_, runs, _)) => runs.push(shard.slots),
                None => shards.push((shard.group, alloc::vec![shard.slots], shown(&shard))),
            }
        }
        self.reply(connection, |w| {
            w.array(shards.len());
            for (_, runs, nodes) in shards {
                w.map(2);
                w.bulk(b"slots");
                w.array(2 * runs.len());
                for slots in runs {
                    w.integer(i64::from(slots.first));
                    w.integer(i64::from(slots.last));
                }
                w.bulk(b"nodes");
                w.array(nodes.len());
                for (node, role) in nodes {
                    w.map(7);
                    w.bulk(b"id");
                    w.bulk(node.id.as_bytes());
                    w.bulk(b"port");
                    w.integer(i64::from(node.port));
                    w.bulk(b"ip");
                    w.bulk(node.host.as_bytes());
                    w.bulk(b"endpoint");
                    w.bulk(node.host.as_bytes());
                    w.bulk(b"role");
                    w.bulk(role.as_bytes());
                    w.bulk(b"replication-offset");
                    w.integer(0);
                    w.bulk(b"health");
                    w.bulk(if node.up { b"online" } else { b"failed" });
                }
            }
        })
    }
}
