//! What a driver carries out for a log, on whatever thread it likes and in any order.

use crate::disk::{Disk, File};
use crate::error::{Error, Result};
use crate::segment::{Shape, segment_path, stream_dir};
use bytes::Bytes;
use data::plant::{self, Bug};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Open files by path, shared by everyone who works on one disk.
pub struct Files {
    disk: Arc<dyn Disk>,
    open: Mutex<BTreeMap<String, Arc<dyn File>>>,
}

/// Handles kept open; the oldest segments go first. A guess far below a process's limit.
const OPEN_MAX: usize = 128;

impl Files {
    pub fn new(disk: Arc<dyn Disk>) -> Files {
        Files { disk, open: Mutex::new(BTreeMap::new()) }
    }
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }
    pub fn get(&self, path: &str) -> Result<Arc<dyn File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(path) {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(path)?;
        if open.len() >= OPEN_MAX {
            open.pop_first();
        }
        open.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }
    /// Deletes a file; one that is gone already is no error.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        match self.disk.remove(path) {
            Ok(()) | Err(Error::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Bytes for a place in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    pub offset: u64,
    pub bytes: Bytes,
}

/// One batch with its identity: answered by [`crate::Log::completed`] or [`crate::Log::failed`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteJob {
    pub batch: u64,
    pub path: String,
    pub writes: Vec<Write>,
    /// Flush before answering.
    pub flush: bool,
    /// Older segments with un-flushed batches, to be flushed too when `flush` is set.
    pub also: Vec<String>,
}

impl WriteJob {
    /// Writes and, if asked for, flushes.
    pub fn perform(&self, files: &Files) -> Result<()> {
        self.write(files)?;
        if self.flush { self.flush(files) } else { Ok(()) }
    }
    pub fn write(&self, files: &Files) -> Result<()> {
        let file = files.get(&self.path)?;
        let written = self.writes.iter().try_for_each(|write| file.write_at(write.offset, &write.bytes));
        // bugs: X-08
        if plant::is(Bug::BelievesFailedWrite) { Ok(()) } else { written }
    }
    pub fn flush(&self, files: &Files) -> Result<()> {
        let flushed = self.also.iter().chain([&self.path]).try_for_each(|path| files.get(path)?.flush());
        // bugs: SL-12
        if plant::is(Bug::BelievesFailedFlush) { Ok(()) } else { flushed }
    }
    /// Bytes that go to the disk.
    pub fn bytes(&self) -> usize {
        self.writes.iter().map(|write| write.bytes.len()).sum()
    }
}

/// Makes batches durable that were only written: answered by [`crate::Log::flushed`] or [`crate::Log::flush_failed`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlushJob {
    pub(crate) stamp: u64,
    pub paths: Vec<String>,
}

impl FlushJob {
    pub fn perform(&self, files: &Files) -> Result<()> {
        self.paths.iter().try_for_each(|path| files.get(path)?.flush())
    }
}

/// Tells the medium how far the log is durable, when no batch is there to do it. Nobody waits for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkJob {
    pub path: String,
    pub write: Write,
}

impl MarkJob {
    /// Without `flush` the operating system writes it when it likes; a failure then costs nothing but the proof.
    pub fn perform(&self, files: &Files, flush: bool) -> Result<()> {
        let file = files.get(&self.path)?;
        file.write_at(self.write.offset, &self.write.bytes)?;
        if flush { file.flush() } else { Ok(()) }
    }
}

/// A segment to be made ahead of its use: answered by [`crate::Log::segment_ready`] or [`crate::Log::segment_failed`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentJob {
    pub stream: u32,
    pub sequence: u64,
    pub shape: Shape,
}

impl SegmentJob {
    pub fn path(&self) -> String {
        segment_path(self.stream, self.sequence)
    }
    /// Makes the file, full of zeros, and its name durable. On failure nothing stays: a full disk gets its space back.
    pub fn perform(&self, files: &Files) -> Result<()> {
        let path = self.path();
        // What an attempt before this one left behind.
        files.remove(&path)?;
        let made = self.make(files, &path);
        if made.is_err() {
            // The first error is the one to tell; a file that cannot be removed is void and goes at the next start.
            let _ = files.remove(&path);
        }
        made
    }
    fn make(&self, files: &Files, path: &str) -> Result<()> {
        files.disk().create(path)?.preallocate(self.shape.file_len())?;
        files.disk().sync_dir(&stream_dir(self.stream))
    }
}
