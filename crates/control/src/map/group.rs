//! Commands that touch one group's view. Every one but the creation names the number it was computed from.

use super::{Advice, ClusterMap, Group};
use crate::command::{Applied, Command, Refusal};
use crate::event::Change;
use data::keyspace::{CommitRule, OnTimeout, Settings};
use data::plant::{self, Bug};
use data::view::{Leader, Replica, View};
use data::{Epoch, GroupId, Incarnation, KeyspaceId, NodeId, Position, SlotRange, SlotSet, ViewNumber};
use std::collections::BTreeMap;

impl ClusterMap {
    pub(super) fn ensure_group(&mut self, keyspace: KeyspaceId, advice: &Advice) -> Result<Applied, Refusal> {
        let settings = self.keyspaces.get(&keyspace).ok_or(Refusal::UnknownKeyspace)?.settings;
        if self.leaderless.contains_key(&keyspace) {
            return Err(Refusal::UnknownGroup);
        }
        if let Some(group) = self.groups_of(keyspace).next() {
            return Ok(Applied::Group(group.id()));
        }
        let first = self.next_group;
        self.insert_groups(keyspace, settings, advice)?;
        Ok(Applied::Group(first))
    }

    /// A group for each shard; nothing when there is no node for the first.
    pub(super) fn insert_groups(
        &mut self,
        keyspace: KeyspaceId,
        settings: Settings,
        advice: &Advice,
    ) -> Result<(), Refusal> {
        for slots in SlotRange::divide(settings.shards) {
            let view = self.first_view(keyspace, settings, advice)?;
            self.insert_group(view, SlotSet::of(slots));
        }
        Ok(())
    }

    /// Everybody is electable from the start: there is nothing yet that a copy could lack.
    pub(super) fn first_view(
        &self,
        keyspace: KeyspaceId,
        settings: Settings,
        advice: &Advice,
    ) -> Result<View, Refusal> {
        let mut members = self.place(settings.replicas as usize, settings.site, &[], advice);
        members.sort_unstable();
        let mut read_replicas =
            self.place(settings.read_replicas as usize, settings.recovery_site, &members, advice);
        read_replicas.sort_unstable();
        let first = self.first_leader(&members, advice).and_then(|node| self.nodes.get(&node));
        let leader = first.ok_or(Refusal::NoNodes)?;
        let replicas = members.iter().filter_map(|node| self.nodes.get(node));
        let electable = replicas.map(|node| Replica { node: node.id, incarnation: node.incarnation });
        Ok(View {
            group: self.next_group,
            keyspace,
            number: ViewNumber(1),
            epoch: Epoch(1),
            leader: Some(Leader {
                replica: Replica { node: leader.id, incarnation: leader.incarnation },
                process: leader.process,
            }),
            electable: electable.collect(),
            members,
            read_replicas,
            election: None,
            forced: None,
            history: vec![Position::new(1, 1)],
            last_loss: Epoch(0),
            rule: settings.commit,
            settings,
        })
    }

    pub(super) fn insert_group(&mut self, view: View, slots: SlotSet) {
        let (group, keyspace) = (view.group, view.keyspace);
        self.next_group = group.next();
        self.groups.insert(
            group,
            Group {
                last_epoch: view.epoch,
                slots,
                complete_from: Position::default(),
                completed_at: 0,
                view,
            },
        );
        self.remember(Change::GroupCreated { group, keyspace });
    }

    pub(super) fn change_group(&mut self, command: &Command, advice: &Advice) -> Result<Applied, Refusal> {
        let (id, number) = command.target().ok_or(Refusal::UnknownGroup)?;
        let lives: BTreeMap<NodeId, Incarnation> =
            self.nodes.values().map(|node| (node.id, node.incarnation)).collect();
        let group = self.groups.get_mut(&id).ok_or(Refusal::UnknownGroup)?;
        let loose = plant::is(Bug::ChangesInElection) && matches!(command, Command::ChangeElectable { .. });
        if group.view.number != number && !loose {
            return Err(Refusal::Stale { number: group.view.number });
        }
        let change = match command {
            Command::StartElection { .. } => group.start_election(None),
            Command::ForceElection { node, .. } => {
                if !group.view.holds_copy(*node) || !lives.contains_key(node) {
                    return Err(Refusal::Invalid(
                        "only a node that holds a copy of the group can be promoted",
                    ));
                }
                group.start_election(Some(*node))
            }
            Command::FinishElection { leader, start, starts, loss_possible, .. } => {
                let deposed = group.view.leader.map(|deposed| deposed.replica.node);
                let change = group.finish_election(*leader, *start, starts, *loss_possible, &lives)?;
                if let Some(deposed) = deposed.filter(|node| advice.suspects.contains(node)) {
                    group.leave_behind(deposed);
                }
                change
            }
            Command::ChangeElectable { leader, rule, electable, .. } => {
                group.change_electable(*leader, *rule, electable, &lives)?
            }
            Command::ChangeMembers { members, read_replicas, .. } => {
                group.change_members(members, read_replicas, &lives)?
            }
            _ => return Err(Refusal::UnknownGroup),
        };
        let number = group.view.number.next();
        group.view.number = number;
        if matches!(change, Change::Elected { .. }) {
            self.restart_moves(id);
        }
        self.remember(change);
        Ok(Applied::View { group: id, number })
    }
}

/// Whether these can be the beginnings of a log's epochs when the next one begins at `start`.
fn well_formed(starts: &[Position], start: Position) -> bool {
    let ascends = |a: &Position, b: &Position| a.epoch < b.epoch && a.index < b.index;
    starts.is_sorted_by(ascends) && starts.last().is_none_or(|last| ascends(last, &start))
}

impl Group {
    fn id(&self) -> GroupId {
        self.view.group
    }

    /// Starting again while one is under way abandons that one: its seals no longer count, its epoch is never led.
    fn start_election(&mut self, forced: Option<NodeId>) -> Change {
        self.view.forced = forced;
        self.last_epoch = self.last_epoch.next();
        self.view.election = Some(self.last_epoch);
        Change::ElectionStarted { group: self.id(), epoch: self.last_epoch }
    }

    fn finish_election(
        &mut self,
        leader: Leader,
        start: Position,
        starts: &[Position],
        loss_possible: bool,
        lives: &BTreeMap<NodeId, Incarnation>,
    ) -> Result<Change, Refusal> {
        let epoch = self.view.election.ok_or(Refusal::NoElection)?;
        let winner = leader.replica;
        if lives.get(&winner.node) != Some(&winner.incarnation) {
            return Err(Refusal::Outdated);
        }
        if start.epoch != epoch || start.index.0 == 0 {
            return Err(Refusal::Invalid("the new epoch begins at another position"));
        }
        if self.view.forced.take().is_some_and(|node| node == winner.node) && loss_possible {
            // Nobody else will ever acknowledge anything again, says the operator: the set starts anew from the winner.
            self.view.electable = vec![winner];
        } else if !self.view.is_electable(winner) {
            // Only after everybody reported in and too few were clean: then the loss is announced, and the set starts
            // anew from the winner (bugs: SL-01, SL-15). Others, clean or not, may lack what it holds: it proposes them
            // once they hold everything.
            if !loss_possible {
                return Err(Refusal::NotElectable);
            }
            self.view.electable = vec![winner];
        }
        if let Err(at) = self.view.members.binary_search(&winner.node) {
            self.view.members.insert(at, winner.node);
            self.view.read_replicas.retain(|node| *node != winner.node);
        }
        // The history is that of the winner's log. What was recorded before may name an epoch of which nothing survived, and
        // lack one that came back with the winner: such a log outlived an epoch that began below its end.
        match well_formed(starts, start) {
            true if !starts.is_empty() => self.view.history = starts.to_vec(),
            _ => self.view.history.retain(|begun| begun.index < start.index),
        }
        self.view.history.push(start);
        self.view.epoch = epoch;
        self.view.leader = Some(leader);
        self.view.election = None;
        if loss_possible {
            self.view.last_loss = epoch;
        }
        Ok(Change::Elected { group: self.id(), epoch, leader, loss_possible })
    }

    /// The new leader of a set that shrinks does not wait for the deposed one, which the control leader suspects. Everybody in such a
    /// set holds every committed entry, and the deposed leader needs the winner for another: so the set may be a smaller one from
    /// the next epoch on. Of others that are suspected the new leader judges by itself: the set shall not collapse because
    /// one node hears nobody.
    // catalogue: C14
    fn leave_behind(&mut self, deposed: NodeId) {
        let view = &mut self.view;
        let left = view.electable.iter().filter(|it| it.node != deposed).count();
        let leads = view.leader.is_some_and(|leader| leader.replica.node == deposed);
        if view.rule.drops_laggards() && !leads && left >= view.rule.nodes_needed().max(2) {
            view.electable.retain(|it| it.node != deposed);
        }
    }

    /// An acknowledgement and an election count against the same set: so it changes only by its leader's proposal, who
    /// meets the old and the new rule meanwhile, and never while an election counts against it.
    fn change_electable(
        &mut self,
        leader: Leader,
        rule: CommitRule,
        electable: &[Replica],
        lives: &BTreeMap<NodeId, Incarnation>,
    ) -> Result<Change, Refusal> {
        let view = &mut self.view;
        if view.election.is_some() && !plant::is(Bug::ChangesInElection) {
            return Err(Refusal::InElection);
        }
        if view.leader != Some(leader) {
            return Err(Refusal::NotLeader);
        }
        let ascending = electable.is_sorted_by(|a, b| a.node < b.node);
        let members = electable.iter().all(|replica| view.members.binary_search(&replica.node).is_ok());
        if !ascending || !members || electable.binary_search(&leader.replica).is_err() {
            return Err(Refusal::Invalid(
                "the electable set must be sorted, part of the members and contain the leader",
            ));
        }
        let fresh = electable.iter().filter(|replica| !view.is_electable(**replica));
        if fresh.clone().any(|replica| lives.get(&replica.node) != Some(&replica.incarnation)) {
            return Err(Refusal::Outdated);
        }
        let degrades = view.settings.on_timeout == OnTimeout::Degrade && rule == CommitRule::Async;
        if rule != view.settings.commit && rule != view.rule && !degrades {
            return Err(Refusal::Invalid("the settings ask for another commit rule"));
        }
        match rule.drops_laggards() {
            true => {
                if electable.len() < view.electable.len() && electable.len() < rule.nodes_needed() {
                    return Err(Refusal::Invalid("the electable set is below its minimum"));
                }
            }
            // Counted against membership, never against who happens to be connected.
            false => {
                let dropped = |replica: &&Replica| {
                    view.members.binary_search(&replica.node).is_ok()
                        && lives.get(&replica.node) == Some(&replica.incarnation)
                        && !electable.contains(replica)
                };
                if view.electable.iter().any(|replica| dropped(&replica)) {
                    return Err(Refusal::Invalid(
                        "an electable replica leaves the set only with its membership or its incarnation",
                    ));
                }
            }
        }
        view.electable = electable.to_vec();
        if rule != view.rule {
            view.rule = rule;
            return Ok(Change::RuleChanged { group: view.group, rule, degraded: view.is_degraded() });
        }
        Ok(Change::ElectableChanged { group: view.group, size: electable.len() as u32 })
    }

    /// Members come as learners and go at once; a replica that goes stays in the electable set until its leader drops it.
    fn change_members(
        &mut self,
        members: &[NodeId],
        read_replicas: &[NodeId],
        lives: &BTreeMap<NodeId, Incarnation>,
    ) -> Result<Change, Refusal> {
        let view = &mut self.view;
        if view.election.is_some() {
            return Err(Refusal::InElection);
        }
        let known = members.iter().all(|node| lives.contains_key(node));
        if members.is_empty() || !known || !members.is_sorted_by(|a, b| a < b) {
            return Err(Refusal::Invalid("the members must be sorted and known nodes"));
        }
        let counts = |node: &NodeId| {
            members.contains(node) || view.electable.iter().any(|replica| replica.node == *node)
        };
        let fit = read_replicas.iter().all(|node| lives.contains_key(node) && !counts(node));
        if !fit || !read_replicas.is_sorted_by(|a, b| a < b) {
            return Err(Refusal::Invalid(
                "the read replicas must be sorted, known nodes that neither are members nor count",
            ));
        }
        if members.len() < view.members.len() && members.len() < view.rule.nodes_needed() {
            return Err(Refusal::Invalid("the members are fewer than the commit rule needs"));
        }
        // A leader is switched over before it goes.
        if view.leader.is_some_and(|leader| !members.contains(&leader.replica.node)) {
            return Err(Refusal::InUse);
        }
        view.members = members.to_vec();
        view.read_replicas = read_replicas.to_vec();
        if plant::is(Bug::MembersWithoutLeader) {
            let life = |node: &NodeId| Some(Replica { node: *node, incarnation: *lives.get(node)? });
            view.electable = members.iter().filter_map(life).collect();
        }
        Ok(Change::MembersChanged { group: view.group, size: members.len() as u32 })
    }
}
