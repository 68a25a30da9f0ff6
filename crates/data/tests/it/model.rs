//! What a table should be, written as simply as it can be, and the operations that drive both.

use data::operation::{End, Operation};
use data::table::{Found, Table};
use data::value::{Value, ValueRef};
use data::{Expiry, operation::Bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

pub type Text = Vec<u8>;

/// A value with its member order: collections are vectors in insertion order, removal moves the last member down.
#[derive(Clone, PartialEq, Debug)]
pub enum Plain {
    String(Text),
    Hash(Vec<(Text, Text)>),
    List(VecDeque<Text>),
    Set(Vec<Text>),
    ZSet(Vec<(Text, f64)>),
}

pub type State = BTreeMap<Text, (Plain, Option<i64>)>;

impl Plain {
    pub fn of(value: ValueRef<'_>) -> Plain {
        match value {
            ValueRef::String(v) => Plain::String(v.into()),
            ValueRef::Hash(v) => Plain::Hash(v.iter().map(|(f, v)| (f.into(), v.into())).collect()),
            ValueRef::List(v) => Plain::List(v.iter().map(Into::into).collect()),
            ValueRef::Set(v) => Plain::Set(v.iter().map(Into::into).collect()),
            ValueRef::ZSet(v) => Plain::ZSet(v.iter_members().map(|(m, s)| (m.into(), s)).collect()),
        }
    }
    fn is_empty(&self) -> bool {
        match self {
            Plain::String(_) => false,
            Plain::Hash(v) => v.is_empty(),
            Plain::List(v) => v.is_empty(),
            Plain::Set(v) => v.is_empty(),
            Plain::ZSet(v) => v.is_empty(),
        }
    }
}

/// Everything that a table holds, gathered by a whole scan. Fails on a key shown twice.
pub fn state(table: &Table) -> State {
    let mut state = State::new();
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, &mut |key, found: Found<'_>| {
            let twice = state.insert(key.to_vec(), (Plain::of(found.value), found.expires_at_ms));
            assert!(twice.is_none(), "a quiet scan shows each key once");
        });
        assert!(cursor < 1 << 48, "cursors fit a double");
        if cursor == 0 {
            return state;
        }
    }
}

fn integer(text: &[u8]) -> Option<i64> {
    let value: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value.to_string().as_bytes() == text).then_some(value)
}

fn place<T>(pairs: &[(Text, T)], member: &[u8]) -> Option<usize> {
    pairs.iter().position(|(m, _)| m == member)
}

fn assign<T>(pairs: &mut Vec<(Text, T)>, member: &[u8], value: T) {
    match place(pairs, member) {
        Some(at) => pairs[at].1 = value,
        None => pairs.push((member.into(), value)),
    }
}

/// The state after an operation, `None` when the operation does not fit what it meets (a command would not yield it).
pub fn step(state: &State, operation: &Operation<'_>) -> Option<State> {
    let mut next = state.clone();
    if let Operation::Flush = operation {
        return Some(State::new());
    }
    if let Operation::Rename { from, to } = operation {
        let moved = next.remove(from.as_ref())?;
        next.insert(to.to_vec(), moved);
        return Some(next);
    }
    let key = operation.keys().next()?.to_vec();
    let old_expiry = state.get(&key).and_then(|(_, expiry)| *expiry);
    let kept = |expiry: &Expiry| match expiry {
        Expiry::Keep => old_expiry,
        Expiry::Never => None,
        Expiry::At(at) => Some(*at),
    };
    match operation {
        Operation::Set { value, expiry, .. } => {
            next.insert(key, (Plain::String(value.to_vec()), kept(expiry)));
        }
        Operation::Put { value, expiry, .. } => {
            let plain = Plain::of(value.as_ref());
            if plain.is_empty() {
                return None;
            }
            next.insert(key, (plain, kept(expiry)));
        }
        Operation::Delete { .. } => {
            next.remove(&key);
        }
        Operation::Expire { at_ms, .. } => {
            if old_expiry.is_some_and(|at| at <= *at_ms) {
                next.remove(&key);
            }
        }
        Operation::ExpireAt { at_ms, .. } => {
            if let Some((_, expiry)) = next.get_mut(&key) {
                *expiry = *at_ms;
            }
        }
        _ => {
            let mut value = match next.remove(&key) {
                Some((value, _)) => value,
                None => fresh(operation)?,
            };
            change(&mut value, operation)?;
            if !value.is_empty() {
                next.insert(key, (value, old_expiry));
            }
        }
    }
    Some(next)
}

/// What an operation on a missing key starts from, where it may.
fn fresh(operation: &Operation<'_>) -> Option<Plain> {
    use Operation as O;
    Some(match operation {
        O::StringWrite { bytes, .. } if !bytes.is_empty() => Plain::String(Text::new()),
        O::CounterAdd { .. } => Plain::String(b"0".to_vec()),
        O::HashSet { .. } | O::HashCounterAdd { .. } => Plain::Hash(Vec::new()),
        O::ListPush { .. } => Plain::List(VecDeque::new()),
        O::SetAdd { .. } => Plain::Set(Vec::new()),
        O::ZSetAdd { .. } | O::ZSetIncrement { .. } => Plain::ZSet(Vec::new()),
        _ => return None,
    })
}

fn change(value: &mut Plain, operation: &Operation<'_>) -> Option<()> {
    use Operation as O;
    match (operation, value) {
        (O::StringWrite { offset, bytes, .. }, Plain::String(text)) => {
            let (from, end) = (*offset as usize, *offset as usize + bytes.len());
            if !bytes.is_empty() {
                text.resize(text.len().max(end), 0);
                text[from..end].copy_from_slice(bytes);
            }
        }
        (O::CounterAdd { delta, .. }, Plain::String(text)) => {
            *text = integer(text)?.checked_add(*delta)?.to_string().into_bytes();
        }
        (O::HashSet { fields, .. }, Plain::Hash(pairs)) => {
            fields.iter().for_each(|(f, v)| assign(pairs, f, v.to_vec()));
        }
        (O::HashRemove { fields, .. }, Plain::Hash(pairs)) => {
            for field in fields {
                if let Some(at) = place(pairs, field) {
                    pairs.swap_remove(at);
                }
            }
        }
        (O::HashCounterAdd { field, delta, .. }, Plain::Hash(pairs)) => {
            let old = place(pairs, field).map_or(Some(0), |at| integer(&pairs[at].1))?;
            assign(pairs, field, old.checked_add(*delta)?.to_string().into_bytes());
        }
        (O::SetAdd { members, .. }, Plain::Set(set)) => {
            for member in members {
                if !set.iter().any(|m| m == member.as_ref()) {
                    set.push(member.to_vec());
                }
            }
        }
        (O::SetRemove { members, .. }, Plain::Set(set)) => {
            for member in members {
                if let Some(at) = set.iter().position(|m| m == member.as_ref()) {
                    set.swap_remove(at);
                }
            }
        }
        (O::ZSetAdd { members, .. }, Plain::ZSet(pairs)) => {
            members.iter().for_each(|(m, score)| assign(pairs, m, score + 0.0));
        }
        (O::ZSetIncrement { member, by, .. }, Plain::ZSet(pairs)) => {
            let sum = place(pairs, member).map_or(0.0, |at| pairs[at].1) + by;
            assign(pairs, member, sum + 0.0);
        }
        (O::ZSetRemove { members, .. }, Plain::ZSet(pairs)) => {
            for member in members {
                if let Some(at) = place(pairs, member) {
                    pairs.swap_remove(at);
                }
            }
        }
        (_, Plain::List(list)) => return change_list(list, operation),
        _ => return None,
    }
    Some(())
}

fn change_list(list: &mut VecDeque<Text>, operation: &Operation<'_>) -> Option<()> {
    use Operation as O;
    match operation {
        O::ListPush { end, elements, .. } => elements.iter().for_each(|e| match end {
            End::Front => list.push_front(e.to_vec()),
            End::Back => list.push_back(e.to_vec()),
        }),
        O::ListPop { end, count, .. } => {
            for _ in 0..*count {
                match end {
                    End::Front => list.pop_front(),
                    End::Back => list.pop_back(),
                };
            }
        }
        O::ListSet { at, element, .. } => *list.get_mut(*at as usize)? = element.to_vec(),
        O::ListInsert { at, element, .. } => {
            if *at as usize > list.len() {
                return None;
            }
            list.insert(*at as usize, element.to_vec());
        }
        O::ListRemove { places, .. } => {
            if !places.is_sorted_by(|a, b| a < b) || places.iter().any(|at| *at >= list.len() as u64) {
                return None;
            }
            for at in places.iter().rev() {
                list.remove(*at as usize);
            }
        }
        _ => return None,
    }
    Some(())
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes<'static>> {
    vec(any::<u8>(), 0..max).prop_map(Into::into)
}

/// Few keys, so that operations meet; the first letter hints at the kind that lives there.
fn key(kind: char) -> impl Strategy<Value = Bytes<'static>> {
    let letter = prop_oneof![12 => Just(kind), 1 => prop::char::range('a', 'z')];
    (letter, 0..4u8).prop_map(|(letter, n)| format!("{letter}{n}").into_bytes().into())
}

fn member() -> impl Strategy<Value = Bytes<'static>> {
    (0..12u8).prop_map(|n| format!("m{n}").into_bytes().into())
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![-3..3i32].prop_map(f64::from)
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![Just(Expiry::Keep), Just(Expiry::Never), (0..100i64).prop_map(Expiry::At)]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

/// Small, middling and long strings: inline, around the limit of inline, outside.
fn string() -> impl Strategy<Value = Bytes<'static>> {
    prop_oneof![
        4 => bytes(20),
        2 => any::<i16>().prop_map(|n| n.to_string().into_bytes().into()),
        1 => (400..1200usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len].into()),
        1 => (4000..5000usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len].into()),
    ]
}

pub fn value() -> impl Strategy<Value = Value> {
    use data::value::{Hash, List, Set, ZSet};
    prop_oneof![
        string().prop_map(|s| Value::String(s.into_owned().into())),
        vec((member(), bytes(8)), 1..8).prop_map(|pairs| {
            let mut hash = Hash::new();
            for (field, value) in pairs {
                hash.set(&field, &value);
            }
            Value::Hash(Box::new(hash))
        }),
        vec(bytes(8), 1..8).prop_map(|elements| {
            let mut list = List::new();
            elements.iter().for_each(|e| list.push_back(e));
            Value::List(Box::new(list))
        }),
        vec(member(), 1..8).prop_map(|members| {
            let mut set = Set::new();
            for member in members {
                set.add(&member);
            }
            Value::Set(Box::new(set))
        }),
        vec((member(), score()), 1..8).prop_map(|pairs| {
            let mut zset = ZSet::new();
            for (member, score) in pairs {
                zset.set(&member, score);
            }
            Value::ZSet(Box::new(zset))
        }),
    ]
}

/// Any operation, of any size that matters here.
pub fn operation() -> impl Strategy<Value = Operation<'static>> {
    use Operation as O;
    let any_key = || prop_oneof![key('s'), key('h'), key('l'), key('t'), key('z')];
    let strings = prop_oneof![
        6 => (key('s'), string(), expiry()).prop_map(|(key, value, expiry)| O::Set { key, value, expiry }),
        2 => (any_key(), value(), expiry()).prop_map(|(key, value, expiry)| O::Put { key, value, expiry }),
        3 => any_key().prop_map(|key| O::Delete { key }),
        2 => (any_key(), 0..100i64).prop_map(|(key, at_ms)| O::Expire { key, at_ms }),
        3 => (any_key(), prop::option::of(0..100i64)).prop_map(|(key, at_ms)| O::ExpireAt { key, at_ms }),
        3 => (key('s'), prop_oneof![0..30u64, 0..6000u64], bytes(9))
            .prop_map(|(key, offset, bytes)| O::StringWrite { key, offset, bytes }),
        3 => (key('s'), any::<i32>()).prop_map(|(key, delta)| O::CounterAdd { key, delta: delta.into() }),
        2 => (any_key(), any_key()).prop_map(|(from, to)| O::Rename { from, to }),
        1 => Just(O::Flush),
    ];
    let hashes_sets = prop_oneof![
        (key('h'), vec((member(), bytes(8)), 1..4)).prop_map(|(key, fields)| O::HashSet { key, fields }),
        (key('h'), vec(member(), 1..4)).prop_map(|(key, fields)| O::HashRemove { key, fields }),
        (key('h'), member(), any::<i16>()).prop_map(|(key, field, delta)| O::HashCounterAdd {
            key,
            field,
            delta: delta.into()
        }),
        (key('t'), vec(member(), 1..4)).prop_map(|(key, members)| O::SetAdd { key, members }),
        (key('t'), vec(member(), 1..4)).prop_map(|(key, members)| O::SetRemove { key, members }),
        (key('z'), vec((member(), score()), 1..4)).prop_map(|(key, members)| O::ZSetAdd { key, members }),
        (key('z'), member(), score()).prop_map(|(key, member, by)| O::ZSetIncrement { key, member, by }),
        (key('z'), vec(member(), 1..4)).prop_map(|(key, members)| O::ZSetRemove { key, members }),
    ];
    let lists = prop_oneof![
        (key('l'), end(), vec(bytes(8), 1..4)).prop_map(|(key, end, elements)| O::ListPush {
            key,
            end,
            elements
        }),
        (key('l'), end(), 0..4u64).prop_map(|(key, end, count)| O::ListPop { key, end, count }),
        (key('l'), 0..6u64, bytes(8)).prop_map(|(key, at, element)| O::ListSet { key, at, element }),
        (key('l'), 0..6u64, bytes(8)).prop_map(|(key, at, element)| O::ListInsert { key, at, element }),
        (key('l'), prop::collection::btree_set(0..8u64, 1..4))
            .prop_map(|(key, places)| O::ListRemove { key, places: places.into_iter().collect() }),
    ];
    prop_oneof![3 => strings, 3 => hashes_sets, 2 => lists]
}
