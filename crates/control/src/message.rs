//! Messages between planes.
//!
//! | message | from | to | meaning |
//! |---|---|---|---|
//! | raft | control member | control member | the consensus library's own |
//! | heartbeat | every node | control leader | I am alive, this process; may I have a lease? |
//! | heartbeat-ack | control leader | node | a control majority confirmed me after your heartbeat came |
//! | not-leader | any | asker | ask that one |
//! | ask, answer | any, control leader | control leader, asker | a proposal or a switchover, and how it ended |
//! | seal, sealed | control leader, replica's node | electable node, control leader | take part in this election |
//! | prepare, ready, call-off | control leader and group leader | each other | a planned switchover |
//! | map, want-map | any | any | for nodes that are no control members |
//! | suspect | any | control leader | my connection to that node was reset |

use crate::command::{Applied, Command, Refusal};
use crate::map::ClusterMap;
use data::codec::{DecodeError, Reader, Writer};
use data::view::Replica;
use data::{Epoch, GroupId, NodeId, Position, Process, ViewNumber};
use std::sync::Arc;

/// A request to the control leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    Propose(Command),
    /// `target`: who shall lead; `None` leaves the choice to the control leader.
    Switchover {
        group: GroupId,
        target: Option<NodeId>,
    },
}

/// A replica's answer to a seal: its log is flushed and ends at `last`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    pub group: GroupId,
    /// The epoch of the election, as the seal named it.
    pub epoch: Epoch,
    /// View number of the election that asked: answers to another one do not count.
    pub election: ViewNumber,
    pub replica: Replica,
    pub process: Process,
    pub last: Position,
    /// Where each epoch of that log began; empty from a node of message version 2 or older.
    pub starts: Vec<Position>,
    /// Entries before its end that the copy lacks (`best-effort`).
    pub missed: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    Raft(Vec<u8>),
    Heartbeat {
        sequence: u64,
        process: Process,
        /// Version of the map that the sender knows.
        version: u64,
        /// The term whose control leader the sender has known for a full lease by its own clock; 0 for none.
        waited: u64,
    },
    /// `version`: the newest map when the lease was granted; it counts only with that map or a newer one.
    HeartbeatAck {
        sequence: u64,
        process: Process,
        version: u64,
    },
    NotLeader {
        /// The ask that was turned away.
        ticket: Option<u64>,
        leader: Option<NodeId>,
    },
    Ask {
        ticket: u64,
        process: Process,
        ask: Ask,
    },
    Answer {
        ticket: u64,
        process: Process,
        result: Result<Applied, Refusal>,
    },
    /// Counts from map `version` on: a node that does not know it yet waits for it.
    Seal {
        version: u64,
        group: GroupId,
        epoch: Epoch,
        election: ViewNumber,
        released: bool,
    },
    Sealed(Sealed),
    PrepareSwitchover {
        group: GroupId,
        number: ViewNumber,
        target: NodeId,
    },
    SwitchoverReady {
        group: GroupId,
        target: NodeId,
    },
    CallOff {
        group: GroupId,
    },
    Map(Arc<ClusterMap>),
    WantMap {
        version: u64,
    },
    Suspect {
        node: NodeId,
    },
}

impl Message {
    /// As a peer reads it that does not know where a sealed log's epochs began.
    pub fn without_starts(self) -> Message {
        match self {
            Message::Sealed(sealed) => Message::Sealed(Sealed { starts: Vec::new(), ..sealed }),
            other => other,
        }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Message::Raft(bytes) => {
                w.u8(1);
                w.bytes(bytes);
            }
            Message::Heartbeat { sequence, process, version, waited } => {
                w.u8(2);
                w.u64(*sequence);
                process.encode(w);
                w.u64(*version);
                w.u64(*waited);
            }
            Message::HeartbeatAck { sequence, process, version } => {
                w.u8(3);
                w.u64(*sequence);
                process.encode(w);
                w.u64(*version);
            }
            Message::NotLeader { ticket, leader } => {
                w.u8(4);
                w.option(*ticket, |w, ticket| w.u64(ticket));
                w.option(*leader, |w, leader| leader.encode(w));
            }
            Message::Ask { ticket, process, ask } => {
                w.u8(5);
                w.u64(*ticket);
                process.encode(w);
                ask.encode(w);
            }
            Message::Answer { ticket, process, result } => {
                w.u8(6);
                w.u64(*ticket);
                process.encode(w);
                w.bool(result.is_ok());
                match result {
                    Ok(applied) => applied.encode(w),
                    Err(refusal) => refusal.encode(w),
                }
            }
            Message::Seal { version, group, epoch, election, released } => {
                w.u8(7);
                w.u64(*version);
                group.encode(w);
                epoch.encode(w);
                election.encode(w);
                w.bool(*released);
            }
            Message::Sealed(sealed) => {
                let kind = if sealed.missed > 0 { 16 } else { 15 };
                w.u8(if sealed.starts.is_empty() { 8 } else { kind });
                sealed.encode(w);
                if !sealed.starts.is_empty() && sealed.missed > 0 {
                    w.u64(sealed.missed);
                }
            }
            Message::PrepareSwitchover { group, number, target } => {
                w.u8(9);
                group.encode(w);
                number.encode(w);
                target.encode(w);
            }
            Message::SwitchoverReady { group, target } => {
                w.u8(10);
                group.encode(w);
                target.encode(w);
            }
            Message::CallOff { group } => {
                w.u8(11);
                group.encode(w);
            }
            Message::Map(map) => {
                w.u8(12);
                map.encode(w);
            }
            Message::WantMap { version } => {
                w.u8(13);
                w.u64(*version);
            }
            Message::Suspect { node } => {
                w.u8(14);
                node.encode(w);
            }
        }
    }

    pub fn decode(r: &mut Reader<'_>) -> Result<Message, DecodeError> {
        Ok(match r.u8()? {
            1 => Message::Raft(r.bytes()?.to_vec()),
            2 => Message::Heartbeat {
                sequence: r.u64()?,
                process: Process::decode(r)?,
                version: r.u64()?,
                waited: r.u64()?,
            },
            3 => {
                Message::HeartbeatAck { sequence: r.u64()?, process: Process::decode(r)?, version: r.u64()? }
            }
            4 => Message::NotLeader { ticket: r.option(Reader::u64)?, leader: r.option(NodeId::decode)? },
            5 => Message::Ask { ticket: r.u64()?, process: Process::decode(r)?, ask: Ask::decode(r)? },
            6 => Message::Answer {
                ticket: r.u64()?,
                process: Process::decode(r)?,
                result: if r.bool()? { Ok(Applied::decode(r)?) } else { Err(Refusal::decode(r)?) },
            },
            7 => Message::Seal {
                version: r.u64()?,
                group: GroupId::decode(r)?,
                epoch: Epoch::decode(r)?,
                election: ViewNumber::decode(r)?,
                released: r.bool()?,
            },
            8 => Message::Sealed(Sealed::decode(r)?),
            15 => {
                let sealed = Sealed::decode(r)?;
                Message::Sealed(Sealed { starts: r.list(Position::decode)?, ..sealed })
            }
            16 => {
                let sealed = Sealed::decode(r)?;
                let starts = r.list(Position::decode)?;
                Message::Sealed(Sealed { starts, missed: r.u64()?, ..sealed })
            }
            9 => Message::PrepareSwitchover {
                group: GroupId::decode(r)?,
                number: ViewNumber::decode(r)?,
                target: NodeId::decode(r)?,
            },
            10 => Message::SwitchoverReady { group: GroupId::decode(r)?, target: NodeId::decode(r)? },
            11 => Message::CallOff { group: GroupId::decode(r)? },
            12 => Message::Map(Arc::new(ClusterMap::decode(r)?)),
            13 => Message::WantMap { version: r.u64()? },
            14 => Message::Suspect { node: NodeId::decode(r)? },
            _ => return Err(DecodeError::Invalid("control message")),
        })
    }
}

impl Ask {
    fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Ask::Propose(command) => {
                w.u8(1);
                command.encode(w);
            }
            Ask::Switchover { group, target } => {
                w.u8(2);
                group.encode(w);
                w.option(*target, |w, target| target.encode(w));
            }
        }
    }
    fn decode(r: &mut Reader<'_>) -> Result<Ask, DecodeError> {
        Ok(match r.u8()? {
            1 => Ask::Propose(Command::decode(r)?),
            2 => Ask::Switchover { group: GroupId::decode(r)?, target: r.option(NodeId::decode)? },
            _ => return Err(DecodeError::Invalid("request to the control leader")),
        })
    }
}

impl Sealed {
    fn encode(&self, w: &mut Writer<'_>) {
        self.group.encode(w);
        self.epoch.encode(w);
        self.election.encode(w);
        self.replica.encode(w);
        self.process.encode(w);
        self.last.encode(w);
        if !self.starts.is_empty() {
            w.list(&self.starts, |w, start| start.encode(w));
        }
    }
    fn decode(r: &mut Reader<'_>) -> Result<Sealed, DecodeError> {
        Ok(Sealed {
            group: GroupId::decode(r)?,
            epoch: Epoch::decode(r)?,
            election: ViewNumber::decode(r)?,
            replica: Replica::decode(r)?,
            process: Process::decode(r)?,
            last: Position::decode(r)?,
            starts: Vec::new(),
            missed: 0,
        })
    }
}
