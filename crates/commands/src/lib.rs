//! Redis commands as data, and one function each: it reads through a [`View`], writes its reply and yields operations.
//!
//! Pure. A command is written once, whatever the replication of the keyspace it runs in; it never changes anything itself.
#![no_std]

extern crate alloc;

pub mod alone;
mod arguments;
mod bitmap;
pub mod blocking;
pub mod call;
pub mod causal;
mod choice;
mod decimal;
mod describe;
mod distinct;
pub mod docs;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod node_specs;
mod places;
mod set;
pub mod spec;
pub mod statement;
mod string;
pub mod table_view;
mod walk;
pub mod with;
mod zset;

/// What the commands about all keys ask for.
pub mod keys {
    pub use crate::generic::{KeyScan, flush_options};
}

pub use data::glob;

pub use call::{Call, CommandError, Ops, Random, View};
pub use spec::{Class, Flags, Keys, Spec, find};
