//! Leaderless replication of one shard: any node coordinates, n replicas hold, nobody orders.
//!
//! # The promise
//!
//! A write that was acknowledged is durable at w of the shard's n replicas (or, where the request allows it, at stand-ins,
//! which the receipt names). A read puts together what r of them hold and never shows a version that another one supersedes;
//! where w + r > n both strict, it includes every write that was acknowledged before it began. With blocking repair
//! reads never go back: what one has shown, later ones show, or what superseded it. A delete is a removal like any
//! other and does not come undone. Nothing is promised of order: concurrent writes merge by the rules of
//! [`data::causal`], and overlap of quorums is not linearizability.
//!
//! # Roles
//!
//! | role | file | keeps |
//! |---|---|---|
//! | coordinator | `coordinator`, `write`, `read`, `names`, `proposer` | nothing that a restart needs |
//! | replica | `replica`, `acceptor` | a [`data::causal::ShardCopy`]; mints dots as one actor, promises and accepts for linearizable keys |
//! | stand-in | `hints`, `handoff` | deltas for replicas that are away; it mints nothing |
//! | keeper of the inbox | `inbox` | nothing: decisions on conflicts lie in the copy, here they are kept within bounds |
//! | walker | `walk` | a comparison of its copy with another one, by hash trees |
//! | collector | `barrier` | what deletes had left when a barrier began |
//!
//! A node runs one [`Coordinator`] and one [`Replica`] per shard; a `Replica` on a node outside the shard's placement is
//! a stand-in.
//!
//! # Messages
//!
//! | message | from, to | meaning |
//! |---|---|---|
//! | `Mint` | coordinator → replica | make this change yours: a dot, durable, and the delta back |
//! | `Minted` | replica → coordinator | the delta, which now is durable here |
//! | `Apply` | coordinator → replica or stand-in | take this delta; a stand-in for whom |
//! | `Applied` | back | it is durable here |
//! | `Read`, `State` | coordinator ↔ replica | what is known of a key, with the copy's context |
//! | `Names`, `Named` | coordinator ↔ replica | names in a row of leaves, and the leaves' sums |
//! | `Count`, `Counted` | coordinator ↔ replica | how many keys lie in a range, by its parts |
//! | `Repair`, `Repaired` | coordinator ↔ replica | what several copies know of a key together |
//! | `Prepare`, `Promised` | coordinator ↔ replica | accept nothing below this ballot any more; what was accepted |
//! | `Accept`, `Accepted` | coordinator ↔ replica | take this value of a linearizable key |
//! | `Outbid` | back | a higher ballot was promised |
//! | `Refused` | back | nothing was done, and why |
//! | `Handoff`, `HandedOff` | stand-in ↔ replica | a hint, until it is acknowledged |
//! | `Missed`, `MissedNoted` | stand-in ↔ replica | hints for you were dropped: compare with everybody |
//! | `Walk*` | walker ↔ replica | hash sums of a range, then what lies in a span that differs |
//!
//! # Rules
//!
//! 1. *Durable, then said.* A replica's word waits until its disk has everything that it had done before the word
//!    (bugs: LL-16). So a crash takes back nothing that anybody heard of, counters have no holes, and a restart
//!    goes on behind the last dot that is durable: no dot was sent that is not.
//! 2. *One actor, one memory.* A copy that lost its disk, cannot read it, or was given an old one back (its node notices
//!    that) begins empty, under another incarnation, and answers neither reads nor mint requests before it has walked over
//!    enough others to hold every write that a quorum acknowledged ([`quorum::to_rebuild`]; bugs: LL-09, LL-11).
//!    Acknowledgements of the life before do not count any more: answers name the lives that their sender knows of. What
//!    cannot be read is never answered as absent. Dots that only the lost disk had leave holes in the contexts.
//! 3. *One minter per write.* A mint request that has left goes to that replica again or to nobody: a second minter would
//!    make a second write (bugs: LL-24). A replica remembers what it minted for whom.
//! 4. *Too few alive is said before anything is sent* (NOQUORUM); too few in time is INDETERMINATE, as what was minted
//!    stays and spreads (bugs: LL-04, LL-25).
//! 5. *Removals read first.* DEL, SREM and HDEL take away what r copies know together, not what one happens to hold; and as many
//!    copies as every read meets one of know all that before anything is minted. A removal that is made again, because the first one ended
//!    as INDETERMINATE, may find nothing left and mint nothing: what it is acknowledged for is the first one.
//! 6. *Repair says what is known, not what is there.* It carries values, removals, and the dots of removed values that a
//!    copy has not heard of (bugs: LL-05, LL-06).
//! 7. *Hints name their target* and the ring version under which it was one, are durable before they count, and go only
//!    when the target, or a replica that took its place, has them durably. What does not fit is refused; what grows too
//!    old is dropped, and its target told to compare its copy with everybody (bugs: LL-16, LL-17).
//! 8. *Walks* compare sixteen sums per range, from above, and exchange only the spans of leaves that differ. One walk at
//!    a time, few messages in flight, in parts, pausable. A walker that the other copy is ahead of takes, and sends nothing
//!    (`walk`). A context is taken over when everything under it was joined ([`data::causal::ShardCopy`]), which closes all
//!    holes.
//!
//! 9. *Rings* change by one replica at a time. The version of the ring is checked outside: a node gives a machine only
//!    messages that name the version it was [placed](Replica::place) under. The newcomer is a copy that is being rebuilt. It takes
//!    deltas and acknowledges none before it is ready, and then n - quorum + 1 others know the new ring and answer nobody
//!    who does not: no quorum of the old ring, of which the replaced replica may know nothing, can be found any more. Until then w
//!    others have each write, which every read under either ring meets. What a coordinator counted under the old ring from
//!    the replaced replica it counts no more. The next change waits until the newcomer is ready. A copy writes down the ring that
//!    it takes part in, and is silent while the map, as a restarted node first knows it, is an older one: two who went back would
//!    be a quorum of a ring that is over. Whoever has left keeps that mark, and through which counter it gave out dots, and nothing
//!    else: without it a restart with the first map would make it a founder again (bugs: LL-18).
//!
//! 10. *What deletes leave behind* goes behind a barrier (`barrier`) that every replica and every stand-in has passed, never by time
//!     (bugs: LL-07, LL-08).
//!
//! 11. *Linearizable keys* are agreed on by their copies, value by value (`proposer`). Such a key is written and read in no other way: the
//!     first write decides which it is.
//!
//! # What is left out here
//!
//! Stand-ins do not mint: with no replica alive even a sloppy write is refused. A
//! ring that grows or shrinks under load (both placements until sync is proven) does not exist yet.
//!
//! Sources: DeCandia et al., "Dynamo: Amazon's Highly Available Key-value Store" (2007) for quorums, hinted handoff and
//! hash trees; Goncalves, Almeida, Baquero, Fonte, "Concise Server-Wide Causality Management for Eventually Consistent
//! Data Stores" (2015) for one context per copy; Cassandra's documentation of blocking read repair and monotonic quorum
//! reads; Riak's kv679 for actors that forget.

mod acceptor;
mod barrier;
pub mod checkpoint;
mod codec;
pub mod coordinator;
pub mod durable;
mod handoff;
pub mod hints;
mod inbox;
pub mod message;
mod minted;
mod names;
mod proposer;
pub mod quorum;
mod read;
pub mod replica;
mod walk;
mod write;

pub use checkpoint::{Checkpoint, Logged, Restoring};
pub use coordinator::{Coordinator, ReadReceipt, Repair, Reply, WriteReceipt};
pub use durable::{Durable, Record};
pub use hints::Hint;
pub use message::{Message, Why};
pub use names::{Leaf, Name, Unsettled};
pub use quorum::{Alive, Placement};
pub use replica::{Life, Limits, Output, Replica, Report};
pub use walk::Tally;
