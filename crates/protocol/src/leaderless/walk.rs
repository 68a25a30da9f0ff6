//! Anti-entropy: a replica walks over another copy and exchanges what differs.
//!
//! # Who sends what
//!
//! | the walker | sends of a span that differs | is answered |
//! |---|---|---|
//! | lacks far more than it has to tell | nothing, under an empty context, which says nothing | what the other one holds |
//! | otherwise | what it holds, under its context | what the other one holds now, unless that is what it was just sent |
//!
//! The first case is that of a copy that was away. It does not wait for its disk between a part that came and the next question, which
//! says nothing of itself, and asks for the next span while one is on its way. What it has to tell, and deletes that make no dots, the
//! other one learns of in its own walk. While it takes much, nobody else begins a walk over it: they would bring the same once more.
// catalogue: K14 K15
// bugs: LL-19, LL-20, LL-21

use super::durable::Record;
use super::message::Message;
use super::replica::{Output, Replica, Report};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use data::causal::{Context, Entry, Held, Range, Span, Step, Summaries, Summary};
use data::codec::Writer;
use data::{Incarnation, Instant, NodeId};

/// Messages without an answer after which a walk is given up.
const TRIES_MAX: u32 = 5;
/// Keys of both copies, as their sums count them, that one exchange takes together. A guess: some hundreds of kilobytes.
const TOGETHER_MAX: u64 = 4096;
/// So few keys of both copies are sent rather than looked into: sixteen sums take as many bytes. A guess.
const FEW: u64 = 16;
/// A walker only takes where the other copy knows of so many times the writes that it knows of alone. A guess: under load each always
/// has a few that are on their way to the other.
const FAR_AHEAD: u64 = 16;
/// Questions for keys on their way at a time, from a walker that only takes: while one part is joined here the next one is gathered
/// there. So few, because each is answered with up to a whole message of keys.
const QUESTIONS_MAX: usize = 2;
/// Records that wait for the disk before such a walker waits for it too: what came with walks takes no more memory than so many
/// messages. A guess: sixteen parts of a walk.
const UNWRITTEN_MAX: u64 = 32;
/// Where one copy has so many times the keys of the other one, nearly all of them differ: sums below would only say so.
const LOPSIDED: u64 = 5;

/// What a walk cost.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Sums that were compared.
    pub hashes: u64,
    /// Spans whose keys were exchanged.
    pub spans: u64,
    /// Keys that came.
    pub keys: u64,
    /// Bytes of sums that came, and of keys in both directions.
    pub bytes: u64,
}

/// What is left to do. `keys` are those of both copies.
enum Todo {
    /// The sums within a range that differs.
    Range { range: Range, keys: u64 },
    /// The keys of a span that differs.
    Span { span: Span, keys: u64 },
}

/// What was asked and is not answered.
struct Question {
    message: Message,
    /// Of a question for keys.
    span: Option<Span>,
}

/// A walk that is under way.
pub struct Walk {
    id: u64,
    peer: NodeId,
    /// Of the peer, from its first answer on.
    incarnation: Option<Incarnation>,
    is_ready: bool,
    /// Under which it began: when the peer told its sums.
    ring: u64,
    theirs: Context,
    /// The peer was far ahead when the walk began.
    only_takes: bool,
    todo: Vec<Todo>,
    /// Nothing between an answer and the next question. Only questions for keys are ever more than one.
    asked: Vec<Question>,
    /// When something was asked or answered last.
    at: Instant,
    tries: u32,
    /// Of the last range above leaves all leaves differed: its neighbours are exchanged unseen, as many as go together.
    is_dense: bool,
    tally: Tally,
}

/// Whether the keys of a range that differs are exchanged without a look at the sums in it. What a peer says may be any number.
fn is_taken_whole(ours: u64, theirs: u64) -> bool {
    let is_lopsided = ours.min(theirs).saturating_mul(LOPSIDED) <= ours.max(theirs);
    let keys = ours.saturating_add(theirs);
    keys <= FEW || (is_lopsided && keys <= TOGETHER_MAX)
}

/// Whether nearly all that only one of the two copies knows of is known to the first one.
fn is_far_ahead(theirs: &Context, ours: &Context) -> bool {
    let both = theirs.meet(ours).dots();
    let (lacking, alone) = (theirs.dots().saturating_sub(both), ours.dots().saturating_sub(both));
    lacking > 0 && alone.saturating_mul(FAR_AHEAD) <= lacking
}

impl Walk {
    /// Whether a span touches the next one that is to be exchanged, or would.
    fn ends_before_next(&self, span: Span) -> bool {
        matches!(self.todo.last(), Some(Todo::Span { span: next, .. }) if span.last.checked_add(1) == Some(next.first))
    }
    /// Puts a span on top of what is left, together with its neighbour there if both are small.
    fn push_span(&mut self, mut span: Span, mut keys: u64) {
        if let Some(Todo::Span { span: next, keys: more }) = self.todo.last()
            && span.last.checked_add(1) == Some(next.first)
            && keys.saturating_add(*more) <= TOGETHER_MAX
        {
            (span.last, keys) = (next.last, keys.saturating_add(*more));
            self.todo.pop();
        }
        self.todo.push(Todo::Span { span, keys });
    }
    /// Where nearly every leaf differs, ranges above leaves join the span in front of them without a look at their sums.
    fn take_dense(&mut self) {
        if !core::mem::take(&mut self.is_dense) {
            return;
        }
        let mut taken: Option<(Span, u64)> = None;
        while let Some(todo) = self.todo.last() {
            let (mut span, mut keys) = match todo {
                Todo::Range { range, keys } if range.is_above_leaves() => (range.span(), *keys),
                Todo::Span { span, keys } => (*span, *keys),
                Todo::Range { .. } => break,
            };
            if let Some((before, some)) = taken {
                keys = keys.saturating_add(some);
                if before.last.checked_add(1) != Some(span.first) || keys > TOGETHER_MAX {
                    break;
                }
                span.first = before.first;
            }
            self.todo.pop();
            taken = Some((span, keys));
        }
        if let Some((span, keys)) = taken {
            self.todo.push(Todo::Span { span, keys });
        }
    }
}

impl Replica {
    pub(super) fn tick_walk(&mut self, now: Instant, out: &mut Vec<Output>) {
        if !self.placement.is_replica(self.life.node) || self.is_paused {
            return;
        }
        match &mut self.walk {
            None if now >= self.walk_at => self.begin_walk(now, out),
            None => {}
            Some(walk) if walk.asked.is_empty() && now >= walk.at => self.ask_next(now, out),
            Some(walk) if walk.asked.is_empty() => {}
            Some(walk) if now < walk.at + self.limits.resend_after => {}
            Some(walk) if walk.tries >= TRIES_MAX => self.abandon(now, out),
            Some(walk) => {
                let asked: Vec<Message> = walk.asked.iter().map(|it| it.message.clone()).collect();
                let peer = walk.peer;
                walk.at = now;
                walk.tries += 1;
                asked.into_iter().for_each(|message| self.ask(peer, message, out));
            }
        }
    }
    /// A question that says nothing of this copy does not wait for the disk, unless that has too much to write already.
    fn ask(&mut self, peer: NodeId, message: Message, out: &mut Vec<Output>) {
        let says_nothing = match &message {
            Message::WalkAsk { .. } => true,
            Message::WalkSpan { entries, context, .. } => entries.is_empty() && context.is_empty(),
            _ => false,
        };
        if says_nothing && self.token.saturating_sub(self.persisted) <= UNWRITTEN_MAX {
            out.push(Output::Send { to: peer, message });
        } else {
            self.say(peer, message, out);
        }
    }
    /// Copies that this one must be compared with come first, the others in turn.
    fn begin_walk(&mut self, now: Instant, out: &mut Vec<Output>) {
        let others: Vec<NodeId> =
            self.others().into_iter().filter(|node| self.alive.contains(node)).collect();
        let missing = |node: &&NodeId| !self.durable.is_ready && !self.rebuilt_from.contains(node);
        let owed = |node: &&NodeId| self.durable.owed.contains(node) || self.awaits(**node);
        let in_turn = others.get(self.walks as usize % others.len().max(1));
        // Every other turn in turn: a peer that never answers must not hold up all others.
        let first = if self.walks.is_multiple_of(2) {
            others.iter().find(missing).or_else(|| others.iter().find(owed))
        } else {
            let urgent: Vec<&NodeId> = others.iter().filter(|node| missing(node) || owed(node)).collect();
            urgent.get(self.walks as usize / 2 % urgent.len().max(1)).copied()
        };
        self.walks += 1;
        let Some(peer) = first.or(in_turn).copied() else {
            self.walk_at = now + self.limits.resend_after;
            return;
        };
        let id = (self.life.process.0 << 32) + self.walks;
        let asked = Message::WalkBegin { walk: id, context: self.durable.copy.context().clone() };
        self.walk = Some(Walk {
            id,
            peer,
            incarnation: None,
            is_ready: false,
            ring: 0,
            theirs: Context::new(),
            only_takes: false,
            todo: Vec::new(),
            asked: vec![Question { message: asked.clone(), span: None }],
            at: now,
            tries: 0,
            is_dense: false,
            tally: Tally::default(),
        });
        self.say(peer, asked, out);
    }
    fn end_walk(&mut self, now: Instant) -> Option<Walk> {
        let awaited = self.walk.as_ref().is_some_and(|walk| {
            self.others()
                .iter()
                .any(|node| *node != walk.peer && self.alive.contains(node) && self.awaits(*node))
        });
        let is_urgent = !self.durable.is_ready || !self.durable.owed.is_empty() || awaited;
        self.walk_at = now + if is_urgent { self.limits.walk_gap } else { self.limits.walk_every };
        self.walk.take()
    }
    fn abandon(&mut self, now: Instant, out: &mut Vec<Output>) {
        if let Some(walk) = self.end_walk(now) {
            self.walk_at = now + self.limits.resend_after;
            self.step(Step::Abandon, out);
            out.push(Output::Report(Report::WalkAbandoned { peer: walk.peer }));
        }
    }

    pub(super) fn walk_message(
        &mut self,
        now: Instant,
        from: NodeId,
        incarnation: Incarnation,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        if !self.placement.is_replica(self.life.node) {
            return out.push(Output::Report(Report::Dropped("a walk over no replica")));
        }
        match message {
            Message::WalkBegin { .. } if self.takes_much_from_another(from) => {
                out.push(Output::Report(Report::Dropped("this copy takes much from another one")));
            }
            Message::WalkBegin { walk, context } => {
                if !self.note_context(from, incarnation, &context, out) {
                    return out.push(Output::Report(Report::Dropped("of an earlier life")));
                }
                self.settle();
                let sums = self.durable.copy.tree().children(Range::WHOLE).unwrap_or_default();
                let (context, is_ready) = (self.durable.copy.context().clone(), self.durable.is_ready);
                self.say(from, Message::WalkBegun { walk, sums: Box::new(sums), context, is_ready }, out);
            }
            Message::WalkAsk { walk, range } => {
                let Some(sums) = self.durable.copy.tree().children(range) else {
                    return out.push(Output::Report(Report::Dropped("sums of a leaf")));
                };
                self.say(from, Message::WalkSums { walk, range, sums: Box::new(sums) }, out);
            }
            Message::WalkSpan { walk, span, entries, context } => {
                let answer = match self.take_span(span, entries, context, out) {
                    Taken::Same => Message::WalkBack { walk, span, entries: vec![], context: Context::new() },
                    Taken::Differs => {
                        let (span, entries, _) = self.part(span);
                        let context = self.durable.copy.context().clone();
                        Message::WalkBack { walk, span, entries, context }
                    }
                };
                self.say(from, answer, out);
            }
            Message::WalkBegun { walk, sums, context, is_ready }
                if self.is_answer(walk, from, incarnation) =>
            {
                self.begun(now, incarnation, &sums, context, is_ready, out);
            }
            Message::WalkSums { walk, range, sums } if self.is_answer(walk, from, incarnation) => {
                let question = Message::WalkAsk { walk, range };
                let asked = self.walk.as_mut().map(|walk| &mut walk.asked);
                let at = asked.as_ref().and_then(|asked| asked.iter().position(|it| it.message == question));
                if let (Some(asked), Some(at)) = (asked, at) {
                    asked.remove(at);
                    self.compare(range, &sums, out);
                    self.answered(now, out);
                }
            }
            Message::WalkBack { walk, span, entries, context } if self.is_answer(walk, from, incarnation) => {
                self.exchanged(now, span, entries, context, out);
            }
            _ => out.push(Output::Report(Report::Dropped("of another walk"))),
        }
    }
    fn takes_much_from_another(&self, peer: NodeId) -> bool {
        let takes = |walk: &Walk| walk.only_takes && walk.peer != peer && walk.tally.keys > TOGETHER_MAX;
        self.walk.as_ref().is_some_and(takes)
    }
    /// Another life of the peer holds less than the one whose context was noted: its word ends the walk.
    fn is_answer(&self, id: u64, from: NodeId, incarnation: Incarnation) -> bool {
        self.walk.as_ref().is_some_and(|walk| {
            let same_life = walk.incarnation.is_none_or(|known| known == incarnation);
            walk.id == id && walk.peer == from && same_life && !walk.asked.is_empty()
        })
    }
    fn begun(
        &mut self,
        now: Instant,
        incarnation: Incarnation,
        sums: &Summaries,
        theirs: Context,
        is_ready: bool,
        out: &mut Vec<Output>,
    ) {
        let peer = match &mut self.walk {
            Some(walk) if walk.incarnation.is_none() => {
                walk.incarnation = Some(incarnation);
                walk.is_ready = is_ready;
                walk.ring = self.placement.ring;
                walk.theirs = theirs.clone();
                walk.only_takes = is_far_ahead(&theirs, self.durable.copy.context());
                walk.asked.clear();
                walk.tally.hashes += sums.len() as u64;
                walk.peer
            }
            _ => return,
        };
        if !self.note_context(peer, incarnation, &theirs, out) {
            return self.abandon(now, out);
        }
        if self.durable.copy.tree().children(Range::WHOLE).as_ref() == Some(sums) {
            if !self.durable.copy.context().covers(&theirs) {
                self.step(Step::Take { theirs }, out);
            }
            return self.finish(now, out);
        }
        self.step(Step::Begin { theirs }, out);
        if let Some(walk) = &mut self.walk {
            walk.tally.hashes -= sums.len() as u64;
        }
        self.compare(Range::WHOLE, sums, out);
        self.answered(now, out);
    }
    /// Ranges with equal sums are done, the others to be looked into.
    fn compare(&mut self, range: Range, theirs: &Summaries, out: &mut Vec<Output>) {
        let Some(ours) = self.durable.copy.tree().children(range) else { return };
        let (mut equal, mut empty) = (Vec::new(), Vec::new());
        if let Some(walk) = &mut self.walk {
            walk.tally.hashes += theirs.len() as u64;
            walk.tally.bytes += (theirs.len() * size_of::<Summary>()) as u64;
            walk.is_dense = range.is_above_leaves();
            // The first range lies on top.
            for (at, child) in range.children().enumerate().collect::<Vec<_>>().into_iter().rev() {
                let mut span = child.span();
                if ours[at] == theirs[at] {
                    if ours[at].entries == 0 && (!empty.is_empty() || walk.ends_before_next(span)) {
                        empty.push(span);
                    } else {
                        walk.is_dense &= ours[at].entries == 0;
                        equal.append(&mut empty);
                        equal.push(span);
                    }
                } else if child.is_leaf() || is_taken_whole(ours[at].entries, theirs[at].entries) {
                    // With the empty ranges between it and its neighbour the two are one.
                    span.last = empty.first().map_or(span.last, |next: &Span| next.last);
                    empty.clear();
                    walk.push_span(span, ours[at].entries.saturating_add(theirs[at].entries));
                } else {
                    equal.append(&mut empty);
                    let keys = ours[at].entries.saturating_add(theirs[at].entries);
                    walk.todo.push(Todo::Range { range: child, keys });
                }
            }
        }
        equal.append(&mut empty);
        equal.into_iter().for_each(|span| self.step(Step::Pass { span }, out));
    }
    fn exchanged(
        &mut self,
        now: Instant,
        span: Span,
        entries: Vec<Entry>,
        theirs: Context,
        out: &mut Vec<Output>,
    ) {
        let Some(walk) = &mut self.walk else { return };
        // A span begins where it was asked for, and goes no further.
        let is_of = |it: &Span| it.first == span.first && span.last <= it.last;
        let at = walk.asked.iter().position(|question| question.span.as_ref().is_some_and(is_of));
        let Some(asked) = at.and_then(|at| walk.asked.remove(at).span) else {
            return out.push(Output::Report(Report::Dropped("another span")));
        };
        walk.tally.spans += 1;
        walk.tally.keys += entries.len() as u64;
        let mut scratch = Vec::new();
        walk.tally.bytes +=
            entries.iter().map(|it| length(&it.key, &it.held, &mut scratch) as u64).sum::<u64>();
        if span.last < asked.last {
            // How many keys are left in it nobody has said: it goes by itself.
            let span = Span { first: span.last + 1, last: asked.last };
            walk.todo.push(Todo::Span { span, keys: TOGETHER_MAX });
        }
        // Under an empty context nothing is said: it is as this copy told.
        if !entries.is_empty() || !theirs.is_empty() {
            self.step(Step::Span { span, entries, theirs }, out);
            self.observe_copy();
        }
        self.step(Step::Pass { span }, out);
        self.answered(now, out);
    }
    fn answered(&mut self, now: Instant, out: &mut Vec<Output>) {
        let gap = self.limits.walk_gap;
        let Some(walk) = &mut self.walk else { return };
        walk.tries = 0;
        walk.at = now + gap;
        if gap.is_zero() && !self.is_paused {
            self.ask_next(now, out);
        }
    }
    /// Asks for what comes next, and where that is of no consequence for it for more.
    fn ask_next(&mut self, now: Instant, out: &mut Vec<Output>) {
        while let Some(walk) = &mut self.walk {
            if !walk.asked.is_empty() {
                let is_ahead = self.limits.walk_gap.is_zero() && walk.only_takes;
                let of_keys = walk.asked.iter().all(|question| question.span.is_some());
                let next = matches!(walk.todo.last(), Some(Todo::Span { .. }));
                if !is_ahead || !of_keys || !next || walk.asked.len() >= QUESTIONS_MAX {
                    return;
                }
            }
            let (id, peer, only_takes) = (walk.id, walk.peer, walk.only_takes);
            walk.take_dense();
            let (message, span) = match walk.todo.pop() {
                None => {
                    self.step(Step::Finish, out);
                    return self.finish(now, out);
                }
                Some(Todo::Range { range, .. }) => (Message::WalkAsk { walk: id, range }, None),
                Some(Todo::Span { span, .. }) if only_takes => {
                    let context = Context::new();
                    (Message::WalkSpan { walk: id, span, entries: vec![], context }, Some(span))
                }
                Some(Todo::Span { span, keys }) => {
                    let (part, entries, bytes) = self.part(span);
                    if let Some(walk) = &mut self.walk {
                        walk.tally.bytes += bytes as u64;
                        if part.last < span.last {
                            let rest = Span { first: part.last + 1, last: span.last };
                            walk.todo.push(Todo::Span { span: rest, keys });
                        }
                    }
                    let context = self.durable.copy.context().clone();
                    (Message::WalkSpan { walk: id, span: part, entries, context }, Some(part))
                }
            };
            if let Some(walk) = &mut self.walk {
                walk.asked.push(Question { message: message.clone(), span });
                walk.at = now;
            }
            self.ask(peer, message, out);
        }
    }
    /// Joins what a walker holds in a span; whether it holds the same then as this copy does.
    fn take_span(
        &mut self,
        span: Span,
        entries: Vec<Entry>,
        theirs: Context,
        out: &mut Vec<Output>,
    ) -> Taken {
        if entries.is_empty() && theirs.is_empty() {
            // It only takes, or has nothing.
            return Taken::Differs;
        }
        let at = out.len();
        self.step(Step::Span { span, entries, theirs }, out);
        self.observe_copy();
        let Some(Output::Persist { record: Record::Step(Step::Span { entries, theirs, .. }), .. }) =
            out.get(at)
        else {
            return Taken::Differs;
        };
        let mut theirs_in_order = entries.iter();
        let mut held = self.durable.copy.entries(span);
        let is_same = held.all(|(_, key, held)| {
            theirs_in_order.next().is_some_and(|entry| {
                entry.key == *key && entry.held.object == held.object && theirs.covers(&held.recent)
            })
        });
        if is_same && theirs_in_order.next().is_none() { Taken::Same } else { Taken::Differs }
    }
    fn finish(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some(walk) = self.end_walk(now) else { return };
        self.walked(walk.peer, walk.ring, walk.is_ready, out);
        let awaited = self.others().iter().any(|node| self.alive.contains(node) && self.awaits(*node));
        if self.durable.is_ready && self.durable.owed.is_empty() && !awaited {
            self.walk_at = now + self.limits.walk_every;
        }
        out.push(Output::Report(Report::Walked { peer: walk.peer, tally: walk.tally }));
    }
    /// The keys at the beginning of a span, as many as a message carries, how far they reach, and their bytes.
    fn part(&self, span: Span) -> (Span, Vec<Entry>, usize) {
        let mut entries: Vec<(u64, Entry)> = Vec::new();
        let (mut bytes, mut scratch) = (0, Vec::new());
        for (place, key, held) in self.durable.copy.entries(span) {
            let length = length(key, held, &mut scratch);
            let before = entries.last().map(|(place, _)| *place);
            // Keys at one place stay together.
            if bytes + length > self.limits.part_bytes_max
                && let Some(before) = before.filter(|before| *before < place)
            {
                let part = Span { first: span.first, last: before };
                return (part, entries.into_iter().map(|(_, entry)| entry).collect(), bytes);
            }
            bytes += length;
            entries.push((place, Entry { key: key.clone(), held: held.clone() }));
        }
        (span, entries.into_iter().map(|(_, entry)| entry).collect(), bytes)
    }
}

/// What a walker's span came to.
enum Taken {
    /// This copy holds in it what the walker holds.
    Same,
    Differs,
}

/// What a key takes in a message.
fn length(key: &[u8], held: &Held, scratch: &mut Vec<u8>) -> usize {
    scratch.clear();
    let writer = &mut Writer::new(scratch);
    data::causal::encode_store(&held.object, writer);
    held.recent.encode(writer);
    scratch.len() + key.len()
}
