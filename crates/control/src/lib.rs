//! The control plane: which nodes, keyspaces and groups there are, and who leads.
//!
//! Deterministic: no clock, no thread, no randomness of its own. The server and the simulator drive the same [`Plane`].
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
mod supervisor;

pub use command::{Applied, Command, Refusal};
pub use config::{Addresses, Config, Timings};
pub use event::{Change, Event};
pub use founding::{Founded, Founding, FoundingInput, FoundingMessage, FoundingOutput, Hello};
pub use map::{ClusterMap, Node, NodeState};
pub use message::{Ask, Message, Sealed};
pub use plane::{Input, Output, Plane, Recovered};
