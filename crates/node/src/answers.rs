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

/// Answers older than so many entries of the log go. A guess: minutes of forwarded writes, against seconds of retries.
const AGE_ENTRIES_MAX: u64 = 200_000;
/// And so do the oldest beyond this many bytes.
const BYTES_MAX: usize = 32 << 20;
/// What an answer takes beside its bytes, roughly.
const OVERHEAD: usize = 96;

#[derive(Clone, Debug)]
struct Answer {
    position: Position,
    reply: Bytes,
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

#[derive(Debug, Default)]
pub struct Answers {
    by_request: BTreeMap<RequestId, Answer>,
    in_order: VecDeque<RequestId>,
    /// Highest sequence trimmed per origin.
    trimmed: BTreeMap<(NodeId, Process), u64>,
    bytes: usize,
    /// A snapshot's walk goes through the answers: nothing is trimmed meanwhile, so that places in `in_order` stay.
    walked: bool,
}

impl Answers {
    pub fn find(&self, request: RequestId) -> Known {
        if plant::is(Bug::ForgetsAnswers) {
            return Known::New;
        }
        if let Some(answer) = self.by_request.get(&request) {
            return Known::Done { position: answer.position, reply: answer.reply.clone() };
        }
        match self.trimmed.get(&(request.origin, request.process)) {
            Some(trimmed) if request.sequence <= *trimmed => Known::TooOld,
            _ => Known::New,
        }
    }
    /// The entry at `position` carried this request and answer.
    pub fn insert(&mut self, request: RequestId, position: Position, reply: &[u8]) {
        if request.is_none() {
            return;
        }
        let reply = Bytes::copy_from_slice(reply);
        self.bytes += reply.len() + OVERHEAD;
        if self.by_request.insert(request, Answer { position, reply }).is_none() {
            self.in_order.push_back(request);
        }
        self.trim(position.index);
    }
    fn trim(&mut self, newest: Index) {
        if self.walked {
            return;
        }
        while let Some(request) = self.in_order.front().copied() {
            let Some(answer) = self.by_request.get(&request) else {
                self.in_order.pop_front();
                continue;
            };
            let old = answer.position.index.0 + AGE_ENTRIES_MAX < newest.0;
            if !old && self.bytes <= BYTES_MAX {
                return;
            }
            self.bytes -= answer.reply.len() + OVERHEAD;
            self.by_request.remove(&request);
            self.in_order.pop_front();
            let trimmed = self.trimmed.entry((request.origin, request.process)).or_default();
            *trimmed = (*trimmed).max(request.sequence);
        }
    }
    /// Takes back the answers of entries after `to`, which were never committed.
    pub fn undo(&mut self, to: Index) {
        while let Some(request) = self.in_order.back().copied() {
            match self.by_request.get(&request) {
                Some(answer) if answer.position.index <= to => return,
                Some(answer) => {
                    self.bytes -= answer.reply.len() + OVERHEAD;
                    self.by_request.remove(&request);
                }
                None => {}
            }
            self.in_order.pop_back();
        }
    }
    /// Begins a walk of a snapshot and writes what is known of answers that are gone.
    pub fn begin_walk(&mut self, w: &mut Writer<'_>) {
        self.walked = true;
        let trimmed: Vec<_> = self.trimmed.iter().collect();
        w.list(&trimmed, |w, ((node, process), sequence)| {
            node.encode(w);
            process.encode(w);
            w.u64(**sequence);
        });
    }
    /// Writes some `budget_bytes` of the answers to entries through `through`, from place `at` on. Returns where to go on,
    /// nothing at the end.
    pub fn walk(&self, at: usize, through: Index, budget_bytes: usize, out: &mut Vec<u8>) -> Option<usize> {
        let mut w = Writer::new(out);
        let mut left = budget_bytes as i64;
        for place in at..self.in_order.len() {
            if left <= 0 {
                return Some(place);
            }
            let request = self.in_order[place];
            let Some(answer) = self.by_request.get(&request) else { continue };
            if answer.position.index > through {
                return None;
            }
            request.encode(&mut w);
            answer.position.encode(&mut w);
            w.bytes(&answer.reply);
            left -= (answer.reply.len() + OVERHEAD) as i64;
        }
        None
    }
    /// The walk is over, finished or not.
    pub fn end_walk(&mut self) {
        self.walked = false;
    }
    /// Reads what [`Answers::begin_walk`] wrote.
    pub fn decode_trimmed(r: &mut Reader<'_>) -> Result<Answers, DecodeError> {
        let mut answers = Answers::default();
        for _ in 0..r.count()? {
            let origin = (NodeId::decode(r)?, Process::decode(r)?);
            let sequence = r.u64()?;
            answers.trimmed.insert(origin, sequence);
        }
        Ok(answers)
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
