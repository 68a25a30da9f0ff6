//! The control plane: which nodes, keyspaces and groups there are, and who leads.
//!
//! A few nodes run a replicated state machine, the [`ClusterMap`], on an existing consensus library that no other crate
//! sees. Each node drives one [`Plane`]: inputs in, outputs out; no clock, no thread, no randomness of its own, so the
//! server and the simulator run the same code.
//!
//! | part | duty |
//! |---|---|
//! | [`map`] | the replicated state: a deterministic function of commands |
//! | `consensus` | agreement on the order of commands, durability, membership of the control group |
//! | `supervisor` | on the control leader only: suspects nodes, holds elections, moves leaderships, keeps sizes |
//! | `lease` | control leases: "nobody else is elected before this instant" |
//! | `detector` | who is alive |
//! | [`founding`] | how a cluster begins, before there are node numbers |
//!
//! Invariants:
//! 1. Maps of one version are equal everywhere. Ids, epochs and view numbers are never used twice.
//! 2. A change of a group names the view number it was computed from and is refused on another.
//! 3. An election counts seals against the electable set it found, by (node, incarnation), for this election only: e - k
//!    of them, so that the winner holds every committed entry (bugs: SL-01, SL-15).
//! 4. No leader is named while the deposed process may still hold a control lease, by the clocks of a majority (bugs: SL-07,
//!    X-02), and a control leader that no majority follows grants none.
//! 5. The control group changes through a joint configuration, by a leader that has committed in its own term (bugs: SL-19,
//!    SL-20).
//! 6. A vote or an acknowledgement leaves a node only once what it promises is durable.
//!
//! Not here: the commit rule of a group in use cannot be changed (it would have to be its leader's proposal); a group's
//! member that is dead for long is not replaced by itself, only a control member is; `ELECTION wait` and forced promotion.
#![forbid(unsafe_code)]

pub mod command;
pub mod config;
mod consensus;
mod detector;
pub mod event;
pub mod founding;
mod lease;
pub mod map;
pub mod message;
pub mod plane;
pub mod shards;
mod supervisor;

pub use command::{Applied, Command, Refusal};
pub use config::{Addresses, Config, Timings};
pub use event::{Change, Event};
pub use founding::{Founded, Founding, FoundingInput, FoundingMessage, FoundingOutput, Hello};
pub use map::{
    ClusterMap, Leaderless, LeaderlessChange, MultiLeader, MultiLeaderChange, Node, NodeState, Shard,
    SiteGroups,
};
pub use message::{Ask, Message, Sealed};
pub use plane::{Input, Output, Plane, Recovered};
pub use shards::{Move, Phase, ShardChange};
