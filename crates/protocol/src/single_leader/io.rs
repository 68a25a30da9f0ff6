//! What a replica is told, what it wants done, and what it reports.

use super::log_window::{LogWindow, Mark};
use super::lost::Lost;
use super::message::Message;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use data::keyspace::CommitRule;
use data::view::{self, View};
use data::{Epoch, GroupId, Incarnation, Index, Instant, NodeId, Position, ViewNumber};

#[derive(Clone, Debug)]
pub enum Input {
    /// The control plane's view of the group changed.
    View(Box<View>),
    Message {
        from: NodeId,
        incarnation: Incarnation,
        message: Message,
    },
    /// Everything of [`Output::Persist`] up to this token is as durable as was asked for.
    Persisted {
        token: u64,
    },
    /// Take part in the election of `epoch`; the leases granted to the old leader end at `not_before`.
    /// The same seal may come again with an earlier end: the old leader has sealed itself in the meantime.
    Seal {
        epoch: Epoch,
        election: ViewNumber,
        not_before: Instant,
    },
    /// Records of the log from disk, asked for by [`Output::Fetch`]; none when the log no longer reaches back so far.
    Fetched {
        to: NodeId,
        from: Mark,
        records: Bytes,
    },
    /// The node has a snapshot at this place that `to` may take.
    SnapshotReady {
        to: NodeId,
        mark: Mark,
        len: u64,
    },
    /// The snapshot of [`Output::TakeSnapshot`] is installed and durable.
    Installed {
        mark: Mark,
        starts: Vec<Position>,
        time_ms: i64,
    },
    /// The connection to a peer was lost or made. A new leader is told of every peer that is down.
    Connection {
        node: NodeId,
        up: bool,
    },
    /// The control plane refused this proposal of an electable set and rule, at a view number that has not changed since. Without
    /// this word a leader meets a refused proposal until the view changes.
    ProposalRefused {
        number: ViewNumber,
        rule: CommitRule,
        electable: Vec<view::Replica>,
    },
    /// Called every few milliseconds.
    Tick,
}

/// What a replica wants done. In any order, but `Persist` outputs keep theirs. Messages to one peer should: nothing breaks
/// otherwise, but entries that overtake each other are sent again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    Send {
        to: NodeId,
        message: Message,
    },
    /// Append these records to the log. `promise`: flush before answering, whatever the keyspace's policy.
    Persist {
        token: u64,
        records: Bytes,
        promise: bool,
    },
    /// Write these entries into the ledger and flush it; [`Input::Persisted`] tells when that is done. In order with `Persist`.
    Ledger {
        token: u64,
        lost: Lost,
    },
    /// The log is committed through this index: apply it, release what waits for it.
    Committed(Index),
    /// Entries after this index were cut (a `truncate` record is on its way to the log).
    Truncated(Index),
    Sealed(SealAnswer),
    /// Read the log from this index for a follower.
    Fetch {
        to: NodeId,
        from: Index,
        bytes_max: usize,
    },
    /// A follower needs a snapshot that lies behind `after`.
    NeedSnapshot {
        to: NodeId,
        after: Index,
    },
    /// Take the leader's snapshot.
    TakeSnapshot {
        from: NodeId,
        mark: Mark,
        len: u64,
    },
    /// Ask the control plane for another electable set or commit rule.
    ProposeElectable {
        number: ViewNumber,
        rule: CommitRule,
        electable: Vec<view::Replica>,
    },
    /// Reads that asked for a confirmation round up to this one may be answered.
    ReadConfirmed(u64),
    /// The role changed. A leader that steps down has uncommitted entries that the node must undo.
    Became(RoleName),
    Report(Report),
}

/// A replica's answer to a seal: its log, flushed, ends here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealAnswer {
    pub group: GroupId,
    pub epoch: Epoch,
    pub election: ViewNumber,
    pub last: Position,
    /// Entries that the copy lacks and its last leader had.
    pub missed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoleName {
    Follower,
    Sealed,
    /// Elected; the empty entry is not committed yet.
    LeaderElect,
    Leader,
    Removed,
}

impl RoleName {
    pub fn name(self) -> &'static str {
        match self {
            RoleName::Follower => "follower",
            RoleName::Sealed => "sealed",
            RoleName::LeaderElect => "leader-elect",
            RoleName::Leader => "leader",
            RoleName::Removed => "removed",
        }
    }
}

/// Why an input was ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    StaleEpoch,
    NotLeading,
    NotAMember,
    OtherIncarnation,
    Damaged,
    OutOfOrder,
    Overtaken,
    /// Through a link of a view that is not the present one.
    OtherView,
    /// A gap, under a rule that promises every entry.
    OtherRule,
}

/// What metrics, events and invariants want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    Dropped(DropReason),
    /// This log's history differs from the leader's at the same position: the copy must be rebuilt.
    Diverged {
        at: Position,
    },
    /// The leader's log would cut what is committed here: this replica stops.
    CommittedConflict {
        committed: Index,
        cut: Index,
    },
    /// What is committed here was lost by an election, as the keyspace's rule allows: this copy is made anew.
    Stranded {
        committed: Index,
        cut: Index,
    },
    /// Elected with a log that does not end where the election found it: leadership declined.
    Declined {
        epoch: Epoch,
        expected: Position,
        last: Position,
    },
    /// Another node claims to lead the epoch that this one leads: it is not listened to.
    SecondLeader {
        epoch: Epoch,
        node: NodeId,
    },
    /// This copy goes on without these entries, as its leader says.
    Gap {
        first: Index,
        last: Index,
    },
    /// The follower had more to come than its backlog allows: it goes on without these.
    Skipped {
        node: NodeId,
        first: Index,
        last: Index,
    },
    FollowerLost(NodeId),
    FollowerInSync(NodeId),
}

/// How a read may be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadPermit {
    /// At once, if the clock read after the answer was computed is still before this instant.
    Until(Instant),
    /// After [`Output::ReadConfirmed`] with this round or a later one.
    After(u64),
    /// Not by this replica.
    No,
}

/// What a replica finds in its log after a restart: `promised` is the greatest epoch of any record, those that are no
/// entries included; `commit` is at least the position of the newest snapshot, or a follower that needs one could get
/// none. The window of `log` must reach back to `commit`, for everything behind may have to be cut.
#[derive(Clone, Debug)]
pub struct Recovered {
    pub promised: Epoch,
    pub commit: Index,
    pub log: LogWindow,
}

impl Default for Recovered {
    fn default() -> Recovered {
        Recovered {
            promised: Epoch(0),
            commit: Index(0),
            log: LogWindow::new(Mark::default(), Vec::new(), 0),
        }
    }
}
