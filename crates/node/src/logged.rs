//! What the leaderships of a group on this node wrote into its log: entries, operations and bytes, by format and command.
// catalogue: D8

use crate::draft::Draft;
use alloc::vec::Vec;
use data::LogFormat;

/// Counted since the process started. The bytes are those of the changes: without the record's header and the answer for a retry.
#[derive(Default, Debug)]
pub struct Logged {
    /// As they came. Invariant: no two rows of one format and name.
    rows: Vec<Row>,
    /// The row that was counted last.
    last: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    pub format: LogFormat,
    /// Of the command; `exec` for a transaction, `expire`, `move` and `reapply` for what the node does by itself.
    pub command: &'static str,
    pub entries: u64,
    /// Operations: one command may be many.
    pub changes: u64,
    pub bytes: u64,
}

impl Logged {
    pub(crate) fn note(&mut self, draft: &Draft) {
        // Most often the one before. Names are few, and equal ones are nearly always at one address.
        let is = |row: &Row| row.format == draft.format && row.command == draft.name;
        if !self.rows.get(self.last).is_some_and(is) {
            self.last = self.rows.iter().position(is).unwrap_or_else(|| {
                let (format, command) = (draft.format, draft.name);
                self.rows.push(Row { format, command, entries: 0, changes: 0, bytes: 0 });
                self.rows.len() - 1
            });
        }
        if let Some(row) = self.rows.get_mut(self.last) {
            row.entries += 1;
            row.changes += draft.changes;
            row.bytes += draft.len() as u64;
        }
    }
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
    /// Adds what another group of the keyspace wrote.
    pub fn add(&mut self, other: &Logged) {
        for row in &other.rows {
            let same = |it: &&mut Row| (it.format, it.command) == (row.format, row.command);
            match self.rows.iter_mut().find(same) {
                Some(it) => {
                    it.entries += row.entries;
                    it.changes += row.changes;
                    it.bytes += row.bytes;
                }
                None => self.rows.push(*row),
            }
        }
        self.rows.sort_unstable_by_key(|row| (row.format, row.command));
        self.last = 0;
    }
}
