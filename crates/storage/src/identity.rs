//! Who owns a data directory: one small file, replaced in one step, and a lock.
//!
//! The *incarnation* names one life of the node's data. It changes when the node cannot prove that it still holds what it
//! promised (SL-02, SL-15): its acknowledgements and seals of the former life then count no more.

use crate::disk::{Disk, read_all, replace};
use crate::error::{Error, Result};
use crate::segment::checked;
use crate::stream::streams;
use data::codec::{DecodeError, Reader, Writer};
use data::plant::{self, Bug};
use data::{Incarnation, NodeId, Process};

const NAME: &str = "identity";
const LOCK: &str = "lock";
const MAGIC: u64 = u64::from_le_bytes(*b"tercetid");
pub const FORMAT: u32 = 2;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub cluster: u64,
    pub node: NodeId,
    pub name: String,
    pub incarnation: Incarnation,
    /// The run of the process, 0 before the first.
    pub process: Process,
    /// The operating system's boot during that run; empty when unknown.
    pub boot: String,
    /// The run ended with everything flushed.
    pub clean: bool,
    /// A write or flush failed during that run: what was promised without a flush may be gone though it was there.
    pub disk_failed: bool,
    /// The directory holds less than its node has promised, as its peers found: no process may go on with it.
    pub abandoned: bool,
}

/// The incarnation of the next run.
///
/// It stays when nothing promised can be missing: the last run ended cleanly, or everything promised had been flushed
/// before it was promised, or only the process died and the operating system still had what it was given.
pub fn incarnation_after_start(
    previous: Incarnation,
    clean: bool,
    same_boot: bool,
    everything_promised_was_flushed: bool,
) -> Incarnation {
    let proven = clean || same_boot || everything_promised_was_flushed;
    let believed = plant::is(Bug::DamagedKeepsLife) || plant::is(Bug::UncleanKeepsLife);
    if proven || believed { previous } else { previous.next() }
}

/// Keeps other processes out of the directory until dropped.
pub fn lock(disk: &dyn Disk) -> Result<Box<dyn Send + Sync>> {
    disk.lock(LOCK)
}

impl Identity {
    /// The first life of a node.
    pub fn new(cluster: u64, node: NodeId, name: &str) -> Identity {
        Identity {
            cluster,
            node,
            name: name.to_owned(),
            incarnation: Incarnation(1),
            process: Process(0),
            boot: String::new(),
            clean: true,
            disk_failed: false,
            abandoned: false,
        }
    }

    /// The identity of the directory; `None` for an empty one. A directory with a log but without an identity is
    /// `Corrupt`: it must not be founded anew.
    pub fn load(disk: &dyn Disk) -> Result<Option<Identity>> {
        let bytes = match read_all(disk, NAME) {
            Ok(bytes) => bytes,
            Err(Error::Missing { .. }) if streams(disk)?.is_empty() => return Ok(None),
            Err(Error::Missing { .. }) => {
                return Err(Error::corrupt(NAME, 0, "the directory has a log and no identity"));
            }
            Err(error) => return Err(error),
        };
        let damaged = |_| Error::corrupt(NAME, 0, "the identity is not what was written");
        if !checked(&bytes, 0) {
            return Err(damaged(DecodeError::Truncated));
        }
        let mut r = Reader::new(&bytes);
        let (magic, format) = (r.u64().map_err(damaged)?, r.u32().map_err(damaged)?);
        if magic != MAGIC {
            return Err(damaged(DecodeError::Invalid("magic")));
        }
        if format == 0 || format > FORMAT {
            return Err(Error::Newer { path: NAME.to_owned(), known: FORMAT, found: format });
        }
        Identity::fields(format, &mut r).map(Some).map_err(damaged)
    }

    fn fields(format: u32, r: &mut Reader<'_>) -> std::result::Result<Identity, DecodeError> {
        Ok(Identity {
            cluster: r.u64()?,
            node: NodeId::decode(r)?,
            name: r.text()?,
            incarnation: Incarnation::decode(r)?,
            process: Process::decode(r)?,
            boot: r.text()?,
            clean: r.bool()?,
            disk_failed: r.bool()?,
            abandoned: format >= 2 && r.bool()?,
        })
    }

    /// Replaces the file durably.
    pub fn store(&self, disk: &dyn Disk) -> Result<()> {
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        w.u64(MAGIC);
        // Only what an older program must not go on with is written in a format that it refuses.
        w.u32(if self.abandoned { FORMAT } else { 1 });
        w.u64(self.cluster);
        self.node.encode(&mut w);
        w.text(&self.name);
        self.incarnation.encode(&mut w);
        self.process.encode(&mut w);
        w.text(&self.boot);
        w.bool(self.clean);
        w.bool(self.disk_failed);
        if self.abandoned {
            w.bool(true);
        }
        let crc = crc32c::crc32c(w.buffer);
        w.u32(crc);
        replace(disk, "", NAME, &bytes)
    }

    /// Refuses the directory of another cluster.
    pub fn check_cluster(&self, cluster: u64) -> Result<()> {
        if self.cluster == cluster {
            return Ok(());
        }
        Err(Error::Foreign { path: NAME.to_owned(), expected: cluster, found: self.cluster })
    }

    /// A new run of the process begins: takes the next process number, decides the incarnation, and makes both durable
    /// before anything is promised. `flushed_only`: nothing was ever promised before it was flushed.
    pub fn begin_run(&mut self, disk: &dyn Disk, boot: &str, flushed_only: bool) -> Result<()> {
        let same_boot = !boot.is_empty() && boot == self.boot && !self.disk_failed;
        let clean = self.clean && !self.disk_failed;
        self.incarnation = incarnation_after_start(self.incarnation, clean, same_boot, flushed_only);
        self.process = self.process.next();
        self.boot = boot.to_owned();
        self.clean = false;
        self.disk_failed = false;
        self.store(disk)
    }

    /// The run ends and everything is flushed.
    pub fn end_run(&mut self, disk: &dyn Disk) -> Result<()> {
        self.clean = true;
        self.store(disk)
    }

    /// Remembers a failed write or flush for the next start. That this cannot be written either must be expected.
    pub fn note_disk_failure(&mut self, disk: &dyn Disk) -> Result<()> {
        self.disk_failed = true;
        self.store(disk)
    }

    /// No process shall ever go on with this directory.
    pub fn abandon(&mut self, disk: &dyn Disk) -> Result<()> {
        self.abandoned = true;
        self.store(disk)
    }

    /// Begins a new life at once: the data was thrown away or cannot be trusted (after [`Error::Corrupt`]).
    pub fn begin_life(&mut self, disk: &dyn Disk) -> Result<()> {
        if !plant::is(Bug::DamagedKeepsLife) {
            self.incarnation = self.incarnation.next();
        }
        self.store(disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // bugs: SL-02, SL-15
    #[test]
    fn the_incarnation_stays_only_when_nothing_promised_can_be_missing() {
        for (clean, same_boot, flushed, expected) in [
            (true, true, true, 7),
            (true, true, false, 7),
            (true, false, true, 7),
            (true, false, false, 7),
            (false, true, true, 7),
            (false, true, false, 7),
            (false, false, true, 7),
            (false, false, false, 8),
        ] {
            let got = incarnation_after_start(Incarnation(7), clean, same_boot, flushed);
            assert_eq!(got, Incarnation(expected), "{clean} {same_boot} {flushed}");
        }
    }
}
