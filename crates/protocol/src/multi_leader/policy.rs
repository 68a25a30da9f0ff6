//! What becomes of writes that did not know of each other.
// catalogue: J2 J3 J5 J8 J9 J14 J18

use core::fmt;
use data::SiteId;
use data::causal::{Causal, Context, Merging, Object, Outcome, TooFarAhead, Unfit, Wish, Write};
use data::leaderless::ConflictPolicy;

/// How a keyspace treats conflicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Values merge by the rules of their types; concurrent strings are siblings of which the highest is shown.
    Crdt,
    /// As `Crdt`; a reader is told of siblings, and whoever resolves them writes over what it saw.
    Siblings,
    /// Strings and fields are registers whose highest stamp wins; what loses is reported. Collections merge.
    LastWriteWins,
    /// A key is written at its home site only.
    Home,
    /// A write is made once a majority of the sites has agreed to it: see `claiming`.
    Block,
}

/// Which of the three ways to deal with conflicts a policy takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// There are none.
    Avoid,
    /// All sites come to the same value by themselves.
    Converge,
    /// People or programs decide.
    Resolve,
}

impl Policy {
    pub fn family(self) -> Family {
        match self {
            Policy::Crdt | Policy::LastWriteWins => Family::Converge,
            Policy::Siblings => Family::Resolve,
            Policy::Home | Policy::Block => Family::Avoid,
        }
    }
}

/// Why a write was not made. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// This site has not copied another one yet.
    Joining,
    /// The wall clock lies too far behind what this site has seen.
    Clock(TooFarAhead),
    /// The wall clock is so many ms ahead of most others: other sites would not take what it stamps.
    Ahead { by_ms: i64 },
    /// The key is at home elsewhere: to be forwarded there.
    Elsewhere { home: SiteId },
    /// Under `block`: the sites have not agreed to a write of this key.
    Unclaimed,
    /// The target of a move is none of the sites.
    NotASite(SiteId),
    /// The value is no whole number, or the sum would be none.
    NotANumber,
    /// What the key holds does not take it.
    Unfit(Unfit),
    /// More bytes than one write may have.
    TooLarge { bytes_max: u64 },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Joining => f.write_str("this site is being copied from another one"),
            Refusal::Clock(ahead) => write!(f, "the clock is behind: {ahead}"),
            Refusal::Ahead { by_ms } => write!(f, "the clock is {by_ms} ms ahead of most others"),
            Refusal::Elsewhere { home } => write!(f, "the key is at home at {home}"),
            Refusal::Unclaimed => f.write_str("the sites have not agreed to a write of this key"),
            Refusal::NotASite(site) => write!(f, "{site} is none of the keyspace's sites"),
            Refusal::NotANumber => f.write_str("value is not an integer or out of range"),
            Refusal::Unfit(unfit) => write!(f, "the key does not take it: {unfit:?}"),
            Refusal::TooLarge { bytes_max } => write!(f, "a write has at most {bytes_max} bytes"),
        }
    }
}
impl core::error::Error for Refusal {}

/// The delta that does what was asked, under the policy, made from what the site holds of the key; with what became of the conflicts
/// that it ends. `merging`: the keyspace's function, if it has one.
///
/// # Errors
/// [`Refusal::NotANumber`]: registers of last-write-wins do not add, so an increment is a write of the sum.
pub fn mint(
    policy: Policy,
    merging: Option<&Merging>,
    wish: &Wish,
    object: &Object,
    write: &mut Write<'_>,
    now_ms: i64,
) -> Result<Causal<Object>, Refusal> {
    let mut under = |values| wish.mint_under(values, merging, object, write, now_ms).map(|(delta, _)| delta);
    match policy {
        Policy::LastWriteWins => under(ConflictPolicy::LastWriteWins).map_err(refusal),
        Policy::Crdt | Policy::Siblings | Policy::Home | Policy::Block => {
            under(ConflictPolicy::Crdt).map_err(Refusal::Unfit)
        }
    }
}

/// What a wish would come to on what the site holds of the key, under the policy; nothing is minted.
///
/// # Errors
/// When it does not fit what is there.
pub fn judge(
    policy: Policy,
    merging: Option<&Merging>,
    wish: &Wish,
    object: &Object,
    now_ms: i64,
) -> Result<Outcome, Refusal> {
    match policy {
        Policy::LastWriteWins => wish.judge_last(object, now_ms).map_err(refusal),
        _ => wish.judge_shown(merging, object, now_ms).map_err(Refusal::Unfit),
    }
}

/// Under last-write-wins an increment is a write of the sum: what is no number cannot take it.
fn refusal(unfit: Unfit) -> Refusal {
    match unfit {
        Unfit::NotInteger | Unfit::FieldNotInteger | Unfit::Overflow => Refusal::NotANumber,
        unfit => Refusal::Unfit(unfit),
    }
}

/// The object with a delta of this very write in it.
pub(super) fn with(object: Object, delta: &Causal<Object>) -> Object {
    let mut base = Causal { store: object, context: Context::new() };
    base.merge(delta);
    base.store
}

/// Whether a key holds values that did not know of each other: siblings, or parts of several types.
pub(super) fn is_conflict(object: &Object) -> bool {
    let siblings = object.as_text().map_or(0, |text| text.siblings().len());
    siblings > 1 || object.hidden().next().is_some()
}
