//! Stories of whole nodes, in virtual time.

mod cluster;
mod options;
mod reading;
mod rig;
mod sharding;
