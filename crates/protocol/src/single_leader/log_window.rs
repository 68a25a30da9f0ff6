//! The end of a replica's log in memory: enough to match, to resend and to serve followers that are not far behind.
//!
//! Invariants: batches are contiguous; every record in them parsed and follows its predecessor's hash; `starts` holds
//! the position of the first entry of each epoch of the whole log, ascending in both fields.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use data::plant::{self, Bug};
use data::record::{Kind, Record};
use data::{Epoch, Index, Position};

/// Records of one append, as they lie in the log.
#[derive(Clone, Debug)]
struct Batch {
    /// The entry before the first one.
    before: Mark,
    first: Index,
    last: Index,
    records: Bytes,
    /// One record that stands for all of them: there is nothing to be sent.
    gap: bool,
}

/// A place in the history: the position of an entry and the rolling hash through it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    pub position: Position,
    pub hash: u64,
}

#[derive(Clone, Debug)]
pub struct LogWindow {
    /// The entry before the first one held here.
    floor: Mark,
    last: Mark,
    /// The newest time that any entry carries, ms since 1970.
    time_ms: i64,
    batches: VecDeque<Batch>,
    bytes: usize,
    starts: Vec<Position>,
}

/// Why records cannot be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// A record does not parse.
    Damaged,
    /// An index or epoch is out of order.
    Order,
    /// The rolling hash does not follow from this log's history.
    History,
}

impl LogWindow {
    /// A log that ends at `floor` with nothing in memory; `starts` are the epochs of what lies before.
    pub fn new(floor: Mark, starts: Vec<Position>, time_ms: i64) -> LogWindow {
        LogWindow { floor, last: floor, time_ms, batches: VecDeque::new(), bytes: 0, starts }
    }
    pub fn last(&self) -> Mark {
        self.last
    }
    pub fn floor(&self) -> Mark {
        self.floor
    }
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    pub fn starts(&self) -> &[Position] {
        &self.starts
    }
    /// The epoch of the entry at `index`, which must not lie beyond the end.
    pub fn epoch_at(&self, index: Index) -> Option<Epoch> {
        if index > self.last.position.index {
            return None;
        }
        if index == self.floor.position.index {
            return Some(self.floor.position.epoch);
        }
        let at = self.starts.partition_point(|start| start.index <= index);
        Some(if at == 0 { Epoch(0) } else { self.starts[at - 1].epoch })
    }
    /// The rolling hash through the entry at `index`, as far as the window reaches.
    pub fn hash_at(&self, index: Index) -> Option<u64> {
        if index == self.floor.position.index {
            return Some(self.floor.hash);
        }
        if index == self.last.position.index {
            return Some(self.last.hash);
        }
        let at = self.batches.partition_point(|batch| batch.before.position.index < index);
        if let Some(batch) = self.batches.get(at)
            && batch.before.position.index == index
        {
            return Some(batch.before.hash);
        }
        self.walk(index).map(|(_, _, record)| record.hash)
    }
    /// The batch, the offset in it and the record at `index`.
    fn walk(&self, index: Index) -> Option<(&Batch, usize, Record<'_>)> {
        let at = self.batches.partition_point(|batch| batch.last < index);
        let batch = self.batches.get(at).filter(|batch| batch.first <= index)?;
        let mut offset = 0;
        while let Ok(record) = Record::parse(&batch.records[offset..]) {
            if record.header.index == index {
                return Some((batch, offset, record));
            }
            offset += record.len;
        }
        None
    }
    /// Records from `from` on, at most a batch: what comes before them and the bytes. `None` when the window begins
    /// later or ends earlier.
    fn records_from(&self, from: Index) -> Option<(Mark, Bytes, Index)> {
        let previous = from.previous();
        let at = self.batches.partition_point(|batch| batch.first < from);
        if let Some(batch) = self.batches.get(at)
            && batch.first == from
        {
            if batch.gap {
                return None;
            }
            return Some((batch.before, batch.records.clone(), batch.last));
        }
        let mark = Mark {
            position: Position { epoch: self.epoch_at(previous)?, index: previous },
            hash: self.hash_at(previous)?,
        };
        let (batch, offset, _) = self.walk(from).filter(|(batch, ..)| !batch.gap)?;
        Some((mark, batch.records.slice(offset..), batch.last))
    }
    /// The same, and with them the batches behind, as far as all together stay within `bytes_max`: for a follower that is
    /// far behind. One batch alone is not copied.
    pub fn run_from(&self, from: Index, bytes_max: usize) -> Option<(Mark, Bytes, Index)> {
        let (before, records, mut end) = self.records_from(from)?;
        let fits = |run: usize, batch: &&Batch| !batch.gap && run + batch.records.len() <= bytes_max;
        let mut at = self.batches.partition_point(|batch| batch.first <= end);
        if self.batches.get(at).filter(|batch| fits(records.len(), batch)).is_none() {
            return Some((before, records, end));
        }
        let mut run = records.to_vec();
        while let Some(batch) = self.batches.get(at).filter(|batch| fits(run.len(), batch)) {
            run.extend_from_slice(&batch.records);
            end = batch.last;
            at += 1;
        }
        Some((before, Bytes::from(run), end))
    }
    /// The records from `from` to the end, as far as they are held, and the index of the first of them. A gap is one record, also
    /// when `from` lies within it.
    pub fn tail(&self, from: Index) -> (Index, Bytes) {
        let from = from.max(self.floor.position.index.next());
        let offset = self.walk(from).map_or(0, |(_, offset, _)| offset);
        let at = self.batches.partition_point(|batch| batch.last < from);
        let mut records = Vec::new();
        self.batches.iter().skip(at).for_each(|batch| records.extend_from_slice(&batch.records));
        (from, Bytes::from(records.split_off(offset)))
    }
    /// Bytes of the entries from `from` to the end; nothing when the window begins later, or lacks some of them.
    pub fn bytes_from(&self, from: Index) -> Option<usize> {
        if from > self.last.position.index {
            return Some(0);
        }
        let at = self.batches.partition_point(|batch| batch.last < from);
        let behind = self.batches.iter().skip(at);
        let known = self.batches.get(at).is_some_and(|batch| batch.first <= from);
        let whole = known && behind.clone().all(|batch| !batch.gap);
        whole.then(|| behind.map(|batch| batch.records.len()).sum())
    }
    /// Appends records that the caller made itself (a leader): `last` is the last one's mark.
    pub fn push(&mut self, first: Position, last: Mark, time_ms: i64, records: Bytes) {
        debug_assert_eq!(first.index, self.last.position.index.next(), "a log has no holes");
        self.note_start(first);
        self.bytes += records.len();
        self.batches.push_back(Batch {
            before: self.last,
            first: first.index,
            last: last.position.index,
            records,
            gap: false,
        });
        self.last = last;
        self.time_ms = self.time_ms.max(time_ms);
    }
    /// Checks records that came from elsewhere and appends them. Nothing is changed when they do not fit.
    pub fn append(&mut self, records: Bytes) -> Result<(), Unfit> {
        let (mut last, mut time_ms) = (self.last, self.time_ms);
        let mut starts = Vec::new();
        let (mut offset, mut first) = (0, None);
        while offset < records.len() {
            let rest = &records[offset..];
            let record = Record::parse(rest).map_err(|_| Unfit::Damaged)?;
            let position = record.header.position();
            if record.header.kind == Kind::Gap {
                let gap = record.gap().ok_or(Unfit::Damaged)?;
                if record.len != records.len() || !gap.fits(last.position, position) {
                    return Err(Unfit::Order);
                }
                gap.starts.iter().for_each(|start| self.note_start(*start));
                self.bytes += records.len();
                let mark = Mark { position, hash: record.hash };
                let time_ms = self.time_ms.max(record.header.time_ms);
                let (first, last) = (gap.first, position.index);
                self.batches.push_back(Batch { before: self.last, first, last, records, gap: true });
                (self.last, self.time_ms) = (mark, time_ms);
                return Ok(());
            }
            if position.index != last.position.index.next() || position.epoch < last.position.epoch {
                return Err(Unfit::Order);
            }
            if !record.follows(last.hash, rest) && !plant::is(Bug::ResumesByIndex) {
                return Err(Unfit::History);
            }
            if position.epoch != last.position.epoch {
                starts.push(position);
            }
            first.get_or_insert(position.index);
            last = Mark { position, hash: record.hash };
            time_ms = time_ms.max(record.header.time_ms);
            offset += record.len;
        }
        let Some(first) = first else { return Ok(()) };
        starts.into_iter().for_each(|start| self.note_start(start));
        self.bytes += records.len();
        self.batches.push_back(Batch {
            before: self.last,
            first,
            last: last.position.index,
            records,
            gap: false,
        });
        self.last = last;
        self.time_ms = time_ms;
        Ok(())
    }
    fn note_start(&mut self, position: Position) {
        if self.starts.last().is_none_or(|start| start.epoch < position.epoch) {
            self.starts.push(position);
        }
    }
    /// Cuts everything after `to`. False when the window begins later: the caller must rebuild it from disk.
    pub fn truncate(&mut self, to: Index) -> bool {
        if to < self.floor.position.index {
            return false;
        }
        let (Some(epoch), Some(hash)) = (self.epoch_at(to), self.hash_at(to)) else { return false };
        while let Some(batch) = self.batches.back_mut() {
            if batch.last <= to {
                break;
            }
            self.bytes -= batch.records.len();
            if batch.first > to {
                self.batches.pop_back();
                continue;
            }
            let mut offset = 0;
            while let Ok(record) = Record::parse(&batch.records[offset..]) {
                if record.header.index > to {
                    break;
                }
                offset += record.len;
            }
            batch.records.truncate(offset);
            batch.last = to;
            self.bytes += offset;
            break;
        }
        self.starts.retain(|start| start.index <= to);
        self.last = Mark { position: Position { epoch, index: to }, hash };
        true
    }
    /// Lets go of old batches through `through` while more than `bytes_max` are held.
    pub fn shed(&mut self, bytes_max: usize, through: Index) {
        while self.bytes > bytes_max {
            let Some(batch) = self.batches.front().filter(|batch| batch.last <= through) else { return };
            let index = batch.last;
            let (Some(epoch), Some(hash)) = (self.epoch_at(index), self.hash_at(index)) else { return };
            self.floor = Mark { position: Position { epoch, index }, hash };
            self.bytes -= batch.records.len();
            self.batches.pop_front();
        }
    }
    /// Whether a gap in the window covers this entry and the next one: nothing can go on between them.
    pub fn splits_gap(&self, index: Index) -> bool {
        let at = self.batches.partition_point(|batch| batch.last <= index);
        self.batches.get(at).is_some_and(|batch| batch.gap && batch.first <= index)
    }
    /// Calls `each` for the records of `from..=to` that are in the window, in order.
    pub fn each(&self, from: Index, to: Index, mut each: impl FnMut(&Record<'_>)) {
        let at = self.batches.partition_point(|batch| batch.last < from);
        for batch in self.batches.iter().skip(at).take_while(|batch| batch.first <= to) {
            let mut offset = 0;
            while let Ok(record) = Record::parse(&batch.records[offset..]) {
                if record.header.index >= from && record.header.index <= to {
                    each(&record);
                }
                offset += record.len;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(sizes: &[usize]) -> LogWindow {
        let mut window = LogWindow::new(Mark::default(), Vec::new(), 0);
        for (at, size) in (1..).zip(sizes) {
            let position = Position::new(1, at);
            window.push(position, Mark { position, hash: at }, 0, Bytes::from(alloc::vec![at as u8; *size]));
        }
        window
    }

    /// Entries 3 to 6 are not there.
    fn with_gap() -> LogWindow {
        let mut window = window(&[10, 10]);
        let (before, records) = (window.last(), Bytes::from_static(&[9; 4]));
        window.batches.push_back(Batch { before, first: Index(3), last: Index(6), records, gap: true });
        window.last = Mark { position: Position::new(1, 6), hash: 6 };
        window
    }

    // bugs: TC-10
    #[test]
    fn what_stands_behind_a_gap_is_of_the_tail_wherever_that_begins() {
        let mut window = with_gap();
        let position = Position::new(1, 7);
        window.push(position, Mark { position, hash: 7 }, 0, Bytes::from(alloc::vec![7; 5]));
        let tail = |from| {
            let (first, records) = window.tail(Index(from));
            (first.0, records.to_vec())
        };
        for from in 3..=6 {
            assert_eq!(tail(from), (from, [[9; 4].as_slice(), &[7; 5]].concat()));
        }
        assert_eq!((tail(7), tail(8)), ((7, alloc::vec![7; 5]), (8, Vec::new())));
    }

    #[test]
    fn a_snapshot_within_a_gap_is_told_from_one_at_its_end() {
        let window = with_gap();
        let splits: Vec<bool> = (1..=7).map(|index| window.splits_gap(Index(index))).collect();
        assert_eq!(splits, [false, false, true, true, true, false, false]);
    }

    #[test]
    fn what_a_follower_lacks_goes_in_few_messages_of_bounded_size() {
        let window = window(&[10, 10, 10, 50, 10]);
        let run = |from, max| {
            window.run_from(Index(from), max).map(|(before, run, end)| (before.hash, run.len(), end.0))
        };
        assert_eq!(run(1, 100), Some((0, 90, 5)));
        assert_eq!(run(1, 35), Some((0, 30, 3)));
        assert_eq!(run(3, 35), Some((2, 10, 3)));
        // One batch alone may be larger.
        assert_eq!(run(4, 35), Some((3, 50, 4)));
        assert_eq!(run(6, 35), None);
    }
}
