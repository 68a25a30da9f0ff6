//! The least control plane that keeps the rules: views with numbers, elections by seals, changes of the electable set.

use data::keyspace::{CommitRule, OnTimeout, Settings};
use data::view::{Leader, Replica, View};
use data::{Epoch, GroupId, Incarnation, Index, KeyspaceId, NodeId, Position, Process, ViewNumber};
use std::collections::BTreeMap;

pub const GROUP: GroupId = GroupId(1);
pub const KEYSPACE: KeyspaceId = KeyspaceId(0);

/// The life of every node as the cluster knows it.
pub type Lives = BTreeMap<NodeId, (Incarnation, Process)>;

pub struct Control {
    pub view: View,
    last_epoch: Epoch,
    answers: BTreeMap<NodeId, (Replica, Process, Position)>,
    pub released: bool,
    pub since: u64,
}

impl Control {
    pub fn new(members: u32, commit: CommitRule, fan_out: u32) -> Control {
        let nodes: Vec<NodeId> = (1..=members).map(NodeId).collect();
        let life = |node: &NodeId| Replica { node: *node, incarnation: Incarnation(1) };
        let view = View {
            group: GROUP,
            keyspace: KEYSPACE,
            number: ViewNumber(1),
            epoch: Epoch(1),
            leader: Some(Leader { replica: life(&nodes[0]), process: Process(1) }),
            electable: nodes.iter().map(life).collect(),
            members: nodes,
            read_replicas: Vec::new(),
            election: None,
            forced: None,
            history: vec![Position::new(1, 1)],
            last_loss: Epoch(0),
            rule: commit,
            settings: Settings { commit, fan_out, ..Settings::default() },
        };
        Control { view, last_epoch: Epoch(1), answers: BTreeMap::new(), released: false, since: 0 }
    }
    pub fn start_election(&mut self, now: u64) {
        self.last_epoch = self.last_epoch.next();
        self.view.election = Some(self.last_epoch);
        self.view.number = self.view.number.next();
        self.answers.clear();
        self.released = false;
        self.since = now;
    }
    pub fn answered(&mut self, replica: Replica, process: Process, election: ViewNumber, last: Position) {
        if self.view.election.is_none() || election != self.view.number {
            return;
        }
        self.released |= self.view.leader.is_some_and(|leader| leader.replica.node == replica.node);
        self.answers.insert(replica.node, (replica, process, last));
    }
    /// Ends the election if enough clean members of the set have sealed in the process they run now.
    pub fn judge(&mut self, now: u64, lives: &Lives) -> Option<Replica> {
        let epoch = self.view.election?;
        let clean = self.answers.values().filter(|(replica, process, _)| {
            self.view.is_electable(*replica)
                && lives.get(&replica.node) == Some(&(replica.incarnation, *process))
        });
        let clean: Vec<_> = clean.copied().collect();
        let is_async = self.view.rule == CommitRule::Async;
        // Async may lead with the best that can be reached; if no clean one will ever come, with anybody.
        let enough = clean.len() >= self.view.seals_needed() && (!is_async || now - self.since > 150_000_000);
        let from = if enough && !clean.is_empty() {
            clean
        } else if is_async && now - self.since > 2_000_000_000 {
            self.answers
                .values()
                .filter(|(r, p, _)| lives.get(&r.node) == Some(&(r.incarnation, *p)))
                .copied()
                .collect()
        } else {
            return None;
        };
        let (replica, process, last) = from.into_iter().max_by_key(|(_, _, last)| *last)?;
        let start = Position { epoch, index: Index(last.index.0 + 1) };
        let view = &mut self.view;
        if !view.is_electable(replica) {
            view.electable.retain(|r| r.node != replica.node);
            view.electable.push(replica);
            view.electable.sort_unstable();
        }
        if let Err(at) = view.members.binary_search(&replica.node) {
            view.members.insert(at, replica.node);
        }
        view.history.retain(|begun| begun.index < start.index);
        view.history.push(start);
        view.epoch = epoch;
        view.leader = Some(Leader { replica, process });
        view.election = None;
        view.number = view.number.next();
        self.since = now;
        Some(replica)
    }
    /// Decides a proposal of a leader: `Some(true)` accepted, `Some(false)` refused for good, `None` out of date.
    pub fn propose(
        &mut self,
        leader: Leader,
        number: ViewNumber,
        rule: CommitRule,
        electable: &[Replica],
        lives: &Lives,
    ) -> Option<bool> {
        let view = &mut self.view;
        if view.number != number || view.election.is_some() || view.leader != Some(leader) {
            return None;
        }
        let current = |r: &Replica| lives.get(&r.node).is_some_and(|life| life.0 == r.incarnation);
        let fresh = electable.iter().filter(|r| !view.is_electable(**r)).all(current);
        let members = electable.iter().all(|r| view.members.contains(&r.node));
        let degrades = view.settings.on_timeout == OnTimeout::Degrade && rule == CommitRule::Async;
        let asked = rule == view.settings.commit || rule == view.rule || degrades;
        let fits = match rule {
            CommitRule::InSyncSet { minimum } | CommitRule::Chain { minimum } => {
                electable.len() >= view.electable.len() || electable.len() >= minimum as usize
            }
            _ => view
                .electable
                .iter()
                .all(|r| electable.contains(r) || !current(r) || !view.members.contains(&r.node)),
        };
        if !fresh || !members || !fits || !asked || !electable.contains(&leader.replica) {
            return Some(false);
        }
        view.electable = electable.to_vec();
        view.rule = rule;
        view.number = view.number.next();
        Some(true)
    }
    pub fn change_members(&mut self, members: Vec<NodeId>) {
        self.view.members = members;
        self.view.number = self.view.number.next();
    }
}
