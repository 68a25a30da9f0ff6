//! The replication protocols as state machines: `step(now, input, out)`, no clock, no I/O, no randomness.
//!
//! Pure. Invariant: what a machine does depends only on its inputs, in order; whatever depends on durability waits
//! inside the machine for `Persisted`.
#![no_std]

extern crate alloc;

pub mod clocks;
pub mod leaderless;
pub mod lease;
pub mod multi_leader;
pub mod quorum;
pub mod session;
pub mod single_leader;
