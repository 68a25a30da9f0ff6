//! What is on the medium of one stream: which segments count, how far they are whole, and what is to go.

use crate::batch::{self, BATCH_HEADER_LEN, BatchHeader, Verdict};
use crate::disk::{Disk, File, SECTOR, read_up_to};
use crate::error::{Corruption, Error, Result};
use crate::index::LogIndex;
use crate::job::Files;
use crate::segment::{
    FORMAT, Found, HEADERS, Header, MARKS, Owner, SLOT_LEN, Slot, binding, decode_mark, is_zero,
    segment_path, sequence_of, stream_dir,
};
use crate::window::Window;
use data::plant::{self, Bug};
use std::sync::Arc;

/// A stream as recovery leaves it for [`crate::Log::open`].
pub struct StreamFound {
    pub stream: u32,
    /// Never used before.
    pub next_sequence: u64,
    pub next_batch: u64,
    /// Segments with batches, oldest first.
    pub segments: Vec<SegmentFound>,
    /// Files that hold nothing that counts: removed before the log goes on.
    pub(crate) void: Vec<String>,
    /// Segments of which only the header counts: removed once a newer header is durable.
    pub(crate) empty: Vec<String>,
    /// Whether the end of the log was torn: what was there was never acknowledged.
    pub torn: bool,
    pub(crate) index: LogIndex,
}

impl StreamFound {
    /// A stream that is not there yet.
    pub fn new(stream: u32) -> StreamFound {
        StreamFound {
            stream,
            next_sequence: 1,
            next_batch: 1,
            segments: Vec::new(),
            void: Vec::new(),
            empty: Vec::new(),
            torn: false,
            index: LogIndex::default(),
        }
    }
}

pub struct SegmentFound {
    pub(crate) header: Header,
    pub(crate) path: String,
    /// Behind the last batch.
    pub(crate) end_sector: u32,
    /// Batches from this sector on are whole, but nothing proves that they were ever flushed.
    pub(crate) unproven: u32,
}

impl SegmentFound {
    /// Flushes what was read but not proven. It is written again first, with the very same bytes: after a failed flush the
    /// system's cache shows data that the medium never got and that no later flush would bring there (SL-12).
    pub(crate) fn make_durable(&self, files: &Files) -> Result<()> {
        if self.unproven >= self.end_sector {
            return Ok(());
        }
        let file = files.get(&self.path)?;
        let shape = &self.header.shape;
        rewrite(&*file, 0, shape.data_start())?;
        rewrite(&*file, shape.sector_offset(self.unproven), shape.sector_offset(self.end_sector))?;
        file.flush()
    }
}

fn rewrite(file: &dyn File, from: u64, to: u64) -> Result<()> {
    const PIECE: u64 = 1 << 20;
    let mut at = from;
    while at < to {
        let bytes = read_up_to(file, at, (to - at).min(PIECE) as usize)?;
        if bytes.is_empty() {
            break;
        }
        file.write_at(at, &bytes)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// How far behind a hole batches are looked for: 8 MiB, a guess at what is in flight at most.
const BEHIND_SECTORS: u64 = (8 << 20) / SECTOR as u64;

/// A segment that has a header.
pub(crate) struct Surveyed {
    pub header: Header,
    pub path: String,
    file: Arc<dyn File>,
}

/// The segments of a stream, before any batch is read.
pub(crate) struct Survey {
    pub stream: u32,
    pub segments: Vec<Surveyed>,
    pub void: Vec<String>,
    pub next_sequence: u64,
    /// The highest batch that anything in the stream proves durable, with all before it.
    proof: u64,
}

/// How a segment ends.
pub(crate) struct End {
    /// The batch that would come next.
    pub next_batch: u64,
    pub end_sector: u32,
    pub unproven: u32,
    /// The batches that a newer segment says were here are not: everything newer is void.
    pub hole: bool,
    /// There are traces of a write that was cut.
    pub torn: bool,
}

/// A whole batch and where it lies.
pub(crate) struct BatchFound<'a> {
    pub header: BatchHeader,
    pub records: &'a [u8],
}

impl Survey {
    pub fn new(disk: &dyn Disk, owner: Owner, stream: u32) -> Result<Survey> {
        let names = disk.list(&stream_dir(stream))?;
        let mut sequences: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
        sequences.sort_unstable();
        let next_sequence = sequences.last().map_or(1, |last| last + 1);
        let mut survey = Survey { stream, segments: Vec::new(), void: Vec::new(), next_sequence, proof: 0 };
        for sequence in sequences {
            let path = segment_path(stream, sequence);
            let file = disk.open(&path)?;
            match read_header(&*file, &path)? {
                Some(header) => {
                    check_owner(&header, owner, stream, sequence, &path)?;
                    survey.segments.push(Surveyed { header, path, file });
                }
                None => {
                    refuse_lost_header(&*file, binding(owner, stream, sequence), &path)?;
                    survey.void.push(path);
                }
            }
        }
        survey.drop_overtaken();
        for segment in &survey.segments {
            survey.proof = survey.proof.max(segment.proof()?);
        }
        Ok(survey)
    }

    /// A segment that begins behind the beginning of a newer one was cut by an earlier recovery.
    fn drop_overtaken(&mut self) {
        let mut limit = u64::MAX;
        let mut kept = Vec::new();
        while let Some(segment) = self.segments.pop() {
            if segment.header.base > limit {
                self.void.push(segment.path);
            } else {
                limit = segment.header.base;
                kept.push(segment);
            }
        }
        kept.reverse();
        self.segments = kept;
        self.void.sort();
    }

    /// Reads segment `at` to its end and hands out its batches.
    pub fn walk(
        &self,
        at: usize,
        each: &mut dyn FnMut(&Header, BatchFound<'_>) -> Result<()>,
    ) -> Result<End> {
        let segment = &self.segments[at];
        let (header, shape) = (&segment.header, &segment.header.shape);
        let limit = self.segments.get(at + 1).map(|next| next.header.base);
        let table = segment.table()?;
        let mut window = Window::new(Arc::clone(&segment.file));
        let mut end = End { next_batch: header.base, end_sector: 0, unproven: 0, hole: false, torn: false };
        while limit.is_none_or(|limit| end.next_batch < limit) {
            let number = end.next_batch;
            let slot_at = (number - header.base) as usize;
            let room = slot_at < shape.slots as usize && u64::from(end.end_sector) < shape.sectors();
            let slot = if room { slot_of(&table, slot_at, header.binding()) } else { Found::Absent };
            let state =
                if room { segment.examine(&mut window, number, end.end_sector)? } else { State::Lost };
            match state {
                State::Whole(batch) => {
                    let offset = shape.sector_offset(end.end_sector);
                    let bytes = window.at(offset, batch.len as usize)?;
                    let to = (BATCH_HEADER_LEN + batch.records_len as usize).min(bytes.len());
                    each(header, BatchFound { header: batch, records: &bytes[..to] })?;
                    end.next_batch += 1;
                    end.end_sector += batch.sectors();
                    if number <= self.proof {
                        end.unproven = end.end_sector;
                    }
                }
                State::Lost | State::Damaged { .. } => {
                    let proof = segment.proof_behind(&mut window, number, end.end_sector)?;
                    let absent = matches!(slot, Found::Absent);
                    let unproven = number > self.proof.max(proof);
                    segment.refuse_if_flushed(unproven, end.end_sector, absent, &state)?;
                    end.torn = !absent || matches!(state, State::Damaged { .. });
                    end.hole = limit.is_some();
                    break;
                }
            }
        }
        Ok(end)
    }
}

/// What is found where a batch should be.
enum State {
    Whole(BatchHeader),
    /// Zeros where there should be none: never written, or lost by a power cut.
    Lost,
    Damaged {
        within: usize,
        groups: Option<Vec<data::GroupId>>,
    },
}

impl Surveyed {
    fn table(&self) -> Result<Vec<u8>> {
        read_up_to(&*self.file, self.header.shape.slot_offset(0), self.header.shape.table_len())
    }
    /// The highest batch that header, watermarks and identities of this segment prove durable.
    fn proof(&self) -> Result<u64> {
        let binding = self.header.binding();
        let mut proof = self.header.durable_through;
        for offset in MARKS {
            let bytes = read_up_to(&*self.file, offset, SECTOR)?;
            proof = proof.max(decode_mark(&bytes, binding).unwrap_or(0));
        }
        for bytes in self.table()?.chunks_exact(SLOT_LEN) {
            if let Found::Here(slot) = Slot::decode(bytes, binding) {
                proof = proof.max(slot.durable_through);
            }
        }
        Ok(proof)
    }
    /// The highest batch that whole batches behind a hole prove durable. Their identities say the same; this is for the
    /// case that the table was hit.
    fn proof_behind(&self, window: &mut Window, number: u64, hole: u32) -> Result<u64> {
        let shape = &self.header.shape;
        let mut proof = 0;
        let end = shape.sectors().min(u64::from(hole) + BEHIND_SECTORS) as u32;
        for sector in hole.saturating_add(1)..end {
            let front = window.at(shape.sector_offset(sector), BATCH_HEADER_LEN)?;
            if let Some(batch) = BatchHeader::decode(front, self.header.binding())
                && batch.sector == sector
                && batch.batch > number
            {
                proof = proof.max(batch.durable_through);
            }
        }
        Ok(proof)
    }
    /// The rule of `segment`: proven and not whole, or written and damaged, is corruption.
    fn refuse_if_flushed(&self, unproven: bool, sector: u32, slot_absent: bool, state: &State) -> Result<()> {
        let (within, groups) = match state {
            State::Damaged { within, groups } => (*within, groups.clone()),
            State::Whole(_) | State::Lost => (0, None),
        };
        let damaged = matches!(state, State::Damaged { .. }) && !slot_absent;
        if unproven && !damaged || plant::is(Bug::CutsDamage) {
            return Ok(());
        }
        Err(Error::Corrupt(Box::new(Corruption {
            path: self.path.clone(),
            offset: self.header.shape.sector_offset(sector) + within as u64,
            what: if damaged { "a flushed batch was changed" } else { "a flushed batch is missing" },
            groups,
        })))
    }
    fn examine(&self, window: &mut Window, number: u64, sector: u32) -> Result<State> {
        let binding = self.header.binding();
        let offset = self.header.shape.sector_offset(sector);
        let front = window.at(offset, SECTOR)?;
        let found = BatchHeader::decode(front, binding).filter(|b| b.batch == number && b.sector == sector);
        let Some(batch) = found else {
            let lost = is_zero(front);
            return Ok(if lost { State::Lost } else { State::Damaged { within: 0, groups: None } });
        };
        let padded = batch.sectors() as usize * SECTOR;
        let bytes = window.at(offset, padded)?;
        Ok(match batch::examine(&batch, bytes, binding) {
            Verdict::Whole => State::Whole(batch),
            Verdict::Lost => State::Lost,
            Verdict::Damaged(within) => {
                State::Damaged { within, groups: batch::groups_of(&batch, bytes, binding) }
            }
        })
    }
}

fn slot_of(table: &[u8], at: usize, binding: u32) -> Found<Slot> {
    table.get(at * SLOT_LEN..).map_or(Found::Absent, |bytes| Slot::decode(bytes, binding))
}

/// Either copy of the header; `None` when neither was ever whole.
fn read_header(file: &dyn File, path: &str) -> Result<Option<Header>> {
    let mut newer = None;
    for offset in HEADERS {
        match Header::decode(&read_up_to(file, offset, SECTOR)?) {
            Found::Here(header) => return Ok(Some(header)),
            Found::Newer(found) => newer = Some(found),
            Found::Absent | Found::Damaged => {}
        }
    }
    match newer {
        Some(found) => Err(Error::Newer { path: path.to_owned(), known: FORMAT, found }),
        None => Ok(None),
    }
}

fn check_owner(header: &Header, owner: Owner, stream: u32, sequence: u64, path: &str) -> Result<()> {
    let foreign = |expected, found| Error::Foreign { path: path.to_owned(), expected, found };
    if header.owner.cluster != owner.cluster {
        return Err(foreign(owner.cluster, header.owner.cluster));
    }
    if header.owner.node != owner.node {
        return Err(foreign(u64::from(owner.node.0), u64::from(header.owner.node.0)));
    }
    if (header.stream, header.sequence) != (stream, sequence) {
        return Err(Error::corrupt(path, 0, "the segment belongs under another name"));
    }
    Ok(())
}

/// A segment without a header was never used, or its first batch was torn, unless its identities prove a batch of its own.
fn refuse_lost_header(file: &dyn File, binding: u32, path: &str) -> Result<()> {
    const SLOTS: usize = 1024;
    let table = read_up_to(file, crate::segment::Shape::new(0).slot_offset(0), SLOTS * SLOT_LEN)?;
    let slots = table.chunks_exact(SLOT_LEN).filter_map(|bytes| Slot::decode(bytes, binding).here());
    let (mut base, mut proof) = (u64::MAX, 0);
    for slot in slots {
        base = base.min(slot.batch);
        proof = proof.max(slot.durable_through);
    }
    if proof >= base {
        return Err(Error::corrupt(path, HEADERS[0], "both copies of the segment's header are gone"));
    }
    Ok(())
}

/// Streams that have a directory.
pub(crate) fn streams(disk: &dyn Disk) -> Result<Vec<u32>> {
    let mut streams: Vec<u32> =
        disk.list("")?.iter().filter_map(|name| crate::segment::stream_of(name)).collect();
    streams.sort_unstable();
    Ok(streams)
}
