//! Stories of whole nodes, in virtual time.

mod cluster;
mod options;
mod promotion;
mod reading;
mod rig;
mod sharding;
