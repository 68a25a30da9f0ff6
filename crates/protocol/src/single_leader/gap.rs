//! `COMMIT best-effort`: a follower that has more to come than the backlog allows goes on without it.
//!
//! Its leader keeps nothing for it: it sends a `gap` record in place of everything that is committed, and goes on behind it. The
//! follower's log has the record where others have the entries, with the same rolling hash, so whatever comes next fits. Its *table*
//! lacks what the entries did. A copy is *whole* when its table lacks the same as its leader's: the entry that begins an epoch tells
//! what that is ([`data::gaps::Gaps`]), so a leader that was told to go on without entries once is whole, and everybody else is not,
//! until it was made anew from that leader.
//!
//! *Invariants:* a gap covers committed entries only, and never the first entry of its leader's own epoch; a copy takes one only of the leader of a view whose rule is `best-effort`, and
//! only behind the very entry that its log ends with; the rule of such a group changes only when all members have said, in this
//! epoch and behind the last gap that they were sent, that they are whole (bugs: TC-80, TC-81).
// catalogue: C4

use super::io::{DropReason, Output, Report};
use super::leader::Leader;
use super::message::Message;
use super::progress::Mode;
use super::replica::{IN_FLIGHT_BYTES_MAX, Replica, Role, WINDOW_BYTES_MAX};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::gaps::{Gap, Gaps};
use data::keyspace::CommitRule;
use data::plant::{self, Bug};
use data::record::{Header, Kind, Record};
use data::view::{self, View};
use data::{Epoch, Index, Instant, NodeId, Position, RequestId};

/// A follower tells whether it is whole this often. A guess: less than anybody waits for a change of settings.
const TELLS_EVERY: Duration = Duration::from_millis(200);
/// And what it has told already this often: the message may be lost.
const TELLS_AGAIN: Duration = Duration::from_secs(2);
/// What a planted bug takes for a backlog: small, so that there are gaps.
const PLANTED_BACKLOG_BYTES: usize = 2 << 10;

/// What this copy's table lacks, as the node told last.
#[derive(Debug, Default)]
pub(super) struct Standing {
    lacks: Gaps,
    /// The leader's table lacks the same.
    whole: bool,
    missed: u64,
    told_at: Instant,
    told: Told,
}

/// What a follower told last: to whom, whether it had come to that epoch's first entry, and how it stood.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Told {
    epoch: Epoch,
    has_begun: bool,
    whole: bool,
    missed: u64,
}

/// Whether a group's copies may go on without entries: by the rule that counts and the one that is asked for.
fn allows_gaps(view: &View) -> bool {
    let asked = (view.rule, view.settings.commit);
    asked == (CommitRule::BestEffort, CommitRule::BestEffort) || plant::is(Bug::GapsUnderAnyRule)
}

impl Leader {
    /// Whether every member's copy is known to be whole.
    pub(super) fn all_whole(&self, view: &View, me: NodeId) -> bool {
        let whole = |node: &NodeId| self.followers.get(node).is_some_and(|it| it.is_whole(self.start));
        plant::is(Bug::CountsGapped) || view.members.iter().filter(|node| **node != me).all(whole)
    }
}

impl Replica {
    /// The node tells what its table lacks: all together, and how much of it the leader's table has.
    pub fn note_lacks(&mut self, lacks: &Gaps, whole: bool, missed: u64) {
        self.standing.whole = whole;
        self.standing.missed = missed;
        if self.standing.lacks.digest() != lacks.digest() {
            self.standing.lacks = lacks.clone();
        }
    }
    /// What the first entry of an epoch that this replica leads tells: what the node told, and the gaps behind what it has applied.
    pub(super) fn own_gaps(&self) -> Gaps {
        let mut lacks = self.standing.lacks.clone();
        if self.view.as_ref().is_some_and(allows_gaps) {
            self.log.each(self.applied.next(), self.log.last().position.index, |record| {
                if let Some(gap) = record.gap() {
                    lacks.note(gap.first, record.header.index);
                }
            });
        }
        lacks
    }
    /// Entries that this copy's table lacks and its leader's has, as it was told itself: whoever misses least is elected. One that
    /// misses none and is not whole holds what its leader lacked: it comes behind those that are, or what was lost, and perhaps done
    /// again since, would be there once more.
    pub fn missed(&self) -> u64 {
        let may_differ = self.view.as_ref().is_some_and(|view| view.rule == CommitRule::BestEffort);
        let differs = u64::from(may_differ && !self.standing.whole);
        if self.leads().is_some() { 0 } else { self.standing.missed.max(differs) }
    }
    /// Whether a follower's copy is known to lack nothing that this leader's has. Only under `best-effort` it can.
    pub fn is_whole(&self, node: NodeId) -> bool {
        let (Role::Leader(leader), Some(view)) = (&self.role, &self.view) else { return false };
        let progress = leader.followers.get(&node);
        progress.is_some_and(|it| view.rule != CommitRule::BestEffort || it.is_whole(leader.start))
    }
    /// The last entry that this leader told a follower to go on without.
    pub fn skipped_through(&self, node: NodeId) -> Index {
        let Role::Leader(leader) = &self.role else { return Index(0) };
        leader.followers.get(&node).map_or(Index(0), |it| it.gap_end)
    }
    /// How much this follower's copy lacks by what it and this leader say.
    pub fn missed_by(&self, node: NodeId) -> u64 {
        let Role::Leader(leader) = &self.role else { return 0 };
        leader.followers.get(&node).map_or(0, |it| it.missed)
    }

    /// The most that may be on its way to a follower, bytes.
    pub(super) fn in_flight_max(&self) -> usize {
        match self.view.as_ref().filter(|view| allows_gaps(view)) {
            Some(view) => IN_FLIGHT_BYTES_MAX.min(backlog(view)),
            None => IN_FLIGHT_BYTES_MAX,
        }
    }

    /// Whether this leader may let a follower go on without entries.
    pub(super) fn may_skip(&self, node: NodeId) -> bool {
        let (Role::Leader(leader), Some(view)) = (&self.role, &self.view) else { return false };
        if !allows_gaps(view) {
            return false;
        }
        let life = leader.followers.get(&node).and_then(|it| it.incarnation);
        let counts = life.is_some_and(|incarnation| view.is_electable(view::Replica { node, incarnation }));
        let stays = leader.proposal.as_ref().is_none_or(|proposal| proposal.rule == view.rule);
        leader.ready && counts && stays && leader.preparing.is_none()
    }

    /// Sends a follower a gap in place of what it lacks, if that is more than the backlog; true when it did. The follower's log and
    /// this one agree up to what it is sent next.
    pub(super) fn send_gap(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) -> bool {
        if !self.may_skip(node) {
            return false;
        }
        let (commit, time_ms) = (self.commit, self.log.time_ms());
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return false };
        let Some(progress) = leader.followers.get_mut(&node) else { return false };
        let first = progress.next;
        let lacks_much = self.log.bytes_from(first).is_none_or(|bytes| bytes > backlog(view));
        let before = self.log.epoch_at(first.previous());
        // The first entry of this epoch is never skipped: it tells what this leader lacks and the follower may hold.
        let last = if first < leader.start { leader.start.previous() } else { commit };
        let end = self.log.epoch_at(last).zip(self.log.hash_at(last));
        let (Some(before), Some((epoch, hash))) = (before, end) else { return false };
        if first > commit || first == leader.start || first < progress.matched || !lacks_much {
            return false;
        }
        let starts = self.log.starts().iter().filter(|start| (first..=last).contains(&start.index));
        let gap = Gap { first, starts: starts.copied().collect() };
        let header = Header {
            kind: Kind::Gap,
            keyspace: self.keyspace,
            group: self.group,
            epoch,
            index: last,
            commit,
            time_ms,
            request: RequestId::NONE,
        };
        let mut record = Vec::new();
        Record::write(&mut record, &header, hash, |w| gap.encode(w));
        progress.mode = Mode::Replicate;
        progress.in_flight.push_back((last, record.len()));
        progress.in_flight_bytes += record.len();
        progress.next = last.next();
        progress.told = commit;
        progress.sent_at = now;
        progress.skip(first, last);
        let previous = Position { epoch: before, index: first.previous() };
        let message = Message::Gap { epoch: leader.epoch, previous, commit, record: Bytes::from(record) };
        out.push(Output::Send { to: node, message });
        out.push(Output::Report(Report::Skipped { node, first, last }));
        true
    }

    /// The leader says: go on without these.
    pub(super) fn on_gap(
        &mut self,
        from: NodeId,
        epoch: Epoch,
        previous: Position,
        commit: Index,
        record: Bytes,
        out: &mut Vec<Output>,
    ) {
        if !self.accept_leader(from, epoch, out) {
            return;
        }
        // One of an older view than the leader's, or of a newer one, takes none: it says where its log ends.
        if !self.view.as_ref().is_some_and(|view| view.epoch == epoch && allows_gaps(view)) {
            out.push(Output::Report(Report::Dropped(DropReason::OtherRule)));
            return;
        }
        let parsed = Record::parse(&record).ok().filter(|parsed| parsed.len == record.len());
        let told = parsed.and_then(|parsed| parsed.gap().map(|gap| (gap, parsed.header.position())));
        let Some((gap, end)) = told.filter(|(gap, end)| gap.fits(previous, *end) && end.index <= commit)
        else {
            out.push(Output::Report(Report::Dropped(DropReason::Damaged)));
            return;
        };
        let last = self.log.last().position;
        if self.log.epoch_at(previous.index) != Some(previous.epoch) {
            match previous.index <= self.commit {
                true => self.contradicted(previous.index.previous(), out),
                false => self.tell_end(out),
            }
            return;
        }
        if last.index > previous.index {
            // The log goes on: with what the gap covers, or with what another leader made.
            let begins = gap.starts.first().filter(|start| start.index == gap.first);
            let theirs = begins.map_or(previous.epoch, |start| start.epoch);
            if self.log.epoch_at(gap.first) == Some(theirs) {
                return self.tell_end(out);
            }
            if gap.first <= self.commit {
                return self.contradicted(previous.index, out);
            }
            if !self.may_cut(previous.index, out) || !self.cut(previous.index, out) {
                return;
            }
        }
        if self.log.append(record.clone()).is_err() {
            out.push(Output::Report(Report::Dropped(DropReason::Damaged)));
            return;
        }
        self.persist(record, false, out);
        let Role::Follower(follower) = &mut self.role else { return };
        follower.through_link = false;
        follower.matched = follower.matched.max(end.index);
        let committed = commit.min(follower.matched);
        if committed > self.commit {
            self.commit = committed;
            self.log.shed(WINDOW_BYTES_MAX, committed);
            out.push(Output::Committed(committed));
        }
        out.push(Output::Report(Report::Gap { first: gap.first, last: end.index }));
    }

    /// A follower of a group that may have gaps tells whether its copy is whole.
    pub(super) fn tell_standing(&mut self, now: Instant, out: &mut Vec<Output>) {
        let asks = self.view.as_ref().is_some_and(|view| view.rule == CommitRule::BestEffort);
        if !asks {
            return;
        }
        let (whole, missed, through) = (self.standing.whole, self.standing.missed, self.applied);
        let has_begun = self.log.starts().last().is_some_and(|start| start.index <= through);
        let told = Told { epoch: self.promised, has_begun, whole, missed };
        let pace = if told == self.standing.told { TELLS_AGAIN } else { TELLS_EVERY };
        if now.since(self.standing.told_at) < pace {
            return;
        }
        (self.standing.told_at, self.standing.told) = (now, told);
        self.to_leader(|epoch| Message::Standing { epoch, through, whole, missed }, out);
    }

    pub(super) fn on_standing(
        &mut self,
        now: Instant,
        from: view::Replica,
        epoch: Epoch,
        (through, whole, missed): (Index, bool, u64),
        out: &mut Vec<Output>,
    ) {
        let Some(progress) = self.progress_of(now, from, epoch, out) else { return };
        progress.stands(through, whole, missed);
    }
}

/// Bytes that a follower may have to come.
fn backlog(view: &View) -> usize {
    match plant::is(Bug::GapsUnderAnyRule) {
        true => PLANTED_BACKLOG_BYTES,
        false => view.settings.backlog_bytes as usize,
    }
}
