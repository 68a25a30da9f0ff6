//! Causal values: laws, meanings, encoded forms.
//!
//! | file | role |
//! |---|---|
//! | `world` | the law suite: exhaustive and random runs of a few replicas |
//! | `history` | the oracle: what a run should come to, computed from who saw what |
//! | `subjects` | the types under the law, with their operations and meanings |
//! | `sequence` | the list: order, and runs that are not interleaved |
//! | `keys` | maps with fields of several policies, whole keys |
//! | `laws` | the suite, type by type |
//! | `planted` | broken types, each of which the suite must find |

mod history;
mod keys;
mod laws;
mod planted;
mod sequence;
mod subjects;
mod world;
