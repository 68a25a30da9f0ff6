//! What quorums do not rule out, by name: each for the settings that allow it, with a seed whose replay shows it.
//!
//! `tercet sim --scenario anomalies --seed N` replays (`crates/simulator/src/anomalies.rs`), and its tests hold the seeds here to
//! that, and settings that rule an anomaly out to hundreds of seeds without it.
// catalogue: K4 K19 K20 K23

use alloc::format;
use alloc::string::String;
use data::leaderless::{ConflictPolicy, Policy};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anomaly {
    StaleRead,
    SloppyRead,
    ReadGoesBack,
    UnfinishedWrite,
    KeysInPart,
    LostWithDisks,
    LostIncrement,
}

impl Anomaly {
    pub const ALL: [Anomaly; 7] = [
        Anomaly::StaleRead,
        Anomaly::SloppyRead,
        Anomaly::ReadGoesBack,
        Anomaly::UnfinishedWrite,
        Anomaly::KeysInPart,
        Anomaly::LostWithDisks,
        Anomaly::LostIncrement,
    ];
    pub fn name(self) -> &'static str {
        match self {
            Anomaly::StaleRead => "stale-read",
            Anomaly::SloppyRead => "sloppy-read",
            Anomaly::ReadGoesBack => "read-goes-back",
            Anomaly::UnfinishedWrite => "unfinished-write",
            Anomaly::KeysInPart => "keys-in-part",
            Anomaly::LostWithDisks => "lost-with-disks",
            Anomaly::LostIncrement => "lost-increment",
        }
    }
    pub fn text(self) -> &'static str {
        match self {
            Anomaly::StaleRead => "a read misses a write that was acknowledged before it began",
            Anomaly::SloppyRead => "a read misses a write that stand-ins acknowledged before it began",
            Anomaly::ReadGoesBack => "a read shows a write, and a later one does not",
            Anomaly::UnfinishedWrite => "a write answered INDETERMINATE is seen later",
            Anomaly::KeysInPart => {
                "of two keys written at once a reader finds one changed and then the other not"
            }
            Anomaly::LostWithDisks => {
                "an acknowledged write is gone with the disks of those that acknowledged it"
            }
            Anomaly::LostIncrement => "two increments at once, both acknowledged, count as one",
        }
    }
    /// The first seed that shows it.
    pub fn seed(self) -> u64 {
        match self {
            Anomaly::StaleRead => 1,
            Anomaly::SloppyRead => 96,
            Anomaly::ReadGoesBack | Anomaly::UnfinishedWrite => 8,
            Anomaly::KeysInPart => 46,
            Anomaly::LostWithDisks => 4,
            Anomaly::LostIncrement => 2,
        }
    }
    pub fn is_possible(self, under: &Policy) -> bool {
        match self {
            Anomaly::StaleRead => !under.sloppy && !under.overlaps(),
            Anomaly::SloppyRead => under.sloppy,
            Anomaly::ReadGoesBack => !under.is_monotonic(),
            Anomaly::UnfinishedWrite | Anomaly::KeysInPart | Anomaly::LostWithDisks => true,
            Anomaly::LostIncrement => under.conflict == ConflictPolicy::LastWriteWins,
        }
    }
}

/// A section of the sheet: what is left under these settings, and how to see it happen.
pub(super) fn section(it: &Policy) -> String {
    let mut section = String::from("\nResidual anomalies, each with a seed that replays it\n");
    for anomaly in Anomaly::ALL.into_iter().filter(|anomaly| anomaly.is_possible(it)) {
        section.push_str(&format!(
            "- {}: {} [tercet sim --scenario anomalies --seed {}]\n",
            anomaly.name(),
            anomaly.text(),
            anomaly.seed()
        ));
    }
    section
}
