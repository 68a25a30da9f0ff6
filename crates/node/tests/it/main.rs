//! Stories of whole nodes, in virtual time.

mod cluster;
mod options;
mod rig;
mod sharding;
