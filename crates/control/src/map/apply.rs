//! Commands that touch nodes and keyspaces; those of groups stand in [`super::group`].

use super::{ClusterMap, Node, NodeState};
use crate::command::{Applied, Command, Refusal};
use crate::config::Addresses;
use crate::event::Change;
use crate::founding::Founded;
use data::codec::{DecodeError, Reader, Writer};
use data::keyspace::{Keyspace, Settings};
use data::plant::{self, Bug};
use data::table::Seed;
use data::view::View;
use data::{GroupId, Incarnation, KeyspaceId, NodeId, Process};

/// Keyspaces that every cluster has from its founding: those of `SELECT 0` to `SELECT 15`.
pub const NUMBERED_KEYSPACES: u32 = 16;

/// What the control leader knew when it took a command into the log. Placement heeds it; correctness does not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Advice {
    pub control_leader: NodeId,
    pub suspects: Vec<NodeId>,
}

impl Advice {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.control_leader.encode(w);
        w.list(&self.suspects, |w, node| node.encode(w));
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Advice, DecodeError> {
        Ok(Advice { control_leader: NodeId::decode(r)?, suspects: r.list(NodeId::decode)? })
    }
}

const TOO_FEW: &str =
    "a keyspace could not meet its commit rule any more: let another node join first, or ALTER that keyspace";
pub(crate) const ALONE_AT_SITE: &str = "a keyspace has its copies at this node's site, and no other node is there: let one join first, or ALTER that keyspace";

impl ClusterMap {
    /// Carries out one command of the control log; `version` is the entry's index. A refused command changes nothing but
    /// the version.
    pub fn apply(&mut self, version: u64, command: &Command, advice: &Advice) -> Result<Applied, Refusal> {
        self.version = version;
        if !self.founded() && !matches!(command, Command::Found { .. }) {
            return Err(Refusal::NotFounded);
        }
        match command {
            Command::Found { founded, seeds, shards } => self.found(founded, seeds, *shards),
            Command::AddNode { nonce, name, addresses, site } => {
                Ok(self.add_node(*nonce, name, addresses, site))
            }
            Command::StartNode { node, name, addresses, site, process, incarnation } => {
                self.start_node(*node, name, addresses, site, *process, *incarnation)
            }
            Command::RemoveNode { node } => self.remove_node(*node),
            Command::ForgetNode { node } => self.forget_node(*node),
            Command::CreateKeyspace { name, settings, seed } => {
                self.create_keyspace(name, *settings, *seed, advice)
            }
            Command::AlterKeyspace { keyspace, settings } => self.alter_keyspace(*keyspace, *settings),
            Command::DropKeyspace { keyspace } => self.drop_keyspace(*keyspace),
            Command::EnsureGroup { keyspace } => self.ensure_group(*keyspace, advice),
            Command::StartElection { .. }
            | Command::ForceElection { .. }
            | Command::FinishElection { .. }
            | Command::ChangeElectable { .. }
            | Command::ChangeMembers { .. } => self.change_group(command, advice),
            Command::ChangeShards(change) => self.change_shards(change, advice),
            Command::ChangeLeaderless(change) => self.change_leaderless(change, advice),
            Command::ChangeMultiLeader(change) => self.change_multi_leader(change, advice),
            Command::ChangeRules { keyspace, change } => self.change_rules(*keyspace, change),
            Command::RaiseLevel { level } => {
                if *level > self.level {
                    self.level = *level;
                    self.remember(Change::LevelRaised(*level));
                }
                Ok(Applied::Done)
            }
        }
    }

    fn found(&mut self, founded: &Founded, seeds: &[Seed], shards: u32) -> Result<Applied, Refusal> {
        if self.founded() {
            return Err(Refusal::AlreadyFounded);
        }
        if seeds.len() != NUMBERED_KEYSPACES as usize || founded.is_empty() {
            return Err(Refusal::Invalid("the founders do not fit the seeds"));
        }
        let settings = Settings { shards, ..Settings::default() };
        settings.check().map_err(Refusal::Invalid)?;
        self.cluster = founded.cluster();
        self.level = 1;
        for (id, address, nonce) in founded.nodes() {
            let addresses = Addresses { peer: address.to_string(), ..Addresses::default() };
            self.insert_node(id, nonce, "", &addresses, "");
        }
        for (number, seed) in (0..NUMBERED_KEYSPACES).zip(seeds) {
            let (id, name) = (KeyspaceId(number), number.to_string());
            self.keyspaces.insert(id, Keyspace { id, name, settings, seed: *seed });
        }
        self.next_keyspace = KeyspaceId(NUMBERED_KEYSPACES);
        // Group 0 is the control plane's own.
        self.next_group = GroupId(1);
        self.remember(Change::Founded);
        Ok(Applied::Done)
    }

    fn insert_node(&mut self, id: NodeId, nonce: u64, name: &str, addresses: &Addresses, site: &str) {
        self.next_node = self.next_node.max(id.next());
        let node = Node {
            id,
            nonce,
            name: name.to_string(),
            addresses: addresses.clone(),
            site: site.to_string(),
            process: Process(0),
            incarnation: Incarnation(0),
            state: NodeState::Active,
        };
        self.nodes.insert(id, node);
    }

    /// Idempotent by nonce: a joiner whose answer was lost asks again.
    fn add_node(&mut self, nonce: u64, name: &str, addresses: &Addresses, site: &str) -> Applied {
        if let Some(known) = self.nodes.values().find(|node| node.nonce == nonce) {
            return Applied::Node(known.id);
        }
        if plant::is(Bug::ReusesActor)
            && let Some(known) = self.nodes.values().find(|node| node.addresses == *addresses)
        {
            return Applied::Node(known.id);
        }
        let id = self.next_node;
        self.insert_node(id, nonce, name, addresses, site);
        self.remember(Change::NodeAdded(id));
        Applied::Node(id)
    }

    fn start_node(
        &mut self,
        node: NodeId,
        name: &str,
        addresses: &Addresses,
        site: &str,
        process: Process,
        incarnation: Incarnation,
    ) -> Result<Applied, Refusal> {
        let known = self.nodes.get_mut(&node).ok_or(Refusal::UnknownNode)?;
        // A proposal of an earlier process may arrive late.
        if process < known.process {
            return Err(Refusal::Outdated);
        }
        let fresh = process > known.process || incarnation != known.incarnation;
        known.name = name.to_string();
        known.addresses = addresses.clone();
        known.site = site.to_string();
        known.process = process;
        known.incarnation = incarnation;
        if fresh {
            self.remember(Change::NodeStarted { node, process, incarnation });
        }
        Ok(Applied::Done)
    }

    fn remove_node(&mut self, node: NodeId) -> Result<Applied, Refusal> {
        let active = self.nodes.values().filter(|node| node.state == NodeState::Active).count();
        // A set that may shrink no further would count on the node for ever.
        let minimum = |view: &View| view.rule.nodes_needed().max(view.settings.commit.nodes_needed());
        let least = self.views().map(minimum).max().unwrap_or(0).max(self.copies_needed());
        let alone = self.is_alone_at_a_site(node);
        let known = self.nodes.get_mut(&node).ok_or(Refusal::UnknownNode)?;
        if known.state == NodeState::Leaving {
            return Ok(Applied::Done);
        }
        if alone {
            return Err(Refusal::Invalid(ALONE_AT_SITE));
        }
        if active <= 1 {
            return Err(Refusal::LastNode);
        }
        if active <= least {
            return Err(Refusal::Invalid(TOO_FEW));
        }
        known.state = NodeState::Leaving;
        self.remember(Change::NodeLeaving(node));
        Ok(Applied::Done)
    }

    /// Whether a group has its copies at one site, and of the nodes there only this one stays: it could never go.
    fn is_alone_at_a_site(&self, node: NodeId) -> bool {
        let stays = |other: &Node| other.id != node && other.state == NodeState::Active;
        let sites = self.views().filter_map(|view| view.settings.site);
        sites
            .filter(|site| self.is_at(node, Some(*site)))
            .any(|site| !self.nodes.values().any(|other| stays(other) && self.is_at(other.id, Some(site))))
    }

    fn forget_node(&mut self, node: NodeId) -> Result<Applied, Refusal> {
        let known = self.nodes.get(&node).ok_or(Refusal::UnknownNode)?;
        if known.state != NodeState::Leaving || self.depends_on(node) {
            return Err(Refusal::InUse);
        }
        self.nodes.remove(&node);
        self.step_barriers();
        self.remember(Change::NodeGone(node));
        Ok(Applied::Done)
    }

    /// Whether a group or the control plane still counts on the node.
    pub(crate) fn depends_on(&self, node: NodeId) -> bool {
        self.is_control_member(node)
            || self.views().any(|view| view.holds_copy(node))
            || self.leaderless_shards().any(|(.., shard)| shard.replicas.contains(&node))
    }

    fn create_keyspace(
        &mut self,
        name: &str,
        settings: Settings,
        seed: Seed,
        advice: &Advice,
    ) -> Result<Applied, Refusal> {
        self.check_new_name(name)?;
        settings.check().map_err(Refusal::Invalid)?;
        self.check_sites(&settings)?;
        if self.place(1, settings.site, &[], advice).is_empty() {
            return Err(Refusal::NoNodes);
        }
        let id = self.next_keyspace;
        self.next_keyspace = id.next();
        self.keyspaces.insert(id, Keyspace { id, name: name.to_string(), settings, seed });
        self.remember(Change::KeyspaceCreated(id));
        self.insert_groups(id, settings, advice)?;
        Ok(Applied::Keyspace(id))
    }

    /// A site that no node is at is a slip of the pen.
    fn check_sites(&self, settings: &Settings) -> Result<(), Refusal> {
        let known = |site: data::Site| self.nodes.values().any(|node| node.site == site.as_str());
        let named = settings.site.into_iter().chain(settings.recovery_site);
        match named.into_iter().all(known) {
            true => Ok(()),
            false => Err(Refusal::Invalid("no node is at a site of this name")),
        }
    }

    /// Another commit rule counts only from its leader's proposal on: before that the leader brings every committed entry under
    /// it.
    fn alter_keyspace(&mut self, keyspace: KeyspaceId, settings: Settings) -> Result<Applied, Refusal> {
        settings.check().map_err(Refusal::Invalid)?;
        if self.leaderless.contains_key(&keyspace) {
            return Err(Refusal::Invalid(super::leaderless::NOT_ALTERED));
        }
        // Its sites' groups have settings of their own: a change of it says what they are.
        if self.multi_leader.contains_key(&keyspace) {
            return Err(Refusal::Invalid(super::CHANGED));
        }
        self.check_sites(&settings)?;
        // A node that leaves would never get away from a set that cannot be smaller.
        let staying = self.nodes.values().filter(|node| node.state == NodeState::Active).count();
        if staying < self.nodes.len() && staying < settings.commit.nodes_needed() {
            return Err(Refusal::Invalid(TOO_FEW));
        }
        let used = self.groups_of(keyspace).next().is_some();
        let known = self.keyspaces.get_mut(&keyspace).ok_or(Refusal::UnknownKeyspace)?;
        let divides = used && settings.shards != known.settings.shards;
        let mut groups: Vec<_> =
            self.groups.values_mut().filter(|group| group.view.keyspace == keyspace).collect();
        if groups.iter().any(|group| group.view.election.is_some()) {
            return Err(Refusal::InElection);
        }
        known.settings = settings;
        for group in &mut groups {
            group.view.settings = settings;
            group.view.number = group.view.number.next();
        }
        if divides {
            self.dividing.insert(keyspace);
        }
        self.remember(Change::KeyspaceAltered(keyspace));
        Ok(Applied::Done)
    }

    fn drop_keyspace(&mut self, keyspace: KeyspaceId) -> Result<Applied, Refusal> {
        if keyspace.0 < NUMBERED_KEYSPACES {
            return Err(Refusal::Numbered);
        }
        self.keyspaces.remove(&keyspace).ok_or(Refusal::UnknownKeyspace)?;
        self.groups.retain(|_, group| group.view.keyspace != keyspace);
        self.leaderless.remove(&keyspace);
        self.multi_leader.remove(&keyspace);
        self.rules.remove(&keyspace);
        self.forget_moves(keyspace);
        self.remember(Change::KeyspaceDropped(keyspace));
        Ok(Applied::Done)
    }
}
