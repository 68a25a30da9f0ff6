//! Shows a plain table as a [`View`]: as it is, or as it was at a moment that a reader holds open.

use crate::call::View;
use data::table::{Found, Table, TableMoment};

/// A table as it is at `now_ms` of the log's time: keys whose time has come are absent.
pub struct TableView<'t> {
    pub table: &'t Table,
    pub now_ms: i64,
}

/// A table as it was at a moment, of which `now_ms` was the log's time.
// catalogue: J16
pub struct MomentView<'t> {
    pub moment: TableMoment<'t>,
    pub now_ms: i64,
}

fn is_alive(found: &Found<'_>, now_ms: i64) -> bool {
    found.expires_at_ms.is_none_or(|at| at > now_ms)
}

/// How many keys a random choice may meet that have expired before it gives up.
const RANDOM_TRIES: u64 = 100;

fn draws(draw: u64) -> impl Iterator<Item = u64> {
    (0..RANDOM_TRIES).map(move |attempt| draw.wrapping_add(attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn idle_seconds(now_ms: i64, last: u32) -> u64 {
    ((now_ms / 1000) as u64).saturating_sub(u64::from(last))
}

impl View for TableView<'_> {
    fn get(&self, key: &[u8]) -> Option<Found<'_>> {
        self.table.get(key).filter(|found| is_alive(found, self.now_ms))
    }
    fn len(&self) -> usize {
        self.table.len()
    }
    fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) -> u64 {
        self.table.scan(cursor, &mut |key, found| {
            if is_alive(&found, self.now_ms) {
                each(key, found);
            }
        })
    }
    fn random_key(&self, draw: u64) -> Option<(&[u8], Found<'_>)> {
        draws(draw).filter_map(|draw| self.table.random(draw)).find(|(_, found)| is_alive(found, self.now_ms))
    }
    fn memory_usage(&self, key: &[u8]) -> Option<usize> {
        self.get(key)?;
        self.table.memory_usage(key)
    }
    fn idle_seconds(&self, key: &[u8]) -> Option<u64> {
        Some(idle_seconds(self.now_ms, self.table.last_access_seconds(key)?))
    }
}

impl View for MomentView<'_> {
    fn get(&self, key: &[u8]) -> Option<Found<'_>> {
        self.moment.get(key).filter(|found| is_alive(found, self.now_ms))
    }
    fn len(&self) -> usize {
        self.moment.len()
    }
    fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], Found<'_>)) -> u64 {
        self.moment.scan(cursor, &mut |key, found| {
            if is_alive(&found, self.now_ms) {
                each(key, found);
            }
        })
    }
    fn random_key(&self, draw: u64) -> Option<(&[u8], Found<'_>)> {
        draws(draw)
            .filter_map(|draw| self.moment.random(draw))
            .find(|(_, found)| is_alive(found, self.now_ms))
    }
    fn memory_usage(&self, key: &[u8]) -> Option<usize> {
        self.get(key)?;
        self.moment.memory_usage(key)
    }
    fn idle_seconds(&self, key: &[u8]) -> Option<u64> {
        Some(idle_seconds(self.now_ms, self.moment.last_access_seconds(key)?))
    }
}
