//! The only crate that touches sockets: one loop per core, the log writer, peer links, snapshots, metrics.
//!
//! Invariant: nothing of a turn leaves (log, peers, clients) before the node's turn has ended.

pub mod clock;
mod connection;
mod core;
mod descriptors;
mod founding;
pub mod http;
mod log_writer;
mod metrics;
mod peers;
pub mod settings;
mod snapshots;
mod start;
mod threads;
pub mod tryout;

pub use core::Status;
pub use node::message::VERSION_MAX as MESSAGE_VERSION_MAX;
pub use settings::{Settings, StartError};
pub use start::{Handle, VERSION, run};
