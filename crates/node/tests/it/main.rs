//! Stories of whole nodes, in virtual time.

mod audits;
mod best_effort;
mod chain;
mod changes;
mod cluster;
mod formats;
mod inbox;
mod latency;
mod leaderless;
mod linearizable;
mod merging;
mod moving;
mod options;
mod presets;
mod promotion;
mod reading;
mod rig;
mod rules;
mod sharding;
mod sites;
mod sites_block;
mod sites_exclusive;
mod sites_names;
mod sites_sessions;
mod sites_transactions;
mod snapshot_reads;
