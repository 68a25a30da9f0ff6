//! Bytes and frames: the Redis protocol (RESP2, RESP3) and the envelope of peer messages.
//!
//! Pure. Nothing here trusts its input: lengths are bounded before anything is allocated, nesting is iterative.
#![no_std]

extern crate alloc;

pub mod reply;

pub use reply::{Protocol, ReplyWriter};
