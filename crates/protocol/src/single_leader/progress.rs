//! What a feeder knows of each follower.

use super::io::Output;
use super::log_window::Mark;
use super::message::Message;
use super::replica::{FETCH_BYTES_MAX, Role};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::{Epoch, Incarnation, Index, Instant, NodeId, ViewNumber};

/// Entries in flight without any answer for so long were lost: go back to what was acknowledged.
pub(super) const RESEND_AFTER: Duration = Duration::from_millis(400);
/// A follower that lacks entries and gets nothing through its link for so long is fed by the leader itself. A guess: many round
/// trips, and a third of the time after which it would leave an in-sync set.
pub(super) const LINK_PATIENCE: Duration = Duration::from_millis(200);
/// More of it for every link on the way to a copy that does not count: there news travels by the clock.
pub(super) const LINK_PATIENCE_MORE: Duration = Duration::from_millis(150);

/// Whom a replica feeds, and with what: the leader all, a follower those behind it by its links.
pub(super) struct Feeding<'a> {
    pub line: Line,
    pub followers: &'a mut BTreeMap<NodeId, Progress>,
}

/// What all messages of a feeder have in common.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub epoch: Epoch,
    /// The links' view; `None` for the leader.
    pub link: Option<ViewNumber>,
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
    pub fn entries(self, previous: Mark, commit: Index, records: Bytes) -> Message {
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
    pub(super) next: Index,
    pub(super) mode: Mode,
    pub(super) in_flight: VecDeque<(Index, usize)>,
    pub(super) in_flight_bytes: usize,
    pub(super) sent_at: Instant,
    pub(super) heard_at: Instant,
    /// When it last said that it does not have what entries were to follow.
    pub(super) parted_at: Instant,
    /// Where it was found to part last: the next entry then.
    pub(super) parted_to: Index,
    /// A snapshot for it must lie behind this.
    pub(super) snapshot_after: Index,
    pub(super) round: u64,
    pub(super) told: Index,
    pub(super) connected: bool,
    /// By the links it is fed by this other follower.
    pub(super) feeder: Option<NodeId>,
    /// Nothing came through its link: the leader feeds it itself, since then.
    pub(super) direct_since: Option<Instant>,
    /// The most that was told of it through its link.
    pub(super) through_link: Index,
    pub(super) linked_at: Instant,
    pub(super) patience: Duration,
    /// Entries that its table lacks and this leader's has: told by itself, or sent as a gap since.
    pub missed: u64,
    /// The end of the last gap that it was sent.
    pub(super) gap_end: Index,
    /// Its table was whole through here.
    whole_through: Index,
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
            missed: 0,
            gap_end: Index(0),
            whole_through: Index(0),
        }
    }
    /// It was told to go on without these.
    pub(super) fn skip(&mut self, first: Index, last: Index) {
        // One that was lost on the way is sent again, longer.
        let fresh = first.max(self.gap_end.next());
        self.missed += (last.0 + 1).saturating_sub(fresh.0);
        self.gap_end = self.gap_end.max(last);
        self.whole_through = Index(0);
    }
    /// It told how its table stands. What it said before it had the last gap says nothing.
    pub(super) fn stands(&mut self, through: Index, whole: bool, missed: u64) {
        if through >= self.gap_end {
            self.missed = missed;
            self.whole_through = if whole { through } else { Index(0) };
        }
    }
    /// Whether its table is known to lack nothing that the leader's has, whose epoch begins at `start`.
    pub(super) fn is_whole(&self, start: Index) -> bool {
        self.whole_through >= start.max(self.gap_end)
    }
    /// Whether its entries come from another follower now.
    pub(super) fn is_relayed(&self) -> bool {
        self.feeder.is_some() && self.direct_since.is_none()
    }
    /// Gives up its link for a while: the leader finds out where it stands.
    pub(super) fn feed_directly(&mut self, now: Instant) {
        if self.is_relayed() {
            self.direct_since = Some(now);
            let next = self.matched.next();
            self.probe(next);
        }
    }
    /// What it was told to hold, or holds.
    pub(super) fn credit(&mut self, now: Instant, matched: Index, applied: Index, last: Index) {
        if matched > self.matched {
            self.matched = matched;
            self.current_at = now;
        }
        if self.matched >= last {
            self.current_at = now;
        }
        self.applied = self.applied.max(applied);
    }
    pub(super) fn probe(&mut self, next: Index) {
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
    pub(super) fn begin_anew(&mut self, now: Instant, incarnation: Incarnation) {
        let Progress { feeder, patience, .. } = *self;
        let direct_since = feeder.map(|_| now);
        *self = Progress { feeder, direct_since, patience, ..Progress::new(now, Index(1)) };
        self.incarnation = Some(incarnation);
    }
    /// Older entries come from the leader's disk. Another feeder leaves it to the leader, and looks again later.
    pub(super) fn fetch(&mut self, now: Instant, node: NodeId, line: Line, out: &mut Vec<Output>) {
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
