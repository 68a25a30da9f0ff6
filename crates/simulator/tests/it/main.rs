//! The simulator judged: it repeats itself, it finds what is wrong, and the seeds that once failed stay clean. A run with a
//! planted bug shares its process with nothing else, so the feature `plant` replaces the other tests of this binary.

#[cfg(not(feature = "plant"))]
mod anomalies;
#[cfg(not(feature = "plant"))]
mod core;
#[cfg(not(feature = "plant"))]
mod families;
#[cfg(not(feature = "plant"))]
mod followers;
#[cfg(not(feature = "plant"))]
mod kept_seeds;
#[cfg(feature = "plant")]
mod planted;
#[cfg(not(feature = "plant"))]
mod reproducible;
#[cfg(not(feature = "plant"))]
mod scenarios;
#[cfg(not(feature = "plant"))]
mod sheet;
#[cfg(not(feature = "plant"))]
mod staleness;
