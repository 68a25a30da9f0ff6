//! What a multi-leader keyspace is asked to do: how its sites exchange writes, and what becomes of conflicts.

use crate::Site;
use crate::causal::FUNCTION_LEN_MAX;
use crate::codec::{DecodeError, Reader, Writer};
use crate::leaderless::FUNCTION_BOUNDS;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// Sites of one keyspace at most. A guess: every status names all of them, and every status goes to all of them.
pub const SITES_MAX: usize = 16;

/// What becomes of writes of one key that did not know of each other.
// catalogue: J2 J3 J5 J9 J13 J14
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Conflict {
    /// Values merge by the rules of their types.
    #[default]
    Crdt,
    /// As `Crdt`, and people or programs settle what is concurrent.
    Siblings,
    /// The highest stamp stays.
    LastWriteWins,
    /// Only the key's home takes writes.
    Home,
    /// A majority of the sites agrees to a write before it is made.
    Block,
    /// As `Crdt`; of concurrent strings readers are shown what this function gives ([`crate::causal::Merging`]).
    Merge { function: Arc<str> },
}

impl Conflict {
    /// Those that a name alone says.
    const NAMED: [Conflict; 5] =
        [Conflict::Crdt, Conflict::Siblings, Conflict::LastWriteWins, Conflict::Home, Conflict::Block];
    pub fn name(&self) -> &'static str {
        match self {
            Conflict::Merge { .. } => "merge",
            Conflict::Crdt => "crdt",
            Conflict::Siblings => "siblings",
            Conflict::LastWriteWins => "last-write-wins",
            Conflict::Home => "home",
            Conflict::Block => "block",
        }
    }
    /// The one of this name; nothing for the one that takes a function.
    pub fn named(name: &str) -> Option<Conflict> {
        Conflict::NAMED.into_iter().find(|it| it.name() == name)
    }
    /// Which of the three ways to deal with conflicts it takes.
    // catalogue: J18
    pub fn family(&self) -> &'static str {
        match self {
            Conflict::Crdt | Conflict::LastWriteWins | Conflict::Merge { .. } => "converge",
            Conflict::Siblings => "resolve",
            Conflict::Home | Conflict::Block => "avoid",
        }
    }
}

/// Which site hands writes on to which, by the names of sites.
// catalogue: I6 I7 I8
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Topology {
    #[default]
    AllToAll,
    /// In the order in which the keyspace names its sites.
    Circular,
    Star {
        hub: Site,
    },
    /// Child and parent; the root is no child.
    Tree {
        edges: Vec<(Site, Site)>,
    },
}

impl Topology {
    /// Reads what [`Topology`] displays: `all-to-all`, `circular`, `star:<hub>`, `tree:<child>-><parent>,...`.
    ///
    /// # Errors
    /// What is wrong with the text, for its user.
    pub fn parse(text: &str) -> Result<Topology, &'static str> {
        let site = |text: &str| Site::named(text).ok_or("a topology names sites");
        match text.split_once(':') {
            None if text == "all-to-all" => Ok(Topology::AllToAll),
            None if text == "circular" => Ok(Topology::Circular),
            Some(("star", hub)) => Ok(Topology::Star { hub: site(hub)? }),
            Some(("tree", edges)) => {
                let edge = |edge: &str| -> Result<(Site, Site), &'static str> {
                    let (child, parent) = edge.split_once("->").ok_or(EDGE)?;
                    Ok((site(child)?, site(parent)?))
                };
                Ok(Topology::Tree { edges: edges.split(',').map(edge).collect::<Result<_, _>>()? })
            }
            _ => Err("TOPOLOGY is all-to-all, circular, star:<hub> or tree:<child>-><parent>,..."),
        }
    }
    /// The first contradiction with these sites, as a sentence for the user.
    ///
    /// # Errors
    /// When there is one.
    pub fn check(&self, sites: &[Site]) -> Result<(), &'static str> {
        match self {
            Topology::AllToAll | Topology::Circular => Ok(()),
            Topology::Star { hub } if sites.contains(hub) => Ok(()),
            Topology::Star { .. } => Err(NOT_A_SITE),
            Topology::Tree { edges } => {
                if edges.iter().any(|(child, parent)| !sites.contains(child) || !sites.contains(parent)) {
                    return Err(NOT_A_SITE);
                }
                let parent = |site: &Site| edges.iter().find(|(child, _)| child == site).map(|it| it.1);
                let twice = edges
                    .iter()
                    .enumerate()
                    .any(|(at, (site, _))| edges[..at].iter().any(|it| it.0 == *site));
                let roots = sites.iter().filter(|site| parent(site).is_none()).count();
                if roots != 1 || twice {
                    return Err(ONE_ROOT);
                }
                for site in sites {
                    let mut above = parent(site);
                    let mut steps = 0;
                    while let Some(site) = above {
                        above = parent(&site);
                        steps += 1;
                        if steps > sites.len() {
                            return Err(ONE_ROOT);
                        }
                    }
                }
                Ok(())
            }
        }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Topology::AllToAll => w.u8(1),
            Topology::Circular => w.u8(2),
            Topology::Star { hub } => {
                w.u8(3);
                hub.encode(w);
            }
            Topology::Tree { edges } => {
                w.u8(4);
                w.list(edges, |w, (child, parent)| {
                    child.encode(w);
                    parent.encode(w);
                });
            }
        }
    }
    /// # Errors
    /// When the bytes are not what [`Topology::encode`] writes.
    pub fn decode(r: &mut Reader<'_>) -> Result<Topology, DecodeError> {
        Ok(match r.u8()? {
            1 => Topology::AllToAll,
            2 => Topology::Circular,
            3 => Topology::Star { hub: Site::decode(r)? },
            4 => Topology::Tree { edges: r.list(|r| Ok((Site::decode(r)?, Site::decode(r)?)))? },
            _ => return Err(DecodeError::Invalid("topology")),
        })
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topology::AllToAll => f.write_str("all-to-all"),
            Topology::Circular => f.write_str("circular"),
            Topology::Star { hub } => write!(f, "star:{hub}"),
            Topology::Tree { edges } => {
                let edge = |(child, parent): &(Site, Site)| alloc::format!("{child}->{parent}");
                let edges: Vec<String> = edges.iter().map(edge).collect();
                write!(f, "tree:{}", edges.join(","))
            }
        }
    }
}

impl Conflict {
    /// The text of its function, if it has one.
    pub fn function(&self) -> Option<&Arc<str>> {
        match self {
            Conflict::Merge { function } => Some(function),
            Conflict::Crdt
            | Conflict::Siblings
            | Conflict::LastWriteWins
            | Conflict::Home
            | Conflict::Block => None,
        }
    }
    /// # Errors
    /// What is wrong with it, as a sentence for its user.
    pub fn check(&self) -> Result<(), &'static str> {
        match self.function() {
            Some(function) if function.len() > FUNCTION_LEN_MAX => Err(FUNCTION_BOUNDS),
            _ => Ok(()),
        }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u8(match self {
            Conflict::Crdt => 1,
            Conflict::Siblings => 2,
            Conflict::LastWriteWins => 3,
            Conflict::Home => 4,
            // Older members cannot read it: none is made while there are any.
            Conflict::Merge { .. } => 5,
            // Nor this one before the map's level says that all of them know it.
            Conflict::Block => 6,
        });
        self.function().into_iter().for_each(|function| w.text(function));
    }
    /// # Errors
    /// When the byte is none that [`Conflict::encode`] writes.
    pub fn decode(r: &mut Reader<'_>) -> Result<Conflict, DecodeError> {
        Ok(match r.u8()? {
            1 => Conflict::Crdt,
            2 => Conflict::Siblings,
            3 => Conflict::LastWriteWins,
            4 => Conflict::Home,
            5 => Conflict::Merge { function: r.text()?.into() },
            6 => Conflict::Block,
            _ => return Err(DecodeError::Invalid("conflict policy")),
        })
    }
}

/// The first contradiction among the sites of a keyspace, as a sentence for its user.
///
/// # Errors
/// When there is one.
pub fn check_sites(sites: &[Site]) -> Result<(), &'static str> {
    if sites.is_empty() || sites.len() > SITES_MAX {
        return Err(SITES_BOUNDS);
    }
    match sites.iter().enumerate().any(|(at, site)| sites[..at].contains(site)) {
        true => Err(REPEATED),
        false => Ok(()),
    }
}

const EDGE: &str = "an edge of a tree is <child>-><parent>";
pub const SITES_BOUNDS: &str = "SITES names between 1 and 16 sites";
pub const REPEATED: &str = "SITES names a site twice";
pub const NOT_A_SITE: &str = "TOPOLOGY names a site that is none of the keyspace's";
pub const ONE_ROOT: &str = "a tree has one site without a parent, and every other one leads to it";

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(names: &[&str]) -> Vec<Site> {
        names.iter().filter_map(|name| Site::named(name)).collect()
    }

    #[test]
    fn a_topology_is_read_as_it_is_shown() {
        for text in ["all-to-all", "circular", "star:eu", "tree:us->eu,ap->eu"] {
            let topology = Topology::parse(text).expect("a topology");
            assert_eq!(alloc::format!("{topology}"), text);
            assert_eq!(topology.check(&sites(&["eu", "us", "ap"])), Ok(()));
            let mut bytes = Vec::new();
            topology.encode(&mut Writer::new(&mut bytes));
            assert_eq!(Topology::decode(&mut Reader::new(&bytes)), Ok(topology));
        }
        for text in ["mesh", "star:", "tree:eu", "tree:", "circular:eu"] {
            assert!(Topology::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn contradictions_are_named() {
        let check = |text: &str| Topology::parse(text).and_then(|it| it.check(&sites(&["eu", "us", "ap"])));
        assert_eq!(check("star:sa"), Err(NOT_A_SITE));
        assert_eq!(check("tree:us->eu"), Err(ONE_ROOT));
        assert_eq!(check("tree:us->ap,ap->us"), Err(ONE_ROOT));
        assert_eq!(check("tree:us->eu,us->ap"), Err(ONE_ROOT));
        assert_eq!(check_sites(&sites(&["eu", "us", "eu"])), Err(REPEATED));
        assert_eq!(check_sites(&[]), Err(SITES_BOUNDS));
    }
}
