//! Stories of the protocol crate. A run with a planted bug shares its process with nothing else, so the feature `plant`
//! replaces the other tests of this binary by the hunt for planted bugs.

mod leaderless;
mod multi_leader;
mod rig;

#[cfg(feature = "plant")]
mod planted;
#[cfg(not(feature = "plant"))]
mod random;
#[cfg(not(feature = "plant"))]
mod regressions;
#[cfg(not(feature = "plant"))]
mod scripts;

/// A planted bug is in force for the whole process: hunts take turns.
#[cfg(feature = "plant")]
static PLANTING: std::sync::Mutex<()> = std::sync::Mutex::new(());
