//! Causal values: laws, meanings, encoded forms.
//!
//! | file | role |
//! |---|---|
//! | `world` | the law suite: exhaustive and random runs of a few replicas |
//! | `history` | the oracle: what a run should come to, computed from who saw what |
//! | `subjects`, `members` | the types under the law, with their operations and meanings |
//! | `sequence` | the list: order, and runs that are not interleaved |
//! | `keys` | maps with fields of several policies, whole keys |
//! | `laws` | the suite, type by type |
//! | `planted`, `planted_stores` | broken types, each of which the suite must find |
//! | `meanings` | rules that need a story rather than a law |
//! | `shard` | many keys under one context; size of what they carry |
//! | `conflicts` | what is in conflict, and what became of it |
//! | `copies` | what one copy of a shard holds: steps, hash tree, walks, encoded forms |
//! | `wishes` | what clients ask for, and what it comes to |
//! | `clocks` | dots, vectors, contexts, stamps |
//! | `encoded` | encoded forms, whole and damaged |

mod clocks;
mod conflicts;
mod copies;
mod encoded;
mod history;
mod keys;
mod laws;
mod meanings;
mod members;
mod merging;
mod planted;
mod planted_stores;
mod sequence;
mod shard;
mod subjects;
mod wishes;
mod world;
