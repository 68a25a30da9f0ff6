//! What a client asks to be done to one key, on its way to the replica that will mint it.

use super::amount::Amount;
use super::change::SetPolicy;
use super::counted::Text;
use super::dot::Write;
use super::expiry::Deadline;
use super::object::Object;
use super::store::Causal;
use crate::operation::Expiry;
use crate::value::Blob;
use alloc::vec::Vec;

/// A mergeable change of one key. Times are absolute, in milliseconds since 1970.
#[derive(Clone, PartialEq, Debug)]
pub enum Wish {
    Set {
        value: Blob,
        expiry: Expiry,
    },
    /// Replaces exactly what its client read.
    SetOver {
        seen: Causal<Text>,
        value: Blob,
    },
    Increment {
        by: Amount,
    },
    SetAdd {
        members: Vec<Blob>,
    },
    SetRemove {
        members: Vec<Blob>,
    },
    HashSet {
        fields: Vec<(Blob, Blob)>,
    },
    HashIncrement {
        field: Blob,
        by: Amount,
    },
    HashRemove {
        fields: Vec<Blob>,
    },
    Expire {
        deadline: Deadline,
    },
    Delete,
}

impl Wish {
    /// Whether it takes away what it sees, so that it means nothing where its minter has seen nothing: such a write
    /// reads at r first.
    pub fn is_observed(&self) -> bool {
        matches!(self, Wish::SetRemove { .. } | Wish::HashRemove { .. } | Wish::Delete)
    }
    /// About what it takes in memory and in messages.
    pub fn bytes(&self) -> usize {
        let all = |blobs: &[Blob]| blobs.iter().map(|blob| blob.len()).sum();
        match self {
            Wish::Set { value, .. } | Wish::SetOver { value, .. } => value.len(),
            Wish::SetAdd { members } | Wish::SetRemove { members } => all(members),
            Wish::HashSet { fields } => fields.iter().map(|(field, value)| field.len() + value.len()).sum(),
            Wish::HashRemove { fields } => all(fields),
            Wish::HashIncrement { field, .. } => field.len(),
            Wish::Increment { .. } | Wish::Expire { .. } | Wish::Delete => 0,
        }
    }
    /// The delta that does it, made from what its minter holds of the key.
    pub fn mint(&self, object: &Object, write: &mut Write<'_>, now_ms: i64) -> Causal<Object> {
        match self {
            Wish::Set { value, expiry } => object.set(write, now_ms, value, *expiry),
            Wish::SetOver { seen, value } => Object::set_over(seen.clone(), write, value),
            Wish::Increment { by } => object.increment(write, now_ms, *by),
            Wish::SetAdd { members } => {
                object.set_add(write, now_ms, SetPolicy::ObservedRemove, &slices(members))
            }
            Wish::SetRemove { members } => {
                object.set_remove(write, SetPolicy::ObservedRemove, &slices(members))
            }
            Wish::HashSet { fields } => {
                let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(f, v)| (&**f, &**v)).collect();
                object.hash_set(write, now_ms, &fields)
            }
            Wish::HashIncrement { field, by } => object.hash_increment(write, now_ms, field, *by),
            Wish::HashRemove { fields } => object.hash_remove(write, &slices(fields)),
            Wish::Expire { deadline } => object.expire(write, now_ms, *deadline),
            Wish::Delete => object.delete(write),
        }
    }
}

fn slices(blobs: &[Blob]) -> Vec<&[u8]> {
    blobs.iter().map(|blob| &**blob).collect()
}
