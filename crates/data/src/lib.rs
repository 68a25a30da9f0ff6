//! What is replicated, and its algebra: identifiers, positions, time, values (plain and causal), operations
//! and log records.
//!
//! Pure: no clock, no I/O, no random-order map. Everything here is a value or a function of values.
#![no_std]
// `table::memory` alone may.
#![deny(unsafe_code)]
#![forbid(unsafe_op_in_unsafe_fn)]

extern crate alloc;

pub mod causal;
pub mod codec;
pub mod gaps;
pub mod glob;
pub mod id;
pub mod keyspace;
pub mod leaderless;
pub mod ledger;
pub mod log_format;
pub mod moments;
pub mod multi_leader;
pub mod operation;
pub mod origin;
pub mod plant;
pub mod record;
pub mod registers;
pub mod rules;
pub mod site;
pub mod slot;
mod slot_set;
pub mod table;
pub mod time;
pub mod value;
pub mod view;

pub use id::{
    Epoch, GroupId, Incarnation, Index, KeyspaceId, NodeId, Position, Process, RequestId, SiteId, ViewNumber,
};
pub use log_format::LogFormat;
pub use operation::{Expiry, Operation};
pub use origin::{Origin, OriginVector, WriteStamp};
pub use site::Site;
pub use slot::SlotRange;
pub use slot_set::SlotSet;
pub use time::{Instant, Now, WallInterval};
