//! The control log as the consensus library reads it: entries in memory, behind a base that the map contains.

use crate::map::ClusterMap;
use data::codec::Writer;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::util::limit_size;
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};
use std::collections::VecDeque;
use std::sync::Arc;

/// Invariants: `base <= map.version <= last index`; entries are without gaps from `base + 1`; `conf` is the
/// configuration as of `map.version`.
#[derive(Clone, Default)]
pub(crate) struct ControlLog {
    pub hard: HardState,
    pub conf: ConfState,
    /// Index and term of the entry before the first one held.
    pub base: (u64, u64),
    pub entries: VecDeque<Entry>,
    /// The replicated state with every entry up to its version.
    pub map: Arc<ClusterMap>,
}

/// Entries kept behind the applied ones for followers that lag: below it they get the map instead.
const KEEP: u64 = 64;

impl ControlLog {
    pub fn last(&self) -> u64 {
        self.entries.back().map_or(self.base.0, |entry| entry.index)
    }
    pub fn applied(&self) -> u64 {
        self.map.version
    }
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        let at = index.checked_sub(self.base.0 + 1)?;
        self.entries.get(usize::try_from(at).ok()?).map(|entry| entry.term)
    }
    /// Appends, dropping what the new entries replace.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.base.0 && first.index <= self.last() + 1, "the control log has no gaps");
        self.entries.truncate((first.index - self.base.0 - 1) as usize);
        self.entries.extend(entries.iter().cloned());
    }
    /// Drops entries that the map contains, except the newest few. Whether anything went.
    pub fn compact(&mut self) -> bool {
        let upto = self.applied().saturating_sub(KEEP);
        let before = self.base.0;
        while let Some(entry) = self.entries.front()
            && entry.index <= upto
        {
            self.base = (entry.index, entry.term);
            self.entries.pop_front();
        }
        self.base.0 > before
    }
    /// Replaces everything by a map from the control leader.
    pub fn restore(&mut self, index: u64, term: u64, conf: ConfState, map: ClusterMap) {
        self.entries.clear();
        self.base = (index, term);
        self.hard.commit = self.hard.commit.max(index);
        self.conf = conf;
        self.map = Arc::new(map);
    }
}

impl Storage for ControlLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard.clone(), self.conf.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last() + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let skip = (low - self.base.0 - 1) as usize;
        let take = high.saturating_sub(low) as usize;
        let mut entries: Vec<Entry> = self.entries.iter().skip(skip).take(take).cloned().collect();
        limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.base.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.term_at(index).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let term = self.term_at(self.applied());
        let (true, Some(term)) = (self.applied() >= request_index, term) else {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        };
        let mut bytes = Vec::new();
        self.map.encode(&mut Writer::new(&mut bytes));
        let mut snapshot = Snapshot { data: bytes.into(), ..Snapshot::default() };
        let meta = snapshot.mut_metadata();
        meta.index = self.applied();
        meta.term = term;
        meta.set_conf_state(self.conf.clone());
        Ok(snapshot)
    }
}
