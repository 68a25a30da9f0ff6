//! An entry in the making, in the format of its keyspace's log: what it will hold, and what takes it back.

use crate::payload::{self, physical, statement};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::codec::Writer;
use data::record::RECORD_LEN_MAX;
use data::table::{Table, Undo, digest};
use data::{Index, LogFormat, Operation};

/// An entry that is larger is refused, for its record could not travel: room for header, answer and the record's frame stays.
pub(crate) const CHANGES_LEN_MAX: usize = RECORD_LEN_MAX - (1 << 20);

/// Invariant: `changes` is 0 exactly if nothing was noted; every operation is noted before it is applied.
#[derive(Default)]
pub struct Draft {
    pub(crate) format: LogFormat,
    /// What was done, for the bytes that are counted under its name.
    pub(crate) name: &'static str,
    /// `row`: the entry. `statement`: the same rows, for their digest. `physical`: nothing, until [`Draft::finish`].
    bytes: Vec<u8>,
    /// `statement` only.
    steps: Vec<u8>,
    /// `physical` only.
    touched: Touched,
    finished: bool,
    /// Operations.
    pub(crate) changes: u64,
    pub(crate) undo: Vec<Undo>,
    /// Newest entry that the replies so far depend on.
    pub(crate) depends: Index,
}

/// The keys that an entry changes, and the digests of what they held before it.
#[derive(Default)]
struct Touched {
    keys: BTreeMap<Vec<u8>, u64>,
    flushed: bool,
}

impl Draft {
    pub fn new(format: LogFormat, name: &'static str, mut memory: Vec<u8>) -> Draft {
        memory.clear();
        Draft { format, name, bytes: memory, ..Draft::default() }
    }
    pub fn is_empty(&self) -> bool {
        self.changes == 0
    }
    /// The memory, to be used again.
    pub fn into_memory(self) -> Vec<u8> {
        self.bytes
    }
    /// What the next operations come of, where copies shall execute it themselves.
    pub fn note_command(&mut self, args: &[&[u8]]) {
        debug_assert_eq!(self.format, LogFormat::Statement, "other formats hold no commands");
        statement::write_command(&mut Writer::new(&mut self.steps), args);
    }
    /// An operation that is about to be applied. `of_command`: of the command that was noted last.
    pub fn note(&mut self, operation: &Operation<'_>, table: &Table, of_command: bool) {
        self.changes += 1;
        match self.format {
            LogFormat::Row => {
                payload::write_row(&mut Writer::new(&mut self.bytes), operation, &table.before(operation));
            }
            LogFormat::Statement => {
                if !of_command {
                    statement::write_operation(&mut Writer::new(&mut self.steps), operation);
                }
                payload::write_row(&mut Writer::new(&mut self.bytes), operation, &table.before(operation));
            }
            LogFormat::Physical => self.touched.note(operation, table),
        }
    }
    /// Nothing was done after all.
    pub fn forget(&mut self) {
        let memory = core::mem::take(&mut self.bytes);
        *self = Draft { depends: self.depends, ..Draft::new(self.format, self.name, memory) };
    }
    /// The digest of the rows, of a statement.
    pub fn digest(&self) -> u64 {
        digest(&self.bytes)
    }
    /// Everything is applied: what the entry holds is known from here on. The first call counts.
    pub fn finish(&mut self, table: &Table) {
        let first = !core::mem::replace(&mut self.finished, true);
        if first && self.format == LogFormat::Physical {
            self.bytes.clear();
            physical::write_start(&mut Writer::new(&mut self.bytes), self.touched.flushed);
            for (key, before) in &self.touched.keys {
                physical::write_image(&mut self.bytes, table, key, *before);
            }
        }
    }
    /// Bytes of what the entry holds, once finished.
    pub fn len(&self) -> usize {
        match self.format {
            LogFormat::Row | LogFormat::Physical => self.bytes.len(),
            LogFormat::Statement => 8 + self.steps.len(),
        }
    }
    /// Writes what the entry holds behind the head of its payload.
    pub fn write(&self, w: &mut Writer<'_>) {
        match self.format {
            LogFormat::Row | LogFormat::Physical => w.buffer.extend_from_slice(&self.bytes),
            LogFormat::Statement => {
                w.u64(self.digest());
                w.buffer.extend_from_slice(&self.steps);
            }
        }
    }
}

impl Touched {
    fn note(&mut self, operation: &Operation<'_>, table: &Table) {
        if matches!(operation, Operation::Flush) {
            // What was there before is gone with the rest.
            self.keys.clear();
            self.flushed = true;
        }
        for key in operation.keys() {
            if !self.keys.contains_key(key) {
                self.keys.insert(key.to_vec(), table.image_digest(key));
            }
        }
    }
}
