//! The medium that storage writes to: files by name below one directory, with flushes spelled out.
//!
//! Contract that recovery relies on, kept by ext4 and XFS on devices that honour flushes:
//! - a write is durable once `flush` of the same file returned `Ok` after it; before that each sector of 512 bytes is
//!   found again either as it was or as it was written, never as a mixture;
//! - a created, renamed or removed name is durable after `sync_dir` of its directory;
//! - a failed `flush` may have lost any write since the last good one, and a later `Ok` says nothing about those.

use crate::error::Result;
use std::sync::Arc;

/// Smallest unit that is written whole or not at all.
pub const SECTOR: usize = 512;

/// A directory tree. Paths are relative to its root, parts divided by `/`. Shared between threads.
pub trait Disk: Send + Sync {
    /// Makes a directory and those above it; no error when it is there.
    fn create_dir(&self, path: &str) -> Result<()>;
    /// Makes a file of length 0; `Exists` when the name is taken.
    fn create(&self, path: &str) -> Result<Arc<dyn File>>;
    /// Opens for reading and writing; `Missing` when there is none.
    fn open(&self, path: &str) -> Result<Arc<dyn File>>;
    /// Names (not paths) of what lies directly in a directory, sorted; none when there is no such directory.
    fn list(&self, path: &str) -> Result<Vec<String>>;
    /// `Missing` when there is none.
    fn remove(&self, path: &str) -> Result<()>;
    /// Takes the place of `to` in one step.
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &str) -> Result<()>;
    /// Bytes that may still be written.
    fn free_space(&self) -> Result<u64>;
    /// Keeps every other process out of this directory until the returned guard is dropped; `Locked` when one is in.
    fn lock(&self, path: &str) -> Result<Box<dyn Send + Sync>>;
}

pub trait File: Send + Sync {
    /// Writes all of `bytes` at `offset`, growing the file when needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize>;
    /// Makes everything written so far durable.
    fn flush(&self) -> Result<()>;
    /// Has the system begin to bring a range to the medium, so that a later `flush` of this or another file need not wait for
    /// much. Promises nothing.
    fn begin_flush(&self, _offset: u64, _len: u64) {}
    /// Gives the file this length, filled with zeros that are really on the medium, and flushes: later writes inside it
    /// change data only, so that their flush needs no second one for the file system's journal.
    fn preallocate(&self, len: u64) -> Result<()>;
    fn set_len(&self, len: u64) -> Result<()>;
    fn len(&self) -> Result<u64>;
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Reads exactly `len` bytes at `offset`, or what there is of them.
pub fn read_up_to(file: &dyn File, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    let got = file.read_at(offset, &mut buffer)?;
    buffer.truncate(got);
    Ok(buffer)
}

/// A whole file.
pub fn read_all(disk: &dyn Disk, path: &str) -> Result<Vec<u8>> {
    let file = disk.open(path)?;
    let len = file.len()?;
    read_up_to(&*file, 0, usize::try_from(len).unwrap_or(usize::MAX))
}

/// Puts `bytes` in the place of the file `path` in one durable step: after a power cut it is the old one or the new one.
pub fn replace(disk: &dyn Disk, dir: &str, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = join(dir, &format!("{name}.new"));
    match disk.remove(&temporary) {
        Ok(()) | Err(crate::Error::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(&temporary)?;
    file.write_at(0, bytes)?;
    file.flush()?;
    disk.rename(&temporary, &join(dir, name))?;
    disk.sync_dir(dir)
}

/// `dir/name`, or just the name in the root.
pub fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}
