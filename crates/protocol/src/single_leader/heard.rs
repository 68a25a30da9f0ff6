//! What followers say: how far they hold the log, where it parts from the leader's, who cannot go on.

use super::io::{DropReason, Output, Report};
use super::message::Holding;
use super::progress::{Feeding, Mode, Progress, RESEND_AFTER};
use super::replica::{Replica, Role};
use alloc::vec::Vec;
use core::time::Duration;
use data::plant::{self, Bug};
use data::view;
use data::{Epoch, Index, Instant, NodeId, Position};

/// Refusals of one pipeline of messages are one event. A guess: longer than a pipeline, shorter than anybody waits.
const PART_EVERY: Duration = Duration::from_millis(20);
/// At least so long it stays so; then the first word through the link ends it.
const LINK_AGAIN: Duration = Duration::from_millis(300);

impl Replica {
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
    pub(super) fn progress_of(
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
