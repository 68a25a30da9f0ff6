//! What a leader knows of each follower, and how entries get there: probe, replicate, fetch from disk, offer a snapshot.

use super::log_window::Mark;
use super::message::{Holding, Message};
use super::replica::{
    DropReason, FETCH_BYTES_MAX, IN_FLIGHT_BYTES_MAX, Output, Replica, Report, Role, SEND_BYTES_MAX,
};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::plant::{self, Bug};
use data::record::Record;
use data::view;
use data::{Epoch, Incarnation, Index, Instant, NodeId, Position, ViewNumber};

/// Between two probes of a follower whose log end is unknown. A guess: a few round trips.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Refusals of one pipeline of messages are one event. A guess: longer than a pipeline, shorter than anybody waits.
const PART_EVERY: Duration = Duration::from_millis(20);
/// What a follower lacks goes in messages of at most so many bytes, unless one turn alone made more. A guess: one message
/// and one answer for each turn of the past would cost more than the entries, and more still when one of them is lost.
const RUN_BYTES_MAX: usize = 64 << 10;
/// Entries in flight without any answer for so long were lost: go back to what was acknowledged.
const RESEND_AFTER: Duration = Duration::from_millis(400);
/// A follower that lacks entries and gets nothing through its link for so long is fed by the leader itself. A guess: many round
/// trips, and a third of the time after which it would leave an in-sync set.
const LINK_PATIENCE: Duration = Duration::from_millis(200);
/// More of it for every link on the way to a copy that does not count: there news travels by the clock.
const LINK_PATIENCE_MORE: Duration = Duration::from_millis(150);
/// At least so long it stays so; then the first word through the link ends it.
const LINK_AGAIN: Duration = Duration::from_millis(300);

/// Whom a replica feeds, and with what: the leader all, a follower those behind it by its links.
pub(super) struct Feeding<'a> {
    line: Line,
    followers: &'a mut BTreeMap<NodeId, Progress>,
}

/// What all messages of a feeder have in common.
#[derive(Clone, Copy)]
struct Line {
    epoch: Epoch,
    /// The links' view; `None` for the leader.
    link: Option<ViewNumber>,
    round: u64,
}

impl Role {
    pub(super) fn feeding(&mut self) -> Option<Feeding<'_>> {
        match self {
            Role::Leader(leader) => Some(Feeding {
                line: Line { epoch: leader.epoch, link: None, round: leader.round_sent },
                followers: &mut leader.followers,
            }),
            Role::Follower(follower) => follower.relay.as_mut().map(|relay| Feeding {
                line: Line { epoch: follower.epoch, link: Some(relay.number), round: 0 },
                followers: &mut relay.fed,
            }),
            Role::Sealed(_) | Role::Removed => None,
        }
    }
}

impl Line {
    fn entries(self, previous: Mark, commit: Index, records: Bytes) -> Message {
        let Line { epoch, round, .. } = self;
        let Mark { position: previous, hash: previous_hash } = previous;
        match self.link {
            None => Message::Append { epoch, previous, previous_hash, commit, round, records },
            Some(view) => Message::Feed { view, epoch, previous, previous_hash, commit, records },
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// Where the logs agree is not known: one message at a time.
    Probe,
    Replicate,
    /// Older entries are being read from disk.
    Fetch,
    /// The follower needs, or is taking, a snapshot.
    Snapshot,
}

/// What the leader knows of one follower.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The life that the acknowledgements are of.
    pub incarnation: Option<Incarnation>,
    /// Persisted and equal to the leader's log through here.
    pub matched: Index,
    /// Committed and in its state through here.
    pub applied: Index,
    /// When it last made progress, or had everything.
    pub current_at: Instant,
    next: Index,
    pub(super) mode: Mode,
    in_flight: VecDeque<(Index, usize)>,
    in_flight_bytes: usize,
    sent_at: Instant,
    heard_at: Instant,
    /// When it last said that it does not have what entries were to follow.
    parted_at: Instant,
    /// Where it was found to part last: the next entry then.
    parted_to: Index,
    /// A snapshot for it must lie behind this.
    snapshot_after: Index,
    pub(super) round: u64,
    told: Index,
    pub(super) connected: bool,
    /// By the links it is fed by this other follower.
    feeder: Option<NodeId>,
    /// Nothing came through its link: the leader feeds it itself, since then.
    direct_since: Option<Instant>,
    /// The most that was told of it through its link.
    through_link: Index,
    linked_at: Instant,
    patience: Duration,
}

impl Progress {
    pub(super) fn new(now: Instant, next: Index) -> Progress {
        Progress {
            incarnation: None,
            matched: Index(0),
            applied: Index(0),
            current_at: now,
            next,
            mode: Mode::Probe,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            sent_at: Instant::ZERO,
            heard_at: now,
            parted_at: Instant::ZERO,
            parted_to: Index(0),
            snapshot_after: Index(0),
            round: 0,
            told: Index(0),
            connected: true,
            feeder: None,
            direct_since: None,
            through_link: Index(0),
            linked_at: now,
            patience: LINK_PATIENCE,
        }
    }
    /// Whether its entries come from another follower now.
    fn is_relayed(&self) -> bool {
        self.feeder.is_some() && self.direct_since.is_none()
    }
    /// Gives up its link for a while: the leader finds out where it stands.
    fn feed_directly(&mut self, now: Instant) {
        if self.is_relayed() {
            self.direct_since = Some(now);
            let next = self.matched.next();
            self.probe(next);
        }
    }
    /// What it was told to hold, or holds.
    fn credit(&mut self, now: Instant, matched: Index, applied: Index, last: Index) {
        if matched > self.matched {
            self.matched = matched;
            self.current_at = now;
        }
        if self.matched >= last {
            self.current_at = now;
        }
        self.applied = self.applied.max(applied);
    }
    fn probe(&mut self, next: Index) {
        self.mode = Mode::Probe;
        self.next = next;
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.sent_at = Instant::ZERO;
    }
    /// Whether the follower has not been told yet that the log is committed so far.
    pub(super) fn told_less(&self, commit: Index) -> bool {
        self.told < commit
    }
    /// What an earlier life acknowledged says nothing of this one; how it is linked stays.
    fn begin_anew(&mut self, now: Instant, incarnation: Incarnation) {
        let Progress { feeder, patience, .. } = *self;
        let direct_since = feeder.map(|_| now);
        *self = Progress { feeder, direct_since, patience, ..Progress::new(now, Index(1)) };
        self.incarnation = Some(incarnation);
    }
    /// Older entries come from the leader's disk. Another feeder leaves it to the leader, and looks again later.
    fn fetch(&mut self, now: Instant, node: NodeId, line: Line, out: &mut Vec<Output>) {
        self.mode = Mode::Fetch;
        self.sent_at = now;
        if line.link.is_none() {
            out.push(Output::Fetch { to: node, from: self.next, bytes_max: FETCH_BYTES_MAX });
        }
    }
    /// Whether entries flow and nothing older is missing.
    pub fn is_replicating(&self) -> bool {
        self.mode == Mode::Replicate
    }
}

impl Replica {
    /// The view changed: whom the leader feeds, and whom others do.
    pub(super) fn relink_followers(&mut self, now: Instant) {
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return };
        let me = self.me.node;
        let down: Vec<NodeId> =
            leader.followers.iter().filter(|(_, it)| !it.connected).map(|(node, _)| *node).collect();
        for (node, progress) in &mut leader.followers {
            let feeder = self.links.feeder(*node).filter(|feeder| *feeder != me);
            if feeder.is_none() && progress.feeder.is_none() {
                continue;
            }
            let counts = view.electable.iter().any(|replica| replica.node == *node);
            let more = if counts { 0 } else { self.links.depth(*node) };
            progress.patience = LINK_PATIENCE + LINK_PATIENCE_MORE * more;
            progress.feeder = feeder;
            progress.linked_at = now;
            progress.direct_since = None;
            progress.through_link = Index(0);
            if progress.mode == Mode::Replicate {
                progress.next = progress.matched.next();
                progress.in_flight.clear();
                progress.in_flight_bytes = 0;
            } else if feeder.is_some() && progress.mode != Mode::Probe {
                progress.direct_since = Some(now);
            }
            if feeder.is_some_and(|feeder| down.contains(&feeder)) {
                progress.feed_directly(now);
            }
        }
    }

    /// Through the links the leader hears what a follower holds that it does not feed itself.
    pub(super) fn on_relayed(&mut self, now: Instant, epoch: Epoch, it: &Holding, out: &mut Vec<Output>) {
        let last = self.log.last().position.index;
        let Role::Leader(leader) = &self.role else { return };
        // Of less than the epoch's first entry nobody knows whether it stays.
        if it.matched < leader.start || it.matched > last {
            return;
        }
        let Some(progress) = self.progress_of(now, it.replica, epoch, out) else { return };
        progress.credit(now, it.matched, it.applied, last);
        if it.matched > progress.through_link {
            progress.through_link = it.matched;
            let long = progress.direct_since.is_some_and(|since| now.since(since) >= LINK_AGAIN);
            if long && progress.mode == Mode::Replicate {
                progress.direct_since = None;
            }
        }
        if progress.is_relayed() {
            progress.mode = Mode::Replicate;
            progress.next = progress.matched.next();
            progress.in_flight.clear();
            progress.in_flight_bytes = 0;
        }
        self.confirm_rounds(out);
    }

    pub(super) fn replicate(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Role::Leader(leader) = &mut self.role else { return };
        let nodes: Vec<NodeId> = leader.followers.keys().copied().collect();
        for node in nodes {
            self.send_entries(now, node, out);
        }
    }

    /// Sends a follower what it misses, as far as its share of memory in flight allows.
    pub(super) fn send_entries(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        let commit = self.commit;
        let last = self.fed_through();
        let Some(Feeding { line, followers }) = self.role.feeding() else { return };
        let Some(progress) = followers.get_mut(&node).filter(|it| !it.is_relayed()) else { return };
        let mut sent = 0;
        while progress.mode == Mode::Replicate
            && progress.next <= last
            && progress.in_flight_bytes < IN_FLIGHT_BYTES_MAX
            && sent < SEND_BYTES_MAX
        {
            let Some((previous, mut records, mut end)) = self.log.run_from(progress.next, RUN_BYTES_MAX)
            else {
                progress.fetch(now, node, line, out);
                return;
            };
            if end > last {
                // A follower's log may go on with what its leader's lacks.
                (records, end) = records_through(records, last);
            }
            if progress.in_flight.is_empty() {
                progress.heard_at = now;
            }
            progress.in_flight.push_back((end, records.len()));
            progress.in_flight_bytes += records.len();
            sent += records.len();
            progress.next = end.next();
            progress.told = commit;
            progress.sent_at = now;
            out.push(Output::Send { to: node, message: line.entries(previous, commit, records) });
        }
    }

    /// An `Append` without records: probes, tells the commit index, carries the confirmation round. It follows the last
    /// entry sent, so that a follower that lost one on the way says so at once.
    pub(super) fn send_notice(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        let commit = self.commit;
        let last = self.fed_through();
        let Some(Feeding { line, followers }) = self.role.feeding() else { return };
        let Some(progress) = followers.get_mut(&node) else { return };
        let index = match progress.mode {
            Mode::Probe | Mode::Replicate => progress.next.previous(),
            Mode::Fetch | Mode::Snapshot => progress.matched,
        };
        let index = index.min(last);
        let mark = self.log.epoch_at(index).zip(self.log.hash_at(index));
        let Some((epoch, hash)) = mark else {
            // Older than the window: the entries themselves, read from disk, are the probe.
            if matches!(progress.mode, Mode::Probe | Mode::Replicate) {
                progress.fetch(now, node, line, out);
            }
            return;
        };
        progress.told = commit;
        progress.sent_at = now;
        let previous = Mark { position: Position { epoch, index }, hash };
        out.push(Output::Send { to: node, message: line.entries(previous, commit, Bytes::new()) });
    }

    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        from: view::Replica,
        epoch: Epoch,
        matched: Index,
        applied: Index,
        round: u64,
        out: &mut Vec<Output>,
    ) {
        let last = self.fed_through();
        let matched = matched.min(last);
        let Some(progress) = self.progress_of(now, from, epoch, out) else { return };
        // bugs: SL-18. Only entries have indices: a round that is confirmed moves nothing on.
        let notice = plant::is(Bug::CountsNotices) && round > progress.round;
        let matched = if notice { matched.next().min(last) } else { matched };
        progress.credit(now, matched, applied, last);
        progress.round = progress.round.max(round);
        while let Some((end, bytes)) = progress.in_flight.front().copied()
            && end <= matched
        {
            progress.in_flight.pop_front();
            progress.in_flight_bytes -= bytes;
        }
        match progress.mode {
            // An answer to a probe proves that the logs agree through `matched`, and no more. An answer to something older
            // does not end the wait for a snapshot.
            mode if mode == Mode::Probe
                || (mode == Mode::Snapshot && progress.matched.next() >= progress.next) =>
            {
                progress.mode = Mode::Replicate;
                progress.next = progress.matched.next();
            }
            _ if progress.is_relayed() => progress.next = progress.matched.next(),
            _ => {}
        }
        self.send_entries(now, from.node, out);
        self.advance_commit(now, out);
        self.confirm_rounds(out);
    }

    pub(super) fn on_mismatch(
        &mut self,
        now: Instant,
        from: view::Replica,
        epoch: Epoch,
        last: Position,
        starts: &[Position],
        out: &mut Vec<Output>,
    ) {
        let through = self.fed_through();
        let common = common_end(self.starts_through(through), through, starts, last.index);
        let may_lose = self.may_lose();
        let start = self.start_of(epoch);
        let leads = self.leads().is_some();
        let Some(progress) = self.progress_of(now, from, epoch, out) else { return };
        let next = common.next();
        // Whoever turns to the leader instead of its feeder wants to be fed by it.
        progress.feed_directly(now);
        if may_lose && progress.mode == Mode::Snapshot {
            // Made anew from a snapshot older than what the copy before it had acknowledged.
            progress.matched = progress.matched.min(common);
        }
        if progress.matched < start {
            // Acknowledged without an entry of this epoch: the copy may have restarted since, forgotten that it followed it, and
            // taken more from a former leader.
            progress.matched = progress.matched.min(common);
        }
        // An answer that tells of less than was acknowledged is an old one. Of a copy that lost what it acknowledged it
        // would be true, but such a copy must come back as another life.
        let news = match progress.mode {
            _ if common < progress.matched => false,
            // Every message of a pipeline is refused: the first refusal says all, and answering each with the whole tail
            // would make more of them than there were.
            // One that parts at the same place again (it cannot take what follows) is tried again like one that is silent.
            Mode::Replicate => {
                let again = progress.parted_to == next;
                now.since(progress.parted_at) >= if again { RESEND_AFTER } else { PART_EVERY }
            }
            // A greeting is an answer to no probe, and one was perhaps not heard.
            Mode::Probe => next < progress.next || !leads && now.since(progress.parted_at) >= PART_EVERY,
            Mode::Fetch => false,
            Mode::Snapshot => next >= progress.next,
        };
        if !news {
            return;
        }
        progress.parted_at = now;
        progress.parted_to = next;
        progress.probe(next);
        self.send_notice(now, from.node, out);
    }

    /// A follower has committed what this log lacks: it gets a snapshot.
    pub(super) fn on_stranded(
        &mut self,
        now: Instant,
        from: view::Replica,
        epoch: Epoch,
        cut: Index,
        out: &mut Vec<Output>,
    ) {
        let last = self.log.last().position.index;
        let Some(progress) = self.progress_of(now, from, epoch, out) else { return };
        if progress.mode == Mode::Snapshot && progress.snapshot_after >= cut {
            return;
        }
        progress.feed_directly(now);
        progress.snapshot_after = cut;
        // What it acknowledged goes with the copy.
        progress.matched = Index(0);
        progress.probe(last.next());
        progress.mode = Mode::Snapshot;
        progress.sent_at = now;
        out.push(Output::NeedSnapshot { to: from.node, after: cut });
    }

    /// The follower that a message came from, if it counts: of this epoch, a member, and of its newest life.
    fn progress_of(
        &mut self,
        now: Instant,
        from: view::Replica,
        epoch: Epoch,
        out: &mut Vec<Output>,
    ) -> Option<&mut Progress> {
        let leads = self.leads().is_some();
        let reason = match self.role.feeding() {
            Some(Feeding { line, followers }) if line.epoch == epoch => match followers.get_mut(&from.node) {
                None => DropReason::NotAMember,
                Some(progress) if progress.incarnation.is_some_and(|known| known > from.incarnation) => {
                    DropReason::OtherIncarnation
                }
                Some(progress) => {
                    let known = progress.incarnation.replace(from.incarnation);
                    let other = known.is_some_and(|known| known != from.incarnation);
                    if other && !plant::is(Bug::CountsOtherLife) {
                        // bugs: SL-15. What an earlier life acknowledged says nothing of this one.
                        progress.begin_anew(now, from.incarnation);
                    }
                    progress.heard_at = now;
                    return followers.get_mut(&from.node);
                }
            },
            Some(_) if leads => DropReason::StaleEpoch,
            _ => DropReason::NotLeading,
        };
        out.push(Output::Report(Report::Dropped(reason)));
        None
    }

    pub(super) fn on_fetched(
        &mut self,
        now: Instant,
        to: NodeId,
        from: Mark,
        records: Bytes,
        out: &mut Vec<Output>,
    ) {
        let commit = self.commit;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.followers.get_mut(&to) else { return };
        if progress.mode != Mode::Fetch {
            return;
        }
        if !records.is_empty() && progress.next != from.position.index.next() {
            // An answer to an earlier question.
            out.push(Output::Report(Report::Dropped(DropReason::Overtaken)));
            return;
        }
        let mut end = from.position.index;
        let mut offset = 0;
        // Only what is in the log now: it may have been cut after an earlier leadership asked for these records.
        while let Ok(record) = Record::parse(&records[offset..])
            && record.header.index == end.next()
            && self.log.epoch_at(record.header.index) == Some(record.header.epoch)
        {
            end = record.header.index;
            offset += record.len;
        }
        if offset == 0 {
            progress.mode = Mode::Snapshot;
            progress.sent_at = now;
            out.push(Output::NeedSnapshot { to, after: progress.snapshot_after });
            return;
        }
        progress.mode = Mode::Replicate;
        progress.next = end.next();
        progress.in_flight.push_back((end, offset));
        progress.in_flight_bytes += offset;
        progress.sent_at = now;
        let message = Message::Append {
            epoch: leader.epoch,
            previous: from.position,
            previous_hash: from.hash,
            commit,
            round: leader.round_sent,
            records: records.slice(..offset),
        };
        out.push(Output::Send { to, message });
    }

    pub(super) fn on_snapshot_ready(
        &mut self,
        now: Instant,
        to: NodeId,
        mark: Mark,
        len: u64,
        out: &mut Vec<Output>,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.followers.get_mut(&to) else { return };
        if progress.mode != Mode::Snapshot {
            return;
        }
        progress.next = mark.position.index.next();
        progress.sent_at = now;
        let message = Message::Offer { epoch: leader.epoch, position: mark.position, hash: mark.hash, len };
        out.push(Output::Send { to, message });
    }

    pub(super) fn on_connection(&mut self, now: Instant, node: NodeId, up: bool) {
        let Some(Feeding { line, followers }) = self.role.feeding() else { return };
        if !up && line.link.is_none() {
            let fed = followers.values_mut().filter(|it| it.feeder == Some(node));
            fed.for_each(|it| it.feed_directly(now));
        }
        let Some(progress) = followers.get_mut(&node) else { return };
        progress.connected = up;
        if up {
            progress.heard_at = now;
        } else if progress.incarnation.is_none() {
            // Gone before this leadership began, and never heard under it: the election has waited for it already.
            progress.current_at = Instant::ZERO;
        }
        if progress.mode != Mode::Snapshot {
            let next = progress.matched.next();
            progress.probe(next);
        }
    }

    /// What is due to followers by the clock: probes, resends, the commit index.
    pub(super) fn tend_followers(&mut self, now: Instant, out: &mut Vec<Output>) {
        let commit = self.commit;
        let last = self.fed_through();
        let Some(Feeding { followers, .. }) = self.role.feeding() else { return };
        let mut notices = Vec::new();
        for (node, progress) in followers {
            if progress.connected && progress.matched >= last {
                progress.current_at = now;
            }
            match progress.mode {
                Mode::Probe if now.since(progress.sent_at) >= PROBE_EVERY => notices.push(*node),
                // What it should be told comes through its link, and so does what it says.
                Mode::Replicate if progress.is_relayed() => {
                    let waits = now.since(progress.current_at.max(progress.linked_at));
                    let silent = now.since(progress.sent_at.max(progress.heard_at)) >= RESEND_AFTER;
                    if progress.matched < last && progress.connected && waits >= progress.patience {
                        progress.feed_directly(now);
                        notices.push(*node);
                    } else if progress.applied < commit && silent {
                        notices.push(*node);
                    }
                }
                // Whatever was lost, and even if nothing is known to be on its way: a follower that lacks entries and
                // says nothing is asked again.
                Mode::Replicate
                    if progress.matched < last && now.since(progress.heard_at) >= RESEND_AFTER =>
                {
                    let next = progress.matched.next();
                    progress.probe(next);
                    notices.push(*node);
                }
                Mode::Replicate if progress.told < commit => notices.push(*node),
                // What was told may have been lost, and in a quiet group no entry would tell it again.
                Mode::Replicate
                    if progress.applied < commit && now.since(progress.sent_at) >= RESEND_AFTER =>
                {
                    notices.push(*node);
                }
                Mode::Fetch if now.since(progress.sent_at) >= RESEND_AFTER => {
                    let next = progress.matched.next();
                    progress.probe(next);
                }
                Mode::Snapshot if now.since(progress.sent_at) >= RESEND_AFTER => {
                    progress.sent_at = now;
                    out.push(Output::NeedSnapshot { to: *node, after: progress.snapshot_after });
                }
                _ => {}
            }
        }
        for node in notices {
            self.send_notice(now, node, out);
        }
    }
}

/// As many of these records as stand at or before `through`, and the index of the last of them.
fn records_through(records: Bytes, through: Index) -> (Bytes, Index) {
    let (mut offset, mut end) = (0, through);
    while let Ok(record) = Record::parse(&records[offset..])
        && record.header.index <= through
    {
        offset += record.len;
        end = record.header.index;
    }
    (records.slice(..offset), end)
}

/// Where two logs end to be equal: at the smaller end of the newest epoch that both have (bugs: SL-03, SL-04; KIP-279).
pub(super) fn common_end(mine: &[Position], my_last: Index, theirs: &[Position], their_last: Index) -> Index {
    let end = |starts: &[Position], at: usize, last: Index| {
        starts.get(at + 1).map_or(last, |next| next.index.previous())
    };
    for (at, start) in mine.iter().enumerate().rev() {
        if let Ok(other) = theirs.binary_search_by_key(&start.epoch, |p| p.epoch) {
            return end(mine, at, my_last).min(end(theirs, other, their_last));
        }
    }
    Index(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // bugs: SL-03, SL-04
    #[test]
    fn logs_part_where_their_newest_common_epoch_ends_first() {
        let p = Position::new;
        type Case<'a> = (&'a [Position], u64, &'a [Position], u64, u64);
        let cases: &[Case<'_>] = &[
            (&[p(1, 1)], 10, &[p(1, 1)], 7, 7),
            (&[p(1, 1), p(2, 5)], 9, &[p(1, 1)], 7, 4),
            (&[p(1, 1), p(3, 5)], 9, &[p(1, 1), p(2, 4)], 8, 3),
            (&[p(2, 1)], 9, &[p(1, 1)], 8, 0),
            (&[p(1, 1), p(4, 8)], 9, &[p(1, 1), p(2, 6), p(3, 7)], 12, 5),
        ];
        for (mine, my_last, theirs, their_last, expected) in cases {
            let found = common_end(mine, Index(*my_last), theirs, Index(*their_last));
            assert_eq!(found, Index(*expected), "{mine:?} {theirs:?}");
        }
    }
}
