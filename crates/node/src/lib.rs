//! One node: joins the machines. Groups and their leaders, execution of commands, replies held until the log is committed,
//! forwarding, blocking, transactions, publish/subscribe, leases, snapshots.
//!
//! Pure: server and simulator only drive it ([`io`] is the border). Invariant: a reply leaves only when everything it
//! shows is committed, and a read only when this node led at a moment after the read arrived.
#![no_std]

extern crate alloc;

mod admin;
mod admission;
mod answers;
mod asking;
pub mod audit;
mod blocking;
mod catch_up;
mod clocks;
mod config;
mod control_link;
mod dispatch;
mod draft;
mod execute;
mod fate;
mod forward;
mod forwarding;
mod freshness;
mod gather;
mod group;
pub mod inbox;
pub mod io;
pub mod latency;
pub mod leaderless;
mod leading;
pub mod ledger;
pub mod logged;
mod looks;
pub mod message;
mod moving;
mod node;
mod options;
pub mod payload;
mod peers;
mod pubsub;
mod reads;
mod reapply;
mod recovery;
mod repeat;
pub mod replay;
mod replication;
mod replies;
mod rollback;
mod route;
mod serve;
mod session;
mod settled;
pub mod sheet;
pub mod shortfall;
pub mod sites;
mod snapshot;
mod snapshot_reads;
mod statistics;
mod transaction;
mod waiting;
mod watch;

pub use config::{Config, Restored, RestoredGroup};
pub use io::{ConnectionId, Event, Input, Output};
pub use message::PeerMessage;
pub use node::{Flow, GroupState, Node};
pub use reads::{ReadFrom, ReadOptions};
pub use recovery::RecoveryPoint;
pub use rollback::Life;
pub use snapshot::{LoadedSnapshot, SnapshotHead};
pub use statistics::{AGES_MS, Statistics};
