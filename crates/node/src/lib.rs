//! One node: joins the machines. Groups and their leaders, execution of commands, replies held until the log is committed,
//! forwarding, blocking, transactions, publish/subscribe, leases, snapshots.
//!
//! Pure: server and simulator only drive it ([`io`] is the border). Invariant: a reply leaves only when everything it
//! shows is committed, and a read only when this node led at a moment after the read arrived.
#![no_std]

extern crate alloc;

mod admin;
mod answers;
mod blocking;
mod catch_up;
mod config;
mod control_link;
mod dispatch;
mod execute;
mod forward;
mod forwarding;
mod group;
pub mod io;
mod leading;
pub mod ledger;
mod looks;
pub mod message;
mod node;
pub mod payload;
mod peers;
mod pubsub;
mod reapply;
mod replication;
mod replies;
mod rollback;
mod serve;
mod session;
mod settled;
mod snapshot;
mod statistics;
mod transaction;
mod waiting;
mod watch;

pub use config::{Config, Restored, RestoredGroup};
pub use io::{ConnectionId, Event, Input, Output};
pub use message::PeerMessage;
pub use node::{Flow, GroupState, Node};
pub use rollback::Life;
pub use snapshot::{LoadedSnapshot, SnapshotHead};
pub use statistics::Statistics;
