//! The form of a snapshot: frames, each with its length before it.
//!
//! ```text
//! head    group, keyspace, position, hash, time, epochs' starts, answers that are gone, the table's seed, what the copy lacks,
//!         the version of the map that its readers need
//! kind u8 and 1: some answers to requests | 2: some keys | 3: some of a site's state       as many as it takes
//! ```

use crate::answers::Answers;
use crate::shortfall::Shortfall;
use alloc::vec::Vec;
use data::codec::{DecodeError, Reader, Writer};
use data::table::{Seed, Table};
use data::{GroupId, KeyspaceId, Position};
use protocol::multi_leader::SiteState;
use protocol::single_leader::Mark;

pub(super) const ANSWERS: u8 = 1;
pub(super) const KEYS: u8 = 2;
pub(super) const SITE: u8 = 3;

/// What precedes the answers and keys of a snapshot.
#[derive(Debug)]
pub struct SnapshotHead {
    pub group: GroupId,
    pub keyspace: KeyspaceId,
    pub mark: Mark,
    pub time_ms: i64,
    /// Where the epochs of the log before the snapshot begin.
    pub starts: Vec<Position>,
}

impl SnapshotHead {
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.group.encode(w);
        self.keyspace.encode(w);
        self.mark.position.encode(w);
        w.u64(self.mark.hash);
        w.i64(self.time_ms);
        w.list(&self.starts, |w, p| p.encode(w));
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<SnapshotHead, DecodeError> {
        Ok(SnapshotHead {
            group: GroupId::decode(r)?,
            keyspace: KeyspaceId::decode(r)?,
            mark: Mark { position: Position::decode(r)?, hash: r.u64()? },
            time_ms: r.i64()?,
            starts: r.list(Position::decode)?,
        })
    }
}

/// A snapshot in memory: what a group is on a node that holds exactly the entries through its position.
pub struct LoadedSnapshot {
    pub(crate) head: SnapshotHead,
    pub(crate) answers: Answers,
    pub(crate) table: Table,
    pub(crate) shortfall: Shortfall,
    pub(crate) map_needed: u64,
    /// Of a site's group.
    pub(crate) site: Option<SiteState>,
}

/// One on its way: a site's state is read when all of it is here.
struct Loading {
    loaded: LoadedSnapshot,
    site: Vec<u8>,
}

impl LoadedSnapshot {
    /// Where the epochs of the log that it stands for begin.
    pub fn starts(&self) -> &[Position] {
        &self.head.starts
    }
    /// What its table lacks.
    pub fn shortfall(&self) -> &Shortfall {
        &self.shortfall
    }
    /// Reads a snapshot from its pieces, cut anywhere. Takes as long as the state is large: nothing for a core.
    pub fn read(pieces: &mut dyn FnMut() -> Option<Vec<u8>>) -> Result<LoadedSnapshot, DecodeError> {
        let mut buffer: Vec<u8> = Vec::new();
        let mut loaded: Option<Loading> = None;
        while let Some(piece) = pieces() {
            buffer.extend_from_slice(&piece);
            let mut rest = Reader::new(&buffer);
            let mut used = 0;
            while let Ok(frame) = rest.bytes() {
                used = buffer.len() - rest.remaining();
                let mut frame = Reader::new(frame);
                match &mut loaded {
                    Some(loaded) => loaded.load(&mut frame)?,
                    None => {
                        let begun = LoadedSnapshot::begin(&mut frame)?;
                        loaded = Some(Loading { loaded: begun, site: Vec::new() });
                    }
                }
            }
            buffer.drain(..used);
        }
        let Loading { mut loaded, site } =
            loaded.filter(|_| buffer.is_empty()).ok_or(DecodeError::Truncated)?;
        if !site.is_empty() {
            loaded.site = Some(SiteState::decode(loaded.table.seed(), &site)?);
        }
        Ok(loaded)
    }
    fn begin(frame: &mut Reader<'_>) -> Result<LoadedSnapshot, DecodeError> {
        let head = SnapshotHead::decode(frame)?;
        let answers = Answers::decode_trimmed(frame)?;
        let seed = Seed(frame.u64()?, frame.u64()?);
        // Nothing is written of a copy that lacks nothing and whose slots stayed.
        let shortfall = if frame.remaining() > 0 { Shortfall::decode(frame)? } else { Shortfall::default() };
        let map_needed = if frame.remaining() > 0 { frame.u64()? } else { 0 };
        Ok(LoadedSnapshot { head, answers, table: Table::new(seed), shortfall, map_needed, site: None })
    }
}

impl Loading {
    fn load(&mut self, frame: &mut Reader<'_>) -> Result<(), DecodeError> {
        match frame.u8()? {
            ANSWERS => self.loaded.answers.load(frame),
            KEYS => self.loaded.table.load(frame),
            SITE => {
                let rest = frame.remaining();
                self.site.extend_from_slice(frame.take(rest)?);
                Ok(())
            }
            _ => Err(DecodeError::Invalid("kind of snapshot frame")),
        }
    }
}
