//! What a node asks a leader to do for its client, and how that travels.

use super::owned;
use crate::admin::ledger;
use crate::options::{ClientRequest, Options};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use data::codec::{DecodeError, Reader, Writer};
use data::{GroupId, KeyspaceId, OriginVector, Position, RequestId, SiteId};
use wire::Protocol;

/// What a leader is asked to do for a client of another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forward {
    pub request: RequestId,
    pub keyspace: KeyspaceId,
    pub group: GroupId,
    pub protocol: Protocol,
    /// Milliseconds that the client is willing to wait; 0 means for ever (a blocking command).
    pub time_left_ms: u32,
    pub work: Work,
    /// What was given with the command (since version 3).
    pub options: Option<Box<Options>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    Command(Vec<Bytes>),
    /// Commands of one EXEC and the watch that must still hold.
    Transaction {
        commands: Vec<Vec<Bytes>>,
        watch: Option<u64>,
    },
    /// Watch these keys; the answer is the watch's number as a RESP integer. `watch` extends an earlier one.
    Watch {
        keys: Vec<Bytes>,
        watch: Option<u64>,
    },
    Unwatch {
        watch: u64,
    },
    /// Apply an entry of the ledger again, unless a key was changed since; `force`: even then (since version 3).
    Reapply {
        item: ledger::Entry,
        force: bool,
    },
    /// A word on a conflict between sites, an encoded wish (since version 6).
    Settle {
        key: Bytes,
        wish: Bytes,
    },
    /// Gives a slot's home to another site (since version 6).
    MoveHome {
        slot: u16,
        to: SiteId,
    },
    /// Which followers hold everything up to this position, as the keyspace asks: their numbers as a RESP array.
    Holders {
        position: Position,
    },
    /// What became of a write (since version 3): the one of this client's id, or of this id, or at this position.
    Fate {
        position: Position,
        of: RequestId,
        client: Option<ClientRequest>,
    },
    /// How far the log is committed, told like the answer to a read (since version 3).
    Position,
    /// What the group's site holds of its shard, committed: an encoded vector (since version 12).
    Held,
    /// Once the group's site holds this: what its session saw at another site (since version 12).
    Behind {
        held: OriginVector,
        work: Box<Work>,
    },
}

impl Work {
    /// Whether nodes before version 3 do not read it. Those of version 6 are sent to members of a multi-leader keyspace only, which
    /// are no older.
    pub fn is_new(&self) -> bool {
        matches!(
            self,
            Work::Fate { .. }
                | Work::Position
                | Work::Reapply { .. }
                | Work::Settle { .. }
                | Work::MoveHome { .. }
                | Work::Held
                | Work::Behind { .. }
        )
    }
    /// Whether nodes before version [`super::HELD_SINCE`] do not read it.
    pub fn is_about_sites(&self) -> bool {
        matches!(self, Work::Held | Work::Behind { .. })
    }
    fn encode(&self, w: &mut Writer<'_>) {
        let item = |w: &mut Writer<'_>, bytes: &Bytes| w.bytes(bytes);
        match self {
            Work::Command(args) => {
                w.u8(1);
                w.list(args, item);
            }
            Work::Transaction { commands, watch } => {
                w.u8(2);
                w.list(commands, |w, args| w.list(args, item));
                w.option(*watch, |w, watch| w.u64(watch));
            }
            Work::Watch { keys, watch } => {
                w.u8(3);
                w.list(keys, item);
                w.option(*watch, |w, watch| w.u64(watch));
            }
            Work::Unwatch { watch } => {
                w.u8(4);
                w.u64(*watch);
            }
            Work::Holders { position } => {
                w.u8(5);
                position.encode(w);
            }
            Work::Fate { position, of, client } => {
                w.u8(6);
                position.encode(w);
                of.encode(w);
                w.option(client.as_ref(), |w, client| client.encode(w));
            }
            Work::Position => w.u8(7),
            Work::Settle { key, wish } => {
                w.u8(9);
                w.bytes(key);
                w.bytes(wish);
            }
            Work::MoveHome { slot, to } => {
                w.u8(10);
                w.u16(*slot);
                to.encode(w);
            }
            Work::Reapply { item, force } => {
                w.u8(8);
                item.encode(w);
                w.bool(*force);
            }
            Work::Held => w.u8(11),
            Work::Behind { held, work } => {
                w.u8(12);
                held.encode(w);
                work.encode(w);
            }
        }
    }
    fn decode(r: &mut Reader<'_>, new: bool) -> Result<Work, DecodeError> {
        Ok(match r.u8()? {
            1 => Work::Command(r.list(owned)?),
            2 => Work::Transaction { commands: r.list(|r| r.list(owned))?, watch: r.option(|r| r.u64())? },
            3 => Work::Watch { keys: r.list(owned)?, watch: r.option(|r| r.u64())? },
            4 => Work::Unwatch { watch: r.u64()? },
            5 => Work::Holders { position: Position::decode(r)? },
            6 if new => Work::Fate {
                position: Position::decode(r)?,
                of: RequestId::decode(r)?,
                client: r.option(ClientRequest::decode)?,
            },
            7 if new => Work::Position,
            9 if new => Work::Settle { key: owned(r)?, wish: owned(r)? },
            10 if new => Work::MoveHome { slot: r.u16()?, to: SiteId::decode(r)? },
            8 if new => Work::Reapply { item: ledger::Entry::decode(r)?, force: r.bool()? },
            11 if new => Work::Held,
            12 if new => {
                let (held, work) = (OriginVector::decode(r)?, Work::decode(r, new)?);
                // One that waits behind another is never sent, and would let a message nest without end.
                if work.is_about_sites() {
                    return Err(DecodeError::Invalid("forwarded work"));
                }
                Work::Behind { held, work: Box::new(work) }
            }
            _ => return Err(DecodeError::Invalid("forwarded work")),
        })
    }
}

impl Forward {
    /// Whether it says what nodes before version 3 do not read.
    pub(super) fn is_new(&self) -> bool {
        self.options.is_some() || self.work.is_new()
    }
    pub(super) fn encode(&self, w: &mut Writer<'_>) {
        self.request.encode(w);
        self.keyspace.encode(w);
        self.group.encode(w);
        w.bool(self.protocol == Protocol::Resp3);
        w.u32(self.time_left_ms);
        self.work.encode(w);
        if self.is_new() {
            w.option(self.options.as_ref(), |w, options| options.encode(w));
        }
    }
    pub(super) fn decode(r: &mut Reader<'_>, new: bool) -> Result<Forward, DecodeError> {
        Ok(Forward {
            request: RequestId::decode(r)?,
            keyspace: KeyspaceId::decode(r)?,
            group: GroupId::decode(r)?,
            protocol: if r.bool()? { Protocol::Resp3 } else { Protocol::Resp2 },
            time_left_ms: r.u32()?,
            work: Work::decode(r, new)?,
            options: if new { r.option(Options::decode)?.map(Box::new) } else { None },
        })
    }
}
