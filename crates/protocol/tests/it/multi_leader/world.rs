//! What happens by lot: clients, faults and the operator's deeds.

use super::oracle::Act;
use super::sites::{CALM, MS, ROUGH, Sites};
use crate::rig::Rng;
use data::SiteId;
use protocol::multi_leader::{Policy, Report, Topology};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub policy: Policy,
    /// Failovers take committed records along, as under an asynchronous commit rule.
    pub is_lossy: bool,
}

pub const PLANS: [Plan; 5] = [
    Plan { policy: Policy::Crdt, is_lossy: false },
    Plan { policy: Policy::LastWriteWins, is_lossy: false },
    Plan { policy: Policy::Siblings, is_lossy: true },
    Plan { policy: Policy::Home, is_lossy: false },
    Plan { policy: Policy::Block, is_lossy: false },
];

/// Slots of the keys of a home keyspace.
const KEYS: [&str; 6] = ["c0", "c1", "s0", "s1", "r0", "r1"];

pub struct World {
    pub sites: Sites,
    rng: Rng,
    plan: Plan,
    next_value: u64,
    next_site: u32,
    lost: u32,
    joined: u32,
    reshaped: u32,
    removed: u32,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> World {
        let mut rng = Rng(seed ^ 0xa11);
        let count = rng.between(2, 5) as u32;
        let ids: Vec<SiteId> = (1..=count).map(SiteId).collect();
        let topology = shape(&mut rng, &ids);
        let mut sites = Sites::new(seed, count, topology, plan.policy);
        sites.weather = ROUGH;
        sites.may_lose_committed = plan.is_lossy;
        sites.limits.waiting_bytes_max = if rng.chance(30) { 300 } else { 6_000 };
        sites.limits.before_bytes_max = if rng.chance(20) { 400 } else { 64 << 10 };
        sites.limits.part_bytes_max = if rng.chance(50) { 150 } else { 1_500 };
        sites.limits.bandwidth_bytes_per_s = if rng.chance(20) { Some(20_000) } else { None };
        for site in sites.sites.values_mut() {
            site.skew_ms = rng.between(0, 300) as i64 - 150;
        }
        // The leaders of the first moment have other limits: let new ones begin.
        for id in ids {
            sites.failover(id, 1);
        }
        let next_site = count + 1;
        World { sites, rng, plan, next_value: 0, next_site, lost: 0, joined: 0, reshaped: 0, removed: 0 }
    }
    pub fn go(&mut self) {
        for _ in 0..self.rng.between(60, 160) {
            let pause = self.rng.between(1, 30);
            self.sites.run(pause);
            if self.sites.oracle.violation.is_some() {
                return;
            }
            self.client();
            if self.rng.chance(25) {
                self.fault();
            }
        }
        // Calm: clocks are right again, within their bound.
        self.sites.weather = CALM;
        self.sites.sites.values_mut().for_each(|site| site.skew_ms = 0);
        self.sites.settle(30_000);
    }
    fn client(&mut self) {
        let living = self.sites.living();
        let site = living[self.rng.below(living.len() as u64) as usize];
        let key = KEYS[self.rng.below(KEYS.len() as u64) as usize];
        let mut acts = vec![(key, self.act(key))];
        if self.rng.chance(20) {
            let other = KEYS[self.rng.below(KEYS.len() as u64) as usize];
            if other != key {
                acts.push((other, self.act(other)));
            }
        }
        if self.plan.policy == Policy::Home && self.rng.chance(10) {
            let slot = data::slot::slot(key.as_bytes());
            let to = living[self.rng.below(living.len() as u64) as usize];
            let _ = self.sites.hand_over(site.0, slot, to.0);
            return;
        }
        if self.plan.policy == Policy::Block {
            let _ = self.sites.claim(site.0, &acts);
            return;
        }
        // Refused where a site joins, its clock is behind, or the key is at home elsewhere.
        let _ = self.sites.write_all(site.0, &acts);
    }
    fn act(&mut self, key: &str) -> Act {
        self.next_value += 1;
        let member = format!("m{}", self.rng.below(4));
        match (key.as_bytes()[0], self.rng.below(10)) {
            // Under last-write-wins an increment is a write like others, which the oracle does not add up.
            (b'c', 0) if self.plan.policy != Policy::LastWriteWins => Act::Delete,
            (b'c', _) => Act::Increment(self.rng.between(1, 9) as i64),
            (b's', 0) => Act::Delete,
            (b's', 1..=3) => Act::Remove(member),
            (b's', _) => Act::Add(member),
            (_, 0) => Act::Delete,
            _ => Act::Set(format!("v{}", self.next_value)),
        }
    }
    fn fault(&mut self) {
        let living = self.sites.living();
        let site = living[self.rng.below(living.len() as u64) as usize];
        let other = living[self.rng.below(living.len() as u64) as usize];
        let long = self.rng.between(20, 900);
        match self.rng.below(12) {
            0..=2 => {
                let after = self.rng.between(5, 300);
                self.sites.failover(site, after);
            }
            3 => self.sites.cut(site.0, other.0, long),
            4 => {
                let until = self.sites.now + long * MS;
                self.sites.cuts.insert((site, other), until);
            }
            5 => self.sites.isolate(site.0, long),
            6 => {
                self.sites.delays.insert((site, other), self.rng.between(20, 200));
            }
            7 => self.sites.trim(site),
            8 => {
                let skew = if self.rng.chance(30) { 2_000 } else { self.rng.between(0, 800) as i64 - 400 };
                self.sites.at(site).skew_ms = skew;
            }
            9 if living.len() > 2 && self.lost == 0 && self.rng.chance(50) => {
                self.sites.lose(site);
                self.lost += 1;
            }
            10 => self.reshape(),
            11 if self.joined < 2 && self.plan.policy != Policy::Block && self.rng.chance(50) => self.join(),
            _ => {}
        }
    }
    /// Another topology; a site that is lost is perhaps struck off.
    fn reshape(&mut self) {
        let mut ids = self.sites.config.sites.clone();
        // Its homes would be nobody's.
        let may_remove = !matches!(self.plan.policy, Policy::Home | Policy::Block);
        if may_remove && self.rng.chance(70) {
            let before = ids.len();
            ids.retain(|id| !self.sites.sites[id].is_lost);
            self.removed += u32::from(ids.len() < before);
        }
        let topology = shape(&mut self.rng, &ids);
        self.sites.configure(ids, topology);
        self.reshaped += 1;
    }
    fn join(&mut self) {
        let site = SiteId(self.next_site);
        self.next_site += 1;
        self.joined += 1;
        let mut ids = self.sites.config.sites.clone();
        let at = self.rng.below(ids.len() as u64 + 1) as usize;
        ids.insert(at, site);
        let topology = shape(&mut self.rng, &ids);
        self.sites.found(site);
        self.sites.configure(ids, topology);
    }
}

fn shape(rng: &mut Rng, sites: &[SiteId]) -> Topology {
    match rng.below(4) {
        0 => Topology::AllToAll,
        1 => Topology::Circular,
        2 => Topology::Star { hub: sites[rng.below(sites.len() as u64) as usize] },
        _ => {
            let mut parents = BTreeMap::new();
            for (at, site) in sites.iter().enumerate().skip(1) {
                parents.insert(*site, sites[rng.below(at as u64) as usize]);
            }
            Topology::Tree { parents }
        }
    }
}

/// What happened in many worlds.
#[derive(Default, Debug)]
pub struct Tally {
    pub writes: u64,
    pub applied: u64,
    pub failovers: u64,
    pub shrunk: u64,
    pub copies: u64,
    pub lost_sites: u32,
    pub removed: u32,
    pub joined: u32,
    pub reshaped: u32,
    pub stopped: u64,
    pub overflows: u64,
    pub overdue: u64,
    pub detours: u64,
    pub losers: u64,
    pub conflicts: u64,
    pub moves: u64,
    pub claims_won: u64,
    pub claims_lost: u64,
}

impl Tally {
    pub fn add(&mut self, world: &World) {
        let sites = &world.sites;
        let count =
            |is: fn(&Report) -> bool| sites.reports.iter().filter(|(_, report)| is(report)).count() as u64;
        self.writes += sites.oracle.written.iter().filter(|write| write.is_acknowledged).count() as u64;
        self.applied += sites.oracle.applied;
        self.failovers += sites.failovers;
        self.shrunk += sites.shrunk;
        self.copies += sites.oracle.copied;
        self.lost_sites += world.lost;
        self.removed += world.removed;
        self.joined += world.joined;
        self.reshaped += world.reshaped;
        self.stopped += count(|report| matches!(report, Report::Stopped { .. }));
        self.overflows += count(|report| matches!(report, Report::Overflow { .. }));
        self.overdue += count(|report| matches!(report, Report::Overdue { .. }));
        self.detours += count(|report| matches!(report, Report::Routed { is_detour: true, .. }));
        self.losers += count(|report| matches!(report, Report::Lost(_)));
        self.conflicts += count(|report| matches!(report, Report::Conflict { .. }));
        let moves =
            sites.oracle.written.iter().filter(|write| write.acts.iter().any(|act| act.1 == Act::HandOver));
        self.moves += moves.count() as u64;
        self.claims_won += sites.claims_won;
        self.claims_lost += sites.claims_lost.len() as u64;
    }
    pub fn is_telling(&self, plan: Plan) -> bool {
        let always = [
            self.writes,
            self.failovers,
            self.copies,
            u64::from(self.lost_sites),
            u64::from(self.reshaped),
            self.stopped,
            self.overdue,
            self.detours,
        ];
        always.iter().all(|count| *count > 0)
            && (self.shrunk > 0) == plan.is_lossy
            && (self.losers > 0) == (plan.policy == Policy::LastWriteWins)
            && (self.moves > 0) == (plan.policy == Policy::Home)
            && (self.joined > 0) != (plan.policy == Policy::Block)
            && (self.claims_won.min(self.claims_lost) > 0) == (plan.policy == Policy::Block)
    }
}
