//! What a keyspace is asked to do: its architecture and the settings of its replication.

use crate::KeyspaceId;
use crate::codec::{DecodeError, Reader, Writer};
use crate::table::Seed;
use alloc::string::String;

/// How many electable followers must hold an entry before it is committed: the heart of a single-leader keyspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CommitRule {
    /// No follower: the leader alone. What a failover drops is bounded by the lag.
    Async,
    /// Half of the electable set, rounded down: with the leader a majority.
    #[default]
    Majority,
    /// Every electable replica. The set shrinks when one lags, but never below `minimum` replicas, leader included.
    InSyncSet { minimum: u32 },
}

impl CommitRule {
    pub fn name(self) -> &'static str {
        match self {
            CommitRule::Async => "async",
            CommitRule::Majority => "majority",
            CommitRule::InSyncSet { .. } => "in-sync-set",
        }
    }
    /// k: followers out of an electable set of `electable` replicas (leader included) that must hold an entry.
    pub fn followers_needed(self, electable: usize) -> usize {
        match self {
            CommitRule::Async => 0,
            CommitRule::Majority => electable / 2,
            CommitRule::InSyncSet { .. } => electable.saturating_sub(1),
        }
    }
    /// Replicas of an electable set of this size that an election must seal, so that it meets every write quorum:
    /// e - k. Async needs one: the best that can be reached.
    pub fn seals_needed(self, electable: usize) -> usize {
        match self {
            CommitRule::Async => 1.min(electable),
            _ => electable - self.followers_needed(electable),
        }
    }
}

/// What a copy must have done with an entry before it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// It is in the operating system's cache.
    Received,
    /// It survives a power cut.
    #[default]
    Flushed,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Received => "received",
            Level::Flushed => "flushed",
        }
    }
}

/// When the log of a keyspace is flushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Flush {
    /// Before anything is acknowledged.
    #[default]
    Always,
    /// Every so many milliseconds.
    EveryMs(u32),
    /// When the operating system sees fit.
    Os,
}

/// Settings of a single-leader keyspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Wanted number of replicas; a cluster with fewer nodes starts with what it has.
    pub replicas: u32,
    pub commit: CommitRule,
    pub level: Level,
    pub flush: Flush,
    /// How long a write may wait for its commit before it is answered INDETERMINATE.
    pub timeout_ms: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            replicas: 3,
            commit: CommitRule::default(),
            level: Level::default(),
            flush: Flush::default(),
            // Below redis-py's 5 s socket time-out with room for its retries.
            timeout_ms: 1000,
        }
    }
}

impl Settings {
    /// The first contradiction, as a sentence for the user.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.replicas == 0 || self.replicas > 64 {
            return Err("REPLICAS must be between 1 and 64");
        }
        if self.timeout_ms == 0 || self.timeout_ms > 600_000 {
            return Err("TIMEOUT must be between 1 and 600000 ms");
        }
        if let CommitRule::InSyncSet { minimum } = self.commit
            && (minimum == 0 || minimum > self.replicas)
        {
            return Err("ACKS must leave a minimum in-sync set between 1 and REPLICAS");
        }
        if self.flush != Flush::Always && self.level == Level::Flushed {
            return Err("LEVEL flushed needs FLUSH always: with another FLUSH choose LEVEL received");
        }
        if let Flush::EveryMs(0) = self.flush {
            return Err("FLUSH needs a positive number of milliseconds");
        }
        Ok(())
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.replicas);
        match self.commit {
            CommitRule::Async => w.u8(1),
            CommitRule::Majority => w.u8(3),
            CommitRule::InSyncSet { minimum } => {
                w.u8(4);
                w.u32(minimum);
            }
        }
        w.u8(match self.level {
            Level::Received => 1,
            Level::Flushed => 2,
        });
        match self.flush {
            Flush::Always => w.u8(1),
            Flush::EveryMs(ms) => {
                w.u8(2);
                w.u32(ms);
            }
            Flush::Os => w.u8(3),
        }
        w.u32(self.timeout_ms);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Settings, DecodeError> {
        Ok(Settings {
            replicas: r.u32()?,
            commit: match r.u8()? {
                1 => CommitRule::Async,
                3 => CommitRule::Majority,
                4 => CommitRule::InSyncSet { minimum: r.u32()? },
                _ => return Err(DecodeError::Invalid("commit rule")),
            },
            level: match r.u8()? {
                1 => Level::Received,
                2 => Level::Flushed,
                _ => return Err(DecodeError::Invalid("level")),
            },
            flush: match r.u8()? {
                1 => Flush::Always,
                2 => Flush::EveryMs(r.u32()?),
                3 => Flush::Os,
                _ => return Err(DecodeError::Invalid("flush")),
            },
            timeout_ms: r.u32()?,
        })
    }
}

/// A keyspace as the control plane records it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyspace {
    pub id: KeyspaceId,
    /// "0" to "15" for the numbered ones; others start with a letter.
    pub name: String,
    pub settings: Settings,
    /// Seed of its tables: drawn when it was made, the same on all replicas, so that SCAN cursors survive a failover.
    pub seed: Seed,
}

impl Keyspace {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.id.encode(w);
        w.text(&self.name);
        self.settings.encode(w);
        w.u64(self.seed.0);
        w.u64(self.seed.1);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Keyspace, DecodeError> {
        Ok(Keyspace {
            id: KeyspaceId::decode(r)?,
            name: r.text()?,
            settings: Settings::decode(r)?,
            seed: Seed(r.u64()?, r.u64()?),
        })
    }
}

/// Whether a name may be given to a keyspace: a letter, then letters, digits, `-`, `_`, `.`; at most 64 bytes.
pub fn is_valid_name(name: &str) -> bool {
    name.len() <= 64
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
