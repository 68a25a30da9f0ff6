//! Redis commands as data, and one function each: it reads through a [`View`], writes its reply and yields operations.
//!
//! Pure. A command is written once, whatever the replication of the keyspace it runs in; it never changes anything itself.
#![no_std]

extern crate alloc;

pub mod call;
pub mod spec;
pub mod table_view;

pub use call::{Call, CommandError, Ops, Random, View};
pub use spec::{Class, Flags, Keys, Spec, find};
