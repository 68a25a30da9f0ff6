//! What a write comes to, as its minter sees it: the reply to its client follows from it. Computed before anything is
//! minted, so that what does not fit mints nothing.
//!
//! Another minter may hold something else and say something else: two clients may both be told that they added one
//! member. That is what a reply means where nobody orders writes.

use super::{Wish, elements_like, place_of};
use crate::causal::amount::Amount;
use crate::causal::counted::Text;
use crate::causal::expiry::Deadline;
use crate::causal::maximum::Maximum;
use crate::causal::object::{Map, Object, Part};
use crate::causal::store::Store;
use crate::causal::zset::ZSet;
use crate::value::Blob;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;

/// Versions that one key may have. Replicas alone make fewer: only clients that write again and again with a context
/// that they read long ago get there (bugs: LL-12). A guess.
pub const SIBLINGS_MAX: usize = 64;

/// What was done.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Outcome {
    /// It means the same whatever it found.
    Done,
    /// So many keys, members, fields or elements are new (SADD, HSET), are gone (SREM, DEL, LREM), or were found (EXPIRE); one if
    /// anything rose (PFADD).
    Count(u64),
    /// Members of a sorted set that are new, and others whose score is another one now.
    Scored { added: u64, changed: u64 },
    /// A list has so many elements now.
    Length(u64),
    /// A list lacks the element beside which something was to be put, and is as it was.
    NoPivot,
    /// A counter stands at this whole number.
    Total(i64),
    /// A counter or score stands at this, as near as doubles are.
    Number(f64),
}

/// Why a write does not fit what its minter holds. Nothing was minted. No other replica is asked: like every reply this one is as one
/// replica saw it, and a minter that lags may refuse what others would take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// The key is of another type.
    WrongType,
    /// The string, or the field, is no whole number.
    NotInteger,
    FieldNotInteger,
    /// It is no number.
    NotFloat,
    FieldNotFloat,
    /// The sum would leave 64 bits.
    Overflow,
    /// The sum would not be finite.
    Infinite,
    /// The key has [`SIBLINGS_MAX`] versions, of which the write would supersede none.
    Siblings,
    /// The copies agree on the key's values one by one: it is written in no other way.
    Linearizable,
}

impl Wish {
    /// What it would come to on this object; nothing is minted.
    ///
    /// # Errors
    /// When it does not fit what is there.
    pub fn judge(&self, object: &Object, now_ms: i64) -> Result<Outcome, Unfit> {
        let shown = object.shown_at(now_ms);
        let is_shown = shown.is_some();
        Ok(match self {
            Wish::Set { .. } | Wish::Settle { .. } | Wish::Forget { .. } => Outcome::Done,
            Wish::SetOver { seen, .. } => {
                let siblings = text_in(shown)?.map(Text::siblings);
                let left = siblings.into_iter().flat_map(|siblings| siblings.iter());
                let left = left.filter(|(mark, _)| !seen.context.contains(mark.dot)).count();
                if left >= SIBLINGS_MAX {
                    return Err(Unfit::Siblings);
                }
                Outcome::Done
            }
            Wish::Increment { by } => {
                let problems = (Unfit::NotInteger, Unfit::Overflow);
                Outcome::Total(total(text_in(shown)?, *by, problems)?)
            }
            Wish::IncrementFloat { by } => sum(text_in(shown)?, *by, Unfit::NotFloat)?,
            Wish::SetAdd { members } => {
                Outcome::Count(distinct(members, |member| set_has(shown, member).map(|has| !has))?)
            }
            Wish::SetRemove { members } => {
                Outcome::Count(distinct(members, |member| set_has(shown, member))?)
            }
            Wish::HashSet { fields } => {
                let map = map_in(shown)?;
                let names: BTreeSet<&Blob> = fields.iter().map(|(name, _)| name).collect();
                Outcome::Count(names.into_iter().filter(|name| !has_field(map, name)).count() as u64)
            }
            Wish::HashRemove { fields } => {
                let map = map_in(shown)?;
                Outcome::Count(distinct(fields, |name| Ok(has_field(map, name)))?)
            }
            Wish::HashIncrement { field, by } => {
                let problems = (Unfit::FieldNotInteger, Unfit::Overflow);
                Outcome::Total(total(field_text(map_in(shown)?, field, problems.0)?, *by, problems)?)
            }
            Wish::HashIncrementFloat { field, by } => {
                let problem = Unfit::FieldNotFloat;
                sum(field_text(map_in(shown)?, field, problem)?, *by, problem)?
            }
            Wish::ZSetSet { members } => {
                let zset = zset_in(shown)?;
                let scores: BTreeMap<&Blob, f64> =
                    members.iter().map(|(m, score)| (m, score.value())).collect();
                let before = |member: &Blob| zset.and_then(|zset| zset.score(member));
                let added = scores.keys().filter(|member| before(member).is_none()).count() as u64;
                let changed = scores.iter().filter(|(m, score)| before(m).is_some_and(|was| was != **score));
                Outcome::Scored { added, changed: changed.count() as u64 }
            }
            Wish::ZSetIncrement { member, by } => {
                let before = zset_in(shown)?.and_then(|zset| zset.score(member)).unwrap_or(0.0);
                let after = before + by.as_float();
                // A score may be infinite, but one that is none does not become so by adding.
                if after.is_nan() || (before.is_finite() && !after.is_finite()) {
                    return Err(Unfit::Infinite);
                }
                Outcome::Number(after)
            }
            Wish::ZSetRemove { members } => {
                let zset = zset_in(shown)?;
                let has = |member: &Blob| zset.is_some_and(|zset| zset.score(member).is_some());
                Outcome::Count(distinct(members, |member| Ok(has(member)))?)
            }
            Wish::ListPush { elements, .. } => Outcome::Length(length_in(shown)? + elements.len() as u64),
            Wish::ListInsert { pivot, .. } => match (length_in(shown)?, place_of(object, now_ms, pivot)) {
                (0, _) => Outcome::Length(0),
                (_, None) => Outcome::NoPivot,
                (length, Some(_)) => Outcome::Length(length + 1),
            },
            Wish::ListRemove { count, element } => {
                length_in(shown)?;
                Outcome::Count(elements_like(object, now_ms, *count, element).len() as u64)
            }
            Wish::Raise { points } => {
                let raises = |maximum: &Maximum| points.iter().any(|(at, to)| maximum.register(*at) < *to);
                match shown {
                    None => Outcome::Count(1),
                    Some(Part::Maximum(maximum)) => Outcome::Count(u64::from(raises(maximum))),
                    Some(_) => return Err(Unfit::WrongType),
                }
            }
            Wish::Expire { deadline: Deadline::At(_) } | Wish::Delete => Outcome::Count(u64::from(is_shown)),
            Wish::Expire { deadline: Deadline::Never } => {
                Outcome::Count(u64::from(is_shown && object.deadlines().at_ms().is_some()))
            }
        })
    }
}

fn text_in(shown: Option<&Part>) -> Result<Option<&Text>, Unfit> {
    match shown {
        None => Ok(None),
        Some(Part::Text(text)) => Ok(Some(text)),
        Some(_) => Err(Unfit::WrongType),
    }
}

fn map_in(shown: Option<&Part>) -> Result<Option<&Map>, Unfit> {
    match shown {
        None => Ok(None),
        Some(Part::Map(map)) => Ok(Some(map)),
        Some(_) => Err(Unfit::WrongType),
    }
}

fn zset_in(shown: Option<&Part>) -> Result<Option<&ZSet>, Unfit> {
    match shown {
        None => Ok(None),
        Some(Part::ZSet(zset)) => Ok(Some(zset)),
        Some(_) => Err(Unfit::WrongType),
    }
}

fn length_in(shown: Option<&Part>) -> Result<u64, Unfit> {
    match shown {
        None => Ok(0),
        Some(Part::List(list)) => Ok(list.elements().len() as u64),
        Some(_) => Err(Unfit::WrongType),
    }
}

fn set_has(shown: Option<&Part>, member: &[u8]) -> Result<bool, Unfit> {
    match shown {
        None => Ok(false),
        Some(Part::Set(set)) => Ok(set.entry(member).is_some_and(Store::is_alive)),
        Some(Part::RemoveWinsSet(set)) => Ok(set.entry(member).is_some_and(Store::is_alive)),
        Some(Part::TwoPhaseSet(set)) => Ok(set.contains(member)),
        Some(_) => Err(Unfit::WrongType),
    }
}

fn has_field(map: Option<&Map>, name: &[u8]) -> bool {
    map.and_then(|map| map.entry(name)).is_some_and(Store::is_alive)
}

fn field_text<'a>(map: Option<&'a Map>, name: &[u8], problem: Unfit) -> Result<Option<&'a Text>, Unfit> {
    match map.and_then(|map| map.entry(name)).and_then(Object::shown) {
        None => Ok(None),
        Some(Part::Text(text)) => Ok(Some(text)),
        Some(_) => Err(problem),
    }
}

/// How many different ones pass the test.
fn distinct(names: &[Blob], test: impl Fn(&Blob) -> Result<bool, Unfit>) -> Result<u64, Unfit> {
    let names: BTreeSet<&Blob> = names.iter().collect();
    let mut count = 0;
    for name in names {
        count += u64::from(test(name)?);
    }
    Ok(count)
}

fn total(text: Option<&Text>, by: Amount, (not_whole, overflow): (Unfit, Unfit)) -> Result<i64, Unfit> {
    let before = match text.and_then(Text::shown) {
        Some(shown) => super::super::counted::integer(&shown).ok_or(not_whole)?,
        None => 0,
    };
    let after = by.as_whole().and_then(|by| i128::from(before).checked_add(by)).ok_or(overflow)?;
    i64::try_from(after).map_err(|_| overflow)
}

/// Exact where whole numbers of 64 bits are added up.
fn sum(text: Option<&Text>, by: Amount, not_number: Unfit) -> Result<Outcome, Unfit> {
    if let Ok(total) = total(text, by, (not_number, not_number)) {
        return Ok(Outcome::Total(total));
    }
    let before = match text.and_then(Text::shown) {
        Some(shown) => super::super::counted::float(&shown).ok_or(not_number)?,
        None => 0.0,
    };
    let after = before + by.as_float();
    if after.is_finite() { Ok(Outcome::Number(after + 0.0)) } else { Err(Unfit::Infinite) }
}
