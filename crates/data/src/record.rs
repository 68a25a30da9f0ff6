//! The log record: the same bytes in the leader's log, in messages to followers and in every follower's log.
//!
//! ```text
//! offset  size  field
//!      0     4  length of the whole record
//!      4     4  crc32c of bytes 8.. (all that follows)
//!      8     1  version of this layout
//!      9     1  kind
//!     10     2  reserved, zero
//!     12     4  keyspace id
//!     16     4  group id
//!     20     8  epoch
//!     28     8  index
//!     36     8  commit index known to the writer when the record was made
//!     44     8  the leader's time, ms since 1970, never backwards within a log
//!     52    20  request id (origin node, process, sequence), zero when none
//!     72     8  rolling hash of the group's history through this record
//!     80     -  payload
//! ```
//!
//! Invariant: a record that parses with [`Record::parse`] is exactly what some writer made: length, checksum, version and
//! kind are right. An unknown kind stops the reader: it is never skipped.

use crate::codec::{DecodeError, Reader, Writer};
use crate::gaps::Gap;
use crate::{Epoch, GroupId, Index, KeyspaceId, LogFormat, Position, RequestId};
use alloc::vec::Vec;

pub const HEADER_LEN: usize = 80;
pub const VERSION: u8 = 1;
/// A record beyond this is refused before it is appended: it could not travel within the peers' limits.
pub const RECORD_LEN_MAX: usize = 600 << 20;

/// What a record is. The numbers are on disk and on the wire for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// First entry of an epoch: nothing older is acknowledged or shown before it is committed.
    Empty = 1,
    /// Operations of one command or one EXEC.
    Operations = 2,
    /// The group's view as its replicas knew it (not an entry of the log: no index of its own).
    View = 3,
    /// The log was cut after `index` (not an entry).
    Truncate = 4,
    /// Entries that this copy goes on without, the last of them at the record's index ([`crate::gaps`]).
    Gap = 5,
    /// Dots that an actor will never mint.
    Skip = 6,
    /// The replica promised to accept nothing older than `epoch` (not an entry).
    Fence = 7,
    /// A promise of every actor of a shard.
    Barrier = 8,
    /// An entry that a copy lost, kept for an operator ([`crate::ledger`]; not an entry).
    Ledger = 9,
    /// State of the control plane's consensus library (not an entry).
    Control = 10,
    /// The log of a group begins after this position: a snapshot took its place (not an entry).
    Snapshot = 11,
    /// What a range of keys holds behind the entries before this one: every copy compares.
    Audit = 40,
    /// Operations of one command or one EXEC, as the commands that every copy executes ([`crate::log_format`]).
    Statement = 41,
    /// The same, as the values that they left behind.
    Physical = 42,
    /// A change of a leaderless shard's copy on this node, or a part of its checkpoint (not an entry: nobody orders them but this
    /// log).
    Leaderless = 50,
    /// A write of some site of a multi-leader keyspace, or a part of another site's state, in the log of a site's group.
    Site = 60,
}

impl Kind {
    pub fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Empty,
            2 => Kind::Operations,
            3 => Kind::View,
            4 => Kind::Truncate,
            5 => Kind::Gap,
            6 => Kind::Skip,
            7 => Kind::Fence,
            8 => Kind::Barrier,
            9 => Kind::Ledger,
            10 => Kind::Control,
            11 => Kind::Snapshot,
            40 => Kind::Audit,
            41 => Kind::Statement,
            42 => Kind::Physical,
            50 => Kind::Leaderless,
            60 => Kind::Site,
            _ => return None,
        })
    }
    /// Whether a record of this kind is an entry of its group's log, with an index of its own.
    pub fn is_entry(self) -> bool {
        self.is_change()
            || matches!(self, Kind::Empty | Kind::Gap | Kind::Skip | Kind::Barrier | Kind::Audit | Kind::Site)
    }
    /// Whether it is an entry that changes data, in whichever format.
    pub fn is_change(self) -> bool {
        matches!(self, Kind::Operations | Kind::Statement | Kind::Physical)
    }
    /// The kind of an entry in this format.
    pub fn of_change(format: LogFormat) -> Kind {
        match format {
            LogFormat::Row => Kind::Operations,
            LogFormat::Statement => Kind::Statement,
            LogFormat::Physical => Kind::Physical,
        }
    }
}

/// The fields in front of a record's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub kind: Kind,
    pub keyspace: KeyspaceId,
    pub group: GroupId,
    pub epoch: Epoch,
    pub index: Index,
    pub commit: Index,
    pub time_ms: i64,
    pub request: RequestId,
}

impl Header {
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, index: self.index }
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// Fewer bytes than the header or the length field say.
    Truncated,
    /// The length field is impossible.
    Length,
    Checksum,
    /// Written by a newer version of Tercet: the number found.
    Version(u8),
    /// A kind that this version does not know: the number found.
    UnknownKind(u8),
}

impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RecordError::Truncated => f.write_str("record ends early"),
            RecordError::Length => f.write_str("impossible record length"),
            RecordError::Checksum => f.write_str("record checksum does not match"),
            RecordError::Version(v) => write!(f, "record version {v} is newer than this program"),
            RecordError::UnknownKind(k) => write!(f, "unknown record kind {k}"),
        }
    }
}
impl core::error::Error for RecordError {}

/// A parsed record, borrowed from its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    pub header: Header,
    /// Rolling hash of the group's history through this record.
    pub hash: u64,
    pub payload: &'a [u8],
    /// Length of the whole record.
    pub len: usize,
}

impl<'a> Record<'a> {
    /// Appends a record to `buffer` and returns its rolling hash. `payload` writes the payload in place. Of a `gap` record
    /// `previous_hash` is the hash through the last entry that it stands for.
    pub fn write(
        buffer: &mut Vec<u8>,
        header: &Header,
        previous_hash: u64,
        payload: impl FnOnce(&mut Writer<'_>),
    ) -> u64 {
        let start = buffer.len();
        let mut w = Writer::new(buffer);
        w.u64(0); // Length and checksum, filled in below.
        w.u8(VERSION);
        w.u8(header.kind as u8);
        w.u16(0);
        header.keyspace.encode(&mut w);
        header.group.encode(&mut w);
        header.epoch.encode(&mut w);
        header.index.encode(&mut w);
        header.commit.encode(&mut w);
        w.i64(header.time_ms);
        header.request.encode(&mut w);
        w.u64(0); // Hash, filled in below.
        payload(&mut w);
        let record = &mut buffer[start..];
        let len = record.len() as u32;
        record[..4].copy_from_slice(&len.to_le_bytes());
        let digest = digest(record);
        // The history goes on behind a gap as it does behind what the gap stands for.
        let hash = if header.kind == Kind::Gap { previous_hash } else { roll(previous_hash, digest) };
        record[72..80].copy_from_slice(&hash.to_le_bytes());
        let crc = crc32c::crc32c_append(digest, &hash.to_le_bytes());
        record[4..8].copy_from_slice(&crc.to_le_bytes());
        hash
    }

    /// Reads the record at the front of `input`, which may go on behind it.
    pub fn parse(input: &'a [u8]) -> Result<Record<'a>, RecordError> {
        if input.len() < HEADER_LEN {
            return Err(RecordError::Truncated);
        }
        let len = u32::from_le_bytes([input[0], input[1], input[2], input[3]]) as usize;
        if !(HEADER_LEN..=RECORD_LEN_MAX).contains(&len) {
            return Err(RecordError::Length);
        }
        let record = input.get(..len).ok_or(RecordError::Truncated)?;
        let mut r = Reader::new(&record[4..HEADER_LEN]);
        let fields = Record::fields(&mut r).map_err(|_| RecordError::Truncated)?;
        let hash_bytes = &record[72..80];
        if crc32c::crc32c_append(digest(record), hash_bytes) != fields.crc {
            return Err(RecordError::Checksum);
        }
        if fields.version != VERSION {
            return Err(RecordError::Version(fields.version));
        }
        let kind = Kind::from_byte(fields.kind).ok_or(RecordError::UnknownKind(fields.kind))?;
        Ok(Record {
            header: Header { kind, ..fields.header },
            hash: fields.hash,
            payload: &record[HEADER_LEN..],
            len,
        })
    }

    fn fields(r: &mut Reader<'_>) -> Result<Fields, DecodeError> {
        let crc = r.u32()?;
        let version = r.u8()?;
        let kind = r.u8()?;
        r.u16()?;
        let header = Header {
            kind: Kind::Empty,
            keyspace: KeyspaceId::decode(r)?,
            group: GroupId::decode(r)?,
            epoch: Epoch::decode(r)?,
            index: Index::decode(r)?,
            commit: Index::decode(r)?,
            time_ms: r.i64()?,
            request: RequestId::decode(r)?,
        };
        Ok(Fields { crc, version, kind, header, hash: r.u64()? })
    }

    /// Whether this record's rolling hash follows from the previous record's. `bytes` are the record's own.
    /// What a gap stands for is not here to be checked.
    pub fn follows(&self, previous_hash: u64, bytes: &[u8]) -> bool {
        if self.header.kind == Kind::Gap {
            return true;
        }
        roll(previous_hash, digest(&bytes[..self.len])) == self.hash
    }
}

impl Record<'_> {
    /// What a `gap` record says; nothing of other records.
    pub fn gap(&self) -> Option<Gap> {
        let gap = (self.header.kind == Kind::Gap).then(|| Gap::decode(&mut Reader::new(self.payload)));
        gap?.ok()
    }
}

struct Fields {
    crc: u32,
    version: u8,
    kind: u8,
    header: Header,
    hash: u64,
}

/// Checksum of all that the rolling hash covers: everything but length, checksum and the hash itself.
fn digest(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[8..72]), &record[HEADER_LEN..])
}

/// One step of the rolling hash: a 64-bit mix (the finaliser of SplitMix64) of history and digest.
fn roll(previous: u64, digest: u32) -> u64 {
    let mut x = previous.rotate_left(17) ^ (u64::from(digest) | 1 << 32);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
