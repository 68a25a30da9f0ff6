//! What survives a power cut: the replication log (which is the write-ahead log), its recovery, snapshots, and who this
//! node is.
//!
//! Generic over a synchronous [`Disk`], so that the simulator runs the very same code, recovery included, on a medium
//! that forgets, tears and flips ([`memory::SimDisk`]). Bookkeeping ([`Log`], [`plan`](Log::plan_read)) does no I/O:
//! it hands out jobs that a driver performs on whatever thread it likes, in any order.
//!
//! | file | holds |
//! |---|---|
//! | [`disk`], [`real`], [`memory`] | the medium: trait, operating system, simulated |
//! | [`segment`], [`batch`] | bytes of a log file, with the argument why nothing durable is lost silently |
//! | [`log`], [`index`], [`job`], [`read`] | one stream: batches, segments, retention; what a driver carries out |
//! | [`recovery`], [`stream`] | what a restarted node finds |
//! | [`snapshot`] | state of a group at a position, beside the log |
//! | [`identity`] | who owns the directory, and which life this is |
//!
//! *Invariant:* nothing here retries a failed write or flush (SL-12), and no error becomes absence.

pub mod batch;
pub mod disk;
pub mod error;
pub mod identity;
pub mod index;
pub mod job;
pub mod log;
pub mod memory;
pub mod read;
pub mod real;
pub mod recovery;
pub mod segment;
pub mod snapshot;
pub mod stream;
mod window;

pub use disk::{Disk, File};
pub use error::{Corruption, Error, Result};
pub use identity::{Identity, incarnation_after_start};
pub use index::Mark;
pub use job::{Files, FlushJob, WriteJob};
pub use log::{Blockers, Log, LogConfig, PinId};
pub use memory::SimDisk;
pub use read::{LogRead, ReadPlan};
pub use real::RealDisk;
pub use recovery::{GroupState, Options, Recovered, recover};
pub use segment::Owner;
pub use snapshot::{ReceivedSnapshot, SnapshotHeader, SnapshotReader, SnapshotReceiver, SnapshotWriter};
