//! Faults: which kinds a run has, how often each strikes, what it does and how it ends.
//!
//! Swarm testing (Groce et al., ISSTA 2012): a seed switches about half of the kinds on, each with its own intensity, for
//! a fault that is always there hides what only happens without it. Each kind draws from a stream of its own, so that
//! leaving one out shifts no other.

mod cascade;
mod damage;
mod heal;
mod inject;
mod latecomer;
mod moves;
mod overflow;
mod restore;
mod squeeze;
mod strikes;
mod table_flip;

pub use cascade::Cascade;
pub use squeeze::Blow;
pub use strikes::{Skip, Strike, Strikes};

use crate::clocks::{Clock, TRUE_RATE};
use crate::network::{MS, Quality};
use crate::random::Random;
use data::NodeId;

/// Kinds of faults. The numbers choose their streams of randomness: append, never reorder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    Crash = 0,
    PowerCut,
    PowerCutAll,
    Pause,
    PauseInTurn,
    Isolate,
    Partition,
    OneWay,
    Clog,
    SlowLink,
    Reset,
    Loss,
    Duplicate,
    Reorder,
    Drift,
    WildClocks,
    ClockJump,
    WallClock,
    DiskSlow,
    DiskFail,
    DiskFull,
    HangUp,
    Switchover,
    Alter,
    Wipe,
    Join,
    Leave,
    Replace,
    Squeeze,
    Newcomer,
    BitFlip,
    LostWrite,
    StrayWrite,
    Cascade,
    Latecomer,
    Restore,
    Upgrade,
    Wan,
    SiteCut,
    Promote,
    SlotMove,
    TableFlip,
    Sites,
    Overflow,
}

impl Fault {
    /// Every kind, its name on the command line, and the mean time between two strikes (0: in force all the time).
    pub const ALL: [(Fault, &'static str, u64); 44] = [
        (Fault::Crash, "crash", 12_000 * MS),
        (Fault::PowerCut, "power-cut", 15_000 * MS),
        (Fault::PowerCutAll, "power-cut-all", 50_000 * MS),
        (Fault::Pause, "pause", 9_000 * MS),
        (Fault::PauseInTurn, "pause-in-turn", 7_000 * MS),
        (Fault::Isolate, "isolate", 12_000 * MS),
        (Fault::Partition, "partition", 12_000 * MS),
        (Fault::OneWay, "one-way", 10_000 * MS),
        (Fault::Clog, "clog", 8_000 * MS),
        (Fault::SlowLink, "slow-link", 10_000 * MS),
        (Fault::Reset, "reset", 4_000 * MS),
        (Fault::Loss, "loss", 0),
        (Fault::Duplicate, "duplicate", 0),
        (Fault::Reorder, "reorder", 0),
        (Fault::Drift, "drift", 6_000 * MS),
        (Fault::WildClocks, "wild-clocks", 0),
        (Fault::ClockJump, "clock-jump", 15_000 * MS),
        (Fault::WallClock, "wall-clock", 9_000 * MS),
        (Fault::DiskSlow, "disk-slow", 9_000 * MS),
        (Fault::DiskFail, "disk-fail", 20_000 * MS),
        (Fault::DiskFull, "disk-full", 25_000 * MS),
        (Fault::HangUp, "hang-up", 2_000 * MS),
        (Fault::Switchover, "switchover", 8_000 * MS),
        (Fault::Alter, "alter", 15_000 * MS),
        (Fault::Wipe, "wipe", 20_000 * MS),
        (Fault::Join, "join", 20_000 * MS),
        (Fault::Leave, "leave", 20_000 * MS),
        (Fault::Replace, "replace", 25_000 * MS),
        (Fault::Squeeze, "squeeze", 1_200 * MS),
        (Fault::Newcomer, "newcomer", 0),
        (Fault::BitFlip, "bit-flip", 12_000 * MS),
        (Fault::LostWrite, "lost-write", 20_000 * MS),
        (Fault::StrayWrite, "stray-write", 20_000 * MS),
        (Fault::Cascade, "cascade", 1_500 * MS),
        (Fault::Latecomer, "latecomer", 2_000 * MS),
        (Fault::Restore, "restore", 6_000 * MS),
        (Fault::Upgrade, "upgrade", 10_000 * MS),
        (Fault::Wan, "wan", 0),
        (Fault::SiteCut, "site-cut", 12_000 * MS),
        (Fault::Promote, "promote", 15_000 * MS),
        (Fault::SlotMove, "slot-move", 2_000 * MS),
        (Fault::TableFlip, "table-flip", 6_000 * MS),
        (Fault::Sites, "sites", 0),
        (Fault::Overflow, "overflow", 4_000 * MS),
    ];
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.iter().find(|(_, known, _)| *known == name).map(|(fault, _, _)| *fault)
    }
    pub fn name(self) -> &'static str {
        Fault::ALL.iter().find(|(fault, _, _)| *fault == self).map_or("?", |(_, name, _)| name)
    }
    /// The lot of this kind in this run, whatever the others do.
    fn random(self, seed: u64) -> Random {
        Random::new(seed, 100 + self as u64)
    }
}

/// How a fault ends.
pub enum Undo {
    Restart(NodeId),
    Mend(Vec<(NodeId, NodeId)>),
    Unclog(NodeId, NodeId),
    Quicken(NodeId, NodeId),
    SpeedDisk(NodeId),
    FreeDisk(NodeId),
    TrueWall(NodeId),
    /// The operator has a disk that may be damaged read: by a restart.
    Scrub(NodeId),
    /// A machine without data comes up and asks to join.
    Return(u32),
    /// The operator asks for the removal of a node.
    Dismiss(NodeId),
}

/// One kind in one run.
pub struct Active {
    pub fault: Fault,
    /// Mean time between two strikes, ns.
    pub every: u64,
    pub random: Random,
}

/// What a run is made of.
pub struct Mix {
    pub nodes: u32,
    pub active: Vec<Active>,
}

/// Where these strike there are no multi-leader keyspaces. The last node of a site cannot go, nor be replaced: its copies have no
/// other place.
pub const NO_SITES: [Fault; 5] = [Fault::Leave, Fault::Replace, Fault::Wipe, Fault::Upgrade, Fault::Wan];

/// Which kinds may be active.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// The seed decides.
    Swarm,
    /// The seed decides among these.
    Among(Vec<Fault>),
    /// Exactly these.
    Only(Vec<Fault>),
}

impl Mix {
    pub fn draw(seed: u64, nodes: Option<u32>, choice: &Choice) -> Mix {
        let mut random = Random::new(seed, 99);
        let drawn = random.pick(&[3, 3, 3, 3, 5, 5, 4, 2, 1]).unwrap_or(3);
        let mut active = Vec::new();
        for (fault, _, mean) in Fault::ALL {
            let mut random = fault.random(seed);
            // Far sites slow everything down: they are for few runs.
            let swarm = random.chance(match fault {
                Fault::Wan => 80,
                Fault::Sites => 250,
                // Its runs have the one keyspace that it is about.
                Fault::Overflow => 200,
                _ => 400,
            });
            // From twice as often to four times as rare.
            let every = mean * random.between(50, 400) / 100;
            let wanted = match choice {
                Choice::Swarm => swarm,
                Choice::Among(kinds) => swarm && kinds.contains(&fault),
                Choice::Only(kinds) => kinds.contains(&fault),
            };
            if wanted {
                active.push(Active { fault, every, random });
            }
        }
        // Sites of one node each, of several, and both.
        let has_sites = active.iter().any(|active| active.fault == Fault::Sites);
        // Most of these runs have multi-leader keyspaces, which some kinds rule out.
        if has_sites && !matches!(choice, Choice::Only(_)) && Random::new(seed, 97).chance(700) {
            active.retain(|active| !NO_SITES.contains(&active.fault));
        }
        let drawn = match has_sites {
            true => Random::new(seed, 98).pick(&[3, 3, 5, 6, 6]).unwrap_or(3),
            false => drawn,
        };
        Mix { nodes: nodes.unwrap_or(drawn), active }
    }
    pub fn has(&self, fault: Fault) -> bool {
        self.active.iter().any(|active| active.fault == fault)
    }
    pub fn kinds(&self) -> Vec<Fault> {
        self.active.iter().map(|active| active.fault).collect()
    }

    /// The network's lasting qualities.
    pub fn quality(&self, random: &mut Random) -> Quality {
        let delay = random.pick(&[50_000, 200_000, 500_000, 2 * MS, 5 * MS]).unwrap_or(MS);
        let rate = |fault, random: &mut Random| if self.has(fault) { random.between(1, 20) } else { 0 };
        Quality {
            delay,
            jitter: delay,
            loss_permille: rate(Fault::Loss, random),
            duplicate_permille: rate(Fault::Duplicate, random),
            reorder: self.has(Fault::Reorder),
        }
    }

    /// A machine's clock at the beginning.
    pub fn clock(&self, now: u64, random: &mut Random) -> Clock {
        let mut clock = Clock::new(now, random.between(1, 1 << 40));
        let (slow, fast) = (random.between(50, 100), random.between(100, 200));
        if self.has(Fault::WildClocks) {
            // bugs: SL-07. From half as fast to twice as fast, all the time.
            let percent = if random.chance(500) { slow } else { fast };
            clock.set_rate(now, TRUE_RATE * percent / 100);
        }
        clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_a_kind_out_shifts_no_other() {
        let all = Mix::draw(7, None, &Choice::Swarm);
        let kinds = all.kinds();
        let rest: Vec<Fault> = kinds.iter().copied().skip(1).collect();
        let fewer = Mix::draw(7, None, &Choice::Only(rest.clone()));
        assert_eq!(fewer.kinds(), rest);
        for (a, b) in all.active.iter().skip(1).zip(&fewer.active) {
            assert_eq!((a.every, a.random.clone().draw()), (b.every, b.random.clone().draw()));
        }
    }

    #[test]
    fn the_median_run_has_at_least_six_kinds() {
        let mut counts: Vec<usize> =
            (0..501).map(|seed| Mix::draw(seed, None, &Choice::Swarm).active.len()).collect();
        counts.sort_unstable();
        assert!(counts[250] >= 6, "{}", counts[250]);
    }

    #[test]
    fn every_kind_is_in_use_over_a_thousand_seeds() {
        let mut used = std::collections::BTreeSet::new();
        (0..1000).for_each(|seed| used.extend(Mix::draw(seed, None, &Choice::Swarm).kinds()));
        assert_eq!(used.len(), Fault::ALL.len());
    }

    #[test]
    fn names_are_unique_and_numbers_are_places() {
        for (at, (fault, name, _)) in Fault::ALL.iter().enumerate() {
            assert_eq!(*fault as usize, at);
            assert_eq!(Fault::named(name), Some(*fault));
        }
    }
}
