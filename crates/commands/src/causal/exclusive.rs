//! Commands that only mean something if nobody else writes meanwhile, where that is so: at a key's home, or once the sites have
//! agreed to a write.
//!
//! The plain command is run over plain values made of the causal ones. What its keys hold then and held before differ in wishes,
//! each the smallest that there is for it: a member added or removed, a field, an element at an end of a list. Costs what the keys hold.
// catalogue: J2 J3

use super::Setting;
use crate::call::{Call, CommandError, Ops, Random};
use crate::spec::Spec;
use crate::table_view::TableView;
use alloc::vec;
use alloc::vec::Vec;
use data::causal::{Deadline, Object, Score, Wish};
use data::operation::{End, Expiry};
use data::table::{Seed, Table};
use data::value::{self, Blob, Value, ValueRef};
use wire::ReplyWriter;

/// Elements that are removed from the ends of a list one by one, each at the cost of the list; beyond that it is written anew.
const POPS_MAX: usize = 16;

/// Runs a command that was planned as exclusive, writes its reply, and tells what its keys are to become: wishes in their order,
/// several of one key perhaps. `found` has each key of the plan once.
///
/// # Errors
/// What the client is told; nothing is to be done, and the caller takes back what was written.
pub fn execute(
    spec: &Spec,
    args: &[&[u8]],
    setting: &Setting,
    found: &[(&[u8], Option<&Object>)],
    random: &mut Random,
    reply: ReplyWriter<'_>,
) -> Result<Vec<(Blob, Wish)>, CommandError> {
    let Some(run) = spec.run else {
        return Err(CommandError::new(crate::spec::unknown_command(args)));
    };
    let (now_ms, mut table) = (setting.now_ms, Table::new(Seed(0, 0)));
    for (key, object) in found {
        if let Some((value, expires_at_ms)) = plain(*object, now_ms) {
            table.insert_loaded(key, value, expires_at_ms);
        }
    }
    let mut ops = Ops::new();
    let view = TableView { table: &table, now_ms };
    run(&mut Call { args, view: &view, now_ms, random, reply, ops: &mut ops })?;
    if ops.is_empty() {
        return Ok(Vec::new());
    }
    ops.iter().for_each(|op| table.apply_committed(op, 0));
    let mut wishes = Vec::new();
    for (key, object) in found {
        let before = plain(*object, now_ms);
        let before = before.as_ref().map(|(value, expires_at_ms)| (value.as_ref(), *expires_at_ms));
        let after = table.get(key).map(|found| (found.value, found.expires_at_ms));
        wishes.extend(from_to(before, after).into_iter().map(|wish| (Blob::from(*key), wish)));
    }
    Ok(wishes)
}

fn plain(object: Option<&Object>, now_ms: i64) -> Option<(Value, Option<i64>)> {
    let object = object?;
    Some((object.plain(now_ms)?, object.deadlines().at_ms()))
}

/// What a key holds, and when it expires.
type Held<'a> = Option<(ValueRef<'a>, Option<i64>)>;

fn from_to(before: Held<'_>, after: Held<'_>) -> Vec<Wish> {
    let Some((value, expires_at_ms)) = after else {
        return before.map(|_| Wish::Delete).into_iter().collect();
    };
    if before == after {
        return Vec::new();
    }
    let mut wishes = Vec::new();
    let same_type =
        before.filter(|(held, _)| core::mem::discriminant(held) == core::mem::discriminant(&value));
    let held = same_type.map(|(held, _)| held);
    if before.is_some() && held.is_none() {
        wishes.push(Wish::Delete);
    }
    let mut expiry = same_type.and_then(|(_, expires_at_ms)| expires_at_ms);
    match (held, value) {
        (Some(held), value) if held == value => {}
        (_, ValueRef::String(text)) => {
            let at = expires_at_ms.map_or(Expiry::Never, Expiry::At);
            wishes.push(Wish::Set { value: text.into(), expiry: at });
            expiry = expires_at_ms;
        }
        (held, ValueRef::Hash(hash)) => {
            let held = if let Some(ValueRef::Hash(held)) = held { held } else { &value::Hash::new() };
            wishes.extend(of_hash(held, hash));
        }
        (held, ValueRef::Set(set)) => {
            let held = if let Some(ValueRef::Set(held)) = held { held } else { &value::Set::new() };
            wishes.extend(of_set(held, set));
        }
        (held, ValueRef::ZSet(zset)) => {
            let held = if let Some(ValueRef::ZSet(held)) = held { held } else { &value::ZSet::new() };
            wishes.extend(of_zset(held, zset));
        }
        (held, ValueRef::List(list)) => {
            let held = if let Some(ValueRef::List(held)) = held { held } else { &value::List::new() };
            let (changes, is_anew) = of_list(held, list);
            wishes.extend(changes);
            expiry = expiry.filter(|_| !is_anew);
        }
    }
    if expiry != expires_at_ms {
        wishes.push(Wish::Expire { deadline: expires_at_ms.map_or(Deadline::Never, Deadline::At) });
    }
    wishes
}

/// What is added comes first: a collection that is empty in between is gone, and its expiry with it.
fn of_hash(held: &value::Hash, hash: &value::Hash) -> impl Iterator<Item = Wish> {
    let is_new = |(field, value): &(&[u8], &[u8])| held.get(field) != Some(*value);
    let fields: Vec<(Blob, Blob)> = hash.iter().filter(is_new).map(|(f, v)| (f.into(), v.into())).collect();
    let gone = held.iter().filter(|(field, _)| hash.get(field).is_none());
    let gone: Vec<Blob> = gone.map(|(field, _)| field.into()).collect();
    let added = (!fields.is_empty()).then_some(Wish::HashSet { fields });
    added.into_iter().chain((!gone.is_empty()).then_some(Wish::HashRemove { fields: gone }))
}
fn of_set(held: &value::Set, set: &value::Set) -> impl Iterator<Item = Wish> {
    let lacks = |of: &value::Set, from: &value::Set| -> Vec<Blob> {
        from.iter().filter(|member| !of.contains(member)).map(Blob::from).collect()
    };
    let (members, gone) = (lacks(held, set), lacks(set, held));
    let added = (!members.is_empty()).then_some(Wish::SetAdd { members });
    added.into_iter().chain((!gone.is_empty()).then_some(Wish::SetRemove { members: gone }))
}
fn of_zset(held: &value::ZSet, zset: &value::ZSet) -> impl Iterator<Item = Wish> {
    let is_new = |(member, score): &(&[u8], f64)| held.score(member) != Some(*score);
    let scored = |(member, score): (&[u8], f64)| Some((member.into(), Score::new(score)?));
    let members: Vec<(Blob, Score)> = zset.iter_members().filter(is_new).filter_map(scored).collect();
    let gone = held.iter_members().filter(|(member, _)| zset.score(member).is_none());
    let gone: Vec<Blob> = gone.map(|(member, _)| member.into()).collect();
    let added = (!members.is_empty()).then_some(Wish::ZSetSet { members });
    added.into_iter().chain((!gone.is_empty()).then_some(Wish::ZSetRemove { members: gone }))
}

/// What happens at the ends is said as such; a list that changes in its midst is written anew, and loses its expiry by that.
fn of_list(held: &value::List, list: &value::List) -> (Vec<Wish>, bool) {
    let blobs = |elements: &[&[u8]]| elements.iter().map(|element| Blob::from(*element)).collect::<Vec<_>>();
    let (old, new): (Vec<&[u8]>, Vec<&[u8]>) = (held.iter().collect(), list.iter().collect());
    let push = |end, elements: Vec<Blob>| Wish::ListPush { end, elements };
    if old.is_empty() {
        return (vec![push(End::Back, blobs(&new))], false);
    }
    let pop = |element: &&[u8], count| Wish::ListRemove { count, element: (*element).into() };
    // The first element of its value from an end is the one at that end.
    let pops = |front: &[&[u8]], back: &[&[u8]]| -> Vec<Wish> {
        let front = front.iter().map(|element| pop(element, 1));
        front.chain(back.iter().rev().map(|element| pop(element, -1))).collect()
    };
    let gone = old.len().saturating_sub(new.len());
    if let Some(more) = new.strip_prefix(&old[..]) {
        return (vec![push(End::Back, blobs(more))], false);
    }
    if let Some(more) = new.strip_suffix(&old[..]) {
        return (vec![push(End::Front, more.iter().rev().map(|it| Blob::from(*it)).collect())], false);
    }
    if gone <= POPS_MAX
        && let Some(at) = (0..=gone).find(|at| old.get(*at..*at + new.len()) == Some(&new[..]))
    {
        return (pops(&old[..at], &old[at + new.len()..]), false);
    }
    (vec![Wish::Delete, push(End::Back, blobs(&new))], true)
}
