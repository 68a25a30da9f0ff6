//! Golden scripts: one scenario each, read like a story. `UPDATE_GOLDENFILES=1` writes the answers anew.
//!
//! Commands (positional: nodes as numbers): `found n rule`, `propose n count`, `deliver` (all messages, disks and
//! answers, until quiet), `cut n...` and `mend` (links of these nodes carry nothing), `hold n` and `release n` (its disk),
//! `wait ms`, `seal n epoch not_before_ms`, `elect n epoch`, `lose n epoch` (an election
//! that announces a loss), `join n`, `crash n`, `restart n`, `status`, `traffic` (entries and acknowledgements since the last time),
//! `sever n m` and `join_up` (one link),
//! `backlog bytes` (of a group under best-effort), `whole n` (the node says that its table lacks what its leader's lacks), `lacks n count`
//! (it lacks so many entries more),
//! `down n` and `up n` (the others hear of its connection), `late from to back` (a word through a link of an older view).
// catalogue: F6

use crate::rig::control::{GROUP, KEYSPACE};
use crate::rig::disk::Disk;
use bytes::Bytes;
use data::gaps::{Gap, Gaps};
use data::keyspace::{CommitRule, OnTimeout, Settings};
use data::record::{Header, Kind, Record};
use data::view::{Leader, Replica as Life, View};
use data::{Epoch, Incarnation, Index, Instant, NodeId, Position, Process, RequestId, ViewNumber};
use protocol::single_leader::{Holding, Input, Mark, Message, Output, Replica};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::fmt::Write as _;

#[derive(Default)]
struct Stage {
    now_ms: u64,
    view: Option<View>,
    replicas: BTreeMap<u32, Replica>,
    disks: BTreeMap<u32, Disk>,
    persisting: BTreeMap<u32, VecDeque<(u64, Bytes)>>,
    processes: BTreeMap<u32, u64>,
    messages: VecDeque<(u32, NodeId, Message)>,
    cut: BTreeSet<u32>,
    severed: Option<(u32, u32)>,
    held: BTreeSet<u32>,
    /// Messages with entries and acknowledgements since they were last shown: how many on each way.
    traffic: BTreeMap<(u32, u32, &'static str), u32>,
    text: String,
}

fn life(node: u32) -> Life {
    Life { node: NodeId(node), incarnation: Incarnation(1) }
}

impl Stage {
    fn step(&mut self, node: u32, input: Input) {
        let now = Instant::from_millis(self.now_ms);
        let Some(replica) = self.replicas.get_mut(&node) else { return };
        let mut out = Vec::new();
        replica.step(now, input, &mut out);
        replica.flush(now, &mut out);
        self.carry_out(node, out);
    }
    fn carry_out(&mut self, node: u32, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { to, message } => {
                    let kind = match &message {
                        Message::Append { records, .. } if !records.is_empty() => Some("append"),
                        Message::Feed { records, .. } if !records.is_empty() => Some("feed"),
                        Message::Ack { .. } => Some("ack"),
                        Message::Held { .. } => Some("held"),
                        _ => None,
                    };
                    if let Some(kind) = kind {
                        *self.traffic.entry((node, to.0, kind)).or_default() += 1;
                    }
                    self.messages.push_back((node, to, message));
                }
                Output::Persist { token, records, .. } => {
                    self.persisting.entry(node).or_default().push_back((token, records));
                }
                Output::Ledger { token, lost } => {
                    self.say(node, format!("keeps what lies behind {} to {}", lost.after, lost.last));
                    self.persisting.entry(node).or_default().push_back((token, Bytes::new()));
                }
                Output::Fetch { to, from, .. } => {
                    let (mark, records) = self.disks[&node].read(from);
                    self.say(node, format!("reads its disk from {from} for {to}: {} bytes", records.len()));
                    self.step(node, Input::Fetched { to, from: mark, records });
                }
                Output::NeedSnapshot { to, .. } => {
                    let commit = self.replicas[&node].commit();
                    let mark = self.disks[&node].mark(commit).unwrap_or_default();
                    self.say(node, format!("offers {to} a snapshot at {}", mark.position));
                    self.step(node, Input::SnapshotReady { to, mark, len: 1 });
                }
                Output::TakeSnapshot { from, mark, .. } => {
                    let starts = self.disks[&from.0].starts(mark.position.index);
                    self.say(node, format!("installs the snapshot at {}", mark.position));
                    self.disks.entry(node).or_default().install(mark, starts.clone(), 0);
                    self.step(node, Input::Installed { mark, starts, time_ms: 0 });
                }
                Output::Committed(index) => self.say(node, format!("committed {index}")),
                Output::Truncated(to) => self.say(node, format!("cuts to {to}")),
                Output::Sealed(answer) => {
                    self.say(node, format!("seals {} at {}", answer.epoch, answer.last))
                }
                Output::ProposeElectable { rule, electable, .. } => self.proposed(node, rule, electable),
                Output::ReadConfirmed(round) => self.say(node, format!("round {round} confirmed")),
                Output::Became(role) => self.say(node, format!("is {}", role.name())),
                Output::Report(report) => self.say(node, format!("reports {report:?}")),
            }
        }
    }
    fn say(&mut self, node: u32, what: String) {
        let _ = writeln!(self.text, "n{node} {what}");
    }
    /// The control plane of the stage accepts what a leader proposes at its number.
    fn proposed(&mut self, node: u32, rule: CommitRule, electable: Vec<Life>) {
        if self.view.as_ref().is_some_and(|view| view.rule != rule) {
            self.say(node, format!("proposes the rule {}", rule.name()));
        }
        self.say(node, format!("proposes {:?}", electable.iter().map(|r| r.node).collect::<Vec<_>>()));
        if let Some(view) = &mut self.view {
            view.electable = electable;
            view.rule = rule;
            view.number = view.number.next();
        }
        self.show_view();
    }
    fn show_view(&mut self) {
        let Some(view) = self.view.clone() else { return };
        for node in self.replicas.keys().copied().collect::<Vec<_>>() {
            if !self.cut.contains(&node) {
                self.step(node, Input::View(Box::new(view.clone())));
            }
        }
    }
    fn deliver(&mut self) {
        loop {
            if let Some((from, to, message)) = self.messages.pop_front() {
                let severed = self.severed == Some((from.min(to.0), from.max(to.0)));
                if !self.cut.contains(&from) && !self.cut.contains(&to.0) && !severed {
                    let from = life(from);
                    let input = Input::Message { from: from.node, incarnation: from.incarnation, message };
                    self.step(to.0, input);
                }
                continue;
            }
            let ready = self.persisting.iter().find(|(n, q)| !q.is_empty() && !self.held.contains(n));
            let Some(node) = ready.map(|(node, _)| *node) else { return };
            let Some((token, records)) = self.persisting.get_mut(&node).and_then(VecDeque::pop_front) else {
                return;
            };
            self.disks.entry(node).or_default().persist(&records);
            self.step(node, Input::Persisted { token });
        }
    }
    fn start(&mut self, node: u32) {
        let process = self.processes.entry(node).or_default();
        *process += 1;
        let process = Process(*process);
        let recovered = self.disks.entry(node).or_default().recover(true);
        self.replicas.insert(node, Replica::new(life(node), process, GROUP, KEYSPACE, recovered));
        let view = self.view.clone();
        if let Some(view) = view {
            self.step(node, Input::View(Box::new(view)));
        }
    }
    fn found(&mut self, members: u32, commit: CommitRule, on_timeout: OnTimeout) {
        let nodes = 1..=members;
        self.now_ms = 1000;
        self.view = Some(View {
            group: GROUP,
            keyspace: KEYSPACE,
            number: ViewNumber(1),
            epoch: Epoch(1),
            leader: Some(Leader { replica: life(1), process: Process(1) }),
            members: nodes.clone().map(NodeId).collect(),
            read_replicas: Vec::new(),
            electable: nodes.clone().map(life).collect(),
            election: None,
            forced: None,
            history: vec![Position::new(1, 1)],
            last_loss: Epoch(0),
            rule: commit,
            settings: Settings { commit, on_timeout, ..Settings::default() },
        });
        nodes.for_each(|node| self.start(node));
        self.deliver();
    }
    fn elect(&mut self, node: u32, epoch: u64, loses: bool) {
        let last = self.replicas[&node].log().last().position.index;
        let process = Process(self.processes[&node]);
        if let Some(view) = &mut self.view {
            view.number = view.number.next();
            view.epoch = Epoch(epoch);
            if loses {
                view.last_loss = Epoch(epoch);
            }
            view.leader = Some(Leader { replica: life(node), process });
            let start = Position { epoch: Epoch(epoch), index: last.next() };
            view.history.retain(|begun| begun.index < start.index);
            view.history.push(start);
        }
        self.show_view();
    }
    fn status(&mut self) {
        let lines: Vec<_> = self
            .replicas
            .iter()
            .map(|(node, r)| {
                let (role, last) = (r.role().name(), r.log().last().position);
                let lacks = if r.missed() > 0 { format!(", lacks {}", r.missed()) } else { String::new() };
                (
                    *node,
                    format!(
                        "{role}, log to {last}, committed {}, promised {}{lacks}",
                        r.commit(),
                        r.promised()
                    ),
                )
            })
            .collect();
        lines.into_iter().for_each(|(node, line)| self.say(node, line));
    }
    fn act(&mut self, name: &str, args: &[String]) -> Result<(), Box<dyn Error>> {
        let number = |at: usize| {
            args.get(at).ok_or("an argument is missing")?.parse::<u64>().map_err(Box::<dyn Error>::from)
        };
        let node = |at: usize| number(at).map(|n| n as u32);
        match name {
            "found" => {
                let mut on_timeout = OnTimeout::Fail;
                let rule = match args.get(1).map(String::as_str) {
                    Some("majority") => CommitRule::Majority,
                    Some("degrading") => {
                        on_timeout = OnTimeout::Degrade;
                        CommitRule::SemiSync { acks: 1 }
                    }
                    Some("synchronous") => CommitRule::Synchronous,
                    Some("in-sync-set") => CommitRule::InSyncSet { minimum: 1 },
                    Some("chain") => CommitRule::Chain { minimum: 1 },
                    Some("best-effort") => CommitRule::BestEffort,
                    _ => CommitRule::Async,
                };
                self.found(node(0)?, rule, on_timeout);
            }
            "propose" => {
                let (leader, count, now) = (node(0)?, number(1)?, Instant::from_millis(self.now_ms));
                let mut out = Vec::new();
                let replica = self.replicas.get_mut(&leader).ok_or("no such node")?;
                for n in 0..count {
                    replica.propose(Kind::Operations, RequestId::NONE, 0, |w| w.u64(n));
                }
                replica.flush(now, &mut out);
                self.carry_out(leader, out);
            }
            "deliver" => self.deliver(),
            "cut" => {
                for at in 0..args.len() {
                    self.cut.insert(node(at)?);
                }
            }
            "sever" => self.severed = Some((node(0)?, node(1)?)),
            "join_up" => self.severed = None,
            "mend" => {
                self.cut.clear();
                self.show_view();
            }
            "hold" => {
                self.held.insert(node(0)?);
            }
            "release" => self.held.clear(),
            "down" | "up" => {
                let (node, up) = (NodeId(node(0)?), name == "up");
                for other in self.replicas.keys().copied().filter(|n| NodeId(*n) != node).collect::<Vec<_>>()
                {
                    self.step(other, Input::Connection { node, up });
                }
            }
            "wait" => {
                for _ in 0..number(0)?.div_ceil(50) {
                    self.now_ms += 50;
                    for node in self.replicas.keys().copied().collect::<Vec<_>>() {
                        self.step(node, Input::Tick);
                    }
                    self.deliver();
                }
            }
            "seal" => {
                let not_before = Instant::from_millis(self.now_ms + number(2)?);
                let election = ViewNumber(100 + number(1)?);
                self.step(node(0)?, Input::Seal { epoch: Epoch(number(1)?), election, not_before });
            }
            // What the settings ask for from now on.
            "alter" => {
                if let Some(view) = &mut self.view {
                    view.settings.commit = match args.first().map(String::as_str) {
                        Some("synchronous") => CommitRule::Synchronous,
                        Some("majority") => CommitRule::Majority,
                        Some("chain") => CommitRule::Chain { minimum: 1 },
                        Some("best-effort") => CommitRule::BestEffort,
                        _ => CommitRule::Async,
                    };
                    view.number = view.number.next();
                }
                self.show_view();
            }
            "backlog" => {
                if let Some(view) = &mut self.view {
                    view.settings.backlog_bytes = number(0)? as u32;
                    view.number = view.number.next();
                }
                self.show_view();
            }
            "whole" | "lacks" => {
                let missed = if name == "lacks" { number(1)? } else { 0 };
                let replica = self.replicas.get_mut(&node(0)?).ok_or("no such node")?;
                let mut lacks = Gaps::default();
                lacks.note(Index(1), Index(missed));
                replica.note_lacks(&lacks, missed == 0, missed);
                let (commit, mut out) = (replica.commit(), Vec::new());
                replica.applied(commit, &mut out);
                self.carry_out(node(0)?, out);
            }
            // A gap that a leader of this epoch sends although nobody asked for it, from the follower's end to `last`.
            "gap" => {
                let (to, epoch, last) = (node(0)?, number(1)?, number(2)?);
                let end = self.replicas[&to].log().last().position;
                let mut record = Vec::new();
                let gap = Gap { first: end.index.next(), starts: Vec::new() };
                let header = Header {
                    kind: Kind::Gap,
                    keyspace: KEYSPACE,
                    group: GROUP,
                    epoch: end.epoch,
                    index: Index(last),
                    commit: Index(last),
                    time_ms: 0,
                    request: RequestId::NONE,
                };
                Record::write(&mut record, &header, 7, |w| gap.encode(w));
                let (epoch, commit, record) = (Epoch(epoch), Index(last), Bytes::from(record));
                let message = Message::Gap { epoch, previous: end, commit, record };
                let input = Input::Message { from: NodeId(1), incarnation: Incarnation(1), message };
                self.step(to, input);
            }
            "elect" => self.elect(node(0)?, number(1)?, false),
            "lose" => self.elect(node(0)?, number(1)?, true),
            "join" => {
                let joiner = node(0)?;
                if let Some(view) = &mut self.view {
                    view.members.push(NodeId(joiner));
                    view.number = view.number.next();
                }
                self.start(joiner);
                self.show_view();
            }
            "trim" => {
                let commit = self.replicas[&node(0)?].commit();
                self.disks.entry(node(0)?).or_default().trim(commit);
            }
            "crash" => {
                self.replicas.remove(&node(0)?);
                self.persisting.remove(&node(0)?);
            }
            "restart" => self.start(node(0)?),
            "append" => {
                // A message of an old leader that was long on its way.
                let message = Message::Append {
                    epoch: Epoch(number(1)?),
                    previous: Mark::default().position,
                    previous_hash: 0,
                    commit: Index(0),
                    round: 0,
                    records: Bytes::new(),
                };
                let input = Input::Message { from: NodeId(1), incarnation: Incarnation(1), message };
                self.step(node(0)?, input);
                for (from, to, message) in std::mem::take(&mut self.messages) {
                    self.say(from, format!("answers {to}: {message:?}"));
                }
            }
            "traffic" => {
                for ((from, to, kind), count) in std::mem::take(&mut self.traffic) {
                    self.say(from, format!("to n{to}: {count} {kind}"));
                }
            }
            // A message through a link of a view that is over.
            "late" => {
                let present = self.view.as_ref().map_or(0, |view| view.number.0);
                let (to, behind) = (node(1)?, number(2)?);
                let message = Message::Held {
                    view: ViewNumber(present.saturating_sub(behind)),
                    epoch: self.replicas[&to].leads().unwrap_or_default(),
                    held: vec![Holding { replica: life(3), matched: Index(1_000), applied: Index(0) }],
                };
                let input = Input::Message { from: NodeId(node(0)?), incarnation: Incarnation(1), message };
                self.step(to, input);
            }
            "status" => self.status(),
            _ => return Err(format!("unknown command {name}").into()),
        }
        Ok(())
    }
}

impl goldenscript::Runner for Stage {
    type Command = goldenscript::Command;

    fn run(
        &mut self,
        command: &goldenscript::Command,
        _: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        let args: Vec<String> = command.args.iter().map(ToString::to_string).collect();
        self.act(&command.name, &args)?;
        Ok(std::mem::take(&mut self.text))
    }
}

#[test]
fn every_script_ends_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 10);
    for script in scripts {
        goldenscript::run(&mut Stage::default(), &script).unwrap();
    }
}
