//! Single-leader replication of one group.
//!
//! # The promise
//!
//! An entry is *committed* when the leader and k electable followers have persisted it; k follows from the commit rule
//! ([`commit`]). An election, held by the control plane, seals e - k electable replicas and takes the most advanced of
//! them. Write quorum and election quorum meet, so the winner holds every committed entry: no acknowledged write is lost
//! (`async` and `best-effort`, where k = 0, excepted: there the loss is bounded by the lag, and
//! under `best-effort` by nothing).
//!
//! # Roles
//!
//! | role | accepts entries | may acknowledge writes |
//! |---|---|---|
//! | follower | from the leader of the newest epoch it has promised to | no |
//! | sealed | from nobody, until it learns who won | no |
//! | leader | makes them | once its epoch's empty entry is committed |
//! | removed | from nobody | no |
//!
//! A member outside the electable set is a follower like any other; the leader does not count it.
//!
//! # Messages
//!
//! | message | from, to | meaning |
//! |---|---|---|
//! | `Gap` | leader → follower | go on behind this entry without those before it (`best-effort`, [`gap`]) |
//! | `Standing` | follower → leader | whether my table lacks what yours has, under `best-effort` |
//! | `Append` | leader → follower | entries after a position, commit index, confirmation round |
//! | `Ack` | follower → leader | persisted and equal to yours through here, applied through there |
//! | `Mismatch` | follower → leader | I do not have that position: my end, and where my epochs begin |
//! | `Stale` | follower → former leader | I have promised a newer epoch |
//! | `Offer` | leader → follower | my log begins after your end: take a snapshot |
//! | `Feed` | follower → follower behind it | as `Append`, along a link ([`links`]) |
//! | `Held` | back along the links, to the leader | what I and those behind me hold |
//! | `Lacks` | follower → its feeder | as `Mismatch`; also my greeting after a new view |
//!
//! # Rules
//!
//! 1. *One history per epoch.* An epoch has one leader process, so two entries with equal epoch and index are equal. Logs
//!    are compared by epoch: the common part ends at the smaller of both ends of the newest epoch that both have
//!    (bugs: SL-03, SL-04). A follower cuts only what differs from its leader's log, never what is committed.
//! 2. *Seal.* A replica that is asked to seal for a new epoch makes the promise durable, then says where its flushed log
//!    ends. From the asking on it takes nothing from older epochs. The promise survives a restart as a `fence` record.
//! 3. *Empty entry first.* A new leader appends an empty entry; nothing older is counted as committed, and nothing is
//!    executed, before that entry is committed (bugs: SL-19, TC-01).
//! 4. *Leadership ends with the process.* The view names a process; a restarted leader is a follower (TC-02).
//! 5. *Two rules during a change.* From proposing another electable set until a newer view is known the leader meets the
//!    old and the proposed set for every entry (TC-04).
//! 6. *Reads.* The leader answers alone while k followers' leases run or the control plane's does; else a round of
//!    messages confirms that it still leads, begun after the read arrived (bugs: SL-06).
//! 7. *What one request asks for* ([`asked`]) moves its reply and nothing else. A commit that a message without entries told
//!    of is answered once more when it is applied: so the leader knows in one round trip who shows an entry.
//! 8. *Ledger first.* What a copy loses although somebody may have been told that it is done is written to the ledger
//!    ([`Output::Ledger`]) and flushed before it is cut or the copy replaced ([`lost`], TC-10). Nobody seals with entries past the
//!    recorded beginning of an epoch newer than they are.
//! 9. *Equal logs, equal tables.* An `audit` entry tells what a range of keys holds in its leader's table; every copy compares, and
//!    the majority is right ([`audit`]). A copy in doubt keeps its log, which is sound: it goes on to acknowledge and to seal. Its
//!    table is neither shown nor served from, and is made anew.
//! 10. *Links* ([`links`], `relay`) decide how entries and acknowledgements travel, never what counts: under `chain` and `FAN-OUT` a
//!     follower is fed by another one, its acknowledgement travels back with its name on it, and the leader counts lives as ever (SL-22).
//! 11. *Gaps* ([`gap`]): under `best-effort` a follower that is too far behind goes on without entries. Its log fits, its table does not;
//!     it says so, and counts under no other rule before it was made anew (TC-80, TC-81).
//!
//! # What is left out here
//!
//! Who is elected, and when, is the control plane's matter. Executing commands, holding replies and moving snapshots is
//! the node's. Statement and physical log formats come with their own files. The tail of a chain does not answer linearizable reads by
//! itself: entries are handed on while disks write, so what the tail holds proves nothing of those before it. It asks the head.
//!
//! Sources: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014) for log matching and the
//! commitment of older entries; Lin, "PacificA" (2008) for data replication apart from configuration; KIP-101, KIP-279
//! for truncation by epoch; Oki and Liskov, "Viewstamped Replication" (1988) for view changes; van
//! Renesse and Schneider, "Chain Replication" (2004) for the chain and its re-linking.

pub mod asked;
pub mod audit;
pub mod commit;
mod electable;
mod follower;
mod gap;
mod heard;
mod held;
mod io;
mod leader;
pub mod links;
pub mod log_window;
mod lost;
pub mod message;
mod progress;
mod reads;
mod relay;
mod replica;
mod sealing;
mod shipping;

pub use asked::{Asked, Who};
pub use io::{DropReason, Input, Output, ReadPermit, Recovered, Report, RoleName, SealAnswer};
pub use links::Links;
pub use log_window::{LogWindow, Mark};
pub use lost::Lost;
pub use message::{Holding, Message};
pub use progress::Progress;
pub use replica::Replica;
