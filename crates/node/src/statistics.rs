//! Counts that INFO and the metrics show. Never reset by anything but CONFIG RESETSTAT.

use alloc::collections::BTreeMap;
use core::time::Duration;

/// Bounds of the histogram of ages, ms. A guess: from a site's round trip to what nobody wants to read.
pub const AGES_MS: [u64; 8] = [1, 5, 20, 50, 100, 500, 1000, 5000];

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
    /// Ranges that leaders here had compared, that copies here compared, those that differed, and copies that were made anew.
    pub audits_made: u64,
    pub audits_compared: u64,
    pub audits_differed: u64,
    pub copies_rebuilt: u64,
    /// Reads answered by this node's own copies, those that waited for one, and those of them that a leader answered in the end.
    pub reads_from_copies: u64,
    pub reads_parked: u64,
    pub reads_sent_on: u64,
    pub reads_from_snapshots: u64,
    /// Reads refused because what their session had seen is lost.
    pub sessions_lost: u64,
    /// Reads from copies by the age that was proved: at most [`AGES_MS`], older, or of no proved age.
    pub ages: [u64; AGES_MS.len() + 2],
    /// Sum of the proved ages, ms.
    pub ages_ms: u64,
    pub by_command: BTreeMap<&'static str, u64>,
}

impl Statistics {
    /// A copy of this proved age was read.
    pub(crate) fn note_age(&mut self, age: Option<Duration>) {
        let ms = age.map(|age| age.as_nanos().div_ceil(1_000_000) as u64);
        self.ages_ms += ms.unwrap_or(0);
        self.ages[ms.map_or(AGES_MS.len() + 1, |ms| AGES_MS.partition_point(|bound| *bound < ms))] += 1;
    }
}
