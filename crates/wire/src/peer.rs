//! The envelope of every message between nodes.
//!
//! ```text
//! offset  size  field
//!      0     4  length of the whole frame
//!      4     4  crc32c of the length and of bytes 8..
//!      8     1  magic, 0xC3
//!      9     1  version of the message: the one that the handshake agreed on, 0 for the handshake itself
//!     10     1  kind of the message
//!     11     1  flags: 1 first part, 2 last part, 4 abandoned
//!     12     2  number of the part, from 0
//!     14     1  hops so far
//!     15     1  reserved, zero
//!     16     4  sender: node
//!     20     8  sender: incarnation
//!     28     8  sender: process
//!     36     4  keyspace
//!     40     4  group
//!     44     8  epoch
//!     52     8  view number
//!     60     8  id: sequence of the message at its sender
//!     68     4  time left, ms
//!     72     -  body
//! ```
//!
//! All numbers are little-endian. A body's own fields may only be read in the frame's version: a member that does not
//! know a field never sees a message that has it, so nothing is dropped by passing through an older node.

use data::codec::{DecodeError, Reader, Writer};
use data::{Epoch, GroupId, Incarnation, KeyspaceId, NodeId, Process, ViewNumber};

use alloc::vec::Vec;
use core::fmt;

pub const HEADER_LEN: usize = 72;
/// A forwarded request may be forwarded once more, where the view changed on its way; then it is refused.
pub const HOPS_MAX: u8 = 2;
/// The version of handshake messages, which both sides read before they agree on one.
pub const HANDSHAKE_VERSION: u8 = 0;

const MAGIC: u8 = 0xc3;

/// Which part of a message a frame carries. Most messages are one whole part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// From 0, without holes.
    pub number: u16,
    pub is_last: bool,
    /// The sender gave the message up between two parts: the receiver drops what it holds. The body is empty.
    pub is_abandoned: bool,
}

impl Part {
    /// A message that travels in one frame.
    pub const WHOLE: Part = Part { number: 0, is_last: true, is_abandoned: false };

    pub fn is_whole(self) -> bool {
        self == Part::WHOLE
    }
    fn flags(self) -> u8 {
        u8::from(self.number == 0) | u8::from(self.is_last) << 1 | u8::from(self.is_abandoned) << 2
    }
    fn decode(flags: u8, number: u16) -> Result<Part, DecodeError> {
        let part = Part { number, is_last: flags & 2 != 0, is_abandoned: flags & 4 != 0 };
        // The first-part flag says again what the number says: both must agree, and no other bit may be set.
        if part.flags() == flags { Ok(part) } else { Err(DecodeError::Invalid("part")) }
    }
}

/// What every message says of itself beside its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerHeader {
    pub version: u8,
    /// What the message is; the numbers belong to the protocols.
    pub kind: u8,
    pub part: Part,
    /// At most [`HOPS_MAX`].
    pub hops: u8,
    pub sender: NodeId,
    pub incarnation: Incarnation,
    pub process: Process,
    pub keyspace: KeyspaceId,
    pub group: GroupId,
    pub epoch: Epoch,
    pub view: ViewNumber,
    /// Sequence of the message at its sender's process; an answer's body names the id that it answers.
    pub id: u64,
    /// What is left of the request's time when the message is sent; 0 means that nobody waits.
    pub time_left_ms: u32,
}

impl PeerHeader {
    fn encode(&self, w: &mut Writer<'_>) {
        w.u8(MAGIC);
        w.u8(self.version);
        w.u8(self.kind);
        w.u8(self.part.flags());
        w.u16(self.part.number);
        w.u8(self.hops);
        w.u8(0);
        self.sender.encode(w);
        self.incarnation.encode(w);
        self.process.encode(w);
        self.keyspace.encode(w);
        self.group.encode(w);
        self.epoch.encode(w);
        self.view.encode(w);
        w.u64(self.id);
        w.u32(self.time_left_ms);
    }
    /// Reads what follows the version.
    fn decode(version: u8, r: &mut Reader<'_>) -> Result<PeerHeader, DecodeError> {
        let kind = r.u8()?;
        let flags = r.u8()?;
        let part = Part::decode(flags, r.u16()?)?;
        let hops = r.u8()?;
        if r.u8()? != 0 {
            return Err(DecodeError::Invalid("reserved byte"));
        }
        Ok(PeerHeader {
            version,
            kind,
            part,
            hops,
            sender: NodeId::decode(r)?,
            incarnation: Incarnation::decode(r)?,
            process: Process::decode(r)?,
            keyspace: KeyspaceId::decode(r)?,
            group: GroupId::decode(r)?,
            epoch: Epoch::decode(r)?,
            view: ViewNumber::decode(r)?,
            id: r.u64()?,
            time_left_ms: r.u32()?,
        })
    }
}

/// Why a connection to a peer cannot go on: after any of these the stream has lost its frame and must be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerError {
    /// Not a frame of ours: the first byte behind the checksum.
    Magic(u8),
    /// Longer than the limit, or shorter than a header: the length found.
    Length(usize),
    Checksum,
    /// Not the version that was agreed on: the version found.
    Version(u8),
    /// Forwarded more often than allowed.
    Hops(u8),
    /// A field has no meaning.
    Header(DecodeError),
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerError::Magic(byte) => write!(f, "not a peer frame (magic {byte:#04x})"),
            PeerError::Length(len) => write!(f, "impossible frame length {len}"),
            PeerError::Checksum => f.write_str("frame checksum does not match"),
            PeerError::Version(version) => write!(f, "message version {version} was not agreed on"),
            PeerError::Hops(hops) => write!(f, "message came over {hops} hops"),
            PeerError::Header(what) => write!(f, "frame header: {what}"),
        }
    }
}
impl core::error::Error for PeerError {}

/// What a receiver takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerLimits {
    /// Bytes of one frame, header included. What is longer must travel in parts.
    pub frame_len_max: usize,
    /// The agreed version; [`HANDSHAKE_VERSION`] before there is one.
    pub version: u8,
}

/// A parsed frame: header, body, and the bytes that the frame took.
pub type Received<'a> = (PeerHeader, &'a [u8], usize);

/// One frame: header and body.
pub struct PeerFrame;

impl PeerFrame {
    /// Appends a frame to `buffer`; `body` writes the body in place. Returns the frame's length.
    ///
    /// The caller keeps the body below the receiver's `frame_len_max`, by [`crate::parts::split`] where needed.
    pub fn write(buffer: &mut Vec<u8>, header: &PeerHeader, body: impl FnOnce(&mut Writer<'_>)) -> usize {
        let start = buffer.len();
        let mut w = Writer::new(buffer);
        w.u64(0); // Length and checksum, filled in below.
        header.encode(&mut w);
        body(&mut w);
        let frame = &mut buffer[start..];
        let len = frame.len();
        // A frame beyond 4 GiB gets a length that every receiver refuses.
        let announced = u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        frame[..4].copy_from_slice(&announced);
        let crc = checksum(announced, &frame[8..]).to_le_bytes();
        frame[4..8].copy_from_slice(&crc);
        len
    }

    /// Reads the frame at the front of `input`, which may go on behind it. `None` while it is not whole.
    pub fn parse<'a>(input: &'a [u8], limits: &PeerLimits) -> Result<Option<Received<'a>>, PeerError> {
        let Some((announced, _)) = input.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*announced) as usize;
        // Checked before more is awaited: a stray client must not make us wait for gigabytes.
        if let Some(&magic) = input.get(8)
            && magic != MAGIC
        {
            return Err(PeerError::Magic(magic));
        }
        if len < HEADER_LEN || len > limits.frame_len_max {
            return Err(PeerError::Length(len));
        }
        let Some(frame) = input.get(..len) else { return Ok(None) };
        let mut r = Reader::new(&frame[4..HEADER_LEN]);
        let crc = r.u32().map_err(PeerError::Header)?;
        if checksum(*announced, &frame[8..]) != crc {
            return Err(PeerError::Checksum);
        }
        r.u8().map_err(PeerError::Header)?; // The magic, looked at above.
        let version = r.u8().map_err(PeerError::Header)?;
        // Nothing behind the version is looked at in a version that was not agreed on.
        if version != limits.version {
            return Err(PeerError::Version(version));
        }
        let header = PeerHeader::decode(version, &mut r).map_err(PeerError::Header)?;
        if header.hops > HOPS_MAX {
            return Err(PeerError::Hops(header.hops));
        }
        Ok(Some((header, &frame[HEADER_LEN..], len)))
    }
}

fn checksum(announced: [u8; 4], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&announced), rest)
}
