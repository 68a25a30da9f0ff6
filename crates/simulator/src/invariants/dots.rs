//! A life of a node gives out each dot once: what any copy knows of it, it knows to be given out, however often it was started.
//! Otherwise one name would mean two writes, and copies that know the first take the second for known.
//!
//! Source: rule 1 of `protocol::leaderless`, "no dot was sent that is not durable"; bugs: LL-08, LL-09, LL-11

use super::Violation;
use crate::host::Host;
use data::causal::Actor;
use std::collections::BTreeMap;

pub const NAME: &str = "a dot is given out once";

/// The highest counter of each actor that any other node's copy has known.
#[derive(Default)]
pub struct Dots {
    known: BTreeMap<Actor, u64>,
    /// Where actors of nodes stood that were given back an old disk, and since when they went on from there.
    restored: BTreeMap<Actor, (u64, Option<u64>)>,
}

/// How long a node with an old disk may go on: until it has been told. Nobody listens to it meanwhile, but a peer that does not know
/// yet may ask it for something, and through a link that is cut in one direction for as long as that lasts.
const UNTOLD_NS: u64 = 8_000_000_000;

impl Dots {
    /// After a turn of a node that was given back an old disk: it is behind what it gave out, and may not go on from there.
    pub fn check_restored(&mut self, now: u64, host: &Host) -> Option<Violation> {
        for (own, last) in host.node.as_ref()?.shard_states().map(|state| state.minted) {
            let known = self.known.get(&own).copied().unwrap_or_default();
            let (begin, since) = self.restored.entry(own).or_insert((last, None));
            let (begin, goes_on) = (*begin, last > *begin);
            if begin < known && goes_on && now - *since.get_or_insert(now) > UNTOLD_NS {
                let text =
                    format!("{own} goes on from {begin} with an old disk, and another copy knows {known}");
                return Some(Violation { property: NAME, text });
            }
        }
        None
    }
    /// After a turn.
    pub fn check(&mut self, host: &Host) -> Option<Violation> {
        let node = host.node.as_ref()?;
        for state in node.shard_states() {
            let (own, last) = state.minted;
            if let Some(known) = self.known.get(&own).filter(|known| **known > last) {
                let text = format!("{own} goes on behind {last}, and another copy knows {known}");
                return Some(Violation { property: NAME, text });
            }
            for (actor, _, last) in state.copy.context().ranges().filter(|range| range.0 != own) {
                let known = self.known.entry(actor).or_default();
                *known = last.max(*known);
            }
        }
        None
    }
}
