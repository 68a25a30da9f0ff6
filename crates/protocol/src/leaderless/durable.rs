//! What a replica's disk holds, as a function of the records in its log.

use super::hints::{Hint, Hints};
use super::minted::{Kept, Minted};
use alloc::collections::{BTreeMap, BTreeSet};
use data::causal::{
    Causal, Context, Object, Outcome, ShardCopy, Step, Unfit, read_context, read_delta, write_context,
    write_delta,
};
use data::codec::{DecodeError, Reader, Writer};
use data::table::Seed;
use data::value::Blob;
use data::{Incarnation, NodeId, RequestId};

/// Deltas of its own that a replica remembers by request. A guess: far more than are on their way at a time.
pub const MINTED_MAX: usize = 8192;
/// And how many bytes of them. A guess.
pub const MINTED_BYTES_MAX: usize = 16 << 20;

/// One entry of the log.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    Step(Step),
    /// A delta of this actor's own.
    Mint {
        request: RequestId,
        key: Blob,
        delta: Causal<Object>,
        outcome: Outcome,
    },
    Hint {
        number: u64,
        hint: Hint,
    },
    HintGone {
        number: u64,
    },
    /// Hints for this target were dropped, or it knows of that by now.
    Missed {
        target: NodeId,
        missed: bool,
    },
    /// The copies that this one has to be compared with.
    Owes {
        peers: BTreeSet<NodeId>,
    },
    /// A mint request was refused, and another replica may be asked, or the client was told why: it is not to be minted here
    /// any more.
    Declined {
        request: RequestId,
        unfit: Option<Unfit>,
    },
    /// The copy is rebuilt.
    Ready,
    /// A peer is in this life now.
    Life {
        peer: NodeId,
        incarnation: Incarnation,
    },
    /// A barrier began, and this is what deletes had left here by then.
    Promise {
        number: u64,
        residue: Context,
    },
    /// It came to its end: what was noted goes.
    Collected {
        number: u64,
    },
    /// It came to no end.
    Released,
    /// The copy missed the beginning of a barrier, and has to be rebuilt.
    Unready,
    /// The copy takes part in this ring from now on, and in none before it.
    Ring {
        ring: u64,
    },
    /// The ring has this node no more, and the copy goes. Its actor gave out counters through `last`.
    GivenBack {
        last: u64,
    },
}

impl Record {
    pub fn encode(&self, writer: &mut Writer<'_>) {
        match self {
            Record::Step(step) => {
                writer.u8(1);
                step.encode(writer);
            }
            Record::Mint { request, key, delta, outcome } => {
                writer.u8(2);
                request.encode(writer);
                write_delta(writer, key, delta);
                outcome.encode(writer);
            }
            Record::Hint { number, hint } => {
                writer.u8(3);
                writer.u64(*number);
                hint.encode(writer);
            }
            Record::HintGone { number } => {
                writer.u8(4);
                writer.u64(*number);
            }
            Record::Missed { target, missed } => {
                writer.u8(5);
                target.encode(writer);
                writer.bool(*missed);
            }
            Record::Owes { peers } => {
                writer.u8(6);
                writer.length(peers.len());
                peers.iter().for_each(|peer| peer.encode(writer));
            }
            Record::Ready => writer.u8(7),
            Record::Declined { request, unfit } => {
                writer.u8(9);
                request.encode(writer);
                writer.option(*unfit, |writer, unfit| unfit.encode(writer));
            }
            Record::Life { peer, incarnation } => {
                writer.u8(8);
                peer.encode(writer);
                incarnation.encode(writer);
            }
            Record::Promise { number, residue } => {
                writer.u8(10);
                writer.u64(*number);
                write_context(writer, residue);
            }
            Record::Collected { number } => {
                writer.u8(11);
                writer.u64(*number);
            }
            Record::Released => writer.u8(12),
            Record::Unready => writer.u8(13),
            Record::Ring { ring } => {
                writer.u8(14);
                writer.u64(*ring);
            }
            Record::GivenBack { last } => {
                writer.u8(15);
                writer.u64(*last);
            }
        }
    }
    /// Reads all of the input.
    ///
    /// # Errors
    /// When it is not what [`Record::encode`] writes.
    pub fn decode(input: &[u8]) -> Result<Record, DecodeError> {
        let reader = &mut Reader::new(input);
        let record = match reader.u8()? {
            1 => Record::Step(Step::decode(reader)?),
            2 => {
                let request = RequestId::decode(reader)?;
                let (key, delta) = read_delta(reader)?;
                Record::Mint { request, key, delta, outcome: Outcome::decode(reader)? }
            }
            3 => Record::Hint { number: reader.u64()?, hint: Hint::decode(reader)? },
            4 => Record::HintGone { number: reader.u64()? },
            5 => Record::Missed { target: NodeId::decode(reader)?, missed: reader.bool()? },
            6 => Record::Owes { peers: reader.list(NodeId::decode)?.into_iter().collect() },
            7 => Record::Ready,
            9 => {
                let request = RequestId::decode(reader)?;
                Record::Declined { request, unfit: reader.option(Unfit::decode)? }
            }
            8 => Record::Life { peer: NodeId::decode(reader)?, incarnation: Incarnation::decode(reader)? },
            10 => Record::Promise { number: reader.u64()?, residue: read_context(reader)? },
            11 => Record::Collected { number: reader.u64()? },
            12 => Record::Released,
            13 => Record::Unready,
            14 => Record::Ring { ring: reader.u64()? },
            15 => Record::GivenBack { last: reader.u64()? },
            _ => return Err(DecodeError::Invalid("record of a leaderless shard")),
        };
        reader.end()?;
        Ok(record)
    }
}

/// The copy and what lies beside it.
#[derive(Clone, Debug)]
pub struct Durable {
    pub copy: ShardCopy,
    pub(super) minted: Minted,
    pub(super) hints: Hints,
    pub(super) owed: BTreeSet<NodeId>,
    pub(super) is_ready: bool,
    /// The newest life of each peer that walked over this copy, or was walked over.
    pub(super) lives: BTreeMap<NodeId, Incarnation>,
    /// The barrier that is under way, and what deletes had left when it began.
    pub(super) promise: Option<(u64, Context)>,
    /// The newest barrier that this copy ever took part in.
    pub(super) promised: u64,
    /// The newest one behind which it collected.
    pub(super) collected: u64,
    /// The newest ring that it took part in.
    pub(super) ring: u64,
    /// Through which counter its actor had given out dots when the last copy here was given back.
    pub(super) given_out: u64,
}

impl Durable {
    /// Before the first record. `is_ready` is true where the keyspace was made with this copy, false for one that takes
    /// the place of a copy that was lost, and for one that joins.
    pub fn new(seed: Seed, is_ready: bool) -> Durable {
        Durable {
            copy: ShardCopy::new(seed),
            minted: Minted::default(),
            hints: Hints::default(),
            owed: BTreeSet::new(),
            is_ready,
            lives: BTreeMap::new(),
            promise: None,
            promised: 0,
            collected: 0,
            ring: 0,
            given_out: 0,
        }
    }
    pub fn hints(&self) -> &Hints {
        &self.hints
    }
    /// Whether the copy may answer.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }
    /// Whether there is anything of a copy, beside what a stand-in keeps.
    pub(super) fn holds_copy(&self) -> bool {
        self.is_ready || !self.copy.is_empty() || !self.copy.context().is_empty()
    }
    /// What was in the copy goes. What must never be done again stays known: dots given out, requests carried out, barriers passed.
    fn give_back(&mut self, last: u64) {
        self.copy = ShardCopy::new(self.copy.seed());
        self.minted.forget();
        self.owed.clear();
        (self.is_ready, self.promise) = (false, None);
        self.given_out = self.given_out.max(last);
    }
    pub(super) fn remember(&mut self, request: RequestId, kept: Kept) {
        self.minted.insert(request, kept, MINTED_MAX, MINTED_BYTES_MAX);
    }
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Step(step) => {
                self.copy.apply(step);
            }
            Record::Mint { request, key, delta, outcome } => {
                self.copy.apply(&Step::Delta { key: key.clone(), delta: delta.clone() });
                let kept = Kept::Done(delta.clone(), *outcome);
                self.minted.insert(*request, kept, MINTED_MAX, MINTED_BYTES_MAX);
            }
            Record::Hint { number, hint } => self.hints.insert(*number, hint.clone()),
            Record::HintGone { number } => self.hints.remove(*number),
            Record::Missed { target, missed } => self.hints.set_missed(*target, *missed),
            Record::Owes { peers } => self.owed = peers.clone(),
            Record::Ready => self.is_ready = true,
            Record::Declined { request, unfit } => {
                self.minted.insert(*request, Kept::Declined(*unfit), MINTED_MAX, MINTED_BYTES_MAX);
            }
            Record::Life { peer, incarnation } => {
                self.lives.insert(*peer, *incarnation);
            }
            Record::Promise { number, residue } => {
                self.promise = Some((*number, residue.clone()));
                self.promised = *number;
            }
            Record::Collected { number } => {
                if let Some((_, dots)) = self.promise.take_if(|(promised, _)| promised == number) {
                    self.copy.apply(&Step::Collect { dots });
                    self.collected = *number;
                }
            }
            Record::Released => self.promise = None,
            Record::Unready => self.is_ready = false,
            Record::Ring { ring } => self.ring = *ring,
            Record::GivenBack { last } => self.give_back(*last),
        }
    }
}
