//! Taking writes of other sites: each once, behind its causes, or not at all.

use super::exchange::{Exchange, Output, Report};
use super::record::{Record, SiteWrite};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use data::causal::TooFarAhead;
use data::plant::{self, Bug};
use data::{Instant, Now, OriginVector, SiteId, WriteStamp};

/// A write that came before its causes.
#[derive(Debug)]
struct Early {
    write: Arc<SiteWrite>,
    bytes: u64,
    since: Instant,
}

/// Those writes, bounded in bytes.
// bugs: ML-04
#[derive(Default, Debug)]
pub(super) struct Waiting {
    writes: BTreeMap<WriteStamp, Early>,
    bytes: u64,
}

impl Waiting {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    fn holds(&self, stamp: WriteStamp) -> bool {
        self.writes.contains_key(&stamp)
    }
    fn insert(&mut self, since: Instant, write: Arc<SiteWrite>, bytes: u64) {
        self.bytes += bytes;
        self.writes.insert(write.stamp, Early { write, bytes, since });
    }
    fn remove(&mut self, stamp: WriteStamp) -> Option<Arc<SiteWrite>> {
        let early = self.writes.remove(&stamp)?;
        self.bytes -= early.bytes;
        Some(early.write)
    }
    /// The first write whose causes are there. Only the lowest of each origin can be one.
    fn next_ready(&self, vector: &OriginVector) -> Option<WriteStamp> {
        let mut from = WriteStamp::default();
        while let Some((stamp, early)) = self.writes.range(from..).next() {
            if is_ready(&early.write, vector) {
                return Some(*stamp);
            }
            let behind = WriteStamp { origin: stamp.origin, sequence: u64::MAX };
            if *stamp == behind {
                return None;
            }
            from = behind;
        }
        None
    }
    /// Leaves what may still be wanted.
    fn retain(&mut self, keep: impl Fn(WriteStamp, Instant) -> bool) {
        let bytes = &mut self.bytes;
        self.writes.retain(|stamp, early| {
            let stays = keep(*stamp, early.since);
            *bytes -= if stays { 0 } else { early.bytes };
            stays
        });
    }
}

/// Whether all that happened before the write is included: its origin's writes before it, and what its origin had then.
fn is_ready(write: &SiteWrite, vector: &OriginVector) -> bool {
    let WriteStamp { origin, sequence } = write.stamp;
    // A hole among an origin's writes is never stepped over: what it held would count as deleted (bugs: ML-12).
    let is_next = vector.sequence(origin).checked_add(1) == Some(sequence) || plant::is(Bug::StepsOverHoles);
    is_next && (plant::is(Bug::IgnoresCauses) || write.causes.iter().all(|cause| vector.contains(*cause)))
}

impl Exchange {
    pub(super) fn take_writes(
        &mut self,
        now: Now,
        from: SiteId,
        writes: Vec<Arc<SiteWrite>>,
        out: &mut Vec<Output>,
    ) {
        if !self.state.is_ready {
            return out.push(Output::Report(Report::Dropped("this site is being copied")));
        }
        if !self.may_go_on(from, &writes, out) {
            return out.push(Output::Report(Report::Dropped("of a link that is stopped")));
        }
        for write in writes {
            if !self.take_write(now, from, write, out) {
                break;
            }
        }
        self.drain(out);
        self.let_claims_go(out);
    }
    /// Whether anything is taken of a link that a time too far ahead has stopped: only the message with the write that it
    /// stopped at, which is tried again. To leave out one write and to take the next ones would be a hole that no vector shows.
    fn may_go_on(&mut self, from: SiteId, writes: &[Arc<SiteWrite>], out: &mut Vec<Output>) -> bool {
        let Some(link) = self.links.get_mut(&from) else { return false };
        let Some((bad, _)) = link.stopped else { return true };
        if self.state.vector.contains(bad) {
            link.stopped = None;
            out.push(Output::Report(Report::Resumed { peer: from }));
            return true;
        }
        writes.iter().any(|write| write.stamp == bad) || plant::is(Bug::WithholdsOne)
    }
    /// False when nothing more is taken from this peer.
    fn take_write(&mut self, now: Now, from: SiteId, write: Arc<SiteWrite>, out: &mut Vec<Output>) -> bool {
        let stamp = write.stamp;
        let Some(link) = self.links.get_mut(&from) else { return false };
        // What came already, on whatever way and from whatever site (bugs: ML-01, ML-02, ML-11).
        let is_known = if plant::is(Bug::DropsNoDuplicates) {
            false
        } else if plant::is(Bug::DropsOwnOnly) {
            stamp.origin.site == self.me.site
        } else {
            self.state.vector.contains(stamp) || self.waiting.holds(stamp)
        };
        if is_known {
            return true;
        }
        let observed = write.newest().map_or(Ok(()), |stamp| self.clock.observe(stamp, now.wall));
        if let Err(TooFarAhead { by_ms }) = observed {
            if link.stopped.is_none() {
                out.push(Output::Report(Report::Stopped { peer: from, by_ms }));
                self.must_acknowledge = true;
            }
            link.stopped = Some((stamp, by_ms));
            return plant::is(Bug::WithholdsOne);
        }
        if link.stopped.take_if(|(bad, _)| *bad == stamp).is_some() {
            out.push(Output::Report(Report::Resumed { peer: from }));
        }
        if is_ready(&write, &self.state.vector) || plant::is(Bug::DropsNoDuplicates) {
            self.propose(Record::Write(write), out);
            return true;
        }
        let bytes = write.bytes();
        if self.waiting.bytes() + bytes > self.limits.waiting_bytes_max {
            if !link.has_overflowed {
                out.push(Output::Report(Report::Overflow { peer: from }));
            }
            link.has_overflowed = true;
            return false;
        }
        self.waiting.insert(now.instant, write, bytes);
        true
    }
    /// Takes what waited for what has come.
    pub(super) fn drain(&mut self, out: &mut Vec<Output>) {
        while let Some(stamp) = self.waiting.next_ready(&self.state.vector) {
            let Some(write) = self.waiting.remove(stamp) else { return };
            self.propose(Record::Write(write), out);
        }
    }
    /// A copy has brought what others may have sent too.
    pub(super) fn forget_late(&mut self) {
        let vector = &self.state.vector;
        self.waiting.retain(|stamp, _| !vector.contains(stamp));
    }
    /// Lets go what waits in vain, as for a write that was lost with its site. It was not acknowledged: whoever has it and
    /// its causes sends both again.
    pub(super) fn tick_waiting(&mut self, now: Instant) {
        let longest = self.limits.overdue_after * 2;
        self.waiting.retain(|_, since| now.since(since) < longest);
    }
}
