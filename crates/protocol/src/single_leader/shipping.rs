//! How entries get to a follower: probe, replicate, fetch from disk, offer a snapshot.

use super::io::{DropReason, Output, Report};
use super::log_window::Mark;
use super::message::Message;
use super::progress::{Feeding, LINK_PATIENCE, LINK_PATIENCE_MORE, Mode, RESEND_AFTER};
use super::replica::{Replica, Role, SEND_BYTES_MAX};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::record::{Kind, Record};
use data::{Index, Instant, NodeId, Position};

/// Between two probes of a follower whose log end is unknown. A guess: a few round trips.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// What a follower lacks goes in messages of at most so many bytes, unless one turn alone made more. A guess: one message
/// and one answer for each turn of the past would cost more than the entries, and more still when one of them is lost.
const RUN_BYTES_MAX: usize = 64 << 10;

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
        let (in_flight_max, skips) = (self.in_flight_max(), self.may_skip(node));
        let mut sent = 0;
        loop {
            let Some(Feeding { line, followers }) = self.role.feeding() else { return };
            let Some(progress) = followers.get_mut(&node).filter(|it| !it.is_relayed()) else { return };
            let wants = progress.mode == Mode::Replicate && progress.next <= last;
            if !wants || progress.in_flight_bytes >= in_flight_max || sent >= SEND_BYTES_MAX {
                return;
            }
            if skips && self.send_gap(now, node, out) {
                continue;
            }
            let Some(Feeding { followers, .. }) = self.role.feeding() else { return };
            let Some(progress) = followers.get_mut(&node) else { return };
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
                progress.sent_at = now;
                if !self.send_gap(now, node, out)
                    && let Some(Feeding { followers, .. }) = self.role.feeding()
                    && let Some(progress) = followers.get_mut(&node)
                {
                    progress.fetch(now, node, line, out);
                }
            }
            return;
        };
        progress.told = commit;
        progress.sent_at = now;
        let previous = Mark { position: Position { epoch, index }, hash };
        out.push(Output::Send { to: node, message: line.entries(previous, commit, Bytes::new()) });
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
            // What this copy lacks itself it cannot send.
            && record.header.kind != Kind::Gap
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
