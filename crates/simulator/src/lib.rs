//! The simulator: a whole cluster in one thread, under virtual time and one seed, with every fault we can name.
//!
//! It drives the production machines: `node` with its replication and control plane, `storage` with its recovery. Only
//! time, network, media and clients are made up.
//!
//! | part | is |
//! |---|---|
//! | [`world`] | the queue of events and what they do |
//! | [`network`], [`clocks`], [`disk`], [`host`] | what a machine stands on |
//! | [`faults`] | kinds of faults, drawn per seed |
//! | [`workload`], [`client`], [`history`] | what clients do and saw |
//! | [`invariants`], [`verdict`] | what must hold, during a run and of its history |
//! | [`run`], [`settle`], [`scenario`], [`shrink`], [`command`] | one run, told runs, smaller runs, the command line |
//!
//! *Invariant:* a run is a function of its plan: no clock, no thread, no randomness from outside, no order of a hash map.

pub mod anomalies;
pub mod client;
pub mod clocks;
pub mod command;
pub mod disk;
pub mod faults;
pub mod followers;
pub mod history;
pub mod host;
pub mod invariants;
pub mod network;
pub mod options;
mod quorum_rig;
pub mod random;
pub mod reply;
pub mod run;
pub mod scenario;
pub mod settle;
pub mod shrink;
pub mod sites;
pub mod staleness;
pub mod topologies;
pub mod trace;
pub mod verdict;
pub mod workload;
pub mod world;

pub use command::run_command as run_args;
pub use options::Args;
