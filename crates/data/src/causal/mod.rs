//! Causal values: what a key holds where several replicas write, in multi-leader and leaderless keyspaces alike.
//!
//! A write becomes a **delta**: what it adds, marked with dots, and a context of exactly the dots that it adds or
//! removes. Merging deltas and states, in any order and however often, gives the same value everywhere; nothing waits
//! for anything, and nothing is resolved by a message. `docs/internals/causal-values.md` has the rules under
//! concurrency and the papers they come from; `tests/it/causal` proves them type by type.
//!
//! | file | role |
//! |---|---|
//! | `dot` | actors, dots, marks, and what a write mints from |
//! | `vector`, `context` | sets of dots: without holes, and exactly |
//! | `stamp` | hybrid logical clock: orders what is concurrent |
//! | `store` | what every value can do; the pair of value and context |
//! | `siblings` | register with siblings, and the enable-wins flag |
//! | `last` | last-write-wins register |
//! | `conflict` | what of a key is in conflict, and what became of conflicts |
//! | `amount`, `counter` | counter that deletes can take from |
//! | `counted` | register plus counter: strings and scores |
//! | `keyed`, `sets`, `zset` | entries by name; three kinds of sets; sorted set |
//! | `list` | sequence without interleaving |
//! | `maximum` | registers that only rise |
//! | `expiry` | when a key expires |
//! | `acceptor` | a linearizable key: promises, and what was proposed |
//! | `object`, `change` | what a key or a field holds; what commands do to it |
//! | `shard`, `step`, `settling` | what one copy of a shard holds, what changes it, and when it may forget what is recent |
//! | `disputes` | which of its keys the inbox tells of |
//! | `plain` | a causal value as a plain one, for commands that read |
//! | `sealed` | contexts in the hands of clients |
//! | `tree` | hash tree over a copy, for anti-entropy |
//! | `wish` | what a client asks to be done to a key, and what it comes to |
//! | `codec` | encoded form |
//!
//! # A copy of a shard
//!
//! One [`Context`] stands beside all keys: every dot that the copy ever held. A delta for a key is joined with the
//! key's [`Object`] under that context (with `Object::default()` for a key that is not there), and its context is merged
//! into the shard's; a key whose object is bottom goes. Hence two duties of the caller: a context that comes from a client must be one that was given out for that
//! key, and a copy that could not read a key must not answer for it (a read error is not absence).
//!
//! # Commands
//!
//! Mergeable, by what [`Object`] offers. The reply is what this replica sees after its own delta.
//!
//! | command | mutator |
//! |---|---|
//! | SET, SETEX, PSETEX, MSET | `set` |
//! | SETV: SET with an explicit context | `set_over` |
//! | INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT | `increment` |
//! | SADD, SREM | `set_add`, `set_remove` |
//! | HSET, HMSET, HINCRBY, HINCRBYFLOAT, HDEL | `hash_set`, `hash_increment`, `hash_remove` |
//! | a field with another policy, fields in fields | `hash_update` |
//! | ZADD, ZINCRBY, ZREM | `zset_set`, `zset_increment`, `zset_remove` |
//! | LPUSH, RPUSH, LINSERT, LREM | `list_push`, `list_insert`, `list_remove` |
//! | PFADD, PFMERGE | `raise` |
//! | EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT, PERSIST | `expire` |
//! | DEL, UNLINK | `delete` |
//! | no command yet: flags, other kinds of sets | `enable`, `disable` |
//! | where last-write-wins is the policy: SET, HSET, INCR | `set_last` |
//!
//! What each command of Redis becomes, and which ones are exclusive: `docs/internals/causal-commands.md`.
//!
//! # Residue
//!
//! What stays of something deleted because merging needs it (what a counter stood at, removed list elements, removes that win). It goes by
//! [`Step::Collect`], behind the barrier that proves that nobody can bring the older state any more
//! (`crates/protocol/src/leaderless/barrier.rs`).

mod acceptor;
mod amount;
mod change;
pub mod codec;
mod conflict;
mod context;
mod counted;
mod counter;
mod disputes;
mod dot;
mod expiry;
mod keyed;
mod last;
mod list;
mod maximum;
mod merging;
mod moment;
mod object;
mod plain;
pub mod sealed;
mod sets;
mod settling;
mod shard;
mod siblings;
mod stamp;
mod step;
mod store;
mod tree;
mod vector;
mod wish;
mod zset;

pub use acceptor::{Acceptor, Ballot, HISTORY_MAX, Proposal};
pub use amount::Amount;
pub use change::SetPolicy;
pub use codec::DEPTH_MAX;
pub use conflict::{Conflict, ConflictId, Decision, Decisions, How, Rival, Version};
pub use context::Context;
pub use counted::{Counted, Text};
pub use counter::Counter;
pub use dot::{Actor, Dot, Mark, Minter, Write};
pub use expiry::{Deadline, Deadlines};
pub use keyed::Keyed;
pub use last::Last;
pub use list::{Element, List};
pub use maximum::Maximum;
pub use merging::{FUNCTION_LEN_MAX, Given, MergeEngine, Merged, Merging, join};
pub use moment::{CausalView, CopyMoment};
pub use object::{Kind, Map, Object, Part};
pub use sets::{RemoveWinsSet, Set, TwoPhaseSet, Words};
pub use shard::{Entry, Held, KeyState, ShardCopy};
pub use siblings::{Flag, Payload, Siblings};
pub use stamp::{HybridClock, Stamp, TooFarAhead};
pub use step::{Step, read_context, read_delta, write_context, write_delta};
pub use store::{Causal, Losers, Lost, Store, decode_store, encode_store};
pub use tree::{DEPTH, FAN_OUT, HashTree, LEAVES, Range, Span, Summaries, Summary};
pub use vector::VersionVector;
pub use wish::{Outcome, SIBLINGS_MAX, Unfit, Wish};
pub use zset::{Score, ZSet};
