//! Nodes join, leave and lose their data, as an operator with a run book has it.
//!
//! A machine whose data is gone comes back under its old name and address, and joins as a new node: it promised things
//! that it cannot remember. The operator then has the old node removed. A node that left is stopped once the map no
//! longer names it.

use super::{Event, World};
use crate::host::Host;
use crate::network::MS;
use crate::random::Random;
use crate::workload::command;
use control::{ClusterMap, NodeState};
use data::NodeId;
use data::keyspace::CommitRule;
use data::view::View;
use node::Input;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An empty machine asks again so often; the server does too.
const ASK_EVERY: u64 = 300 * MS;
/// The operator looks so often whether nodes that shall leave have gone.
const LOOK_EVERY: u64 = 400 * MS;
/// More nodes than that only make a run slow.
const NODES_MAX: usize = 8;

/// Where a machine is reached: port 1 for peers, 2 for clients, 3 for HTTP.
pub fn address(machine: u32, port: u32) -> String {
    format!("host{machine:02}:{port}")
}

/// What the operator wants and waits for.
#[derive(Default)]
pub struct Operator {
    machines: u32,
    /// Machines that ask to join, and the nonce that each drew for it.
    joining: BTreeMap<u32, u64>,
    /// Nodes that shall leave and are not gone yet.
    leaving: BTreeSet<NodeId>,
    looking: bool,
}

impl Operator {
    pub fn new(machines: u32) -> Operator {
        Operator { machines, ..Operator::default() }
    }
    /// The node shall leave soon: nobody else is to be lost meanwhile.
    pub fn means_to_dismiss(&mut self, id: NodeId) {
        self.leaving.insert(id);
    }
    /// What is not done yet, in words.
    pub fn waits_for(&self) -> Option<String> {
        if !self.joining.is_empty() {
            return Some(format!("machines wait to join: {:?}", self.joining));
        }
        (!self.leaving.is_empty()).then(|| format!("nodes have not left: {:?}", self.leaving))
    }
}

impl World {
    /// The newest map that a running node knows.
    pub fn newest_map(&self) -> Option<&ClusterMap> {
        let nodes = self.hosts.values().filter_map(|host| host.node.as_ref());
        nodes.map(|node| node.map()).filter(|map| map.founded()).max_by_key(|map| map.version)
    }

    /// Whether the cluster still serves, and keeps what it acknowledged, when this node's data is gone for good: the
    /// control plane keeps a majority, every group the replicas that an election needs.
    pub fn may_lose(&self, victim: NodeId) -> bool {
        use crate::faults::Fault;
        let forgetful = [Fault::PowerCut, Fault::PowerCutAll, Fault::DiskFail, Fault::DiskFull];
        if !self.flushed_only && forgetful.iter().any(|fault| self.mix.has(*fault)) {
            // Copies that were not flushed lose their word together, and the wiped one cannot give its.
            return false;
        }
        // One at a time: a group that is founded later may have just these members, and survives the loss of one of three.
        let harmed = self.hosts.values().any(|host| host.lost || host.harm.is_some());
        if harmed || self.operator.waits_for().is_some() {
            return false;
        }
        let Some(map) = self.newest_map() else { return false };
        let running = |id| self.hosts.get(&id).is_some_and(Host::is_running);
        let active = map.nodes.values().filter(|node| node.usable()).count();
        // On its way from one voter to three: each of the three may become one of few.
        if !map.outgoing.is_empty() || (map.voters.len() == 1 && active > 2) {
            return false;
        }
        // With fewer this map may be old.
        let ready = |node: NodeId| self.holds_shards_whole(node);
        let whole = map
            .leaderless_shards()
            .all(|(.., shard)| shard.joining.is_none() && shard.replicas.iter().all(|node| ready(*node)));
        // A hint may be all that its target's ring has of a write beside one copy.
        let hints =
            self.hosts.values().filter_map(|host| host.node.as_ref()).flat_map(|node| node.shard_states());
        if !whole || hints.into_iter().any(|state| state.hints > 0 || state.missed > 0) {
            return false;
        }
        let knows = map.control_majority(running);
        let governs = map.control_majority(|id| id != victim);
        // The machine comes back under another number; the number that is gone can only leave what remains whole without it.
        let serves = |view: &View| {
            if view.settings.commit.nodes_needed() > active {
                return false;
            }
            let clean = view.electable.iter().filter(|replica| {
                replica.node != victim
                    && self.hosts.get(&replica.node).is_some_and(|h| h.incarnation == replica.incarnation)
            });
            clean.count() >= view.seals_needed().max(1)
        };
        knows && governs && map.views().all(serves)
    }

    /// Whether a copy may be damaged without anybody's knowing.
    pub fn has_harm(&self) -> bool {
        self.hosts.values().any(|host| host.harm.is_some())
    }

    /// Whether the node runs and its copies of leaderless shards may answer.
    fn holds_shards_whole(&self, id: NodeId) -> bool {
        let node = self.hosts.get(&id).and_then(|host| host.node.as_ref());
        node.is_some_and(|node| node.shard_states().all(|state| !state.is_replica || state.is_ready))
    }

    /// Whether these nodes alone can agree, elect and acknowledge in every group whose rule promises that, as far as is known.
    pub fn suffices(&self, core: &BTreeSet<NodeId>) -> bool {
        let Some(map) = self.newest_map() else { return false };
        let serves = |view: &View| {
            let clean = view.electable.iter().filter(|replica| {
                let life = self.hosts.get(&replica.node).map(|host| host.incarnation);
                core.contains(&replica.node) && life == Some(replica.incarnation)
            });
            let needed = match view.settings.commit {
                CommitRule::Majority | CommitRule::SemiSync { .. } => {
                    view.seals_needed().max(view.followers_needed() + 1)
                }
                // Whoever is gone leaves the set.
                CommitRule::InSyncSet { minimum } | CommitRule::Chain { minimum }
                    if view.rule == view.settings.commit =>
                {
                    minimum as usize
                }
                _ => 0,
            };
            clean.count() >= needed
        };
        map.control_majority(|id| self.hosts.get(&id).is_some_and(Host::is_running))
            && map.control_majority(|id| core.contains(&id))
            && map.views().all(serves)
            && map.leaderless_shards().all(|(_, policy, shard)| {
                let able =
                    shard.replicas.iter().filter(|id| core.contains(id) && self.holds_shards_whole(**id));
                able.count() >= policy.w.max(policy.r) as usize
            })
    }

    /// The machine's data is gone. It comes back empty after `length`, and its former node is removed after `patience`.
    pub fn wipe(&mut self, id: NodeId, length: u64, patience: u64) {
        let Some(machine) = self.hosts.get(&id).map(|host| host.machine) else { return };
        self.stop(id, true);
        self.hosts.remove(&id);
        self.after(length, Event::Undo(crate::faults::Undo::Return(machine)));
        self.operator.leaving.insert(id);
        self.after(patience, Event::Undo(crate::faults::Undo::Dismiss(id)));
    }

    /// Another machine is set up; `None` when there are enough, or when a copy is damaged: what it says would count for more.
    pub fn add_machine(&mut self) -> Option<u32> {
        if self.has_harm() {
            return None;
        }
        if self.hosts.len() + self.operator.joining.len() >= NODES_MAX {
            return None;
        }
        self.operator.machines += 1;
        let machine = self.operator.machines;
        self.bring_up(machine);
        Some(machine)
    }

    /// An empty machine begins to ask for a place in the cluster.
    pub(crate) fn bring_up(&mut self, machine: u32) {
        let nonce = self.streams.members.draw();
        self.trace.note(self.now, || format!("machine {machine} is empty and wants to join"));
        self.operator.joining.insert(machine, nonce);
        self.after(0, Event::AskToJoin { machine });
    }

    pub(super) fn ask_to_join(&mut self, machine: u32) {
        let Some(nonce) = self.operator.joining.get(&machine).copied() else { return };
        let running = self.running();
        if let Some(node) = self.streams.members.pick(&running) {
            let (name, site) = (format!("m{machine}"), self.network.sites.name_of(machine).to_owned());
            let addresses = control::Addresses {
                resp: address(machine, 2),
                peer: address(machine, 1),
                http: address(machine, 3),
            };
            self.step(node, Input::Join { nonce, name, addresses, site });
        }
        self.after(ASK_EVERY, Event::AskToJoin { machine });
    }

    pub(super) fn answer_join(&mut self, peer: &str, node: NodeId, map: Arc<ClusterMap>) {
        let asked = self.operator.joining.keys().copied().find(|machine| address(*machine, 1) == peer);
        let Some(machine) = asked else { return };
        let delay = self.streams.members.between(1, 20) * MS;
        self.after(delay, Event::Joined { machine, node, map });
    }

    /// The machine has its number: it starts as that node.
    pub(super) fn become_member(&mut self, machine: u32, id: NodeId, map: &ClusterMap) {
        if self.operator.joining.remove(&machine).is_none() || self.hosts.contains_key(&id) {
            return;
        }
        self.trace.note(self.now, || format!("machine {machine} is {id} from now on"));
        let clock = self.mix.clock(self.now, &mut self.streams.members);
        let mut host = Host::new(id, machine, false, clock);
        if let Err(error) = host.disk.remember(map) {
            return self.invariants.fail("empty disks can be written", format!("{id}: {error}"));
        }
        self.add_host(host);
        self.after(0, Event::Start { node: id });
    }

    /// The operator has the node removed.
    pub fn dismiss(&mut self, id: NodeId) {
        self.operator.leaving.insert(id);
        if !std::mem::replace(&mut self.operator.looking, true) {
            self.after(0, Event::Operate);
        }
    }

    /// A node that may be asked to leave: two others stay, and as many as an in-sync set must not shrink below.
    /// Nobody goes while a copy is damaged or missing: the voters and copies that stay would count on it.
    pub fn dispensable(&self, random: &mut Random) -> Option<NodeId> {
        let whole = !self.has_harm();
        let missing = self.operator.leaving.iter().any(|id| !self.hosts.contains_key(id));
        if !whole || missing {
            return None;
        }
        let map = self.newest_map()?;
        let minimum = |view: &View| view.settings.commit.nodes_needed().max(2);
        let copies = map.leaderless.values().map(|it| it.policy.n as usize).max().unwrap_or(0);
        let least = map.views().map(minimum).fold(2, usize::max).max(copies);
        let staying = self.nodes_staying(map);
        if staying.len() > least { random.pick(&staying) } else { None }
    }

    fn nodes_staying(&self, map: &ClusterMap) -> Vec<NodeId> {
        let active = |id: &NodeId| map.nodes.get(id).is_some_and(|node| node.usable());
        let stays = |id: &NodeId| active(id) && !self.operator.leaving.contains(id);
        self.hosts.keys().copied().filter(stays).collect()
    }
    /// How many nodes nobody means to remove.
    pub fn staying(&self) -> usize {
        self.newest_map().map_or(0, |map| self.nodes_staying(map).len())
    }

    pub(super) fn operate(&mut self) {
        let Some(map) = self.newest_map() else { return self.after(LOOK_EVERY, Event::Operate) };
        // An ALTER since may have made a node indispensable.
        let needed = |view: &View| view.rule.nodes_needed().max(view.settings.commit.nodes_needed());
        let copies = map.leaderless.values().map(|it| it.policy.n as usize).max().unwrap_or(0);
        let least = map.views().map(needed).max().unwrap_or(0).max(copies);
        let active = map.nodes.values().filter(|node| node.state == NodeState::Active).count();
        let (mut gone, mut asked, mut stays) = (Vec::new(), Vec::new(), Vec::new());
        for id in &self.operator.leaving {
            match map.nodes.get(id).map(|node| node.state) {
                Some(NodeState::Active) if active <= least && self.hosts.contains_key(id) => stays.push(*id),
                Some(NodeState::Active) => asked.push(*id),
                Some(NodeState::Leaving) => {}
                // A map from before the node was added names it as little.
                None if *id < map.next_node => gone.push(*id),
                None => {}
            }
        }
        for id in stays {
            self.trace.note(self.now, || format!("{id} is needed and stays"));
            self.operator.leaving.remove(&id);
        }
        for id in gone {
            self.trace.note(self.now, || format!("{id} has left"));
            self.operator.leaving.remove(&id);
            self.stop(id, false);
            self.hosts.remove(&id);
        }
        for id in asked {
            let others: Vec<NodeId> = self.running().into_iter().filter(|other| *other != id).collect();
            if let Some(at) = self.streams.members.pick(&others) {
                self.order(at, vec![command(&["KEYSPACE", "REMOVE-NODE", &id.0.to_string()])]);
            }
        }
        self.operator.looking = !self.operator.leaving.is_empty();
        if self.operator.looking {
            self.after(LOOK_EVERY, Event::Operate);
        }
    }
}
