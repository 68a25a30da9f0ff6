//! What the leaders of two sites' groups say to each other of one shard.

use super::claims::{OpenClaims, Unclaimed};
use super::record::{SiteWrite, Staged};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use data::causal::Context;
use data::{Epoch, OriginVector, SiteId};

/// Where a site stands, told at least every so often. It is greeting, heartbeat and acknowledgement at once.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// Of the leader that says it; a lower one is dropped, a higher one replaces what was known.
    pub epoch: Epoch,
    /// Grows with each status of this leader.
    pub number: u64,
    /// The configuration that it goes by.
    pub version: u64,
    /// What is committed in its group's log, and nothing that is only proposed there.
    pub vector: OriginVector,
    /// Whom it hears.
    pub hears: BTreeSet<SiteId>,
    /// It holds all that it should, and may be copied.
    pub is_ready: bool,
    /// What the receiver lacks is no longer in its log, or came there by a copy: it can give its state only.
    pub is_beyond_log: bool,
    /// It does not listen to the receiver, whose stamps lie so many ms ahead of its clock.
    pub stopped_by_ms: Option<i64>,
    /// Under `block`: what this leader still claims.
    pub claims: Option<OpenClaims>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    Status(Box<Status>),
    /// Committed writes, in the order of the sender's log.
    Writes {
        writes: Vec<Arc<SiteWrite>>,
    },
    /// Copy yourself to me.
    CopyAsk {
        ask: u64,
    },
    /// The state is frozen as of this context and vector, all of it committed. From now on the giver's number counts.
    CopyBegun {
        ask: u64,
        copy: u64,
        context: Context,
        vector: OriginVector,
    },
    /// The part that begins at this place.
    CopyPartAsk {
        copy: u64,
        first: u64,
    },
    CopyPart {
        copy: u64,
        part: Box<Staged>,
    },
    /// There is no such copy, or no longer; or none can begin, and this is the number of the question.
    CopyGone {
        copy: u64,
    },
    /// The leader of this epoch wants to write keys at these places, ascending; `seen` is what it holds.
    Claim {
        epoch: Epoch,
        number: u64,
        places: Vec<u64>,
        seen: OriginVector,
    },
    Agreed {
        epoch: Epoch,
        number: u64,
    },
    Refused {
        epoch: Epoch,
        number: u64,
        why: Unclaimed,
    },
}

impl Message {
    /// About what it takes, for bandwidth; what is not counted is bounded by the number of sites.
    pub fn bytes(&self) -> u64 {
        match self {
            Message::Writes { writes } => writes.iter().map(|write| write.bytes()).sum(),
            Message::CopyPart { part, .. } => part.bytes,
            Message::Claim { places, .. } => 64 + 8 * places.len() as u64,
            Message::Status(_)
            | Message::CopyAsk { .. }
            | Message::CopyBegun { .. }
            | Message::CopyPartAsk { .. }
            | Message::CopyGone { .. }
            | Message::Agreed { .. }
            | Message::Refused { .. } => 64,
        }
    }
}
