//! Stories of whole nodes, in virtual time.

mod audits;
mod cluster;
mod options;
mod reading;
mod rig;
mod sharding;
