//! One group on this node: its replica, the state that the log makes, and everything that waits for the log.

use crate::answers::Answers;
use crate::blocking::Blocked;
use crate::catch_up::CatchUp;
use crate::freshness::Freshness;
use crate::io::ConnectionId;
use crate::ledger::Told;
use crate::reads::Parked;
use crate::replay;
use crate::replies::SlotId;
use crate::shortfall::Shortfall;
use crate::sites::SiteShard;
use crate::snapshot::Snapshots;
use crate::watch::Watches;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use data::keyspace::Keyspace;
use data::record::{Kind, Record};
use data::table::{Table, Undo};
use data::{Epoch, GroupId, Index, Instant, NodeId, Position, RequestId};
use protocol::single_leader::{self, Replica};

/// Who is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    Client {
        connection: ConnectionId,
        slot: SlotId,
    },
    /// The node that forwarded the command, and the reply it gets.
    Peer {
        node: NodeId,
        request: RequestId,
        reply: Bytes,
    },
}

/// A reply that waits until the log is committed through `index`.
#[derive(Debug)]
pub struct Waiter {
    pub index: Index,
    pub since: Instant,
    pub to: Target,
    /// A write that waits too long is INDETERMINATE; a read was surely not answered.
    pub write: bool,
    /// The epoch of the entry at `index`, where the session shall remember it: one that was not committed yet.
    pub epoch: Option<Epoch>,
}

/// A read that waits for a confirmation round, and then for `index`.
#[derive(Debug)]
pub struct Unconfirmed {
    pub round: u64,
    pub waiter: Waiter,
}

/// Buckets of the filter of uncommitted keys: a power of two.
const DIRTY_BUCKETS: usize = 4096;

/// Which keys uncommitted entries touched: per bucket of key hashes the newest such index. A read of a key whose bucket
/// is beyond the commit index waits; two keys in one bucket make it wait in vain, which is rare and harmless.
#[derive(Debug)]
pub struct Dirty {
    buckets: Box<[Index]>,
    /// Newest entry that may have touched any key (FLUSHDB).
    whole: Index,
}

impl Dirty {
    fn new() -> Dirty {
        Dirty { buckets: vec![Index(0); DIRTY_BUCKETS].into_boxed_slice(), whole: Index(0) }
    }
    pub fn touch(&mut self, hash: u64, index: Index) {
        // The low bits: the table's buckets use the high ones.
        self.buckets[hash as usize % DIRTY_BUCKETS] = index;
    }
    pub fn touch_all(&mut self, index: Index) {
        self.whole = index;
    }
    /// The newest entry that may have changed the key.
    pub fn index(&self, hash: u64) -> Index {
        self.buckets[hash as usize % DIRTY_BUCKETS].max(self.whole)
    }
}

/// Invariants: on a leader the table holds every entry through `applied` = its newest one, and `undo` takes back those
/// after the commit index; on every other role the table holds exactly the committed entries through `applied`.
pub struct Group {
    pub replica: Replica,
    pub keyspace: Keyspace,
    pub table: Table,
    pub answers: Answers,
    pub applied: Index,
    /// Since the node last took them into its statistics.
    pub looks: crate::looks::Looks,
    pub undo: VecDeque<(Index, Vec<Undo>)>,
    /// What this node's leaderships of it wrote.
    pub logged: crate::logged::Logged,
    pub latency: crate::latency::Latency,
    /// Memory of the last entry's rows, to be used again.
    pub(crate) rows: Vec<u8>,
    pub dirty: Dirty,
    pub waiters: VecDeque<Waiter>,
    /// Writes whose requests ask for something else than the commit.
    pub asking: Vec<crate::asking::Asking>,
    /// Newest entry, other than its own, that the reply of the last write shows something of.
    pub depended: Index,
    pub unconfirmed: VecDeque<Unconfirmed>,
    /// Reads may be answered without asking before this.
    pub read_until: Instant,
    /// Reads were answered under `read_until` in this turn.
    pub read_in_turn: bool,
    /// Reads for other nodes under `read_until`, released at the end of the turn.
    pub leased: Vec<Waiter>,
    /// Log writes on their way: the node's token, the replica's token.
    pub persisting: VecDeque<(u64, u64)>,
    /// Which entries were answered, for the ledger.
    pub(crate) told: Told,
    /// Who led before the present leader, for a loss that its election announced.
    pub(crate) deposed: Option<data::view::Replica>,
    pub watches: Watches,
    pub blocked: Blocked,
    pub snapshots: Snapshots,
    pub catch_up: CatchUp,
    /// The log on disk begins after this index, as far as this node released it.
    pub released: Index,
    /// A planned switchover: no new write until the target has everything.
    pub paused: Option<Pause>,
    /// Reads that wait until this copy has what they need.
    pub parked: Vec<Parked>,
    pub freshness: Freshness,
    /// Slots of this group are on their way, or others come.
    pub(crate) moving: Option<Box<crate::moving::Moving>>,
    /// Keys of this copy went to another group: only with a map of this version or a newer one is known where to.
    pub map_needed: u64,
    pub audit: crate::audit::Audit,
    /// What this copy lacks of the group's history.
    pub shortfall: Shortfall,
    /// Of a site's group in a multi-leader keyspace: what its log makes in place of the table, which stays empty.
    pub(crate) site: Option<Box<SiteShard>>,
}

/// A planned switchover in its draining phase.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    pub target: NodeId,
    pub until: Instant,
    pub told: bool,
}

impl Group {
    pub fn new(
        replica: Replica,
        keyspace: Keyspace,
        table: Table,
        answers: Answers,
        applied: Index,
    ) -> Group {
        Group {
            replica,
            keyspace,
            table,
            answers,
            applied,
            looks: Default::default(),
            undo: VecDeque::new(),
            logged: Default::default(),
            latency: Default::default(),
            rows: Vec::new(),
            dirty: Dirty::new(),
            waiters: VecDeque::new(),
            asking: Vec::new(),
            depended: Index(0),
            unconfirmed: VecDeque::new(),
            read_until: Instant::ZERO,
            read_in_turn: false,
            leased: Vec::new(),
            persisting: VecDeque::new(),
            told: Told::default(),
            deposed: None,
            watches: Watches::default(),
            blocked: Blocked::default(),
            snapshots: Snapshots::default(),
            catch_up: CatchUp::default(),
            released: Index(0),
            paused: None,
            parked: Vec::new(),
            freshness: Freshness::default(),
            moving: None,
            map_needed: 0,
            audit: Default::default(),
            shortfall: Shortfall::default(),
            site: None,
        }
    }
    pub fn id(&self) -> GroupId {
        self.replica.group()
    }
    /// The epoch of an entry that is not committed yet: its leader's, which is this one.
    pub fn epoch_ahead(&self, index: Index) -> Option<Epoch> {
        if index > self.replica.commit() { self.replica.leads() } else { None }
    }
    /// Whether commands are executed here: by a leader whose table is not in doubt.
    pub fn is_serving(&self) -> bool {
        self.replica.role() == protocol::single_leader::RoleName::Leader && self.audit.is_sound()
    }
    /// Applies committed entries that are not in the table yet.
    pub fn apply_through(&mut self, commit: Index, out: &mut Vec<single_leader::Output>) {
        if self.audit.is_replaying() {
            // The table is older than the log in memory: what lies between comes first.
            return;
        }
        if let Some(site) = &mut self.site {
            site.advance(self.replica.log(), self.applied, commit, &mut self.answers);
        }
        if self.applied < commit {
            let (from, table, answers) = (self.applied.next(), &mut self.table, &mut self.answers);
            let (needed, audit, shortfall) = (&mut self.map_needed, &mut self.audit, &mut self.shortfall);
            let leads = self.replica.leads();
            self.replica.log().each(from, commit, |record| {
                shortfall.note(record, leads);
                *needed = apply_compared(record, table, answers, audit, shortfall).unwrap_or(0).max(*needed);
            });
            self.applied = commit;
            self.tell_lacks();
        }
        while self.undo.front().is_some_and(|(index, _)| *index <= commit) {
            self.undo.pop_front();
        }
        if self.audit.is_sound() {
            self.replica.applied(commit, out);
        }
        self.note_applied();
    }
    /// Takes back everything after what was committed when it was executed: this replica no longer leads. The replica's
    /// own commit index may be further by now: the message that deposed it may have told of newer commits, and what it
    /// committed is applied from the log, not kept from the execution.
    pub fn undo_uncommitted(&mut self) {
        let through = self.undo.front().map_or(self.applied, |(index, _)| index.previous());
        self.table.end_moments(through);
        while let Some((_, steps)) = self.undo.pop_back() {
            for undo in steps.into_iter().rev() {
                self.table.undo(undo);
            }
        }
        self.answers.undo(through);
        if let Some(site) = &mut self.site {
            site.step_down();
        }
        self.applied = self.applied.min(through);
    }
    pub fn applied_position(&self) -> Position {
        let index = self.applied.min(self.replica.commit());
        Position { epoch: self.replica.log().epoch_at(index).unwrap_or_default(), index }
    }
}

impl Group {
    /// Applies the record behind the last one that was applied.
    pub(crate) fn apply_next(&mut self, record: &Record<'_>) {
        self.shortfall.note(record, self.replica.leads());
        let (audit, shortfall) = (&mut self.audit, &mut self.shortfall);
        let needed = apply_compared(record, &mut self.table, &mut self.answers, audit, shortfall);
        self.map_needed = needed.unwrap_or(0).max(self.map_needed);
        self.applied = record.header.index;
    }
}

fn apply_compared(
    record: &Record<'_>,
    table: &mut Table,
    answers: &mut Answers,
    audit: &mut crate::audit::Audit,
    shortfall: &mut Shortfall,
) -> Option<u64> {
    let whole = shortfall.is_whole();
    match record.header.kind {
        // Of a copy that lacks entries it is known that it differs.
        Kind::Audit if !whole => None,
        Kind::Audit => {
            audit.compare(record, table);
            None
        }
        _ => {
            let applied = replay::apply(record, table, answers, whole);
            if applied.left_out {
                shortfall.leave_out(record.header.index);
            }
            if let Some(unlike) = applied.unlike {
                audit.note_unlike(record.header.position(), unlike, table);
            }
            applied.map_needed
        }
    }
}
