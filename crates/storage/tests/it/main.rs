//! Stories about what survives.

mod corruption;
mod disks;
mod faults;
mod identity;
mod ledger;
mod model;
mod power_cut;
mod retention;
mod rig;
mod snapshots;
