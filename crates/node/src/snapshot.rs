//! Snapshots of a group: taken by a walk over answers and table that never pauses writers, and pulled piece by piece by a
//! replica whose log ends before the leader's begins.
//!
//! A snapshot stands for a committed position. A leader's table runs ahead of the commit index, so a walk that began at an
//! uncommitted entry is published once that entry is committed, and given up when leadership ends before.
// catalogue: E1, E2, E3

mod form;
mod transfer;

use crate::config::Config;
use crate::group::Group;
use crate::io::{Event, Output};
use crate::node::Node;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use data::codec::Writer;
use data::id::CONTROL_GROUP;
use data::plant::{self, Bug};
use data::{GroupId, Index, Instant, NodeId, Position};
pub use form::{LoadedSnapshot, SnapshotHead};
use protocol::single_leader::{self, Mark};
pub use transfer::Transfer;

/// Bytes written per step of a walk, one step a tick: bounds the pause of a step at a fraction of a millisecond.
const STEP_BYTES: usize = 64 << 10;
/// Entries behind the released part that stay for followers that were away for a short time. A guess.
const KEEP_ENTRIES: u64 = 100_000;
/// While somebody pulls the stored snapshot no newer one replaces it; one who asked for nothing for so long is gone.
const PULLER_PATIENCE: core::time::Duration = core::time::Duration::from_secs(5);

/// Where a walk is.
#[derive(Clone, Copy, Debug)]
enum At {
    /// The place of an answer.
    Answers(usize),
    Keys,
    /// Bytes of a site's state that were written.
    Site(usize),
}

/// A walk under way.
#[derive(Debug)]
pub struct Walk {
    mark: Mark,
    at: At,
    /// The head, until it left.
    head: Option<Vec<u8>>,
    /// The last piece, and whether it is the first too, kept back until the position is committed.
    tail: Option<(Vec<u8>, bool)>,
    /// The state of a site's group, as of the mark.
    site: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Snapshots {
    /// The newest complete one on disk: place and length.
    pub stored: Option<(Mark, u64)>,
    pub walk: Option<Walk>,
    /// Followers that wait for one.
    pub wanted_by: Vec<NodeId>,
    /// Who pulls the stored one, and when it last asked for a piece.
    pub pulled_by: BTreeMap<NodeId, Instant>,
    pub transfer: Option<Transfer>,
    /// Bytes of log since the last snapshot began.
    pub log_bytes: usize,
}

impl Group {
    /// Bytes of log that are worth a snapshot: fewer than the snapshot itself would take are not.
    fn log_bytes_wanted(&self, config: &Config) -> usize {
        let site = self.site.as_ref().map_or(0, |site| site.snapshot_bytes);
        config.snapshot_log_bytes.max(self.table.bytes()).max(site)
    }
    /// Begins a walk over the whole state: behind the newest entry, which must have its place in the log.
    fn begin_walk(&mut self) -> bool {
        let log = self.replica.log();
        // The state of a site's group is there as committed.
        let index = self.site.as_ref().map_or(self.applied, |site| site.applied);
        let Some((hash, epoch)) = log.hash_at(index).zip(log.epoch_at(index)) else {
            return false;
        };
        let mark = Mark { position: Position { epoch, index }, hash };
        let starts = log.starts().iter().filter(|start| start.index <= index).copied().collect();
        let (group, keyspace, time_ms) = (self.id(), self.keyspace.id, log.time_ms());
        let mut head = Vec::new();
        let mut w = Writer::new(&mut head);
        SnapshotHead { group, keyspace, mark, time_ms, starts }.encode(&mut w);
        self.answers.begin_walk(&mut w);
        w.u64(self.table.seed().0);
        w.u64(self.table.seed().1);
        if !self.shortfall.is_nothing() || self.map_needed > 0 {
            self.shortfall.encode(&mut w);
            w.u64(self.map_needed);
        }
        let mut site = Vec::new();
        if let Some(its) = &mut self.site {
            its.state.encode(&mut Writer::new(&mut site));
            its.snapshot_bytes = site.len();
        }
        self.snapshots.walk = Some(Walk { mark, at: At::Answers(0), head: Some(head), tail: None, site });
        self.snapshots.log_bytes = 0;
        self.table.begin_snapshot();
        true
    }

    /// One step: a bounded frame behind `bytes`. True at the end of the walk.
    fn step_walk(&mut self, bytes: &mut Vec<u8>) -> bool {
        let Some(walk) = &mut self.snapshots.walk else { return true };
        let mut frame = Vec::with_capacity(STEP_BYTES + 1024);
        let ended = match walk.at {
            At::Answers(place) => {
                frame.push(form::ANSWERS);
                let next = self.answers.walk(place, walk.mark.position.index, STEP_BYTES, &mut frame);
                walk.at = next.map_or(At::Keys, At::Answers);
                false
            }
            At::Keys => {
                frame.push(form::KEYS);
                let ended = self.table.snapshot_step(STEP_BYTES, &mut frame);
                if ended && !walk.site.is_empty() {
                    walk.at = At::Site(0);
                }
                ended && walk.site.is_empty()
            }
            At::Site(written) => {
                frame.push(form::SITE);
                let end = (written + STEP_BYTES).min(walk.site.len());
                frame.extend_from_slice(&walk.site[written..end]);
                walk.at = At::Site(end);
                end == walk.site.len()
            }
        };
        Writer::new(bytes).bytes(&frame);
        ended
    }

    fn end_walk(&mut self) -> Option<Walk> {
        self.answers.end_walk();
        self.snapshots.walk.take()
    }

    /// Gives up a walk under way.
    pub(crate) fn abandon_walk(&mut self) {
        self.end_walk();
        self.table.abandon_snapshot();
    }
}

impl Node {
    /// A follower's log ends before this leader's begins: it gets the stored snapshot, or one that is taken now.
    pub(crate) fn want_snapshot(&mut self, group: GroupId, to: NodeId, after: Index) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        // A snapshot serves only if the log goes on behind it.
        // Nor does it, if this log has a gap behind it: what the gap stands for cannot be sent.
        let gaps = it.shortfall.own().end();
        let goes_on = |index: Index| index >= it.released && index >= gaps;
        let serves = |mark: &Mark| goes_on(mark.position.index) && mark.position.index > after;
        let stored = it.snapshots.stored.filter(|(mark, _)| serves(mark));
        if let Some((mark, len)) = stored {
            self.feed(group, single_leader::Input::SnapshotReady { to, mark, len });
            return;
        }
        if !it.snapshots.wanted_by.contains(&to) {
            it.snapshots.wanted_by.push(to);
        }
        self.begin_walk(group);
    }

    pub(crate) fn begin_walk(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        // What is in doubt is not kept for later.
        if it.snapshots.walk.is_none() && it.snapshots.transfer.is_none() && it.audit.is_sound() {
            it.begin_walk();
        }
    }

    fn step_walk(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some(walk) = it.snapshots.walk.as_mut().filter(|walk| walk.tail.is_none()) else { return };
        let (mark, mut bytes) = (walk.mark, Vec::new());
        let head = walk.head.take();
        let first = head.is_some();
        if let Some(head) = head {
            Writer::new(&mut bytes).bytes(&head);
        }
        if !it.step_walk(&mut bytes) {
            self.outputs.push(Output::WriteSnapshot { group, mark, bytes, first, last: false });
            return;
        }
        if let Some(walk) = &mut it.snapshots.walk {
            walk.tail = Some((bytes, first));
        }
        self.finish_walk(group);
    }

    /// The last piece leaves once the snapshot's position is committed.
    pub(crate) fn finish_walk(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let commit = it.replica.commit();
        let done = |walk: &Walk| walk.tail.is_some() && walk.mark.position.index <= commit;
        if !it.audit.is_sound() {
            return;
        }
        if !it.snapshots.walk.as_ref().is_some_and(done) {
            return;
        }
        let Some(Walk { mark, tail: Some((bytes, first)), .. }) = it.end_walk() else { return };
        self.outputs.push(Output::WriteSnapshot { group, mark, bytes, first, last: true });
    }

    pub(crate) fn on_snapshot_stored(&mut self, group: GroupId, mark: Mark, len: u64) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        it.snapshots.stored = Some((mark, len));
        let waiting = core::mem::take(&mut it.snapshots.wanted_by);
        let position = mark.position;
        self.outputs.push(Output::Event(Event::SnapshotTaken { group, position }));
        for to in waiting {
            self.feed(group, single_leader::Input::SnapshotReady { to, mark, len });
        }
        self.offer_stored(group);
        self.release_log(group);
    }

    /// The log before the snapshot may go, as soon as the followers that are connected have it.
    fn release_log(&mut self, group: GroupId) {
        let Some(it) = self.groups.get_mut(&group) else { return };
        let Some((mark, _)) = it.snapshots.stored else { return };
        let mut through = mark.position.index;
        if plant::is(Bug::TrimsPastSnapshot) {
            through = it.replica.commit();
        }
        for (node, progress) in it.replica.followers() {
            let slowest = progress.matched;
            // One that is far behind, or away, will take the snapshot.
            if self.peers.contains_key(&node) && slowest.0 + KEEP_ENTRIES >= through.0 {
                through = through.min(slowest);
            }
        }
        through = self.site_keeps(group, through);
        let Some(it) = self.groups.get_mut(&group) else { return };
        if through > it.released {
            it.released = through;
            if let Some(site) = &mut it.site {
                site.trimmed(through.next());
            }
            self.outputs.push(Output::ReleaseLog { group, through });
        }
    }

    /// All groups share one log, and one that is seldom written would keep all that the others write: it takes a snapshot
    /// before its own entries ask for one. Twice what the largest group may take is no reason yet.
    pub(crate) fn on_log_blocked(&mut self, behind_bytes: u64, by: &[(GroupId, Index)]) {
        let wanted = self.groups.values().map(|it| it.log_bytes_wanted(&self.config)).max();
        let wanted = wanted.unwrap_or(self.config.snapshot_log_bytes);
        if behind_bytes / 2 < wanted as u64 {
            return;
        }
        for (group, through) in by {
            self.free_log(*group, *through);
        }
    }

    fn free_log(&mut self, group: GroupId, through: Index) {
        if group == CONTROL_GROUP {
            if self.control_persisting.iter().all(|write| write.release.is_none()) {
                self.control(control::Input::Rewrite);
            }
            return;
        }
        if self.leaderless.is_leaderless(group) {
            return self.free_shard_log(group);
        }
        let Some(it) = self.groups.get(&group) else { return };
        let stored = it.snapshots.stored.is_some_and(|(mark, _)| mark.position.index >= through);
        if !stored && it.applied >= through && it.snapshots.pulled_by.is_empty() {
            self.begin_walk(group);
        }
    }

    /// Takes snapshots when the log has grown, goes on with walks and transfers.
    pub(crate) fn tend_snapshots(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(it) = self.groups.get_mut(&group) else { return };
        it.snapshots.pulled_by.retain(|_, asked_at| now.since(*asked_at) < PULLER_PATIENCE);
        // bugs: SL-16. A newer one would take away what is being pulled, over and over.
        let due =
            it.snapshots.pulled_by.is_empty() && it.snapshots.log_bytes >= it.log_bytes_wanted(&self.config);
        if due || !it.snapshots.wanted_by.is_empty() {
            self.begin_walk(group);
        }
        self.step_walk(group);
        self.release_log(group);
    }
}
