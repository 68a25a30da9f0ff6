//! The ledger of a node: entries that its copies held and that a newer leader's log lacks, kept until an operator lets them go.
//!
//! An item is a log record of kind `ledger` under the entry's own group, epoch, index, time and request id. It is no entry of
//! the log, and outlives the segment that it was written to. Its payload:
//!
//! ```text
//! size  field
//!    1  what: 1 an item, 2 it is no more
//!    1  mark: 1 acknowledged, 2 perhaps, 3 an announced loss of unknown extent
//!    8  last index: that of the record for one entry, beyond it for a range, the greatest there is if unknown
//!    8  the epoch whose leader lacks it
//!   20  the copy that may hold more of it (option: node, incarnation)
//!    -  payload of the entry, of a range that of its first (option); none when it was never here, or the ledger was full
//! ```

use crate::codec::{DecodeError, Reader, Writer};
use crate::record::{Header, Kind, Record};
use crate::view::Replica;
use crate::{Epoch, GroupId, Index, KeyspaceId, Position, RequestId};
use alloc::vec::Vec;
use bytes::Bytes;

/// What is known of the answer to a lost write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Mark {
    /// The node led then, and its client's reply left as success.
    Acknowledged = 1,
    /// Nobody here can know.
    Perhaps = 2,
    /// An election announced a loss: nothing or any number of entries.
    Announced = 3,
}

impl Mark {
    pub fn name(self) -> &'static str {
        match self {
            Mark::Acknowledged => "acknowledged",
            Mark::Perhaps => "perhaps",
            Mark::Announced => "announced",
        }
    }
    fn from_byte(byte: u8) -> Result<Mark, DecodeError> {
        match byte {
            1 => Ok(Mark::Acknowledged),
            2 => Ok(Mark::Perhaps),
            3 => Ok(Mark::Announced),
            _ => Err(DecodeError::Invalid("mark of a ledger item")),
        }
    }
}

/// Names an item in the whole cluster: an epoch has one history, so equal names are equal entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ItemId {
    pub group: GroupId,
    pub position: Position,
}

/// The index of a range whose end nobody knows.
pub const UNKNOWN_END: Index = Index(u64::MAX);

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    pub id: ItemId,
    pub keyspace: KeyspaceId,
    pub mark: Mark,
    /// The last entry of a range; that of the item for a single one.
    pub through: Index,
    /// The epoch whose leader lacks it.
    pub lost_to: Epoch,
    /// The copy that must come back before more is known of an announced loss.
    pub copy: Option<Replica>,
    /// The leader's time, ms since 1970.
    pub time_ms: i64,
    pub request: RequestId,
    /// The entry's payload; `None` when it was never here, or the ledger had no room for it. Of a range at most that of its first.
    pub payload: Option<Bytes>,
}

/// What a record of kind `ledger` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    Item(Item),
    Gone(ItemId),
}

/// Bytes that an item takes beside its payload, roughly.
const OVERHEAD: usize = 160;

impl Item {
    pub fn bytes(&self) -> usize {
        OVERHEAD + self.payload.as_ref().map_or(0, Bytes::len)
    }
    /// Entries that it stands for; nothing when that is unknown.
    pub fn entries(&self) -> Option<u64> {
        (self.through != UNKNOWN_END).then(|| self.through.0.saturating_sub(self.id.position.index.0) + 1)
    }
    /// Takes in what another copy of the item knows: the stronger mark, the end of the longer range, the payload with what belongs to it.
    /// Whoever knows what is lost knows more than an announcement.
    pub fn join(&mut self, other: &Item) {
        match (self.mark, other.mark) {
            (Mark::Announced, mark) if mark != Mark::Announced => {
                *self = Item { copy: self.copy.or(other.copy), ..other.clone() };
                return;
            }
            (mark, Mark::Announced) if mark != Mark::Announced => {
                self.copy = self.copy.or(other.copy);
                return;
            }
            _ => {}
        }
        self.through = self.through.max(other.through);
        self.mark = self.mark.min(other.mark);
        if self.payload.is_none() && other.payload.is_some() {
            (self.time_ms, self.request) = (other.time_ms, other.request);
            self.payload = other.payload.clone();
        }
    }
    fn fields(&self, w: &mut Writer<'_>) {
        w.u8(self.mark as u8);
        self.through.encode(w);
        self.lost_to.encode(w);
        w.option(self.copy, |w, copy| copy.encode(w));
        w.option(self.payload.as_ref(), |w, payload| w.bytes(payload));
    }
    /// Appends the log record.
    pub fn write_record(&self, buffer: &mut Vec<u8>) {
        let header = header(self.id, self.keyspace, self.time_ms, self.request);
        Record::write(buffer, &header, 0, |w| {
            w.u8(1);
            self.fields(w);
        });
    }
    /// As it travels between nodes.
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.id.encode(w);
        self.keyspace.encode(w);
        w.i64(self.time_ms);
        self.request.encode(w);
        self.fields(w);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Item, DecodeError> {
        let id = ItemId::decode(r)?;
        let (keyspace, time_ms, request) = (KeyspaceId::decode(r)?, r.i64()?, RequestId::decode(r)?);
        Item::read(id, keyspace, time_ms, request, r)
    }
    fn read(
        id: ItemId,
        keyspace: KeyspaceId,
        time_ms: i64,
        request: RequestId,
        r: &mut Reader<'_>,
    ) -> Result<Item, DecodeError> {
        Ok(Item {
            id,
            keyspace,
            mark: Mark::from_byte(r.u8()?)?,
            through: Index::decode(r)?,
            lost_to: Epoch::decode(r)?,
            copy: r.option(Replica::decode)?,
            time_ms,
            request,
            payload: r.option(|r| Ok(Bytes::copy_from_slice(r.bytes()?)))?,
        })
    }
}

impl ItemId {
    pub fn encode(self, w: &mut Writer<'_>) {
        self.group.encode(w);
        self.position.encode(w);
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<ItemId, DecodeError> {
        Ok(ItemId { group: GroupId::decode(r)?, position: Position::decode(r)? })
    }
    /// Appends the record that ends an item.
    pub fn write_gone(self, keyspace: KeyspaceId, buffer: &mut Vec<u8>) {
        Record::write(buffer, &header(self, keyspace, 0, RequestId::NONE), 0, |w| w.u8(2));
    }
}

impl core::fmt::Display for ItemId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Position { epoch, index } = self.position;
        write!(f, "{}-{}-{}", self.group.0, epoch.0, index.0)
    }
}

impl core::str::FromStr for ItemId {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<ItemId, DecodeError> {
        let wrong = DecodeError::Invalid("ledger id");
        let mut parts = text.split('-');
        let mut part = || parts.next().filter(|it| it.bytes().all(|b| b.is_ascii_digit())).ok_or(wrong);
        let group = part()?.parse().map_err(|_| wrong)?;
        let (epoch, index) = (part()?.parse().map_err(|_| wrong)?, part()?.parse().map_err(|_| wrong)?);
        let id = ItemId { group: GroupId(group), position: Position::new(epoch, index) };
        if parts.next().is_some() { Err(wrong) } else { Ok(id) }
    }
}

fn header(id: ItemId, keyspace: KeyspaceId, time_ms: i64, request: RequestId) -> Header {
    let Position { epoch, index } = id.position;
    // It says nothing of the log of its group, least of all what is committed there.
    let commit = Index(0);
    Header { kind: Kind::Ledger, keyspace, group: id.group, epoch, index, commit, time_ms, request }
}

impl Note {
    /// What a record of kind `ledger` says.
    pub fn parse(record: &Record<'_>) -> Result<Note, DecodeError> {
        let header = &record.header;
        let id = ItemId { group: header.group, position: header.position() };
        let mut r = Reader::new(record.payload);
        match r.u8()? {
            1 => Item::read(id, header.keyspace, header.time_ms, header.request, &mut r).map(Note::Item),
            2 => Ok(Note::Gone(id)),
            _ => Err(DecodeError::Invalid("ledger record")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, NodeId, Process};
    use alloc::string::ToString;

    #[test]
    fn an_item_is_read_back_from_its_record_and_from_its_message() {
        let id = ItemId { group: GroupId(3), position: Position::new(5, 120) };
        let copy = Replica { node: NodeId(2), incarnation: Incarnation(4) };
        let request = RequestId { origin: NodeId(1), process: Process(2), sequence: 9 };
        for (copy, payload, through) in [
            (None, Some(Bytes::from_static(b"rows")), Index(120)),
            (Some(copy), None, UNKNOWN_END),
            (None, None, Index(130)),
        ] {
            let mark = Mark::Perhaps;
            let (keyspace, lost_to, time_ms) = (KeyspaceId(7), Epoch(6), 1_700_000_000_000);
            let item = Item { id, keyspace, mark, through, lost_to, copy, time_ms, request, payload };
            let mut buffer = Vec::new();
            item.write_record(&mut buffer);
            let record = Record::parse(&buffer).expect("own record");
            assert_eq!(Note::parse(&record), Ok(Note::Item(item.clone())));
            let mut message = Vec::new();
            item.encode(&mut Writer::new(&mut message));
            assert_eq!(Item::decode(&mut Reader::new(&message)), Ok(item));
            for short in 0..message.len() {
                assert!(Item::decode(&mut Reader::new(&message[..short])).is_err());
            }
        }
        let mut buffer = Vec::new();
        id.write_gone(KeyspaceId(7), &mut buffer);
        assert_eq!(Note::parse(&Record::parse(&buffer).expect("own record")), Ok(Note::Gone(id)));
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "1-2", "1-2-3-4", "a-1-2", "1--2", "1-2-+3", "99999999999-1-1"] {
            assert!(wrong.parse::<ItemId>().is_err(), "{wrong}");
        }
    }
}
