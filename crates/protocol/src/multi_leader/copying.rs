//! State transfer: a site copies another one's state as of one moment, in parts, while both go on working.
//!
//! The giver freezes nothing: it keeps the old value of whatever is overwritten before its place was sent. The taker keeps
//! the parts apart in its log and joins them in one step when all are there, so that nobody sees an effect without its
//! cause meanwhile. A part is asked for when the one before is here; leaders that follow go on where the log ends.
// catalogue: I3
// bugs: ML-04, ML-22

use super::exchange::{Exchange, Output, Report};
use super::link::Link;
use super::message::Message;
use super::record::{Change, Record, Staged};
use super::state::Staging;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::causal::{Context, Entry, Held, Span, encode_store};
use data::codec::Writer;
use data::plant::{self, Bug};
use data::value::Blob;
use data::{Instant, Now, OriginVector, SiteId};

/// Questions without an answer after which a copy is given up. A guess.
const TRIES_MAX: u32 = 5;

/// A copy that this site takes.
#[derive(Debug)]
pub(super) struct Copying {
    pub peer: SiteId,
    /// The taker's number of its question.
    ask: u64,
    /// The giver's number of the copy, once it has begun. A question that arrives twice begins two copies, of two moments: their
    /// parts must never be put together.
    copy: Option<u64>,
    asked: Option<Instant>,
    tries: u32,
}

impl Copying {
    /// Goes on where a leader before this one stopped.
    pub fn resume(staging: &Staging) -> Copying {
        Copying { peer: staging.from, ask: 0, copy: Some(staging.copy), asked: None, tries: 0 }
    }
}

/// A copy that this site gives.
#[derive(Debug)]
pub(super) struct Serving {
    ask: u64,
    copy: u64,
    context: Context,
    vector: OriginVector,
    homes: Vec<(u16, SiteId, u64)>,
    /// So many records were proposed then: it is true when they are committed.
    proposed: u64,
    is_begun: bool,
    /// The place that was not sent yet; nothing when all were.
    next: Option<u64>,
    /// What lay at places that are still to be sent and has been overwritten since.
    before: BTreeMap<(u64, Blob), Option<Held>>,
    before_bytes: u64,
    last: Option<Staged>,
    /// That part was asked for, and waits for bandwidth.
    is_due: bool,
    /// When a part was sent last, or the copy was asked for.
    sent_at: Instant,
}

/// What a key takes in a message.
fn length(key: &[u8], held: &Held) -> u64 {
    let mut bytes = Vec::new();
    encode_store(&held.object, &mut Writer::new(&mut bytes));
    (bytes.len() + key.len() + 16) as u64
}

/// Taking.
impl Exchange {
    pub(super) fn tick_copy(&mut self, now: Now, out: &mut Vec<Output>) {
        let resend_after = self.limits.resend_after;
        let Some(copying) = &mut self.copying else {
            self.resume_copies(now, out);
            return self.begin_copy(now.instant, out);
        };
        if copying.asked.is_some_and(|at| now.instant.since(at) < resend_after) {
            return;
        }
        copying.tries += 1;
        // A giver that hears this site has the next part under way, or says that the copy is gone.
        let is_given = copying.copy.is_some()
            && self.links.get(&copying.peer).is_some_and(|link| {
                link.is_up(now.instant, self.limits.dead_after)
                    && link.hears().is_some_and(|hears| hears.contains(&self.me.site))
            });
        if copying.tries > TRIES_MAX && !is_given {
            return self.abandon_copy(out);
        }
        self.ask_copy(now.instant, out);
    }
    /// The time has come that was too far ahead in the state of a peer.
    fn resume_copies(&mut self, now: Now, out: &mut Vec<Output>) {
        let ahead_ms_max = self.limits.ahead_ms_max.max(0);
        for (site, link) in &mut self.links {
            let has_come = |ms: &mut i64| ms.saturating_sub(now.wall.latest_ms) <= ahead_ms_max;
            if link.copy_ahead.take_if(has_come).is_some() && link.stopped.is_none() {
                out.push(Output::Report(Report::Resumed { peer: *site }));
            }
        }
    }
    /// Asks for what comes next of the copy under way.
    fn ask_copy(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some(copying) = &mut self.copying else { return };
        let staging = self.state.staging.as_ref().filter(|staging| copying.copy == Some(staging.copy));
        let message = match staging.map(|staging| (staging.copy, staging.next())) {
            None => Message::CopyAsk { ask: copying.ask },
            Some((copy, Some(first))) => Message::CopyPartAsk { copy, first },
            // All parts are here.
            Some((_, None)) => return self.end_copy(out),
        };
        copying.asked = Some(now);
        out.push(Output::Send { to: copying.peer, message });
    }
    fn begin_copy(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (dead_after, copy_after) = (self.limits.dead_after, self.limits.copy_after);
        let wanted = |link: &Link| {
            let is_lacking =
                link.status.as_ref().is_some_and(|it| it.is_ready && !self.state.vector.covers(&it.vector));
            let is_beyond = link.beyond_since.is_some_and(|since| now.since(since) >= copy_after);
            !self.state.is_ready || (is_lacking && (link.has_overflowed || is_beyond))
        };
        let can = |link: &Link| {
            let is_ready = link.status.as_ref().is_some_and(|status| status.is_ready);
            link.is_up(now, dead_after) && is_ready && link.copy_ahead.is_none()
        };
        let mut from = self.links.iter().filter(|(_, link)| can(link) && wanted(link)).map(|(site, _)| *site);
        // In turn, so that one that never answers does not hold up a site that joins.
        let from: Vec<SiteId> = from.by_ref().collect();
        let Some(peer) = from.get(self.copies as usize % from.len().max(1)).copied() else { return };
        self.copies += 1;
        let ask = (self.me.epoch.0 << 32) + self.copies;
        self.copying = Some(Copying { peer, ask, copy: None, asked: None, tries: 0 });
        out.push(Output::Report(Report::CopyStarted { from: peer }));
        self.ask_copy(now, out);
    }
    fn abandon_copy(&mut self, out: &mut Vec<Output>) {
        if let Some(copying) = self.copying.take() {
            out.push(Output::Report(Report::CopyAbandoned { from: copying.peer }));
        }
    }
    fn is_copying(&self, from: SiteId, copy: u64) -> bool {
        self.copying.as_ref().is_some_and(|copying| copying.peer == from && copying.copy == Some(copy))
    }
    pub(super) fn copy_gone(&mut self, from: SiteId, copy: u64, out: &mut Vec<Output>) {
        // A giver that cannot begin answers with the number of the question.
        if self.is_copying(from, copy)
            || self.copying.as_ref().is_some_and(|it| it.peer == from && it.ask == copy)
        {
            self.abandon_copy(out);
        }
    }
    pub(super) fn copy_begun(
        &mut self,
        now: Instant,
        from: SiteId,
        (ask, copy): (u64, u64),
        context: Context,
        vector: OriginVector,
        out: &mut Vec<Output>,
    ) {
        let is_asked =
            |copying: &&mut Copying| copying.peer == from && copying.ask == ask && copying.copy.is_none();
        let Some(copying) = self.copying.as_mut().filter(is_asked) else {
            return out.push(Output::Report(Report::Dropped("of another copy")));
        };
        copying.copy = Some(copy);
        self.propose(Record::CopyBegin { from, copy, context, vector }, out);
        self.heard_copy(now, out);
    }
    fn heard_copy(&mut self, now: Instant, out: &mut Vec<Output>) {
        if let Some(copying) = &mut self.copying {
            copying.tries = 0;
        }
        self.ask_copy(now, out);
    }
    pub(super) fn copy_part(
        &mut self,
        now: Now,
        from: SiteId,
        copy: u64,
        part: Staged,
        out: &mut Vec<Output>,
    ) {
        let staging = self.state.staging.as_ref().filter(|staging| staging.copy == copy);
        let is_next = staging.is_some_and(|staging| staging.next() == Some(part.span.first));
        if !self.is_copying(from, copy) || !is_next || part.span.last < part.span.first {
            return out.push(Output::Report(Report::Dropped("a part that is not asked for")));
        }
        let newest = part.entries.iter().filter_map(|entry| {
            use data::causal::Store;
            entry.held.object.newest().map(|mark| mark.stamp)
        });
        if let Some(newest) = newest.max()
            && let Err(ahead) = self.clock.observe(newest, now.wall)
        {
            if let Some(link) = self.links.get_mut(&from) {
                link.copy_ahead = Some(newest.ms());
            }
            out.push(Output::Report(Report::Stopped { peer: from, by_ms: ahead.by_ms }));
            return self.abandon_copy(out);
        }
        self.propose(Record::CopyPart(Box::new(part)), out);
        self.heard_copy(now.instant, out);
    }
    fn end_copy(&mut self, out: &mut Vec<Output>) {
        let Some(copying) = self.copying.take() else { return };
        let Some(vector) = self.state.staging.as_ref().map(|staging| staging.vector.clone()) else { return };
        self.propose(Record::CopyEnd { vector }, out);
        for link in self.links.values_mut() {
            link.has_overflowed = false;
            link.beyond_since = None;
        }
        out.push(Output::Report(Report::CopyDone { from: copying.peer }));
        self.forget_late();
        self.drain(out);
    }
}

/// Giving.
impl Exchange {
    pub(super) fn serve(&mut self, now: Instant, to: SiteId, ask: u64, out: &mut Vec<Output>) {
        if !self.state.is_ready {
            return out.push(Output::Send { to, message: Message::CopyGone { copy: ask } });
        }
        if self.serving.get(&to).is_some_and(|serving| serving.ask > ask) {
            return out.push(Output::Report(Report::Dropped("an old question for a copy")));
        }
        if self.serving.get(&to).is_none_or(|serving| serving.ask != ask) {
            self.served += 1;
            let copy = (self.me.epoch.0 << 32) + self.served;
            let homes = self.state.homes.iter().map(|(slot, (home, moves))| (*slot, *home, *moves));
            let serving = Serving {
                ask,
                copy,
                context: self.state.copy.context().clone(),
                vector: self.state.vector.clone(),
                homes: homes.collect(),
                proposed: self.proposed,
                is_begun: false,
                next: Some(0),
                before: BTreeMap::new(),
                before_bytes: 0,
                last: None,
                is_due: false,
                sent_at: now,
            };
            self.serving.insert(to, serving);
        } else if let Some(serving) = self.serving.get_mut(&to) {
            serving.is_begun = false;
        }
        self.begin_served(out);
    }
    /// Tells of copies whose writes are all committed by now: what is not may still be lost here.
    pub(super) fn begin_served(&mut self, out: &mut Vec<Output>) {
        for (to, serving) in &mut self.serving {
            let is_true = serving.proposed <= self.done || plant::is(Bug::CopiesProposed);
            if !serving.is_begun && is_true {
                serving.is_begun = true;
                let (ask, copy) = (serving.ask, serving.copy);
                let (context, vector) = (serving.context.clone(), serving.vector.clone());
                out.push(Output::Send {
                    to: *to,
                    message: Message::CopyBegun { ask, copy, context, vector },
                });
            }
        }
    }
    pub(super) fn serve_part(
        &mut self,
        now: Instant,
        to: SiteId,
        (copy, first): (u64, u64),
        out: &mut Vec<Output>,
    ) {
        // The taker must not wait longer for one than it has patience.
        let rate = self.limits.bandwidth_bytes_per_s.unwrap_or(u64::MAX);
        let patience_ms = self.limits.resend_after.as_millis() as u64;
        let part_bytes_max = self.limits.part_bytes_max.min(rate.saturating_mul(patience_ms) / 1_000);
        let gone = Output::Send { to, message: Message::CopyGone { copy } };
        let Some(serving) = self.serving.get_mut(&to).filter(|serving| serving.copy == copy) else {
            return out.push(gone);
        };
        if serving.last.as_ref().is_none_or(|last| last.span.first != first) {
            if serving.next != Some(first) {
                return out.push(gone);
            }
            let part = serving.part(&self.state.copy, first, part_bytes_max);
            serving.last = Some(part);
        } else if now.since(serving.sent_at) < self.limits.resend_after
            && !self.links.get(&to).is_some_and(Link::may_send)
            && self.limits.bandwidth_bytes_per_s.is_some()
        {
            // Asked for again: it is on its way, or waits to be.
            return;
        }
        serving.is_due = true;
        self.send_parts(now, out);
    }
    /// What was asked for, as far as bandwidth allows. Before writes of the same link, which would else take all of it.
    pub(super) fn send_parts(&mut self, now: Instant, out: &mut Vec<Output>) {
        for (to, serving) in self.serving.iter_mut().filter(|(_, serving)| serving.is_due) {
            let Some(part) = &serving.last else { continue };
            if let Some(link) = self.links.get_mut(to) {
                if self.limits.bandwidth_bytes_per_s.is_some() && !link.may_send() {
                    continue;
                }
                link.spend(part.bytes);
            }
            (serving.is_due, serving.sent_at) = (false, now);
            let message = Message::CopyPart { copy: serving.copy, part: Box::new(part.clone()) };
            out.push(Output::Send { to: *to, message });
        }
    }
    /// Whether a copy is not sent to its end, as far as anybody still asks for it.
    pub(super) fn is_giving(&self, now: Instant) -> bool {
        let is_asked = |serving: &Serving| now.since(serving.sent_at) < self.limits.dead_after;
        self.serving.values().any(|serving| serving.is_due || serving.next.is_some() && is_asked(serving))
    }
    /// Keeps what a record is about to overwrite for the copies that are being given.
    pub(super) fn keep_before(&mut self, record: &Record) {
        if self.serving.is_empty() || plant::is(Bug::CopiesAsItGoes) {
            return;
        }
        let deltas = match record {
            Record::Write(write) => match &write.change {
                Change::Deltas(deltas) => deltas,
                Change::HandOver { .. } => return,
            },
            // All keys may change: these copies begin anew.
            Record::CopyEnd { .. } => return self.serving.clear(),
            Record::CopyBegin { .. }
            | Record::CopyPart(_)
            | Record::Claim { .. }
            | Record::Unclaim { .. } => return,
        };
        let (copy, bytes_max) = (&self.state.copy, self.limits.before_bytes_max);
        self.serving.retain(|_, serving| {
            for (key, _) in deltas {
                let name = (copy.place(key), key.clone());
                if serving.next.is_some_and(|next| name.0 >= next) && !serving.before.contains_key(&name) {
                    let held = copy.held(key).cloned();
                    serving.before_bytes += held.as_ref().map_or(64, |held| length(key, held) + 64);
                    serving.before.insert(name, held);
                }
            }
            serving.before_bytes <= bytes_max
        });
    }
}

impl Serving {
    /// The part that begins at this place, as everything was when the copy began.
    fn part(&mut self, copy: &data::causal::ShardCopy, first: u64, bytes_max: u64) -> Staged {
        let mut found: BTreeMap<(u64, Blob), Held> = BTreeMap::new();
        let (mut bytes, mut last) = (0, u64::MAX);
        for (place, key, held) in copy.entries(Span { first, last: u64::MAX }) {
            // Keys at one place stay together.
            if bytes > bytes_max && found.last_key_value().is_some_and(|(name, _)| name.0 < place) {
                last = place - 1;
                break;
            }
            bytes += length(key, held);
            found.insert((place, key.clone()), held.clone());
        }
        let late = self.before.split_off(&(first, Blob::default()));
        for (name, held) in late {
            if name.0 > last {
                self.before.insert(name, held);
                continue;
            }
            match held {
                Some(held) => {
                    found.insert(name, held);
                }
                None => {
                    found.remove(&name);
                }
            }
        }
        let bytes = found.iter().map(|((_, key), held)| length(key, held)).sum();
        let kept = self.before.iter();
        self.before_bytes =
            kept.map(|((_, key), held)| held.as_ref().map_or(64, |it| length(key, it) + 64)).sum();
        self.next = last.checked_add(1);
        let entries = found.into_iter().map(|((_, key), held)| Entry { key, held }).collect();
        let homes = if last == u64::MAX { core::mem::take(&mut self.homes) } else { Vec::new() };
        Staged { span: Span { first, last }, entries, homes, bytes }
    }
}
