//! What a client asks to be done to one key, on its way to the replica that will mint it.

mod encoded;
mod last;
mod outcome;

pub use outcome::{Outcome, SIBLINGS_MAX, Unfit};

use super::amount::Amount;
use super::change::SetPolicy;
use super::conflict::{Decisions, How, Version};
use super::context::Context;
use super::counted::Text;
use super::dot::{Dot, Write};
use super::expiry::Deadline;
use super::merging::{Merged, Merging};
use super::object::{Kind, Object};
use super::store::Causal;
use super::zset::Score;
use crate::leaderless::ConflictPolicy;
use crate::operation::{End, Expiry};
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
    /// By a whole number, of what is one.
    Increment {
        by: Amount,
    },
    /// By any finite number.
    IncrementFloat {
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
    HashIncrementFloat {
        field: Blob,
        by: Amount,
    },
    HashRemove {
        fields: Vec<Blob>,
    },
    ZSetSet {
        members: Vec<(Blob, Score)>,
    },
    ZSetIncrement {
        member: Blob,
        by: Amount,
    },
    ZSetRemove {
        members: Vec<Blob>,
    },
    /// One after the other: the last one ends up at the very end.
    ListPush {
        end: End,
        elements: Vec<Blob>,
    },
    /// Beside the first element that equals the pivot.
    ListInsert {
        after: bool,
        pivot: Blob,
        element: Blob,
    },
    /// So many elements of this value, from the front, or from the back for a negative count; all of them for 0.
    ListRemove {
        count: i64,
        element: Blob,
    },
    Expire {
        deadline: Deadline,
    },
    /// Registers of a hyperloglog stand at these values at least.
    Raise {
        points: Vec<(u16, u8)>,
    },
    Delete,
    /// Somebody, `by`, says what a conflict comes to: `None` for nothing. Replaces exactly these versions.
    Settle {
        path: Vec<Blob>,
        versions: Vec<Version>,
        value: Option<Blob>,
        by: Blob,
    },
    /// Lets decisions on conflicts go.
    Forget {
        decisions: Context,
    },
}

impl Wish {
    /// Whether it is about what it finds, so that it means nothing where its minter has seen nothing: such a write
    /// reads at r first. Where the last write wins an increment is a write of the sum.
    pub fn is_observed(&self, conflict: ConflictPolicy) -> bool {
        let sums = conflict == ConflictPolicy::LastWriteWins;
        match self {
            Wish::SetRemove { .. }
            | Wish::HashRemove { .. }
            | Wish::ZSetRemove { .. }
            | Wish::ListInsert { .. }
            | Wish::ListRemove { .. }
            | Wish::Expire { .. }
            | Wish::Delete => true,
            Wish::Increment { .. }
            | Wish::IncrementFloat { .. }
            | Wish::HashIncrement { .. }
            | Wish::HashIncrementFloat { .. }
            | Wish::ZSetIncrement { .. } => sums,
            // They name what they are about.
            Wish::Settle { .. } | Wish::Forget { .. } => false,
            Wish::Set { .. }
            | Wish::SetOver { .. }
            | Wish::SetAdd { .. }
            | Wish::HashSet { .. }
            | Wish::ZSetSet { .. }
            | Wish::ListPush { .. }
            | Wish::Raise { .. } => false,
        }
    }
    /// As [`Wish::judge`], where a function may say what readers are shown: an increment adds to that, and its client is told
    /// the sum.
    ///
    /// # Errors
    /// As of [`Wish::judge`].
    pub fn judge_shown(
        &self,
        merging: Option<&Merging>,
        object: &Object,
        now_ms: i64,
    ) -> Result<Outcome, Unfit> {
        match merging {
            Some(merging) if self.is_increment() => {
                self.judge(&object.merged(merging, &mut Merged::default()), now_ms)
            }
            _ => self.judge(object, now_ms),
        }
    }
    fn is_increment(&self) -> bool {
        matches!(
            self,
            Wish::Increment { .. }
                | Wish::IncrementFloat { .. }
                | Wish::HashIncrement { .. }
                | Wish::HashIncrementFloat { .. }
        )
    }
    /// Whether what a removal came to is all that it names. False for one that found less: somebody else has removed the rest, or it was
    /// never there.
    pub fn removed_all(&self, outcome: Outcome) -> bool {
        let named = match self {
            Wish::Delete | Wish::ListRemove { .. } => 1,
            Wish::SetRemove { members } | Wish::ZSetRemove { members } => members.len(),
            Wish::HashRemove { fields } => fields.len(),
            _ => return true,
        };
        matches!(outcome, Outcome::Count(count) if count >= named as u64)
    }
    /// Whether nothing of what it names shall be left, as of all removals but those of so many elements of a list.
    pub fn is_thorough(&self) -> bool {
        matches!(
            self,
            Wish::Delete
                | Wish::SetRemove { .. }
                | Wish::HashRemove { .. }
                | Wish::ZSetRemove { .. }
                | Wish::ListRemove { count: 0, .. }
        )
    }
    /// Whether something that a removal names is there, expired or not.
    pub fn finds(&self, object: &Object) -> bool {
        self.judge(object, i64::MIN) != Ok(Outcome::Count(0))
    }
    /// Whether it is a word on conflicts, and no write of its own.
    pub fn is_about_conflicts(&self) -> bool {
        matches!(self, Wish::Settle { .. } | Wish::Forget { .. })
    }
    /// About what it takes in memory and in messages.
    pub fn bytes(&self) -> usize {
        let all = |blobs: &[Blob]| blobs.iter().map(|blob| blob.len()).sum();
        match self {
            Wish::Set { value, .. } | Wish::SetOver { value, .. } => value.len(),
            Wish::SetAdd { members } | Wish::SetRemove { members } | Wish::ZSetRemove { members } => {
                all(members)
            }
            Wish::HashSet { fields } => fields.iter().map(|(field, value)| field.len() + value.len()).sum(),
            Wish::HashRemove { fields } => all(fields),
            Wish::HashIncrement { field, .. } | Wish::HashIncrementFloat { field, .. } => field.len(),
            Wish::ZSetSet { members } => members.iter().map(|(member, _)| member.len() + 8).sum(),
            Wish::ZSetIncrement { member, .. } => member.len(),
            Wish::ListPush { elements, .. } => all(elements),
            Wish::ListInsert { pivot, element, .. } => pivot.len() + element.len(),
            Wish::ListRemove { element, .. } => element.len(),
            Wish::Settle { path, versions, value, by } => {
                let values = versions.iter().filter_map(|version| version.value.as_ref());
                let all: usize = path.iter().chain(values).chain(value).map(|blob| blob.len()).sum();
                all + by.len() + 48 * versions.len()
            }
            Wish::Raise { points } => 3 * points.len(),
            Wish::Forget { decisions } => 24 * decisions.ranges().count(),
            Wish::Increment { .. } | Wish::IncrementFloat { .. } | Wish::Expire { .. } | Wish::Delete => 0,
        }
    }
    /// What it comes to on what its minter holds of the key, and the delta that does it.
    ///
    /// # Errors
    /// When it does not fit what is there: no dot was minted.
    pub fn mint(
        &self,
        object: &Object,
        write: &mut Write<'_>,
        now_ms: i64,
    ) -> Result<(Causal<Object>, Outcome), Unfit> {
        let outcome = self.judge(object, now_ms)?;
        Ok((self.delta(object, write, now_ms), outcome))
    }
    /// The same under a keyspace's policy, and with what became of the conflicts that it ends. `merging`: the function of
    /// [`ConflictPolicy::Merge`].
    ///
    /// # Errors
    /// As of [`Wish::mint`].
    pub fn mint_under(
        &self,
        policy: ConflictPolicy,
        merging: Option<&Merging>,
        object: &Object,
        write: &mut Write<'_>,
        now_ms: i64,
    ) -> Result<(Causal<Object>, Outcome), Unfit> {
        let is_last = policy == ConflictPolicy::LastWriteWins;
        let how = match self {
            Wish::Settle { path, versions, value, by } => {
                let settle = &mut |object: &Object, write: &mut Write<'_>| {
                    object.settle(versions, value.as_ref(), is_last, write)
                };
                let names: Vec<&[u8]> = path.iter().map(|field| &**field).collect();
                let settled = object.hash_update(write, now_ms, &names, settle).ok_or(Unfit::WrongType)?;
                // An expiry that has passed would hide what is written now.
                let expired = Causal {
                    store: Object::of_deadlines(Default::default()),
                    context: object.deadlines().seen(),
                };
                let settled = if object.is_shown(now_ms) { settled } else { settled.and(&expired) };
                let how = How::Resolved { by: by.clone() };
                let decided = object.decide(path.clone(), how, versions.clone(), write);
                return Ok((settled.and(&decided), Outcome::Done));
            }
            Wish::Delete => How::Deleted,
            _ => How::Overwritten,
        };
        let (delta, outcome) = match is_last {
            true => self.mint_last(object, write, now_ms)?,
            false => {
                let outcome = self.judge_shown(merging, object, now_ms)?;
                (self.delta(object, write, now_ms), outcome)
            }
        };
        Ok((object.and_decided(delta, &how, write), outcome))
    }
    fn delta(&self, object: &Object, write: &mut Write<'_>, now_ms: i64) -> Causal<Object> {
        match self {
            Wish::Set { value, expiry } => object.set(write, now_ms, value, *expiry),
            // What lies there unseen goes first: an expiry that has passed would hide what is written now.
            Wish::SetOver { seen, value } if !object.is_shown(now_ms) => {
                let cleared = object.delete(write);
                cleared.and(&Object::set_over(seen.clone(), write, value))
            }
            Wish::SetOver { seen, value } => Object::set_over(seen.clone(), write, value),
            Wish::Increment { by } | Wish::IncrementFloat { by } => object.increment(write, now_ms, *by),
            Wish::SetAdd { members } => {
                object.set_add(write, now_ms, policy(object, now_ms), &slices(members))
            }
            Wish::SetRemove { members } => object.set_remove(write, policy(object, now_ms), &slices(members)),
            Wish::HashSet { fields } => {
                let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(f, v)| (&**f, &**v)).collect();
                object.hash_set(write, now_ms, &fields)
            }
            Wish::HashIncrement { field, by } | Wish::HashIncrementFloat { field, by } => {
                object.hash_increment(write, now_ms, field, *by)
            }
            Wish::HashRemove { fields } => object.hash_remove(write, &slices(fields)),
            Wish::ZSetSet { members } => {
                let members: Vec<(&[u8], Score)> = members.iter().map(|(m, score)| (&**m, *score)).collect();
                object.zset_set(write, now_ms, &members)
            }
            Wish::ZSetIncrement { member, by } => object.zset_increment(write, now_ms, member, *by),
            Wish::ZSetRemove { members } => object.zset_remove(write, &slices(members)),
            Wish::ListPush { end, elements } => object.list_push(write, now_ms, *end, &slices(elements)),
            Wish::ListInsert { after, pivot, element } => match place_of(object, now_ms, pivot) {
                Some(at) => object.list_insert(write, now_ms, at + usize::from(*after), &[element]),
                None => Causal::new(),
            },
            Wish::ListRemove { count, element } => {
                object.list_remove(&elements_like(object, now_ms, *count, element))
            }
            Wish::Expire { deadline } => object.expire(write, now_ms, *deadline),
            Wish::Delete => object.delete(write),
            Wish::Raise { points } => object.raise(write, now_ms, points),
            // Only a keyspace's policy says what a version is written as.
            Wish::Settle { .. } => Causal::new(),
            Wish::Forget { decisions } => Decisions::forget(decisions.clone()),
        }
    }
}

/// A set goes on as what it began as.
fn policy(object: &Object, now_ms: i64) -> SetPolicy {
    match object.shown_at(now_ms).map(super::object::Part::kind) {
        Some(Kind::RemoveWinsSet) => SetPolicy::RemoveWins,
        Some(Kind::TwoPhaseSet) => SetPolicy::TwoPhase,
        _ => SetPolicy::ObservedRemove,
    }
}

/// Where the first element of this value stands.
fn place_of(object: &Object, now_ms: i64, value: &[u8]) -> Option<usize> {
    let list = object.list_at(now_ms)?;
    list.elements().iter().position(|element| **element.value == *value)
}

/// The elements that LREM means.
fn elements_like(object: &Object, now_ms: i64, count: i64, value: &[u8]) -> Vec<Dot> {
    let Some(list) = object.list_at(now_ms) else { return Vec::new() };
    let elements = list.elements();
    let alike = elements.iter().filter(|element| **element.value == *value).map(|element| element.mark.dot);
    let wanted = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(wanted) => wanted,
    };
    if count < 0 { alike.rev().take(wanted).collect() } else { alike.take(wanted).collect() }
}

fn slices(blobs: &[Blob]) -> Vec<&[u8]> {
    blobs.iter().map(|blob| &**blob).collect()
}
