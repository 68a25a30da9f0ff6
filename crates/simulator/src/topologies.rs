//! Topologies, predicted and measured: `tercet sim --scenario topologies`.
//!
//! The machines of multi-leader shards alone, the same that servers run: one leader at each of six sites, whose distances are those
//! between cloud regions, and logs that commit in one millisecond. A write has the way of its topology before it, a commit at each site
//! on it, and then it is there: for each pair of sites the time has a closed form, and what is measured must be it, but for the
//! timers of the machines.
//!
//! What a topology tolerates is a matter of graphs as well. Sites between which it has no way left, once some are gone, hear of each
//! other's writes when others have taken over: when those that are gone have been silent for `dead_after`.
//!
//! And where the way by a third site is shorter than the straight one an effect overtakes its cause: there it must wait.
// catalogue: I6 I7 I8 I9

use crate::network::MS;
use crate::sites::{NAMES, one_way};
use data::causal::Wish;
use data::table::Seed;
use data::{Epoch, Expiry, GroupId, Index, Instant, Now, OriginVector, SiteId, WallInterval, WriteStamp};
use protocol::multi_leader::{
    Config, Exchange, Fetched, Leadership, Limits, Marks, Message, Output, Policy, Record, SiteState,
    Topology,
};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const COMMIT: u64 = MS;
const TICK: u64 = 10 * MS;
/// Between what is predicted and what is measured: ticks on the way, and a status that is late.
const SLACK: u64 = 60 * MS;

fn ids() -> Vec<SiteId> {
    (1..=NAMES.len() as u32).map(SiteId).collect()
}
fn distance(from: SiteId, to: SiteId) -> u64 {
    one_way(from.0 as usize - 1, to.0 as usize - 1)
}

/// Those that are compared, by name. The hub and the root are us-west, which is nearest to all.
pub fn all() -> [(&'static str, Topology); 4] {
    let hub = SiteId(3);
    let tree = [(1, 2), (2, 3), (4, 3), (5, 4), (6, 2)];
    [
        ("all-to-all", Topology::AllToAll),
        ("circular", Topology::Circular),
        ("star", Topology::Star { hub }),
        (
            "tree",
            Topology::Tree { parents: tree.map(|(child, parent)| (SiteId(child), SiteId(parent))).into() },
        ),
    ]
}

/// Who sends to whom what comes from elsewhere.
fn neighbours(topology: &Topology, from: SiteId) -> Vec<SiteId> {
    let others = ids().into_iter().filter(|to| *to != from);
    let is_next = |to: &SiteId| match topology {
        Topology::AllToAll => true,
        Topology::Circular => to.0 == from.0 % NAMES.len() as u32 + 1,
        Topology::Star { hub } => from == *hub || *to == *hub,
        Topology::Tree { parents } => parents.get(&from) == Some(to) || parents.get(to) == Some(&from),
    };
    others.filter(is_next).collect()
}

/// A way that a write takes: sites behind its origin, and the time until it is committed at the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    pub hops: usize,
    pub time: u64,
}

/// The way of each pair that a topology leaves when these sites are gone. In none of them is there more than one.
pub fn ways(topology: &Topology, gone: &BTreeSet<SiteId>) -> BTreeMap<(SiteId, SiteId), Way> {
    let mut ways = BTreeMap::new();
    for origin in ids().into_iter().filter(|site| !gone.contains(site)) {
        let mut reached = BTreeMap::from([(origin, Way { hops: 0, time: COMMIT })]);
        let mut next = VecDeque::from([origin]);
        while let Some(from) = next.pop_front() {
            let Way { hops, time } = reached[&from];
            let is_relay = from == origin || !matches!(topology, Topology::AllToAll);
            let on = neighbours(topology, from).into_iter().filter(|to| is_relay && !gone.contains(to));
            for to in on.collect::<Vec<_>>() {
                if let Entry::Vacant(it) = reached.entry(to) {
                    it.insert(Way { hops: hops + 1, time: time + distance(from, to) + COMMIT });
                    next.push_back(to);
                }
            }
        }
        reached.remove(&origin);
        ways.extend(reached.into_iter().map(|(to, way)| ((origin, to), way)));
    }
    ways
}

/// How many sites may be gone, whichever they are, while the topology still has a way between all others.
pub fn tolerates(topology: &Topology) -> usize {
    let all = ids();
    let leaves_all = |gone: &BTreeSet<SiteId>| {
        let left = all.len() - gone.len();
        ways(topology, gone).len() == left * (left - 1)
    };
    let sets = |size: usize| {
        let chosen = (0u32..1 << all.len()).filter(move |set| set.count_ones() as usize == size);
        chosen.map(|set| all.iter().copied().filter(|site| set >> (site.0 - 1) & 1 == 1).collect())
    };
    (1..=all.len() - 2).take_while(|size| sets(*size).all(|gone| leaves_all(&gone))).count()
}

/// The site whose loss leaves the fewest ways.
fn weakest(topology: &Topology) -> SiteId {
    ids().into_iter().min_by_key(|site| ways(topology, &BTreeSet::from([*site])).len()).unwrap_or_default()
}

enum Event {
    Deliver { from: SiteId, to: SiteId, message: Box<Message> },
    Commit { site: SiteId },
    Tick { site: SiteId },
}

struct Site {
    exchange: Exchange,
    log: Vec<Record>,
    committed: usize,
}

/// Six sites, each a leader alone.
pub struct Six {
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sites: BTreeMap<SiteId, Site>,
    /// Links that take longer than their distance.
    slow: BTreeMap<(SiteId, SiteId), u64>,
    /// When which write was committed where.
    seen: BTreeMap<(SiteId, WriteStamp), u64>,
    /// The most bytes that waited for their causes anywhere.
    waited: u64,
}

impl Six {
    pub fn new(topology: &Topology) -> Six {
        let all = ids();
        let config = Config { version: 1, sites: all.clone(), topology: topology.clone() };
        let mut six = Six {
            now: 1_000 * MS,
            sequence: 0,
            queue: BTreeMap::new(),
            sites: BTreeMap::new(),
            slow: BTreeMap::new(),
            seen: BTreeMap::new(),
            waited: 0,
        };
        for site in &all {
            let me = Leadership { site: *site, epoch: Epoch(1), shard: GroupId(1) };
            let state = SiteState::new(Seed(1, 2), *site, &all);
            let marks = Marks::new(Index(0), OriginVector::new());
            let exchange = Exchange::new(me, Limits::default(), Policy::Crdt, state, marks);
            six.sites.insert(*site, Site { exchange, log: Vec::new(), committed: 0 });
            six.step(*site, |exchange, now, out| exchange.configure(now.instant, config.clone(), out));
            // Not all at the same moment.
            six.schedule(u64::from(site.0) * MS, Event::Tick { site: *site });
        }
        six.run(2_000 * MS);
        six
    }
    fn schedule(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }
    fn run(&mut self, time: u64) {
        let end = self.now + time;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            match event {
                Event::Deliver { from, to, message } => {
                    self.step(to, |exchange, now, out| exchange.receive(now, from, *message, out));
                }
                Event::Commit { site } => self.commit(site),
                Event::Tick { site } => {
                    self.step(site, |exchange, now, out| exchange.tick(now, out));
                    if self.sites.contains_key(&site) {
                        self.schedule(TICK, Event::Tick { site });
                    }
                }
            }
        }
        self.now = end;
    }
    fn step(&mut self, site: SiteId, act: impl FnOnce(&mut Exchange, Now, &mut Vec<Output>)) {
        let ms = (self.now / MS) as i64;
        let wall = WallInterval { earliest_ms: ms, latest_ms: ms };
        let now = Now { instant: Instant(self.now), wall };
        // It is gone.
        let Some(it) = self.sites.get_mut(&site) else { return };
        let mut out = Vec::new();
        act(&mut it.exchange, now, &mut out);
        self.waited = self.waited.max(it.exchange.waiting_bytes());
        let mut wanted: VecDeque<Output> = out.into();
        while let Some(output) = wanted.pop_front() {
            match output {
                Output::Send { to, message } => {
                    let delay = self.slow.get(&(site, to)).copied().unwrap_or(distance(site, to));
                    self.schedule(delay, Event::Deliver { from: site, to, message: Box::new(message) });
                }
                Output::Propose { record } => {
                    if let Some(it) = self.sites.get_mut(&site) {
                        it.log.push(record);
                    }
                    self.schedule(COMMIT, Event::Commit { site });
                }
                Output::Fetch { peer, from, .. } => {
                    let Some(it) = self.sites.get_mut(&site) else { return };
                    let records = it.log.iter().enumerate().take(it.committed).skip(from.0 as usize - 1);
                    let records =
                        records.map(|(at, record)| (Index(at as u64 + 1), record.clone())).collect();
                    let mut more = Vec::new();
                    it.exchange.fetched(now, peer, from, Fetched::Records(records), &mut more);
                    wanted.extend(more);
                }
                Output::Report(_) | Output::Claimed { .. } | Output::Unclaimed { .. } => {}
            }
        }
    }
    fn commit(&mut self, site: SiteId) {
        let Some(it) = self.sites.get_mut(&site) else { return };
        let record = it.log[it.committed].clone();
        it.committed += 1;
        let index = Index(it.committed as u64);
        if let Record::Write(write) = &record {
            self.seen.insert((site, write.stamp), self.now);
        }
        self.step(site, |exchange, now, out| exchange.committed(now, index, &record, out));
    }
    fn write(&mut self, site: SiteId, key: &str) -> Option<WriteStamp> {
        let mut stamp = None;
        let wish = Wish::Set { value: b"x".as_slice().into(), expiry: Expiry::Keep };
        self.step(site, |exchange, now, out| {
            stamp = exchange.write(now, &[(key.as_bytes().into(), wish)], out).ok();
        });
        stamp
    }
    fn holds(&self, site: SiteId, key: &str) -> bool {
        self.sites.get(&site).is_some_and(|it| it.exchange.state().copy().object(key.as_bytes()).is_some())
    }
    /// Writes at each site; how long each took to each other one, of those that got there within the time.
    pub fn spread(&mut self, within: u64) -> BTreeMap<(SiteId, SiteId), u64> {
        let began = self.now;
        let sites: Vec<SiteId> = self.sites.keys().copied().collect();
        let written: Vec<(SiteId, Option<WriteStamp>)> =
            sites.iter().map(|site| (*site, self.write(*site, &format!("k{began}-{site}")))).collect();
        self.run(within);
        let mut times = BTreeMap::new();
        for (origin, stamp) in written {
            let Some(stamp) = stamp else { continue };
            for to in sites.iter().filter(|to| **to != origin) {
                if let Some(at) = self.seen.get(&(*to, stamp)) {
                    times.insert((origin, *to), at - began);
                }
            }
        }
        times
    }
    pub fn lose(&mut self, site: SiteId) {
        self.sites.remove(&site);
    }
}

/// The value that this share of all does not exceed.
fn percentile(mut times: Vec<u64>, percent: usize) -> u64 {
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).max(1) - 1;
    times.get(at).copied().unwrap_or(0)
}

/// What is predicted and what was measured of one topology, in ns.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub hops: usize,
    pub p50: [u64; 2],
    pub p99: [u64; 2],
    pub tolerates: usize,
    /// The longest time of a write of the survivors that is made as soon as the weakest site is gone.
    pub behind_loss: [u64; 2],
    /// Whether two sites that are left of all hear each other.
    pub two_left: bool,
}

pub fn measure(topology: &Topology) -> Figures {
    let none = BTreeSet::new();
    let whole = ways(topology, &none);
    let predicted: Vec<u64> = whole.values().map(|way| way.time).collect();
    let mut six = Six::new(topology);
    let measured: Vec<u64> = six.spread(2_000 * MS).into_values().collect();
    let both = |percent| [percentile(predicted.clone(), percent), percentile(measured.clone(), percent)];
    let lost = weakest(topology);
    let left = ways(topology, &BTreeSet::from([lost]));
    let direct = left.values().map(|way| way.time).max().unwrap_or(0);
    let pairs = (NAMES.len() - 1) * (NAMES.len() - 2);
    // Where a way is missing it is taken anew once the silence is noticed, at each end of it.
    let noticed = Limits::default().dead_after.as_nanos() as u64;
    let behind = if left.len() == pairs { direct } else { noticed };
    six.lose(lost);
    let after = six.spread(20_000 * MS);
    let worst = if after.len() == pairs { after.values().copied().max().unwrap_or(0) } else { u64::MAX };
    for site in ids().into_iter().filter(|site| *site != lost).skip(2) {
        six.lose(site);
    }
    let two_left = six.spread(20_000 * MS).len() == 2;
    Figures {
        hops: whole.values().map(|way| way.hops).max().unwrap_or(0),
        p50: both(50),
        p99: both(99),
        tolerates: tolerates(topology),
        behind_loss: [behind, worst],
        two_left,
    }
}

impl Figures {
    /// Whether what was measured is what was predicted.
    pub fn agree(&self) -> bool {
        let near = |[predicted, measured]: [u64; 2]| (predicted..=predicted + SLACK).contains(&measured);
        let [behind, measured] = self.behind_loss;
        // The silence began up to a status before the loss, and the new way is there a status later.
        let timer = Limits::default().status_every.as_nanos() as u64 + SLACK;
        let longest = Limits::default().dead_after.as_nanos() as u64;
        let behind = match behind < longest {
            true => near([behind, measured]),
            false => (behind - timer..=behind + 2 * timer + self.p99[0]).contains(&measured),
        };
        near(self.p50) && near(self.p99) && behind && self.two_left
    }
}

/// A cause goes over a slow link, its effect round it. Whether the effect came first and waited, and whether it was ever shown before.
pub fn overtaking() -> (bool, bool) {
    let mut six = Six::new(&Topology::AllToAll);
    let (from, by, to) = (SiteId(1), SiteId(2), SiteId(4));
    six.slow.insert((from, to), 900 * MS);
    six.write(from, "cause");
    six.run(200 * MS);
    six.write(by, "effect");
    let mut is_shown_first = false;
    for _ in 0..2_000 {
        six.run(MS);
        is_shown_first |= six.holds(to, "effect") && !six.holds(to, "cause");
    }
    (six.waited > 0 && six.holds(to, "effect"), is_shown_first)
}

/// Prints what is predicted beside what was measured; false where they do not agree.
pub fn tell(say: &mut dyn FnMut(String)) -> bool {
    say(format!("topologies of {} sites (I9): {}", NAMES.len(), NAMES.join(", ")));
    say("propagation in ms over all pairs of sites, predicted/measured; a log commits in 1 ms".into());
    say("topology     hops        p50         p99   may be gone   behind the worst loss   two left".into());
    let ms = |[predicted, measured]: [u64; 2]| format!("{}/{}", predicted / MS, measured / MS);
    let mut agree = true;
    for (name, topology) in all() {
        let it = measure(&topology);
        agree &= it.agree();
        say(format!(
            "{name:<12} {:>4} {:>10} {:>11}   {:>11} {:>23}   {:>8}{}",
            it.hops,
            ms(it.p50),
            ms(it.p99),
            it.tolerates,
            ms(it.behind_loss),
            if it.two_left { "equal" } else { "apart" },
            if it.agree() { "" } else { "   DOES NOT AGREE" }
        ));
    }
    let (waited, is_shown_first) = overtaking();
    say(format!(
        "an effect that overtakes its cause: {}, {}",
        if waited { "waited" } else { "did not come first" },
        if is_shown_first { "and was shown before it" } else { "never shown before it" }
    ));
    agree && waited && !is_shown_first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_predicted_is_measured() {
        let mut lines = Vec::new();
        assert!(tell(&mut |line| lines.push(line)), "{}", lines.join("\n"));
    }

    #[test]
    fn what_topologies_tolerate() {
        let tolerated = all().map(|(_, topology)| tolerates(&topology));
        assert_eq!(tolerated, [NAMES.len() - 2, 0, 0, 0]);
        let hops = all().map(|(_, it)| ways(&it, &BTreeSet::new()).values().map(|way| way.hops).max());
        assert_eq!(hops, [Some(1), Some(5), Some(2), Some(4)]);
    }
}
