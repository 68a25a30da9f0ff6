//! SORT: the members of a collection in the order of their numbers, of their bytes, or of what other keys hold.
//!
//! | file | role |
//! |---|---|
//! | `options` | what was asked for |
//! | `pattern` | other keys named by a member: `weight_*`, `object_*->name` |

mod options;
mod pattern;

use crate::arguments::double;
use crate::call::{Call, CommandError, CommandResult, View};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use data::value::{List, Value, ValueRef};
use data::{Expiry, Operation};
use options::Options;
use pattern::Pattern;

pub(crate) use options::{destination, names_keys};

pub(super) fn sort(call: &mut Call<'_, '_>) -> CommandResult {
    let options = Options::parse(call.rest(2), true)?;
    run(call, &options)
}

pub(super) fn sort_ro(call: &mut Call<'_, '_>) -> CommandResult {
    let options = Options::parse(call.rest(2), false)?;
    run(call, &options)
}

fn run(call: &mut Call<'_, '_>, options: &Options<'_>) -> CommandResult {
    let view = call.view;
    let found = view.get(call.key(1)).map(|found| found.value);
    let mut members = members_of(found, options)?;
    let is_set = matches!(found, Some(ValueRef::Set(_)));
    if !options.keeps_order() {
        members = sorted(view, members, options)?;
    } else if is_set && options.store.is_some() {
        // A set has no order of its own: what is stored shall not depend on how it came about.
        members.sort_unstable_by(|a, b| options.direct(a.cmp(b)));
    }
    let places = options.limit.places(members.len());
    let shown = members.drain(places).collect::<Vec<_>>();
    let Some(to) = options.store else {
        call.reply.array(shown.len() * options.get.len().max(1));
        for member in shown {
            answer(view, member, options, |text| match text {
                Some(text) => call.reply.bulk(text),
                None => call.reply.null(),
            });
        }
        return Ok(());
    };
    let mut list = List::new();
    for member in shown {
        answer(view, member, options, |text| list.push_back(text.unwrap_or_default()));
    }
    call.reply.integer(list.len() as i64);
    let key = Cow::Owned(Vec::from(to));
    if !list.is_empty() {
        call.op(Operation::Put { key, value: Value::List(Box::new(list)), expiry: Expiry::Never });
    } else if view.get(to).is_some() {
        call.op(Operation::Delete { key });
    }
    Ok(())
}

/// The members in the order of their collection; lists and sorted sets backwards where that is asked for.
fn members_of<'v>(found: Option<ValueRef<'v>>, options: &Options<'_>) -> Result<Vec<&'v [u8]>, CommandError> {
    Ok(match found {
        None => Vec::new(),
        Some(ValueRef::List(list)) if options.descending => list.iter().rev().collect(),
        Some(ValueRef::List(list)) => list.iter().collect(),
        Some(ValueRef::Set(set)) => set.iter().collect(),
        Some(ValueRef::ZSet(zset)) if options.descending => zset.iter().rev().map(|(m, _)| m).collect(),
        Some(ValueRef::ZSet(zset)) => zset.iter().map(|(m, _)| m).collect(),
        Some(ValueRef::String(_) | ValueRef::Hash(_)) => return Err(CommandError::WRONG_TYPE),
    })
}

fn sorted<'v>(
    view: &'v dyn View,
    members: Vec<&'v [u8]>,
    options: &Options<'_>,
) -> Result<Vec<&'v [u8]>, CommandError> {
    let weight = |member: &'v [u8]| match &options.by {
        Some(by) => by.find(view, member),
        None => Some(member),
    };
    if options.alpha {
        let mut weighed: Vec<_> = members.into_iter().map(|member| (weight(member), member)).collect();
        weighed.sort_by(|a, b| options.direct(a.0.cmp(&b.0)));
        return Ok(weighed.into_iter().map(|(_, member)| member).collect());
    }
    let number = |member| weight(member).map_or(Some(0.0), decimal);
    let weighed: Option<Vec<(f64, &[u8])>> =
        members.into_iter().map(|member| Some((number(member)?, member))).collect();
    let mut weighed =
        weighed.ok_or(CommandError::fixed("ERR One or more scores can't be converted into double"))?;
    // Adding zero makes -0 and 0 equal.
    weighed.sort_by(|a, b| options.direct((a.0 + 0.0).total_cmp(&(b.0 + 0.0)).then_with(|| a.1.cmp(b.1))));
    Ok(weighed.into_iter().map(|(_, member)| member).collect())
}

/// A weight: nothing at all weighs nothing, as in C.
fn decimal(text: &[u8]) -> Option<f64> {
    if text.is_empty() { Some(0.0) } else { double(text.trim_ascii_start()) }
}

/// What is shown for one member: itself, or what every GET finds.
fn answer(view: &dyn View, member: &[u8], options: &Options<'_>, mut show: impl FnMut(Option<&[u8]>)) {
    if options.get.is_empty() {
        show(Some(member));
    }
    for get in &options.get {
        match get {
            Pattern::Member => show(Some(member)),
            other => show(other.find(view, member)),
        }
    }
}
