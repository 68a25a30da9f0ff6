//! What `tercet up` may do to the nodes of its process: distances between them, cuts, pauses, kills. Only a [`Handle`] that
//! brings a [`Tryout`] has any of it. `tercet node` gives none, so that nothing can do this to a production cluster.
//!
//! [`Handle`]: crate::Handle

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What lies between two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Way {
    /// How long a message is under way: half of the round trip.
    pub delay: Duration,
    /// Nothing gets through, either way.
    pub is_cut: bool,
}

/// The ways between the nodes of one process, which are named by their peer addresses. Two that it does not know are side
/// by side.
#[derive(Default, Debug)]
pub struct Network {
    ways: Mutex<BTreeMap<(String, String), Way>>,
    changes: AtomicU64,
}

impl Network {
    pub fn way(&self, a: &str, b: &str) -> Way {
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.get(&pair(a, b)).copied().unwrap_or_default()
    }
    /// How often a way was changed: who has seen as many changes need not ask again.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
    /// `delay` is for one direction, and the same in both.
    pub fn set_delay(&self, a: &str, b: &str, delay: Duration) {
        self.change(a, b, |way| way.delay = delay);
    }
    /// False when it was so before.
    pub fn set_cut(&self, a: &str, b: &str, is_cut: bool) -> bool {
        self.change(a, b, |way| way.is_cut = is_cut)
    }

    fn change(&self, a: &str, b: &str, how: impl FnOnce(&mut Way)) -> bool {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        let way = ways.entry(pair(a, b)).or_default();
        let before = *way;
        how(way);
        let changed = *way != before;
        if changed {
            self.changes.fetch_add(1, Ordering::Release);
        }
        changed
    }
}

fn pair(a: &str, b: &str) -> (String, String) {
    let (a, b) = (a.to_owned(), b.to_owned());
    if a <= b { (a, b) } else { (b, a) }
}

const RUNNING: u8 = 0;
const PAUSED: u8 = 1;
const KILLED: u8 = 2;

/// Holds or ends one life of a node. A life that was killed stays so.
#[derive(Default, Debug)]
pub struct Switch(AtomicU8);

impl Switch {
    pub fn pause(&self) {
        self.turn(RUNNING, PAUSED);
    }
    pub fn resume(&self) {
        self.turn(PAUSED, RUNNING);
    }
    pub fn kill(&self) {
        self.0.store(KILLED, Ordering::Release);
    }
    pub fn is_paused(&self) -> bool {
        self.0.load(Ordering::Acquire) == PAUSED
    }
    pub fn is_killed(&self) -> bool {
        self.0.load(Ordering::Acquire) == KILLED
    }
    fn turn(&self, from: u8, to: u8) {
        // A killed node is neither paused nor resumed: then this changes nothing.
        let _ = self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// What one life of a node is given of it.
#[derive(Clone, Default, Debug)]
pub struct Tryout {
    pub network: Arc<Network>,
    pub switch: Arc<Switch>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_the_same_in_both_directions() {
        let network = Network::default();
        network.set_delay("b", "a", Duration::from_millis(40));
        assert!(network.set_cut("a", "b", true) && !network.set_cut("b", "a", true));
        assert_eq!(network.way("a", "b"), Way { delay: Duration::from_millis(40), is_cut: true });
        assert_eq!((network.way("b", "a"), network.changes()), (network.way("a", "b"), 2));
        assert_eq!(network.way("a", "c"), Way::default());
    }

    #[test]
    fn a_killed_life_stays_killed() {
        let switch = Switch::default();
        switch.pause();
        assert!(switch.is_paused());
        switch.kill();
        switch.resume();
        switch.pause();
        assert!(switch.is_killed() && !switch.is_paused());
    }
}
