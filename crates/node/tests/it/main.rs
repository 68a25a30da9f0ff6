//! Stories of whole nodes, in virtual time.

mod cluster;
mod reading;
mod rig;
