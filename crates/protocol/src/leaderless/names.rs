//! Which keys there are, as r copies know it together: their names, and how many they are.
//!
//! One copy may lack a key, or still have one that was deleted. So r copies are asked about the same leaves of their hash trees
//! ([`data::causal::HashTree`]). Where the sums agree, the copies hold the same, and the names that one of them tells are
//! the answer, as if each key had been read at r. Where they do not, the names in that leaf are in doubt: whoever
//! asked reads each of them by itself (`read`), which repairs them too.
//!
//! A page is a row of whole leaves. Where a key lies follows from its name and the keyspace's seed alone, so a place in the
//! row means the same on every copy, under every ring and after every restart: it is the cursor of a walk over all
//! keys. A key that is there from the beginning of a walk to its end is met, and met once.
//!
//! Only replicas are asked: a stand-in holds some keys, and can say nothing of the others.
// catalogue: K3 K10 K14

use super::coordinator::{Level, Output, ReadReceipt, Reply, Request, Ring, Task};
use super::message::{Message, Why};
use super::quorum::Placement;
use super::replica::Replica;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use data::causal::{FAN_OUT, Kind, LEAVES, Range, Span, Summaries, Summary};
use data::codec::{DecodeError, Reader, Writer};
use data::plant::{self, Bug};
use data::value::Blob;
use data::{NodeId, RequestId};

/// Bytes of names in one page; its last leaf may go beyond. A guess: a page is one message.
const PAGE_BYTES_MAX: usize = 256 << 10;

/// Keys that a copy looks at for one answer, those without a value too; the last leaf of a page may go beyond. A guess: some
/// milliseconds of a turn.
const LOOKS_MAX: u64 = 65_536;

/// A key that has a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    pub key: Blob,
    /// The type that a reader is shown.
    pub kind: Kind,
    /// A reader sees the key until then, ms since 1970.
    pub expires_at_ms: Option<i64>,
}

/// The names in one leaf, and the leaf's sum at the same moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    pub leaf: u32,
    pub summary: Summary,
    pub names: Vec<Name>,
}

/// A part of the places that one answer does not settle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsettled {
    pub range: Range,
    /// Keys in it, of the copy that has the most; those without a value that deletes left count too.
    pub entries: u64,
}

impl Name {
    fn encode(&self, w: &mut Writer<'_>) {
        w.bytes(&self.key);
        w.u8(self.kind as u8);
        w.option(self.expires_at_ms, |w, at_ms| w.u64(at_ms as u64));
    }
    fn decode(r: &mut Reader<'_>) -> Result<Name, DecodeError> {
        Ok(Name {
            key: r.bytes()?.into(),
            kind: Kind::of(r.u8()?).ok_or(DecodeError::Invalid("type of a key"))?,
            expires_at_ms: r.option(|r| Ok(r.u64()? as i64))?,
        })
    }
}

impl Leaf {
    pub(super) fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.leaf);
        self.summary.encode(w);
        w.list(&self.names, |w, name| name.encode(w));
    }
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Leaf, DecodeError> {
        Ok(Leaf { leaf: r.u32()?, summary: Summary::decode(r)?, names: r.list(Name::decode)? })
    }
}

impl Replica {
    /// Names in the leaves from `first`, `count_max` of them and what else lies in the last leaf, at most through the leaf
    /// `through`.
    pub(super) fn tell_names(&self, request: RequestId, first: u32, through: u32, count_max: u32) -> Message {
        if let Some(why) = self.refusal() {
            return Message::Refused { request, why };
        }
        let through = through.min(LEAVES - 1);
        let (Some(begin), Some(end)) = (Range::leaf(first), Range::leaf(through)) else {
            return Message::Refused { request, why: Why::Declined };
        };
        let copy = &self.durable.copy;
        let mut leaves: Vec<Leaf> = Vec::new();
        let (mut count, mut bytes, mut looks, mut last) = (0, 0, 0, through);
        let span = Span { first: begin.span().first, last: end.span().last };
        let entries = (first <= through).then(|| copy.entries(span));
        for (place, key, held) in entries.into_iter().flatten() {
            let range = Range::leaf_of(place);
            let (leaf, _) = range.leaves();
            if leaves.last().is_none_or(|before| before.leaf != leaf) {
                if count >= u64::from(count_max.max(1)) || bytes > PAGE_BYTES_MAX || looks > LOOKS_MAX {
                    last = leaf - 1;
                    break;
                }
                leaves.push(Leaf { leaf, summary: copy.tree().summary(range), names: Vec::new() });
            }
            looks += 1;
            if let Some(part) = held.object.shown()
                && let Some(Leaf { names, .. }) = leaves.last_mut()
            {
                let expires_at_ms = held.object.expires_at_ms();
                names.push(Name { key: key.clone(), kind: part.kind(), expires_at_ms });
                count += 1;
                bytes += key.len() + 16;
            }
        }
        Message::Named { request, last, leaves }
    }
    /// How many keys a reader sees at this time in each range in `range`; of those that hold too much only the sums.
    pub(super) fn tell_count(&self, request: RequestId, range: Range, now_ms: i64) -> Message {
        if let Some(why) = self.refusal() {
            return Message::Refused { request, why };
        }
        let copy = &self.durable.copy;
        let Some(sums) = copy.tree().children(range) else {
            return Message::Refused { request, why: Why::Declined };
        };
        let mut looks = 0;
        let shown = range.children().zip(&sums).map(|(child, summary)| {
            looks += summary.entries;
            let counts = looks <= LOOKS_MAX;
            counts.then(|| {
                let seen = copy.entries(child.span()).filter(|(.., held)| held.object.is_shown(now_ms));
                seen.count() as u64
            })
        });
        let shown = shown.collect();
        Message::Counted { request, sums: Box::new(sums), shown }
    }
}

/// What r copies are asked.
#[derive(Clone, Copy)]
pub(super) enum Question {
    Names { first: u32, through: u32, count_max: u32 },
    Count { range: Range, now_ms: i64 },
}

enum Answer {
    Names { last: u32, leaves: BTreeMap<u32, Leaf> },
    Count { sums: Box<Summaries>, shown: Vec<Option<u64>> },
}

pub(super) struct Listing {
    question: Question,
    asked: BTreeSet<NodeId>,
    answers: BTreeMap<NodeId, Answer>,
}

impl Listing {
    pub fn new(question: Question) -> Listing {
        Listing { question, asked: BTreeSet::new(), answers: BTreeMap::new() }
    }
    /// The word of a replica that is none any more may be older than what others have acknowledged since.
    // bugs: LL-18
    pub fn place(&mut self, placement: &Placement) {
        self.answers.retain(|node, _| placement.is_replica(*node));
        self.asked.retain(|node| placement.is_replica(*node));
    }
    /// Asks as many as are needed; all of them if `everybody`.
    fn ask(&mut self, id: RequestId, level: Level, everybody: bool, ring: &Ring<'_>, out: &mut Vec<Output>) {
        let nodes = ring.replicas();
        let count = if everybody { nodes.len() } else { level.required };
        for to in nodes.into_iter().take(count) {
            self.asked.insert(to);
            if self.answers.contains_key(&to) {
                continue;
            }
            let message = match self.question {
                Question::Names { first, through, count_max } => {
                    Message::Names { request: id, first, through, count_max }
                }
                Question::Count { range, now_ms } => Message::Count { request: id, range, now_ms },
            };
            out.push(Output::Send { to, message });
        }
    }
    /// Takes an answer in, if it is one to what was asked.
    fn note(&mut self, from: NodeId, message: Message) {
        if !self.asked.contains(&from) {
            return;
        }
        let answer = match (self.question, message) {
            (Question::Names { first, through, .. }, Message::Named { last, leaves, .. })
                if (first..=through).contains(&last) =>
            {
                let leaves = leaves.into_iter().filter(|leaf| (first..=last).contains(&leaf.leaf));
                Answer::Names { last, leaves: leaves.map(|leaf| (leaf.leaf, leaf)).collect() }
            }
            (Question::Count { .. }, Message::Counted { sums, shown, .. }) if shown.len() == FAN_OUT => {
                Answer::Count { sums, shown }
            }
            _ => return,
        };
        self.answers.entry(from).or_insert(answer);
    }
    fn conclude(&self, required: usize) -> Reply {
        let replicas = self.answers.keys().copied().collect();
        let receipt = ReadReceipt { required, replicas, stand_ins: Vec::new(), stale: Vec::new() };
        match self.question {
            Question::Names { through, .. } => {
                let (last, names, doubtful) = self.names(through);
                Reply::Names { last, names, doubtful, receipt }
            }
            Question::Count { range, .. } => {
                let (count, left) = self.count(range);
                Reply::Count { count, left, receipt }
            }
        }
    }
    /// How far all pages reach, the names that are settled there, and those that are in doubt.
    fn names(&self, through: u32) -> (u32, Vec<Name>, Vec<Blob>) {
        let pages: Vec<(u32, &BTreeMap<u32, Leaf>)> = self
            .answers
            .values()
            .filter_map(
                |it| if let Answer::Names { last, leaves } = it { Some((*last, leaves)) } else { None },
            )
            .collect();
        let last = pages.iter().map(|(last, _)| *last).min().unwrap_or(through);
        let all = pages.iter().flat_map(|(_, leaves)| leaves.keys().copied());
        let all: BTreeSet<u32> = all.filter(|leaf| *leaf <= last).collect();
        let (mut names, mut doubtful) = (Vec::new(), BTreeSet::new());
        for leaf in all {
            let held = || pages.iter().map(|(_, leaves)| leaves.get(&leaf));
            let sum = |it: Option<&Leaf>| it.map_or(Summary::default(), |it| it.summary);
            let first = held().next().flatten();
            if held().all(|it| sum(it) == sum(first)) || plant::is(Bug::ListsOneCopy) {
                names.extend(first.into_iter().flat_map(|it| it.names.iter().cloned()));
            } else {
                doubtful.extend(held().flatten().flat_map(|it| &it.names).map(|name| name.key.clone()));
            }
        }
        (last, names, doubtful.into_iter().collect())
    }
    /// How many keys the copies agree on, and where they do not, or were not counted.
    fn count(&self, range: Range) -> (u64, Vec<Unsettled>) {
        let counts: Vec<(&Summaries, &Vec<Option<u64>>)> = self
            .answers
            .values()
            .filter_map(
                |it| if let Answer::Count { sums, shown } = it { Some((&**sums, shown)) } else { None },
            )
            .collect();
        let (mut count, mut left) = (0, Vec::new());
        for (at, range) in range.children().enumerate() {
            let sums = || counts.iter().map(|(sums, _)| sums[at]);
            let first = sums().next().unwrap_or_default();
            let counted = counts.iter().find_map(|(_, shown)| shown[at]);
            match counted.filter(|_| sums().all(|sum| sum == first)) {
                Some(shown) => count += shown,
                None => {
                    left.push(Unsettled { range, entries: sums().map(|sum| sum.entries).max().unwrap_or(0) })
                }
            }
        }
        (count, left)
    }
}

impl Request {
    pub(super) fn start_listing(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Task::List(listing) = &mut self.task else { return true };
        listing.ask(self.id, self.level, false, ring, out);
        false
    }
    pub(super) fn receive_listing(&mut self, from: NodeId, message: Message, out: &mut Vec<Output>) -> bool {
        let Task::List(listing) = &mut self.task else { return true };
        listing.note(from, message);
        if listing.answers.len() < self.level.required {
            return false;
        }
        let reply = listing.conclude(self.level.required);
        self.reply(reply, out);
        true
    }
    pub(super) fn resend_listing(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Task::List(listing) = &mut self.task else { return true };
        listing.ask(self.id, self.level, true, ring, out);
        false
    }
    pub(super) fn expire_listing(&mut self, out: &mut Vec<Output>) {
        let Task::List(listing) = &self.task else { return };
        let (required, alive) = (self.level.required, listing.answers.len());
        self.reply(Reply::NoQuorum { required, alive }, out);
    }
}
