//! A copy's records in the node's log. They are numbered upwards per shard, over all runs of the node: storage lets go of
//! them by number. When the log has grown a checkpoint is written behind it, a part each tick, and what precedes the
//! checkpoint may go once its end is durable.
// catalogue: K17

use super::ShardCopy;
use crate::node::Node;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use data::codec::{DecodeError, Writer};
use data::record::{Header, Kind, Record};
use data::{Epoch, GroupId, Index, KeyspaceId, RequestId};
use protocol::leaderless::{Checkpoint, Durable, Logged, Restoring};

/// Bytes of a checkpoint written per tick: bounds the pause of a step, as for snapshots of groups.
const STEP_BYTES: usize = 64 << 10;

/// The state of one shard's copy as the disk has it.
#[derive(Default)]
pub struct RestoredShard {
    restoring: Restoring,
    last: Index,
    /// The number before the newest checkpoint's first record, and before that of the newest whole one.
    begun: Index,
    spent: Option<Index>,
    bytes: usize,
    broken: Option<DecodeError>,
}

impl RestoredShard {
    /// The next record, in the order of the log.
    pub(crate) fn take(&mut self, record: &Record<'_>) {
        self.last = record.header.index;
        self.bytes += record.len;
        match Logged::decode(record.payload) {
            Ok(logged) => {
                match &logged {
                    Logged::Begin(_) => self.begun = record.header.index.previous(),
                    Logged::End => self.spent = Some(self.begun),
                    Logged::Change(_) | Logged::Kept { .. } | Logged::Keys { .. } => {}
                }
                self.restoring.take(&logged);
            }
            Err(error) => self.broken = Some(error),
        }
    }
    /// Why the copy cannot be trusted.
    pub(super) fn broken(&self) -> Option<DecodeError> {
        self.broken
    }
}

/// A copy's log on this node.
///
/// Invariant: numbers ascend by one; `pending` holds records that no log write has yet, in their order.
pub(super) struct ShardLog {
    keyspace: KeyspaceId,
    group: GroupId,
    last: Index,
    pending: Vec<u8>,
    /// The replica's token of the last change that was written.
    token: u64,
    /// Bytes since the last checkpoint began, and of the last checkpoint.
    bytes: usize,
    checkpoint_bytes: usize,
    checkpoint: Option<(Checkpoint, Index)>,
    /// Ends of checkpoints on their way to the disk: the number of the end, and what may go then.
    ending: VecDeque<(Index, Index)>,
    /// Numbers of log writes on their way: the last record of each.
    written: VecDeque<(u64, Index)>,
    durable: Index,
    spent: Option<Index>,
    /// The copy was given back: what the log holds of it goes with the next checkpoint.
    sheds: bool,
}

impl ShardLog {
    /// Behind what the disk has; and the state that it adds up to, if there is any.
    pub fn go_on(
        keyspace: KeyspaceId,
        group: GroupId,
        restored: RestoredShard,
    ) -> (ShardLog, Option<Durable>) {
        let RestoredShard { restoring, last, bytes, spent, .. } = restored;
        let log = ShardLog {
            keyspace,
            group,
            last,
            pending: Vec::new(),
            token: 0,
            bytes,
            checkpoint_bytes: 0,
            checkpoint: None,
            ending: VecDeque::new(),
            written: VecDeque::new(),
            durable: last,
            spent,
            sheds: false,
        };
        (log, restoring.finish())
    }
    /// The first checkpoint: of a copy that begins.
    pub fn write_first(&mut self, durable: &Durable, time_ms: i64) {
        if let Some((mut checkpoint, begin)) = Checkpoint::begin(durable) {
            self.write(&begin, time_ms);
            while !checkpoint.step(durable, STEP_BYTES, |logged| self.write(logged, time_ms)) {}
            self.durable = Index(0);
        }
    }
    fn header(&mut self, time_ms: i64) -> Header {
        self.last = self.last.next();
        Header {
            kind: Kind::Leaderless,
            keyspace: self.keyspace,
            group: self.group,
            epoch: Epoch(0),
            index: self.last,
            commit: Index(0),
            time_ms,
            request: RequestId::NONE,
        }
    }
    fn write(&mut self, logged: &Logged, time_ms: i64) -> usize {
        let (before, header) = (self.pending.len(), self.header(time_ms));
        Record::write(&mut self.pending, &header, 0, |w| logged.encode(w));
        self.bytes += self.pending.len() - before;
        self.pending.len() - before
    }
    pub fn write_change(&mut self, token: u64, record: &protocol::leaderless::Record, time_ms: i64) {
        let (before, header) = (self.pending.len(), self.header(time_ms));
        Record::write(&mut self.pending, &header, 0, |w: &mut Writer<'_>| Logged::encode_change(record, w));
        self.bytes += self.pending.len() - before;
        self.token = token;
        self.sheds |= matches!(record, protocol::leaderless::Record::GivenBack { .. });
    }
    /// Moves what was written since the last time behind `into`; the token under which [`ShardLog::persisted`] answers.
    pub fn take(&mut self, into: &mut Vec<u8>) -> Option<u64> {
        if self.pending.is_empty() {
            return None;
        }
        into.append(&mut self.pending);
        self.written.push_back((self.token, self.last));
        Some(self.token)
    }
    /// A log write is durable; through which of the replica's tokens that is.
    pub fn persisted(&mut self, token: u64) -> u64 {
        if let Some((_, last)) = self.written.pop_front() {
            self.durable = last;
        }
        while let Some((end, through)) = self.ending.front().copied()
            && end <= self.durable
        {
            self.ending.pop_front();
            self.spent = Some(through);
        }
        token
    }
    /// The number of the newest record, and of the newest that the disk has.
    pub fn last(&self) -> Index {
        self.last
    }
    pub fn durable(&self) -> Index {
        self.durable
    }
    /// Records through this number say nothing any more; told once.
    pub fn spent(&mut self) -> Option<Index> {
        self.spent.take()
    }
    pub fn begun(&self) -> bool {
        self.checkpoint.is_some() || !self.ending.is_empty()
    }
    /// Whether the log has grown enough for the next checkpoint: by more than the last one took, and not by a little.
    fn is_due(&self, bytes_min: usize) -> bool {
        self.sheds || self.bytes >= bytes_min.max(2 * self.checkpoint_bytes)
    }
    fn begin(&mut self, durable: &Durable, time_ms: i64) {
        if let Some((checkpoint, begin)) = Checkpoint::begin(durable) {
            let through = self.last;
            (self.bytes, self.sheds) = (0, false);
            self.checkpoint_bytes = self.write(&begin, time_ms);
            self.checkpoint = Some((checkpoint, through));
        }
    }
    fn step(&mut self, durable: &Durable, time_ms: i64) {
        let Some((mut checkpoint, through)) = self.checkpoint.take() else { return };
        let mut bytes = 0;
        let ended = checkpoint.step(durable, STEP_BYTES, |logged| {
            let written = self.write(logged, time_ms);
            bytes += written;
            written
        });
        self.checkpoint_bytes += bytes;
        if ended {
            self.ending.push_back((self.last, through));
        } else {
            self.checkpoint = Some((checkpoint, through));
        }
    }
}

impl Node {
    /// Begins a checkpoint when the log has grown, and goes on with one.
    pub(super) fn tend_checkpoint(&mut self, group: GroupId) {
        let (bytes_min, time_ms) = (self.config.snapshot_log_bytes, self.now.wall.middle_ms());
        let copy = self.leaderless.shards.get_mut(&group).and_then(|it| it.copy.as_mut());
        let Some(ShardCopy { replica, log, .. }) = copy.filter(|_| !self.disk_full) else { return };
        if !log.begun() && log.is_due(bytes_min) {
            log.begin(replica.durable(), time_ms);
        }
        log.step(replica.durable(), time_ms);
    }

    /// Other groups' records wait behind this shard's.
    pub(crate) fn free_shard_log(&mut self, group: GroupId) {
        let time_ms = self.now.wall.middle_ms();
        let copy = self.leaderless.shards.get_mut(&group).and_then(|it| it.copy.as_mut());
        if let Some(ShardCopy { replica, log, .. }) = copy
            && !log.begun()
        {
            log.begin(replica.durable(), time_ms);
        }
    }
}
