//! Stories of whole nodes, in virtual time.

mod cluster;
mod rig;
mod sharding;
