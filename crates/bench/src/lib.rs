//! Load generator and comparisons: what a server does for its clients, and what that costs it.
//!
//! Knows no other crate of the project: it drives Tercet, Redis, Valkey and etcd from outside, in the same way.
//!
//! | file | role |
//! |---|---|
//! | `load` | the generator: N connections, batches of P, latencies, server CPU and disk writes |
//! | `sweep` | Tercet beside itself: commit rules, followers, who reads |
//! | `formats` | bytes on the wire and in the log, by log format |
//! | `leaderless` | repair, staleness and metadata of leaderless keyspaces |
//! | `sites` | writes at one, two and three sites, what they send each other, and when all have them |
//! | `redis_load` | the commands: GET, SET, a mix, SET followed by WAIT |
//! | `etcd_load` | puts through etcd's own protocol |
//! | `servers` | how each server is started, alone and as three replicas |
//! | `compare` | rounds A B A B, medians, ratios |
//! | `client`, `resp` | a blocking connection for tests |
//! | `process` | child processes that never outlive a run; `/proc` accounting |

pub mod client;
pub mod compare;
pub mod etcd_load;
pub mod formats;
pub mod leaderless;
pub mod load;
pub mod process;
pub mod redis_load;
pub mod resp;
pub mod servers;
pub mod sites;
pub mod sweep;
