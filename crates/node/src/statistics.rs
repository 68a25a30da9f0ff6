//! Counts that INFO and the metrics show. Never reset by anything but CONFIG RESETSTAT.

use alloc::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Statistics {
    pub connections: u64,
    pub connections_refused: u64,
    pub commands: u64,
    pub errors: u64,
    pub key_hits: u64,
    pub key_misses: u64,
    pub expired_keys: u64,
    pub indeterminate: u64,
    pub refused_writes: u64,
    pub forwarded: u64,
    pub reads_confirmed: u64,
    pub reads_leased: u64,
    pub elections_won: u64,
    pub entries: u64,
    pub published: u64,
    pub by_command: BTreeMap<&'static str, u64>,
}
