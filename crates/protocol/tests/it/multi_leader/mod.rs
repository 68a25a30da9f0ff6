//! Multi-leader shards: a random world, stories, other stores' failures, and the hunt for planted bugs.

#[cfg(not(feature = "plant"))]
mod claims;
mod clocks;
#[cfg(not(feature = "plant"))]
mod examples;
#[cfg(not(feature = "plant"))]
mod keydb;
pub mod oracle;
#[cfg(feature = "plant")]
mod planted;
#[cfg(not(feature = "plant"))]
mod random;
#[cfg(not(feature = "plant"))]
mod records;
pub mod sites;
#[cfg(not(feature = "plant"))]
mod stories;
pub mod world;
