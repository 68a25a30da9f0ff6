//! Who hands which origin's writes on to whom now: the topology, less what is away, plus detours.
// bugs: ML-03

use super::topology::{Config, Edges};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use data::SiteId;
use data::plant::{self, Bug};

/// Which sites each site hears, as far as this one was told.
pub type Hearing = BTreeMap<SiteId, BTreeSet<SiteId>>;

/// Invariant: computed from one configuration and one state of hearing, alike on all sites that know the same. Sites that know
/// different things may both send, or neither: duplicates are dropped by their stamps, and what nobody sends becomes overdue.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Routes {
    /// By the site of a write's origin: to whom this site hands it on.
    next: BTreeMap<SiteId, BTreeSet<SiteId>>,
    /// For writes whose origin is away or removed: nobody else may be behind them (bugs: ML-02).
    of_others: BTreeSet<SiteId>,
    /// Sites of the configuration that cannot be reached.
    pub away: Vec<SiteId>,
    /// Whether writes take ways that the topology does not have.
    pub is_detour: bool,
}

impl Routes {
    pub fn new(config: &Config, me: SiteId, hearing: &Hearing) -> Routes {
        let everybody: BTreeSet<SiteId> = config.sites.iter().copied().collect();
        let hears = |from: SiteId, to: SiteId| {
            plant::is(Bug::TakesNoDetour) || hearing.get(&to).is_some_and(|heard| heard.contains(&from))
        };
        let mut usable = Edges::new();
        for from in &everybody {
            let others = everybody.iter().filter(|to| *to != from);
            usable
                .extend(others.filter(|to| hears(*from, **to) && hears(**to, *from)).map(|to| (*from, *to)));
        }
        let present: BTreeSet<SiteId> =
            spread(me, &usable, &usable, &everybody).into_iter().map(|e| e.1).collect();
        let present: BTreeSet<SiteId> = present.into_iter().chain([me]).collect();
        let whole = config.edges(&everybody);
        let edges = config.edges(&present);
        let children =
            |origin: SiteId| -> Vec<(SiteId, SiteId)> { spread(origin, &edges, &usable, &present) };
        let mut is_detour = false;
        let mut next = BTreeMap::new();
        for origin in &present {
            let ways = children(*origin);
            let usual = spread(*origin, &whole, &whole, &everybody);
            is_detour |= ways.iter().any(|way| !usual.contains(way));
            let mine = ways.into_iter().filter(|(from, _)| *from == me).map(|(_, to)| to);
            next.insert(*origin, mine.collect());
        }
        let of_others = next.get(&me).cloned().unwrap_or_default();
        let away = everybody.difference(&present).copied().collect();
        Routes { next, of_others, away, is_detour }
    }
    /// Whether this site hands writes of the origin on to the peer.
    pub fn sends(&self, origin: SiteId, peer: SiteId) -> bool {
        self.next.get(&origin).unwrap_or(&self.of_others).contains(&peer)
    }
}

/// How a write reaches everybody from its origin, as (from, to), nearest first: along the edges, and where they are cut along
/// any pair that hears each other.
fn spread(
    origin: SiteId,
    edges: &Edges,
    usable: &Edges,
    present: &BTreeSet<SiteId>,
) -> Vec<(SiteId, SiteId)> {
    let mut reached = Vec::from([origin]);
    let mut ways = Vec::new();
    let mut at = 0;
    loop {
        while at < reached.len() {
            let from = reached[at];
            for (_, to) in edges.range((from, SiteId(0))..=(from, SiteId(u32::MAX))) {
                if !reached.contains(to) && usable.contains(&(from, *to)) {
                    reached.push(*to);
                    ways.push((from, *to));
                }
            }
            at += 1;
        }
        let missing = present.iter().filter(|site| !reached.contains(site));
        let pairs = missing.flat_map(|to| reached.iter().map(|from| (*from, *to)));
        let Some(way) = pairs.into_iter().find(|way| usable.contains(way)) else { return ways };
        reached.push(way.1);
        ways.push(way);
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::Topology;
    use super::*;

    fn hearing(sites: u32, deaf: &[(u32, u32)], dead: &[u32]) -> Hearing {
        let alive = |site: &u32| !dead.contains(site);
        let heard = |to: u32| {
            let from = (1..=sites).filter(alive).filter(|from| !deaf.contains(&(*from, to)));
            from.map(SiteId).collect()
        };
        (1..=sites).filter(alive).map(|to| (SiteId(to), heard(to))).collect()
    }
    fn ways(config: &Config, hearing: &Hearing, origin: u32) -> Vec<(u32, u32)> {
        let mut ways = Vec::new();
        for from in hearing.keys() {
            let routes = Routes::new(config, *from, hearing);
            let to = config.sites.iter().filter(|to| *to != from && to.0 != origin);
            ways.extend(to.filter(|to| routes.sends(SiteId(origin), **to)).map(|to| (from.0, to.0)));
        }
        ways
    }

    #[test]
    fn each_write_has_one_way_to_each_site() {
        let config = |topology| Config { version: 1, sites: (1..=4).map(SiteId).collect(), topology };
        let all = hearing(4, &[], &[]);
        assert_eq!(ways(&config(Topology::AllToAll), &all, 2), [(2, 1), (2, 3), (2, 4)]);
        assert_eq!(ways(&config(Topology::Circular), &all, 2), [(2, 3), (3, 4), (4, 1)]);
        let star = config(Topology::Star { hub: SiteId(1) });
        assert_eq!(ways(&star, &all, 2), [(1, 3), (1, 4), (2, 1)]);
        assert!(!Routes::new(&star, SiteId(2), &all).is_detour);
        // One link of the mesh is cut, in one direction: both sides count as deaf to each other.
        let cut = hearing(4, &[(2, 4)], &[]);
        assert_eq!(ways(&config(Topology::AllToAll), &cut, 2), [(1, 4), (2, 1), (2, 3)]);
        assert!(Routes::new(&config(Topology::AllToAll), SiteId(3), &cut).is_detour);
        // A link of the ring.
        let cut = hearing(4, &[(2, 3)], &[]);
        assert_eq!(ways(&config(Topology::Circular), &cut, 2), [(1, 3), (2, 1), (3, 4)]);
        // The hub is dead.
        let dead = hearing(4, &[], &[1]);
        assert_eq!(ways(&star, &dead, 3), [(2, 4), (3, 2)]);
        assert_eq!(Routes::new(&star, SiteId(3), &dead).away, [SiteId(1)]);
    }
}
