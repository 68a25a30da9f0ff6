//! What commands do to a key: each takes the key as its coordinator sees it and yields the delta that does the same
//! everywhere.
//!
//! A write that finds the key absent or expired first removes whatever lies there unseen: an old expiry must not fall
//! on a key made anew, nor may what expired come back under it.

use super::amount::Amount;
use super::codec::DEPTH_MAX;
use super::context::Context;
use super::counted::{Counted, Text};
use super::dot::{Dot, Write};
use super::expiry::Deadline;
use super::last::Last;
use super::list::List;
use super::maximum::Maximum;
use super::object::{Map, Object};
use super::sets::{RemoveWinsSet, Set, TwoPhaseSet};
use super::siblings::Flag;
use super::store::{Causal, Store};
use super::zset::{Score, ZSet};
use crate::operation::{End, Expiry};
use crate::plant::{self, Bug};
use alloc::collections::{BTreeMap, BTreeSet};

/// Which meaning a set has; the first add decides, by the type that it writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetPolicy {
    ObservedRemove,
    RemoveWins,
    TwoPhase,
}

/// Whether the key is shown at `now_ms` decides what it is changed from.
impl Object {
    /// SET, and APPEND and SETRANGE with the text that they arrive at: the key becomes this string, whatever it was.
    pub fn set(&self, write: &mut Write<'_>, now_ms: i64, value: &[u8], expiry: Expiry) -> Causal<Object> {
        let expiry = if self.is_shown(now_ms) || expiry != Expiry::Keep { expiry } else { Expiry::Never };
        let cleared = match plant::is(Bug::KeepsOwnSiblings) {
            true => Causal::new(),
            false => self.clear_parts(write),
        };
        let text = Text::write_over(Causal::new(), write, value.into()).map(Object::from);
        let changed = cleared.and(&text);
        let deadline = match expiry {
            Expiry::Keep => return changed,
            Expiry::At(at_ms) => Deadline::At(at_ms),
            // Where no expiry is seen a SET says nothing of it: no entry, and a concurrent EXPIRE holds.
            Expiry::Never if self.deadlines().is_empty() => return changed,
            Expiry::Never => Deadline::Never,
        };
        changed.and(&self.deadlines().write(write, deadline).map(Object::of_deadlines))
    }
    /// What a reader has seen of the key's string, to be echoed by [`Object::set_over`].
    pub fn seen_text(&self) -> Causal<Text> {
        self.as_text().map_or_else(Causal::new, Counted::seen)
    }
    /// A write with an explicit context: replaces exactly what its reader saw.
    // catalogue: K10
    pub fn set_over(seen: Causal<Text>, write: &mut Write<'_>, value: &[u8]) -> Causal<Object> {
        Text::write_over(seen, write, value.into()).map(Object::from)
    }
    /// INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.
    pub fn increment(&self, write: &mut Write<'_>, now_ms: i64, by: Amount) -> Causal<Object> {
        self.change(write, now_ms, Object::as_text, |text: &Text, write| text.add(write, by))
    }
    /// SET where last-write-wins is the policy. Its DEL is [`Object::delete`], a write like others.
    pub fn set_last(&self, write: &mut Write<'_>, now_ms: i64, value: &[u8]) -> Causal<Object> {
        self.change(write, now_ms, Object::as_last, |last: &Last, write| {
            last.write(write, Some(value.into()))
        })
    }
    /// A concurrent enabling survives a disabling.
    pub fn enable(&self, write: &mut Write<'_>, now_ms: i64) -> Causal<Object> {
        self.change(write, now_ms, Object::as_flag, |flag: &Flag, write| flag.write(write, ()))
    }
    pub fn disable(&self, write: &mut Write<'_>) -> Causal<Object> {
        self.reduce(Object::as_flag, |flag: &Flag| flag.clear(write))
    }
    /// SADD.
    pub fn set_add(
        &self,
        write: &mut Write<'_>,
        now_ms: i64,
        policy: SetPolicy,
        members: &[&[u8]],
    ) -> Causal<Object> {
        let members: BTreeSet<&[u8]> = members.iter().copied().collect();
        match policy {
            SetPolicy::ObservedRemove => self.change(write, now_ms, Object::as_set, |set: &Set, write| {
                all(members, |member| set.add(write, member))
            }),
            SetPolicy::RemoveWins => {
                self.change(write, now_ms, Object::as_remove_wins_set, |set: &RemoveWinsSet, write| {
                    all(members, |member| set.add(write, member))
                })
            }
            SetPolicy::TwoPhase => {
                self.change(write, now_ms, Object::as_two_phase_set, |set: &TwoPhaseSet, write| {
                    all(members, |member| set.add(write, member))
                })
            }
        }
    }
    /// SREM.
    pub fn set_remove(&self, write: &mut Write<'_>, policy: SetPolicy, members: &[&[u8]]) -> Causal<Object> {
        let members: BTreeSet<&[u8]> = members.iter().copied().collect();
        match policy {
            SetPolicy::ObservedRemove => {
                self.reduce(Object::as_set, |set: &Set| all(members, |member| set.remove(write, member)))
            }
            // A remove of what is not here is a word too: it beats adds that are on their way.
            SetPolicy::RemoveWins => self.reduce(Object::as_remove_wins_set, |set: &RemoveWinsSet| {
                all(members, |member| set.remove(write, member))
            }),
            SetPolicy::TwoPhase => self.reduce(Object::as_two_phase_set, |set: &TwoPhaseSet| {
                all(members, |member| set.remove(member))
            }),
        }
    }
    /// HSET. Of a field named twice the last value counts.
    pub fn hash_set(&self, write: &mut Write<'_>, now_ms: i64, fields: &[(&[u8], &[u8])]) -> Causal<Object> {
        let fields: BTreeMap<&[u8], &[u8]> = fields.iter().copied().collect();
        self.change(write, now_ms, Object::as_map, |map: &Map, write| {
            all(fields, |(name, value)| {
                map.update(name, |field| field.set(write, now_ms, value, Expiry::Never))
            })
        })
    }
    /// HINCRBY, HINCRBYFLOAT.
    pub fn hash_increment(
        &self,
        write: &mut Write<'_>,
        now_ms: i64,
        field: &[u8],
        by: Amount,
    ) -> Causal<Object> {
        self.change(write, now_ms, Object::as_map, |map: &Map, write| {
            map.update(field, |field| field.increment(write, now_ms, by))
        })
    }
    /// HDEL.
    pub fn hash_remove(&self, write: &mut Write<'_>, fields: &[&[u8]]) -> Causal<Object> {
        let fields: BTreeSet<&[u8]> = fields.iter().copied().collect();
        self.reduce(Object::as_map, |map: &Map| {
            all(fields, |name| map.update(name, |field| field.clear(write)))
        })
    }
    /// Any change of what lies behind a path of fields: how a field gets another policy than a string's, or a map.
    /// `None` when the path is deeper than every reader accepts.
    pub fn hash_update(
        &self,
        write: &mut Write<'_>,
        now_ms: i64,
        path: &[&[u8]],
        change: &mut dyn FnMut(&Object, &mut Write<'_>) -> Causal<Object>,
    ) -> Option<Causal<Object>> {
        if path.len() >= DEPTH_MAX {
            return None;
        }
        Some(match path.split_first() {
            None => change(self, write),
            Some((name, rest)) => {
                self.change(write, now_ms, Object::as_map, |map: &Map, write| {
                    map.update(name, |field| {
                        // No deeper than the path that was accepted.
                        field.hash_update(write, now_ms, rest, change).unwrap_or_default()
                    })
                })
            }
        })
    }
    /// ZADD without conditions. Of a member named twice the last score counts.
    pub fn zset_set(&self, write: &mut Write<'_>, now_ms: i64, members: &[(&[u8], Score)]) -> Causal<Object> {
        let members: BTreeMap<&[u8], Score> = members.iter().copied().collect();
        self.change(write, now_ms, Object::as_zset, |zset: &ZSet, write| {
            all(members, |(member, score)| zset.set(write, member, score))
        })
    }
    /// ZINCRBY.
    pub fn zset_increment(
        &self,
        write: &mut Write<'_>,
        now_ms: i64,
        member: &[u8],
        by: Amount,
    ) -> Causal<Object> {
        self.change(write, now_ms, Object::as_zset, |zset: &ZSet, write| zset.increment(write, member, by))
    }
    /// ZREM.
    pub fn zset_remove(&self, write: &mut Write<'_>, members: &[&[u8]]) -> Causal<Object> {
        let members: BTreeSet<&[u8]> = members.iter().copied().collect();
        self.reduce(Object::as_zset, |zset: &ZSet| all(members, |member| zset.remove(write, member)))
    }
    /// LPUSH, RPUSH.
    pub fn list_push(
        &self,
        write: &mut Write<'_>,
        now_ms: i64,
        end: End,
        elements: &[&[u8]],
    ) -> Causal<Object> {
        let elements = elements.iter().copied();
        self.change(write, now_ms, Object::as_list, |list: &List, write| match end {
            End::Front => list.push_front(write, elements),
            End::Back => list.push_back(write, elements),
        })
    }
    /// LINSERT, before the place at which the coordinator sees its pivot, or after it.
    pub fn list_insert(
        &self,
        write: &mut Write<'_>,
        now_ms: i64,
        at: usize,
        elements: &[&[u8]],
    ) -> Causal<Object> {
        let elements = elements.iter().copied();
        self.change(write, now_ms, Object::as_list, |list: &List, write| list.insert(write, at, elements))
    }
    /// LREM, of the elements that the coordinator found.
    pub fn list_remove(&self, elements: &[Dot]) -> Causal<Object> {
        self.reduce(Object::as_list, |list: &List| list.remove(elements.iter().copied()))
    }
    /// PFADD, PFMERGE: raises the registers that its elements hash to.
    pub fn raise(&self, write: &mut Write<'_>, now_ms: i64, points: &[(u16, u8)]) -> Causal<Object> {
        let points = points.iter().copied();
        self.change(write, now_ms, Object::as_maximum, |maximum: &Maximum, write| {
            maximum.raise(write, points)
        })
    }
    /// EXPIRE and its kin, PERSIST. Nothing for a key that is not there.
    pub fn expire(&self, write: &mut Write<'_>, now_ms: i64, deadline: Deadline) -> Causal<Object> {
        if !self.is_shown(now_ms) {
            return Causal::new();
        }
        self.deadlines().write(write, deadline).map(Object::of_deadlines)
    }
    /// DEL: removes what is seen here, of every type.
    pub fn delete(&self, write: &mut Write<'_>) -> Causal<Object> {
        self.clear(write)
    }

    /// Takes something away from one part; on a key that is not shown it makes no difference to a reader.
    fn reduce<S: Store>(
        &self,
        find: impl Fn(&Object) -> Option<&S>,
        make: impl FnOnce(&S) -> Causal<S>,
    ) -> Causal<Object>
    where
        Object: From<S>,
    {
        let delta = match find(self) {
            Some(part) => make(part),
            None => make(&S::default()),
        };
        delta.map(Object::from)
    }
    /// Adds to one part, of the key as a reader sees it.
    fn change<S: Store>(
        &self,
        write: &mut Write<'_>,
        now_ms: i64,
        find: impl Fn(&Object) -> Option<&S>,
        make: impl FnOnce(&S, &mut Write<'_>) -> Causal<S>,
    ) -> Causal<Object>
    where
        Object: From<S>,
    {
        let is_stale = !self.is_shown(now_ms) && (self.is_alive() || !self.deadlines().is_empty());
        if !is_stale {
            return self.reduce(find, |part| make(part, write));
        }
        let cleared = self.clear(write);
        let mut base = Causal { store: self.clone(), context: Context::new() };
        base.merge(&cleared);
        let change = base.store.reduce(find, |part| make(part, write));
        cleared.and(&change)
    }
}

/// One delta out of those of several elements.
fn all<T, S: Store>(elements: impl IntoIterator<Item = T>, change: impl FnMut(T) -> Causal<S>) -> Causal<S> {
    let mut deltas = elements.into_iter().map(change);
    let first = deltas.next().unwrap_or_default();
    deltas.fold(first, |sum, delta| sum.and(&delta))
}
