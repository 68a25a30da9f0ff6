//! Where each group's entries lie in a stream, in bounded memory: one point per 64 KiB of the stream per group, and what
//! each segment still holds for whom.

use bytes::Bytes;
use data::codec::Reader;
use data::ledger::{ItemId, Note};
use data::record::{Header, Kind, Record};
use data::{Epoch, GroupId, Index, KeyspaceId, Position, RequestId};
use std::collections::{BTreeMap, VecDeque};

/// Entries that begin closer than this behind a point get none of their own.
pub(crate) const POINT_DISTANCE: u64 = 64 << 10;

/// An entry by its place and the rolling hash of the history through it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mark {
    pub position: Position,
    pub hash: u64,
}

/// Appends the record that says: the log of this group begins after `mark`, a snapshot took the place of what was before.
pub fn write_snapshot_record(
    buffer: &mut Vec<u8>,
    keyspace: KeyspaceId,
    group: GroupId,
    mark: Mark,
    time_ms: i64,
) {
    let header = Header {
        kind: Kind::Snapshot,
        keyspace,
        group,
        epoch: mark.position.epoch,
        index: mark.position.index,
        commit: mark.position.index,
        time_ms,
        request: RequestId::NONE,
    };
    Record::write(buffer, &header, 0, |w| w.u64(mark.hash));
}

/// The mark that a snapshot record names.
pub(crate) fn snapshot_mark(record: &Record<'_>) -> Mark {
    let hash = Reader::new(record.payload).u64().unwrap_or(record.hash);
    Mark { position: record.header.position(), hash }
}

/// Where a record begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    pub segment: u64,
    /// The batch's first sector in the data region.
    pub sector: u32,
    /// Offset of the record in the batch.
    pub within: u32,
    pub batch: u64,
}

impl Location {
    pub(crate) fn byte(&self) -> u64 {
        u64::from(self.sector) * crate::disk::SECTOR as u64 + u64::from(self.within)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    pub index: Index,
    pub at: Location,
}

/// At which index each epoch began, as far back as entries are held.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Epochs {
    starts: VecDeque<(Index, Epoch)>,
}

impl Epochs {
    pub fn note(&mut self, position: Position) {
        if self.starts.back().is_none_or(|(_, epoch)| *epoch != position.epoch) {
            self.starts.push_back((position.index, position.epoch));
        }
    }
    /// The epoch of an entry that is held, when known.
    pub fn of(&self, index: Index) -> Option<Epoch> {
        self.starts.iter().rev().find(|(first, _)| *first <= index).map(|(_, epoch)| *epoch)
    }
    pub fn cut_after(&mut self, index: Index) {
        while self.starts.back().is_some_and(|(first, _)| *first > index) {
            self.starts.pop_back();
        }
    }
    fn forget_before(&mut self, index: Index) {
        while self.starts.get(1).is_some_and(|(first, _)| *first <= index) {
            self.starts.pop_front();
        }
    }
    pub fn clear(&mut self) {
        self.starts.clear();
    }
}

/// Whether nothing of a log through `last`, behind a snapshot at `base`, goes on behind a newer snapshot at `position`: that
/// lies beyond it, or is of another history. A node's own snapshots never go back.
pub(crate) fn begins_anew(position: Position, base: Option<Mark>, last: Index, epochs: &Epochs) -> bool {
    let of_another_history = match base.map(|base| base.position) {
        Some(base) if position.index <= base.index => position != base,
        _ => epochs.of(position.index).is_some_and(|held| held != position.epoch),
    };
    position.index > last || of_another_history
}

/// The latest fence, view or snapshot record of a group: lives on in a newer segment when its own is deleted.
#[derive(Clone, Debug)]
struct Sticky {
    /// `None` while it waits for its batch.
    at: Option<Location>,
    epoch: Epoch,
    record: Bytes,
}

const STICKY: [Kind; 3] = [Kind::Fence, Kind::View, Kind::Snapshot];

#[derive(Default, Debug)]
pub(crate) struct GroupIndex {
    pub points: VecDeque<Point>,
    epochs: Epochs,
    pub last: Index,
    /// The next entry gets a point wherever it lies: what stands before it in the file is not its predecessor.
    force: bool,
    pub base: Option<Mark>,
    /// An earlier base, when the first entry that can be read stands right behind it: the log itself does not know what
    /// stood there.
    floor: Option<Mark>,
    sticky: [Option<Sticky>; 3],
    pub released: Index,
    pub pins: BTreeMap<u64, Index>,
}

/// What one segment holds of one group.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Held {
    /// Highest index that still counts; 0 when only records that are no entries are left.
    pub last: Index,
    pub bytes: u64,
}

/// The index of one stream.
#[derive(Default, Debug)]
pub struct LogIndex {
    pub(crate) groups: BTreeMap<GroupId, GroupIndex>,
    pub(crate) held: BTreeMap<u64, BTreeMap<GroupId, Held>>,
    /// Items of the ledger that nobody has let go: they outlive the segments and even the groups that they came from.
    ledger: BTreeMap<ItemId, Sticky>,
}

impl LogIndex {
    /// A record is on its way into a batch: an older one of its kind need not be kept any more.
    pub(crate) fn stage(&mut self, record: &Record<'_>, bytes: &[u8]) {
        if let Some(kind) = STICKY.iter().position(|k| *k == record.header.kind) {
            self.groups.entry(record.header.group).or_default().stick(kind, record, bytes, None);
        }
        if record.header.kind == Kind::Ledger {
            self.keep(record, bytes, None);
        }
    }
    /// A record of the ledger is on its way, or lies at `at`.
    fn keep(&mut self, record: &Record<'_>, bytes: &[u8], at: Option<Location>) {
        let header = &record.header;
        let id = ItemId { group: header.group, position: header.position() };
        if matches!(Note::parse(record), Ok(Note::Gone(_))) {
            self.ledger.remove(&id);
            return;
        }
        let waits = self.ledger.get(&id).filter(|known| known.at.is_none());
        if at.is_some() && waits.is_some_and(|known| known.record != bytes) {
            // One that is still on its way is newer than one that arrives.
            return;
        }
        let record = Bytes::copy_from_slice(bytes);
        self.ledger.insert(id, Sticky { at, epoch: header.epoch, record });
    }
    /// A record lies at `at`.
    pub(crate) fn note(&mut self, at: Location, record: &Record<'_>, bytes: &[u8]) {
        let header = &record.header;
        if header.kind == Kind::Ledger {
            self.keep(record, bytes, Some(at));
            return;
        }
        let group = self.groups.entry(header.group).or_default();
        if let Some(kind) = STICKY.iter().position(|k| *k == header.kind) {
            group.stick(kind, record, bytes, Some(at));
        }
        let counts = header.kind.is_entry() || matches!(header.kind, Kind::Control | Kind::Leaderless);
        match header.kind {
            Kind::Truncate => self.hide_after(header.group, header.index),
            Kind::Snapshot => self.begin_after(header.group, snapshot_mark(record)),
            kind if kind.is_entry() => {
                let gap = record.gap();
                let first = gap.as_ref().map_or(header.index, |gap| gap.first);
                if first <= group.last && group.epochs.of(first).is_some() {
                    self.hide_after(header.group, first.previous());
                }
                let group = self.groups.entry(header.group).or_default();
                gap.iter().flat_map(|gap| &gap.starts).for_each(|start| group.epochs.note(*start));
                group.entry(at, header);
            }
            _ => {}
        }
        let held = self.held.entry(at.segment).or_default().entry(header.group).or_default();
        held.bytes += record.len as u64;
        if counts {
            held.last = held.last.max(header.index);
        }
    }
    /// The group's entries after `index` were cut.
    pub(crate) fn hide_after(&mut self, group: GroupId, index: Index) {
        let Some(g) = self.groups.get_mut(&group) else { return };
        if index >= g.last {
            return;
        }
        while g.points.back().is_some_and(|point| point.index > index) {
            g.points.pop_back();
        }
        g.epochs.cut_after(index);
        g.last = index;
        g.force = true;
        self.clamp(group, index);
    }
    /// A snapshot at `mark` took the place of what was before. Entries after it stay when they follow from it.
    fn begin_after(&mut self, group: GroupId, mark: Mark) {
        let Some(g) = self.groups.get_mut(&group) else { return };
        let ahead = g.first().previous();
        g.floor = g.base.filter(|base| base.position.index == ahead).or(g.floor);
        let anew = begins_anew(mark.position, g.base, g.last, &g.epochs);
        g.base = Some(mark);
        let index = mark.position.index;
        if anew {
            g.points.clear();
            g.epochs.clear();
            g.last = index;
            // What was released of the history before says nothing of this one.
            g.released = g.released.min(index);
            g.floor = None;
            g.force = true;
            self.clamp(group, Index(0));
        }
    }
    fn clamp(&mut self, group: GroupId, to: Index) {
        for held in self.held.values_mut().filter_map(|groups| groups.get_mut(&group)) {
            held.last = held.last.min(to);
        }
    }
    /// Records that live in `segment` and must be written again before it goes: fences, views, snapshots, the ledger.
    pub(crate) fn to_carry(&self, segment: u64) -> Vec<Bytes> {
        let sticky = self.groups.values().flat_map(|g| g.sticky.iter().flatten()).chain(self.ledger.values());
        sticky.filter(|s| s.at.is_some_and(|at| at.segment <= segment)).map(|s| s.record.clone()).collect()
    }
    /// Whether every fence, view and snapshot record lies behind `segment` in a durable batch, or never lay in it; else
    /// the batch that has to become durable first.
    pub(crate) fn carried(&self, segment: u64, durable: u64) -> bool {
        let mut sticky =
            self.groups.values().flat_map(|g| g.sticky.iter().flatten()).chain(self.ledger.values());
        sticky.all(|s| s.at.is_some_and(|at| at.segment > segment && at.batch <= durable))
    }
    pub(crate) fn segment_deleted(&mut self, segment: u64) {
        self.held.remove(&segment);
        for group in self.groups.values_mut() {
            while group.points.front().is_some_and(|point| point.at.segment <= segment) {
                group.points.pop_front();
            }
            let first = group.first();
            group.epochs.forget_before(first.previous());
        }
    }
    pub(crate) fn forget(&mut self, group: GroupId) {
        self.groups.remove(&group);
        for groups in self.held.values_mut() {
            groups.remove(&group);
        }
    }
}

impl GroupIndex {
    fn entry(&mut self, at: Location, header: &Header) {
        let near = self.points.back().is_some_and(|point| {
            point.at.segment == at.segment && at.byte() - point.at.byte() < POINT_DISTANCE
        });
        if self.force || !near {
            self.points.push_back(Point { index: header.index, at });
            self.force = false;
        }
        self.epochs.note(header.position());
        self.last = header.index;
    }
    fn stick(&mut self, kind: usize, record: &Record<'_>, bytes: &[u8], at: Option<Location>) {
        if let Some(old) = &mut self.sticky[kind] {
            // A fence never falls back; and a record that is still on its way is newer than one that arrives.
            let older = kind == 0 && record.header.epoch < old.epoch;
            if older || (at.is_some() && old.at.is_none() && old.record != bytes) {
                return;
            }
        }
        let record_bytes = Bytes::copy_from_slice(bytes);
        self.sticky[kind] = Some(Sticky { at, epoch: record.header.epoch, record: record_bytes });
    }
    /// The first entry that can still be read.
    pub fn first(&self) -> Index {
        self.points.front().map_or(self.last.next(), |point| point.index)
    }
    /// Entries through this index may go. A pin keeps the entry before its first one too: a reader is told what that was.
    pub fn free_through(&self) -> Index {
        let pins = self.pins.values().map(|pin| pin.previous().previous());
        pins.chain([self.released]).min().unwrap_or_default()
    }
    /// The mark of the entry at `index`, if it is known without reading it.
    pub fn known_mark(&self, index: Index) -> Option<Mark> {
        let none = (index == Index(0)).then(Mark::default);
        none.or([self.base, self.floor].into_iter().flatten().find(|mark| mark.position.index == index))
    }
    /// Whether entries can be read from `from` on, and what stands before them is known.
    pub fn reaches(&self, from: Index) -> bool {
        let ahead = from.previous();
        self.first() <= if self.known_mark(ahead).is_some() { from } else { ahead }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(index: &mut LogIndex, segment: u64, byte: u32, kind: Kind, epoch: u64, number: u64) {
        let mut bytes = Vec::new();
        let header = Header {
            kind,
            keyspace: KeyspaceId(0),
            group: GroupId(1),
            epoch: Epoch(epoch),
            index: Index(number),
            commit: Index(0),
            time_ms: 0,
            request: RequestId::NONE,
        };
        Record::write(&mut bytes, &header, 0, |_| {});
        let record = Record::parse(&bytes).expect("just written");
        let at = Location { segment, sector: byte / 512, within: byte % 512, batch: 1 };
        index.note(at, &record, &bytes);
    }

    #[test]
    fn a_point_per_distance_per_segment_and_behind_every_cut() {
        let mut index = LogIndex::default();
        for number in 1..=100 {
            note(&mut index, 1, number * 10_000, Kind::Operations, 1, u64::from(number));
        }
        assert_eq!(index.groups[&GroupId(1)].points.len(), 15);
        note(&mut index, 2, 0, Kind::Operations, 1, 101);
        assert_eq!(index.groups[&GroupId(1)].points.len(), 16);
        note(&mut index, 2, 100, Kind::Truncate, 2, 50);
        note(&mut index, 2, 200, Kind::Empty, 2, 51);
        let group = &index.groups[&GroupId(1)];
        assert_eq!(group.points.back().map(|p| (p.index, p.at.segment)), Some((Index(51), 2)));
        assert_eq!(index.held[&1][&GroupId(1)].last, Index(50));
        assert_eq!(group.epochs.of(Index(50)), Some(Epoch(1)));
        assert_eq!(group.epochs.of(Index(51)), Some(Epoch(2)));
    }

    // bugs: SL-16
    #[test]
    fn a_snapshot_is_compared_with_the_entry_that_counts() {
        let mut index = LogIndex::default();
        for (number, epoch) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
            note(&mut index, 1, number * 100, Kind::Operations, epoch, u64::from(number));
        }
        note(&mut index, 1, 500, Kind::Truncate, 2, 1);
        note(&mut index, 1, 600, Kind::Operations, 2, 2);
        note(&mut index, 1, 700, Kind::Operations, 2, 3);
        note(&mut index, 1, 800, Kind::Snapshot, 2, 2);
        assert_eq!(index.groups[&GroupId(1)].last, Index(3));
    }

    // bugs: SL-16
    #[test]
    fn a_snapshot_keeps_what_follows_from_it_and_drops_the_rest() {
        let mut index = LogIndex::default();
        for number in 1..=10 {
            note(&mut index, 1, number * 100, Kind::Operations, 1, u64::from(number));
        }
        note(&mut index, 1, 2000, Kind::Snapshot, 1, 6);
        assert_eq!(
            (index.groups[&GroupId(1)].first(), index.groups[&GroupId(1)].last),
            (Index(1), Index(10))
        );
        note(&mut index, 1, 2100, Kind::Snapshot, 2, 8);
        assert_eq!((index.groups[&GroupId(1)].first(), index.groups[&GroupId(1)].last), (Index(9), Index(8)));
        assert_eq!(index.held[&1][&GroupId(1)].last, Index(0));
    }
}
