//! What a copy is about to lose. Entries that a newer leader's log lacks are cut, or go with the whole copy when a snapshot
//! takes its place; somebody may have been told that they are done. They go to the ledger first, and are cut only when they
//! are durable there.
//!
//! Where no election can have lost anything since they were made, nobody was told so, and they are cut at once.
// bugs: TC-10

use super::heard::common_end;
use super::io::Output;
use super::log_window::Mark;
use super::replica::{Replica, Role};
use alloc::vec::Vec;
use bytes::Bytes;
use data::plant::{self, Bug};
use data::record::Record;
use data::{Epoch, Index, Position};

/// Entries that this copy is about to lose: those behind `after`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    pub after: Index,
    /// The end of the log.
    pub last: Position,
    /// How far this copy knew the log to be committed.
    pub commit: Index,
    /// The epoch whose leader lacks them.
    pub epoch: Epoch,
    /// Records from `first` on. What lies between `after` and it is no longer in memory.
    pub first: Index,
    pub records: Bytes,
}

/// The end of a log that is still being written.
const UNBOUNDED: Index = Index(u64::MAX);

/// Entries on their way to the ledger, or there.
pub(super) struct Keeping {
    token: u64,
    after: Index,
    last: Mark,
    done: bool,
}

impl Replica {
    /// Whether what stands behind `after` may be cut now. False until what somebody may have been told of is in the ledger: the
    /// caller comes again.
    pub(super) fn may_cut(&mut self, after: Index, out: &mut Vec<Output>) -> bool {
        let last = self.log.last();
        if after >= last.position.index || !self.may_be_known(after) || plant::is(Bug::CutsUnledgered) {
            return true;
        }
        if let Some(keeping) = self.keeping.as_ref().filter(|it| it.last == last && it.after <= after) {
            return keeping.done;
        }
        let (first, records) = self.log.tail(after.next());
        if first == after.next() && !holds_operations(&records) {
            return true;
        }
        let epoch = match &self.role {
            Role::Follower(follower) => follower.epoch,
            _ => self.promised,
        };
        let token = self.note_token();
        self.keeping = Some(Keeping { token, after, last, done: false });
        let lost = Lost { after, last: last.position, commit: self.commit, epoch, first, records };
        out.push(Output::Ledger { token, lost });
        false
    }

    /// The ledger is durable through this token; whether something waited for that.
    pub(super) fn kept(&mut self, token: u64) -> bool {
        let waiting = self.keeping.as_mut().filter(|it| !it.done && it.token <= token);
        waiting.map(|it| it.done = true).is_some()
    }

    /// Somebody was told that the entry is done before it was committed: a request asked for less than the rule.
    pub fn told_ahead(&mut self, index: Index) {
        self.told_ahead = self.told_ahead.max(index);
    }

    /// Whether somebody may have been told that an entry behind `after` is done: this copy committed it or was asked for less, or an
    /// election may have lost what was committed, or the view is too old to tell.
    fn may_be_known(&self, after: Index) -> bool {
        let oldest = self.log.epoch_at(after.next()).unwrap_or_default();
        let newest = match &self.role {
            Role::Follower(follower) => follower.epoch,
            _ => Epoch(0),
        };
        let untold = |view: &data::view::View| view.epoch >= newest && view.last_loss <= oldest;
        after < self.commit.max(self.told_ahead) || !self.view.as_ref().is_some_and(untold)
    }

    /// Whether this copy may be given up for a snapshot of a log whose epochs begin at `starts`: false until what it alone holds
    /// is in the ledger.
    pub fn may_be_replaced(&mut self, mark: Mark, starts: &[Position], out: &mut Vec<Output>) -> bool {
        let last = self.log.last().position.index;
        let common = common_end(self.log.starts(), last, starts, mark.position.index);
        self.may_cut(common, out)
    }

    /// The same by what the view tells of the leader's log: before the snapshot is fetched, for that takes long.
    pub(super) fn prepare_for_snapshot(&mut self, mark: Mark, out: &mut Vec<Output>) -> bool {
        let told = self.view.as_ref().filter(|view| view.epoch >= mark.position.epoch);
        let Some(history) = told.map(|view| view.history.clone()) else { return true };
        let begun = history.partition_point(|begin| begin.index <= mark.position.index);
        self.may_be_replaced(mark, &history[..begun], out)
    }

    /// What this copy alone holds, by what is recorded of the group's history, and somebody may have been told of: for a node that
    /// gives its copy up.
    pub fn alone(&self, history: &[Position]) -> Option<Lost> {
        let last = self.log.last().position;
        let after = common_end(self.log.starts(), last.index, history, UNBOUNDED);
        if after >= last.index || !self.may_be_known(after) || plant::is(Bug::CutsUnledgered) {
            return None;
        }
        let (first, records) = self.log.tail(after.next());
        let epoch = history.last().map(|begin| begin.epoch).unwrap_or_default();
        Some(Lost { after, last, commit: self.commit, epoch, first, records })
    }

    /// The last entry before the recorded beginning of an epoch that is newer than this log's end: what lies behind it is not
    /// of the group's history, and nobody leads with it. Nothing when there is none, or when it is committed here, so that the
    /// whole copy must be made anew.
    pub(super) fn strays_after(&self) -> Option<Index> {
        let Position { epoch, index } = self.log.last().position;
        let newer = self.view.as_ref()?.history.iter().find(|begin| begin.epoch > epoch)?;
        let to = newer.index.previous();
        (to < index && to >= self.commit).then_some(to)
    }

    /// The epoch of the leader up to whose own entries this copy is committed: all that is committed here is of its history.
    pub fn settled_in(&self) -> Option<Epoch> {
        let epoch = match &self.role {
            Role::Leader(leader) if leader.ready => leader.epoch,
            Role::Follower(follower) => follower.leader.map(|_| follower.epoch)?,
            _ => return None,
        };
        (self.log.epoch_at(self.commit) == Some(epoch)).then_some(epoch)
    }
}

fn holds_operations(mut records: &[u8]) -> bool {
    while let Ok(record) = Record::parse(records) {
        if record.header.kind.is_change() {
            return true;
        }
        records = &records[record.len..];
    }
    false
}
