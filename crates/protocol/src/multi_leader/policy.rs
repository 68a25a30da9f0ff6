//! What becomes of writes that did not know of each other.
// catalogue: J3 J5 J8 J9 J14 J18

use alloc::format;
use core::fmt;
use data::SiteId;
use data::causal::{
    Amount, Causal, Context, DEPTH_MAX, Deadline, Kind, Object, Outcome, TooFarAhead, Unfit, Wish, Write,
};
use data::operation::Expiry;

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
            Policy::Home => Family::Avoid,
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
    /// The key is at home elsewhere: to be forwarded there.
    Elsewhere { home: SiteId },
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
            Refusal::Elsewhere { home } => write!(f, "the key is at home at {home}"),
            Refusal::NotASite(site) => write!(f, "{site} is none of the keyspace's sites"),
            Refusal::NotANumber => f.write_str("value is not an integer or out of range"),
            Refusal::Unfit(unfit) => write!(f, "the key does not take it: {unfit:?}"),
            Refusal::TooLarge { bytes_max } => write!(f, "a write has at most {bytes_max} bytes"),
        }
    }
}
impl core::error::Error for Refusal {}

/// The delta that does what was asked, under the policy, made from what the site holds of the key.
///
/// # Errors
/// [`Refusal::NotANumber`]: registers of last-write-wins do not add, so an increment is a write of the sum.
pub fn mint(
    policy: Policy,
    wish: &Wish,
    object: &Object,
    write: &mut Write<'_>,
    now_ms: i64,
) -> Result<Causal<Object>, Refusal> {
    if policy != Policy::LastWriteWins {
        return plainly(wish, object, write, now_ms);
    }
    match wish {
        Wish::Set { value, expiry } => Ok(set_last(object, write, now_ms, value, *expiry)),
        Wish::SetOver { value, .. } => Ok(set_last(object, write, now_ms, value, Expiry::Keep)),
        Wish::Increment { by } => {
            let held =
                object.is_shown(now_ms).then(|| object.as_last().and_then(|last| last.value())).flatten();
            let sum = sum_of(held.map(|value| &**value), *by)?;
            Ok(set_last(object, write, now_ms, sum.as_bytes(), Expiry::Keep))
        }
        Wish::HashSet { fields } => {
            let mut all = Causal::new();
            for (field, value) in fields {
                all = all.and(&set_field(object, write, now_ms, field, value));
            }
            Ok(all)
        }
        Wish::HashIncrement { field, by } => {
            let held = object.as_map().filter(|_| object.is_shown(now_ms)).and_then(|map| map.entry(field));
            let held = held.and_then(|field| field.as_last()).and_then(|last| last.value());
            let sum = sum_of(held.map(|value| &**value), *by)?;
            Ok(set_field(object, write, now_ms, field, sum.as_bytes()))
        }
        // Registers of last-write-wins hold no fractions to add to: what a plain increment would make of them is refused.
        Wish::IncrementFloat { .. }
        | Wish::HashIncrementFloat { .. }
        | Wish::SetAdd { .. }
        | Wish::SetRemove { .. }
        | Wish::HashRemove { .. }
        | Wish::ZSetSet { .. }
        | Wish::ZSetIncrement { .. }
        | Wish::ZSetRemove { .. }
        | Wish::ListPush { .. }
        | Wish::ListInsert { .. }
        | Wish::ListRemove { .. }
        | Wish::Expire { .. }
        | Wish::Delete => plainly(wish, object, write, now_ms),
    }
}

/// What a wish would come to on what the site holds of the key, under the policy; nothing is minted.
///
/// # Errors
/// When it does not fit what is there.
pub fn judge(policy: Policy, wish: &Wish, object: &Object, now_ms: i64) -> Result<Outcome, Refusal> {
    let plainly = || wish.judge(object, now_ms).map_err(Refusal::Unfit);
    if policy != Policy::LastWriteWins {
        return plainly();
    }
    let whole = |sum: alloc::string::String| sum.parse().map(Outcome::Total).or(Err(Refusal::NotANumber));
    match wish {
        Wish::Set { .. } | Wish::SetOver { .. } => Ok(Outcome::Done),
        Wish::Increment { by } => match object.shown_at(now_ms) {
            Some(part) if part.kind() != Kind::Last => Err(Refusal::Unfit(Unfit::WrongType)),
            shown => {
                let held = shown.and_then(|_| object.as_last()).and_then(|last| last.value());
                whole(sum_of(held.map(|value| &**value), *by)?)
            }
        },
        Wish::HashIncrement { field, by } => {
            // Of another type than a hash: said as of the plain command.
            Wish::HashRemove { fields: [field.clone()].into() }
                .judge(object, now_ms)
                .map_err(Refusal::Unfit)?;
            let held = object.as_map().filter(|_| object.is_shown(now_ms)).and_then(|map| map.entry(field));
            let held = held.and_then(|field| field.as_last()).and_then(|last| last.value());
            whole(sum_of(held.map(|value| &**value), *by)?)
        }
        // What would be made of plain registers is no register of this policy.
        Wish::IncrementFloat { .. } | Wish::HashIncrementFloat { .. } => {
            Err(Refusal::Unfit(Unfit::WrongType))
        }
        _ => plainly(),
    }
}

fn plainly(
    wish: &Wish,
    object: &Object,
    write: &mut Write<'_>,
    now_ms: i64,
) -> Result<Causal<Object>, Refusal> {
    wish.mint(object, write, now_ms).map(|(delta, _)| delta).map_err(Refusal::Unfit)
}

fn sum_of(held: Option<&[u8]>, by: Amount) -> Result<alloc::string::String, Refusal> {
    let text = held.map_or(Ok("0"), core::str::from_utf8).map_err(|_| Refusal::NotANumber)?;
    let held: i64 = text.parse().map_err(|_| Refusal::NotANumber)?;
    let by = by.as_whole().and_then(|by| i64::try_from(by).ok()).ok_or(Refusal::NotANumber)?;
    held.checked_add(by).map(|sum| format!("{sum}")).ok_or(Refusal::NotANumber)
}

/// The object with a delta of this very write in it.
fn with(object: &Object, delta: &Causal<Object>) -> Object {
    let mut base = Causal { store: object.clone(), context: Context::new() };
    base.merge(delta);
    base.store
}

fn set_last(
    object: &Object,
    write: &mut Write<'_>,
    now_ms: i64,
    value: &[u8],
    expiry: Expiry,
) -> Causal<Object> {
    // SET makes a string of whatever the key was.
    let is_other =
        object.hidden().next().is_some() || object.shown().is_some_and(|it| it.kind() != Kind::Last);
    let mut delta = if is_other { object.delete(write) } else { Causal::new() };
    delta = delta.clone().and(&with(object, &delta).set_last(write, now_ms, value));
    let deadline = match expiry {
        Expiry::Keep => return delta,
        Expiry::At(at_ms) => Deadline::At(at_ms),
        Expiry::Never if object.deadlines().is_empty() => return delta,
        Expiry::Never => Deadline::Never,
    };
    let expires = with(object, &delta).expire(write, now_ms, deadline);
    delta.and(&expires)
}

fn set_field(
    object: &Object,
    write: &mut Write<'_>,
    now_ms: i64,
    field: &[u8],
    value: &[u8],
) -> Causal<Object> {
    const { assert!(DEPTH_MAX > 1, "one field deep is never refused") };
    let set = &mut |field: &Object, write: &mut Write<'_>| field.set_last(write, now_ms, value);
    object.hash_update(write, now_ms, &[field], set).unwrap_or_default()
}

/// Whether a key holds values that did not know of each other: siblings, or parts of several types.
pub(super) fn is_conflict(object: &Object) -> bool {
    let siblings = object.as_text().map_or(0, |text| text.siblings().len());
    siblings > 1 || object.hidden().next().is_some()
}

/// What several deltas of one write make of a key, for the next one of them.
pub(super) fn after<'a>(object: &Object, deltas: impl Iterator<Item = &'a Causal<Object>>) -> Object {
    deltas.fold(object.clone(), |object, delta| with(&object, delta))
}
