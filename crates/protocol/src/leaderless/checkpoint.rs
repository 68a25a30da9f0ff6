//! How a replica's log becomes shorter: its whole state is written behind the log, in parts, while writes go on.
//!
//! A checkpoint begins with everything that is small, the copy's context above all, and ends when every key was written as
//! it was at that moment. Records of changes lie between its parts. Taking it up again gives the state at its end, for each
//! change before a key's part is in the part, each after it follows, and what they mean depends on the context alone, which
//! is whole from the beginning. That holds as long as no walk was under way when it began: [`Checkpoint::begin`] waits for that.
//!
//! What was in the log before the beginning may go once the end is durable. A checkpoint without an end is nothing: the state
//! goes on from the one before.

use super::durable::{Durable, Record};
use super::minted::{Kept, Minted};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use data::causal::{
    Causal, Context, Entry, Outcome, ShardCopy, Span, Stamp, Unfit, read_context, write_context,
};
use data::codec::{DecodeError, Reader, Writer};
use data::table::Seed;
use data::{Incarnation, NodeId, Process, RequestId};

/// What precedes the parts.
#[derive(Clone, PartialEq, Debug)]
pub struct Head {
    pub seed: Seed,
    pub is_ready: bool,
    newest: Stamp,
    context: Context,
    owed: Vec<NodeId>,
    lives: Vec<(NodeId, Incarnation)>,
    missed: Vec<NodeId>,
    next_hint: u64,
    floors: Vec<(NodeId, Process, u64)>,
    dropped_decisions: u64,
    promise: Option<(u64, Context)>,
    promised: u64,
    collected: u64,
    ring: u64,
    given_out: u64,
}

/// A record of a shard's log.
#[derive(Clone, PartialEq, Debug)]
pub enum Logged {
    Change(Record),
    Begin(Head),
    /// What became of a request.
    Kept {
        request: RequestId,
        kept: Kept,
    },
    /// All keys of a span, as they were.
    Keys {
        span: Span,
        entries: Vec<Entry>,
    },
    End,
}

impl Logged {
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Logged::Change(record) => Logged::encode_change(record, w),
            Logged::Begin(head) => {
                w.u8(6);
                head.encode(w);
            }
            Logged::Kept { request, kept } => {
                w.u8(3);
                request.encode(w);
                match kept {
                    Kept::Done(delta, outcome) => {
                        w.u8(1);
                        data::causal::write_delta(w, &[], delta);
                        outcome.encode(w);
                    }
                    Kept::Declined(unfit) => {
                        w.u8(2);
                        w.option(*unfit, |w, unfit| unfit.encode(w));
                    }
                }
            }
            Logged::Keys { span, entries } => {
                w.u8(4);
                span.encode(w);
                w.list(entries, |w, entry| entry.encode(w));
            }
            Logged::End => w.u8(5),
        }
    }
    /// The same for a change that need not be owned.
    pub fn encode_change(record: &Record, w: &mut Writer<'_>) {
        w.u8(1);
        record.encode(w);
    }
    /// Reads all of the input.
    ///
    /// # Errors
    /// When it is not what [`Logged::encode`] writes.
    pub fn decode(input: &[u8]) -> Result<Logged, DecodeError> {
        let r = &mut Reader::new(input);
        let logged = match r.u8()? {
            1 => return Ok(Logged::Change(Record::decode(&input[1..])?)),
            2 => Logged::Begin(Head::decode(r, false)?),
            6 => Logged::Begin(Head::decode(r, true)?),
            3 => {
                let request = RequestId::decode(r)?;
                let kept = match r.u8()? {
                    1 => {
                        let (_, delta): (_, Causal<_>) = data::causal::read_delta(r)?;
                        Kept::Done(delta, Outcome::decode(r)?)
                    }
                    2 => Kept::Declined(r.option(Unfit::decode)?),
                    _ => return Err(DecodeError::Invalid("what became of a request")),
                };
                Logged::Kept { request, kept }
            }
            4 => Logged::Keys { span: Span::decode(r)?, entries: r.list(Entry::decode)? },
            5 => Logged::End,
            _ => return Err(DecodeError::Invalid("record of a leaderless shard")),
        };
        r.end()?;
        Ok(logged)
    }
}

impl Head {
    fn of(durable: &Durable) -> Head {
        Head {
            seed: durable.copy.seed(),
            is_ready: durable.is_ready,
            newest: durable.copy.newest(),
            context: durable.copy.context().clone(),
            owed: durable.owed.iter().copied().collect(),
            lives: durable.lives.iter().map(|(node, life)| (*node, *life)).collect(),
            missed: durable.hints.missed().iter().copied().collect(),
            next_hint: durable.hints.next(),
            floors: durable.minted.floors().collect(),
            dropped_decisions: durable.copy.dropped_decisions(),
            promise: durable.promise.clone(),
            promised: durable.promised,
            collected: durable.collected,
            ring: durable.ring,
            given_out: durable.given_out,
        }
    }
    fn begin(&self) -> Durable {
        let mut durable = Durable::new(self.seed, self.is_ready);
        durable.copy = ShardCopy::with(self.seed, self.newest, self.context.clone());
        durable.copy.note_dropped(self.dropped_decisions);
        durable.owed = self.owed.iter().copied().collect::<BTreeSet<_>>();
        durable.lives = self.lives.iter().copied().collect::<BTreeMap<_, _>>();
        self.missed.iter().for_each(|target| durable.hints.set_missed(*target, true));
        durable.hints.go_on_from(self.next_hint);
        durable.minted = Minted::with_floors(self.floors.iter().copied());
        durable.promise = self.promise.clone();
        durable.promised = self.promised;
        durable.collected = self.collected;
        durable.ring = self.ring;
        durable.given_out = self.given_out;
        durable
    }
    fn encode(&self, w: &mut Writer<'_>) {
        w.u64(self.seed.0);
        w.u64(self.seed.1);
        w.bool(self.is_ready);
        w.u64(self.newest.0);
        write_context(w, &self.context);
        w.list(&self.owed, |w, node| node.encode(w));
        w.list(&self.lives, |w, (node, life)| {
            node.encode(w);
            life.encode(w);
        });
        w.list(&self.missed, |w, node| node.encode(w));
        w.u64(self.next_hint);
        w.list(&self.floors, |w, (node, process, sequence)| {
            node.encode(w);
            process.encode(w);
            w.u64(*sequence);
        });
        w.u64(self.dropped_decisions);
        w.option(self.promise.as_ref(), |w, (number, residue)| {
            w.u64(*number);
            write_context(w, residue);
        });
        w.u64(self.promised);
        w.u64(self.collected);
        w.u64(self.ring);
        w.u64(self.given_out);
    }
    /// `has_ring`: an older version's heads end before it.
    fn decode(r: &mut Reader<'_>, has_ring: bool) -> Result<Head, DecodeError> {
        Ok(Head {
            seed: Seed(r.u64()?, r.u64()?),
            is_ready: r.bool()?,
            newest: Stamp(r.u64()?),
            context: read_context(r)?,
            owed: r.list(NodeId::decode)?,
            lives: r.list(|r| Ok((NodeId::decode(r)?, Incarnation::decode(r)?)))?,
            missed: r.list(NodeId::decode)?,
            next_hint: r.u64()?,
            floors: r.list(|r| Ok((NodeId::decode(r)?, Process::decode(r)?, r.u64()?)))?,
            dropped_decisions: r.u64()?,
            promise: r.option(|r| Ok((r.u64()?, read_context(r)?)))?,
            promised: r.u64()?,
            collected: r.u64()?,
            ring: if has_ring { r.u64()? } else { 0 },
            given_out: if has_ring { r.u64()? } else { 0 },
        })
    }
}

/// A checkpoint that is being written.
///
/// Invariant: of what there was when it began, everything in front of the three places was written or is gone.
#[derive(Debug)]
pub struct Checkpoint {
    kept: VecDeque<(RequestId, Kept)>,
    next_hint: u64,
    /// Hints from this one on came later, and are in the log.
    hints_end: u64,
    /// `None` behind the last place.
    place: Option<u64>,
}

impl Checkpoint {
    /// Nothing while a walk is under way.
    pub fn begin(durable: &Durable) -> Option<(Checkpoint, Logged)> {
        if durable.copy.is_taking() {
            return None;
        }
        let kept = durable.minted.iter().map(|(request, kept)| (request, kept.clone())).collect();
        let checkpoint = Checkpoint { kept, next_hint: 0, hints_end: durable.hints.next(), place: Some(0) };
        Some((checkpoint, Logged::Begin(Head::of(durable))))
    }
    /// Writes on for about so many bytes; true at the end.
    pub fn step(
        &mut self,
        durable: &Durable,
        bytes_max: usize,
        mut write: impl FnMut(&Logged) -> usize,
    ) -> bool {
        let mut bytes = 0;
        while bytes < bytes_max {
            if let Some((request, kept)) = self.kept.pop_front() {
                bytes += write(&Logged::Kept { request, kept });
            } else if let Some((number, hint)) = durable.hints.from(self.next_hint, self.hints_end) {
                self.next_hint = number + 1;
                bytes += write(&Logged::Change(Record::Hint { number, hint: hint.clone() }));
            } else if let Some(first) = self.place {
                let (span, entries) = durable.copy.part(Span { first, last: u64::MAX }, bytes_max - bytes);
                self.place = span.last.checked_add(1);
                bytes += write(&Logged::Keys { span, entries });
            } else {
                write(&Logged::End);
                return true;
            }
        }
        false
    }
}

/// The state that a log adds up to, record by record.
#[derive(Clone, Default, Debug)]
pub struct Restoring {
    /// Nothing before the first checkpoint has ended.
    whole: Option<Durable>,
    /// Of a checkpoint whose end was not met yet.
    building: Option<Durable>,
}

impl Restoring {
    pub fn take(&mut self, logged: &Logged) {
        match logged {
            Logged::Change(record) => {
                for state in [&mut self.whole, &mut self.building].into_iter().flatten() {
                    state.apply(record);
                }
            }
            Logged::Begin(head) => {
                self.building = Some(head.begin());
            }
            Logged::Kept { request, kept } => {
                if let Some(state) = &mut self.building {
                    state.remember(*request, kept.clone());
                }
            }
            Logged::Keys { span, entries } => {
                if let Some(state) = &mut self.building {
                    state.copy.replace(*span, entries);
                }
            }
            Logged::End => {
                if let Some(state) = self.building.take() {
                    self.whole = Some(state);
                }
            }
        }
    }
    /// What the log adds up to; nothing of a log that holds no whole checkpoint.
    pub fn finish(self) -> Option<Durable> {
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::causal::{Actor, Minter, Object, Step, Write};
    use data::{Expiry, GroupId};

    const SEED: Seed = Seed(3, 4);

    struct Log {
        durable: Durable,
        records: Vec<Vec<u8>>,
        minter: Minter,
    }

    impl Log {
        fn new() -> Log {
            let actor = Actor { node: NodeId(1), incarnation: Incarnation(1), shard: GroupId(1) };
            let mut log =
                Log { durable: Durable::new(SEED, true), records: Vec::new(), minter: Minter::new(actor, 0) };
            log.checkpoint(1 << 20, |_| {});
            log
        }
        fn push(&mut self, logged: &Logged) -> usize {
            let mut bytes = Vec::new();
            logged.encode(&mut Writer::new(&mut bytes));
            assert_eq!(Logged::decode(&bytes).as_ref(), Ok(logged));
            self.records.push(bytes);
            64
        }
        fn change(&mut self, record: Record) {
            self.durable.apply(&record);
            self.push(&Logged::Change(record));
        }
        fn set(&mut self, key: &str, stamp: u64) {
            let nothing = Object::default();
            let object = self.durable.copy.object(key.as_bytes()).unwrap_or(&nothing).clone();
            let mut write = Write::new(&mut self.minter, Stamp(stamp));
            let delta = match stamp % 3 {
                0 => object.delete(&mut write),
                _ => object.set(&mut write, 0, &stamp.to_le_bytes(), Expiry::Keep),
            };
            let request = RequestId { origin: NodeId(2), process: Process(1), sequence: stamp };
            let key = key.as_bytes().into();
            self.change(Record::Mint { request, key, delta, outcome: Outcome::Done });
        }
        /// `between`: what happens between two steps.
        fn checkpoint(&mut self, bytes_max: usize, mut between: impl FnMut(&mut Log)) -> bool {
            let Some((mut checkpoint, begin)) = Checkpoint::begin(&self.durable) else { return false };
            self.push(&begin);
            loop {
                let durable = self.durable.clone();
                if checkpoint.step(&durable, bytes_max, |logged| self.push(logged)) {
                    return true;
                }
                between(self);
            }
        }
        fn restored(&self, from: usize) -> Option<Durable> {
            let mut restoring = Restoring::default();
            for record in &self.records[from..] {
                restoring.take(&Logged::decode(record).expect("what was written"));
            }
            restoring.finish()
        }
        fn check(&self, from: usize) {
            let restored = self.restored(from).expect("a whole checkpoint");
            assert_eq!(restored.copy, self.durable.copy);
            assert_eq!(restored.copy.tree(), self.durable.copy.tree());
            assert_eq!(restored.copy.newest(), self.durable.copy.newest());
            assert_eq!(restored.copy.unsettled(), self.durable.copy.unsettled());
            assert_eq!(restored.hints().len(), self.durable.hints().len());
            assert_eq!(restored.hints().next(), self.durable.hints().next());
            assert_eq!(restored.lives, self.durable.lives);
            let kept = |durable: &Durable| durable.minted.iter().map(|(id, _)| id).collect::<BTreeSet<_>>();
            assert_eq!(kept(&restored), kept(&self.durable));
        }
    }

    #[test]
    fn a_checkpoint_holds_what_changed_while_it_was_written() {
        let mut log = Log::new();
        let mut stamp = 0;
        let mut write = |log: &mut Log, many: u64| {
            for _ in 0..many {
                stamp += 1;
                log.set(&alloc::format!("key{}", stamp * 7 % 23), stamp);
            }
        };
        write(&mut log, 60);
        log.change(Record::Life { peer: NodeId(3), incarnation: Incarnation(2) });
        let before = log.records.len();
        assert!(log.checkpoint(100, |log| write(log, 3)));
        log.check(0);
        // What precedes it is not needed.
        log.check(before);
        write(&mut log, 5);
        log.check(before);
    }

    #[test]
    fn one_without_an_end_is_nothing() {
        let mut log = Log::new();
        (1..30).for_each(|stamp| log.set("key", stamp));
        let whole = log.durable.clone();
        let (mut checkpoint, begin) = Checkpoint::begin(&log.durable).expect("no walk");
        log.push(&begin);
        assert!(!checkpoint.step(&whole, 1, |logged| log.push(logged)));
        log.check(0);
        let mut rest = log.records.split_off(0);
        let cut = rest.len() - 2;
        log.records = rest.split_off(cut);
        assert!(log.restored(0).is_none(), "and alone it is no copy");
    }

    #[test]
    fn it_waits_for_a_walk() {
        let mut log = Log::new();
        log.set("key", 1);
        log.change(Record::Step(Step::Begin { theirs: Context::new() }));
        assert!(!log.checkpoint(100, |_| {}));
        log.change(Record::Step(Step::Abandon));
        assert!(log.checkpoint(100, |_| {}));
    }
}
