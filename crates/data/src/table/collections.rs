//! Operations on members of collections, and how they are taken back.
//!
//! The order of members is part of the state: what is taken back leaves every member at the place it had.

use super::Table;
use super::apply::{decimal, parse_decimal};
use super::entry::Content;
use super::outside::Body;
use super::store::Replaced;
use super::undo::Step;
use crate::operation::{End, Expiry, Operation};
use crate::value::{Blob, Hash, List, Set, ZSet};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One change of one collection, with what it takes to take it back.
#[derive(Debug)]
pub(super) enum Member {
    FieldSet(Blob, Option<Blob>),
    FieldRemoved(usize, Blob, Blob),
    Pushed(End, usize),
    Popped(End, Blob),
    ElementSet(usize, Blob),
    ElementInserted(usize),
    ElementsRemoved(Vec<(usize, Blob)>),
    Added,
    Removed(usize, Blob),
    Scored(Blob, Option<f64>),
    Unscored(usize, Arc<[u8]>, f64),
}

impl Member {
    pub(super) fn undo(self, body: &mut Body) {
        match (self, body) {
            (Member::FieldSet(field, Some(old)), Body::Hash(hash)) => {
                hash.put(field, old);
            }
            (Member::FieldSet(field, None), Body::Hash(hash)) => {
                hash.remove(&field);
            }
            (Member::FieldRemoved(at, field, value), Body::Hash(hash)) => hash.restore(at, field, value),
            (Member::Pushed(end, count), Body::List(list)) => {
                for _ in 0..count {
                    list.pop(end);
                }
            }
            (Member::Popped(end, element), Body::List(list)) => list.push(end, element),
            (Member::ElementSet(at, element), Body::List(list)) => {
                list.set(at, element);
            }
            (Member::ElementInserted(at), Body::List(list)) => {
                list.remove(at);
            }
            (Member::ElementsRemoved(elements), Body::List(list)) => list.restore(elements),
            (Member::Added, Body::Set(set)) => {
                set.pop();
            }
            (Member::Removed(at, member), Body::Set(set)) => set.restore(at, member),
            (Member::Scored(member, Some(old)), Body::ZSet(zset)) => {
                zset.set(&member, old);
            }
            (Member::Scored(member, None), Body::ZSet(zset)) => {
                zset.remove(&member);
            }
            (Member::Unscored(at, member, score), Body::ZSet(zset)) => zset.restore(at, member, score),
            _ => debug_assert!(false, "an undo meets the collection that its operation met"),
        }
    }
}

/// Collects the changes of one operation, if anybody wants to take them back.
pub(super) struct Trail {
    keep: bool,
    members: Vec<Member>,
}

impl Trail {
    pub(super) fn new(keep: bool) -> Trail {
        Trail { keep, members: Vec::new() }
    }
    fn push(&mut self, member: impl FnOnce() -> Member) {
        if self.keep {
            self.members.push(member());
        }
    }
}

/// A kind of collection as the store holds it.
trait Collection: Default {
    fn of(body: &mut Body) -> Option<&mut Self>;
    fn into_body(self) -> Body;
    fn has_none(&self) -> bool;
}

macro_rules! collection {
    ($($name:ident),*) => {$(
        impl Collection for $name {
            fn of(body: &mut Body) -> Option<&mut $name> {
                if let Body::$name(collection) = body { Some(collection) } else { None }
            }
            fn into_body(self) -> Body {
                Body::$name(Box::new(self))
            }
            fn has_none(&self) -> bool {
                self.is_empty()
            }
        }
    )*};
}
collection!(Hash, List, Set, ZSet);

/// What to do when the key is absent.
#[derive(Clone, Copy, PartialEq)]
enum Absent {
    Create,
    Refuse,
}

impl Table {
    /// Applies the operations on members; others change nothing.
    pub(super) fn change_members(&mut self, operation: &Operation<'_>, trail: Trail, now: u32) -> Step {
        use Operation as O;
        match operation {
            O::HashSet { key, fields } => {
                self.edit::<Hash>(key, Absent::Create, trail, now, |hash, trail| {
                    for (field, value) in fields {
                        let old = hash.set(field, value);
                        trail.push(|| Member::FieldSet(field.as_ref().into(), old));
                    }
                })
            }
            O::HashRemove { key, fields } => {
                self.edit::<Hash>(key, Absent::Refuse, trail, now, |hash, trail| {
                    for field in fields {
                        if let Some((at, field, value)) = hash.remove(field) {
                            trail.push(|| Member::FieldRemoved(at, field, value));
                        }
                    }
                })
            }
            O::HashCounterAdd { key, field, delta } => {
                self.edit::<Hash>(key, Absent::Create, trail, now, |hash, trail| {
                    hash_add(hash, field, *delta, trail)
                })
            }
            O::SetAdd { key, members } => self.edit::<Set>(key, Absent::Create, trail, now, |set, trail| {
                for member in members {
                    if set.add(member) {
                        trail.push(|| Member::Added);
                    }
                }
            }),
            O::SetRemove { key, members } => {
                self.edit::<Set>(key, Absent::Refuse, trail, now, |set, trail| {
                    for member in members {
                        if let Some((at, member)) = set.remove(member) {
                            trail.push(|| Member::Removed(at, member));
                        }
                    }
                })
            }
            O::ZSetAdd { key, members } => {
                self.edit::<ZSet>(key, Absent::Create, trail, now, |zset, trail| {
                    for (member, score) in members {
                        score_member(zset, member, *score, trail);
                    }
                })
            }
            O::ZSetIncrement { key, member, by } => {
                self.edit::<ZSet>(key, Absent::Create, trail, now, |zset, trail| {
                    let score = zset.score(member).unwrap_or(0.0) + by;
                    score_member(zset, member, score, trail);
                })
            }
            O::ZSetRemove { key, members } => {
                self.edit::<ZSet>(key, Absent::Refuse, trail, now, |zset, trail| {
                    for member in members {
                        if let Some((at, member, score)) = zset.remove(member) {
                            trail.push(|| Member::Unscored(at, member, score));
                        }
                    }
                })
            }
            _ => self.change_list(operation, trail, now),
        }
    }

    fn change_list(&mut self, operation: &Operation<'_>, trail: Trail, now: u32) -> Step {
        use Operation as O;
        match operation {
            O::ListPush { key, end, elements } => {
                self.edit::<List>(key, Absent::Create, trail, now, |list, trail| {
                    for element in elements {
                        list.push(*end, element.as_ref().into());
                    }
                    trail.push(|| Member::Pushed(*end, elements.len()));
                })
            }
            O::ListPop { key, end, count } => {
                self.edit::<List>(key, Absent::Refuse, trail, now, |list, trail| {
                    for _ in 0..*count {
                        let Some(element) = list.pop(*end) else {
                            break;
                        };
                        trail.push(|| Member::Popped(*end, element));
                    }
                })
            }
            O::ListSet { key, at, element } => {
                self.edit::<List>(key, Absent::Refuse, trail, now, |list, trail| {
                    let at = place(*at);
                    let old = list.set(at, element.as_ref().into());
                    debug_assert!(old.is_some(), "an element that is replaced exists");
                    if let Some(old) = old {
                        trail.push(|| Member::ElementSet(at, old));
                    }
                })
            }
            O::ListInsert { key, at, element } => {
                self.edit::<List>(key, Absent::Refuse, trail, now, |list, trail| {
                    let at = place(*at);
                    debug_assert!(at <= list.len(), "an element is inserted within the list or at its end");
                    if at <= list.len() {
                        list.insert(at, element.as_ref().into());
                        trail.push(|| Member::ElementInserted(at));
                    }
                })
            }
            O::ListRemove { key, places } => {
                self.edit::<List>(key, Absent::Refuse, trail, now, |list, trail| {
                    let ascend = places.is_sorted_by(|a, b| a < b);
                    let exist = places.last().is_none_or(|at| place(*at) < list.len());
                    debug_assert!(ascend && exist, "elements that are removed exist, in ascending order");
                    if ascend && exist {
                        let removed = list.remove_all(places.iter().map(|at| place(*at)));
                        trail.push(|| Member::ElementsRemoved(removed));
                    }
                })
            }
            _ => Step::Nothing,
        }
    }

    /// Works on the collection under a key. It is made when it is absent, and goes with its last member.
    fn edit<C: Collection>(
        &mut self,
        key: &[u8],
        absent: Absent,
        mut trail: Trail,
        now: u32,
        edit: impl FnOnce(&mut C, &mut Trail),
    ) -> Step {
        let hash = self.prepare(key);
        if self.store.get(hash, key).is_none() {
            debug_assert!(absent == Absent::Create, "members are removed from collections that exist");
            if absent == Absent::Refuse {
                return Step::Nothing;
            }
            let mut collection = C::default();
            edit(&mut collection, &mut Trail::new(false));
            if collection.has_none() {
                return Step::Nothing;
            }
            let replaced =
                self.store.put(hash, key, Content::Body(collection.into_body()), Expiry::Never, now, false);
            debug_assert!(matches!(replaced, Replaced::Nothing), "the key was absent");
            return if trail.keep { Step::Created { key: key.into() } } else { Step::Nothing };
        }
        let emptied = self.store.edit(hash, key, now, |body| match C::of(body) {
            Some(collection) => {
                edit(collection, &mut trail);
                collection.has_none()
            }
            None => {
                debug_assert!(false, "an operation meets the kind of value that it works on");
                false
            }
        });
        let emptied = if emptied == Some(true) { self.store.take(hash, key).map(Box::new) } else { None };
        if trail.members.is_empty() {
            return Step::Nothing;
        }
        Step::Members { key: key.into(), members: trail.members, emptied }
    }
}

fn hash_add(hash: &mut Hash, field: &[u8], delta: i64, trail: &mut Trail) {
    let old = hash.get(field).map_or(Some(0), parse_decimal);
    let Some(sum) = old.and_then(|old| old.checked_add(delta)) else {
        debug_assert!(false, "counters are decimal integers and never overflow");
        return;
    };
    let old = hash.set(field, decimal(sum, &mut [0; 20]));
    trail.push(|| Member::FieldSet(field.into(), old));
}

/// NaN is no score: the sum of opposite infinities leaves the member as it was.
fn score_member(zset: &mut ZSet, member: &[u8], score: f64, trail: &mut Trail) {
    if score.is_nan() {
        debug_assert!(false, "a score is a number");
        return;
    }
    let old = zset.set(member, score);
    trail.push(|| Member::Scored(member.into(), old));
}

/// A place beyond what the machine can address is beyond every list.
fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
