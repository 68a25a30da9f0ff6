//! Watched keys (WATCH), kept by the leader. A watch breaks when one of its keys is written, and ends with the leader:
//! an EXEC that names a watch nobody knows is aborted.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use data::Instant;

#[derive(Debug)]
struct Watch {
    keys: Vec<Box<[u8]>>,
    broken: bool,
    since: Instant,
}

#[derive(Debug, Default)]
pub struct Watches {
    next: u64,
    by_number: BTreeMap<u64, Watch>,
    by_key: BTreeMap<Box<[u8]>, BTreeSet<u64>>,
}

impl Watches {
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }
    /// Begins a watch, or adds keys to one; returns its number. `seed` keeps the numbers of two leaders apart.
    pub fn watch<'k>(
        &mut self,
        now: Instant,
        seed: u64,
        number: Option<u64>,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> u64 {
        let number = number.unwrap_or_else(|| {
            self.next += 1;
            (seed << 32) | self.next
        });
        let known = self.by_number.contains_key(&number);
        // Adding to a watch that this leader does not know: it broke with its leader.
        let broken = !known && number >> 32 != seed & 0xffff_ffff;
        let watch = self.by_number.entry(number).or_insert(Watch { keys: Vec::new(), broken, since: now });
        for key in keys {
            let key: Box<[u8]> = key.into();
            if self.by_key.entry(key.clone()).or_default().insert(number) {
                watch.keys.push(key);
            }
        }
        number
    }
    /// Ends a watch; true when nothing it watched was written since.
    pub fn end(&mut self, number: u64) -> bool {
        let Some(watch) = self.by_number.remove(&number) else { return false };
        for key in &watch.keys {
            if let Some(numbers) = self.by_key.get_mut(key) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        !watch.broken
    }
    /// A key was written.
    pub fn written(&mut self, key: &[u8]) {
        for number in self.by_key.get(key).into_iter().flatten() {
            if let Some(watch) = self.by_number.get_mut(number) {
                watch.broken = true;
            }
        }
    }
    /// Every key was written.
    pub fn all_written(&mut self) {
        self.by_number.values_mut().for_each(|watch| watch.broken = true);
    }
    pub fn clear(&mut self) {
        self.by_number.clear();
        self.by_key.clear();
    }
    /// Ends watches begun before `horizon`: their connection went away unheard.
    pub fn expire(&mut self, horizon: Instant) {
        let old: Vec<u64> =
            self.by_number.iter().filter(|(_, w)| w.since < horizon).map(|(n, _)| *n).collect();
        for number in old {
            self.end(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&'static str]) -> impl Iterator<Item = &'static [u8]> {
        names.iter().map(|n| n.as_bytes()).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn a_write_breaks_the_watches_of_its_key_only() {
        let mut watches = Watches::default();
        let a = watches.watch(Instant::ZERO, 7, None, keys(&["x", "y"]));
        let b = watches.watch(Instant::ZERO, 7, None, keys(&["z"]));
        watches.written(b"y");
        assert!(!watches.end(a));
        assert!(watches.end(b));
        assert!(watches.is_empty());
    }

    #[test]
    fn another_leaders_watch_is_broken() {
        let mut first = Watches::default();
        let number = first.watch(Instant::ZERO, 7, None, keys(&["x"]));
        let mut second = Watches::default();
        assert!(!second.end(number));
        let same = second.watch(Instant::ZERO, 8, Some(number), keys(&["y"]));
        assert!(!second.end(same));
    }
}
