//! The operating system's files.

use crate::disk::{Disk, File};
use crate::error::{Error, Result};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Zeros are brought to the medium in pieces of so many bytes.
const FLUSH_EVERY: u64 = 256 << 10;
/// Between two writes of zeros: measured, a thread that fills a segment without a pause holds up others for some 3 ms at a
/// time on a machine with two cores; so it fills 100 MiB a second.
const BREATH: Duration = Duration::from_micros(200);
/// One `write` of zeros: large enough to be cheap, small enough to leave the disk's queue to others.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A directory of the file system.
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// Makes the directory when it is missing.
    pub fn open(root: impl Into<PathBuf>) -> Result<RealDisk> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(|e| refused("create", &root.display().to_string(), &e))?;
        Ok(RealDisk { root })
    }
    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

/// The id of this start of the operating system; changes with every boot. Empty where the system has none, which never
/// equals a stored one (see [`crate::identity`]).
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Sorts what the system says into what a caller can do.
fn refused(op: &'static str, path: &str, error: &io::Error) -> Error {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { path },
        io::ErrorKind::NotFound => Error::Missing { path },
        io::ErrorKind::AlreadyExists => Error::Exists { path },
        _ => Error::Failed { op, path, reason: error.to_string() },
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &str) -> Result<()> {
        fs::create_dir_all(self.at(path)).map_err(|e| refused("create", path, &e))
    }
    fn create(&self, path: &str) -> Result<Arc<dyn File>> {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.at(path))
            .map_err(|e| refused("create", path, &e))?;
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }
    fn open(&self, path: &str) -> Result<Arc<dyn File>> {
        let file = fs::File::options()
            .read(true)
            .write(true)
            .open(self.at(path))
            .map_err(|e| refused("open", path, &e))?;
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }
    fn list(&self, path: &str) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.at(path)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(refused("list", path, &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| refused("list", path, &e))?;
            // A name that is no text is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
    fn remove(&self, path: &str) -> Result<()> {
        fs::remove_file(self.at(path)).map_err(|e| refused("remove", path, &e))
    }
    fn rename(&self, from: &str, to: &str) -> Result<()> {
        fs::rename(self.at(from), self.at(to)).map_err(|e| refused("rename", from, &e))
    }
    fn sync_dir(&self, path: &str) -> Result<()> {
        fs::File::open(self.at(path)).and_then(|dir| dir.sync_all()).map_err(|e| refused("sync", path, &e))
    }
    fn free_space(&self) -> Result<u64> {
        free_space(&self.root).map_err(|e| refused("statvfs", &self.root.display().to_string(), &e))
    }
    fn lock(&self, path: &str) -> Result<Box<dyn Send + Sync>> {
        let file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.at(path))
            .map_err(|e| refused("lock", path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
            Err(fs::TryLockError::Error(error)) => Err(refused("lock", path, &error)),
        }
    }
}

fn free_space(root: &Path) -> io::Result<u64> {
    let path = std::ffi::CString::new(root.as_os_str().as_bytes())?;
    // SAFETY: all-zero bytes are a valid `statvfs`, a struct of integers.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with a zero byte and `stat` may be written; both outlive the call.
    if unsafe { libc::statvfs(path.as_ptr(), &mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_bavail as u64 * stat.f_frsize as u64)
}

struct RealFile {
    file: fs::File,
    path: String,
}

impl RealFile {
    fn refused(&self, op: &'static str, error: &io::Error) -> Error {
        refused(op, &self.path, error)
    }
}

impl File for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, offset).map_err(|e| self.refused("write", &e))
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut got = 0;
        while got < buffer.len() {
            match self.file.read_at(&mut buffer[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(count) => got += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.refused("read", &error)),
            }
        }
        Ok(got)
    }
    fn flush(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| self.refused("flush", &e))
    }
    #[cfg(target_os = "linux")]
    fn begin_flush(&self, offset: u64, len: u64) {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
        // SAFETY: the descriptor is open, and the call only reads its arguments. That it fails is no harm.
        let _ =
            unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    }
    fn preallocate(&self, len: u64) -> Result<()> {
        self.reserve(len)?;
        // Reserved blocks are marked "unwritten" in the journal; only written zeros make later flushes cheap.
        let mut offset = 0;
        while offset < len {
            let count = (len - offset).min(ZEROS.len() as u64);
            self.write_at(offset, &ZEROS[..count as usize])?;
            offset += count;
            // Little by little: neither a flush of the log nor a thread that became ready must wait for all of it.
            if offset % FLUSH_EVERY == 0 {
                self.begin_flush(offset - FLUSH_EVERY, FLUSH_EVERY);
            }
            std::thread::sleep(BREATH);
        }
        self.file.sync_all().map_err(|e| self.refused("flush", &e))
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|e| self.refused("set length", &e))
    }
    fn len(&self) -> Result<u64> {
        self.file.metadata().map(|m| m.len()).map_err(|e| self.refused("stat", &e))
    }
}

impl RealFile {
    /// Asks for the blocks in one go: contiguous, and a full disk shows before anything was written.
    fn reserve(&self, len: u64) -> Result<()> {
        let len =
            libc::off_t::try_from(len).map_err(|_| Error::TooLarge { what: "file", max: i64::MAX as u64 })?;
        // SAFETY: the descriptor belongs to `self.file`, which is open during the call.
        if len == 0 || unsafe { libc::fallocate(self.file.as_raw_fd(), 0, 0, len) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // The file system cannot reserve: the zeros do it.
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => Ok(()),
            _ => Err(self.refused("preallocate", &error)),
        }
    }
}
