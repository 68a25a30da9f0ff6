//! The control leader's duties: suspect nodes, hold elections, move leaderships, keep groups and the control group at
//! their sizes. Lives only as long as the leadership; everything it needs to go on stands in the map.
//!
//! It never changes the map itself: it proposes commands that name the view number they were computed from, so a second
//! proposal of the same change, or one of a deposed control leader, is refused.

mod balance;
mod contest;
mod divide;
mod membership;
mod rings;
mod switchover;

use crate::command::{Applied, Command, Refusal};
use crate::config::{Config, Timings};
use crate::consensus::{Consensus, Origin, Reconfigure};
use crate::detector::Detector;
use crate::event::Event;
use crate::founding::Founded;
use crate::lease::{Asker, Grantor};
use crate::map::{Advice, ClusterMap, NUMBERED_KEYSPACES, NodeState};
use crate::message::{Message, Sealed};
use balance::Balance;
use contest::{Contest, Reach};
use core::time::Duration;
use data::plant::{self, Bug};
use data::table::Seed;
use data::view::View;
use data::{GroupId, Instant, NodeId, Process, ViewNumber};
use std::collections::BTreeMap;
use switchover::Switchover;

/// Whoever was promoted by force and has not answered after so many time-outs of a switchover is given up.
const PROMOTION_SWITCHOVERS: u32 = 5;

/// What the supervisor wants done.
pub(crate) enum Action {
    Propose(Command),
    Send { to: NodeId, message: Message },
    Answer { origin: Origin, result: Result<Applied, Refusal> },
    Reconfigure(Reconfigure),
    Round(u64),
    Report(Event),
}

pub(crate) struct Supervisor {
    me: NodeId,
    timings: Timings,
    seed: u64,
    founded: Option<Founded>,
    shards: u32,
    began_at: Instant,
    balance: Balance,
    detector: Detector,
    grantor: Grantor,
    /// The newest process heard of each node; the map learns it a little later.
    processes: BTreeMap<NodeId, Process>,
    contests: BTreeMap<GroupId, Contest>,
    switchovers: BTreeMap<GroupId, Switchover>,
    /// What was proposed for a group, and when: the same is not proposed again before `retry`.
    proposed: BTreeMap<GroupId, (ViewNumber, Instant)>,
    /// The same for changes of nodes and of the control group.
    tended_at: Instant,
    /// The version of the map that each node said last that it knows.
    versions: BTreeMap<NodeId, u64>,
    /// When a step towards another number of shards was last proposed.
    divided_at: Instant,
    /// A group that is to go, and the version of the map in which it stands as it does.
    spare: Option<(GroupId, ViewNumber, u64)>,
    /// When another node for a leaderless shard was last proposed.
    replaced_at: Instant,
    /// The last change of the control group.
    reconfigured_at: Instant,
    pub actions: Vec<Action>,
}

impl Supervisor {
    /// Of a control leader whose leadership begins now. `detector`: what it knows of the others so far.
    pub fn new(config: &Config, term: u64, detector: Detector, now: Instant) -> Supervisor {
        let timings = config.timings;
        Supervisor {
            me: config.node,
            timings,
            seed: config.seed,
            founded: config.founded.clone(),
            shards: config.shards,
            began_at: now,
            balance: Balance::new(now),
            detector,
            // Rounds of one node differ between its leaderships and its processes.
            grantor: Grantor::new(timings, mix(config.process.0 ^ mix(term))),
            processes: BTreeMap::new(),
            contests: BTreeMap::new(),
            switchovers: BTreeMap::new(),
            proposed: BTreeMap::new(),
            tended_at: Instant::ZERO,
            versions: BTreeMap::new(),
            divided_at: Instant::ZERO,
            spare: None,
            replaced_at: Instant::ZERO,
            reconfigured_at: now,
            actions: Vec::new(),
        }
    }

    /// Whether a node that belongs to the cluster has not started yet, and may be about to: what is placed now would pass it
    /// by. Only for the first moment of a control leader, for nobody waits for a node that is down.
    pub fn awaits_nodes(&self, now: Instant, map: &ClusterMap) -> bool {
        let awaited = |node: &crate::map::Node| node.state == NodeState::Active && !node.usable();
        now.since(self.began_at) < self.timings.suspicion_max && map.nodes.values().any(awaited)
    }

    pub fn advice(&self) -> Advice {
        Advice { control_leader: self.me, suspects: self.detector.suspected() }
    }

    /// A node is alive and asks for a lease. It knows this version of the map. `waited`: it has followed this control leader for a
    /// full lease.
    pub fn heartbeat(
        &mut self,
        now: Instant,
        from: NodeId,
        sequence: u64,
        process: Process,
        version: u64,
        waited: bool,
    ) {
        // Of a process that has been followed by another: its heartbeat was on its way for long.
        if self.processes.get(&from).is_some_and(|known| *known > process) {
            return;
        }
        self.processes.insert(from, process);
        self.versions.insert(from, version);
        if self.detector.heard(now, from) {
            self.actions.push(Action::Report(Event::Heard(from)));
        }
        self.grantor.asked(Asker { node: from, sequence, process });
        if waited {
            self.grantor.waited(from);
        }
    }

    pub fn peer_down(&mut self, now: Instant, node: NodeId) {
        self.detector.reset(now, node, self.timings.reset_grace);
    }
    /// Another node lost its connection to `node`: hearsay, so it gets twice the grace. If this control leader still
    /// hears the node nothing happens (bugs: X-03).
    pub fn suspicion(&mut self, now: Instant, node: NodeId) {
        let believed = plant::is(Bug::BelievesHearsay);
        let grace = if believed { Duration::ZERO } else { self.timings.reset_grace * 2 };
        self.detector.reset(now, node, grace);
    }

    /// A control majority confirmed the round: leases are granted under the map of this moment.
    pub fn round_confirmed(&mut self, now: Instant, round: u64, version: u64) {
        for asker in self.grantor.confirmed(now, round) {
            let message = Message::HeartbeatAck { sequence: asker.sequence, process: asker.process, version };
            self.actions.push(Action::Send { to: asker.node, message });
        }
    }

    /// Looks at everything; called on every tick and after every change of the map.
    pub fn tend(&mut self, now: Instant, consensus: &Consensus) {
        let map = consensus.map().clone();
        for node in self.detector.look(now, map.nodes.keys().copied().filter(|node| *node != self.me)) {
            self.actions.push(Action::Report(Event::Suspected(node)));
        }
        if let Some(round) = self.grantor.begin_round(now) {
            if plant::is(Bug::GrantsUnconfirmed) {
                self.round_confirmed(now, round, map.version);
            } else {
                self.actions.push(Action::Round(round));
            }
        }
        // Before an entry of the own term is applied the map may be old, and nothing may be concluded from it.
        if !consensus.established() {
            return;
        }
        if !map.founded() {
            self.found(now);
            return;
        }
        self.contests.retain(|group, contest| map.view(*group).is_some_and(|v| v.number == contest.number));
        for view in map.views() {
            if view.election.is_some() {
                self.hold_election(now, &map, view);
            } else if self.leader_failed(&map, view) {
                self.propose(now, view, Command::StartElection { group: view.group, number: view.number });
            } else {
                self.tend_switchover(now, view);
                self.tend_members(now, &map, view);
            }
        }
        self.finish_switchovers(now, &map);
        self.tend_balance(now, &map);
        self.tend_shards(now, &map);
        self.tend_rings(now, &map);
        self.tend_nodes(now, &map, consensus);
    }

    fn found(&mut self, now: Instant) {
        let Some(founded) = self.founded.clone() else { return };
        if !self.due(now) {
            return;
        }
        let draw = |at: u64| mix(self.seed.wrapping_add(at));
        let seeds = (0..u64::from(NUMBERED_KEYSPACES)).map(|at| Seed(draw(2 * at), draw(2 * at + 1)));
        let seeds = seeds.collect();
        self.actions.push(Action::Propose(Command::Found { founded, seeds, shards: self.shards }));
    }

    /// At most one change of nodes or of the control group per `retry`.
    fn due(&mut self, now: Instant) -> bool {
        let due = now.since(self.tended_at) >= self.timings.retry;
        if due {
            self.tended_at = now;
        }
        due
    }

    /// Proposes a change of a group, unless one of the same number is on its way.
    fn propose(&mut self, now: Instant, view: &View, command: Command) {
        if let Some((number, at)) = self.proposed.get(&view.group)
            && *number == view.number
            && now.since(*at) < self.timings.retry
        {
            return;
        }
        self.proposed.insert(view.group, (view.number, now));
        self.actions.push(Action::Propose(command));
    }

    fn process(&self, map: &ClusterMap, node: NodeId) -> Option<Process> {
        let known = map.nodes.get(&node).map(|node| node.process);
        self.processes.get(&node).copied().max(known)
    }

    /// Whether the group needs another leader, and can have one: an election that cannot be won would only stop a
    /// leader that may still be serving.
    fn leader_failed(&self, map: &ClusterMap, view: &View) -> bool {
        let Some(leader) = view.leader else { return true };
        let node = leader.replica.node;
        // Leadership ends with the process.
        if self.process(map, node) != Some(leader.process) {
            return true;
        }
        if !self.detector.suspects(node) {
            return false;
        }
        let able = view.electable.iter().filter(|replica| {
            let life = map.nodes.get(&replica.node).map(|node| node.incarnation);
            replica.node != node && !self.detector.suspects(replica.node) && life == Some(replica.incarnation)
        });
        able.count() >= view.seals_needed().max(1)
    }

    /// A command was applied: an election that has begun asks for seals at once.
    pub fn applied(
        &mut self,
        now: Instant,
        map: &ClusterMap,
        command: &Command,
        result: Result<Applied, Refusal>,
    ) {
        if matches!(command, Command::StartNode { .. }) {
            self.balance.is_wanted(now);
        }
        let starts = matches!(command, Command::StartElection { .. } | Command::ForceElection { .. });
        let (true, Ok(Applied::View { group, number })) = (starts, result) else { return };
        let Some(view) = map.view(group).filter(|view| view.number == number) else { return };
        let Some(epoch) = view.election else { return };
        let deposed = view.leader;
        let gone = deposed.is_none_or(|led| self.process(map, led.replica.node) != Some(led.process));
        let contest = Contest {
            number,
            epoch,
            started_at: now,
            asked_at: now,
            proposed_at: None,
            // Grants from now on name a map in which this election stands, so they protect nobody in this group.
            free_at: deposed.map_or(now, |led| self.grantor.free_at(led.replica.node)),
            released: gone,
            answers: BTreeMap::new(),
            prefer: self.switchovers.get(&group).filter(|it| !it.failed).map(|it| it.target),
        };
        self.ask_seals(map.version, view, &contest);
        self.contests.insert(group, contest);
    }

    fn ask_seals(&mut self, version: u64, view: &View, contest: &Contest) {
        for node in view.asked() {
            let answer = contest.answers.get(&node);
            let process = self.processes.get(&node);
            // Asked again once its process has changed: its promise is durable, but who would lead is not.
            if answer.is_some_and(|answer| process.is_none_or(|known| *known == answer.process)) {
                continue;
            }
            let message = Message::Seal {
                version,
                group: view.group,
                epoch: contest.epoch,
                election: contest.number,
                released: contest.released,
            };
            self.actions.push(Action::Send { to: node, message });
        }
    }

    pub fn sealed(&mut self, map: &ClusterMap, from: NodeId, sealed: Sealed) {
        let Some(view) = map.view(sealed.group) else { return };
        let group = sealed.group;
        let Some(mut contest) = self.contests.remove(&group) else { return };
        let released = contest.released;
        contest.sealed(view, from, sealed);
        if contest.released && !released {
            // The others need not wait for the leases that they granted to it.
            self.ask_seals(map.version, view, &contest);
        }
        self.contests.insert(group, contest);
    }

    fn hold_election(&mut self, now: Instant, map: &ClusterMap, view: &View) {
        let group = view.group;
        let Some(mut contest) = self.contests.remove(&group) else {
            // Begun by an earlier control leader: what it collected is lost, so it starts again under a new epoch.
            let number = view.number;
            self.propose(
                now,
                view,
                match view.forced {
                    Some(node) => Command::ForceElection { group, number, node },
                    None => Command::StartElection { group, number },
                },
            );
            return;
        };
        if view.forced.is_some()
            && now.since(contest.started_at) >= self.timings.switchover * PROMOTION_SWITCHOVERS
        {
            // Whoever was to be promoted does not answer either: the others may be back.
            self.propose(now, view, Command::StartElection { group, number: view.number });
            self.contests.insert(group, contest);
            return;
        }
        let gone = |led: data::view::Leader| self.process(map, led.replica.node) != Some(led.process);
        let released = contest.released || view.leader.is_none_or(gone);
        if released != contest.released || now.since(contest.asked_at) >= self.timings.retry {
            contest.released = released;
            contest.asked_at = now;
            self.ask_seals(map.version, view, &contest);
        }
        let waits = contest.proposed_at.is_some_and(|at| now.since(at) < self.timings.retry);
        let reach = Reach {
            control_leader: self.me,
            blind: self.grantor.is_blind(map),
            suspects: &|node| self.detector.suspects(node),
            process: &|node| self.process(map, node),
        };
        let winner = contest.judge(now, view, &reach, &self.timings);
        if let (Some(winner), false) = (winner, waits) {
            contest.proposed_at = Some(now);
            self.actions.push(Action::Propose(Command::FinishElection {
                group,
                number: contest.number,
                leader: winner.leader,
                start: winner.start,
                starts: winner.starts,
                loss_possible: winner.loss_possible,
            }));
        }
        self.contests.insert(group, contest);
    }
}

/// One step of splitmix64: spreads a seed over all bits.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
