//! Reads a group's entries back from the disk: for followers that are behind.
//!
//! The log plans ([`Log::plan_read`], no I/O), any thread carries the plan out.

use crate::batch::{BATCH_HEADER_LEN, BatchHeader};
use crate::disk::SECTOR;
use crate::error::{Error, Result};
use crate::index::{Mark, POINT_DISTANCE};
use crate::job::Files;
use crate::log::Log;
use crate::segment::{Shape, segment_path};
use crate::window::Window;
use data::record::{HEADER_LEN, Record};
use data::{GroupId, Index};

/// A stretch of a segment in which the group's entries `from..before` begin no farther than a point's distance away.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Span {
    path: String,
    shape: Shape,
    binding: u32,
    sector: u32,
    within: u32,
    /// Sectors that may be read.
    end_sector: u32,
    from: Index,
    before: Index,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadPlan {
    group: GroupId,
    from: Index,
    before: Option<Mark>,
    spans: Vec<Span>,
    bytes_max: usize,
}

/// Whole records, one behind the other, and the entry in front of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LogRead {
    /// `None` when the log no longer has the entry before the one that was asked for: the reader needs a snapshot.
    pub before: Option<Mark>,
    pub records: Vec<u8>,
    /// The last entry in `records`.
    pub last: Option<Mark>,
}

impl Log {
    /// How to read the group's entries from `from` on: about `bytes_max` bytes, at least one record, as far as they were
    /// written. `None` when this log cannot say what stands before `from`: too old, too new, or not its group.
    pub fn plan_read(&self, group: GroupId, from: Index, bytes_max: usize) -> Option<ReadPlan> {
        let plan = self.index().plan(group, from, bytes_max, |segment| {
            let (readable, sector) = self.readable();
            let header = self.segment_header(segment)?;
            let end = if segment < readable { u32::MAX } else { sector };
            (segment <= readable).then(|| Extent {
                path: segment_path(self.stream(), segment),
                shape: header.shape,
                binding: header.binding(),
                end_sector: end,
            })
        });
        plan.filter(|plan| plan.before.is_some() || !plan.spans.is_empty())
    }
}

/// What may be read of a segment.
pub(crate) struct Extent {
    pub path: String,
    pub shape: Shape,
    pub binding: u32,
    pub end_sector: u32,
}

impl crate::index::LogIndex {
    pub(crate) fn plan(
        &self,
        group: GroupId,
        from: Index,
        bytes_max: usize,
        extent: impl Fn(u64) -> Option<Extent>,
    ) -> Option<ReadPlan> {
        let g = self.groups.get(&group)?;
        let ahead = from.previous();
        let before = g.known_mark(ahead);
        let mut plan = ReadPlan { group, from, before, spans: Vec::new(), bytes_max };
        let start = if before.is_some() { from } else { ahead };
        let first = g.points.partition_point(|point| point.index <= start);
        if before.is_none() && (first == 0 || ahead > g.last) {
            return None;
        }
        // What precedes the first point is gone; with the mark known, that is only right for its direct successor.
        if first == 0 && g.points.front().is_some_and(|point| point.index > from) {
            return None;
        }
        let spans_max = bytes_max as u64 / POINT_DISTANCE + 8;
        for at in first.saturating_sub(1)..g.points.len() {
            let point = g.points[at];
            let Some(extent) = extent(point.at.segment) else { break };
            if plan.spans.len() as u64 >= spans_max {
                break;
            }
            plan.spans.push(Span {
                path: extent.path,
                shape: extent.shape,
                binding: extent.binding,
                sector: point.at.sector,
                within: point.at.within,
                end_sector: extent.end_sector,
                from: point.index,
                before: g.points.get(at + 1).map_or(g.last.next(), |next| next.index),
            });
        }
        Some(plan)
    }
}

impl ReadPlan {
    /// Reads. A file that was deleted since the plan was made gives a read without `before`; a record that is not whole is
    /// [`Error::Corrupt`].
    pub fn perform(&self, files: &Files) -> Result<LogRead> {
        let mut read = LogRead { before: self.before, ..LogRead::default() };
        let mut window: Option<(&str, Window)> = None;
        for span in &self.spans {
            if read.records.len() >= self.bytes_max.max(1) {
                break;
            }
            if window.as_ref().is_none_or(|(path, _)| *path != span.path) {
                match files.get(&span.path) {
                    Ok(file) => window = Some((&span.path, Window::new(file))),
                    Err(Error::Missing { .. }) => return Ok(LogRead::default()),
                    Err(error) => return Err(error),
                }
            }
            if let Some((_, window)) = &mut window {
                self.read_span(span, window, &mut read)?;
            }
        }
        if read.before.is_none() {
            read.records.clear();
            read.last = None;
        }
        Ok(read)
    }

    fn read_span(&self, span: &Span, window: &mut Window, read: &mut LogRead) -> Result<()> {
        let (mut sector, mut within) = (span.sector, span.within as usize);
        let start = u64::from(sector) * SECTOR as u64 + within as u64;
        let mut next = span.from;
        while sector < span.end_sector && u64::from(sector) < span.shape.sectors() {
            let offset = span.shape.sector_offset(sector);
            let Some(batch) = BatchHeader::decode(window.at(offset, BATCH_HEADER_LEN)?, span.binding) else {
                // The end of a segment that was closed before it was full.
                return Ok(());
            };
            let end = BATCH_HEADER_LEN + batch.records_len as usize;
            while within < end {
                let place = u64::from(sector) * SECTOR as u64 + within as u64;
                let full = read.records.len() >= self.bytes_max.max(1);
                if next >= span.before || full || place - start >= POINT_DISTANCE {
                    return Ok(());
                }
                let at = offset + within as u64;
                let head = window.at(at, HEADER_LEN)?;
                let len = head.first_chunk::<4>().map_or(0, |len| u32::from_le_bytes(*len) as usize);
                let bytes = window.at(at, len.clamp(HEADER_LEN, end - within))?;
                let record = Record::parse(bytes)
                    .map_err(|_| Error::corrupt(&span.path, at, "a record that was whole is not any more"))?;
                within += record.len;
                let header = &record.header;
                let wanted = header.group == self.group && header.kind.is_entry();
                if wanted && (next..span.before).contains(&header.index) {
                    next = header.index.next();
                    read.take(self.from, &record, &bytes[..record.len]);
                }
            }
            sector += batch.sectors();
            within = BATCH_HEADER_LEN;
        }
        Ok(())
    }
}

impl LogRead {
    fn take(&mut self, from: Index, record: &Record<'_>, bytes: &[u8]) {
        let mark = Mark { position: record.header.position(), hash: record.hash };
        if record.header.index < from {
            if record.header.index == from.previous() {
                self.before = Some(mark);
            }
            return;
        }
        self.records.extend_from_slice(bytes);
        self.last = Some(mark);
    }
}
