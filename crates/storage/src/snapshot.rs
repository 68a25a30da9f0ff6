//! Snapshots: the state of a group at one position, a file each, beside the log.
//!
//! ```text
//! magic u64 | format u32 | length of the fields u32 | fields | crc32c of all before
//! chunk:  length u32 (not 0) | crc32c u32 | payload         as many as it takes
//! footer: 0 u32 | chunks u64 | payload bytes u64 | crc32c of all payload u32 | crc32c of the footer u32
//! ```
//!
//! A snapshot is written under a passing name, flushed, then renamed: a name ending in `.snapshot` is complete or damaged,
//! never half written. The last one wins; older ones of the group go once the new one is in place (SL-16). What was left
//! unfinished goes at the next start, received pieces excepted: a transfer takes up where it stopped.

use crate::disk::{Disk, File, join};
use crate::error::{Error, Result};
use crate::index::Mark;
use crate::window::Window;
use data::codec::{DecodeError, Reader, Writer};
use data::{GroupId, KeyspaceId, Position};
use std::collections::BTreeMap;
use std::sync::Arc;

const DIR: &str = "snapshots";
const MAGIC: u64 = u64::from_le_bytes(*b"tercetsn");
pub const FORMAT: u32 = 1;
/// A larger piece of payload is divided: a reader needs so much memory at most.
pub const CHUNK_MAX: usize = 4 << 20;
/// A file in the making is brought to the medium in pieces of so many bytes: a flush of the log in between must not wait for
/// all of it, and a flush of every piece would make the log wait for the file system's journal.
const BEGIN_EVERY: u64 = 256 << 10;
const FRONT_LEN: usize = 16;
const CHUNK_HEADER_LEN: u64 = 8;
const FOOTER_LEN: usize = 28;
/// Header fields beyond this are no header of ours.
const FIELDS_MAX: usize = 1 << 20;

/// What a snapshot is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotHeader {
    pub group: GroupId,
    pub keyspace: KeyspaceId,
    /// The last entry in it and the hash of the history through that.
    pub mark: Mark,
    /// The leader's time there, ms since 1970.
    pub time_ms: i64,
    /// Where each epoch began, as the replica encodes it.
    pub epochs: Vec<u8>,
}

impl SnapshotHeader {
    fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        let mut w = Writer::new(&mut fields);
        self.group.encode(&mut w);
        self.keyspace.encode(&mut w);
        self.mark.position.encode(&mut w);
        w.u64(self.mark.hash);
        w.i64(self.time_ms);
        w.bytes(&self.epochs);
        let mut buffer = Vec::new();
        let mut w = Writer::new(&mut buffer);
        w.u64(MAGIC);
        w.u32(FORMAT);
        w.u32(fields.len() as u32);
        w.buffer.extend_from_slice(&fields);
        let crc = crc32c::crc32c(w.buffer);
        w.u32(crc);
        buffer
    }
    fn fields(bytes: &[u8]) -> std::result::Result<SnapshotHeader, DecodeError> {
        let mut r = Reader::new(bytes);
        let header = SnapshotHeader {
            group: GroupId::decode(&mut r)?,
            keyspace: KeyspaceId::decode(&mut r)?,
            mark: Mark { position: Position::decode(&mut r)?, hash: r.u64()? },
            time_ms: r.i64()?,
            epochs: r.bytes()?.to_vec(),
        };
        r.end()?;
        Ok(header)
    }
    fn name(&self) -> String {
        name(self.group, self.mark.position)
    }
}

fn name(group: GroupId, position: Position) -> String {
    format!("{}-{}-{}.snapshot", group.0, position.epoch.0, position.index.0)
}
fn parse_name(name: &str) -> Option<(GroupId, Position)> {
    let mut parts = name.strip_suffix(".snapshot")?.splitn(3, '-');
    let group = GroupId(parts.next()?.parse().ok()?);
    let (epoch, index) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((group, Position::new(epoch, index)))
}

/// Every group's newest complete snapshot; removes unfinished and overtaken ones. For the start of a node.
pub fn clean_up(disk: &dyn Disk) -> Result<BTreeMap<GroupId, Position>> {
    let mut newest: BTreeMap<GroupId, Position> = BTreeMap::new();
    let names = disk.list(DIR)?;
    for (group, position) in names.iter().filter_map(|name| parse_name(name)) {
        let at = newest.entry(group).or_insert(position);
        *at = (*at).max(position);
    }
    for file in &names {
        let overtaken =
            parse_name(file).is_some_and(|(group, position)| newest.get(&group) != Some(&position));
        if overtaken || file.ends_with(".partial") {
            disk.remove(&join(DIR, file))?;
        }
    }
    Ok(newest)
}

/// Removes all snapshots of a group, received pieces too.
pub fn remove_group(disk: &dyn Disk, group: GroupId) -> Result<()> {
    remove_files(disk, group, |_| true)
}

fn remove_files(disk: &dyn Disk, group: GroupId, goes: impl Fn(&str) -> bool) -> Result<()> {
    let prefix = format!("{}-", group.0);
    for file in disk.list(DIR)? {
        if file.starts_with(&prefix) && goes(&file) {
            disk.remove(&join(DIR, &file))?;
        }
    }
    Ok(())
}

/// Puts a complete, flushed file in its place and removes what it replaces.
fn put_in_place(disk: &dyn Disk, from: &str, header: &SnapshotHeader) -> Result<()> {
    let name = header.name();
    disk.rename(from, &join(DIR, &name))?;
    disk.sync_dir(DIR)?;
    remove_files(disk, header.group, |file| file.ends_with(".snapshot") && file != name)
}

/// Begins to bring to the medium what came since `begun`, once it is enough.
fn begin_now_and_then(file: &dyn File, len: u64, begun: &mut u64) {
    if len - *begun >= BEGIN_EVERY {
        file.begin_flush(*begun, len - *begun);
        *begun = len;
    }
}

/// Writes a snapshot piece by piece. Dropped without [`SnapshotWriter::finish`] it leaves a file that the next start or the
/// next snapshot of this place removes.
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    file: Arc<dyn File>,
    path: String,
    header: SnapshotHeader,
    len: u64,
    /// Writing to the medium has begun so far.
    begun: u64,
    chunks: u64,
    payload: u64,
    crc: u32,
}

impl SnapshotWriter {
    pub fn create(disk: Arc<dyn Disk>, header: SnapshotHeader) -> Result<SnapshotWriter> {
        disk.create_dir(DIR)?;
        disk.sync_dir("")?;
        let path = join(DIR, &format!("{}.partial", header.name()));
        if let Err(error) = disk.remove(&path)
            && !matches!(error, Error::Missing { .. })
        {
            return Err(error);
        }
        let file = disk.create(&path)?;
        let bytes = header.encode();
        file.write_at(0, &bytes)?;
        let len = bytes.len() as u64;
        Ok(SnapshotWriter { disk, file, path, header, len, begun: 0, chunks: 0, payload: 0, crc: 0 })
    }
    /// Adds payload. An error ends the snapshot: [`SnapshotWriter::abandon`] it.
    pub fn chunk(&mut self, payload: &[u8]) -> Result<()> {
        for piece in payload.chunks(CHUNK_MAX) {
            let mut bytes = Vec::with_capacity(piece.len() + CHUNK_HEADER_LEN as usize);
            let mut w = Writer::new(&mut bytes);
            w.u32(piece.len() as u32);
            w.u32(crc32c::crc32c(piece));
            w.buffer.extend_from_slice(piece);
            self.file.write_at(self.len, &bytes)?;
            self.len += bytes.len() as u64;
            self.chunks += 1;
            self.payload += piece.len() as u64;
            self.crc = crc32c::crc32c_append(self.crc, piece);
            begin_now_and_then(&*self.file, self.len, &mut self.begun);
        }
        Ok(())
    }
    /// Makes it durable and puts it in the place of older ones. Returns its length in bytes.
    pub fn finish(self) -> Result<u64> {
        let mut bytes = Vec::with_capacity(FOOTER_LEN);
        let mut w = Writer::new(&mut bytes);
        w.u32(0);
        w.u64(self.chunks);
        w.u64(self.payload);
        w.u32(self.crc);
        let crc = crc32c::crc32c(w.buffer);
        w.u32(crc);
        self.file.write_at(self.len, &bytes)?;
        self.file.flush()?;
        put_in_place(&*self.disk, &self.path, &self.header)?;
        Ok(self.len + bytes.len() as u64)
    }
    pub fn abandon(self) -> Result<()> {
        self.disk.remove(&self.path)
    }
}

/// A complete snapshot. Stays readable while a newer one takes its place.
pub struct SnapshotReader {
    file: Arc<dyn File>,
    path: String,
    header: SnapshotHeader,
    len: u64,
    /// Where the chunks begin.
    chunks_at: u64,
}

impl SnapshotReader {
    /// `Missing` when there is none of this position any more: ask for the newest.
    pub fn open(disk: &dyn Disk, group: GroupId, position: Position) -> Result<SnapshotReader> {
        SnapshotReader::of_file(disk, join(DIR, &name(group, position)))
    }
    fn of_file(disk: &dyn Disk, path: String) -> Result<SnapshotReader> {
        let file = disk.open(&path)?;
        let len = file.len()?;
        let mut window = Window::new(Arc::clone(&file));
        let (header, chunks_at) = read_header(&mut window, &path)?;
        Ok(SnapshotReader { file, path, header, len, chunks_at })
    }
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }
    /// Length of the file: what a transfer carries.
    pub fn len(&self) -> u64 {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// A piece of the file for a transfer, checksums included; fewer bytes only at its end.
    pub fn read(&self, offset: u64, len_max: usize) -> Result<Vec<u8>> {
        crate::disk::read_up_to(&*self.file, offset, len_max)
    }
    /// Hands out the payload in order, each piece checked; an error at the end means that what was handed out is not a
    /// whole snapshot. Whoever must not act on half of one calls [`SnapshotReader::verify`] first.
    pub fn payload(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut window = Window::new(Arc::clone(&self.file));
        let (mut at, mut chunks, mut payload, mut crc) = (self.chunks_at, 0u64, 0u64, 0);
        let damaged = |at| Error::corrupt(&self.path, at, "a snapshot's chunk is not what was written");
        loop {
            let front = window.at(at, CHUNK_HEADER_LEN as usize)?;
            let mut r = Reader::new(front);
            let (Ok(len), Ok(chunk_crc)) = (r.u32(), r.u32()) else { return Err(damaged(at)) };
            if len == 0 {
                break;
            }
            if len as usize > CHUNK_MAX {
                return Err(damaged(at));
            }
            let bytes = window.at(at + CHUNK_HEADER_LEN, len as usize)?;
            if bytes.len() != len as usize || crc32c::crc32c(bytes) != chunk_crc {
                return Err(damaged(at));
            }
            each(bytes);
            crc = crc32c::crc32c_append(crc, bytes);
            chunks += 1;
            payload += u64::from(len);
            at += CHUNK_HEADER_LEN + u64::from(len);
        }
        let footer = window.at(at, FOOTER_LEN)?;
        let whole = crate::segment::checked(footer, 0) && footer_says(footer) == Ok((chunks, payload, crc));
        let ends = at + FOOTER_LEN as u64 == self.len;
        if whole && ends {
            Ok(())
        } else {
            Err(Error::corrupt(&self.path, at, "a snapshot's footer is wrong"))
        }
    }
    /// Reads all of it and compares every checksum.
    pub fn verify(&self) -> Result<()> {
        self.payload(&mut |_| {})
    }
}

fn footer_says(footer: &[u8]) -> std::result::Result<(u64, u64, u32), DecodeError> {
    let mut r = Reader::new(footer);
    r.u32()?;
    Ok((r.u64()?, r.u64()?, r.u32()?))
}

fn read_header(window: &mut Window, path: &str) -> Result<(SnapshotHeader, u64)> {
    let damaged = || Error::corrupt(path, 0, "a snapshot's header is not what was written");
    let front = window.at(0, FRONT_LEN)?;
    let mut r = Reader::new(front);
    let (Ok(magic), Ok(format), Ok(len)) = (r.u64(), r.u32(), r.u32()) else { return Err(damaged()) };
    let len = len as usize;
    if magic != MAGIC || len > FIELDS_MAX {
        return Err(damaged());
    }
    let bytes = window.at(0, FRONT_LEN + len + 4)?;
    if bytes.len() != FRONT_LEN + len + 4 || !crate::segment::checked(bytes, 0) {
        return Err(damaged());
    }
    if format != FORMAT {
        return Err(Error::Newer { path: path.to_owned(), known: FORMAT, found: format });
    }
    let header = SnapshotHeader::fields(&bytes[FRONT_LEN..FRONT_LEN + len]).map_err(|_| damaged())?;
    Ok((header, bytes.len() as u64))
}

/// Another node's snapshot, whole, verified and durable, but under its passing name: not yet this node's.
pub struct ReceivedSnapshot {
    disk: Arc<dyn Disk>,
    reader: SnapshotReader,
}

impl ReceivedSnapshot {
    pub fn reader(&self) -> &SnapshotReader {
        &self.reader
    }
    /// Makes it the group's snapshot, durably, in the place of older ones. `Missing`: the group was dropped meanwhile.
    pub fn place(&self) -> Result<()> {
        put_in_place(&*self.disk, &self.reader.path, &self.reader.header)
    }
}

/// Takes in another node's snapshot, piece by piece, over restarts of either side.
pub struct SnapshotReceiver {
    disk: Arc<dyn Disk>,
    file: Arc<dyn File>,
    path: String,
    group: GroupId,
    mark: Mark,
    received: u64,
    /// Writing to the medium has begun so far.
    begun: u64,
    len: u64,
}

impl SnapshotReceiver {
    /// Goes on with what was received of exactly this snapshot, else begins; pieces of others of the group are removed.
    pub fn open(disk: Arc<dyn Disk>, group: GroupId, mark: Mark, len: u64) -> Result<SnapshotReceiver> {
        disk.create_dir(DIR)?;
        disk.sync_dir("")?;
        let (epoch, index) = (mark.position.epoch.0, mark.position.index.0);
        let name = format!("{}-{epoch}-{index}-{:x}-{len}.incoming", group.0, mark.hash);
        remove_files(&*disk, group, |file| file.ends_with(".incoming") && file != name)?;
        let path = join(DIR, &name);
        let file = match disk.open(&path) {
            Err(Error::Missing { .. }) => disk.create(&path)?,
            opened => opened?,
        };
        let received = file.len()?;
        let mut receiver = SnapshotReceiver { disk, file, path, group, mark, received, begun: received, len };
        if received > len {
            receiver.begin_again()?;
        }
        Ok(receiver)
    }
    /// Bytes that are here: where the transfer goes on.
    pub fn received(&self) -> u64 {
        self.received
    }
    pub fn is_complete(&self) -> bool {
        self.received == self.len
    }
    /// Adds a piece. One that does not begin where the last one ended, or goes beyond the end, is ignored; the new
    /// [`SnapshotReceiver::received`] tells the sender.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<u64> {
        if offset == self.received && bytes.len() as u64 <= self.len - self.received {
            self.file.write_at(offset, bytes)?;
            self.received += bytes.len() as u64;
            begin_now_and_then(&*self.file, self.received, &mut self.begun);
        }
        Ok(self.received)
    }
    /// Checks all of it and makes it durable. `Corrupt`: it was thrown away, the transfer begins again.
    pub fn finish(mut self) -> Result<ReceivedSnapshot> {
        match self.checked() {
            Ok(reader) => {
                self.file.flush()?;
                Ok(ReceivedSnapshot { disk: self.disk, reader })
            }
            Err(error @ (Error::Corrupt(_) | Error::Newer { .. })) => {
                self.begin_again()?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
    fn checked(&self) -> Result<SnapshotReader> {
        let reader = SnapshotReader::of_file(&*self.disk, self.path.clone())?;
        reader.verify()?;
        if (reader.header.group, reader.header.mark) != (self.group, self.mark) {
            return Err(Error::corrupt(&self.path, 0, "another snapshot than the one announced"));
        }
        Ok(reader)
    }
    fn begin_again(&mut self) -> Result<()> {
        self.disk.remove(&self.path)?;
        self.file = self.disk.create(&self.path)?;
        (self.received, self.begun) = (0, 0);
        Ok(())
    }
}
