//! Wishes where last-write-wins is the policy: strings and fields are registers whose highest stamp wins. Collections
//! merge as everywhere.
//!
//! Registers do not add: an increment is a write of the sum, and of two concurrent ones the higher stamp wins.
// catalogue: J5

use super::{Outcome, SIBLINGS_MAX, Unfit, Wish};
use crate::causal::amount::Amount;
use crate::causal::context::Context;
use crate::causal::counted::{float, integer};
use crate::causal::dot::Write;
use crate::causal::expiry::Deadline;
use crate::causal::object::{Kind, Object, Part};
use crate::causal::stamp::Stamp;
use crate::causal::store::Causal;
use crate::operation::Expiry;
use crate::value::Blob;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

impl Wish {
    /// As [`Wish::judge`], for last-write-wins: what [`Wish::mint_last`] would come to.
    ///
    /// # Errors
    /// When it does not fit what is there.
    pub fn judge_last(&self, object: &Object, now_ms: i64) -> Result<Outcome, Unfit> {
        let shown = object.shown_at(now_ms);
        match self {
            Wish::Set { .. } => Ok(Outcome::Done),
            Wish::SetOver { seen, .. } => match left_beside(object, &seen.context) < SIBLINGS_MAX {
                true => Ok(Outcome::Done),
                false => Err(Unfit::Siblings),
            },
            Wish::Increment { by } => {
                Ok(whole_sum(text_of(shown)?, *by, (Unfit::NotInteger, Unfit::Overflow))?.1)
            }
            Wish::IncrementFloat { by } => Ok(any_sum(text_of(shown)?, *by, Unfit::NotFloat)?.1),
            Wish::HashIncrement { field, by } => {
                let held = field_of(shown, field, Unfit::FieldNotInteger)?;
                Ok(whole_sum(held, *by, (Unfit::FieldNotInteger, Unfit::Overflow))?.1)
            }
            Wish::HashIncrementFloat { field, by } => {
                Ok(any_sum(field_of(shown, field, Unfit::FieldNotFloat)?, *by, Unfit::FieldNotFloat)?.1)
            }
            _ => self.judge(object, now_ms),
        }
    }

    /// As [`Wish::mint`], for last-write-wins.
    ///
    /// # Errors
    /// When it does not fit what is there: no dot was minted.
    pub fn mint_last(
        &self,
        object: &Object,
        write: &mut Write<'_>,
        now_ms: i64,
    ) -> Result<(Causal<Object>, Outcome), Unfit> {
        let shown = object.shown_at(now_ms);
        match self {
            Wish::Set { value, expiry } => {
                Ok((set_last(object, write, now_ms, value, *expiry), Outcome::Done))
            }
            Wish::SetOver { seen, value } => {
                if left_beside(object, &seen.context) >= SIBLINGS_MAX {
                    return Err(Unfit::Siblings);
                }
                let nothing = super::super::last::Last::default();
                let last = object.as_last().unwrap_or(&nothing);
                // Of a string that was written under another policy what was seen goes, too.
                let text = Causal { store: Object::from(seen.store.clone()), context: seen.context.clone() };
                let written =
                    last.write_over(seen.context.clone(), Stamp::default(), write, Some(value.clone()));
                let cleared = if object.is_shown(now_ms) { Causal::new() } else { deadlines_seen(object) };
                let written = Causal { store: Object::from(written.store), context: written.context };
                Ok((cleared.and(&text).and(&written), Outcome::Done))
            }
            Wish::Increment { by } => {
                let (sum, outcome) = whole_sum(text_of(shown)?, *by, (Unfit::NotInteger, Unfit::Overflow))?;
                Ok((set_last(object, write, now_ms, sum.as_bytes(), Expiry::Keep), outcome))
            }
            Wish::IncrementFloat { by } => {
                let (sum, outcome) = any_sum(text_of(shown)?, *by, Unfit::NotFloat)?;
                Ok((set_last(object, write, now_ms, sum.as_bytes(), Expiry::Keep), outcome))
            }
            Wish::HashSet { fields } => {
                let outcome = self.judge(object, now_ms)?;
                let mut all = Causal::new();
                for (field, value) in fields {
                    let set = set_field(&with(object, &all), write, now_ms, field, value);
                    all = all.and(&set);
                }
                Ok((all, outcome))
            }
            Wish::HashIncrement { field, by } => {
                let held = field_of(shown, field, Unfit::FieldNotInteger)?;
                let (sum, outcome) = whole_sum(held, *by, (Unfit::FieldNotInteger, Unfit::Overflow))?;
                Ok((set_field(object, write, now_ms, field, sum.as_bytes()), outcome))
            }
            Wish::HashIncrementFloat { field, by } => {
                let held = field_of(shown, field, Unfit::FieldNotFloat)?;
                let (sum, outcome) = any_sum(held, *by, Unfit::FieldNotFloat)?;
                Ok((set_field(object, write, now_ms, field, sum.as_bytes()), outcome))
            }
            Wish::SetAdd { .. }
            | Wish::SetRemove { .. }
            | Wish::HashRemove { .. }
            | Wish::ZSetSet { .. }
            | Wish::ZSetIncrement { .. }
            | Wish::ZSetRemove { .. }
            | Wish::ListPush { .. }
            | Wish::ListInsert { .. }
            | Wish::ListRemove { .. }
            | Wish::Expire { .. }
            | Wish::Delete
            | Wish::Raise { .. }
            | Wish::Settle { .. }
            | Wish::Forget { .. } => self.mint(object, write, now_ms),
        }
    }
}

/// Writes that one which saw these would leave standing.
fn left_beside(object: &Object, seen: &Context) -> usize {
    let writes = object.as_last().into_iter().flat_map(|last| last.writes());
    writes.filter(|(mark, _)| !seen.contains(mark.dot)).count()
}

/// The object with a delta of this very write in it.
fn with(object: &Object, delta: &Causal<Object>) -> Object {
    let mut base = Causal { store: object.clone(), context: Context::new() };
    base.merge(delta);
    base.store
}

/// An expiry that has passed would hide what is written now.
fn deadlines_seen(object: &Object) -> Causal<Object> {
    Causal { store: Object::of_deadlines(Default::default()), context: object.deadlines().seen() }
}

/// SET: the key becomes this string, whatever it was.
fn set_last(
    object: &Object,
    write: &mut Write<'_>,
    now_ms: i64,
    value: &[u8],
    expiry: Expiry,
) -> Causal<Object> {
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

/// HSET of one field, which becomes this string, whatever it was.
fn set_field(
    object: &Object,
    write: &mut Write<'_>,
    now_ms: i64,
    field: &[u8],
    value: &[u8],
) -> Causal<Object> {
    let set =
        &mut |field: &Object, write: &mut Write<'_>| set_last(field, write, now_ms, value, Expiry::Keep);
    // One field deep is never refused.
    object.hash_update(write, now_ms, &[field], set).unwrap_or_default()
}

/// The string that is shown.
fn text_of(shown: Option<&Part>) -> Result<Option<Cow<'_, [u8]>>, Unfit> {
    match shown {
        None => Ok(None),
        Some(Part::Last(last)) => Ok(last.value().map(|value: &Blob| Cow::Borrowed(&**value))),
        Some(Part::Text(text)) => Ok(text.shown()),
        Some(_) => Err(Unfit::WrongType),
    }
}

fn field_of<'a>(
    shown: Option<&'a Part>,
    field: &[u8],
    problem: Unfit,
) -> Result<Option<Cow<'a, [u8]>>, Unfit> {
    match shown {
        None => Ok(None),
        Some(Part::Map(map)) => text_of(map.entry(field).and_then(Object::shown)).map_err(|_| problem),
        Some(_) => Err(Unfit::WrongType),
    }
}

fn whole_sum(
    held: Option<Cow<'_, [u8]>>,
    by: Amount,
    (not_whole, overflow): (Unfit, Unfit),
) -> Result<(String, Outcome), Unfit> {
    let before = match &held {
        Some(held) => integer(held).ok_or(not_whole)?,
        None => 0,
    };
    let after = by.as_whole().and_then(|by| i128::from(before).checked_add(by)).ok_or(overflow)?;
    let after = i64::try_from(after).map_err(|_| overflow)?;
    Ok((format!("{after}"), Outcome::Total(after)))
}

fn any_sum(held: Option<Cow<'_, [u8]>>, by: Amount, not_number: Unfit) -> Result<(String, Outcome), Unfit> {
    if let Ok(whole) = whole_sum(held.clone(), by, (not_number, not_number)) {
        return Ok(whole);
    }
    let before = match &held {
        Some(held) => float(held).ok_or(not_number)?,
        None => 0.0,
    };
    let after = before + by.as_float();
    if !after.is_finite() {
        return Err(Unfit::Infinite);
    }
    Ok((format!("{after}"), Outcome::Number(after + 0.0)))
}
