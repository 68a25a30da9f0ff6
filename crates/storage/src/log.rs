//! One stream of the log: records of many groups go in, batches come out as jobs, and the log says how far it is durable.
//! Pure bookkeeping; only [`Log::open`] touches the disk.
//!
//! A driver's round: [`Log::append`] what the replicas want persisted, then while few enough jobs are in flight
//! [`Log::seal_batch`] and hand the job to a thread; report each back with [`Log::completed`] or [`Log::failed`]; tell the
//! replicas of [`Log::durable_batch`] (or [`Log::written_batch`] for those who asked for no flush). Beside that:
//! [`Log::segment_job`] whenever there is one, [`Log::flush_job`] by the clock or when [`Log::flush_wanted`],
//! [`Log::mark_job`] when idle, [`Log::reclaim`] now and then.
//!
//! *Invariants:* batches are numbered without holes; `durable <= written < next`; after one failed write or flush nothing
//! is accepted any more, and what was not durable by then never is (SL-12).

use crate::batch::{self, BATCH_HEADER_LEN, BATCH_LEN_MAX, Place};
use crate::disk::SECTOR;
use crate::error::{Error, Result};
use crate::index::{Location, LogIndex};
use crate::job::{Files, FlushJob, MarkJob, SegmentJob, Write, WriteJob};
use crate::segment::{HEADERS, Header, MARKS, Owner, Shape, Slot, encode_mark, segment_path, stream_dir};
use crate::stream::StreamFound;
use bytes::Bytes;
use data::record::Record;
use data::{GroupId, Index};
use std::collections::VecDeque;

/// Data bytes of a segment: large enough that making one is rare, small enough that keeping one too many is cheap.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Data bytes of the first segment of a run: a start waits for it. Each one after it is twice as large.
pub const FIRST_SEGMENT_BYTES: u64 = 4 << 20;

#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    pub owner: Owner,
    /// This run of the process, from the identity file: later runs have higher numbers.
    pub process: u64,
    /// Of a segment, at most.
    pub segment_bytes: u64,
}

/// Keeps entries from being deleted until it is taken back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PinId(u64);

/// Why the oldest segment cannot go.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Blockers {
    /// Bytes of all segments from the oldest on.
    pub behind_bytes: u64,
    /// A snapshot (and release) through this entry frees the segment from this group, unless a joiner still reads there.
    pub groups: Vec<(GroupId, Index)>,
}

struct Segment {
    header: Header,
    path: String,
    /// Where the next batch goes.
    next_sector: u32,
    /// The header was handed out for writing.
    started: bool,
}

impl Segment {
    fn fits(&self, sectors: u32, batch: u64) -> bool {
        let shape = &self.header.shape;
        u64::from(self.next_sector) + u64::from(sectors) <= shape.sectors()
            && batch - self.header.base < u64::from(shape.slots)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Writing,
    /// The operating system has it; `flush` jobs handed out after `stamp` make it durable.
    Written {
        stamp: u64,
    },
    Durable,
}

/// One or several neighbouring batches on their way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    first: u64,
    last: u64,
    segment: u64,
    end_sector: u32,
    flush: bool,
    /// When it was sealed.
    stamp: u64,
    stage: Stage,
}

pub struct Log {
    config: LogConfig,
    stream: u32,
    segments: VecDeque<Segment>,
    spare: Option<SegmentJob>,
    preparing: bool,
    /// Data bytes of the next segment.
    next_capacity: u64,
    next_sequence: u64,
    /// Room for the batch header, then records.
    buffer: Vec<u8>,
    /// Where each record begins in `buffer`.
    starts: Vec<u32>,
    next_batch: u64,
    written: u64,
    durable: u64,
    /// Up to here everything can be read: segment and sector.
    readable: (u64, u32),
    flights: VecDeque<Flight>,
    clock: u64,
    flushing: bool,
    /// When the newest flush was handed out.
    barrier: u64,
    flush_until: u64,
    marked: u64,
    marks: usize,
    pins: u64,
    obsolete: Vec<String>,
    index: LogIndex,
    poison: Option<String>,
}

impl Log {
    /// Goes on behind what recovery found: deletes what it declared void, starts a new segment and makes it durable.
    pub fn open(files: &Files, config: LogConfig, found: StreamFound) -> Result<Log> {
        let dir = stream_dir(found.stream);
        files.disk().create_dir(&dir)?;
        // From the newest backwards: at no moment does a hole lie before something that could be taken for valid.
        for path in found.void.iter().rev() {
            files.remove(path)?;
        }
        files.disk().sync_dir("")?;
        files.disk().sync_dir(&dir)?;
        found.segments.iter().try_for_each(|segment| segment.make_durable(files))?;
        let durable = found.next_batch - 1;
        let segments = found.segments.into_iter();
        let mut log = Log {
            config,
            stream: found.stream,
            segments: segments
                .map(|s| Segment { header: s.header, path: s.path, next_sector: s.end_sector, started: true })
                .collect(),
            spare: None,
            preparing: false,
            next_capacity: config.segment_bytes.min(FIRST_SEGMENT_BYTES),
            next_sequence: found.next_sequence,
            buffer: vec![0; BATCH_HEADER_LEN],
            starts: Vec::new(),
            next_batch: found.next_batch,
            written: durable,
            durable,
            readable: (0, 0),
            flights: VecDeque::new(),
            clock: 0,
            flushing: false,
            barrier: 0,
            flush_until: 0,
            marked: durable,
            marks: 0,
            pins: 0,
            obsolete: Vec::new(),
            index: found.index,
            poison: None,
        };
        log.begin(files)?;
        for path in &found.empty {
            files.remove(path)?;
        }
        Ok(log)
    }

    /// The first segment of this run: its header, durable, proves all that is older.
    fn begin(&mut self, files: &Files) -> Result<()> {
        let job =
            self.segment_job().ok_or(Error::TooLarge { what: "segment", max: self.config.segment_bytes })?;
        job.perform(files)?;
        self.segment_ready(job);
        self.roll(0);
        let mut writes = Vec::new();
        let Some(current) = self.segments.back_mut() else { return Ok(()) };
        current.started = true;
        push_header(&current.header, &mut writes);
        let file = files.get(&current.path)?;
        for write in &writes {
            file.write_at(write.offset, &write.bytes)?;
        }
        file.flush()?;
        self.readable = (current.header.sequence, 0);
        Ok(())
    }

    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// Adds whole encoded records, of any groups, to the batch that is being gathered. All of them are in one batch.
    /// Bytes that are no records are the caller's mistake: an error, and nothing is appended.
    pub fn append(&mut self, records: &[u8]) -> Result<()> {
        self.usable()?;
        if self.buffer.len() + records.len() > BATCH_LEN_MAX - BATCH_LEN_MAX / 32 {
            return Err(Error::TooLarge { what: "batch", max: BATCH_LEN_MAX as u64 });
        }
        let (mut at, count) = (0, self.starts.len());
        while at < records.len() {
            let Ok(record) = Record::parse(&records[at..]) else {
                self.starts.truncate(count);
                return Err(Error::corrupt("memory", at as u64, "a record to be appended is not whole"));
            };
            self.starts.push((self.buffer.len() + at) as u32);
            self.index.stage(&record, &records[at..at + record.len]);
            at += record.len;
        }
        self.buffer.extend_from_slice(records);
        Ok(())
    }

    /// The number that what was appended since the last seal will have.
    pub fn next_batch(&self) -> u64 {
        self.next_batch
    }
    /// Bytes of records gathered.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len() - BATCH_HEADER_LEN
    }
    /// Write jobs handed out and not reported back.
    pub fn in_flight(&self) -> usize {
        self.flights.iter().filter(|f| f.stage == Stage::Writing).count()
    }
    /// The last batch of which, with all before it, every write has been carried out.
    pub fn written_batch(&self) -> u64 {
        self.written
    }
    /// The last batch that survives a power cut, with all before it.
    pub fn durable_batch(&self) -> u64 {
        self.durable
    }
    /// Why this log stopped, if it did.
    pub fn poisoned(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    /// Closes the batch. `None` when there is nothing to write, or no segment to write it to: then [`Log::segment_job`]
    /// has to be carried out first, and what was appended waits.
    pub fn seal_batch(&mut self, flush: bool) -> Result<Option<WriteJob>> {
        self.usable()?;
        if self.starts.is_empty() {
            return Ok(None);
        }
        let sectors = batch::sectors(batch::batch_len(self.pending_bytes()));
        if !self.segments.back().is_some_and(|s| s.fits(sectors, self.next_batch)) && !self.roll(sectors) {
            return Ok(None);
        }
        let also = if flush { self.unflushed_before_current() } else { Vec::new() };
        let Some(segment) = self.segments.back_mut() else { return Ok(None) };
        let (header, number) = (segment.header, self.next_batch);
        let place = Place {
            batch: number,
            durable_through: self.durable,
            sector: segment.next_sector,
            binding: header.binding(),
        };
        let starts = std::mem::take(&mut self.starts);
        note_records(&mut self.index, &self.buffer, &starts, header.sequence, place);
        let fresh = Vec::with_capacity(self.buffer.len().min(1 << 20));
        let mut buffer = std::mem::replace(&mut self.buffer, fresh);
        self.buffer.resize(BATCH_HEADER_LEN, 0);
        buffer.reserve_exact(batch::batch_len(buffer.len() - BATCH_HEADER_LEN) - buffer.len());
        let (bytes, crc) = batch::seal(buffer, starts.len() as u32, place);
        let slot = Slot {
            batch: number,
            durable_through: self.durable,
            sector: place.sector,
            len: bytes.len() as u32,
            crc,
        };
        let mut writes = vec![
            Write { offset: header.shape.sector_offset(place.sector), bytes },
            Write {
                offset: header.shape.slot_offset(number - header.base),
                bytes: Bytes::from(slot.encode(place.binding)),
            },
        ];
        if !std::mem::replace(&mut segment.started, true) {
            push_header(&header, &mut writes);
        }
        segment.next_sector += sectors;
        let (end_sector, path) = (segment.next_sector, segment.path.clone());
        self.next_batch += 1;
        self.clock += 1;
        if flush {
            self.barrier = self.clock;
        }
        self.flights.push_back(Flight {
            first: number,
            last: number,
            segment: header.sequence,
            end_sector,
            flush,
            stamp: self.clock,
            stage: Stage::Writing,
        });
        Ok(Some(WriteJob { batch: number, path, writes, flush, also }))
    }

    /// A write job was carried out, with its flush if it had one.
    pub fn completed(&mut self, batch: u64) {
        if self.poison.is_some() {
            return;
        }
        self.clock += 1;
        let stamp = self.clock;
        let Some(flight) = self.flights.iter_mut().find(|f| f.first == batch && f.stage == Stage::Writing)
        else {
            return;
        };
        let (flush, sealed) = (flight.flush, flight.stamp);
        flight.stage = if flush { Stage::Durable } else { Stage::Written { stamp } };
        if flush {
            self.flushed_until(sealed);
        }
        self.advance();
    }

    /// A write job failed. Nothing is appended from now on, and nothing that is not durable yet ever will be.
    pub fn failed(&mut self, batch: u64, error: &Error) {
        self.stop(format!("batch {batch}: {error}"));
    }

    /// Whether a flush is due although no batch asks for it: something durable waits behind batches that were only
    /// written, or a segment was left with such.
    pub fn flush_wanted(&self) -> bool {
        if self.flushing || self.poison.is_some() {
            return false;
        }
        let current = self.segments.back().map_or(0, |s| s.header.sequence);
        let written = |f: &Flight| matches!(f.stage, Stage::Written { .. });
        let blocked = self.flights.front().is_some_and(written)
            && self.flights.iter().any(|f| f.flush && f.stage == Stage::Durable);
        blocked
            || self.flights.iter().any(|f| written(f) && (f.segment < current || f.first <= self.flush_until))
    }

    /// Makes everything that was written so far durable; `None` when it is, or when such a job is under way.
    pub fn flush_job(&mut self) -> Option<FlushJob> {
        if self.flushing || self.poison.is_some() {
            return None;
        }
        let mut paths: Vec<String> = Vec::new();
        for flight in self.flights.iter().filter(|f| matches!(f.stage, Stage::Written { .. })) {
            let path = segment_path(self.stream, flight.segment);
            if paths.last() != Some(&path) {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return None;
        }
        self.flushing = true;
        self.clock += 1;
        self.barrier = self.clock;
        Some(FlushJob { stamp: self.clock, paths })
    }
    pub fn flushed(&mut self, job: &FlushJob) {
        self.flushing = false;
        if self.poison.is_none() {
            self.flushed_until(job.stamp);
            self.advance();
        }
    }
    pub fn flush_failed(&mut self, error: &Error) {
        self.stop(error.to_string());
    }

    /// Lets the medium prove the last batches too (see `segment`); for when the log is idle. `None` when they are proven.
    pub fn mark_job(&mut self) -> Option<MarkJob> {
        if self.marked == self.durable || self.poison.is_some() || !self.flights.is_empty() {
            return None;
        }
        let segment = self.segments.iter().rev().find(|s| s.started)?;
        self.marked = self.durable;
        self.marks += 1;
        let bytes = Bytes::from(encode_mark(self.durable, segment.header.binding()));
        let offset = MARKS[self.marks % MARKS.len()];
        Some(MarkJob { path: segment.path.clone(), write: Write { offset, bytes } })
    }

    /// A segment to be made now, so that it is there when it is needed. `None` while one is at hand or under way.
    pub fn segment_job(&mut self) -> Option<SegmentJob> {
        if self.preparing || self.poison.is_some() {
            return None;
        }
        let needed = batch::sectors(batch::batch_len(self.pending_bytes())) as u64 * SECTOR as u64;
        let waits = !self.starts.is_empty()
            && !self
                .segments
                .back()
                .is_some_and(|s| s.fits((needed / SECTOR as u64) as u32, self.next_batch));
        if let Some(spare) = &self.spare {
            if !waits || spare.shape.capacity >= needed {
                return None;
            }
            self.obsolete.push(spare.path());
            self.spare = None;
        }
        let capacity = if waits { self.next_capacity.max(needed) } else { self.next_capacity };
        self.next_capacity = (self.next_capacity * 2).min(self.config.segment_bytes);
        self.preparing = true;
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Some(SegmentJob { stream: self.stream, sequence, shape: Shape::new(capacity) })
    }
    pub fn segment_ready(&mut self, job: SegmentJob) {
        self.preparing = false;
        self.spare = Some(job);
    }
    /// The segment could not be made. With [`Error::Full`] nothing is lost: what was appended waits, and
    /// [`Log::segment_job`] gives the next attempt. Anything else stops the log.
    pub fn segment_failed(&mut self, error: &Error) {
        self.preparing = false;
        if !error.is_full() {
            self.stop(error.to_string());
        }
    }

    /// Entries of the group through this one may be deleted: a snapshot holds them.
    pub fn release(&mut self, group: GroupId, through: Index) {
        if let Some(g) = self.index.groups.get_mut(&group) {
            g.released = g.released.max(through);
        }
    }
    /// Keeps the group readable from `from` on, whatever is released, until [`Log::unpin`]. `None` when it is not any more.
    pub fn pin(&mut self, group: GroupId, from: Index) -> Option<PinId> {
        let g = self.index.groups.get_mut(&group).filter(|g| g.reaches(from))?;
        self.pins += 1;
        g.pins.insert(self.pins, from);
        Some(PinId(self.pins))
    }
    /// The joiner has passed the entries before `from`.
    pub fn move_pin(&mut self, pin: PinId, from: Index) {
        for group in self.index.groups.values_mut() {
            group.pins.entry(pin.0).and_modify(|at| *at = from.max(*at));
        }
    }
    pub fn unpin(&mut self, pin: PinId) {
        for group in self.index.groups.values_mut() {
            group.pins.remove(&pin.0);
        }
    }
    /// The group is no longer held here: nothing of it is kept or carried on.
    pub fn drop_group(&mut self, group: GroupId) {
        self.index.forget(group);
    }
    /// The group's entries after `index` were cut by a record in another stream.
    pub fn hide_after(&mut self, group: GroupId, index: Index) {
        self.index.hide_after(group, index);
    }

    /// Files that nobody needs any more, to be removed in this order. Appends again what must outlive them (fences,
    /// views, snapshot marks); those segments go in a later call, once that is durable.
    pub fn reclaim(&mut self) -> Vec<String> {
        let mut paths = std::mem::take(&mut self.obsolete);
        if self.poison.is_some() {
            return paths;
        }
        while self.segments.len() > 1 && self.blocking().next().is_none() {
            let Some((sequence, end)) = self.oldest_and_end() else { break };
            if end > self.durable {
                self.flush_until = self.flush_until.max(end);
                break;
            }
            let carry = self.index.to_carry(sequence);
            if !carry.is_empty() {
                for record in carry {
                    // Whole records, within every limit: an error here can only be the poison, which ends all.
                    if self.append(&record).is_err() {
                        return paths;
                    }
                }
                self.flush_until = self.next_batch;
                break;
            }
            if !self.index.carried(sequence, self.durable) {
                self.flush_until = self.flush_until.max(self.next_batch - 1);
                break;
            }
            self.index.segment_deleted(sequence);
            paths.extend(self.segments.pop_front().map(|s| s.path));
        }
        paths
    }

    /// The groups because of which the oldest segment is still here. An idle one wants a snapshot.
    pub fn blockers(&self) -> Blockers {
        if self.segments.len() < 2 {
            return Blockers::default();
        }
        let behind_bytes = self.segments.iter().map(|s| u64::from(s.next_sector) * SECTOR as u64).sum();
        Blockers { behind_bytes, groups: self.blocking().collect() }
    }

    pub(crate) fn index(&self) -> &LogIndex {
        &self.index
    }
    pub(crate) fn readable(&self) -> (u64, u32) {
        self.readable
    }
    pub(crate) fn segment_header(&self, sequence: u64) -> Option<&Header> {
        self.segments.iter().find(|s| s.header.sequence == sequence).map(|s| &s.header)
    }

    fn usable(&self) -> Result<()> {
        match &self.poison {
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }
    fn stop(&mut self, reason: String) {
        self.poison.get_or_insert(reason);
    }

    /// Makes the spare segment the current one, when there is one that holds a batch of so many sectors.
    fn roll(&mut self, sectors: u32) -> bool {
        let Some(spare) = self.spare.take_if(|s| s.shape.sectors() >= u64::from(sectors)) else {
            return false;
        };
        let header = Header {
            owner: self.config.owner,
            stream: self.stream,
            sequence: spare.sequence,
            process: self.config.process,
            base: self.next_batch,
            durable_through: self.durable,
            shape: spare.shape,
        };
        self.segments.push_back(Segment { header, path: spare.path(), next_sector: 0, started: false });
        true
    }
    fn unflushed_before_current(&self) -> Vec<String> {
        let current = self.segments.back().map_or(0, |s| s.header.sequence);
        let mut paths = Vec::new();
        for flight in &self.flights {
            if flight.segment < current && flight.stage != Stage::Durable && !flight.flush {
                let path = segment_path(self.stream, flight.segment);
                if paths.last() != Some(&path) {
                    paths.push(path);
                }
            }
        }
        paths
    }
    /// A flush that was handed out at `stamp` is done: it covers every write that had been carried out by then.
    fn flushed_until(&mut self, stamp: u64) {
        for flight in &mut self.flights {
            if matches!(flight.stage, Stage::Written { stamp: written } if written < stamp) {
                flight.stage = Stage::Durable;
            }
        }
    }
    /// Moves `durable` and `written` over what is done.
    fn advance(&mut self) {
        while let Some(front) = self.flights.front()
            && front.stage == Stage::Durable
        {
            self.durable = front.last;
            self.readable = (front.segment, front.end_sector);
            self.flights.pop_front();
        }
        self.written = self.written.max(self.durable);
        let mut done = 0;
        for flight in self.flights.iter().take_while(|f| f.stage != Stage::Writing) {
            self.written = flight.last;
            self.readable = (flight.segment, flight.end_sector);
            done += 1;
        }
        self.merge_written(done);
    }
    /// Joins the last of the first `done` flights to the one before it: without flushes they would pile up for ever.
    fn merge_written(&mut self, mut done: usize) {
        while done >= 2 {
            let (a, b) = (self.flights[done - 2], self.flights[done - 1]);
            if let (Stage::Written { stamp: first }, Stage::Written { stamp: second }) = (a.stage, b.stage)
                && a.segment == b.segment
                // A flush that is under way covers the one and not the other: joined, it would cover neither.
                && (first < self.barrier) == (second < self.barrier)
            {
                // The later of both times, so that nothing is called durable too early.
                let stage = Stage::Written { stamp: first.max(second) };
                self.flights[done - 2] = Flight { first: a.first, stage, ..b };
                self.flights.remove(done - 1);
            }
            done -= 1;
        }
    }

    /// Groups that are not released through their last entry in the oldest segment.
    fn blocking(&self) -> impl Iterator<Item = (GroupId, Index)> {
        let oldest = self.segments.front().map(|oldest| oldest.header.sequence);
        let held = oldest.and_then(|oldest| self.index.held.get(&oldest)).into_iter().flatten();
        held.filter_map(|(group, held)| {
            let blocks = held.last > self.index.groups.get(group)?.free_through();
            blocks.then_some((*group, held.last))
        })
    }
    /// The oldest segment and its last batch.
    fn oldest_and_end(&self) -> Option<(u64, u64)> {
        let (oldest, next) = (self.segments.front()?, self.segments.get(1)?);
        Some((oldest.header.sequence, next.header.base - 1))
    }
}

fn push_header(header: &Header, writes: &mut Vec<Write>) {
    let bytes = Bytes::from(header.encode());
    writes.extend(HEADERS.map(|offset| Write { offset, bytes: bytes.clone() }));
}

fn note_records(index: &mut LogIndex, buffer: &[u8], starts: &[u32], segment: u64, place: Place) {
    for start in starts {
        let bytes = &buffer[*start as usize..];
        if let Ok(record) = Record::parse(bytes) {
            let at = Location { segment, sector: place.sector, within: *start, batch: place.batch };
            index.note(at, &record, &bytes[..record.len]);
        }
    }
}
