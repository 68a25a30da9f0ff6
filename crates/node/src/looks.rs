//! How often reads found their key: what Redis counts as keyspace hits and misses.

use crate::node::Node;
use commands::View;
use commands::table_view::TableView;
use core::cell::Cell;
use core::ops::AddAssign;
use data::SlotSet;
use data::slot::slot;
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

/// Cells of the table that a search for some key of the owned slots looks at.
const RANDOM_STEPS: usize = 1_000;

/// A view that counts the keys that it was asked for.
pub struct CountedView<'t> {
    table: TableView<'t>,
    /// While slots move: commands without keys show those of these slots only.
    owned: Option<&'t SlotSet>,
    looks: Cell<Looks>,
}

impl<'t> CountedView<'t> {
    pub fn new(table: TableView<'t>, owned: Option<&'t SlotSet>) -> CountedView<'t> {
        CountedView { table, owned, looks: Cell::default() }
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
    /// While slots move every key is looked at.
    fn len(&self) -> usize {
        let Some(owned) = self.owned else { return self.table.len() };
        let (mut count, mut cursor) = (0, 0);
        loop {
            cursor =
                self.table.table.scan(cursor, &mut |key, _| count += usize::from(owned.contains(slot(key))));
            if cursor == 0 {
                return count;
            }
        }
    }
    fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) -> u64 {
        let Some(owned) = self.owned else { return self.table.scan(cursor, each) };
        self.table.scan(cursor, &mut |key, found| {
            if owned.contains(slot(key)) {
                each(key, found);
            }
        })
    }
    fn random_key(&self, draw: u64) -> Option<(&[u8], Found<'_>)> {
        let Some(owned) = self.owned else { return self.table.random_key(draw) };
        let draws =
            (0..RANDOM_STEPS as u64).map(|n| draw.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        draws.filter_map(|draw| self.table.random_key(draw)).find(|(key, _)| owned.contains(slot(key)))
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
