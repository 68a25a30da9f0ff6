//! Sites with durable logs and leaders that fail over, and the links between them, in virtual time. Stories drive it by hand,
//! the random world by lot; the oracle looks at every record.

use super::oracle::{Act, Bits, Oracle};
use crate::rig::Rng;
use data::causal::{Amount, Object, Part, Wish};
use data::codec::Writer;
use data::table::Seed;
use data::value::Blob;
use data::{Epoch, Expiry, GroupId, Index, Instant, Now, OriginVector, SiteId, WallInterval, WriteStamp};
use protocol::multi_leader::{
    Config, Exchange, Fetched, Leadership, Limits, Marks, Message, Output, Policy, Record, Refusal, Report,
    SiteState, Topology, Unclaimed,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const MS: u64 = 1_000_000;
const SEED: Seed = Seed(21, 22);

enum Event {
    Deliver { from: SiteId, to: SiteId, message: Box<Message> },
    Commit { site: SiteId, epoch: Epoch, index: u64 },
    Fetch { site: SiteId, epoch: Epoch, peer: SiteId, from: Index, bytes_max: u64 },
    Tick { site: SiteId, epoch: Epoch },
    Start { site: SiteId },
}

/// What a client of a leader wants to write once its claim is won.
type Wanted = Vec<(String, Act)>;

/// One site's group: a log that outlives its leaders.
pub struct Site {
    pub exchange: Option<Exchange>,
    epoch: Epoch,
    /// Stands for all records before the log: index, state, what the oracle knew of it.
    base: (u64, Vec<u8>, Bits),
    log: Vec<Vec<u8>>,
    committed: u64,
    commit_at: u64,
    pub skew_ms: i64,
    pub is_lost: bool,
}

/// How messages and logs behave.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub delay_ms: (u64, u64),
    pub commit_ms: (u64, u64),
    pub loss_percent: u64,
    pub twice_percent: u64,
    pub slow_percent: u64,
}

pub const CALM: Weather =
    Weather { delay_ms: (5, 5), commit_ms: (1, 1), loss_percent: 0, twice_percent: 0, slow_percent: 0 };
pub const ROUGH: Weather =
    Weather { delay_ms: (1, 25), commit_ms: (0, 20), loss_percent: 3, twice_percent: 5, slow_percent: 3 };

pub struct Sites {
    pub rng: Rng,
    pub now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub sites: BTreeMap<SiteId, Site>,
    founders: Vec<SiteId>,
    pub config: Config,
    pub policy: Policy,
    pub limits: Limits,
    pub weather: Weather,
    pub oracle: Oracle,
    /// From, to: until when.
    pub cuts: BTreeMap<(SiteId, SiteId), u64>,
    pub delays: BTreeMap<(SiteId, SiteId), u64>,
    pub reports: Vec<(SiteId, Report)>,
    /// Writes that were sent from site to site, each copy counted.
    pub sent: BTreeMap<WriteStamp, u64>,
    pub writes_sent: u64,
    /// With an asynchronous commit rule a failover takes committed records along.
    pub may_lose_committed: bool,
    pub failovers: u64,
    pub shrunk: u64,
    pub trace: u64,
    /// By leader and claim.
    wanted: BTreeMap<(SiteId, Epoch, u64), Wanted>,
    pub claims_won: u64,
    pub claims_lost: Vec<(SiteId, Unclaimed)>,
}

pub fn limits() -> Limits {
    Limits {
        ahead_ms_max: 1_000,
        part_bytes_max: 1_500,
        in_flight_bytes_max: 6_000,
        waiting_bytes_max: 6_000,
        status_every: Duration::from_millis(40),
        resend_after: Duration::from_millis(300),
        dead_after: Duration::from_millis(250),
        overdue_after: Duration::from_millis(500),
        copy_after: Duration::from_millis(200),
        ..Limits::default()
    }
}

pub fn blob(text: &str) -> Blob {
    text.as_bytes().into()
}
pub fn set(value: &str) -> Act {
    Act::Set(value.into())
}
fn wish(act: &Act) -> Wish {
    match act {
        Act::Increment(by) => Wish::Increment { by: Amount::whole(*by) },
        Act::Add(member) => Wish::SetAdd { members: vec![blob(member)] },
        Act::Remove(member) => Wish::SetRemove { members: vec![blob(member)] },
        Act::Set(value) => Wish::Set { value: blob(value), expiry: Expiry::Keep },
        Act::Delete | Act::HandOver | Act::Other => Wish::Delete,
    }
}

impl Sites {
    pub fn new(seed: u64, count: u32, topology: Topology, policy: Policy) -> Sites {
        let founders: Vec<SiteId> = (1..=count).map(SiteId).collect();
        let config = Config { version: 1, sites: founders.clone(), topology };
        let mut world = Sites {
            rng: Rng(seed ^ 0x517e5),
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            sites: BTreeMap::new(),
            founders,
            config,
            policy,
            limits: limits(),
            weather: CALM,
            oracle: Oracle::new(policy),
            cuts: BTreeMap::new(),
            delays: BTreeMap::new(),
            reports: Vec::new(),
            sent: BTreeMap::new(),
            writes_sent: 0,
            may_lose_committed: false,
            failovers: 0,
            shrunk: 0,
            trace: 0,
            wanted: BTreeMap::new(),
            claims_won: 0,
            claims_lost: Vec::new(),
        };
        for site in world.founders.clone() {
            world.found(site);
        }
        world
    }
    /// An empty site begins.
    pub fn found(&mut self, site: SiteId) {
        let mut bytes = Vec::new();
        SiteState::new(SEED, site, &self.founders).encode(&mut Writer::new(&mut bytes));
        self.sites.insert(
            site,
            Site {
                exchange: None,
                epoch: Epoch(0),
                base: (0, bytes, Bits::default()),
                log: Vec::new(),
                committed: 0,
                commit_at: 0,
                skew_ms: 0,
                is_lost: false,
            },
        );
        self.start(site);
    }
    fn schedule(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }
    pub fn at(&mut self, site: SiteId) -> &mut Site {
        self.sites.get_mut(&site).expect("a site of this world")
    }
    pub fn exchange(&self, site: u32) -> &Exchange {
        self.sites[&SiteId(site)].exchange.as_ref().expect("a leader")
    }
    pub fn clock(&self, site: SiteId) -> Now {
        let ms = 1_000_000 + (self.now / MS) as i64 + self.sites[&site].skew_ms;
        Now { instant: Instant(self.now), wall: WallInterval { earliest_ms: ms - 2, latest_ms: ms + 2 } }
    }
    /// Sites of the configuration that are not lost.
    pub fn living(&self) -> Vec<SiteId> {
        let ids = self.config.sites.iter().copied();
        ids.filter(|id| self.sites.get(id).is_some_and(|site| !site.is_lost)).collect()
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms * MS;
        while let Some(((at, sequence), event)) = self.queue.pop_first() {
            if at > end || self.oracle.violation.is_some() {
                self.queue.insert((at, sequence), event);
                break;
            }
            self.now = at;
            self.trace = Rng(self.trace ^ at ^ (sequence << 40)).next();
            self.happen(event);
        }
        self.now = self.now.max(end);
    }
    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => {
                self.step(to, |exchange, now, out| exchange.receive(now, from, *message, out));
            }
            Event::Commit { site, epoch, index } => {
                if self.leads(site, epoch) {
                    self.commit(site, index);
                }
            }
            Event::Fetch { site, epoch, peer, from, bytes_max } => {
                if self.leads(site, epoch) {
                    let fetched = self.read_log(site, from, bytes_max);
                    self.step(site, |exchange, now, out| exchange.fetched(now, peer, from, fetched, out));
                }
            }
            Event::Tick { site, epoch } => {
                if self.leads(site, epoch) {
                    self.step(site, |exchange, now, out| exchange.tick(now, out));
                    self.schedule(10 * MS, Event::Tick { site, epoch });
                }
            }
            Event::Start { site } => {
                if self.at(site).exchange.is_none() && !self.at(site).is_lost {
                    self.start(site);
                }
            }
        }
    }
    fn leads(&mut self, site: SiteId, epoch: Epoch) -> bool {
        let site = self.at(site);
        site.exchange.is_some() && site.epoch == epoch
    }
    fn step(&mut self, site: SiteId, act: impl FnOnce(&mut Exchange, Now, &mut Vec<Output>)) {
        let now = self.clock(site);
        let mut out = Vec::new();
        let Some(exchange) = &mut self.at(site).exchange else { return };
        act(exchange, now, &mut out);
        self.carry_out(site, out);
    }
    fn carry_out(&mut self, site: SiteId, out: Vec<Output>) {
        let epoch = self.at(site).epoch;
        let mut changed = BTreeSet::new();
        for output in out {
            match output {
                Output::Send { to, message } => self.send(site, to, message),
                Output::Propose { record } => {
                    changed.extend(self.oracle.proposed(site, &record));
                    let mut bytes = Vec::new();
                    record.encode(&mut Writer::new(&mut bytes));
                    let (low, high) = self.weather.commit_ms;
                    let delay = self.rng.between(low * 1000, high * 1000) * 1000;
                    let earliest = self.now + delay;
                    let at = self.at(site);
                    at.log.push(bytes);
                    let index = at.base.0 + at.log.len() as u64;
                    at.commit_at = at.commit_at.max(earliest);
                    let after = self.at(site).commit_at - self.now;
                    self.schedule(after, Event::Commit { site, epoch, index });
                }
                Output::Fetch { peer, from, bytes_max } => {
                    let delay = self.rng.between(10, 3_000) * 1000;
                    self.schedule(delay, Event::Fetch { site, epoch, peer, from, bytes_max });
                }
                Output::Claimed { claim } => self.claimed(site, epoch, claim),
                Output::Unclaimed { claim, why } => {
                    self.wanted.remove(&(site, epoch, claim));
                    self.claims_lost.push((site, why));
                }
                Output::Report(report) => {
                    self.oracle.report(&report);
                    self.reports.push((site, report));
                }
            }
        }
        if !changed.is_empty()
            && let Some(exchange) = &self.sites[&site].exchange
        {
            self.oracle.check(site, exchange, &changed);
        }
    }
    fn send(&mut self, from: SiteId, to: SiteId, message: Message) {
        if let Message::Writes { writes } = &message {
            self.writes_sent += writes.len() as u64;
            writes.iter().for_each(|write| *self.sent.entry(write.stamp).or_default() += 1);
            // Nothing that is only proposed may leave.
            for write in writes {
                let mut of_it = OriginVector::new();
                of_it.raise(write.stamp);
                let is_committed =
                    self.sites[&from].exchange.as_ref().is_some_and(|it| it.vector().covers(&of_it));
                if !is_committed {
                    self.oracle.fail(format!("{from} sends {}, which is not committed there", write.stamp));
                }
            }
        }
        let is_cut = self.cuts.get(&(from, to)).is_some_and(|until| *until > self.now);
        if is_cut || !self.sites.contains_key(&to) || self.rng.chance(self.weather.loss_percent) {
            return;
        }
        let copies = if self.rng.chance(self.weather.twice_percent) { 3 } else { 1 };
        let extra = self.delays.get(&(from, to)).copied().unwrap_or(0);
        for _ in 0..copies {
            let (low, high) = self.weather.delay_ms;
            let mut delay = self.rng.between(low * 1000, high * 1000) * 1000 + extra * MS;
            if self.rng.chance(self.weather.slow_percent) {
                delay += self.rng.between(5, 600) * MS;
            }
            self.schedule(delay, Event::Deliver { from, to, message: Box::new(message.clone()) });
        }
    }
    fn commit(&mut self, site: SiteId, index: u64) {
        while self.at(site).committed < index {
            let at = self.at(site);
            at.committed += 1;
            let next = at.committed;
            let record = decoded(&at.log[(next - at.base.0) as usize - 1]);
            self.oracle.commit(site, &record);
            let Record::Write(write) = &record else {
                self.step(site, |exchange, now, out| exchange.committed(now, Index(next), &record, out));
                continue;
            };
            if write.stamp.origin.site == site {
                self.oracle.acknowledge(write.stamp);
            }
            self.step(site, |exchange, now, out| exchange.committed(now, Index(next), &record, out));
        }
    }
    fn read_log(&mut self, site: SiteId, from: Index, bytes_max: u64) -> Fetched {
        let at = self.at(site);
        if from.0 <= at.base.0 {
            return Fetched::Gone { first: Index(at.base.0 + 1) };
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        for index in from.0..=at.committed {
            let record = &at.log[(index - at.base.0) as usize - 1];
            bytes += record.len() as u64;
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push((Index(index), decoded(record)));
        }
        Fetched::Records(records)
    }
    /// What the log makes, up to an index.
    fn replay(&self, site: SiteId, through: u64) -> (SiteState, Marks) {
        let at = &self.sites[&site];
        let mut state = SiteState::decode(SEED, &at.base.1).expect("what was written");
        let mut marks = Marks::new(Index(at.base.0), state.vector().clone());
        for (number, bytes) in at.log.iter().take((through - at.base.0) as usize).enumerate() {
            let record = decoded(bytes);
            state.apply(&record);
            marks.note(Index(at.base.0 + number as u64 + 1), &record);
        }
        (state, marks)
    }
    fn start(&mut self, site: SiteId) {
        let end = self.sites[&site].base.0 + self.sites[&site].log.len() as u64;
        let (state, marks) = self.replay(site, end);
        let at = self.at(site);
        at.epoch = at.epoch.next();
        at.committed = end;
        at.commit_at = 0;
        let me = Leadership { site, epoch: at.epoch, shard: GroupId(1) };
        let (base, log) = (at.base.2.clone(), at.log.clone());
        self.oracle.committed.insert(site, base);
        for bytes in &log {
            let record = decoded(bytes);
            self.oracle.commit(site, &record);
        }
        *self.oracle.newest(site) = self.oracle.committed[&site].clone();
        let exchange = Exchange::new(me, self.limits, self.policy, state, marks);
        let epoch = me.epoch;
        self.at(site).exchange = Some(exchange);
        self.tell_config(site);
        self.schedule(MS, Event::Tick { site, epoch });
    }
    fn tell_config(&mut self, site: SiteId) {
        let config = self.config.clone();
        self.step(site, |exchange, now, out| exchange.configure(now.instant, config, out));
    }
    /// The control plane has a new word for all.
    pub fn configure(&mut self, sites: Vec<SiteId>, topology: Topology) {
        self.config = Config { version: self.config.version + 1, sites, topology };
        assert_eq!(self.config.check(), Ok(()));
        for site in self.living() {
            self.tell_config(site);
        }
    }
    /// The group's leader dies; another one follows, with a tail of what was not committed, or with less.
    pub fn failover(&mut self, site: SiteId, after_ms: u64) {
        let (first, second) = (self.rng.next(), self.rng.next());
        let may_lose_committed = self.may_lose_committed;
        let at = self.at(site);
        if at.exchange.take().is_none() {
            return;
        }
        let tail = at.base.0 + at.log.len() as u64 - at.committed;
        let mut keep = (at.committed - at.base.0 + first % (tail + 1)) as usize;
        if may_lose_committed && second % 2 == 0 {
            let less = ((second >> 8) % 6) as usize;
            let is_less = less > keep - (at.committed - at.base.0).min(keep as u64) as usize;
            keep = keep.saturating_sub(less);
            self.shrunk += u64::from(is_less);
        }
        let at = self.at(site);
        at.log.truncate(keep);
        self.failovers += 1;
        self.schedule(after_ms * MS, Event::Start { site });
    }
    /// The site and all its disks are gone.
    pub fn lose(&mut self, site: SiteId) {
        self.at(site).exchange = None;
        self.at(site).is_lost = true;
    }
    /// Lets the log go through what is committed; a snapshot stands for it.
    pub fn trim(&mut self, site: SiteId) {
        let through = self.sites[&site].committed;
        let (state, _) = self.replay(site, through);
        let mut bytes = Vec::new();
        state.encode(&mut Writer::new(&mut bytes));
        let known = self.oracle.committed.get(&site).cloned().unwrap_or_default();
        let at = self.at(site);
        if at.exchange.is_none() {
            return;
        }
        at.log.drain(..(through - at.base.0) as usize);
        at.base = (through, bytes, known);
        if let Some(exchange) = &mut at.exchange {
            exchange.trimmed(Index(through + 1));
        }
    }
    pub fn cut(&mut self, one: u32, other: u32, ms: u64) {
        let until = self.now + ms * MS;
        self.cuts.insert((SiteId(one), SiteId(other)), until);
        self.cuts.insert((SiteId(other), SiteId(one)), until);
    }
    pub fn isolate(&mut self, site: u32, ms: u64) {
        for other in self.sites.keys().map(|site| site.0).filter(|other| *other != site).collect::<Vec<_>>() {
            self.cut(site, other, ms);
        }
    }

    /// One client's write of one or several keys.
    pub fn write_all(&mut self, site: u32, acts: &[(&str, Act)]) -> Result<WriteStamp, Refusal> {
        let site = SiteId(site);
        let now = self.clock(site);
        let changes: Vec<(Blob, Wish)> = acts.iter().map(|(key, act)| (blob(key), wish(act))).collect();
        let mut out = Vec::new();
        let exchange = self.at(site).exchange.as_mut().ok_or(Refusal::Joining)?;
        let stamp = exchange.write(now, &changes, &mut out)?;
        let acts = acts.iter().map(|(key, act)| ((*key).into(), act.clone())).collect();
        self.oracle.wrote(site, stamp, acts);
        self.carry_out(site, out);
        Ok(stamp)
    }
    /// One client's write under `block`: made once the sites have agreed.
    pub fn claim(&mut self, site: u32, acts: &[(&str, Act)]) -> Result<u64, Unclaimed> {
        let site = SiteId(site);
        let now = self.clock(site).instant;
        let mut out = Vec::new();
        let epoch = self.sites[&site].epoch;
        let exchange = self.at(site).exchange.as_mut().ok_or(Unclaimed::Joining)?;
        let keys = acts.iter().map(|(key, _)| key.as_bytes());
        let claim = exchange.claim(now, keys, Duration::from_millis(700), &mut out)?;
        let wanted = acts.iter().map(|(key, act)| ((*key).into(), act.clone())).collect();
        self.wanted.insert((site, epoch, claim), wanted);
        self.carry_out(site, out);
        Ok(claim)
    }
    fn claimed(&mut self, site: SiteId, epoch: Epoch, claim: u64) {
        self.claims_won += 1;
        let under = |it: &mut Sites, claim| {
            if let Some(exchange) = &mut it.at(site).exchange {
                exchange.under(claim);
            }
        };
        let Some(wanted) = self.wanted.remove(&(site, epoch, claim)) else { return };
        under(self, Some(claim));
        let acts: Vec<(&str, Act)> = wanted.iter().map(|(key, act)| (&**key, act.clone())).collect();
        // Refused where its clock is behind.
        let _ = self.write_all(site.0, &acts);
        under(self, None);
    }
    pub fn write(&mut self, site: u32, key: &str, act: Act) -> WriteStamp {
        self.write_all(site, &[(key, act)]).expect("accepted")
    }
    /// A wish of any kind; the oracle does not judge what keys with an `x` show.
    pub fn ask(&mut self, site: u32, key: &str, wish: Wish) {
        let now = self.clock(SiteId(site));
        let mut out = Vec::new();
        let exchange = self.at(SiteId(site)).exchange.as_mut().expect("a leader");
        let stamp = exchange.write(now, &[(blob(key), wish)], &mut out).expect("accepted");
        self.oracle.wrote(SiteId(site), stamp, vec![(key.into(), Act::Other)]);
        self.carry_out(SiteId(site), out);
    }
    pub fn hand_over(&mut self, site: u32, slot: u16, to: u32) -> Result<WriteStamp, Refusal> {
        let site = SiteId(site);
        let mut out = Vec::new();
        let exchange = self.at(site).exchange.as_mut().ok_or(Refusal::Joining)?;
        let stamp = exchange.hand_over(slot, SiteId(to), &mut out)?;
        self.oracle.wrote(site, stamp, vec![(format!("h{slot}"), Act::HandOver)]);
        self.carry_out(site, out);
        Ok(stamp)
    }
    /// What a site shows of a key; siblings and fields one behind the other.
    pub fn get(&self, site: u32, key: &str) -> String {
        let now_ms = self.clock(SiteId(site)).wall.middle_ms();
        let object = self.exchange(site).state().copy().object(key.as_bytes());
        object.filter(|object| object.is_shown(now_ms)).map_or("nothing".into(), shown)
    }

    pub fn converged(&self) -> Result<(), String> {
        let living = self.living();
        let of = |site: &SiteId| self.sites[site].exchange.as_ref().ok_or(format!("{site} has no leader"));
        let first = of(living.first().ok_or("no site is left")?)?;
        for site in &living {
            let exchange = of(site)?;
            if !exchange.state().is_ready() {
                return Err(format!("{site} is not ready"));
            }
            if exchange.vector() != first.vector() {
                return Err(format!(
                    "{site} holds {:?}, {} {:?}",
                    exchange.vector(),
                    living[0],
                    first.vector()
                ));
            }
            if exchange.vector() != exchange.state().vector() || exchange.waiting_bytes() > 0 {
                return Err(format!("{site} is still at it"));
            }
        }
        for site in &living {
            let exchange = of(site)?;
            if exchange.state().copy() != first.state().copy() {
                return Err(format!("{site} and {} include the same writes and differ", living[0]));
            }
            for peer in living.iter().filter(|peer| *peer != site) {
                let (outgoing, incoming) = exchange.lag(Instant(self.now), *peer).ok_or("no link")?;
                if outgoing.operations + incoming.operations > 0 || exchange.in_flight_bytes(*peer) > 0 {
                    return Err(format!("{site} and {peer} do not know that they are equal"));
                }
            }
        }
        Ok(())
    }
    /// Ends cuts; in calm all sites become equal, and then nothing is sent any more.
    pub fn settle(&mut self, within_ms: u64) {
        self.cuts.clear();
        self.delays.clear();
        let mut waited = 0;
        while waited < within_ms && self.oracle.violation.is_none() {
            self.run(50);
            waited += 50;
            if self.converged().is_ok() {
                break;
            }
        }
        if let Err(why) = self.converged() {
            return self.oracle.fail(format!("after {waited} ms of calm: {why}"));
        }
        // The last statuses of the rough times may say less than is true by now.
        self.run(1_000);
        let sent = self.writes_sent;
        self.run(2_000);
        if self.writes_sent != sent {
            self.oracle.fail(format!("{} writes sent although all have all", self.writes_sent - sent));
        }
        let living = self.living();
        let is_lossy = self.may_lose_committed;
        let lost: Vec<SiteId> = self.sites.iter().filter(|(_, site)| site.is_lost).map(|it| *it.0).collect();
        self.oracle.end(&living, |write| is_lossy || lost.contains(&write.stamp.origin.site));
    }
}

fn decoded(bytes: &[u8]) -> Record {
    Record::decode(bytes).expect("what was written")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
fn shown(object: &Object) -> String {
    match object.shown() {
        None => "nothing".into(),
        Some(Part::Last(last)) => last.value().map_or("nothing".into(), |value| text(value)),
        Some(Part::Set(set)) => set.alive().map(|(name, _)| text(name)).collect::<Vec<_>>().join(" "),
        Some(Part::Map(map)) => {
            let fields = map.alive().map(|(name, field)| format!("{}={}", text(name), shown(field)));
            fields.collect::<Vec<_>>().join(" ")
        }
        Some(Part::Text(it)) if it.siblings().len() > 1 => {
            let values: BTreeSet<String> = it.siblings().iter().map(|(_, value)| text(value)).collect();
            values.into_iter().collect::<Vec<_>>().join("/")
        }
        Some(Part::Text(it)) => it.shown().map_or("nothing".into(), |value| text(&value)),
        Some(other) => format!("{other:?}"),
    }
}
