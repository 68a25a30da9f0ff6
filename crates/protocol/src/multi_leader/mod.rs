//! Multi-leader replication of one shard: one group with a leader in each site, and an exchange of committed writes
//! between the sites.
//!
//! # The promise
//!
//! A write is acknowledged by its site's own commit rule; no other site is asked. Every site applies every committed write
//! exactly once, behind all that its origin held when it was made: nobody sees an effect before its cause. What did not know
//! of each other is settled by the keyspace's policy, alike everywhere, from the writes alone. When writes stop and sites
//! reach each other, all of them hold the same. Between sites nothing is linearizable (bugs: ML-20); a session that takes its
//! vector along reads its own writes, and what it has read, at whatever site holds that vector.
//!
//! # Roles
//!
//! | role | file | keeps |
//! |---|---|---|
//! | site's log | `record`, `state` | writes of all sites; the state is a function of its records |
//! | exchange | `exchange` | run by the group's leader: mints, proposes; nothing that a failover must not lose |
//! | writer | `drafting` | the commands of one write until it is made |
//! | claimant | `claiming`, `claims` | under `block`: which sites agreed to what, and who has written what |
//! | sender | `outbound`, `link`, `marks` | how far each site has the log, and where to go on |
//! | receiver | `inbound` | writes that wait for their causes |
//! | copier | `copying` | another site's whole state, in parts |
//! | ways | `topology`, `routes` | who hands which origin's writes on to whom |
//! | inbox | `inbox` | what became of conflicts, within bounds |
//! | clocks | `clocks` | whether the wall clock may be believed |
//! | conflicts | `policy` | what a command becomes |
//! | sessions | `token` | a vector for each shard |
//!
//! # Messages
//!
//! | message | from, to | meaning |
//! |---|---|---|
//! | `Status` | every site → every site | what is committed here, whom I hear, whether my log serves you |
//! | `Writes` | site → site | committed writes that you seem to lack |
//! | `CopyAsk`, `CopyBegun` | taker ↔ giver | your state, as of a vector |
//! | `CopyPartAsk`, `CopyPart` | taker ↔ giver | its next part |
//! | `CopyGone` | giver → taker | that copy is no more: begin anew |
//! | `Claim` | writer → every site | may I write these keys, holding this? |
//! | `Agreed`, `Refused` | site → writer | yes, and it is in my log; no, and why |
//!
//! # Rules
//!
//! 1. *A write is named (site, epoch, sequence)*, and the epoch is the leader's: two leaders of a site never give one name
//!    twice (bugs: ML-24). A log keeps a prefix of what its leader proposed, so an origin's names have no holes.
//! 2. *Everything enters through the log.* A remote write is proposed like a local one; followers replay the same records. What
//!    the machine itself knows may go with its leader.
//! 3. *Committed, then said.* Only committed writes are sent, and only committed ones are acknowledged. A leader of a newer
//!    epoch may tell less than the one before; then its word replaces the old one, and what is missing is sent again, to its
//!    origin too (bugs: ML-13).
//! 4. *Once.* A write that the vector includes is dropped, on whatever way it came and whether or not its origin still exists
//!    (bugs: ML-01, ML-02).
//! 5. *Behind its causes.* A write names what its origin held. Whatever comes early waits, in bounded memory; when that is full
//!    the sender's state is copied instead (bugs: ML-04, ML-12). Clocks order nothing here (bugs: ML-05).
//! 6. *Topology is a preference.* It says who sends. Sites that are away are closed over, cut links are gone round, and a site
//!    that lacks something for too long gets it from whoever has it (bugs: ML-03).
//! 7. *Who cannot be served from the log copies the state*: as of one moment, and in one step. What a copy brought is in no
//!    record, so a log never serves a peer past a copy that the peer does not include.
//! 8. *A time too far ahead stops the link* that brought it, and is reported on both sides; one write is never left out. So a
//!    leader whose clock most others contradict makes none.
//! 9. *Settling a conflict writes nothing.* It is a function of the values (bugs: ML-07).
//! 10. *Only the home gives a home away*, by a write in its own log; behind that record it refuses the slot, and the new
//!     home accepts it once it has applied that record, so after all that was written before.
//! 11. *Agreed, then written.* Under `block` a majority of the sites agrees first, each in its log; a claim is let go where what
//!     it was for has arrived.
//!
//! # What is left out here
//!
//! `home` and `block` need a commit rule that loses
//! nothing: a site that lost a hand-over it had sent would be a second home; and a slot whose home is gone for good has no
//! home until an operator's word exists, nor can anybody write a key that a lost site was writing under `block`. A vector gains a pair with each failover and loses none. A write goes in one piece,
//! however large. Collecting residue takes the barrier that leaderless shards lack too.
//!
//! Sources: Terry et al., "Managing Update Conflicts in Bayou" (1995) for logs that are exchanged by vectors and for sessions;
//! Birman, Schiper, Stephenson, "Lightweight Causal and Atomic Group Multicast" (1991) for delivery behind causes; Lloyd,
//! Freedman, Kaminsky, Andersen, "Don't Settle for Eventual" (2011) for causes as dependencies between sites; MySQL's circular
//! replication and its WL#10963 for what goes wrong without vectors.

mod claiming;
mod claims;
mod codec;
mod copying;
mod drafting;
mod exchange;
mod inbound;
mod inbox;
mod link;
mod marks;
pub mod message;
mod outbound;
mod policy;
mod record;
mod routes;
mod state;
mod token;
mod topology;

pub use claims::{ClaimId, OpenClaims, Unclaimed};
pub use drafting::Draft;
pub use exchange::{Exchange, Leadership, Limits, Output, Report};
pub use link::Lag;
pub use marks::Marks;
pub use message::{Message, Status};
pub use outbound::Fetched;
pub use policy::{Family, Policy, Refusal};
pub use record::{Change, Record, SiteWrite, Staged};
pub use state::{LostWrite, SiteState, Staging};
pub use token::{Shard, SiteToken};
pub use topology::{Config, ConfigError, Topology};
