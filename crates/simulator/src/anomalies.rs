//! What quorums do not rule out, shown: `tercet sim --scenario anomalies --seed N`.
//!
//! Two writers and six readers at nodes that the seed draws, three copies, two stand-ins, nodes that are cut off for a while: the
//! same random schedule under settings that allow an anomaly and under those that rule it out. What each client saw is judged
//! for every anomaly by name; the sheet of a keyspace names those that its settings leave, with the seeds.
// catalogue: K4 K19 K20 K23

use crate::network::MS;
use crate::quorum_rig::Rig;
use data::Expiry;
use data::NodeId;
use data::causal::{Amount, Part, Wish};
use data::leaderless::ConflictPolicy;
pub use node::leaderless::anomalies::Anomaly;
use protocol::leaderless::coordinator::Level;
use protocol::leaderless::{Repair, Reply};
use std::collections::BTreeMap;

/// Time of a trial: longer than the time after which a write that too few acknowledged is given up.
const LENGTH: u64 = 1_500 * MS;
const COPIES: u64 = 3;
const STAND_INS: u32 = 2;
/// Two keys that one writer changes at once.
const PAIR: [&str; 2] = ["x", "y"];
/// The key that both increment.
const COUNTER: &str = "n";
const READERS: u64 = 6;

#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub w: usize,
    pub r: usize,
    pub sloppy: bool,
    pub repair: Repair,
    pub conflict: ConflictPolicy,
    /// The disks of those that acknowledged a write are lost as soon as that was said.
    loses_disks: bool,
}

/// Rules out all but what no quorum does.
pub const STRICT: Setting = Setting {
    w: 2,
    r: 2,
    sloppy: false,
    repair: Repair::Blocking,
    conflict: ConflictPolicy::Crdt,
    loses_disks: false,
};

impl Setting {
    /// One that allows it.
    pub fn that_allows(anomaly: Anomaly) -> Setting {
        match anomaly {
            Anomaly::StaleRead => Setting { w: 1, r: 1, ..STRICT },
            Anomaly::SloppyRead => Setting { sloppy: true, ..STRICT },
            Anomaly::ReadGoesBack => Setting { repair: Repair::Off, ..STRICT },
            Anomaly::UnfinishedWrite | Anomaly::KeysInPart => STRICT,
            Anomaly::LostWithDisks => Setting { r: 1, loses_disks: true, ..STRICT },
            Anomaly::LostIncrement => Setting { conflict: ConflictPolicy::LastWriteWins, ..STRICT },
        }
    }
}

/// What a client asked, and heard.
#[derive(Clone, Debug)]
struct Call {
    client: u64,
    node: NodeId,
    key: &'static str,
    is_read: bool,
    begun: u64,
    ended: Option<u64>,
    outcome: Outcome,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Pending,
    Acknowledged,
    Indeterminate,
    Refused,
    Shown(Option<String>),
}

/// What came of a trial.
pub struct History {
    calls: Vec<Call>,
    /// What happened to nodes.
    events: Vec<(u64, String)>,
    /// When all of that began.
    begin: u64,
}

/// Runs one.
pub fn trial(setting: Setting, seed: u64) -> History {
    let mut rig = Rig::new(seed, STAND_INS, STAND_INS, setting.conflict);
    let level = |required| Level { required, sloppy: setting.sloppy };
    let set = |value: &str| Wish::Set { value: value.as_bytes().into(), expiry: Expiry::Never };
    for (number, key) in (1..).zip(PAIR) {
        rig.write(NodeId(1), number, key.as_bytes().into(), set("old"), level(2), level(2));
        rig.reply_to(number);
    }
    while rig.happen() {}
    let begin = rig.now;
    let mut trial = Trial { setting, rig, history: History { calls: Vec::new(), events: Vec::new(), begin } };
    let draw_node = |rig: &mut Rig| NodeId(1 + rig.random.below(COPIES + u64::from(STAND_INS)) as u32);
    let writers = [draw_node(&mut trial.rig), draw_node(&mut trial.rig)];
    // At about the same time, that they may not know of each other.
    let first_at = begin + trial.rig.random.below(60 * MS);
    let writes_at = [first_at, first_at + trial.rig.random.below(5 * MS)];
    let mut cuts = Vec::new();
    for _ in 0..trial.rig.random.between(1, 3) {
        let from = begin + trial.rig.random.below(100 * MS);
        cuts.push((draw_node(&mut trial.rig), from, from + trial.rig.random.below(LENGTH)));
    }
    let mut readers: Vec<(NodeId, u64)> = Vec::new();
    for _ in 0..READERS {
        readers.push((draw_node(&mut trial.rig), begin));
    }
    while trial.rig.now < begin + LENGTH {
        let now = trial.rig.now;
        for (client, (node, at)) in (0..).zip(writers.into_iter().zip(writes_at)) {
            if at >= now && at < now + MS {
                if client == 0 {
                    PAIR.into_iter().for_each(|key| trial.write(client, node, key, set("new")));
                }
                trial.write(client, node, COUNTER, Wish::Increment { by: Amount::whole(1) });
            }
        }
        for (node, from, until) in &cuts {
            for (is_away, at) in [(true, *from), (false, *until)] {
                if !setting.loses_disks && at >= now && at < now + MS {
                    trial.set_away(*node, is_away);
                }
            }
        }
        for (client, (node, next)) in (10..).zip(&mut readers) {
            // One after the other, as a client with one connection.
            let is_busy =
                trial.history.calls.iter().any(|call| call.client == client && call.ended.is_none());
            if !is_busy && now >= *next {
                let key = [PAIR[0], PAIR[1], COUNTER][trial.rig.random.below(3) as usize];
                trial.read(client, *node, key);
                // Often while there is something to see, later now and then.
                let gap = if now < begin + 250 * MS { 4 } else { 40 };
                *next = now + trial.rig.random.below(gap * MS);
            }
        }
        trial.rig.run_until(now + MS);
        trial.rig.tick();
        trial.hear();
    }
    trial.history
}

struct Trial {
    setting: Setting,
    rig: Rig,
    history: History,
}

impl Trial {
    fn level(&self, required: usize) -> Level {
        Level { required, sloppy: self.setting.sloppy }
    }
    fn begin(&mut self, client: u64, node: NodeId, key: &'static str, is_read: bool) -> u64 {
        let (begun, outcome) = (self.rig.now, Outcome::Pending);
        self.history.calls.push(Call { client, node, key, is_read, begun, ended: None, outcome });
        // The first numbers are those of what is there before.
        self.history.calls.len() as u64 + 100
    }
    fn write(&mut self, client: u64, node: NodeId, key: &'static str, wish: Wish) {
        let number = self.begin(client, node, key, false);
        let (w, r) = (self.level(self.setting.w), self.level(self.setting.r));
        self.rig.write(node, number, key.as_bytes().into(), wish, w, r);
    }
    fn read(&mut self, client: u64, node: NodeId, key: &'static str) {
        let number = self.begin(client, node, key, true);
        let (r, repair) = (self.level(self.setting.r), self.setting.repair);
        self.rig.read(node, number, key.as_bytes().into(), r, repair);
    }
    fn set_away(&mut self, node: NodeId, is_away: bool) {
        self.rig.set_away(node, is_away);
        let text = if is_away { "is cut off" } else { "is back" };
        self.history.events.push((self.rig.now, format!("n{} {text}", node.0)));
    }
    /// Takes the answers.
    fn hear(&mut self) {
        let mut lost = Vec::new();
        for (number, call) in (101..).zip(&mut self.history.calls) {
            if call.ended.is_some() {
                continue;
            }
            let Some(reply) = self.rig.take_reply(number) else { continue };
            call.ended = Some(self.rig.now);
            call.outcome = match reply {
                Reply::Written(receipt) => {
                    if call.key == PAIR[0] {
                        lost = receipt.replicas;
                    }
                    Outcome::Acknowledged
                }
                Reply::Indeterminate { .. } => Outcome::Indeterminate,
                Reply::Value { state, .. } => {
                    let text = match state.held.object.shown() {
                        Some(Part::Text(text)) => text.shown().map(|value| value.into_owned()),
                        Some(Part::Last(last)) => last.value().map(|value| value.to_vec()),
                        _ => None,
                    };
                    Outcome::Shown(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
                }
                _ => Outcome::Refused,
            };
        }
        if self.setting.loses_disks {
            for node in lost {
                self.rig.set_away(node, true);
                self.history.events.push((self.rig.now, format!("the disk of n{} is lost", node.0)));
            }
        }
    }
}

impl History {
    /// The calls that show it, where there are any.
    fn shows(&self, anomaly: Anomaly) -> Option<Vec<&Call>> {
        let writes = || self.calls.iter().filter(|call| !call.is_read);
        let reads = || self.calls.iter().filter(|call| call.is_read && call.ended.is_some());
        let is = |call: &Call, value: &str| call.outcome == Outcome::Shown(Some(value.to_owned()));
        let of_pair = |call: &&Call| PAIR.contains(&call.key);
        let behind = |call: &Call, other: &Call| other.ended.is_some_and(|ended| call.begun >= ended);
        let after = |write: &Call, outcome: Outcome, value: &str| {
            (write.outcome == outcome).then(|| {
                reads().find(|read| read.key == write.key && behind(read, write) && is(read, value))
            })?
        };
        match anomaly {
            Anomaly::StaleRead | Anomaly::SloppyRead => writes()
                .filter(of_pair)
                .find_map(|write| Some(vec![write, after(write, Outcome::Acknowledged, "old")?])),
            Anomaly::UnfinishedWrite => writes()
                .filter(of_pair)
                .find_map(|write| Some(vec![write, after(write, Outcome::Indeterminate, "new")?])),
            Anomaly::ReadGoesBack => {
                reads().filter(|read| of_pair(read) && is(read, "new")).find_map(|first| {
                    let back = |read: &&Call| read.key == first.key && behind(read, first) && is(read, "old");
                    Some(vec![first, reads().find(back)?])
                })
            }
            Anomaly::KeysInPart => {
                reads().filter(|read| of_pair(read) && is(read, "new")).find_map(|first| {
                    let other = |read: &&Call| of_pair(read) && read.key != first.key && is(read, "old");
                    Some(vec![first, reads().find(|read| other(read) && behind(read, first))?])
                })
            }
            Anomaly::LostWithDisks => {
                let write =
                    writes().find(|write| write.key == PAIR[0] && write.outcome == Outcome::Acknowledged)?;
                let last = reads().rfind(|read| read.key == write.key && behind(read, write))?;
                is(last, "old").then(|| vec![write, last])
            }
            Anomaly::LostIncrement => {
                let increments: Vec<&Call> = writes().filter(|write| write.key == COUNTER).collect();
                let both = increments.iter().all(|write| write.outcome == Outcome::Acknowledged);
                let last = reads().rfind(|read| read.key == COUNTER)?;
                let is_behind = increments.iter().all(|write| behind(last, write));
                (both && is_behind && is(last, "1")).then(|| [increments, vec![last]].concat())
            }
        }
    }
    /// What the calls that show it say, and what happened to nodes, in the order of time; nothing where it is not shown.
    pub fn story(&self, anomaly: Anomaly) -> Option<Vec<String>> {
        let mut lines: BTreeMap<(u64, usize), String> = BTreeMap::new();
        let mut tell = |at: u64, text: String| {
            let place = (at, lines.len());
            lines.insert(place, format!("{:>8.1} ms  {text}", (at - self.begin) as f64 / MS as f64));
        };
        for call in self.shows(anomaly)? {
            let who = format!("c{} at n{}", call.client, call.node.0);
            let what = match (call.is_read, call.key) {
                (true, key) => format!("GET {key}"),
                (false, COUNTER) => format!("INCR {COUNTER}"),
                (false, key) => format!("SET {key} new"),
            };
            tell(call.begun, format!("{who} asks {what}"));
            let Some(ended) = call.ended else { continue };
            let outcome = match &call.outcome {
                Outcome::Shown(value) => value.as_deref().unwrap_or("(nil)"),
                Outcome::Acknowledged => "OK",
                Outcome::Indeterminate => "INDETERMINATE",
                Outcome::Refused | Outcome::Pending => "an error",
            };
            tell(ended, format!("{who} hears {outcome} to {what}"));
        }
        for (at, text) in &self.events {
            tell(*at, text.clone());
        }
        Some(lines.into_values().collect())
    }
}

/// Prints what `seeds` seeds show under settings that allow each anomaly, the first of them in full, and what they show where it is
/// ruled out; false where that is anything.
pub fn tell(seed: u64, seeds: u64, say: &mut dyn FnMut(String)) -> bool {
    let all = || seed..seed.saturating_add(seeds);
    for anomaly in Anomaly::ALL {
        let setting = Setting::that_allows(anomaly);
        let Setting { w, r, repair, conflict, .. } = setting;
        let quorums = if setting.sloppy { "sloppy" } else { "strict" };
        let settings = format!(
            "n {COPIES} w {w} r {r} {quorums}, repair {}, conflict {}",
            format!("{repair:?}").to_lowercase(),
            conflict.name()
        );
        let shown: Vec<u64> = all().filter(|seed| trial(setting, *seed).story(anomaly).is_some()).collect();
        say(format!("{}: {} ({settings})", anomaly.name(), anomaly.text()));
        let Some(first) = shown.first() else {
            say(format!("  not at this seed; at {}", anomaly.seed()));
            continue;
        };
        say(format!("  {} of {seeds} seeds, first {first}", shown.len()));
        trial(setting, *first).story(anomaly).into_iter().flatten().for_each(|line| say(format!("  {line}")));
    }
    let mut is_clean = true;
    for anomaly in RULED_OUT {
        let shown = all().filter(|seed| trial(STRICT, *seed).story(anomaly).is_some()).count();
        is_clean &= shown == 0;
        say(format!(
            "{} under strict quorums that overlap, repair blocking, conflict crdt: {shown} of {seeds}",
            anomaly.name()
        ));
    }
    is_clean
}

/// What [`STRICT`] settings do not show at any seed.
pub const RULED_OUT: [Anomaly; 3] = [Anomaly::StaleRead, Anomaly::ReadGoesBack, Anomaly::LostIncrement];
