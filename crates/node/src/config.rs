//! What a node is started with.

use crate::answers::Answers;
use crate::ledger::Ledger;
use crate::replay::{Unlike, apply};
use crate::shortfall::Shortfall;
use crate::sites::RestoredSite;
use crate::snapshot::LoadedSnapshot;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use control::ClusterMap;
use data::causal::MergeEngine;
use data::codec::DecodeError;
use data::record::{Kind, Record};
use data::table::{Seed, Table};
use data::{Epoch, GroupId, Incarnation, Index, KeyspaceId, NodeId, Position, Process};
use protocol::lease;
use protocol::single_leader::{LogWindow, Mark};

/// Settings and identity of a node, fixed for the life of its process.
#[derive(Clone, Debug)]
pub struct Config {
    pub node: NodeId,
    pub name: String,
    pub incarnation: Incarnation,
    pub process: Process,
    pub control: control::Config,
    pub lease: lease::Timings,
    /// Password of the default user; `None` asks for none.
    pub password: Option<String>,
    pub connections_max: usize,
    /// Source of every random choice of this node.
    pub seed: u64,
    /// A snapshot is taken after so many bytes of a group's log.
    pub snapshot_log_bytes: usize,
    /// A copy that is far behind gets snapshot and log at this rate; the log faster when it does not gain on it.
    pub transfer_bytes_per_second: u32,
    /// What leaders on this node send to each other site, at most; no limit without.
    pub site_bytes_per_second: Option<u32>,
    /// How often copies are compared.
    pub audit: crate::audit::Pace,
    /// Runs the functions of keyspaces whose conflicts are merged by one.
    pub merge_engine: &'static dyn MergeEngine,
    /// The number of its engine's format; tests say another one than [`data::log_format::ENGINE_FORMAT`].
    pub engine_format: u16,
    pub version: &'static str,
}

/// The state of one group as the disk has it. Made while the driver reads snapshots and log, then handed to
/// [`crate::Node::new`].
pub struct RestoredGroup {
    pub keyspace: KeyspaceId,
    pub(crate) table: Option<Table>,
    pub(crate) answers: Answers,
    pub(crate) log: LogWindow,
    /// What the log still holds of the time before the snapshot, without a gap.
    early: Option<LogWindow>,
    starts: Vec<Position>,
    pub(crate) applied: Index,
    pub(crate) commit: Index,
    pub(crate) promised: Epoch,
    pub(crate) snapshot: Option<(Mark, u64)>,
    /// The first entry that did something else here than where it was made.
    pub(crate) unlike: Option<(Position, Unlike)>,
    pub(crate) shortfall: Shortfall,
    /// As in [`crate::group::Group`].
    pub(crate) map_needed: u64,
    pub(crate) site: RestoredSite,
}

impl RestoredGroup {
    pub fn new(keyspace: KeyspaceId) -> RestoredGroup {
        RestoredGroup {
            keyspace,
            table: None,
            answers: Answers::default(),
            log: LogWindow::new(Mark::default(), Vec::new(), 0),
            early: None,
            starts: Vec::new(),
            applied: Index(0),
            commit: Index(0),
            promised: Epoch(0),
            snapshot: None,
            unlike: None,
            shortfall: Shortfall::default(),
            map_needed: 0,
            site: RestoredSite::default(),
        }
    }
    fn from_snapshot(snapshot: LoadedSnapshot, len: u64) -> RestoredGroup {
        let LoadedSnapshot { head, answers, table, shortfall, map_needed, site } = snapshot;
        RestoredGroup {
            keyspace: head.keyspace,
            table: Some(table),
            answers,
            log: LogWindow::new(head.mark, head.starts.clone(), head.time_ms),
            early: None,
            starts: head.starts,
            applied: head.mark.position.index,
            commit: head.mark.position.index,
            promised: head.mark.position.epoch,
            snapshot: Some((head.mark, len)),
            unlike: None,
            shortfall,
            map_needed,
            site: RestoredSite { state: site, ..RestoredSite::default() },
        }
    }
    pub fn last_index(&self) -> Index {
        self.log.last().position.index
    }
}

/// Everything that a node finds on its disk.
#[derive(Default)]
pub struct Restored {
    pub groups: BTreeMap<GroupId, RestoredGroup>,
    /// Copies of leaderless shards.
    pub shards: BTreeMap<GroupId, crate::leaderless::RestoredShard>,
    /// Payloads of the control plane's records, oldest first.
    pub control: Vec<Bytes>,
    pub ledger: Ledger,
    /// Batches that the log holds.
    pub log_batches: u64,
    /// The map that the answer to a request to join carried.
    pub map: Option<Arc<ClusterMap>>,
}

impl Restored {
    /// A snapshot of a group, whole: head and table bytes as [`crate::Output::WriteSnapshot`] gave them, in pieces.
    pub fn snapshot(
        &mut self,
        pieces: &mut dyn FnMut() -> Option<Vec<u8>>,
        len: u64,
    ) -> Result<GroupId, DecodeError> {
        let snapshot = LoadedSnapshot::read(pieces)?;
        let group = snapshot.head.group;
        self.groups.insert(group, RestoredGroup::from_snapshot(snapshot, len));
        Ok(group)
    }

    /// The next record of the log, in the order of the log; `bytes` are the record's own.
    pub fn record(&mut self, record: &Record<'_>, bytes: &[u8]) {
        let header = &record.header;
        if header.kind == Kind::Control {
            self.control.push(Bytes::copy_from_slice(record.payload));
            return;
        }
        if header.kind == Kind::Ledger {
            return self.ledger.note(record);
        }
        if header.kind == Kind::Leaderless {
            return self.shards.entry(header.group).or_default().take(record);
        }
        let group = self.groups.entry(header.group).or_insert_with(|| RestoredGroup::new(header.keyspace));
        match header.kind {
            Kind::Truncate => {
                group.promised = group.promised.max(header.epoch);
                group.log.truncate(header.index);
                group.early.take_if(|early| !early.truncate(header.index));
            }
            Kind::Fence => group.promised = group.promised.max(header.epoch),
            kind if kind.is_entry()
                && record.gap().map_or(header.index, |gap| gap.first) == group.last_index().next() =>
            {
                group.take_entry(header.commit, Bytes::copy_from_slice(&bytes[..record.len]));
            }
            kind if kind.is_entry() => group.take_early(record, &bytes[..record.len]),
            _ => {}
        }
    }
}

impl RestoredGroup {
    /// An entry that does not follow from the history before it is refused here and fetched from a peer; so are entries of a
    /// copy that a snapshot has replaced since.
    fn take_entry(&mut self, commit: Index, entry: Bytes) {
        if self.log.append(entry).is_ok() {
            self.commit = self.commit.max(commit);
            self.apply_committed();
        }
    }
    /// An entry that the snapshot holds too. If it turns out that it was lost, the ledger wants it: the window reaches back behind
    /// the snapshot as far as the log is there and leads up to it.
    fn take_early(&mut self, record: &Record<'_>, entry: &[u8]) {
        let Some((mark, _)) = self.snapshot.filter(|(mark, _)| self.log.last() == *mark) else { return };
        let here = Mark { position: record.header.position(), hash: record.hash };
        let index = here.position.index;
        let entry = Bytes::copy_from_slice(entry);
        let follows = self.early.as_mut().is_some_and(|early| early.append(entry).is_ok());
        if !follows {
            let begun = self.starts.partition_point(|start| start.index <= index);
            let starts = self.starts[..begun].to_vec();
            self.early = Some(LogWindow::new(here, starts, record.header.time_ms));
        }
        if let Some(early) = &mut self.early {
            early.shed(crate::ledger::BYTES_MAX, index);
        }
        if here == mark
            && let Some(early) = self.early.take()
        {
            self.log = early;
        }
    }
    fn apply_committed(&mut self) {
        let through = self.commit.min(self.last_index());
        if through <= self.applied {
            return;
        }
        // The seed is the keyspace's: the table is made again with it once the map is known, if it differs.
        let table = self.table.get_or_insert_with(|| Table::new(Seed(0, 0)));
        let (from, answers, unlike) = (self.applied.next(), &mut self.answers, &mut self.unlike);
        let (shortfall, needed, site) = (&mut self.shortfall, &mut self.map_needed, &mut self.site);
        self.log.each(from, through, |record| {
            if record.header.kind == Kind::Site {
                return site.take(record, answers);
            }
            shortfall.note(record, None);
            let applied = apply(record, table, answers, shortfall.is_whole());
            *needed = applied.map_needed.unwrap_or(0).max(*needed);
            if applied.left_out {
                shortfall.leave_out(record.header.index);
            }
            if let Some(found) = applied.unlike {
                unlike.get_or_insert((record.header.position(), found));
            }
        });
        self.applied = through;
        // What is committed here may be lost all the same: its end is kept for the ledger.
        self.log.shed(crate::ledger::BYTES_MAX, through);
    }
}
