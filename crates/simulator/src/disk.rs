//! A node's disk: the production log, recovery and snapshots on a simulated medium, driven as the server drives them.

use bytes::Bytes;
use control::ClusterMap;
use data::codec::{Reader, Writer};
use data::record::Record;
use data::{GroupId, Index, KeyspaceId, NodeId, Position};
use node::Restored;
use protocol::single_leader::Mark;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use storage::disk::{read_all, replace};
use storage::job::{FlushJob, SegmentJob, WriteJob};
use storage::{
    Blockers, Disk, Error, Files, Identity, Log, LogConfig, Options, Owner, ReceivedSnapshot, SimDisk,
    SnapshotHeader, SnapshotReader, SnapshotReceiver, SnapshotWriter, snapshot,
};

/// Small, so that segments come and go within a short run.
const SEGMENT_BYTES: u64 = 64 << 10;
/// The map that came with the answer to a request to join.
const JOINED: &str = "joined";
/// Writes on their way at once.
const WRITES_MAX: usize = 2;

/// Something that takes time.
#[derive(Debug)]
pub enum Job {
    /// Puts the bytes into the operating system's cache; a flush may follow.
    Write(WriteJob),
    Flush(WriteJob),
    FlushAll(FlushJob),
    Segment(SegmentJob),
}

/// The disk of one node over all its processes.
pub struct NodeDisk {
    pub medium: SimDisk,
    /// The run of the machine: changes at a power cut.
    boot: u64,
    running: Option<Running>,
}

struct Running {
    shared: Arc<dyn Disk>,
    files: Files,
    log: Log,
    identity: Identity,
    /// Persist requests that wait: token, batch, whether it must be flushed.
    tokens: VecDeque<(u64, u64, bool)>,
    /// Requests behind a full batch.
    backlog: VecDeque<(u64, Bytes, bool)>,
    flush_next: bool,
    writers: BTreeMap<GroupId, (Mark, SnapshotWriter)>,
    receivers: BTreeMap<GroupId, (Mark, SnapshotReceiver)>,
    failed: bool,
    /// There was no room for the next segment.
    no_room: bool,
    /// The node was told that its log waits for room.
    told_full: bool,
}

/// What a start finds.
pub struct Opened {
    pub restored: Restored,
    pub identity: Identity,
}

fn stored(mark: Mark) -> storage::Mark {
    storage::Mark { position: mark.position, hash: mark.hash }
}
/// A place in the log as the protocol names it.
pub fn received(mark: storage::Mark) -> Mark {
    Mark { position: mark.position, hash: mark.hash }
}

impl Default for NodeDisk {
    fn default() -> NodeDisk {
        NodeDisk::new()
    }
}

impl NodeDisk {
    pub fn new() -> NodeDisk {
        NodeDisk { medium: SimDisk::new(), boot: 1, running: None }
    }

    /// A joiner keeps the map that it was answered with before it starts as a member.
    pub fn remember(&mut self, map: &ClusterMap) -> storage::Result<()> {
        let mut bytes = Vec::new();
        map.encode(&mut Writer::new(&mut bytes));
        replace(&self.medium, "", JOINED, &bytes)
    }

    /// The process ends. `power`: so does the machine, and what was not flushed is kept or lost as `seed` says.
    pub fn end(&mut self, power: bool, seed: u64) {
        self.running = None;
        if power {
            self.boot += 1;
            self.medium.crash(seed);
        } else {
            self.medium.kill();
        }
    }

    /// A new process finds what is there. `flushed_only`: nothing was promised in this cluster before it was flushed.
    pub fn open(&mut self, cluster: u64, node: NodeId, flushed_only: bool) -> storage::Result<Opened> {
        let shared: Arc<dyn Disk> = Arc::new(self.medium.clone());
        let mut identity = match Identity::load(&*shared)? {
            Some(identity) => identity,
            None => Identity::new(cluster, node, &format!("n{}", node.0)),
        };
        identity.check_cluster(cluster)?;
        identity.begin_run(&*shared, &self.boot.to_string(), flushed_only)?;
        let joined = read_all(&*shared, JOINED).ok();
        let map = joined.and_then(|bytes| ClusterMap::decode(&mut Reader::new(&bytes)).ok());
        let mut restored = Restored { map: map.map(Arc::new), ..Restored::default() };
        let mut marks: BTreeMap<GroupId, SnapshotHeader> = BTreeMap::new();
        for (group, position) in snapshot::clean_up(&*shared)? {
            let reader = SnapshotReader::open(&*shared, group, position)?;
            marks.insert(group, load(&reader, &mut restored)?);
        }
        let owner = Owner { cluster, node };
        let mut each = |record: &Record<'_>, bytes: &[u8]| restored.record(record, bytes);
        let mut recovered = storage::recover(&shared, &Options { owner }, &mut each)?;
        let files = Files::new(Arc::clone(&shared));
        let config = LogConfig { owner, process: identity.process.0, segment_bytes: SEGMENT_BYTES };
        let mut log = Log::open(&files, config, recovered.take_stream(0))?;
        for (group, header) in marks {
            // The power may have gone between the snapshot's last byte and the record that names it.
            let base = recovered.groups.get(&group).and_then(|state| state.base);
            if base.is_none_or(|base| base.position < header.mark.position) {
                append_snapshot_record(&mut log, group, &header)?;
            }
        }
        restored.log_batches = log.durable_batch();
        let running = Running {
            shared,
            files,
            log,
            identity: identity.clone(),
            tokens: VecDeque::new(),
            backlog: VecDeque::new(),
            flush_next: false,
            writers: BTreeMap::new(),
            receivers: BTreeMap::new(),
            failed: false,
            no_room: false,
            told_full: false,
        };
        self.running = Some(running);
        Ok(Opened { restored, identity })
    }

    pub fn is_open(&self) -> bool {
        self.running.is_some()
    }

    pub fn persist(&mut self, token: u64, records: Bytes, flush: bool) -> storage::Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        running.backlog.push_back((token, records, flush));
        running.gather()
    }

    /// Work that may begin now.
    pub fn jobs(&mut self) -> storage::Result<Vec<Job>> {
        let mut jobs = Vec::new();
        let Some(running) = self.running.as_mut().filter(|it| !it.failed) else { return Ok(jobs) };
        loop {
            if let Some(job) = running.log.segment_job() {
                jobs.push(Job::Segment(job));
            }
            if running.log.in_flight() >= WRITES_MAX {
                break;
            }
            let Some(job) = running.log.seal_batch(running.flush_next)? else { break };
            running.flush_next = false;
            jobs.push(Job::Write(job));
            running.gather()?;
        }
        if running.log.flush_wanted()
            && let Some(job) = running.log.flush_job()
        {
            jobs.push(Job::FlushAll(job));
        }
        Ok(jobs)
    }

    /// The clock says that everything written should be flushed; old segments go.
    pub fn flush_by_clock(&mut self) -> storage::Result<Option<Job>> {
        let Some(running) = self.running.as_mut().filter(|it| !it.failed) else { return Ok(None) };
        for path in running.log.reclaim() {
            running.files.remove(&path)?;
        }
        Ok(running.log.flush_job().map(Job::FlushAll))
    }

    /// Whether the log waits for room on the disk, when that has changed.
    pub fn news_of_room(&mut self) -> Option<bool> {
        let running = self.running.as_mut().filter(|it| !it.failed)?;
        let full = running.no_room && running.log.pending_bytes() > 0;
        (core::mem::replace(&mut running.told_full, full) != full).then_some(full)
    }

    /// Batches that survive a power cut.
    pub fn durable(&self) -> u64 {
        self.running.as_ref().map_or(0, |it| it.log.durable_batch())
    }
    /// Batches so far, durable or not.
    pub fn batches(&self) -> u64 {
        self.running.as_ref().map_or(0, |it| it.log.next_batch())
    }

    /// Whom the oldest part of the log is kept for.
    pub fn log_blockers(&self) -> Blockers {
        self.running.as_ref().filter(|it| !it.failed).map(|it| it.log.blockers()).unwrap_or_default()
    }

    /// Carries a job out. A write that wants a flush gives that as the next job.
    pub fn perform(&mut self, job: Job) -> storage::Result<Option<Job>> {
        let Some(running) = self.running.as_mut().filter(|it| !it.failed) else { return Ok(None) };
        match job {
            Job::Write(job) => {
                job.write(&running.files)?;
                if job.flush {
                    return Ok(Some(Job::Flush(job)));
                }
                running.log.completed(job.batch);
            }
            Job::Flush(job) => {
                job.flush(&running.files)?;
                running.log.completed(job.batch);
            }
            Job::FlushAll(job) => {
                job.perform(&running.files)?;
                running.log.flushed(&job);
            }
            Job::Segment(job) => match job.perform(&running.files) {
                Ok(()) => {
                    running.no_room = false;
                    running.log.segment_ready(job);
                }
                Err(error) => {
                    running.no_room = true;
                    running.log.segment_failed(&error);
                    if !error.is_full() {
                        return Err(error);
                    }
                }
            },
        }
        Ok(None)
    }

    /// The last persist request that is done, if any became so.
    pub fn persisted(&mut self) -> Option<u64> {
        let running = self.running.as_mut().filter(|it| !it.failed)?;
        let (written, durable) = (running.log.written_batch(), running.log.durable_batch());
        let mut last = None;
        while let Some((token, batch, flush)) = running.tokens.front() {
            if *batch > if *flush { durable } else { written } {
                break;
            }
            last = Some(*token);
            running.tokens.pop_front();
        }
        last
    }

    /// Nothing is tried again after a failure; the next start is told.
    pub fn fail(&mut self) {
        if let Some(running) = &mut self.running {
            running.failed = true;
            // That this cannot be written either must be expected.
            let _ = running.identity.note_disk_failure(&*running.shared);
        }
    }
    pub fn has_failed(&self) -> bool {
        self.running.as_ref().is_some_and(|it| it.failed)
    }
    pub fn is_poisoned(&self) -> bool {
        self.running.as_ref().is_some_and(|it| it.log.poisoned().is_some())
    }

    /// The entry before `from` and records from it on; no records when the log does not reach back so far.
    pub fn read_log(&self, group: GroupId, from: Index, bytes_max: usize) -> storage::Result<(Mark, Bytes)> {
        let gone = Mark { position: Position { index: from.previous(), ..Position::default() }, hash: 0 };
        let Some(running) = &self.running else { return Ok((gone, Bytes::new())) };
        let Some(plan) = running.log.plan_read(group, from, bytes_max) else {
            return Ok((gone, Bytes::new()));
        };
        let read = plan.perform(&running.files)?;
        Ok(match read.before {
            Some(before) => {
                (Mark { position: before.position, hash: before.hash }, Bytes::from(read.records))
            }
            None => (gone, Bytes::new()),
        })
    }

    /// A piece of an own snapshot; its length once it is complete and in place.
    pub fn write_snapshot(
        &mut self,
        group: GroupId,
        keyspace: KeyspaceId,
        mark: Mark,
        bytes: &[u8],
        first: bool,
        last: bool,
    ) -> storage::Result<Option<u64>> {
        let Some(running) = self.running.as_mut().filter(|it| !it.failed) else { return Ok(None) };
        let header = SnapshotHeader { group, keyspace, mark: stored(mark), time_ms: 0, epochs: Vec::new() };
        if first {
            let writer = SnapshotWriter::create(Arc::clone(&running.shared), header.clone())?;
            running.writers.insert(group, (mark, writer));
        }
        let Some((_, writer)) = running.writers.get_mut(&group).filter(|(of, _)| *of == mark) else {
            return Ok(None);
        };
        writer.chunk(bytes)?;
        if !last {
            return Ok(None);
        }
        let Some((_, writer)) = running.writers.remove(&group) else { return Ok(None) };
        let len = writer.finish()?;
        append_snapshot_record(&mut running.log, group, &header)?;
        Ok(Some(len))
    }

    pub fn read_snapshot(&self, group: GroupId, position: Position, offset: u64, len_max: usize) -> Bytes {
        let Some(running) = &self.running else { return Bytes::new() };
        let reader = SnapshotReader::open(&*running.shared, group, position);
        let bytes = reader.and_then(|reader| reader.read(offset, len_max));
        bytes.map(Bytes::from).unwrap_or_default()
    }

    /// A piece of another node's snapshot: how much is there, or all of it with its payload.
    pub fn receive_snapshot(
        &mut self,
        group: GroupId,
        mark: Mark,
        offset: u64,
        bytes: &[u8],
        len: u64,
    ) -> storage::Result<Received> {
        let Some(running) = self.running.as_mut().filter(|it| !it.failed) else {
            return Ok(Received::Part(0));
        };
        if running.receivers.get(&group).is_none_or(|(of, _)| *of != mark) {
            let receiver = SnapshotReceiver::open(Arc::clone(&running.shared), group, stored(mark), len)?;
            running.receivers.insert(group, (mark, receiver));
        }
        let Some((_, receiver)) = running.receivers.get_mut(&group) else { return Ok(Received::Part(0)) };
        let have = receiver.write(offset, bytes)?;
        if !receiver.is_complete() {
            return Ok(Received::Part(have));
        }
        let Some((_, receiver)) = running.receivers.remove(&group) else { return Ok(Received::Part(0)) };
        let received = match receiver.finish() {
            Ok(received) => received,
            Err(Error::Corrupt(_)) => return Ok(Received::Part(0)),
            Err(error) => return Err(error),
        };
        let mut payload = Vec::new();
        received.reader().payload(&mut |piece| payload.extend_from_slice(piece))?;
        Ok(Received::Whole(received, payload))
    }

    /// It becomes the group's snapshot, and the log learns that the group begins anew behind it.
    pub fn adopt_snapshot(&mut self, received: &ReceivedSnapshot) -> storage::Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        received.place()?;
        let header = received.reader().header();
        append_snapshot_record(&mut running.log, header.group, header)
    }

    pub fn release(&mut self, group: GroupId, through: Index) {
        if let Some(running) = &mut self.running {
            running.log.release(group, through);
        }
    }

    pub fn drop_group(&mut self, group: GroupId) -> storage::Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        running.log.drop_group(group);
        running.writers.remove(&group);
        running.receivers.remove(&group);
        snapshot::remove_group(&*running.shared, group)
    }
}

/// What came of a piece.
pub enum Received {
    Part(u64),
    /// Complete, but not the group's state before [`NodeDisk::adopt_snapshot`].
    Whole(ReceivedSnapshot, Vec<u8>),
}

impl Running {
    /// Moves requests into the batch that is being gathered, as many as fit.
    fn gather(&mut self) -> storage::Result<()> {
        while let Some((token, records, flush)) = self.backlog.pop_front() {
            match self.log.append(&records) {
                Ok(()) => {
                    self.tokens.push_back((token, self.log.next_batch(), flush));
                    self.flush_next |= flush;
                }
                Err(Error::TooLarge { .. }) if self.log.pending_bytes() > 0 => {
                    self.backlog.push_front((token, records, flush));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn append_snapshot_record(log: &mut Log, group: GroupId, header: &SnapshotHeader) -> storage::Result<()> {
    let mut record = Vec::new();
    storage::index::write_snapshot_record(&mut record, header.keyspace, group, header.mark, header.time_ms);
    log.append(&record)
}

fn load(reader: &SnapshotReader, restored: &mut Restored) -> storage::Result<SnapshotHeader> {
    let mut payload = Vec::new();
    reader.payload(&mut |piece| payload.extend_from_slice(piece))?;
    let mut pieces = Some(payload).into_iter();
    match restored.snapshot(&mut || pieces.next(), reader.len()) {
        Ok(_) => Ok(reader.header().clone()),
        Err(error) => {
            let reason = format!("whole by its checksums, and yet unreadable: {error}");
            Err(Error::Failed { op: "load", path: "snapshot".to_owned(), reason })
        }
    }
}
