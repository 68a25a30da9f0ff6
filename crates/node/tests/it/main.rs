//! Stories of whole nodes, in virtual time.

mod chain;
mod cluster;
mod options;
mod reading;
mod rig;
mod sharding;
