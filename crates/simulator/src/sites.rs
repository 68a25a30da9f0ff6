//! Sites: named places, and how long a message travels between them.
//!
//! The figures are round trips between public cloud regions as their operators publish them, rounded: what matters is their
//! order of magnitude, and that they differ between pairs.

use crate::network::MS;
use crate::random::Random;
use data::NodeId;
use std::collections::BTreeMap;

/// Index of a site in [`NAMES`].
pub type Site = usize;

pub const NAMES: [&str; 6] = ["eu-west", "us-east", "us-west", "ap-northeast", "ap-southeast", "sa-east"];

/// Round trips in milliseconds.
const ROUND_TRIPS: [[u64; 6]; 6] = [
    [1, 70, 130, 220, 175, 180],
    [70, 1, 65, 160, 220, 115],
    [130, 65, 1, 105, 170, 175],
    [220, 160, 105, 1, 70, 260],
    [175, 220, 170, 70, 1, 320],
    [180, 115, 175, 260, 320, 1],
];

/// One way between two sites, in ns.
pub fn one_way(from: Site, to: Site) -> u64 {
    ROUND_TRIPS[from][to] * MS / 2
}

/// The longest round trip, in milliseconds, that a group may span: a leader without followers that confirm it reads under a
/// control lease, and two round trips (to the control leader, and from there to a majority) must fit into that.
const ROUND_TRIP_MAX: u64 = 100;

/// Where the nodes of a run are. Without sites all are in one place.
#[derive(Clone, Default, Debug)]
pub struct Sites {
    /// The sites of this run.
    pub used: Vec<Site>,
    /// Ten times nearer to each other than the figures say.
    near: bool,
    of: BTreeMap<NodeId, Site>,
}

impl Sites {
    /// As many sites as are near enough to each other: two, mostly.
    pub fn draw(random: &mut Random) -> Sites {
        let mut all: Vec<Site> = (0..NAMES.len()).collect();
        random.shuffle(&mut all);
        let mut used: Vec<Site> = Vec::new();
        for site in all {
            if used.iter().all(|other| ROUND_TRIPS[*other][site] <= ROUND_TRIP_MAX) {
                used.push(site);
            }
        }
        Sites { used, ..Sites::default() }
    }
    /// Three sites so near that everything else goes on as within one.
    pub fn near() -> Sites {
        Sites { used: vec![0, 1, 2], near: true, of: BTreeMap::new() }
    }
    /// The site of the machine of this number.
    pub fn of_machine(&self, machine: u32) -> Option<Site> {
        self.used.get(machine as usize % self.used.len().max(1)).copied()
    }
    pub fn name_of(&self, machine: u32) -> &'static str {
        self.of_machine(machine).map_or("here", |site| NAMES[site])
    }
    pub fn place(&mut self, node: NodeId, machine: u32) {
        if let Some(site) = self.of_machine(machine) {
            self.of.insert(node, site);
        }
    }
    /// One way from node to node in ns, when they are at different sites.
    pub fn distance(&self, from: NodeId, to: NodeId) -> Option<u64> {
        let (from, to) = (*self.of.get(&from)?, *self.of.get(&to)?);
        (from != to).then(|| ROUND_TRIPS[from][to] * MS / if self.near { 20 } else { 2 })
    }
    /// All links between a site and the others, both ways.
    pub fn links_of(&self, site: Site) -> Vec<(NodeId, NodeId)> {
        let at = |here: bool| self.of.iter().filter(move |(_, of)| (**of == site) == here).map(|(id, _)| *id);
        at(true).flat_map(|a| at(false).flat_map(move |b| [(a, b), (b, a)])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_symmetric_and_a_site_is_near_itself() {
        for (a, row) in ROUND_TRIPS.iter().enumerate() {
            assert_eq!(row[a], 1);
            for (b, ms) in row.iter().enumerate() {
                assert_eq!(*ms, ROUND_TRIPS[b][a]);
            }
        }
    }

    #[test]
    fn machines_are_spread_over_the_sites_of_the_run() {
        let mut sites = Sites { used: vec![0, 1], ..Sites::default() };
        (1..=3).for_each(|n| sites.place(NodeId(n), n));
        assert_eq!(sites.distance(NodeId(1), NodeId(2)), Some(35 * MS));
        assert_eq!(sites.distance(NodeId(1), NodeId(3)), None);
        assert_eq!(
            sites.links_of(0),
            [(NodeId(2), NodeId(1)), (NodeId(1), NodeId(2)), (NodeId(2), NodeId(3)), (NodeId(3), NodeId(2))]
        );
    }
}
