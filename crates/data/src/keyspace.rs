//! What a keyspace is asked to do: its architecture and the settings of its replication.

use crate::codec::{DecodeError, Reader, Writer};
use crate::table::Seed;
use crate::{KeyspaceId, LogFormat, Site};
use alloc::string::String;

/// A write that may wait waits so long: a little less than the 5 s after which redis-py gives up and sends again.
const BLOCK_MS: u32 = 4000;
/// Each shard is a group of its own with a log, a view and elections.
const SHARDS_MAX: u32 = 256;
/// Smaller than this, one turn's writes would be a gap; larger, a leader could not hold it in memory.
const BACKLOG_BYTES_MIN: u32 = 1 << 10;
const BACKLOG_BYTES_MAX: u32 = 1 << 30;
/// For recording a degraded rule, and acknowledging what waited for it.
const DEGRADE_MS: u32 = 1000;

/// How many electable followers must hold an entry before it is committed: the heart of a single-leader keyspace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CommitRule {
    /// No follower, and one that falls behind by more than the backlog goes on without what it missed: copies may differ for ever.
    BestEffort,
    /// No follower: the leader alone. What a failover drops is bounded by the lag.
    Async,
    /// So many followers, whoever they are.
    SemiSync { acks: u32 },
    /// Half of the electable set, rounded down: with the leader a majority.
    #[default]
    Majority,
    /// Every electable replica. The set shrinks when one lags, but never below `minimum` replicas, leader included.
    InSyncSet { minimum: u32 },
    /// Every electable replica, and the set shrinks with its membership only: one copy that is away stops writes.
    Synchronous,
    /// Every electable replica, as with `InSyncSet`, and entries go from one to the next: the leader sends each once.
    Chain { minimum: u32 },
}

impl CommitRule {
    pub fn name(self) -> &'static str {
        match self {
            CommitRule::BestEffort => "best-effort",
            CommitRule::Async => "async",
            CommitRule::SemiSync { .. } => "semi-sync",
            CommitRule::Majority => "majority",
            CommitRule::InSyncSet { .. } => "in-sync-set",
            CommitRule::Synchronous => "synchronous",
            CommitRule::Chain { .. } => "chain",
        }
    }
    /// k: followers out of an electable set of `electable` replicas (leader included) that must hold an entry.
    pub fn followers_needed(self, electable: usize) -> usize {
        match self {
            CommitRule::BestEffort | CommitRule::Async => 0,
            CommitRule::SemiSync { acks } => acks as usize,
            CommitRule::Majority => electable / 2,
            // A set that was begun anew with fewer, or founded so, commits nothing below its minimum.
            CommitRule::InSyncSet { minimum } | CommitRule::Chain { minimum } => {
                electable.max(minimum as usize).saturating_sub(1)
            }
            CommitRule::Synchronous => electable.saturating_sub(1),
        }
    }
    /// Replicas of an electable set of this size that an election must seal, so that it meets every write quorum:
    /// e - k. Async needs one: the best that can be reached.
    pub fn seals_needed(self, electable: usize) -> usize {
        match self {
            CommitRule::BestEffort | CommitRule::Async => 1.min(electable),
            // A set that is too small for the rule commits nothing, and what it committed when it was larger is on all of it.
            _ => electable.saturating_sub(self.followers_needed(electable)).max(1).min(electable),
        }
    }
    pub fn encode(self, w: &mut Writer<'_>) {
        match self {
            CommitRule::BestEffort => w.u8(7),
            CommitRule::Async => w.u8(1),
            CommitRule::SemiSync { acks } => {
                w.u8(2);
                w.u32(acks);
            }
            CommitRule::Majority => w.u8(3),
            CommitRule::InSyncSet { minimum } => {
                w.u8(4);
                w.u32(minimum);
            }
            CommitRule::Synchronous => w.u8(5),
            CommitRule::Chain { minimum } => {
                w.u8(6);
                w.u32(minimum);
            }
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<CommitRule, DecodeError> {
        Ok(match r.u8()? {
            1 => CommitRule::Async,
            2 => CommitRule::SemiSync { acks: r.u32()? },
            3 => CommitRule::Majority,
            4 => CommitRule::InSyncSet { minimum: r.u32()? },
            5 => CommitRule::Synchronous,
            6 => CommitRule::Chain { minimum: r.u32()? },
            7 => CommitRule::BestEffort,
            _ => return Err(DecodeError::Invalid("commit rule")),
        })
    }
    /// Whether the leader acknowledges alone.
    pub fn asks_nobody(self) -> bool {
        matches!(self, CommitRule::BestEffort | CommitRule::Async)
    }
    /// Whether a follower that lags leaves the electable set, so that writes go on without it.
    pub fn drops_laggards(self) -> bool {
        matches!(self, CommitRule::InSyncSet { .. } | CommitRule::Chain { .. })
    }
    /// The fewest nodes that the rule can ever be met with; an electable set does not shrink below it.
    pub fn nodes_needed(self) -> usize {
        match self {
            CommitRule::BestEffort | CommitRule::Async | CommitRule::Majority | CommitRule::Synchronous => 0,
            CommitRule::SemiSync { acks } => acks as usize + 1,
            CommitRule::InSyncSet { minimum } | CommitRule::Chain { minimum } => minimum as usize,
        }
    }
}

/// Who may lead next where acknowledged writes may be on the leader alone (`async`, or degraded to it).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Election {
    /// The most advanced that can be reached; what it lacks is lost, and announced.
    #[default]
    Best,
    /// Nobody before the old leader's copy has reported: nothing is lost, and nothing is written meanwhile.
    Wait,
}

impl Election {
    pub fn name(self) -> &'static str {
        match self {
            Election::Best => "best",
            Election::Wait => "wait",
        }
    }
}

/// What happens when a write is not committed within the time-out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnTimeout {
    /// It is answered INDETERMINATE then.
    #[default]
    Fail,
    /// It goes on waiting, until just before clients give up by themselves.
    Block,
    /// Semi-sync only: the control plane records that the leader goes on alone, then the write is acknowledged; undone the
    /// same way once enough followers keep up.
    Degrade,
}

impl OnTimeout {
    pub fn name(self) -> &'static str {
        match self {
            OnTimeout::Fail => "fail",
            OnTimeout::Block => "block",
            OnTimeout::Degrade => "degrade",
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
    /// It is committed and in the copy's state: reads there show it. Decides nothing of what is committed: only the reply waits.
    Applied,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Received => "received",
            Level::Flushed => "flushed",
            Level::Applied => "applied",
        }
    }
    pub fn encode(self, w: &mut Writer<'_>) {
        w.u8(match self {
            Level::Received => 1,
            Level::Flushed => 2,
            Level::Applied => 3,
        });
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Level, DecodeError> {
        Ok(match r.u8()? {
            1 => Level::Received,
            2 => Level::Flushed,
            3 => Level::Applied,
            _ => return Err(DecodeError::Invalid("level")),
        })
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
    /// Groups that the slots are divided among. Fixed once the keyspace is in use.
    pub shards: u32,
    /// Whether a node sends on what another has to execute; else it names that node (MOVED).
    pub forward: bool,
    /// Wanted number of replicas; a cluster with fewer nodes starts with what it has.
    pub replicas: u32,
    /// Copies beside them that are only read: they never vote, never lead and are never counted.
    pub read_replicas: u32,
    /// The only site at which copies are placed that count; anywhere without.
    pub site: Option<Site>,
    /// Where the copies are placed that are only read: to go on from when `site` is lost. Each knows how far it is behind.
    pub recovery_site: Option<Site>,
    /// How many copies the leader feeds, and each of those in turn; 0: the leader feeds all.
    pub fan_out: u32,
    pub commit: CommitRule,
    /// `best-effort`: a follower that has more than so many bytes to come goes on without them.
    pub backlog_bytes: u32,
    pub level: Level,
    pub flush: Flush,
    /// How long a write may wait for its commit before it is answered INDETERMINATE.
    pub timeout_ms: u32,
    pub on_timeout: OnTimeout,
    pub election: Election,
    /// Writes are refused while fewer followers than this keep up; 0 never refuses.
    pub min_replicas_to_write: u32,
    /// A follower keeps up when it had everything so many seconds ago, or less.
    pub min_replicas_max_lag_s: u32,
    /// What its leaders' next entries hold.
    pub log: LogFormat,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            shards: 1,
            forward: true,
            replicas: 3,
            read_replicas: 0,
            site: None,
            recovery_site: None,
            fan_out: 0,
            commit: CommitRule::default(),
            // A guess: a second of a busy keyspace's writes, which is what Redis grants a replica by default several times over.
            backlog_bytes: 16 << 20,
            level: Level::default(),
            flush: Flush::default(),
            // Below redis-py's 5 s socket time-out with room for its retries.
            timeout_ms: 1000,
            on_timeout: OnTimeout::default(),
            election: Election::default(),
            min_replicas_to_write: 0,
            // As in Redis.
            min_replicas_max_lag_s: 10,
            log: LogFormat::default(),
        }
    }
}

impl Settings {
    /// The first contradiction, as a sentence for the user.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.replicas == 0 || self.replicas > 64 {
            return Err("REPLICAS must be between 1 and 64");
        }
        if self.shards == 0 || self.shards > SHARDS_MAX {
            return Err("SHARDS must be between 1 and 256");
        }
        if self.read_replicas > 64 {
            return Err("READ-REPLICAS must be at most 64");
        }
        if self.recovery_site.is_some() && (self.recovery_site == self.site || self.read_replicas == 0) {
            return Err("RECOVERY-SITE is another one than SITE, and takes READ-REPLICAS");
        }
        if self.fan_out > 64 {
            return Err("FAN-OUT must be at most 64");
        }
        if self.timeout_ms == 0 || self.timeout_ms > 600_000 {
            return Err("TIMEOUT must be between 1 and 600000 ms");
        }
        if let CommitRule::InSyncSet { minimum } | CommitRule::Chain { minimum } = self.commit
            && (minimum == 0 || minimum > self.replicas)
        {
            return Err("ACKS must leave a minimum in-sync set between 1 and REPLICAS");
        }
        if let CommitRule::SemiSync { acks } = self.commit
            && (acks == 0 || acks >= self.replicas)
        {
            return Err("ACKS must be between 1 and one less than REPLICAS");
        }
        if self.min_replicas_to_write >= self.replicas {
            return Err("MIN-REPLICAS-TO-WRITE must be below REPLICAS");
        }
        if self.min_replicas_max_lag_s == 0 || self.min_replicas_max_lag_s > 86_400 {
            return Err("MIN-REPLICAS-MAX-LAG must be between 1 and 86400 s");
        }
        if !(BACKLOG_BYTES_MIN..=BACKLOG_BYTES_MAX).contains(&self.backlog_bytes) {
            return Err("BACKLOG must be between 1 KiB and 1 GiB");
        }
        if self.commit == CommitRule::BestEffort && self.log != LogFormat::Row {
            return Err(
                "COMMIT best-effort takes LOG row: behind a gap a command would compute something else, and whole values would mix what is missing with what is not",
            );
        }
        if self.commit == CommitRule::BestEffort && self.fan_out > 0 {
            return Err(
                "COMMIT best-effort does not go with FAN-OUT: only a leader drops what a follower misses",
            );
        }
        if self.on_timeout == OnTimeout::Degrade && !matches!(self.commit, CommitRule::SemiSync { .. }) {
            return Err("ON-TIMEOUT degrade goes with COMMIT semi-sync");
        }
        if self.flush != Flush::Always && self.level == Level::Flushed {
            return Err("LEVEL flushed needs FLUSH always: with another FLUSH choose LEVEL received");
        }
        if let Flush::EveryMs(0) = self.flush {
            return Err("FLUSH needs a positive number of milliseconds");
        }
        Ok(())
    }
    /// What a copy has done with every entry that it acknowledges.
    pub fn level_held(&self) -> Level {
        match (self.level, self.flush) {
            (Level::Applied, Flush::Always) => Level::Flushed,
            (Level::Applied, _) => Level::Received,
            (level, _) => level,
        }
    }
    /// How long a write waits for its commit before it is answered INDETERMINATE, ms.
    pub fn patience_ms(&self) -> u32 {
        match self.on_timeout {
            OnTimeout::Fail => self.timeout_ms,
            OnTimeout::Block => self.timeout_ms.max(BLOCK_MS),
            // What waits when the rule is degraded shall be acknowledged under the new one.
            OnTimeout::Degrade => self.timeout_ms.saturating_add(DEGRADE_MS),
        }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.shards);
        w.bool(self.forward);
        w.u32(self.replicas);
        w.u32(self.read_replicas);
        w.option(self.site, |w, site| site.encode(w));
        w.option(self.recovery_site, |w, site| site.encode(w));
        w.u32(self.fan_out);
        self.commit.encode(w);
        self.level.encode(w);
        match self.flush {
            Flush::Always => w.u8(1),
            Flush::EveryMs(ms) => {
                w.u8(2);
                w.u32(ms);
            }
            Flush::Os => w.u8(3),
        }
        w.u32(self.timeout_ms);
        w.u8(match self.on_timeout {
            OnTimeout::Fail => 1,
            OnTimeout::Block => 2,
            OnTimeout::Degrade => 3,
        });
        w.bool(self.election == Election::Wait);
        w.u32(self.min_replicas_to_write);
        w.u32(self.min_replicas_max_lag_s);
        self.log.encode(w);
        w.u32(self.backlog_bytes);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Settings, DecodeError> {
        Ok(Settings {
            shards: r.u32()?,
            forward: r.bool()?,
            replicas: r.u32()?,
            read_replicas: r.u32()?,
            site: r.option(Site::decode)?,
            recovery_site: r.option(Site::decode)?,
            fan_out: r.u32()?,
            commit: CommitRule::decode(r)?,
            level: Level::decode(r)?,
            flush: match r.u8()? {
                1 => Flush::Always,
                2 => Flush::EveryMs(r.u32()?),
                3 => Flush::Os,
                _ => return Err(DecodeError::Invalid("flush")),
            },
            timeout_ms: r.u32()?,
            on_timeout: match r.u8()? {
                1 => OnTimeout::Fail,
                2 => OnTimeout::Block,
                3 => OnTimeout::Degrade,
                _ => return Err(DecodeError::Invalid("on-timeout")),
            },
            election: if r.bool()? { Election::Wait } else { Election::Best },
            min_replicas_to_write: r.u32()?,
            min_replicas_max_lag_s: r.u32()?,
            log: LogFormat::decode(r)?,
            backlog_bytes: r.u32()?,
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
