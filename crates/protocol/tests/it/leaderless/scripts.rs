//! Golden scripts: one scenario each, read like a story. `UPDATE_GOLDENFILES=1` writes the answers anew.
//!
//! Commands (nodes as numbers): `nodes n s` (n replicas, s more nodes), `level w r`, `sloppy on|off`, `repair
//! blocking|background|off`, `ask all|enough`, `hints bytes`; `set`, `incr`, `sadd`, `srem`, `del` with coordinator, key and
//! value; `get` with coordinator and key; `deliver` (all messages and disks, until quiet), `cut n...` (away, and everybody
//! knows), `silence n...` (away, and nobody knows), `mend`, `hold n` and `release` (its disk), `wait ms`, `crash n`, `wipe n`,
//! `restart n`, `walks on|off`, `status key`; `outcomes on|off` (whether receipts tell what writes came to), `over` with
//! coordinator, key and value (in place of exactly what the last `get` of anybody showed); `skew n ms` (its wall clock); `names` with
//! coordinator and number (of keys in a page, every page until the last), `count` with coordinator; `append` with coordinator, key and
//! text, and `look` with coordinator and key (linearizable ones); `round` (what is on its way arrives, and no answer to it), `lose` (what
//! is on its way).
// catalogue: K4 K5 K6 K9 K10 K11 K12 K16 K17 K18 K19 K20 K21 K22
// bugs: LL-04, LL-05, LL-07, LL-08, LL-09, LL-16, LL-24

use super::oracle::members_of;
use data::causal::{Amount, LEAVES, Object, Range, Wish};
use data::codec::Writer;
use data::leaderless::Stage as Step;
use data::table::Seed;
use data::value::Blob;
use data::{Expiry, GroupId, Incarnation, Instant, NodeId, Now, Process, WallInterval};
use protocol::leaderless::coordinator::{self, Coordinator, Level};
use protocol::leaderless::{
    Alive, Durable, Life, Limits, Message, Output, Placement, Record, Repair, Replica, Reply, Report,
    WriteReceipt,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::fmt::Write as _;

struct Node {
    incarnation: Incarnation,
    process: Process,
    founder: bool,
    replica: Replica,
    coordinator: Coordinator,
    persisting: VecDeque<(u64, Vec<u8>)>,
}

struct Stage {
    now_ms: u64,
    nodes: BTreeMap<u32, Node>,
    disks: BTreeMap<u32, Vec<Vec<u8>>>,
    down: BTreeMap<u32, (Incarnation, Process, bool)>,
    messages: VecDeque<(u32, u32, Message)>,
    placement: Placement,
    cut: BTreeSet<u32>,
    silent: BTreeSet<u32>,
    held: BTreeSet<u32>,
    level: (usize, usize),
    sloppy: bool,
    repair: Repair,
    everybody: bool,
    hint_bytes_max: u64,
    /// How far clocks are off, in ms.
    skews: BTreeMap<u32, i64>,
    walks: bool,
    outcomes: bool,
    /// What the last read showed.
    read: Object,
    calls: u64,
    /// What each call appends to a linearizable key.
    appends: BTreeMap<u64, String>,
    /// Where the coordinator's next page of names begins.
    page: Option<(u32, u32)>,
    text: String,
}

impl Default for Stage {
    fn default() -> Stage {
        Stage {
            now_ms: 1_000,
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            down: BTreeMap::new(),
            messages: VecDeque::new(),
            placement: Placement::default(),
            cut: BTreeSet::new(),
            silent: BTreeSet::new(),
            held: BTreeSet::new(),
            level: (2, 2),
            sloppy: false,
            repair: Repair::Blocking,
            everybody: false,
            hint_bytes_max: 1 << 20,
            skews: BTreeMap::new(),
            walks: false,
            outcomes: false,
            read: Object::default(),
            calls: 0,
            appends: BTreeMap::new(),
            page: None,
            text: String::new(),
        }
    }
}

fn text_of(image: &Blob) -> String {
    String::from_utf8_lossy(image).into_owned()
}

fn shown(object: &Object) -> String {
    if let Some(acceptor) = object.as_acceptor().filter(|acceptor| !acceptor.accepted.ballot.is_none()) {
        return acceptor.accepted.image.as_ref().map_or("nothing".into(), text_of);
    }
    if let Some(text) = object.as_text().filter(|text| text.shown().is_some()) {
        let siblings = text.siblings().len();
        let value =
            text.shown().map(|value| String::from_utf8_lossy(&value).into_owned()).unwrap_or_default();
        return if siblings > 1 { format!("{value}, of {siblings} siblings") } else { value };
    }
    let members = members_of(object);
    if members.is_empty() { "nothing".into() } else { format!("{members:?}") }
}

fn receipt_text(receipt: &WriteReceipt) -> String {
    let mut text = format!("{:?}", receipt.replicas);
    for (holder, target) in &receipt.stand_ins {
        let _ = write!(text, ", {holder} for {target}");
    }
    if receipt.is_sloppy() {
        text.push_str(", sloppy");
    }
    text
}

impl Stage {
    fn say(&mut self, what: String) {
        let _ = writeln!(self.text, "{what}");
    }
    fn now(&self, node: u32) -> Now {
        let ms = self.now_ms as i64 + self.skews.get(&node).copied().unwrap_or(0);
        Now {
            instant: Instant::from_millis(self.now_ms),
            wall: WallInterval { earliest_ms: ms, latest_ms: ms },
        }
    }
    fn start(&mut self, id: u32, incarnation: Incarnation, process: Process, founder: bool) {
        let mut durable = Durable::new(Seed(1, 2), founder);
        for bytes in self.disks.entry(id).or_default().iter() {
            durable.apply(&Record::decode(bytes).expect("what was written"));
        }
        let quorum = self.level.0.min(self.level.1).min(self.placement.replicas.len() / 2 + 1);
        let limits = Limits { quorum, hint_bytes_max: self.hint_bytes_max, ..Limits::default() };
        let life = Life { node: NodeId(id), incarnation, process, shard: GroupId(1) };
        let mut out = Vec::new();
        let mut replica = Replica::new(life, limits, durable, &mut out);
        replica.place(self.placement.clone(), &mut out);
        replica.pause(!self.walks);
        let mut coordinator = Coordinator::new(NodeId(id), process, coordinator::Limits::default());
        coordinator.place(self.placement.clone(), &mut Vec::new());
        let persisting = VecDeque::new();
        self.nodes.insert(id, Node { incarnation, process, founder, replica, coordinator, persisting });
        self.carry_out(id, out);
        self.tell();
    }
    fn tell(&mut self) {
        let up = self.nodes.iter().filter(|(id, _)| !self.cut.contains(id));
        let alive: Alive = up.map(|(id, node)| (NodeId(*id), node.incarnation)).collect();
        for (id, node) in &mut self.nodes {
            let mut alive = alive.clone();
            if self.cut.contains(id) {
                alive = Alive::new();
            }
            alive.insert(NodeId(*id), node.incarnation);
            node.replica.set_alive(alive.keys().copied().collect());
            node.coordinator.set_alive(alive);
        }
    }
    fn carry_out(&mut self, id: u32, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { to, message } => self.send(id, to, message),
                Output::Persist { token, record } => {
                    if let Record::Hint { hint, .. } = &record {
                        self.say(format!("n{id} keeps a hint for {}", hint.target));
                    }
                    if let Record::HintGone { .. } = &record {
                        self.say(format!("n{id} lets a hint go"));
                    }
                    let mut bytes = Vec::new();
                    record.encode(&mut Writer::new(&mut bytes));
                    if let Some(node) = self.nodes.get_mut(&id) {
                        node.persisting.push_back((token, bytes));
                    }
                }
                Output::Report(Report::Walked { peer, tally }) => {
                    let (hashes, spans, keys) = (tally.hashes, tally.spans, tally.keys);
                    self.say(format!(
                        "n{id} walked over {peer}: {hashes} sums, {spans} spans, {keys} keys came"
                    ));
                }
                Output::Report(report) => self.say(format!("n{id} reports {report:?}")),
            }
        }
    }
    fn coordinated(&mut self, id: u32, out: Vec<coordinator::Output>) {
        for output in out {
            match output {
                coordinator::Output::Send { to, message } => self.send(id, to, message),
                coordinator::Output::Decide { sequence, client, ballot, value } => {
                    let mut text = value.image.as_ref().map_or(String::new(), text_of);
                    text.push_str(self.appends.get(&client).map_or("", String::as_str));
                    let change = Some((Some(Blob::from(text.as_bytes())), None));
                    let mut out = Vec::new();
                    if let Some(node) = self.nodes.get_mut(&id) {
                        node.coordinator.decided(sequence, ballot, change, &mut out);
                    }
                    self.coordinated(id, out);
                }
                coordinator::Output::Reply { client, reply } => {
                    let text = match reply {
                        Reply::Written(receipt) => match receipt.outcome.filter(|_| self.outcomes) {
                            Some(outcome) => format!("written: {}, {outcome:?}", receipt_text(&receipt)),
                            None => format!("written: {}", receipt_text(&receipt)),
                        },
                        Reply::Value { state, receipt } => {
                            self.read = state.held.object.clone();
                            let (value, nodes) = (shown(&state.held.object), receipt.replicas);
                            let stand_ins = match receipt.stand_ins.is_empty() {
                                true => String::new(),
                                false => format!(" and, standing in, {:?}", receipt.stand_ins),
                            };
                            format!("{value} (from {nodes:?}{stand_ins}, stale {:?})", receipt.stale)
                        }
                        Reply::NoQuorum { required, alive } => {
                            format!("NOQUORUM {required} required, {alive} alive")
                        }
                        Reply::Indeterminate { acknowledged, required, receipt } => {
                            format!("INDETERMINATE {acknowledged} of {required}: {}", receipt_text(&receipt))
                        }
                        Reply::Refused(why) => format!("refused: {why:?}"),
                        Reply::Busy => "busy".into(),
                        Reply::Agreed { value, required, replicas, .. } => {
                            let text = value.image.as_ref().map_or("nothing".into(), text_of);
                            format!("agreed: {text} ({replicas:?}, {required} required)")
                        }
                        Reply::Names { last, names, doubtful, receipt } => {
                            if last < LEAVES - 1 {
                                self.page = Some((id, last + 1));
                            }
                            let text = |key: &Blob| String::from_utf8_lossy(key).into_owned();
                            let names: Vec<String> = names.iter().map(|name| text(&name.key)).collect();
                            let doubtful: Vec<String> = doubtful.iter().map(text).collect();
                            format!("{names:?}, in doubt {doubtful:?} (from {:?})", receipt.replicas)
                        }
                        Reply::Count { count, left, receipt } => {
                            format!(
                                "{count} keys, {} ranges are left (from {:?})",
                                left.len(),
                                receipt.replicas
                            )
                        }
                    };
                    self.say(format!("{client}: {text}"));
                }
            }
        }
    }
    fn send(&mut self, from: u32, to: NodeId, message: Message) {
        match &message {
            Message::Mint { .. } => self.say(format!("n{from} asks {to} to mint")),
            Message::Repair { .. } => self.say(format!("n{from} repairs {to}")),
            Message::Handoff { .. } => self.say(format!("n{from} hands a hint to {to}")),
            Message::Missed => self.say(format!("n{from} tells {to} that it missed something")),
            Message::Refused { why, .. } => self.say(format!("n{from} refuses: {why:?}")),
            _ => {}
        }
        self.messages.push_back((from, to.0, message));
    }
    /// What is on its way arrives, at nodes and on disks; what follows from it is on its way then.
    fn round(&mut self) {
        for (from, to, message) in core::mem::take(&mut self.messages) {
            self.give(from, to, message);
        }
        while self.flush() {}
    }
    fn deliver(&mut self) {
        loop {
            if let Some((from, to, message)) = self.messages.pop_front() {
                self.give(from, to, message);
            } else if !self.flush() {
                return;
            }
        }
    }
    fn give(&mut self, from: u32, to: u32, message: Message) {
        let away = |id: &u32| self.cut.contains(id) || self.silent.contains(id);
        let lost = from != to && (away(&from) || away(&to));
        let Some(incarnation) = self.nodes.get(&from).map(|node| node.incarnation) else { return };
        let now = self.now(to);
        let Some(node) = self.nodes.get_mut(&to).filter(|_| !lost) else { return };
        if message.is_answer() {
            let mut out = Vec::new();
            node.coordinator.receive(NodeId(from), incarnation, message, &mut out);
            self.coordinated(to, out);
        } else {
            let mut out = Vec::new();
            node.replica.receive(now, NodeId(from), incarnation, message, &mut out);
            self.carry_out(to, out);
        }
    }
    /// One record reaches its disk, if one waits.
    fn flush(&mut self) -> bool {
        let held = self.held.clone();
        let ready = |(id, node): &(&u32, &mut Node)| !held.contains(id) && !node.persisting.is_empty();
        let Some((id, node)) = self.nodes.iter_mut().find(ready) else { return false };
        let id = *id;
        let Some((token, bytes)) = node.persisting.pop_front() else { return false };
        self.disks.entry(id).or_default().push(bytes);
        let mut out = Vec::new();
        node.replica.persisted(token, &mut out);
        self.carry_out(id, out);
        true
    }
    fn tick(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let (mut out, mut asked) = (Vec::new(), Vec::new());
            let now = self.now(id);
            if let Some(node) = self.nodes.get_mut(&id) {
                node.replica.tick(now, &mut out);
                node.coordinator.tick(now.instant, &mut asked);
            }
            self.carry_out(id, out);
            self.coordinated(id, asked);
        }
    }
    fn write(&mut self, id: u32, key: &str, wish: Wish) {
        self.calls += 1;
        let (call, now) = (self.calls, self.now(0).instant);
        let level = |required| Level { required, sloppy: self.sloppy };
        let (w, r) = (level(self.level.0), level(self.level.1));
        let mut out = Vec::new();
        if let Some(node) = self.nodes.get_mut(&id) {
            node.coordinator.write(now, call, key.as_bytes().into(), wish, w, r, &mut out);
        }
        self.coordinated(id, out);
    }
    fn read(&mut self, id: u32, key: &str) {
        self.calls += 1;
        let (call, now) = (self.calls, self.now(0).instant);
        let r = Level { required: self.level.1, sloppy: self.sloppy };
        let mut out = Vec::new();
        if let Some(node) = self.nodes.get_mut(&id) {
            let key = key.as_bytes().into();
            node.coordinator.read(now, call, key, r, self.repair, self.everybody, &mut out);
        }
        self.coordinated(id, out);
    }
    /// Appends to a linearizable key, or reads it.
    fn propose(&mut self, id: u32, key: &str, append: Option<&str>) {
        self.calls += 1;
        let (call, now) = (self.calls, self.now(0).instant);
        self.appends.extend(append.map(|text| (call, text.to_owned())));
        let mut out = Vec::new();
        if let Some(node) = self.nodes.get_mut(&id) {
            let key = (key.as_bytes().into(), 0);
            node.coordinator.propose(now, call, key, append.is_none(), &mut out);
        }
        self.coordinated(id, out);
    }
    /// Asks for a page of about so many names from a leaf on, or for their number.
    fn list(&mut self, id: u32, page: Option<(u32, u32)>) {
        self.calls += 1;
        let (call, now, r) = (self.calls, self.now(0), self.level.1);
        let mut out = Vec::new();
        if let Some(node) = self.nodes.get_mut(&id) {
            let it = &mut node.coordinator;
            match page {
                Some((first, max)) => it.names(now.instant, call, (first, LEAVES - 1), max, r, &mut out),
                None => it.count(now.instant, call, Range::WHOLE, now.wall.middle_ms(), r, &mut out),
            }
        }
        self.coordinated(id, out);
    }
    fn status(&mut self, key: &str) {
        let lines: Vec<String> = self
            .nodes
            .iter()
            .map(|(id, node)| {
                let durable = node.replica.durable();
                if !self.placement.is_replica(NodeId(*id)) {
                    return format!("n{id} holds {} hints", durable.hints().len());
                }
                let vector = durable.copy.context().vector();
                let vector: Vec<String> = vector
                    .iter()
                    .map(|(actor, counter)| format!("{}{}:{counter}", actor.node, actor.incarnation))
                    .collect();
                let value = durable.copy.object(key.as_bytes()).map_or("nothing".into(), shown);
                let ready = if durable.is_ready() { "" } else { ", not rebuilt" };
                let recent = durable.copy.unsettled();
                format!("n{id} [{}] {value}{ready}, {recent} keys recent", vector.join(", "))
            })
            .collect();
        lines.into_iter().for_each(|line| self.say(line));
    }
    /// The map takes the barrier's next step, and everybody who runs learns of it: what is under way names the ring before.
    fn barrier(&mut self, stage: &str) {
        let ring = self.placement.ring;
        let barrier = &mut self.placement.barrier;
        match stage {
            "promise" => (barrier.stage, barrier.number) = (Step::Promise, barrier.number + 1),
            "hold" => barrier.stage = Step::Hold,
            _ => (barrier.stage, barrier.collected, barrier.fence) = (Step::Idle, barrier.number, ring),
        }
        self.placement.ring += 1;
        self.messages.clear();
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let (mut out, mut ended) = (Vec::new(), Vec::new());
            if let Some(node) = self.nodes.get_mut(&id) {
                node.replica.place(self.placement.clone(), &mut out);
                node.coordinator.place(self.placement.clone(), &mut ended);
            }
            self.carry_out(id, out);
            self.coordinated(id, ended);
        }
    }
    /// What deletes have left, and who may report for the barrier's stage.
    fn residue(&mut self) {
        let lines: Vec<String> = self
            .nodes
            .iter()
            .map(|(id, node)| {
                let count = node.replica.durable().copy.residue_count();
                let passed = if node.replica.has_passed() { ", has passed" } else { "" };
                format!("n{id} keeps residue of {count}{passed}")
            })
            .collect();
        lines.into_iter().for_each(|line| self.say(line));
    }
    fn act(&mut self, name: &str, args: &[String]) -> Result<(), Box<dyn Error>> {
        let text = |at: usize| args.get(at).map(String::as_str).ok_or("an argument is missing");
        let number = |at: usize| text(at)?.parse::<u64>().map_err(Box::<dyn Error>::from);
        let node = |at: usize| number(at).map(|n| n as u32);
        let blob = |at: usize| text(at).map(|text| Blob::from(text.as_bytes()));
        match name {
            "nodes" => {
                let (n, others) = (node(0)?, node(1)?);
                let replicas = (1..=n).map(NodeId).collect();
                let stand_ins = (n + 1..=n + others).map(NodeId).collect();
                self.placement = Placement { ring: 1, replicas, stand_ins, ..Placement::default() };
                (1..=n + others).for_each(|id| self.start(id, Incarnation(1), Process(1), true));
                self.deliver();
            }
            "level" => self.level = (number(0)? as usize, number(1)? as usize),
            "sloppy" => self.sloppy = text(0)? == "on",
            "ask" => self.everybody = text(0)? == "all",
            "hints" => self.hint_bytes_max = number(0)?,
            "repair" => {
                self.repair = match text(0)? {
                    "blocking" => Repair::Blocking,
                    "background" => Repair::Background,
                    _ => Repair::Off,
                }
            }
            "set" => {
                let wish = Wish::Set { value: blob(2)?, expiry: Expiry::Keep };
                self.write(node(0)?, text(1)?, wish);
            }
            "over" => {
                let wish = Wish::SetOver { seen: self.read.seen_text(), value: blob(2)? };
                self.write(node(0)?, text(1)?, wish);
            }
            "outcomes" => self.outcomes = text(0)? == "on",
            "incr" => self.write(node(0)?, text(1)?, Wish::Increment { by: Amount::whole(1) }),
            "sadd" => self.write(node(0)?, text(1)?, Wish::SetAdd { members: vec![blob(2)?] }),
            "srem" => self.write(node(0)?, text(1)?, Wish::SetRemove { members: vec![blob(2)?] }),
            "del" => self.write(node(0)?, text(1)?, Wish::Delete),
            "get" => self.read(node(0)?, text(1)?),
            "append" => self.propose(node(0)?, text(1)?, Some(text(2)?)),
            "look" => self.propose(node(0)?, text(1)?, None),
            "lose" => self.messages.clear(),
            "round" => self.round(),
            "names" => {
                self.page = Some((node(0)?, 0));
                while let Some((id, first)) = self.page.take() {
                    self.list(id, Some((first, number(1)? as u32)));
                    self.deliver();
                }
            }
            "count" => self.list(node(0)?, None),
            "deliver" => self.deliver(),
            "cut" | "silence" => {
                for at in 0..args.len() {
                    let id = node(at)?;
                    if name == "cut" {
                        self.cut.insert(id)
                    } else {
                        self.silent.insert(id)
                    };
                }
                self.tell();
            }
            "mend" => {
                self.cut.clear();
                self.silent.clear();
                self.tell();
            }
            "skew" => {
                let ms = text(1)?.parse()?;
                self.skews.insert(node(0)?, ms);
            }
            "hold" => {
                self.held.insert(node(0)?);
            }
            "release" => self.held.clear(),
            "wait" => {
                for _ in 0..number(0)?.div_ceil(50) {
                    self.now_ms += 50;
                    self.tick();
                    self.deliver();
                }
            }
            "crash" | "wipe" => {
                let id = node(0)?;
                let gone = self.nodes.remove(&id).ok_or("no such node")?;
                let (mut incarnation, mut founder) = (gone.incarnation, gone.founder);
                if name == "wipe" {
                    self.disks.remove(&id);
                    incarnation = incarnation.next();
                    founder = false;
                }
                self.down.insert(id, (incarnation, gone.process.next(), founder));
                self.tell();
            }
            "restart" => {
                let id = node(0)?;
                let (incarnation, process, founder) = self.down.remove(&id).ok_or("it is up")?;
                self.start(id, incarnation, process, founder);
            }
            "walks" => {
                self.walks = text(0)? == "on";
                let paused = !self.walks;
                self.nodes.values_mut().for_each(|node| node.replica.pause(paused));
            }
            "barrier" => self.barrier(text(0)?),
            "residue" => self.residue(),
            "status" => self.status(args.first().map_or("", String::as_str)),
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
fn every_script_of_leaderless_shards_ends_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/leaderless_scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 10);
    for script in scripts {
        goldenscript::run(&mut Stage::default(), &script).unwrap();
    }
}
