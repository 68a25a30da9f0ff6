//! Leaderless shards: golden scripts, a random world, and the hunt for planted bugs in it.

pub mod agreement;
#[cfg(not(feature = "plant"))]
mod limits;
pub mod oracle;
#[cfg(feature = "plant")]
mod planted;
#[cfg(not(feature = "plant"))]
mod random;
#[cfg(not(feature = "plant"))]
mod records;
#[cfg(not(feature = "plant"))]
mod rings;
#[cfg(not(feature = "plant"))]
mod scripts;
#[cfg(not(feature = "plant"))]
mod walks;
pub mod world;
