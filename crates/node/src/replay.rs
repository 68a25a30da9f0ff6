//! Applies committed entries to a copy, each in its own format.
//!
//! | format | what is done | what is compared, at this entry |
//! |---|---|---|
//! | `row` | the operations | nothing: audits find what differs |
//! | `statement` | the commands are executed, at the record's time | the digest of the operations and of what they found |
//! | `physical` | the values are put in place | the digest of what was there before |
//!
//! A copy that finds something else goes on with its log, in doubt ([`crate::audit`]): it is shown to nobody, and what holds in the
//! end is decided by comparing the whole table.
// catalogue: D1 D4 D6
// bugs: SL-23

use crate::answers::Answers;
use crate::payload::{Changes, Images, Payload, Statement, Step, write_row};
use crate::reapply::fits;
use alloc::vec::Vec;
use commands::table_view::TableView;
use commands::{Call, Ops, Random, find};
use data::codec::Writer;
use data::record::Record;
use data::table::{Table, digest};
use data::{Operation, RequestId};
use wire::{Protocol, ReplyWriter};

/// What came of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// Of an entry that deletes keys which another group has now: the version of the map since when it has them.
    pub map_needed: Option<u64>,
    /// It has no meaning on a copy that lacks entries before it: nothing of it was done, and its answer is not known here.
    pub left_out: bool,
    /// It did not do, or not find, what it did and found where it was made.
    pub unlike: Option<Unlike>,
}

/// Digests that should be equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unlike {
    pub own: u64,
    pub other: u64,
}

/// Applies one committed record to a table. One that is not `whole` lacks entries before it: there what differs says nothing, and an
/// entry that has no meaning is left out, all of it: this copy lacks it too then. The record parsed and its checksum held, so its payload is what the leader
/// wrote; one that cannot be read all the same, such as images of another engine's format, puts the copy in doubt.
pub fn apply(record: &Record<'_>, table: &mut Table, answers: &mut Answers, whole: bool) -> Applied {
    let header = &record.header;
    if !header.kind.is_change() {
        return Applied::default();
    }
    let Ok(payload) = Payload::parse(record.payload) else {
        let unlike = Some(Unlike { own: 0, other: record.hash });
        return Applied { unlike, ..Applied::default() };
    };
    let seconds = (header.time_ms / 1000) as u32;
    let unlike = match payload.changes {
        Changes::Rows(mut rows) => {
            if !whole && !all_fit(record.payload, table) {
                return Applied { left_out: true, ..Applied::default() };
            }
            while let Ok(Some((operation, _))) = rows.next_row() {
                table.apply_committed(&operation, seconds);
            }
            None
        }
        Changes::Statement(statement) => execute(statement, table, header.time_ms),
        Changes::Images(images) => put(images, table, seconds),
    };
    let mut applied = Applied { unlike: unlike.filter(|_| whole), ..Applied::default() };
    let Some(answer) = payload.answer else { return applied };
    if header.request == RequestId::NONE {
        applied.map_needed = <[u8; 8]>::try_from(answer).ok().map(u64::from_le_bytes);
    } else {
        answers.insert(header.request, header.position(), answer);
    }
    applied
}

/// Whether the operations of an entry have a meaning on a copy that lacks entries before it.
fn all_fit(payload: &[u8], table: &Table) -> bool {
    let Ok(Payload { changes: Changes::Rows(mut rows), .. }) = Payload::parse(payload) else { return false };
    while let Ok(Some((operation, _))) = rows.next_row() {
        if !fits(table, &operation) {
            return false;
        }
    }
    true
}

/// Executes a statement as it was executed where it was made.
fn execute(mut statement: Statement<'_>, table: &mut Table, time_ms: i64) -> Option<Unlike> {
    let (seconds, other, mut rows) = ((time_ms / 1000) as u32, statement.digest, Vec::new());
    while let Ok(Some(step)) = statement.next_step() {
        let mut change = |operation: &Operation<'_>, table: &mut Table| {
            let before = table.before(operation);
            // On a copy that differs already it may have no meaning.
            let fits = fits(table, operation);
            write_row(&mut Writer::new(&mut rows), operation, &before);
            if fits {
                table.apply_committed(operation, seconds);
            }
        };
        match step {
            Step::Operation(operation) => change(&operation, table),
            Step::Command(args) => {
                for operation in &yielded(&args, table, time_ms) {
                    change(operation, table);
                }
            }
        }
    }
    let own = digest(&rows);
    (own != other).then_some(Unlike { own, other })
}

/// The operations of a command on a table at a moment of its log; none where it is an error.
pub(crate) fn yielded<'a>(args: &'a [&'a [u8]], table: &Table, time_ms: i64) -> Ops<'a> {
    let mut ops = Ops::new();
    let spec = args.first().and_then(|name| find(name)).filter(|spec| spec.arity_fits(args.len()));
    let Some(run) = spec.and_then(|spec| spec.run) else { return ops };
    let (mut reply, mut random) = (Vec::new(), Random(0));
    let view = TableView { table, now_ms: time_ms };
    let result = run(&mut Call {
        args,
        view: &view,
        now_ms: time_ms,
        // What draws is not logged as it is.
        random: &mut random,
        reply: ReplyWriter::new(&mut reply, Protocol::Resp2),
        ops: &mut ops,
    });
    if result.is_err() {
        ops.clear();
    }
    ops
}

/// Puts the values of a physical entry in place.
fn put(mut images: Images<'_>, table: &mut Table, seconds: u32) -> Option<Unlike> {
    if images.flushed {
        table.apply_committed(&Operation::Flush, seconds);
    }
    let mut unlike = None;
    while let Ok(Some(image)) = images.next_image() {
        let own = table.image_digest(image.key);
        if own != image.before {
            unlike = unlike.or(Some(Unlike { own, other: image.before }));
        }
        table.apply_committed(&image.operation(), seconds);
    }
    unlike
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{physical, statement, write_head};
    use data::record::{Header, Kind};
    use data::table::Seed;
    use data::{Epoch, GroupId, Index, KeyspaceId, LogFormat};

    const TIME_MS: i64 = 1_700_000_000_000;

    /// Applies an entry with this payload to a table.
    fn applied(kind: Kind, table: &mut Table, payload: impl FnOnce(&mut Writer<'_>)) -> Applied {
        let header = Header {
            kind,
            keyspace: KeyspaceId(1),
            group: GroupId(1),
            epoch: Epoch(1),
            index: Index(1),
            commit: Index(0),
            time_ms: TIME_MS,
            request: RequestId::NONE,
        };
        let mut bytes = Vec::new();
        Record::write(&mut bytes, &header, 0, payload);
        apply(&Record::parse(&bytes).expect("own record"), table, &mut Answers::default(), true)
    }
    fn set_of(count: u8) -> Table {
        let mut table = Table::new(Seed(1, 2));
        let members = (0..count).map(|n| Vec::from([b'm', n]).into()).collect();
        table.apply_committed(&Operation::SetAdd { key: b"set"[..].into(), members }, 0);
        table
    }
    /// An entry of these commands, whose digest says that they removed this member of the set.
    fn statement_of(words: &[&[u8]], removes: u8, table: &Table, w: &mut Writer<'_>) {
        let members = Vec::from([Vec::from([b'm', removes]).into()]);
        let operation = Operation::SetRemove { key: b"set"[..].into(), members };
        let mut rows = Vec::new();
        write_row(&mut Writer::new(&mut rows), &operation, &table.before(&operation));
        write_head(w, LogFormat::Statement, None);
        w.u64(digest(&rows));
        statement::write_command(w, words);
    }

    // bugs: SL-23
    #[test]
    fn a_statement_that_does_something_else_is_noticed_at_its_entry() {
        let words: [&[u8]; 3] = [b"SREM", b"set", b"m\x05"];
        for (count, found_out) in [(9, false), (7, false), (3, true)] {
            let (mut table, leaders) = (set_of(count), set_of(9));
            let applied = applied(Kind::Statement, &mut table, |w| statement_of(&words, 5, &leaders, w));
            // Before images of one member say nothing of the others: only what a command touches is compared.
            assert_eq!(applied.unlike.is_some(), found_out, "{count}");
        }
        // One that draws cannot do the same everywhere: the eighth copy or so is lucky.
        let unlike = (0..9).filter(|drawn| {
            let (mut table, leaders) = (set_of(9), set_of(9));
            let words: [&[u8]; 2] = [b"SPOP", b"set"];
            applied(Kind::Statement, &mut table, |w| statement_of(&words, *drawn, &leaders, w))
                .unlike
                .is_some()
        });
        assert_eq!(unlike.count(), 8);
    }

    #[test]
    fn what_is_no_command_or_has_no_meaning_here_is_left_out_and_noticed() {
        let lines: [&[&[u8]]; 3] = [&[b"NOSUCH", b"set"], &[b"SREM"], &[b"GET", b"set"]];
        for words in lines {
            let mut table = set_of(9);
            let before = table.state_hash();
            let found = applied(Kind::Statement, &mut table, |w| statement_of(words, 5, &set_of(9), w));
            assert!(found.unlike.is_some() && table.state_hash() == before);
        }
        let mut table = set_of(9);
        let found = applied(Kind::Statement, &mut table, |w| {
            write_head(w, LogFormat::Statement, None);
            w.u64(0);
            let pop =
                Operation::ListPop { key: b"set"[..].into(), end: data::operation::End::Front, count: 3 };
            statement::write_operation(w, &pop);
        });
        assert!(found.unlike.is_some());
    }

    #[test]
    fn an_image_takes_its_place_and_tells_what_it_did_not_find() {
        let leaders = set_of(4);
        for (count, found_out) in [(9, false), (8, true)] {
            let mut table = set_of(count);
            let applied = applied(Kind::Physical, &mut table, |w| {
                write_head(w, LogFormat::Physical, None);
                physical::write_start(w, false);
                physical::write_image(w.buffer, &leaders, b"set", set_of(9).image_digest(b"set"));
            });
            assert_eq!(applied.unlike.is_some(), found_out);
            assert_eq!(table.state_hash(), leaders.state_hash());
        }
    }

    // catalogue: D5
    #[test]
    fn images_of_another_engine_format_are_not_read() {
        let mut table = set_of(9);
        let before = table.state_hash();
        let found = applied(Kind::Physical, &mut table, |w| {
            write_head(w, LogFormat::Physical, None);
            w.u16(data::log_format::ENGINE_FORMAT + 1);
            w.bool(true);
        });
        assert!(found.unlike.is_some() && table.state_hash() == before, "nothing was flushed");
    }
}
