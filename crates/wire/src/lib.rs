//! Bytes and frames: the Redis protocol (RESP2, RESP3) and the envelope of peer messages.
//!
//! Pure. Nothing here trusts its input: lengths are bounded before anything is allocated, nesting is iterative.
#![no_std]

extern crate alloc;

pub mod error;
pub mod frame;
pub mod handshake;
pub mod hello;
mod inline;
pub mod number;
pub mod parts;
pub mod peer;
pub mod reply;
pub mod request;
mod token;

pub use error::ProtocolError;
pub use frame::Frame;
pub use peer::{PeerError, PeerFrame, PeerHeader, PeerLimits};
pub use reply::{Protocol, ReplyWriter};
pub use request::{Limits, Parsed, RequestParser};
