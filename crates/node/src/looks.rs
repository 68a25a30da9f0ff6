//! How often reads found their key: what Redis counts as keyspace hits and misses.

use crate::node::Node;
use commands::View;
use commands::table_view::TableView;
use core::cell::Cell;
use core::ops::AddAssign;
use data::table::Found;

/// Look-ups of commands that only read.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Looks {
    pub hits: u64,
    pub misses: u64,
}

impl AddAssign for Looks {
    fn add_assign(&mut self, more: Looks) {
        self.hits += more.hits;
        self.misses += more.misses;
    }
}

/// A view that counts the keys that it was asked for.
pub struct CountedView<'t> {
    table: TableView<'t>,
    looks: Cell<Looks>,
}

impl<'t> CountedView<'t> {
    pub fn new(table: TableView<'t>) -> CountedView<'t> {
        CountedView { table, looks: Cell::default() }
    }
    pub fn looks(&self) -> Looks {
        self.looks.get()
    }
}

impl View for CountedView<'_> {
    fn get(&self, key: &[u8]) -> Option<Found<'_>> {
        let found = self.table.get(key);
        let Looks { hits, misses } = self.looks.get();
        let hit = u64::from(found.is_some());
        self.looks.set(Looks { hits: hits + hit, misses: misses + 1 - hit });
        found
    }
    fn len(&self) -> usize {
        self.table.len()
    }
    fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) -> u64 {
        self.table.scan(cursor, each)
    }
    fn random_key(&self, draw: u64) -> Option<(&[u8], Found<'_>)> {
        self.table.random_key(draw)
    }
    fn memory_usage(&self, key: &[u8]) -> Option<usize> {
        self.table.memory_usage(key)
    }
    fn idle_seconds(&self, key: &[u8]) -> Option<u64> {
        self.table.idle_seconds(key)
    }
}

impl Node {
    /// Takes what the groups counted into the statistics.
    pub(crate) fn gather_looks(&mut self) {
        for group in self.groups.values_mut() {
            let Looks { hits, misses } = core::mem::take(&mut group.looks);
            self.statistics.key_hits += hits;
            self.statistics.key_misses += misses;
        }
    }
}
