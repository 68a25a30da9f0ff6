//! What survives a crash of one replica: the records that were persisted, read back as a restart would.

use bytes::Bytes;
use data::record::{Kind, Record};
use data::{Epoch, Index, Position};
use protocol::single_leader::{LogWindow, Mark, Recovered};

#[derive(Clone, Default)]
pub struct Disk {
    /// The log begins after this place.
    base: Mark,
    base_starts: Vec<Position>,
    entries: Vec<(Mark, Bytes)>,
    promised: Epoch,
    commit: Index,
    time_ms: i64,
}

impl Disk {
    pub fn persist(&mut self, records: &Bytes) {
        let mut offset = 0;
        while let Ok(record) = Record::parse(&records[offset..]) {
            let header = record.header;
            self.promised = self.promised.max(header.epoch);
            self.commit = self.commit.max(header.commit);
            self.time_ms = self.time_ms.max(header.time_ms);
            if header.kind.is_entry() {
                let mark = Mark { position: header.position(), hash: record.hash };
                let first = record.gap().map_or(header.index, |gap| gap.first);
                if first == self.last().position.index.next() {
                    self.entries.push((mark, records.slice(offset..offset + record.len)));
                }
            } else if header.kind == Kind::Truncate {
                self.entries.retain(|(mark, _)| mark.position.index <= header.index);
            }
            offset += record.len;
        }
    }
    pub fn last(&self) -> Mark {
        self.entries.last().map_or(self.base, |(mark, _)| *mark)
    }
    /// A snapshot takes the place of the log's beginning; what follows it in the same history stays.
    pub fn install(&mut self, mark: Mark, starts: Vec<Position>, time_ms: i64) {
        let same = self.entries.iter().any(|(held, _)| *held == mark);
        self.entries.retain(|(held, _)| same && held.position.index > mark.position.index);
        self.base = mark;
        self.base_starts = starts;
        self.time_ms = self.time_ms.max(time_ms);
        self.commit = self.commit.max(mark.position.index);
    }
    /// Forgets the log through `index`, as after a snapshot of its own.
    pub fn trim(&mut self, index: Index) {
        let Some((mark, _)) = self.entries.iter().find(|(mark, _)| mark.position.index == index) else {
            return;
        };
        let mark = *mark;
        self.base_starts = self.starts(index);
        self.commit = self.commit.max(index);
        self.base = mark;
        self.entries.retain(|(mark, _)| mark.position.index > index);
    }
    /// Where the epochs of the log through `index` begin.
    pub fn starts(&self, index: Index) -> Vec<Position> {
        let mut starts = self.base_starts.clone();
        for (mark, _) in self.entries.iter().filter(|(mark, _)| mark.position.index <= index) {
            if starts.last().is_none_or(|start| start.epoch < mark.position.epoch) {
                starts.push(mark.position);
            }
        }
        starts
    }
    pub fn mark(&self, index: Index) -> Option<Mark> {
        if index == self.base.position.index {
            return Some(self.base);
        }
        self.entries.iter().find(|(mark, _)| mark.position.index == index).map(|(mark, _)| *mark)
    }
    /// A few records from `from` on and the place before them; none when the log begins later.
    pub fn read(&self, from: Index) -> (Mark, Bytes) {
        let Some(before) = self.mark(from.previous()) else { return (Mark::default(), Bytes::new()) };
        let entries = self.entries.iter().filter(|(mark, _)| mark.position.index >= from).take(8);
        let records: Vec<u8> = entries.flat_map(|(_, record)| record.to_vec()).collect();
        (before, Bytes::from(records))
    }
    /// What a restart finds. The window begins at the commit index when `short`.
    pub fn recover(&self, short: bool) -> Recovered {
        let commit = self.commit.min(self.last().position.index);
        let floor = if short { self.mark(commit).unwrap_or(self.base) } else { self.base };
        let mut log = LogWindow::new(floor, self.starts(floor.position.index), self.time_ms);
        for (mark, record) in &self.entries {
            if mark.position.index > floor.position.index {
                log.append(record.clone()).expect("what was persisted fits");
            }
        }
        Recovered { promised: self.promised, commit, log }
    }
}
