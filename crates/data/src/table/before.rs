//! The image that the row log carries beside an operation: what the touched thing was before it.

use super::{Found, Table};
use crate::operation::{BEFORE_BYTES_MAX, Before, End, Operation};
use crate::value::{Kind, ValueRef};
use alloc::borrow::Cow;

impl Table {
    /// What the operation is about to change. An operation on exactly one element shows that element: a field's value, a
    /// list's element, a set's member itself, a score as the eight little-endian bytes of its double. A rename shows what
    /// the new name held, for only that is lost.
    pub fn before<'t>(&'t self, operation: &Operation<'_>) -> Before<'t> {
        use Operation as O;
        let Some(key) = operation.keys().last() else {
            return Before::Absent;
        };
        let Some(found) = self.get(key) else {
            return Before::Absent;
        };
        let element = match (operation, found.value) {
            (O::HashSet { fields, .. }, ValueRef::Hash(hash)) => match &fields[..] {
                [(field, _)] => hash.get(field).map(Cow::Borrowed),
                _ => return summary(found),
            },
            (O::HashRemove { fields, .. }, ValueRef::Hash(hash)) => match &fields[..] {
                [field] => hash.get(field).map(Cow::Borrowed),
                _ => return summary(found),
            },
            (O::HashCounterAdd { field, .. }, ValueRef::Hash(hash)) => hash.get(field).map(Cow::Borrowed),
            (O::SetAdd { members, .. } | O::SetRemove { members, .. }, ValueRef::Set(set)) => {
                match &members[..] {
                    [member] => set.member(member).map(Cow::Borrowed),
                    _ => return summary(found),
                }
            }
            (O::ZSetAdd { members, .. }, ValueRef::ZSet(zset)) => match &members[..] {
                [(member, _)] => zset.score(member).map(score_image),
                _ => return summary(found),
            },
            (O::ZSetRemove { members, .. }, ValueRef::ZSet(zset)) => match &members[..] {
                [member] => zset.score(member).map(score_image),
                _ => return summary(found),
            },
            (O::ZSetIncrement { member, .. }, ValueRef::ZSet(zset)) => zset.score(member).map(score_image),
            (O::ListPop { end, count: 1, .. }, ValueRef::List(list)) => match end {
                End::Front => list.at(0).map(Cow::Borrowed),
                End::Back => list.at(list.len() - 1).map(Cow::Borrowed),
            },
            (O::ListSet { at, .. }, ValueRef::List(list)) => {
                place(*at).and_then(|at| list.at(at)).map(Cow::Borrowed)
            }
            (O::ListRemove { places, .. }, ValueRef::List(list)) => match &places[..] {
                [at] => place(*at).and_then(|at| list.at(at)).map(Cow::Borrowed),
                _ => return summary(found),
            },
            _ => return Before::of(Some((found.value, found.expires_at_ms))),
        };
        match element {
            None => Before::Absent,
            Some(bytes) if bytes.len() <= BEFORE_BYTES_MAX => {
                Before::Bytes { bytes, expires_at_ms: found.expires_at_ms }
            }
            Some(bytes) => Before::Summary {
                kind: Kind::String as u8,
                len: bytes.len() as u64,
                expires_at_ms: found.expires_at_ms,
            },
        }
    }
}

fn place(at: u64) -> Option<usize> {
    usize::try_from(at).ok()
}
fn score_image(score: f64) -> Cow<'static, [u8]> {
    Cow::Owned(score.to_le_bytes().into())
}
fn summary(found: Found<'_>) -> Before<'static> {
    let (kind, len) = (found.value.kind() as u8, found.value.len() as u64);
    Before::Summary { kind, len, expires_at_ms: found.expires_at_ms }
}
