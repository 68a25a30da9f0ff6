//! What coordinators, replicas, stand-ins and walkers say to each other.

use super::names::Leaf;
use alloc::boxed::Box;
use alloc::vec::Vec;
use data::causal::{
    Ballot, Causal, Context, Entry, KeyState, Object, Outcome, Proposal, Range, Span, Summaries, Unfit, Wish,
};
use data::value::Blob;
use data::{Incarnation, NodeId, RequestId};

/// The newest life of each replica that the sender knows of. An acknowledgement of an older one does not count: the copy that
/// gave it is gone, and the new one may have walked over the sender before this write came.
pub type Lives = Vec<(NodeId, Incarnation)>;

/// Why nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// This node is no replica of the shard.
    NotReplica,
    /// This copy lost its disk and is not rebuilt yet.
    Rebuilding,
    /// A stamp lies too far ahead of this node's clock, or its clock behind what it saw.
    Clock,
    /// No room for another hint.
    HintsFull,
    /// This replica has refused the request before, and stays with it.
    Declined,
    /// The request is older than what this replica remembers, or was for an earlier life of it: it may have been done.
    Forgotten,
    /// The change does not fit what the minter holds of the key. No other replica is asked.
    Unfit(Unfit),
    /// Others write the key all the time: no proposal of this request came through, and none will.
    Outbid,
    /// The key was written without agreement, so it cannot be linearizable.
    Plain,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// For this life of the replica and no other. `seen` is what several copies know of the key, for changes that take away
    /// what they see.
    Mint {
        request: RequestId,
        life: Incarnation,
        key: Blob,
        wish: Box<Wish>,
        seen: Option<Box<KeyState>>,
    },
    Minted {
        request: RequestId,
        delta: Box<Causal<Object>>,
        /// What it came to when it was minted, the same however often it is asked for.
        outcome: Outcome,
        lives: Lives,
    },
    /// `stands_for` names the replica that is away, and the ring version under which it is one.
    Apply {
        request: RequestId,
        key: Blob,
        delta: Box<Causal<Object>>,
        stands_for: Option<(NodeId, u64)>,
    },
    Applied {
        request: RequestId,
        stands_for: Option<NodeId>,
        lives: Lives,
    },
    Read {
        request: RequestId,
        key: Blob,
    },
    State {
        request: RequestId,
        state: Box<KeyState>,
        stand_in: bool,
    },
    Repair {
        request: RequestId,
        key: Blob,
        together: Box<KeyState>,
    },
    Repaired {
        request: RequestId,
        lives: Lives,
    },
    Refused {
        request: RequestId,
        why: Why,
    },
    /// To the copy that minted them: so many replicas hold these dots.
    Spread {
        dots: Context,
        copies: u32,
    },
    /// Which keys are in the leaves from `first` on, at most through the leaf `through`? About `count_max` of them.
    Names {
        request: RequestId,
        first: u32,
        through: u32,
        count_max: u32,
    },
    /// These, in all leaves through `last`; leaves without keys are left out.
    Named {
        request: RequestId,
        last: u32,
        leaves: Vec<Leaf>,
    },
    /// How many keys does a reader see at this time, ms since 1970, in each range in this one?
    Count {
        request: RequestId,
        range: Range,
        now_ms: i64,
    },
    /// So many; nothing for a range that holds too much to count at one time.
    Counted {
        request: RequestId,
        sums: Box<Summaries>,
        shown: Vec<Option<u64>>,
    },

    /// Takes nothing below this ballot any more and says what was accepted; the ballot that is none only asks.
    Prepare {
        request: RequestId,
        key: Blob,
        ballot: Ballot,
    },
    /// `promised` is the highest that this replica gave, `is_plain` whether the key was written without agreement.
    Promised {
        request: RequestId,
        ballot: Ballot,
        promised: Ballot,
        accepted: Box<Proposal>,
        is_plain: bool,
        lives: Lives,
    },
    Accept {
        request: RequestId,
        key: Blob,
        proposal: Box<Proposal>,
    },
    Accepted {
        request: RequestId,
        ballot: Ballot,
        lives: Lives,
    },
    /// This replica promised a higher one.
    Outbid {
        request: RequestId,
        ballot: Ballot,
        promised: Ballot,
    },

    Handoff {
        hint: u64,
        key: Blob,
        delta: Box<Causal<Object>>,
    },
    HandedOff {
        hint: u64,
    },
    Missed,
    MissedNoted,

    /// A walk begins; the context is the walker's.
    WalkBegin {
        walk: u64,
        context: Context,
    },
    /// Sums of the widest ranges, and the context at the same moment. `is_ready` is false for a copy that is being rebuilt.
    WalkBegun {
        walk: u64,
        sums: Box<Summaries>,
        context: Context,
        is_ready: bool,
    },
    WalkAsk {
        walk: u64,
        range: Range,
    },
    WalkSums {
        walk: u64,
        range: Range,
        sums: Box<Summaries>,
    },
    /// What the walker holds in a span that differs.
    WalkSpan {
        walk: u64,
        span: Span,
        entries: Vec<Entry>,
        context: Context,
    },
    /// What the other copy holds after it has taken that over, perhaps of the span's beginning only.
    WalkBack {
        walk: u64,
        span: Span,
        entries: Vec<Entry>,
        context: Context,
    },
}

impl Message {
    /// The lives that an answer tells of.
    pub fn lives(&self) -> &[(NodeId, Incarnation)] {
        match self {
            Message::Minted { lives, .. }
            | Message::Applied { lives, .. }
            | Message::Repaired { lives, .. }
            | Message::Promised { lives, .. }
            | Message::Accepted { lives, .. } => lives,
            _ => &[],
        }
    }
}
