//! Applies an entry of the ledger again: its operations become a new entry, if each finds what it found the first time.

use crate::execute::{Context, Draft, Executed};
use crate::group::Group;
use crate::payload::Payload;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use data::Operation;
use data::operation::Before;
use data::value::{Kind, ValueRef};
use wire::ReplyWriter;

/// Whether an operation may be applied to what its key holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fit {
    /// It finds what it found before.
    Same,
    /// The key was changed since; the operation still has a meaning.
    Changed,
    /// The key is of another type by now: it would have to go first.
    OtherType,
    /// What the operation changes is not there: places of another list, members that are gone, a number that is none.
    Meaningless,
}

impl Group {
    /// Appends OK to `reply` and makes the entry, under the request id of `context`. An error names the key that was changed since;
    /// with `force` only one where the operation has no meaning any more. Then nothing is changed.
    pub fn reapply(
        &mut self,
        context: &mut Context<'_>,
        payload: &[u8],
        force: bool,
        reply: &mut Vec<u8>,
    ) -> Result<Executed, String> {
        if !self.is_serving() {
            return Ok(Executed::NotLeading);
        }
        let rows = Payload::parse(payload).and_then(Payload::rows);
        let rows = rows
            .map_err(|_| String::from("ERR the item's operations are of a version that is not known here"))?;
        let seconds = (self.replica.entry_time_ms(context.wall_ms) / 1000) as u32;
        let mut draft = self.draft();
        for (operation, before) in &rows {
            match self.fit(operation, before) {
                Fit::Same => {}
                Fit::Changed if force => {}
                Fit::OtherType if force => {
                    for key in operation.keys() {
                        self.change(&Operation::Delete { key: key.into() }, seconds, &mut draft);
                    }
                }
                fit => {
                    let key = operation.keys().last().unwrap_or_default();
                    let text = conflict(key, fit);
                    self.take_back(draft);
                    return Err(text);
                }
            }
            self.change(operation, seconds, &mut draft);
        }
        let start = reply.len();
        ReplyWriter::new(reply, context.protocol).ok();
        // Under an id of its client's the answer goes with it: who asks again hears what would have been said then.
        let answer = Payload::parse(payload).ok().and_then(|payload| payload.answer);
        Ok(self.append(context.identity.request, context.wall_ms, answer.or(Some(&reply[start..])), draft))
    }

    fn take_back(&mut self, mut draft: Draft) {
        for undo in draft.undo.drain(..).rev() {
            self.table.undo(undo);
        }
        self.keep(draft);
    }

    fn fit(&self, operation: &Operation<'_>, before: &Before<'_>) -> Fit {
        use Operation as O;
        if let O::Rename { from, .. } = operation
            && self.table.get(from).is_none()
        {
            return Fit::Meaningless;
        }
        let found = operation.keys().last().and_then(|key| self.table.get(key));
        let wanted = match operation {
            O::StringWrite { .. } | O::CounterAdd { .. } => Some(Kind::String),
            O::HashSet { .. } | O::HashRemove { .. } | O::HashCounterAdd { .. } => Some(Kind::Hash),
            O::ListPush { .. }
            | O::ListPop { .. }
            | O::ListSet { .. }
            | O::ListInsert { .. }
            | O::ListRemove { .. } => Some(Kind::List),
            O::SetAdd { .. } | O::SetRemove { .. } => Some(Kind::Set),
            O::ZSetAdd { .. } | O::ZSetIncrement { .. } | O::ZSetRemove { .. } => Some(Kind::ZSet),
            _ => None,
        };
        let adds = matches!(
            operation,
            O::StringWrite { .. }
                | O::HashSet { .. }
                | O::ListPush { .. }
                | O::SetAdd { .. }
                | O::ZSetAdd { .. }
        );
        let other_type = wanted.is_some_and(|kind| found.is_some_and(|found| found.value.kind() != kind));
        if other_type {
            return if adds { Fit::OtherType } else { Fit::Meaningless };
        }
        let holds = match (operation, found.map(|found| found.value)) {
            (O::HashRemove { fields, .. }, Some(ValueRef::Hash(hash))) => {
                fields.iter().all(|field| hash.contains(field))
            }
            (O::SetRemove { members, .. }, Some(ValueRef::Set(set))) => {
                members.iter().all(|member| set.contains(member))
            }
            (O::ZSetRemove { members, .. }, Some(ValueRef::ZSet(zset))) => {
                members.iter().all(|member| zset.score(member).is_some())
            }
            (O::HashRemove { .. } | O::SetRemove { .. } | O::ZSetRemove { .. }, None) => false,
            _ => true,
        };
        if !holds {
            return Fit::Meaningless;
        }
        if self.table.before(operation) == *before {
            return Fit::Same;
        }
        let bound_to_what_it_found = matches!(
            operation,
            O::CounterAdd { .. }
                | O::HashCounterAdd { .. }
                | O::ZSetIncrement { .. }
                | O::ListPop { .. }
                | O::ListSet { .. }
                | O::ListInsert { .. }
                | O::ListRemove { .. }
        );
        match bound_to_what_it_found && !self.adds_up(operation) {
            true => Fit::Meaningless,
            false => Fit::Changed,
        }
    }

    /// Whether an increment can be made to what is there now.
    fn adds_up(&self, operation: &Operation<'_>) -> bool {
        let found = operation.keys().last().and_then(|key| self.table.get(key)).map(|found| found.value);
        let sums = |text: &[u8], delta: i64| {
            // As the table reads and writes counters, and nothing else.
            let value = core::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
            value.is_some_and(|value| {
                format!("{value}").as_bytes() == text && value.checked_add(delta).is_some()
            })
        };
        match (operation, found) {
            (Operation::CounterAdd { .. } | Operation::HashCounterAdd { .. }, None) => true,
            (Operation::CounterAdd { delta, .. }, Some(ValueRef::String(text))) => sums(text, *delta),
            (Operation::HashCounterAdd { field, delta, .. }, Some(ValueRef::Hash(hash))) => {
                hash.get(field).is_none_or(|text| sums(text, *delta))
            }
            (Operation::ZSetIncrement { by, .. }, None) => !by.is_nan(),
            (Operation::ZSetIncrement { member, by, .. }, Some(ValueRef::ZSet(zset))) => {
                !(zset.score(member).unwrap_or(0.0) + by).is_nan()
            }
            _ => false,
        }
    }
}

fn conflict(key: &[u8], fit: Fit) -> String {
    // An error is one line of text, whatever the key holds.
    let shown: String = String::from_utf8_lossy(key)
        .chars()
        .take(200)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    match fit {
        Fit::Meaningless => {
            format!(
                "CONFLICT key '{shown}' no longer holds what this write changed: it cannot be applied again"
            )
        }
        _ => format!("CONFLICT key '{shown}' was changed since: LEDGER REAPPLY <id> FORCE overwrites it"),
    }
}
