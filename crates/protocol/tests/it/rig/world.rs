//! Nodes, network, clients and faults, driven through virtual time by one queue of events.

mod faults;

use super::Rng;
use super::check::Check;
use super::control::{Control, GROUP, KEYSPACE, Lives};
use super::disk::Disk;
use bytes::Bytes;
use data::keyspace::CommitRule;
use data::record::Kind;
use data::view::{Leader, Replica as Life, View};
use data::{Epoch, Incarnation, Index, Instant, NodeId, Position, Process, RequestId, ViewNumber};
use protocol::lease::{self, Grantor, Holder, Timings};
use protocol::single_leader::{
    Input, Mark, Message, Output, ReadPermit, Replica, Report, RoleName, SealAnswer,
};
use std::collections::{BTreeMap, VecDeque};

const MS: u64 = 1_000_000;
/// The control plane's end of a link.
const CONTROL: NodeId = NodeId(0);

enum Body {
    Replication(Message),
    Lease(lease::Message),
    View(Box<View>),
    Seal { epoch: Epoch, election: ViewNumber, leader: Option<NodeId>, released: bool },
    Refused { number: ViewNumber, rule: CommitRule, electable: Vec<Life> },
    Answer { answer: SealAnswer, process: Process },
    Propose { number: ViewNumber, rule: CommitRule, electable: Vec<Life>, process: Process },
}

enum Event {
    Deliver { from: Life, to: NodeId, process: Option<Process>, body: Box<Body> },
    Persisted { node: NodeId, process: Process },
    Fetched { node: NodeId, process: Process, to: NodeId, from: Index },
    SnapshotReady { node: NodeId, process: Process, to: NodeId },
    Install { node: NodeId, process: Process, mark: Mark },
    Tick { node: NodeId, process: Process },
    Start { node: NodeId, process: Process },
    Client,
    Control,
    Fault,
}

struct Node {
    life: Life,
    process: Process,
    replica: Option<Replica>,
    holder: Holder,
    grantor: Grantor,
    heartbeat_at: u64,
    disk: Disk,
    persisting: VecDeque<(u64, Bytes)>,
    persist_at: u64,
    /// Local nanoseconds per thousand true ones.
    rate: u64,
    /// Reads that wait for a round: the round, what was acknowledged when they came.
    reads: Vec<(u64, Index)>,
    commit: Index,
    /// The greatest epoch whose seal this life has answered.
    sealed: Epoch,
    snapshots: BTreeMap<Index, (Mark, Vec<Position>)>,
}

/// What a run is given besides its seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub rule: CommitRule,
    pub members: u32,
    /// 0: the leader feeds all.
    pub fan_out: u32,
}

impl Plan {
    pub const fn new(rule: CommitRule, members: u32) -> Plan {
        Plan { rule, members, fan_out: 0 }
    }
}

pub struct World {
    rng: Rng,
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    nodes: Vec<Node>,
    pub control: Control,
    pub check: Check,
    /// Directed links that carry nothing, until when.
    cuts: BTreeMap<(NodeId, NodeId), u64>,
    /// When the newest message of a link arrives.
    links: BTreeMap<(NodeId, NodeId), u64>,
    loss_percent: u64,
    slow_percent: u64,
    healing: bool,
    /// What the replica of this step had called committed before it.
    commit_before: Index,
    pub trace: u64,
    pub elections: u64,
    pub log: Vec<String>,
    pub verbose: bool,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> World {
        let mut rng = Rng(seed);
        let nodes = (1..=plan.members + 1).map(|id| World::node(&mut rng, NodeId(id))).collect();
        let check = Check::new(plan.rule == CommitRule::Async);
        let mut world = World {
            rng,
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            nodes,
            control: Control::new(plan.members, plan.rule, plan.fan_out),
            check,
            cuts: BTreeMap::new(),
            links: BTreeMap::new(),
            loss_percent: 1,
            slow_percent: 5,
            healing: false,
            commit_before: Index(0),
            trace: 0,
            elections: 0,
            log: Vec::new(),
            verbose: false,
        };
        for id in 1..=plan.members + 1 {
            world.start(NodeId(id));
        }
        world.schedule(0, Event::Client);
        world.schedule(0, Event::Control);
        world.schedule(300 * MS, Event::Fault);
        world
    }
    fn node(rng: &mut Rng, id: NodeId) -> Node {
        Node {
            life: Life { node: id, incarnation: Incarnation(1) },
            process: Process(0),
            replica: None,
            holder: Holder::new(Timings::default()),
            grantor: Grantor::new(Timings::default(), Instant::ZERO),
            heartbeat_at: 0,
            disk: Disk::default(),
            persisting: VecDeque::new(),
            persist_at: 0,
            // Two clocks differ by less than the fifth that the margin covers.
            rate: rng.between(920, 1090),
            reads: Vec::new(),
            commit: Index(0),
            sealed: Epoch(0),
            snapshots: BTreeMap::new(),
        }
    }
    fn schedule(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }
    fn at(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize - 1]
    }
    fn local(&self, id: NodeId) -> Instant {
        Instant(10_000 * MS * u64::from(id.0) + self.now / 1000 * self.nodes[id.0 as usize - 1].rate)
    }
    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.verbose {
            let line = format!("{:>9.3} {}", self.now as f64 / MS as f64, text());
            self.log.push(line);
        }
    }

    /// Runs for so many milliseconds of true time, or until something is broken.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms * MS;
        while let Some(((at, sequence), event)) = self.queue.pop_first() {
            if at > end || self.check.violation.is_some() {
                self.queue.insert((at, sequence), event);
                break;
            }
            self.now = at;
            self.trace = Rng(self.trace ^ at ^ (sequence << 40)).next();
            self.happen(event);
        }
        self.now = self.now.max(end);
    }
    /// Ends the faults; then, within the bound, there must be a leader and equal copies. Clients go on for a while.
    pub fn heal(&mut self) {
        self.healing = true;
        self.cuts.clear();
        self.loss_percent = 0;
        self.slow_percent = 0;
        for _ in 0..100 {
            self.run(100);
            if self.check.violation.is_some() || self.converged().is_ok() {
                return;
            }
        }
        let why = self.converged().unwrap_err();
        self.check.fail(format!("10 s after the last fault: {why}"));
    }
    fn converged(&self) -> Result<(), String> {
        let view = &self.control.view;
        let leader = view.leader.ok_or("no leader")?.replica.node;
        let leading = self.nodes[leader.0 as usize - 1].replica.as_ref().ok_or("the leader is down")?;
        if leading.role() != RoleName::Leader || view.election.is_some() {
            let followers: Vec<_> = leading.followers().collect();
            let state = (leading.role(), leading.log().last(), view.election);
            return Err(format!("{leader} is {state:?}, followers {followers:?}"));
        }
        let newest = leading.newest();
        for node in &view.members {
            let Some(replica) = &self.nodes[node.0 as usize - 1].replica else {
                return Err(format!("{node} is down"));
            };
            if replica.log().last() != leading.log().last() || replica.commit() < newest.index {
                let state = (replica.role(), replica.log().last(), replica.commit());
                return Err(format!("{node} {state:?}, its leader {leader} {newest} {}", leading.commit()));
            }
        }
        if view.electable.iter().any(|r| self.nodes[r.node.0 as usize - 1].life != *r)
            || view.electable.len() != view.members.len()
        {
            return Err(format!("electable {:?} of {:?}", view.electable, view.members));
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, process, body } => self.deliver(from, to, process, *body),
            Event::Persisted { node, process } if self.runs(node, process) => {
                if let Some((token, records)) = self.at(node).persisting.pop_front() {
                    self.write_disk(node, &records);
                    self.step(node, Input::Persisted { token });
                }
            }
            Event::Fetched { node, process, to, from } if self.runs(node, process) => {
                let (mark, records) = self.at(node).disk.read(from);
                self.step(node, Input::Fetched { to, from: mark, records });
            }
            Event::SnapshotReady { node, process, to } if self.runs(node, process) => {
                let commit = self.at(node).replica.as_ref().map_or(Index(0), Replica::commit);
                let Some(mark) = self.at(node).disk.mark(commit) else { return };
                let starts = self.at(node).disk.starts(commit);
                self.at(to).snapshots.insert(commit, (mark, starts));
                self.step(node, Input::SnapshotReady { to, mark, len: 1 });
            }
            Event::Install { node, process, mark } if self.runs(node, process) => self.install(node, mark),
            Event::Tick { node, process } if self.runs(node, process) => self.tick(node),
            Event::Start { node, process } if self.at(node).process == process => self.start(node),
            Event::Client => self.client(),
            Event::Control => self.control_tick(),
            Event::Fault => self.fault(),
            _ => {}
        }
    }
    fn runs(&mut self, node: NodeId, process: Process) -> bool {
        let node = self.at(node);
        node.process == process && node.replica.is_some()
    }
    fn write_disk(&mut self, id: NodeId, records: &Bytes) {
        if let Ok(record) = data::record::Record::parse(records)
            && record.header.kind == Kind::Truncate
        {
            let held = self.at(id).disk.mark(record.header.index.next());
            self.check.cut(id, held, record.header.epoch);
        }
        self.at(id).disk.persist(records);
    }
    fn install(&mut self, id: NodeId, mark: Mark) {
        while let Some((token, records)) = self.at(id).persisting.pop_front() {
            self.write_disk(id, &records);
            self.step(id, Input::Persisted { token });
        }
        let Some((mark, starts)) = self.at(id).snapshots.get(&mark.position.index).cloned() else { return };
        let behind =
            self.at(id).replica.as_ref().is_some_and(|r| r.commit() < mark.position.index || r.is_stranded());
        if !behind || self.at(id).replica.as_ref().is_some_and(|r| r.leads().is_some()) {
            return;
        }
        let mut out = Vec::new();
        let replica = self.at(id).replica.as_mut();
        let free = replica.is_none_or(|replica| replica.may_be_replaced(mark, &starts, &mut out));
        self.carry_out(id, out);
        if !free {
            // Offered again, by when its own entries lie in the ledger.
            return;
        }
        self.at(id).disk.install(mark, starts.clone(), 0);
        if self.at(id).replica.as_ref().is_some_and(|r| r.is_stranded()) {
            // The copy is made anew: what it called committed was lost.
            self.at(id).commit = mark.position.index;
        }
        self.step(id, Input::Installed { mark, starts, time_ms: 0 });
    }
    fn start(&mut self, id: NodeId) {
        let now = self.local(id);
        let short = self.rng.chance(50);
        let node = &mut self.nodes[id.0 as usize - 1];
        node.process = node.process.next();
        node.holder = Holder::new(Timings::default());
        node.grantor = Grantor::new(Timings::default(), now);
        node.commit = Index(0);
        let recovered = node.disk.recover(short);
        node.replica = Some(Replica::new(node.life, node.process, GROUP, KEYSPACE, recovered));
        let process = node.process;
        self.schedule(MS, Event::Tick { node: id, process });
        self.note(|| format!("{id} starts"));
        if self.now == 0 {
            let view = self.control.view.clone();
            self.step(id, Input::View(Box::new(view)));
        } else {
            self.send_view(id);
        }
    }
    fn crash(&mut self, id: NodeId, down_ms: u64, wipe: bool) {
        let kept = self.rng.below(3) as usize;
        let node = self.at(id);
        if node.replica.take().is_none() {
            return;
        }
        let pending: Vec<_> = node.persisting.drain(..).take(kept).collect();
        node.reads.clear();
        node.process = node.process.next();
        node.snapshots.clear();
        for (_, records) in pending {
            self.write_disk(id, &records);
        }
        let node = self.at(id);
        if wipe {
            node.life.incarnation = node.life.incarnation.next();
            node.disk = Disk::default();
            node.sealed = Epoch(0);
        }
        let process = node.process;
        self.note(|| format!("{id} crashes, wiped {wipe}"));
        self.schedule(down_ms * MS, Event::Start { node: id, process });
    }

    fn send(&mut self, from: NodeId, to: NodeId, body: Body) {
        if self.cuts.get(&(from, to)).is_some_and(|until| *until > self.now)
            || self.rng.chance(self.loss_percent)
        {
            return;
        }
        // A link keeps the order of its messages, but for the slow ones, which may overtake and be overtaken.
        let delay = if self.rng.chance(self.slow_percent) {
            self.rng.between(1, 250) * MS
        } else {
            let arrival = self.now + self.rng.between(200, 4_000) * 1000;
            let newest = self.links.entry((from, to)).or_default();
            *newest = arrival.max(*newest);
            *newest - self.now
        };
        let sender = if from == CONTROL {
            Life { node: CONTROL, incarnation: Incarnation(0) }
        } else {
            self.at(from).life
        };
        let process = match &body {
            Body::Lease(_) if to != CONTROL => Some(self.at(to).process),
            _ => None,
        };
        if let Body::Replication(message) = &body
            && self.loss_percent > 0
            && self.rng.chance(2)
        {
            let body = Box::new(Body::Replication(message.clone()));
            self.schedule(delay + 30 * MS, Event::Deliver { from: sender, to, process, body });
        }
        let body = Box::new(body);
        self.schedule(delay, Event::Deliver { from: sender, to, process, body });
    }
    fn deliver(&mut self, from: Life, to: NodeId, process: Option<Process>, body: Body) {
        if to == CONTROL {
            return self.at_control(from, body);
        }
        let now = self.local(to);
        let node = self.at(to);
        if node.replica.is_none() || process.is_some_and(|process| process != node.process) {
            return;
        }
        match body {
            Body::Replication(message) => {
                let Life { node, incarnation } = from;
                self.step(to, Input::Message { from: node, incarnation, message });
            }
            Body::View(view) => self.step(to, Input::View(view)),
            Body::Seal { epoch, election, leader, released } => {
                let not_before = if released { Instant::ZERO } else { node.grantor.seal_at(leader) };
                self.step(to, Input::Seal { epoch, election, not_before });
            }
            Body::Refused { number, rule, electable } => {
                self.step(to, Input::ProposalRefused { number, rule, electable });
            }
            Body::Lease(lease::Message::Heartbeat { sequence, leads }) => {
                let Node { grantor, replica: Some(replica), .. } = node else { return };
                let grant =
                    grantor.grant(now, from.node, sequence, &leads, |_, epoch| replica.refuses(epoch));
                self.send(to, from.node, Body::Lease(grant));
            }
            Body::Lease(lease::Message::Grant { sequence, granted, refused, clock }) => {
                node.holder.granted(now, from.node, from.incarnation, sequence, granted, refused, clock);
            }
            Body::Answer { .. } | Body::Propose { .. } => {}
        }
    }
    fn at_control(&mut self, from: Life, body: Body) {
        let lives = self.lives();
        match body {
            Body::Answer { answer, process } => {
                self.control.answered(from, process, answer.election, answer.last);
                self.judge();
            }
            Body::Propose { number, rule, electable, process } => {
                let leader = Leader { replica: from, process };
                if lives.get(&from.node) != Some(&(from.incarnation, process)) {
                    return;
                }
                let decided = self.control.propose(leader, number, rule, &electable, &lives);
                self.note(|| format!("{} proposes {electable:?} at {number}: {decided:?}", from.node));
                match decided {
                    Some(true) => self.send_views(),
                    Some(false) => self.send(CONTROL, from.node, Body::Refused { number, rule, electable }),
                    None => {}
                }
            }
            _ => {}
        }
    }
    fn lives(&self) -> Lives {
        let up = self.nodes.iter().map(|n| (n.life.node, (n.life.incarnation, n.process)));
        up.collect()
    }

    fn step(&mut self, id: NodeId, input: Input) {
        let now = self.local(id);
        let mut out = Vec::new();
        self.commit_before = self.at(id).commit;
        let Some(replica) = self.at(id).replica.as_mut() else { return };
        replica.step(now, input, &mut out);
        replica.flush(now, &mut out);
        self.carry_out(id, out);
    }
    /// In any order, but `Persist` outputs keep theirs; messages do mostly, for nothing would ever get through otherwise.
    fn carry_out(&mut self, id: NodeId, out: Vec<Output>) {
        let shuffled = self.rng.chance(5);
        let mut classes: [VecDeque<Output>; 3] = Default::default();
        for output in out {
            let class = match output {
                Output::Persist { .. } | Output::Ledger { .. } => 0,
                Output::Send { .. } if !shuffled => 1,
                _ => 2,
            };
            let at = self.rng.below(classes[class].len() as u64 + 1) as usize;
            if class == 2 { classes[2].insert(at, output) } else { classes[class].push_back(output) }
        }
        while classes.iter().any(|class| !class.is_empty()) {
            let class = self.rng.below(3) as usize;
            if let Some(output) = classes[class].pop_front() {
                self.carry_out_one(id, output);
            }
        }
    }
    fn carry_out_one(&mut self, id: NodeId, output: Output) {
        let process = self.at(id).process;
        let Some(replica) = self.nodes[id.0 as usize - 1].replica.as_ref() else { return };
        match output {
            Output::Send { to, message } => {
                let own = match &message {
                    Message::Ack { epoch, matched, .. } => Some((epoch, matched)),
                    Message::Held { epoch, held, .. } => {
                        let own = held.iter().find(|it| it.replica.node == id);
                        own.map(|it| (epoch, &it.matched))
                    }
                    _ => None,
                };
                if let Some((epoch, matched)) = own {
                    if *epoch < self.nodes[id.0 as usize - 1].sealed {
                        self.check.fail(format!("{id} acknowledges in {epoch} after a later seal"));
                    }
                    let leads =
                        |node: &&Node| node.replica.as_ref().is_some_and(|r| r.leads() == Some(*epoch));
                    if let Some(leader) = self.nodes.iter().find(leads)
                        && let Some(leading) = &leader.replica
                    {
                        self.check.acknowledges(id, replica, leading, *matched);
                    }
                }
                self.send(id, to, Body::Replication(message));
            }
            Output::Ledger { token, lost } => {
                self.note(|| format!("{id} keeps what lies behind {} to {}", lost.after, lost.last));
                self.carry_out_one(id, Output::Persist { token, records: Bytes::new(), promise: true });
            }
            Output::Persist { token, records, .. } => {
                self.check.written(&records);
                let delay = if self.rng.chance(3) {
                    self.rng.between(5, 60) * MS
                } else {
                    self.rng.between(50, 2_000) * 1000
                };
                let at = self.at(id).persist_at.max(self.now + delay);
                self.at(id).persist_at = at;
                self.at(id).persisting.push_back((token, records));
                let after = at - self.now;
                self.schedule(after, Event::Persisted { node: id, process });
            }
            Output::Committed(index) => {
                self.check.committed(id, replica, index);
                let seen = self.nodes[id.0 as usize - 1].commit;
                self.at(id).commit = seen.max(index);
            }
            Output::Truncated(to) => {
                if to < self.commit_before {
                    self.check.fail(format!("{id} cuts to {to} what it called committed"));
                }
            }
            Output::Sealed(answer) => {
                let node = self.at(id);
                node.sealed = node.sealed.max(answer.epoch);
                self.note(|| format!("{id} seals {} at {}", answer.epoch, answer.last));
                self.send(id, CONTROL, Body::Answer { answer, process });
            }
            Output::Fetch { to, from, .. } => {
                self.schedule(2 * MS, Event::Fetched { node: id, process, to, from });
            }
            Output::NeedSnapshot { to, .. } => {
                self.schedule(10 * MS, Event::SnapshotReady { node: id, process, to })
            }
            Output::TakeSnapshot { mark, .. } => {
                let after = self.rng.between(5, 120) * MS;
                self.schedule(after, Event::Install { node: id, process, mark });
            }
            Output::ProposeElectable { number, rule, electable } => {
                self.send(id, CONTROL, Body::Propose { number, rule, electable, process });
            }
            Output::ReadConfirmed(round) => {
                let reads = self.nodes[id.0 as usize - 1].reads.clone();
                let (ready, waiting): (Vec<_>, Vec<_>) =
                    reads.into_iter().partition(|(wanted, _)| *wanted <= round);
                for (_, floor) in ready {
                    self.check.read(id, replica, floor, false);
                }
                self.at(id).reads = waiting;
            }
            Output::Became(role) => {
                let epoch = replica.leads();
                self.note(|| format!("{id} is {}", role.name()));
                match epoch {
                    Some(epoch) => self.check.leads(epoch, id, process),
                    None => self.at(id).reads.clear(),
                }
            }
            Output::Report(report) => self.report(id, report),
        }
    }
    fn report(&mut self, id: NodeId, report: Report) {
        match report {
            Report::Stranded { .. } if self.check.loss_allowed => {
                self.note(|| format!("{id} reports {report:?}"));
            }
            Report::Diverged { .. }
            | Report::CommittedConflict { .. }
            | Report::Stranded { .. }
            | Report::SecondLeader { .. }
            // No rule of these runs lets a copy go on without entries.
            | Report::Gap { .. }
            | Report::Skipped { .. } => {
                self.check.fail(format!("{id} reports {report:?}"));
            }
            Report::Declined { .. } => self.note(|| format!("{id} reports {report:?}")),
            Report::Dropped(_) | Report::FollowerLost(_) | Report::FollowerInSync(_) => {}
        }
    }

    fn tick(&mut self, id: NodeId) {
        let process = self.at(id).process;
        self.step(id, Input::Tick);
        let now = self.local(id);
        if self.now >= self.at(id).heartbeat_at {
            self.at(id).heartbeat_at = self.now + 40 * MS;
            let leads = self.at(id).replica.as_ref().and_then(Replica::leads).map(|epoch| (GROUP, epoch));
            for peer in 1..=self.nodes.len() as u32 {
                if NodeId(peer) != id {
                    let message =
                        self.at(id).holder.heartbeat(now, NodeId(peer), leads.into_iter().collect());
                    self.send(id, NodeId(peer), Body::Lease(message));
                }
            }
        }
        self.schedule(10 * MS, Event::Tick { node: id, process });
    }
    /// Clients write and read at everybody who believes to lead.
    fn client(&mut self) {
        let quiet = self.healing && self.rng.chance(90);
        for id in (1..=self.nodes.len() as u32).map(NodeId) {
            let now = self.local(id);
            let floor = self.check.acknowledged();
            let writes = if quiet { 0 } else { self.rng.below(3) };
            let Node { replica: Some(replica), holder, .. } = &mut self.nodes[id.0 as usize - 1] else {
                continue;
            };
            let leases = |life: Life| holder.until(life.node, life.incarnation, GROUP);
            let permit = replica.read_permit(now, leases, Instant::ZERO);
            let mut out = Vec::new();
            for _ in 0..writes {
                replica.propose(Kind::Operations, RequestId::NONE, 0, |w| w.u64(self.rng.next()));
            }
            replica.flush(now, &mut out);
            match permit {
                ReadPermit::Until(until) if now < until => self.check.read(id, replica, floor, true),
                ReadPermit::After(round) => self.nodes[id.0 as usize - 1].reads.push((round, floor)),
                ReadPermit::Until(_) | ReadPermit::No => {}
            }
            self.carry_out(id, out);
        }
        let after = self.rng.between(1, 9) * MS;
        self.schedule(after, Event::Client);
    }

    fn send_view(&mut self, to: NodeId) {
        let view = self.control.view.clone();
        self.send(CONTROL, to, Body::View(Box::new(view)));
    }
    fn send_views(&mut self) {
        for id in 1..=self.nodes.len() as u32 {
            self.send_view(NodeId(id));
        }
    }
    fn judge(&mut self) {
        let lives = self.lives();
        if let Some(winner) = self.control.judge(self.now, &lives) {
            self.elections += 1;
            let view = &self.control.view;
            let text = format!("{winner:?} elected for {} at {:?}", view.epoch, view.history.last());
            self.note(|| text);
            if let Some(replica) = &self.nodes[winner.node.0 as usize - 1].replica {
                self.check.elected(winner.node, replica);
            }
            self.send_views();
        }
    }
    fn control_tick(&mut self) {
        self.schedule(25 * MS, Event::Control);
        self.judge();
        let lives = self.lives();
        let view = &self.control.view;
        let (number, leader) = (view.number, view.leader);
        if let Some(epoch) = view.election {
            let nodes: Vec<NodeId> = view.electable.iter().map(|replica| replica.node).collect();
            let current = leader
                .is_some_and(|l| lives.get(&l.replica.node) == Some(&(l.replica.incarnation, l.process)));
            let released = self.control.released || !current;
            let leader = leader.map(|leader| leader.replica.node);
            for to in nodes {
                self.send(CONTROL, to, Body::Seal { epoch, election: number, leader, released });
            }
            return;
        }
        let leads = leader.is_some_and(|leader| {
            let node = &self.nodes[leader.replica.node.0 as usize - 1];
            let cut = self.cuts.get(&(leader.replica.node, CONTROL)).is_some_and(|until| *until > self.now);
            let replica = node.replica.as_ref().filter(|_| node.process == leader.process && !cut);
            replica.is_some_and(|replica| replica.leads() == Some(self.control.view.epoch))
        });
        if !leads && (self.now - self.control.since > 600 * MS || self.rng.chance(8)) {
            self.begin_election();
        } else if self.rng.chance(20) {
            let to = NodeId(self.rng.between(1, self.nodes.len() as u64) as u32);
            self.send_view(to);
        }
    }
    fn begin_election(&mut self) {
        let now = self.now;
        self.control.start_election(now);
        self.note(|| "an election begins".into());
        self.send_views();
    }
}
