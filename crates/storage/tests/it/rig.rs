//! A node reduced to its log: writes numbered records, remembers what was promised, restarts, compares.

use data::record::{Header, Kind, Record};
use data::{Epoch, GroupId, Index, KeyspaceId, NodeId, RequestId};
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::{Disk, Error, Files, Log, LogConfig, Options, Owner, Recovered, SimDisk, WriteJob, recover};

pub const OWNER: Owner = Owner { cluster: 0xc1, node: NodeId(1) };

/// Writes records of one group that follow from one another.
#[derive(Clone, Copy, Default, Debug)]
pub struct Chain {
    pub index: u64,
    pub hash: u64,
    pub epoch: u64,
}

pub fn record(
    kind: Kind,
    group: u32,
    epoch: u64,
    index: u64,
    previous: u64,
    payload: &[u8],
) -> (Vec<u8>, u64) {
    let header = Header {
        kind,
        keyspace: KeyspaceId(0),
        group: GroupId(group),
        epoch: Epoch(epoch),
        index: Index(index),
        commit: Index(0),
        time_ms: index as i64,
        request: RequestId::NONE,
    };
    let mut bytes = Vec::new();
    let hash = Record::write(&mut bytes, &header, previous, |w| w.buffer.extend_from_slice(payload));
    (bytes, hash)
}

impl Chain {
    pub fn entry(&mut self, group: u32, payload_len: usize) -> Vec<u8> {
        self.index += 1;
        let payload: Vec<u8> = (0..payload_len).map(|i| (i as u64 * 7 + self.index) as u8 | 1).collect();
        let (bytes, hash) = record(Kind::Operations, group, self.epoch, self.index, self.hash, &payload);
        self.hash = hash;
        bytes
    }
}

pub struct Rig {
    pub disk: SimDisk,
    pub files: Files,
    pub log: Log,
    pub process: u64,
}

pub struct Restarted {
    pub rig: Rig,
    pub records: Vec<Vec<u8>>,
    pub groups: BTreeMap<GroupId, storage::GroupState>,
    pub torn: bool,
}

pub fn shared(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

pub fn recovered(disk: &SimDisk) -> Result<(Recovered, Vec<Vec<u8>>), Error> {
    let mut records = Vec::new();
    let found =
        recover(&shared(disk), &Options { owner: OWNER }, &mut |_, bytes| records.push(bytes.to_vec()))?;
    Ok((found, records))
}

/// Starts a node on what the disk holds.
pub fn start(disk: &SimDisk, process: u64, segment_bytes: u64) -> Result<Restarted, Error> {
    let (mut found, records) = recovered(disk)?;
    let files = Files::new(shared(disk));
    let stream = found.take_stream(0);
    let torn = stream.torn;
    let log = Log::open(&files, LogConfig { owner: OWNER, process, segment_bytes }, stream)?;
    let rig = Rig { disk: disk.clone(), files, log, process };
    Ok(Restarted { rig, records, groups: found.groups, torn })
}

impl Rig {
    /// Removes the segments that nothing needs any more, writing on meanwhile; how many these were.
    pub fn reclaim(&mut self) -> usize {
        let mut removed = 0;
        for _ in 0..6 {
            for path in self.log.reclaim() {
                self.files.remove(&path).expect("there");
                removed += 1;
            }
            self.write(&[]).expect("no fault");
        }
        removed
    }
    /// Makes segments while the log asks for them.
    pub fn prepare(&mut self) -> Result<(), Error> {
        while let Some(job) = self.log.segment_job() {
            match job.perform(&self.files) {
                Ok(()) => self.log.segment_ready(job),
                Err(error) => {
                    self.log.segment_failed(&error);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
    pub fn seal(&mut self, flush: bool) -> Result<Option<WriteJob>, Error> {
        match self.log.seal_batch(flush)? {
            None if self.log.pending_bytes() > 0 => {
                self.prepare()?;
                self.log.seal_batch(flush)
            }
            job => Ok(job),
        }
    }
    pub fn done(&mut self, batch: u64, result: Result<(), Error>) -> Result<(), Error> {
        match &result {
            Ok(()) => self.log.completed(batch),
            Err(error) => self.log.failed(batch, error),
        }
        result
    }
    /// Appends, seals, writes and flushes one batch.
    pub fn write(&mut self, records: &[u8]) -> Result<(), Error> {
        self.log.append(records)?;
        if let Some(job) = self.seal(true)? {
            let result = job.perform(&self.files);
            self.done(job.batch, result)?;
        }
        Ok(())
    }
    pub fn flush(&mut self) -> Result<(), Error> {
        if let Some(job) = self.log.flush_job() {
            match job.perform(&self.files) {
                Ok(()) => self.log.flushed(&job),
                Err(error) => {
                    self.log.flush_failed(&error);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
    pub fn mark(&mut self, flush: bool) -> Result<(), Error> {
        self.log.mark_job().map_or(Ok(()), |job| job.perform(&self.files, flush))
    }
    /// Entries of a group from `from` on, through the log.
    pub fn read(&self, group: u32, from: u64) -> Option<Vec<(u64, u64)>> {
        let mut entries = Vec::new();
        let mut next = from;
        loop {
            let plan = self.log.plan_read(GroupId(group), Index(next), 2000)?;
            let read = plan.perform(&self.files).expect("readable");
            let before = read.before.expect("the log said that it has it");
            assert_eq!(before.position.index, Index(next - 1));
            let mut at = 0;
            while at < read.records.len() {
                let record = Record::parse(&read.records[at..]).expect("whole");
                entries.push((record.header.index.0, record.hash));
                at += record.len;
            }
            match read.last {
                Some(last) => next = last.position.index.0 + 1,
                None => return Some(entries),
            }
        }
    }
}
