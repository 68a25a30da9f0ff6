//! Which site hands writes on to which: the shapes that an operator chooses, and what is left of them while sites are
//! away.
// catalogue: I6 I7 I8

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;
use data::SiteId;

/// The preferred way of a write. It says who sends what as long as everybody is there; any pair of sites may exchange when
/// nobody else does (bugs: ML-03).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Topology {
    /// Every origin sends to every site.
    AllToAll,
    /// In the order of the configuration's sites, from each to the next one.
    Circular,
    /// Everything goes through the hub.
    Star { hub: SiteId },
    /// Each site but the root has a parent; writes go up and down along these edges.
    Tree { parents: BTreeMap<SiteId, SiteId> },
}

/// What the control plane says of a keyspace's sites. A higher version replaces a lower one, at any time: which writes a site
/// still lacks follows from vectors and not from the topology.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub version: u64,
    /// In the order of the ring.
    pub sites: Vec<SiteId>,
    pub topology: Topology,
}

/// Why a configuration is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// A site is named twice.
    Repeated(SiteId),
    /// The hub, a child or a parent is none of the sites.
    NotASite(SiteId),
    /// Of a tree exactly one site has no parent; this is another one.
    SecondRoot(SiteId),
    /// Its parents lead round to itself.
    Cycle(SiteId),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Repeated(site) => write!(f, "site {site} is named twice"),
            ConfigError::NotASite(site) => write!(f, "{site} is none of the keyspace's sites"),
            ConfigError::SecondRoot(site) => write!(f, "a tree has one root; {site} has no parent either"),
            ConfigError::Cycle(site) => write!(f, "the parents of {site} lead round to itself"),
        }
    }
}
impl core::error::Error for ConfigError {}

/// Directed: who sends to whom.
pub type Edges = BTreeSet<(SiteId, SiteId)>;

impl Config {
    /// # Errors
    /// When sites and topology contradict each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        let sites: BTreeSet<SiteId> = self.sites.iter().copied().collect();
        for (at, site) in self.sites.iter().enumerate() {
            if self.sites[..at].contains(site) {
                return Err(ConfigError::Repeated(*site));
            }
        }
        let known =
            |site: SiteId| if sites.contains(&site) { Ok(()) } else { Err(ConfigError::NotASite(site)) };
        match &self.topology {
            Topology::AllToAll | Topology::Circular => {}
            Topology::Star { hub } => known(*hub)?,
            Topology::Tree { parents } => {
                for (child, parent) in parents {
                    known(*child)?;
                    known(*parent)?;
                }
                for site in parents.keys() {
                    let mut above = *site;
                    for _ in 0..parents.len() {
                        match parents.get(&above) {
                            Some(parent) if parent == site => return Err(ConfigError::Cycle(*site)),
                            Some(parent) => above = *parent,
                            None => break,
                        }
                    }
                }
                let mut roots = sites.iter().filter(|site| !parents.contains_key(site));
                if let Some(second) = roots.nth(1) {
                    return Err(ConfigError::SecondRoot(*second));
                }
            }
        }
        Ok(())
    }
    pub fn has(&self, site: SiteId) -> bool {
        self.sites.contains(&site)
    }

    /// The shape among the sites that are there. The ring closes over a site that is away; those under a parent that is away
    /// join its nearest living forebear, and if there is none, the lowest of them stands in for it: so the spokes of a dead
    /// hub gather round the lowest spoke.
    pub fn edges(&self, present: &BTreeSet<SiteId>) -> Edges {
        let sites: Vec<SiteId> = self.sites.iter().copied().filter(|site| present.contains(site)).collect();
        let mut edges = Edges::new();
        match &self.topology {
            Topology::AllToAll => {
                for from in &sites {
                    edges.extend(sites.iter().filter(|to| *to != from).map(|to| (*from, *to)));
                }
            }
            Topology::Circular => {
                let next = sites.iter().cycle().skip(1);
                edges.extend(sites.iter().copied().zip(next.copied()).filter(|(from, to)| from != to));
            }
            Topology::Star { .. } | Topology::Tree { .. } => {
                let above = |site: SiteId| self.living_forebear(site, present);
                let top = sites.iter().copied().filter(|site| above(*site).is_none()).min();
                for site in sites {
                    if let Some(parent) = above(site).or(top).filter(|parent| *parent != site) {
                        edges.insert((site, parent));
                        edges.insert((parent, site));
                    }
                }
            }
        }
        edges
    }
    fn parent(&self, site: SiteId) -> Option<SiteId> {
        match &self.topology {
            Topology::Star { hub } => Some(*hub).filter(|hub| *hub != site),
            Topology::Tree { parents } => parents.get(&site).copied(),
            Topology::AllToAll | Topology::Circular => None,
        }
    }
    fn living_forebear(&self, site: SiteId, present: &BTreeSet<SiteId>) -> Option<SiteId> {
        let mut above = self.parent(site)?;
        // As many steps as there are sites: a cycle that nobody checked for must not hold us.
        for _ in 0..self.sites.len() {
            if present.contains(&above) {
                return Some(above);
            }
            above = self.parent(above)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(sites: u32, topology: Topology) -> Config {
        Config { version: 1, sites: (1..=sites).map(SiteId).collect(), topology }
    }
    fn edges(config: &Config, present: &[u32]) -> Vec<(u32, u32)> {
        let present = present.iter().map(|site| SiteId(*site)).collect();
        config.edges(&present).into_iter().map(|(from, to)| (from.0, to.0)).collect()
    }
    fn tree(parents: &[(u32, u32)]) -> Topology {
        Topology::Tree { parents: parents.iter().map(|(c, p)| (SiteId(*c), SiteId(*p))).collect() }
    }

    #[test]
    fn shapes_close_over_who_is_away() {
        let ring = config(4, Topology::Circular);
        assert_eq!(edges(&ring, &[1, 2, 3, 4]), [(1, 2), (2, 3), (3, 4), (4, 1)]);
        assert_eq!(edges(&ring, &[1, 2, 4]), [(1, 2), (2, 4), (4, 1)]);
        assert_eq!(edges(&ring, &[2]), []);
        let star = config(4, Topology::Star { hub: SiteId(3) });
        assert_eq!(edges(&star, &[1, 2, 3, 4]), [(1, 3), (2, 3), (3, 1), (3, 2), (3, 4), (4, 3)]);
        assert_eq!(edges(&star, &[1, 2, 4]), [(1, 2), (1, 4), (2, 1), (4, 1)], "the lowest spoke stands in");
        let tree = config(5, tree(&[(2, 1), (3, 1), (4, 2), (5, 2)]));
        assert_eq!(edges(&tree, &[1, 3, 4, 5]), [(1, 3), (1, 4), (1, 5), (3, 1), (4, 1), (5, 1)]);
        assert_eq!(edges(&tree, &[2, 3, 4, 5]), [(2, 3), (2, 4), (2, 5), (3, 2), (4, 2), (5, 2)]);
        assert_eq!(edges(&config(3, Topology::AllToAll), &[1, 3]), [(1, 3), (3, 1)]);
    }

    #[test]
    fn contradictions_are_refused() {
        let check = |topology| config(3, topology).check();
        assert_eq!(check(Topology::Star { hub: SiteId(9) }), Err(ConfigError::NotASite(SiteId(9))));
        assert_eq!(check(tree(&[(2, 1)])), Err(ConfigError::SecondRoot(SiteId(3))));
        assert_eq!(check(tree(&[(2, 3), (3, 2)])), Err(ConfigError::Cycle(SiteId(2))));
        assert_eq!(check(tree(&[(2, 1), (3, 2)])), Ok(()));
        let twice = Config { sites: [SiteId(1), SiteId(1)].into(), ..config(1, Topology::Circular) };
        assert_eq!(twice.check(), Err(ConfigError::Repeated(SiteId(1))));
    }
}
