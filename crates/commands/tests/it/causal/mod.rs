//! Commands where several replicas write.
//!
//! | file | role |
//! |---|---|
//! | `rig` | replicas that take command lines and exchange deltas |
//! | `alike` | one replica alone answers as a plain keyspace does |
//! | `stories` | what concurrent commands come to |
//! | `refusals` | exclusive commands, wrong arguments, contexts that nobody gave out |

mod alike;
mod refusals;
mod rig;
mod stories;
