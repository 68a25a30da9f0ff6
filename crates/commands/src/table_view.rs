//! Shows a plain table at one moment of the log as a [`View`].

use crate::call::View;
use data::table::{Found, Table};

/// A table as it is at `now_ms` of the log's time: keys whose time has come are absent.
pub struct TableView<'t> {
    pub table: &'t Table,
    pub now_ms: i64,
}

impl TableView<'_> {
    fn is_alive(&self, found: &Found<'_>) -> bool {
        found.expires_at_ms.is_none_or(|at| at > self.now_ms)
    }
}

/// How many keys a random choice may meet that have expired before it gives up.
const RANDOM_TRIES: u64 = 100;

impl View for TableView<'_> {
    fn get(&self, key: &[u8]) -> Option<Found<'_>> {
        self.table.get(key).filter(|found| self.is_alive(found))
    }
    fn len(&self) -> usize {
        self.table.len()
    }
    fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) -> u64 {
        self.table.scan(cursor, &mut |key, found| {
            if self.is_alive(&found) {
                each(key, found);
            }
        })
    }
    fn random_key(&self, draw: u64) -> Option<(&[u8], Found<'_>)> {
        (0..RANDOM_TRIES)
            .filter_map(|attempt| {
                self.table.random(draw.wrapping_add(attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            })
            .find(|(_, found)| self.is_alive(found))
    }
    fn memory_usage(&self, key: &[u8]) -> Option<usize> {
        self.get(key)?;
        self.table.memory_usage(key)
    }
    fn idle_seconds(&self, key: &[u8]) -> Option<u64> {
        let last = u64::from(self.table.last_access_seconds(key)?);
        Some(((self.now_ms / 1000) as u64).saturating_sub(last))
    }
}
