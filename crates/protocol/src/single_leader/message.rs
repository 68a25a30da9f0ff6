//! Messages between the replicas of one group.

use alloc::vec::Vec;
use bytes::Bytes;
use data::codec::{DecodeError, Reader, Writer};
use data::view::Replica;
use data::{Epoch, Index, Position, ViewNumber};

/// What one life of a copy holds of the log of the leader of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    pub replica: Replica,
    /// Persisted as the keyspace asks, and equal to the leader's log, through here.
    pub matched: Index,
    pub applied: Index,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Leader to follower: entries that follow `previous`, and how far the log is committed. Without records it is a
    /// probe, a commit notice or a confirmation round.
    Append { epoch: Epoch, previous: Position, previous_hash: u64, commit: Index, round: u64, records: Bytes },
    /// Follower to leader: everything through `matched` equals the leader's log and is persisted as the keyspace asks.
    Ack { epoch: Epoch, matched: Index, applied: Index, round: u64 },
    /// Follower to leader: `previous` is not in my log. `last` is my last position, `starts` where my epochs begin.
    Mismatch { epoch: Epoch, last: Position, starts: Vec<Position> },
    /// To a leader whose epoch is over: I have promised `promised` to another.
    Stale { promised: Epoch },
    /// Leader to follower: my log begins after your end; take my snapshot of this position.
    Offer { epoch: Epoch, position: Position, hash: u64, len: u64 },
    /// Follower to leader, under a rule that may lose: I have committed what your log lacks, behind `cut` at the earliest;
    /// give me a snapshot of what lies beyond.
    Stranded { epoch: Epoch, cut: Index },
    /// Leader to follower, under `best-effort`: go on behind `previous` with this `gap` record, whose index is that of the last entry
    /// it stands for.
    Gap { epoch: Epoch, previous: Position, commit: Index, record: Bytes },
    /// Follower to leader, under `best-effort`: what my table holds through this entry is all that yours does, or it lacks so many
    /// entries.
    Standing { epoch: Epoch, through: Index, whole: bool, missed: u64 },
    /// Follower to follower, along a link of the view of this number: as `Append`.
    Feed {
        view: ViewNumber,
        epoch: Epoch,
        previous: Position,
        previous_hash: u64,
        commit: Index,
        records: Bytes,
    },
    /// Back along a link, to the leader in the end: what the sender and those behind it hold.
    Held { view: ViewNumber, epoch: Epoch, held: Vec<Holding> },
    /// Back along a link, to the feeder: as `Mismatch`. Also the greeting to a new feeder.
    Lacks { view: ViewNumber, epoch: Epoch, last: Position, starts: Vec<Position> },
}

impl Holding {
    fn encode(&self, w: &mut Writer<'_>) {
        self.replica.encode(w);
        self.matched.encode(w);
        self.applied.encode(w);
    }
    fn decode(r: &mut Reader<'_>) -> Result<Holding, DecodeError> {
        Ok(Holding { replica: Replica::decode(r)?, matched: Index::decode(r)?, applied: Index::decode(r)? })
    }
}

impl Message {
    /// Whether only groups under `best-effort` say it.
    pub fn is_of_gaps(&self) -> bool {
        matches!(self, Message::Gap { .. } | Message::Standing { .. })
    }
    /// Whether it travels along a link between followers, or back: nodes before message version 4 do not read it.
    pub fn is_linked(&self) -> bool {
        matches!(self, Message::Feed { .. } | Message::Held { .. } | Message::Lacks { .. })
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Message::Append { epoch, previous, previous_hash, commit, round, records } => {
                w.u8(1);
                epoch.encode(w);
                previous.encode(w);
                w.u64(*previous_hash);
                commit.encode(w);
                w.u64(*round);
                w.bytes(records);
            }
            Message::Ack { epoch, matched, applied, round } => {
                w.u8(2);
                epoch.encode(w);
                matched.encode(w);
                applied.encode(w);
                w.u64(*round);
            }
            Message::Mismatch { epoch, last, starts } => {
                w.u8(3);
                epoch.encode(w);
                last.encode(w);
                w.list(starts, |w, p| p.encode(w));
            }
            Message::Stale { promised } => {
                w.u8(4);
                promised.encode(w);
            }
            Message::Offer { epoch, position, hash, len } => {
                w.u8(5);
                epoch.encode(w);
                position.encode(w);
                w.u64(*hash);
                w.u64(*len);
            }
            Message::Stranded { epoch, cut } => {
                w.u8(6);
                epoch.encode(w);
                cut.encode(w);
            }
            Message::Gap { epoch, previous, commit, record } => {
                w.u8(80);
                epoch.encode(w);
                previous.encode(w);
                commit.encode(w);
                w.bytes(record);
            }
            Message::Standing { epoch, through, whole, missed } => {
                w.u8(81);
                epoch.encode(w);
                through.encode(w);
                w.bool(*whole);
                w.u64(*missed);
            }
            Message::Feed { view, epoch, previous, previous_hash, commit, records } => {
                w.u8(30);
                view.encode(w);
                epoch.encode(w);
                previous.encode(w);
                w.u64(*previous_hash);
                commit.encode(w);
                w.bytes(records);
            }
            Message::Held { view, epoch, held } => {
                w.u8(31);
                view.encode(w);
                epoch.encode(w);
                w.list(held, |w, it| it.encode(w));
            }
            Message::Lacks { view, epoch, last, starts } => {
                w.u8(32);
                view.encode(w);
                epoch.encode(w);
                last.encode(w);
                w.list(starts, |w, p| p.encode(w));
            }
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Message, DecodeError> {
        Ok(match r.u8()? {
            1 => Message::Append {
                epoch: Epoch::decode(r)?,
                previous: Position::decode(r)?,
                previous_hash: r.u64()?,
                commit: Index::decode(r)?,
                round: r.u64()?,
                records: Bytes::copy_from_slice(r.bytes()?),
            },
            2 => Message::Ack {
                epoch: Epoch::decode(r)?,
                matched: Index::decode(r)?,
                applied: Index::decode(r)?,
                round: r.u64()?,
            },
            3 => Message::Mismatch {
                epoch: Epoch::decode(r)?,
                last: Position::decode(r)?,
                starts: r.list(Position::decode)?,
            },
            4 => Message::Stale { promised: Epoch::decode(r)? },
            5 => Message::Offer {
                epoch: Epoch::decode(r)?,
                position: Position::decode(r)?,
                hash: r.u64()?,
                len: r.u64()?,
            },
            6 => Message::Stranded { epoch: Epoch::decode(r)?, cut: Index::decode(r)? },
            80 => Message::Gap {
                epoch: Epoch::decode(r)?,
                previous: Position::decode(r)?,
                commit: Index::decode(r)?,
                record: Bytes::copy_from_slice(r.bytes()?),
            },
            81 => Message::Standing {
                epoch: Epoch::decode(r)?,
                through: Index::decode(r)?,
                whole: r.bool()?,
                missed: r.u64()?,
            },
            30 => Message::Feed {
                view: ViewNumber::decode(r)?,
                epoch: Epoch::decode(r)?,
                previous: Position::decode(r)?,
                previous_hash: r.u64()?,
                commit: Index::decode(r)?,
                records: Bytes::copy_from_slice(r.bytes()?),
            },
            31 => Message::Held {
                view: ViewNumber::decode(r)?,
                epoch: Epoch::decode(r)?,
                held: r.list(Holding::decode)?,
            },
            32 => Message::Lacks {
                view: ViewNumber::decode(r)?,
                epoch: Epoch::decode(r)?,
                last: Position::decode(r)?,
                starts: r.list(Position::decode)?,
            },
            _ => return Err(DecodeError::Invalid("replication message")),
        })
    }
}
