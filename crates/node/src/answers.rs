//! The table of answers: what was replied to requests that carry an id, so that a forwarded or retried write happens once.
//!
//! It is replicated state: made from the log, kept in snapshots, trimmed by log position, so that every replica has the
//! same table at the same index (bugs: SL-25, TC-07).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use data::codec::{DecodeError, Reader, Writer};
use data::plant::{self, Bug};
use data::{Index, NodeId, Position, Process, RequestId};
use hashbrown::HashTable;
use smallvec::SmallVec;

/// Answers older than so many entries of the log go. A guess: minutes of forwarded writes, against seconds of retries.
const AGE_ENTRIES_MAX: u64 = 200_000;
/// And so do the oldest beyond this many bytes.
const BYTES_MAX: usize = 32 << 20;
/// Clients that choose their own ids and whose answers went are remembered, so many: the one whose last answer went longest
/// ago is forgotten first. A guess: some 30 MB, against a retry that comes when so many other clients were done with.
const CLIENTS_MAX: usize = 1 << 18;
/// What an answer takes beside its bytes, roughly.
const OVERHEAD: usize = 96;
/// Most replies of writes are no longer: they need no allocation.
const REPLY_INLINE: usize = 16;

#[derive(Clone, Debug)]
struct Answer {
    request: RequestId,
    position: Position,
    reply: SmallVec<[u8; REPLY_INLINE]>,
}

impl Answer {
    fn bytes(&self) -> usize {
        self.reply.len() + OVERHEAD
    }
}

/// What the table knows of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Known {
    /// Never seen: it may be executed.
    New,
    /// Executed as this entry, with this reply.
    Done { position: Position, reply: Bytes },
    /// So old that nobody can tell.
    TooOld,
}

/// *Invariant:* `places` names every answer of `in_order` once, by its number since the first ever: `gone` plus its place.
#[derive(Debug, Default)]
pub struct Answers {
    places: HashTable<u64>,
    /// Oldest first.
    in_order: VecDeque<Answer>,
    /// Answers that were in front of `in_order` once.
    gone: u64,
    trimmed: Trimmed,
    bytes: usize,
    /// A snapshot's walk goes through the answers: nothing is trimmed meanwhile, so that places in `in_order` stay.
    walked: bool,
}

/// Highest sequence trimmed per origin. Those of clients are bounded.
#[derive(Debug, Default)]
struct Trimmed {
    origins: BTreeMap<(NodeId, Process), (u64, u64)>,
    /// Clients by when their newest answer went.
    clients: BTreeMap<u64, Process>,
    turn: u64,
}

impl Trimmed {
    fn get(&self, request: RequestId) -> Option<u64> {
        self.origins.get(&(request.origin, request.process)).map(|(sequence, _)| *sequence)
    }
    fn note(&mut self, request: RequestId) {
        let RequestId { origin, process, sequence } = request;
        self.turn += 1;
        let (newest, turn) = self.origins.entry((origin, process)).or_insert((sequence, 0));
        *newest = (*newest).max(sequence);
        let before = core::mem::replace(turn, self.turn);
        if !request.is_by_client() {
            return;
        }
        self.clients.remove(&before);
        self.clients.insert(self.turn, process);
        if self.clients.len() > CLIENTS_MAX
            && let Some((_, oldest)) = self.clients.pop_first()
        {
            self.origins.remove(&(RequestId::BY_CLIENT, oldest));
        }
    }
    /// In the order in which they went: a copy goes on forgetting where this one is.
    fn encode(&self, w: &mut Writer<'_>) {
        let mut origins: Vec<_> = self.origins.iter().collect();
        origins.sort_unstable_by_key(|(_, (_, turn))| *turn);
        w.list(&origins, |w, ((node, process), (sequence, _))| {
            node.encode(w);
            process.encode(w);
            w.u64(*sequence);
        });
    }
    fn decode(r: &mut Reader<'_>) -> Result<Trimmed, DecodeError> {
        let mut trimmed = Trimmed::default();
        for _ in 0..r.count()? {
            let (origin, process) = (NodeId::decode(r)?, Process::decode(r)?);
            trimmed.note(RequestId { origin, process, sequence: r.u64()? });
        }
        Ok(trimmed)
    }
}

/// Spreads request ids. Clients choose sequences: what is mixed in with them is a secret of the keyspace's.
fn hash(request: RequestId) -> u64 {
    let mix = |x: u64| {
        let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    };
    let from = mix(u64::from(request.origin.0) << 48 ^ request.process.0);
    mix(request.sequence ^ from).wrapping_add(from)
}

impl Answers {
    fn place(&self, request: RequestId) -> Option<usize> {
        let (order, gone) = (&self.in_order, self.gone);
        let number =
            self.places.find(hash(request), |number| order[(number - gone) as usize].request == request);
        number.map(|number| (number - gone) as usize)
    }
    pub fn find(&self, request: RequestId) -> Known {
        if plant::is(Bug::ForgetsAnswers) {
            return Known::New;
        }
        if let Some(place) = self.place(request) {
            let answer = &self.in_order[place];
            return Known::Done { position: answer.position, reply: Bytes::copy_from_slice(&answer.reply) };
        }
        match self.trimmed.get(request) {
            Some(trimmed) if request.sequence <= trimmed => Known::TooOld,
            _ => Known::New,
        }
    }
    /// The entry at `position` carried this request and answer.
    pub fn insert(&mut self, request: RequestId, position: Position, reply: &[u8]) {
        if request.is_none() {
            return;
        }
        let answer = Answer { request, position, reply: SmallVec::from_slice(reply) };
        self.bytes += answer.bytes();
        match self.place(request) {
            Some(place) => {
                self.bytes -= self.in_order[place].bytes();
                self.in_order[place] = answer;
            }
            None => {
                let (number, gone) = (self.gone + self.in_order.len() as u64, self.gone);
                self.in_order.push_back(answer);
                let order = &self.in_order;
                let of = |number: &u64| hash(order[(number - gone) as usize].request);
                self.places.insert_unique(hash(request), number, of);
            }
        }
        self.trim(position.index);
    }
    fn trim(&mut self, newest: Index) {
        if self.walked {
            return;
        }
        while let Some(answer) = self.in_order.front() {
            let old = answer.position.index.0 + AGE_ENTRIES_MAX < newest.0;
            if !old && self.bytes <= BYTES_MAX {
                return;
            }
            let request = answer.request;
            self.bytes -= answer.bytes();
            self.forget_place(request, self.gone);
            self.in_order.pop_front();
            self.gone += 1;
            self.trimmed.note(request);
        }
    }
    /// Takes back the answers of entries after `to`, which were never committed.
    pub fn undo(&mut self, to: Index) {
        while let Some(answer) = self.in_order.back() {
            if answer.position.index <= to {
                return;
            }
            let request = answer.request;
            self.bytes -= answer.bytes();
            self.forget_place(request, self.gone + self.in_order.len() as u64 - 1);
            self.in_order.pop_back();
        }
    }
    fn forget_place(&mut self, request: RequestId, number: u64) {
        if let Ok(entry) = self.places.find_entry(hash(request), |it| *it == number) {
            entry.remove();
        }
    }
    /// Begins a walk of a snapshot and writes what is known of answers that are gone.
    pub fn begin_walk(&mut self, w: &mut Writer<'_>) {
        self.walked = true;
        self.trimmed.encode(w);
    }
    /// Writes some `budget_bytes` of the answers to entries through `through`, from place `at` on. Returns where to go on,
    /// nothing at the end.
    pub fn walk(&self, at: usize, through: Index, budget_bytes: usize, out: &mut Vec<u8>) -> Option<usize> {
        if plant::is(Bug::SnapshotForgetsAnswers) {
            return None;
        }
        let mut w = Writer::new(out);
        let mut left = budget_bytes as i64;
        for place in at..self.in_order.len() {
            if left <= 0 {
                return Some(place);
            }
            let answer = &self.in_order[place];
            if answer.position.index > through {
                return None;
            }
            answer.request.encode(&mut w);
            answer.position.encode(&mut w);
            w.bytes(&answer.reply);
            left -= answer.bytes() as i64;
        }
        None
    }
    /// Shows the answers to entries through `through`, from the one of this number on, some `budget_bytes` of them. Returns the
    /// number to go on from, and whether that was all. Numbers of answers that are gone are passed over.
    pub fn each_from(
        &self,
        number: u64,
        through: Index,
        budget_bytes: usize,
        each: &mut dyn FnMut(RequestId, &[u8]),
    ) -> (u64, bool) {
        let (mut number, mut left) = (number.max(self.gone), budget_bytes as i64);
        while let Some(answer) = self.in_order.get((number - self.gone) as usize)
            && answer.position.index <= through
        {
            if left <= 0 {
                return (number, false);
            }
            each(answer.request, &answer.reply);
            left -= answer.bytes() as i64;
            number += 1;
        }
        (number, true)
    }
    /// The walk is over, finished or not.
    pub fn end_walk(&mut self) {
        self.walked = false;
    }
    /// Reads what [`Answers::begin_walk`] wrote.
    pub fn decode_trimmed(r: &mut Reader<'_>) -> Result<Answers, DecodeError> {
        Ok(Answers { trimmed: Trimmed::decode(r)?, ..Answers::default() })
    }
    /// Adds what one step of [`Answers::walk`] wrote.
    pub fn load(&mut self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        while r.remaining() > 0 {
            let request = RequestId::decode(r)?;
            let position = Position::decode(r)?;
            self.insert(request, position, r.bytes()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sequence: u64) -> RequestId {
        RequestId { origin: NodeId(1), process: Process(2), sequence }
    }

    // bugs: SL-25
    #[test]
    fn a_request_is_known_until_it_is_too_old_to_tell() {
        let mut answers = Answers::default();
        assert_eq!(answers.find(request(1)), Known::New);
        answers.insert(request(1), Position::new(1, 10), b":1\r\n");
        let done = Known::Done { position: Position::new(1, 10), reply: Bytes::from_static(b":1\r\n") };
        assert_eq!(answers.find(request(1)), done);
        answers.insert(request(2), Position::new(1, 11 + AGE_ENTRIES_MAX), b"+OK\r\n");
        assert_eq!(answers.find(request(1)), Known::TooOld);
        assert_eq!(answers.find(request(3)), Known::New);
    }

    #[test]
    fn clients_whose_answers_went_long_ago_are_forgotten_in_turn_and_on_every_copy() {
        let of = |client: u64, sequence| RequestId {
            origin: RequestId::BY_CLIENT,
            process: Process(client),
            sequence,
        };
        let mut trimmed = Trimmed::default();
        trimmed.note(request(9));
        (0..CLIENTS_MAX as u64).for_each(|client| trimmed.note(of(client, 5)));
        trimmed.note(of(0, 6));
        let mut bytes = Vec::new();
        trimmed.encode(&mut Writer::new(&mut bytes));
        let copy = Trimmed::decode(&mut Reader::new(&bytes)).expect("own encoding");
        for mut one in [trimmed, copy] {
            one.note(of(CLIENTS_MAX as u64, 1));
            let known = |client| one.get(of(client, 0));
            assert_eq!(
                (known(0), known(1), known(2)),
                (Some(6), None, Some(5)),
                "the one that was silent longest"
            );
            assert_eq!(one.get(request(0)), Some(9), "nodes are few and stay");
        }
    }

    #[test]
    fn answers_of_undone_entries_are_forgotten_and_the_rest_travels() {
        let mut answers = Answers::default();
        answers.insert(request(1), Position::new(1, 10), b"a");
        answers.insert(request(2), Position::new(1, 11), b"b");
        answers.undo(Index(10));
        assert_eq!(answers.find(request(2)), Known::New);
        let mut copy = walked(&mut answers, Index(10), &mut |_| {});
        assert_eq!(copy.find(request(1)), answers.find(request(1)));
        copy.insert(request(2), Position::new(1, 11), b"b");
        assert_eq!(copy.find(request(2)), Known::Done { position: Position::new(1, 11), reply: "b".into() });
    }

    /// A copy as a snapshot carries it, in many small steps with `between` them.
    fn walked(answers: &mut Answers, through: Index, between: &mut dyn FnMut(&mut Answers)) -> Answers {
        let mut head = Vec::new();
        answers.begin_walk(&mut Writer::new(&mut head));
        let mut copy = Answers::decode_trimmed(&mut Reader::new(&head)).expect("own encoding");
        let mut at = Some(0);
        while let Some(place) = at {
            let mut step = Vec::new();
            at = answers.walk(place, through, 200, &mut step);
            copy.load(&mut Reader::new(&step)).expect("own encoding");
            between(answers);
        }
        answers.end_walk();
        copy
    }

    #[test]
    fn a_walk_gives_the_answers_of_its_moment_while_others_come_and_would_go() {
        let mut answers = Answers::default();
        for n in 1..=100 {
            answers.insert(request(n), Position::new(1, n), b"+OK\r\n");
        }
        let mut next = 101;
        let copy = walked(&mut answers, Index(100), &mut |answers| {
            // So far ahead that every earlier one is too old.
            answers.insert(request(next), Position::new(1, next + AGE_ENTRIES_MAX), b"+OK\r\n");
            next += 1;
        });
        assert!(next > 110, "many steps");
        for n in 1..=100 {
            assert!(matches!(copy.find(request(n)), Known::Done { .. }), "{n}");
        }
        assert_eq!(copy.find(request(101)), Known::New);
        answers.insert(request(next), Position::new(1, next + AGE_ENTRIES_MAX), b"+OK\r\n");
        assert_eq!(answers.find(request(1)), Known::TooOld);
    }
}
