//! Applies an entry of the ledger again: its changes become a new entry, if each finds what it found the first time.
//!
//! | format of the item | what tells that a key was changed since | with FORCE |
//! |---|---|---|
//! | `row` | the before image of the touched thing | the operation, where it still has a meaning |
//! | `statement` | the digest of what the command did and found, against what it would do now | what the command does now |
//! | `physical` | the digest of the whole value | the value as it was |

use crate::draft::Draft;
use crate::execute::{Context, Executed};
use crate::group::Group;
use crate::payload::{Changes, Images, Payload, Rows, Statement, Step};
use crate::replay::yielded;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use data::operation::Before;
use data::table::Table;
use data::value::{Kind, ValueRef};
use data::{LogFormat, Operation};
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
        let unknown = |_| String::from("ERR the item's operations are of a version that is not known here");
        let Payload { answer, changes } = Payload::parse(payload).map_err(unknown)?;
        let time_ms = self.replica.entry_time_ms(context.wall_ms);
        let mut draft = self.draft("reapply");
        let done = match changes {
            Changes::Rows(rows) => self.reapply_rows(rows, force, time_ms, &mut draft),
            Changes::Statement(statement) => self.reapply_statement(statement, force, time_ms, &mut draft),
            Changes::Images(images) => self.reapply_images(images, force, time_ms, &mut draft),
        };
        if let Err(text) = done {
            self.take_back(&mut draft);
            self.keep(draft);
            return Err(text);
        }
        let start = reply.len();
        ReplyWriter::new(reply, context.protocol).ok();
        // Under an id of its client's the answer goes with it: who asks again hears what would have been said then.
        Ok(self.append(context.identity.request, context.wall_ms, answer.or(Some(&reply[start..])), draft))
    }

    fn reapply_rows(
        &mut self,
        rows: Rows<'_>,
        force: bool,
        time_ms: i64,
        draft: &mut Draft,
    ) -> Result<(), String> {
        let seconds = (time_ms / 1000) as u32;
        for (operation, before) in &rows.all().map_err(unreadable)? {
            match fit(&self.table, operation, before) {
                Fit::Same => {}
                Fit::Changed if force => {}
                Fit::OtherType if force => {
                    for key in operation.keys() {
                        self.change(&Operation::Delete { key: key.into() }, seconds, draft);
                    }
                }
                found => {
                    let key = operation.keys().last().unwrap_or_default();
                    return Err(conflict(key, found));
                }
            }
            self.change(operation, seconds, draft);
        }
        Ok(())
    }

    /// Executes the commands once more, on what is there now. Without `force` they must do and find what they did and found.
    fn reapply_statement(
        &mut self,
        statement: Statement<'_>,
        force: bool,
        time_ms: i64,
        draft: &mut Draft,
    ) -> Result<(), String> {
        let (seconds, digest) = ((time_ms / 1000) as u32, statement.digest);
        // Its rows are compared with those of then, whatever the keyspace logs by now.
        let mut again = Draft::new(LogFormat::Statement, "reapply", Vec::new());
        let mut named = Vec::new();
        for step in statement.all().map_err(unreadable)? {
            step.each_key(&mut |key| named = key.to_vec());
            let (ops, of_command) = match &step {
                Step::Operation(operation) => ([operation.clone()].into_iter().collect(), false),
                Step::Command(args) => {
                    let ops = yielded(args, &self.table, time_ms);
                    let of_command = draft.format == LogFormat::Statement && !ops.is_empty();
                    if of_command {
                        draft.note_command(args);
                    }
                    (ops, of_command)
                }
            };
            for operation in &ops {
                if !fits(&self.table, operation) {
                    return Err(conflict(&named, Fit::Meaningless));
                }
                again.note(operation, &self.table, true);
                self.change_by(operation, seconds, draft, of_command);
            }
        }
        if again.digest() != digest && !force {
            return Err(conflict(&named, Fit::Changed));
        }
        if again.is_empty() {
            return Err(conflict(&named, Fit::Meaningless));
        }
        Ok(())
    }

    fn reapply_images(
        &mut self,
        images: Images<'_>,
        force: bool,
        time_ms: i64,
        draft: &mut Draft,
    ) -> Result<(), String> {
        let seconds = (time_ms / 1000) as u32;
        if images.flushed {
            self.change(&Operation::Flush, seconds, draft);
        }
        for image in images.all().map_err(unreadable)? {
            if self.table.image_digest(image.key) != image.before && !force {
                return Err(conflict(image.key, Fit::Changed));
            }
            self.change(&image.operation(), seconds, draft);
        }
        Ok(())
    }
}

fn unreadable(_: data::codec::DecodeError) -> String {
    String::from("ERR the item's operations are of a version that is not known here")
}

/// Whether an operation has a meaning on a table, whatever its key held when it was made.
pub(crate) fn fits(table: &Table, operation: &Operation<'_>) -> bool {
    use Operation as O;
    let found = operation.keys().next().and_then(|key| table.get(key)).map(|found| found.value);
    let len = match found {
        Some(ValueRef::List(list)) => Some(list.len() as u64),
        _ => None,
    };
    let there = match operation {
        O::ListPop { count, .. } => len.is_some_and(|len| *count <= len),
        O::ListSet { at, .. } => len.is_some_and(|len| *at < len),
        O::ListInsert { at, .. } => len.is_some_and(|len| *at <= len),
        O::ListRemove { places, .. } => len.is_some_and(|len| places.last().is_none_or(|at| *at < len)),
        O::CounterAdd { .. } if found.is_none() => true,
        O::CounterAdd { .. } | O::HashCounterAdd { .. } | O::ZSetIncrement { .. } => {
            adds_up(table, operation)
        }
        _ => true,
    };
    there && matches!(fit(table, operation, &table.before(operation)), Fit::Same)
}

fn fit(table: &Table, operation: &Operation<'_>, before: &Before<'_>) -> Fit {
    use Operation as O;
    if let O::Rename { from, .. } = operation
        && table.get(from).is_none()
    {
        return Fit::Meaningless;
    }
    let found = operation.keys().last().and_then(|key| table.get(key));
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
        O::StringWrite { .. } | O::HashSet { .. } | O::ListPush { .. } | O::SetAdd { .. } | O::ZSetAdd { .. }
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
    if table.before(operation) == *before {
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
    match bound_to_what_it_found && !adds_up(table, operation) {
        true => Fit::Meaningless,
        false => Fit::Changed,
    }
}

/// Whether an increment can be made to what is there now.
fn adds_up(table: &Table, operation: &Operation<'_>) -> bool {
    let found = operation.keys().last().and_then(|key| table.get(key)).map(|found| found.value);
    let sums = |text: &[u8], delta: i64| {
        // As the table reads and writes counters, and nothing else.
        let value = core::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        value.is_some_and(|value| format!("{value}").as_bytes() == text && value.checked_add(delta).is_some())
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
