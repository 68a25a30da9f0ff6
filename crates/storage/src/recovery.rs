//! What a restarted node finds: reads every stream in the directory, judges it (see `segment`), and hands out the records
//! in the order in which they were written. Writes nothing; [`crate::Log::open`] does.
//!
//! A group's records may lie in several streams when the number of streams changed between two runs of the process. Within
//! one run a group has one stream, and every start begins new segments, so the order is: run, then stream, then place.

use crate::disk::Disk;
use crate::error::{Corruption, Error, Result};
use crate::index::{Epochs, Location, Mark, begins_anew, snapshot_mark};
use crate::job::Files;
use crate::read::Extent;
use crate::segment::{FORMAT, Header, Owner};
use crate::stream::{BatchFound, SegmentFound, StreamFound, Survey, streams};
use data::record::{Kind, Record, RecordError, VERSION};
use data::{Epoch, GroupId, Index, KeyspaceId};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub owner: Owner,
}

/// What the records of one group add up to.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct GroupState {
    pub keyspace: KeyspaceId,
    /// The newest snapshot that the log names: state up to here is in the snapshot file.
    pub base: Option<Mark>,
    /// First entry of the unbroken run that ends with `last`; `None` when the log holds no entry.
    pub first: Option<Index>,
    /// The last entry that was not cut, or the snapshot when there is none behind it.
    pub last: Option<Mark>,
    /// The highest epoch promised.
    pub fence: Epoch,
    /// Payload of the newest view record.
    pub view: Option<Vec<u8>>,
    /// The highest commit index that any record knew.
    pub commit: Index,
    /// The leader's time of the newest entry, ms since 1970.
    pub time_ms: i64,
    pub controls: u64,
    epochs: Epochs,
}

impl GroupState {
    /// Entries that are missing between the snapshot and the log: such a copy must be rebuilt and may not lead (SL-14).
    pub fn hole(&self) -> Option<(Index, Index)> {
        let base = self.base.map_or(Index(0), |base| base.position.index);
        let first = self.first?;
        (first > base.next()).then(|| (base.next(), first.previous()))
    }

    fn apply(&mut self, record: &Record<'_>, bytes: &[u8]) -> std::result::Result<(), &'static str> {
        let header = &record.header;
        if header.kind == Kind::Ledger {
            // It tells of entries that the log lacks.
            return Ok(());
        }
        self.keyspace = header.keyspace;
        self.commit = self.commit.max(header.commit);
        match header.kind {
            Kind::Truncate => self.cut_after(header.index),
            Kind::Fence => self.fence = self.fence.max(header.epoch),
            Kind::View => self.view = Some(record.payload.to_vec()),
            Kind::Control => self.controls += 1,
            Kind::Snapshot => self.begin_after(snapshot_mark(record)),
            Kind::Ledger | Kind::Leaderless => {}
            Kind::Empty
            | Kind::Operations
            | Kind::Statement
            | Kind::Physical
            | Kind::Gap
            | Kind::Skip
            | Kind::Barrier
            | Kind::Audit
            | Kind::Site => {
                return self.entry(record, bytes);
            }
        }
        Ok(())
    }
    fn entry(&mut self, record: &Record<'_>, bytes: &[u8]) -> std::result::Result<(), &'static str> {
        let header = &record.header;
        // A gap stands for all entries from its first one on, and names the hash through the last of them.
        let first = record.gap().map_or(header.index, |gap| gap.first);
        if self.last.is_some_and(|last| first <= last.position.index) {
            self.cut_after(first.previous());
        }
        match self.last {
            Some(last) if first == last.position.index.next() => {
                if last.hash != UNKNOWN && !record.follows(last.hash, bytes) {
                    return Err("an entry does not follow from the one before it");
                }
                self.first.get_or_insert(first);
            }
            _ => self.first = Some(first),
        }
        self.last = Some(Mark { position: header.position(), hash: record.hash });
        self.time_ms = self.time_ms.max(header.time_ms);
        record.gap().iter().flat_map(|gap| &gap.starts).for_each(|start| self.epochs.note(*start));
        self.epochs.note(header.position());
        Ok(())
    }
    fn cut_after(&mut self, index: Index) {
        let Some(last) = self.last else { return };
        if index >= last.position.index {
            return;
        }
        self.epochs.cut_after(index);
        if self.first.is_some_and(|first| first > index) {
            self.first = None;
        }
        self.last = match self.base {
            Some(base) if base.position.index == index => Some(base),
            _ if index == Index(0) => None,
            // The hash is read back at the end, from the entry itself.
            _ => {
                let epoch = self.epochs.of(index).unwrap_or_default();
                Some(Mark { position: data::Position { epoch, index }, hash: UNKNOWN })
            }
        };
    }
    fn begin_after(&mut self, mark: Mark) {
        self.commit = self.commit.max(mark.position.index);
        let last = self.last.map(|last| last.position.index).unwrap_or_default();
        let anew = self.last.is_none() || begins_anew(mark.position, self.base, last, &self.epochs);
        self.base = Some(mark);
        if anew {
            self.epochs.clear();
            self.first = None;
            self.last = Some(mark);
        }
    }
}

/// Stands for a hash that has to be read back. A real hash of this value only means one more read.
const UNKNOWN: u64 = u64::MAX;

pub struct Recovered {
    /// Every stream that was found, ready for [`crate::Log::open`].
    pub streams: Vec<StreamFound>,
    pub groups: BTreeMap<GroupId, GroupState>,
}

impl Recovered {
    /// Takes a stream out, or a new one when there is none of this number.
    pub fn take_stream(&mut self, stream: u32) -> StreamFound {
        match self.streams.iter().position(|s| s.stream == stream) {
            Some(at) => self.streams.swap_remove(at),
            None => StreamFound::new(stream),
        }
    }
}

/// Reads all streams. `each` gets every record, in order, cut entries and the records that cut them included; whoever
/// keeps entries has to follow `Truncate` and `Snapshot` records as [`GroupState`] does.
///
/// Errors: [`Error::Corrupt`] for flushed data that is damaged or missing, [`Error::Foreign`] for another cluster's or
/// node's directory, [`Error::Newer`] for a newer format, and what the disk says. None of them changes anything.
pub fn recover(
    disk: &Arc<dyn Disk>,
    options: &Options,
    each: &mut dyn FnMut(&Record<'_>, &[u8]),
) -> Result<Recovered> {
    let mut surveys = Vec::new();
    for stream in streams(&**disk)? {
        surveys.push(Survey::new(&**disk, options.owner, stream)?);
    }
    let mut found: Vec<StreamFound> = surveys.iter().map(begin).collect();
    let mut groups = BTreeMap::new();
    for (stream, segment) in in_order(&surveys) {
        read_segment(&surveys[stream], stream, segment, &mut found, &mut groups, each)?;
    }
    let files = Files::new(Arc::clone(disk));
    for (group, state) in &mut groups {
        resolve(&files, &found, *group, state)?;
    }
    Ok(Recovered { streams: found, groups })
}

fn begin(survey: &Survey) -> StreamFound {
    let mut found = StreamFound::new(survey.stream);
    found.next_sequence = survey.next_sequence;
    found.void.clone_from(&survey.void);
    if let Some(first) = survey.segments.first() {
        found.next_batch = first.header.base.max(1);
    }
    found
}

/// Segments of all streams by run of the process, each as (stream's place, segment's place).
fn in_order(surveys: &[Survey]) -> Vec<(usize, usize)> {
    let mut order = Vec::new();
    for (stream, survey) in surveys.iter().enumerate() {
        order.extend((0..survey.segments.len()).map(|segment| (stream, segment)));
    }
    order.sort_by_key(|(stream, segment)| {
        (surveys[*stream].segments[*segment].header.process, *stream, *segment)
    });
    order
}

fn read_segment(
    survey: &Survey,
    stream: usize,
    segment: usize,
    found: &mut [StreamFound],
    groups: &mut BTreeMap<GroupId, GroupState>,
    each: &mut dyn FnMut(&Record<'_>, &[u8]),
) -> Result<()> {
    let surveyed = &survey.segments[segment];
    let cut = found[stream].torn && found[stream].next_batch < surveyed.header.base;
    if cut {
        found[stream].void.push(surveyed.path.clone());
        return Ok(());
    }
    let path = surveyed.path.as_str();
    let end = survey.walk(segment, &mut |header, batch| {
        for_each_record(path, header, &batch, &mut |location, record, bytes| {
            if let Err(what) = groups.entry(record.header.group).or_default().apply(record, bytes) {
                let groups = Some(vec![record.header.group]);
                let offset = header.shape.data_start() + location.byte();
                return Err(Error::Corrupt(Box::new(Corruption {
                    path: path.to_owned(),
                    offset,
                    what,
                    groups,
                })));
            }
            note(found, stream, location, record, bytes);
            each(record, bytes);
            Ok(())
        })
    })?;
    let state = &mut found[stream];
    state.next_batch = end.next_batch;
    state.torn = end.torn || end.hole;
    let (header, path) = (surveyed.header, surveyed.path.clone());
    if end.end_sector == 0 {
        state.empty.push(path);
    } else {
        state.segments.push(SegmentFound {
            header,
            path,
            end_sector: end.end_sector,
            unproven: end.unproven,
        });
    }
    Ok(())
}

/// What cuts a group's log in one stream cuts it in all.
fn note(found: &mut [StreamFound], stream: usize, at: Location, record: &Record<'_>, bytes: &[u8]) {
    if record.header.kind == Kind::Truncate {
        for other in found.iter_mut() {
            other.index.hide_after(record.header.group, record.header.index);
        }
    }
    found[stream].index.note(at, record, bytes);
}

type EachRecord<'a> = dyn FnMut(Location, &Record<'_>, &[u8]) -> Result<()> + 'a;

fn for_each_record(
    path: &str,
    header: &Header,
    batch: &BatchFound<'_>,
    each: &mut EachRecord<'_>,
) -> Result<()> {
    let mut within = crate::batch::BATCH_HEADER_LEN;
    while within < batch.records.len() {
        let rest = &batch.records[within..];
        let offset = header.shape.sector_offset(batch.header.sector) + within as u64;
        let record = Record::parse(rest).map_err(|error| match error {
            RecordError::Version(found) => {
                Error::Newer { path: path.to_owned(), known: u32::from(VERSION), found: u32::from(found) }
            }
            // A kind is added with a new format of everything.
            RecordError::UnknownKind(_) => {
                Error::Newer { path: path.to_owned(), known: FORMAT, found: FORMAT + 1 }
            }
            RecordError::Truncated | RecordError::Length | RecordError::Checksum => {
                Error::corrupt(path, offset, "a batch holds what is no record")
            }
        })?;
        let location = Location {
            segment: header.sequence,
            sector: batch.header.sector,
            within: within as u32,
            batch: batch.header.batch,
        };
        each(location, &record, &rest[..record.len])?;
        within += record.len;
    }
    Ok(())
}

/// Reads back the hash of a last entry that a cut laid bare.
fn resolve(files: &Files, found: &[StreamFound], group: GroupId, state: &mut GroupState) -> Result<()> {
    let Some(last) = state.last.filter(|last| last.hash == UNKNOWN) else { return Ok(()) };
    for stream in found {
        let extent = |sequence| {
            let segment = stream.segments.iter().find(|s| s.header.sequence == sequence)?;
            Some(Extent {
                path: segment.path.clone(),
                shape: segment.header.shape,
                binding: segment.header.binding(),
                end_sector: segment.end_sector,
            })
        };
        let Some(plan) = stream.index.plan(group, last.position.index.next(), 1, extent) else { continue };
        if let Some(mark) = plan.perform(files)?.before
            && mark.position.index == last.position.index
        {
            state.last = Some(mark);
            return Ok(());
        }
    }
    // Its entry lies in a segment that was deleted: only a snapshot can stand for it.
    state.last = state.base.filter(|base| base.position.index >= last.position.index);
    Ok(())
}
