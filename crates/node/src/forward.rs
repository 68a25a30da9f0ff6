//! Commands on their way to a leader: kept until they are answered, sent again under the same request id when the leader
//! changes, given up when their time is over.

use crate::io::ConnectionId;
use crate::message::Work;
use crate::options::Options;
use crate::replies::SlotId;
use crate::route::slot_of_work;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bytes::Bytes;
use data::{GroupId, Instant, KeyspaceId, NodeId, OriginVector, Position};
use wire::Protocol;

/// Who waits for the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    Client {
        connection: ConnectionId,
        slot: SlotId,
        purpose: Purpose,
    },
    /// This node's copy of a group: how far the leader's log was committed at some moment behind `asked_at`.
    Copy {
        group: GroupId,
        asked_at: Instant,
    },
    /// Nobody (an UNWATCH).
    Nobody,
}

/// What is done with the answer beside showing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    Command,
    /// The session keeps the watch's number; the client reads OK.
    Watch,
    /// One of several whose answers become one (FLUSHALL, DBSIZE of several groups).
    Part {
        batch: u64,
        /// The part's keyspace, and a slot of its group.
        at: (KeyspaceId, u16),
    },
    /// A step of SCAN in one of several groups: one of its slots, and where the walk goes on behind the group.
    Scan {
        slot: u16,
        next: Option<u16>,
    },
    /// A look of WAIT: the reply is not the client's.
    Holders,
}

#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its number among those of this process.
    pub sequence: u64,
    /// Its number among the commands of its connection, where a receipt may be asked for.
    pub command: u64,
    pub keyspace: KeyspaceId,
    /// Says which of the keyspace's groups it is for.
    pub slot: u16,
    pub protocol: Protocol,
    pub work: Work,
    pub origin: Origin,
    pub deadline: Option<Instant>,
    pub write: bool,
    /// What was given with the command.
    pub options: Option<Box<Options>>,
    /// A read of a session that would rather hear that something is lost than go back.
    pub guarded: bool,
    /// May wait for data as long as its client likes.
    pub blocking: bool,
    /// The group that it was sent to last; 0 before that. Its slot may move.
    pub group: GroupId,
    /// Where its key was said to be at home, in which group.
    pub home: Option<GroupId>,
    /// It was sent to be done once that site holds this.
    pub held: Option<Box<OriginVector>>,
    /// It was sent to more than one: who answers does not say of which the position is.
    pub scattered: bool,
    /// To whom it was sent; `None` while no leader is known.
    pub sent_to: Option<NodeId>,
    /// A node that said it does not lead: not asked again before the next tick, unless another one is said to lead.
    pub turned_away: Option<NodeId>,
    /// How often it has left this node, at most 255: after the first it may have been executed, and after the second an
    /// answer to one copy that wrote nothing says nothing of the others.
    pub copies: u8,
    /// Answered by a leader of whose election this node has not heard: what that one kept is not known here yet.
    pub early: Option<Box<EarlyAnswer>>,
}

/// An answer that waits until this node has heard of its leader's election.
#[derive(Clone, Debug)]
pub struct EarlyAnswer {
    pub from: NodeId,
    pub bytes: Bytes,
    pub position: Position,
    pub seen: Option<Position>,
}

impl Outgoing {
    /// Whether a node of an older version would not understand it.
    pub fn asks_newly(&self) -> bool {
        self.options.is_some() || self.work.is_new()
    }
    /// A read that waits for no data and was not sent yet.
    pub fn new(
        keyspace: KeyspaceId,
        protocol: Protocol,
        work: Work,
        origin: Origin,
        deadline: Option<Instant>,
    ) -> Outgoing {
        Outgoing {
            sequence: 0,
            command: 0,
            keyspace,
            slot: slot_of_work(&work),
            protocol,
            work,
            origin,
            deadline,
            write: false,
            options: None,
            guarded: false,
            blocking: false,
            group: GroupId(0),
            home: None,
            held: None,
            scattered: false,
            sent_to: None,
            turned_away: None,
            copies: 0,
            early: None,
        }
    }
}

/// Bytes of forwarded commands that one node keeps at most; beyond, new ones are refused.
pub const FORWARD_BYTES_MAX: usize = 64 << 20;

#[derive(Default)]
pub struct Forwards {
    sequence: u64,
    outgoing: BTreeMap<u64, Outgoing>,
    bytes: usize,
}

impl Forwards {
    /// Takes a command in; its number, or the command back when there is no room.
    pub fn add(&mut self, outgoing: Outgoing) -> Result<u64, Box<Outgoing>> {
        let bytes = size(&outgoing.work);
        if self.bytes + bytes > FORWARD_BYTES_MAX {
            return Err(Box::new(outgoing));
        }
        self.bytes += bytes;
        self.sequence += 1;
        self.outgoing.insert(self.sequence, Outgoing { sequence: self.sequence, ..outgoing });
        Ok(self.sequence)
    }
    pub fn get(&self, sequence: u64) -> Option<&Outgoing> {
        self.outgoing.get(&sequence)
    }
    pub fn get_mut(&mut self, sequence: u64) -> Option<&mut Outgoing> {
        self.outgoing.get_mut(&sequence)
    }
    pub fn remove(&mut self, sequence: u64) -> Option<Outgoing> {
        let outgoing = self.outgoing.remove(&sequence)?;
        self.bytes -= size(&outgoing.work);
        Some(outgoing)
    }
    /// Commands that must be sent (again), oldest first.
    pub fn unsent(&self) -> Vec<u64> {
        self.outgoing.iter().filter(|(_, o)| o.sent_to.is_none()).map(|(s, _)| *s).collect()
    }
    pub fn has_unsent(&self) -> bool {
        self.outgoing.values().any(|o| o.sent_to.is_none())
    }
    /// Puts a command under a new number: the bug TC-07.
    pub fn renumber(&mut self, sequence: u64) -> u64 {
        let Some(outgoing) = self.outgoing.remove(&sequence) else { return sequence };
        self.sequence += 1;
        self.outgoing.insert(self.sequence, Outgoing { sequence: self.sequence, ..outgoing });
        self.sequence
    }
    /// Everything sent to a node that can no longer answer is to be sent again; likewise what was sent to a node that no
    /// longer leads (`leader` tells who does).
    pub fn unsend(&mut self, gone: impl Fn(&Outgoing, NodeId) -> bool) {
        for outgoing in self.outgoing.values_mut() {
            if let Some(node) = outgoing.sent_to
                && gone(outgoing, node)
            {
                outgoing.sent_to = None;
            }
        }
    }
    /// Whoever did not lead may lead by now.
    pub fn forgive(&mut self) {
        for outgoing in self.outgoing.values_mut() {
            outgoing.turned_away = None;
        }
    }
    /// Commands whose answer waits.
    pub fn early(&self) -> Vec<u64> {
        self.outgoing.iter().filter(|(_, o)| o.early.is_some()).map(|(s, _)| *s).collect()
    }
    pub fn due(&self, now: Instant) -> Vec<u64> {
        let due = |o: &Outgoing| o.deadline.is_some_and(|deadline| deadline <= now);
        self.outgoing.iter().filter(|(_, o)| due(o)).map(|(s, _)| *s).collect()
    }
    pub fn of_connection(&self, connection: ConnectionId) -> Vec<u64> {
        let its = |o: &Outgoing| matches!(o.origin, Origin::Client { connection: c, .. } if c == connection);
        self.outgoing.iter().filter(|(_, o)| its(o)).map(|(s, _)| *s).collect()
    }
    /// Number of commands that are not answered yet.
    pub fn count(&self) -> usize {
        self.outgoing.len()
    }
}

fn size(work: &Work) -> usize {
    let args = |args: &Vec<bytes::Bytes>| args.iter().map(|a| a.len() + 32).sum::<usize>();
    128 + match work {
        Work::Command(command) => args(command),
        Work::Transaction { commands, .. } => commands.iter().map(args).sum(),
        Work::Watch { keys, .. } => args(keys),
        Work::Reapply { item, .. } => item.payload.len(),
        Work::Settle { key, wish } => key.len() + wish.len(),
        Work::Unwatch { .. }
        | Work::Holders { .. }
        | Work::Fate { .. }
        | Work::Position
        | Work::MoveHome { .. }
        | Work::Held
        | Work::Behind { .. } => 0,
    }
}
