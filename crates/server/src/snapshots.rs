//! Snapshot files, written, read and received by a thread of their own: the core never waits for them.

use crate::core::Completion;
use crate::threads::{Background, yield_to_others};
use bytes::Bytes;
use data::codec::DecodeError;
use data::{GroupId, Position};
use mio::Waker;
use node::{Input, LoadedSnapshot};
use protocol::single_leader::Mark;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use storage::snapshot::{SnapshotHeader, SnapshotReader, SnapshotReceiver, SnapshotWriter, remove_group};
use storage::{Disk, Error};

pub enum SnapshotJob {
    Write {
        header: SnapshotHeader,
        bytes: Vec<u8>,
        first: bool,
        last: bool,
    },
    Read {
        group: GroupId,
        to: data::NodeId,
        position: Position,
        offset: u64,
        len_max: usize,
    },
    Receive {
        group: GroupId,
        mark: Mark,
        offset: u64,
        bytes: Bytes,
        len: u64,
    },
    Drop {
        group: GroupId,
    },
    /// Frees the memory of a state that is no longer held.
    Forget {
        replaced: Box<LoadedSnapshot>,
    },
}

pub fn to_storage(mark: Mark) -> storage::Mark {
    storage::Mark { position: mark.position, hash: mark.hash }
}
pub fn from_storage(mark: storage::Mark) -> Mark {
    Mark { position: mark.position, hash: mark.hash }
}

/// Starts the thread. Its answers come through `done`.
pub fn start(disk: Arc<dyn Disk>, done: Sender<Completion>, waker: Arc<Waker>) -> Sender<SnapshotJob> {
    let (sender, jobs) = channel();
    std::thread::spawn(move || {
        yield_to_others(Background::Whenever);
        let mut worker = Worker { disk, writing: BTreeMap::new(), receiving: BTreeMap::new() };
        worker.run(&jobs, &done, &waker);
    });
    sender
}

/// The payload as the node reads it; the outer error is the disk's.
pub fn load(reader: &SnapshotReader) -> Result<Result<LoadedSnapshot, DecodeError>, Error> {
    let mut pieces = Vec::new();
    reader.payload(&mut |piece| pieces.push(piece.to_vec()))?;
    let mut pieces = pieces.into_iter();
    Ok(LoadedSnapshot::read(&mut || pieces.next()))
}

struct Worker {
    disk: Arc<dyn Disk>,
    writing: BTreeMap<GroupId, SnapshotWriter>,
    receiving: BTreeMap<GroupId, (Mark, SnapshotReceiver)>,
}

impl Worker {
    fn run(&mut self, jobs: &Receiver<SnapshotJob>, done: &Sender<Completion>, waker: &Waker) {
        while let Ok(job) = jobs.recv() {
            let answer = match self.perform(job) {
                Ok(answer) => answer,
                // A snapshot that cannot be written or read is tried again by whoever wants it; the log is not touched.
                Err(error) => Some(Completion::Trouble(error.to_string())),
            };
            if let Some(answer) = answer
                && (done.send(answer).is_err() || waker.wake().is_err())
            {
                return;
            }
        }
    }

    fn perform(&mut self, job: SnapshotJob) -> Result<Option<Completion>, Error> {
        match job {
            SnapshotJob::Write { header, bytes, first, last } => self.write(header, &bytes, first, last),
            SnapshotJob::Read { group, to, position, offset, len_max } => {
                let read = SnapshotReader::open(&*self.disk, group, position)
                    .and_then(|reader| reader.read(offset, len_max));
                let bytes = Bytes::from(read.unwrap_or_default());
                Ok(Some(Completion::Input(Input::SnapshotRead { group, to, position, offset, bytes })))
            }
            SnapshotJob::Receive { group, mark, offset, bytes, len } => {
                self.receive(group, mark, offset, &bytes, len)
            }
            SnapshotJob::Drop { group } => {
                self.writing.remove(&group);
                self.receiving.remove(&group);
                remove_group(&*self.disk, group)?;
                Ok(None)
            }
            SnapshotJob::Forget { replaced } => {
                drop(replaced);
                Ok(None)
            }
        }
    }

    fn write(
        &mut self,
        header: SnapshotHeader,
        bytes: &[u8],
        first: bool,
        last: bool,
    ) -> Result<Option<Completion>, Error> {
        let (group, mark) = (header.group, from_storage(header.mark));
        if first {
            if let Some(old) = self.writing.remove(&group) {
                old.abandon()?;
            }
            self.writing.insert(group, SnapshotWriter::create(Arc::clone(&self.disk), header)?);
        }
        let Some(writer) = self.writing.get_mut(&group) else { return Ok(None) };
        if let Err(error) = writer.chunk(bytes) {
            self.writing.remove(&group);
            return Err(error);
        }
        if !last {
            return Ok(None);
        }
        let Some(writer) = self.writing.remove(&group) else { return Ok(None) };
        let len = writer.finish()?;
        Ok(Some(Completion::Input(Input::SnapshotStored { group, mark, len })))
    }

    fn receive(
        &mut self,
        group: GroupId,
        mark: Mark,
        offset: u64,
        bytes: &[u8],
        len: u64,
    ) -> Result<Option<Completion>, Error> {
        if self.receiving.get(&group).is_none_or(|(known, _)| *known != mark) {
            let receiver = SnapshotReceiver::open(Arc::clone(&self.disk), group, to_storage(mark), len)?;
            self.receiving.insert(group, (mark, receiver));
        }
        let Some((_, receiver)) = self.receiving.get_mut(&group) else { return Ok(None) };
        if !bytes.is_empty() {
            receiver.write(offset, bytes)?;
        }
        if !receiver.is_complete() {
            let offset = receiver.received();
            return Ok(Some(Completion::Input(Input::SnapshotReceived { group, mark, offset })));
        }
        let Some((_, receiver)) = self.receiving.remove(&group) else { return Ok(None) };
        let loaded = receiver.finish().and_then(|received| {
            let snapshot = load(received.reader())?;
            Ok((received, snapshot))
        });
        Ok(Some(match loaded {
            Ok((received, Ok(snapshot))) => {
                Completion::Received { received: Box::new(received), snapshot: Box::new(snapshot) }
            }
            Ok((_, Err(error))) => Completion::Unreadable { group, why: error.to_string() },
            Err(error) => Completion::Unreadable { group, why: error.to_string() },
        }))
    }
}
