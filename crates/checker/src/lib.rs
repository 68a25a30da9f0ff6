//! A history of what clients asked and were told goes in, a verdict comes out.
//!
//! | part | is |
//! |---|---|
//! | [`Operation`], [`format`] | what a client did and saw; as JSON lines, described in `docs/internals/history.md` |
//! | [`Model`], [`judge`] | what a history can be held against |
//! | [`Verdict`] | violations by kind, each with the operations that contradict each other |
//! | `register`, `clusters`, `search`, `versions` | linearizability by key |
//! | `elements`, `counter`, `bank`, `unique` | sets and lists, counters, sums, things given out once |
//! | `session`, `staleness`, `convergence` | what is promised where linearizability is not |
//!
//! *Invariant:* it knows nothing of the system, only what clients saw. A violation is never a guess: whatever is reported,
//! no order of the operations allowed by the model explains. What it cannot decide it calls undecided.
// catalogue: A4 A5

mod bank;
mod clusters;
mod convergence;
mod counter;
mod elements;
pub mod format;
mod model;
mod operation;
mod register;
mod search;
mod session;
mod staleness;
mod unique;
mod verdict;
mod versions;

pub use model::{Model, Settings, judge};
pub use operation::{Action, NEVER, Operation, Status, Value};
pub use verdict::{Kind, Verdict, Violation, describe};
