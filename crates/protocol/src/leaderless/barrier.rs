//! The barrier: how what is left of deletes goes, and no delete comes back.
//!
//! # What is left of deletes
//!
//! Most deletes leave nothing: a dot that a copy's context covers and that no value holds was deleted. Some values carry
//! more: counters keep what an actor had added when it was deleted, lists keep places that others may hang on, an expiry may
//! outlive its value. This *residue* (`Store::residue` in `data::causal`) answers whoever still brings the older state. It may go
//! once nobody can bring that any more, and no clock says when.
//!
//! # Two stages
//!
//! The cluster map records the stage of each shard's barrier, and gives the ring another version with each step, so nothing that
//! was sent before a step is taken in behind it.
//!
//! | stage | a copy that learns of it | it reports to the map when |
//! |---|---|---|
//! | promise | writes down what is left of deletes with it, on its disk | it has walked over all others under this ring, and no hint of an earlier ring is left with it |
//! | hold | mints as before, and knows of all that was noted | the same once more |
//! | (idle again) | lets go what it noted and what is residue still; ends what it coordinates since before `hold` | |
//!
//! Every replica reports, in the life that the map knows; in a sloppy keyspace every node, for all of them may hold hints. A ring
//! that changes for another reason ends the barrier, and it begins anew. Writes and reads go on all the time.
//!
//! # Why that is enough
//!
//! 1. What a copy noted was deleted under a ring before `promise`. Whoever walks over it under the ring of `promise` learns of the
//!    delete, so behind the first step every copy knows it, and every mint sees it: under the ring of `hold` nobody adds to what
//!    was deleted, nor hangs anything on it.
//! 2. What was minted before that, perhaps without knowing of the delete, lies in its minter's copy, and the walks of `hold` bring it
//!    to everybody, beside the delete. So at the end either all copies hold a noted piece as residue, or none does.
//! 3. What could still carry the older state is gone by then: messages name an older ring, hints of older rings were handed over, and
//!    coordinators end requests that began under one.
//! 4. A copy that noted less than others keeps residue longer, and gives it back to them in a walk. It is the same residue, and
//!    goes with the next barrier.
//!
//! A node that restarts may know an old map at first: a copy that has collected is silent until the map says so too. A copy that was
//! lost meanwhile is another life, and the barrier waits for its report; it forgets whom it had walked over before
//! the step. Last-write-wins registers and two-phase sets keep their deletes for ever: those mean to beat whatever comes.
//!
//! Sources: DESIGN §9. The reason: Cassandra's tombstones that went by time alone (scylladb#3560), and hints, streams and logs that
//! were replayed behind a collection (scylladb#23712, #21662, #14823). That everybody must have passed a step before the next one
//! counts is how epochs reclaim memory (Fraser, "Practical lock freedom", 2004).
// bugs: LL-07, LL-08, LL-10, LL-22

use super::durable::Record;
use super::replica::{Output, Replica, Report};
use alloc::vec::Vec;
use data::causal::{Context, Step};
use data::leaderless::Stage;
use data::plant::{self, Bug};
use data::{Instant, NodeId};

impl Replica {
    /// Another ring: perhaps another stage.
    pub(super) fn meet_barrier(&mut self, out: &mut Vec<Output>) {
        let barrier = self.placement.barrier;
        // What was walked over under an earlier ring proves nothing of what was done since.
        self.walked_over.clear();
        self.passed_at = None;
        if barrier.stage != Stage::Idle {
            self.rebuilt_from.clear();
            self.walk_at = Instant::ZERO;
        }
        if let Some(promised) = self.durable.promise.as_ref().map(|(number, _)| *number) {
            if barrier.collected >= promised {
                let before = self.durable.copy.residue_count();
                self.persist(Record::Collected { number: promised }, out);
                let left = self.durable.copy.residue_count();
                (self.left, self.begun_at) = (left, None);
                out.push(Output::Report(Report::Collected { collected: before.saturating_sub(left), left }));
            } else if barrier.number > promised
                || (barrier.number == promised && barrier.stage == Stage::Idle)
            {
                // A map from before the promise says nothing of it.
                self.persist(Record::Released, out);
            }
        }
        // After a restart the map may be one from before what this copy has done since.
        let is_new = barrier.number > self.durable.promised;
        match barrier.stage {
            Stage::Promise if is_new => {
                let residue = self.durable.copy.residue();
                self.persist(Record::Promise { number: barrier.number, residue }, out);
            }
            // It does not know what the others know of deletes: as good as lost.
            Stage::Hold if is_new && self.durable.is_ready => self.persist(Record::Unready, out),
            Stage::Idle | Stage::Promise | Stage::Hold => {}
        }
        // Those who are counted have handed theirs over; whoever was not may not bring them any more.
        let old = self.durable.hints.iter().filter(|(_, hint)| hint.ring < barrier.fence);
        let old: Vec<(u64, NodeId)> = old.map(|(number, hint)| (number, hint.target)).collect();
        for (number, target) in old {
            self.drop_hint(target, out);
            self.persist(Record::HintGone { number }, out);
        }
    }
    /// A copy that is rebuilt while others hold knows what they noted, as they told it: it is one that noted nothing, not one that
    /// missed the beginning, after a restart too.
    pub(super) fn promise_nothing(&mut self, out: &mut Vec<Output>) {
        let barrier = self.placement.barrier;
        if barrier.stage != Stage::Idle && barrier.number > self.durable.promised {
            let residue = Context::new();
            self.persist(Record::Promise { number: barrier.number, residue }, out);
        }
    }
    /// Whether the map, as a restarted node first knows it, is one from before a ring that this copy took part in, or a barrier behind
    /// which it has collected. Who goes by the same map may still carry what is gone here, and a quorum of the two would be one of a
    /// ring that is over.
    pub(super) fn is_ahead_of_map(&self) -> bool {
        let is_older = self.placement.ring < self.durable.ring && !plant::is(Bug::GoesBackToRing);
        is_older || self.placement.barrier.collected < self.durable.collected
    }
    /// Whether this copy still has to walk over a peer before it can report.
    pub(super) fn awaits(&self, peer: NodeId) -> bool {
        self.placement.barrier.stage != Stage::Idle && !self.walked_over.contains(&peer)
    }
    /// Whether this node has done what the stage asks for, and its disk has it: the map may count it.
    pub fn has_passed(&self) -> bool {
        self.passed_at.is_some_and(|token| token <= self.persisted)
    }
    fn passes(&self) -> bool {
        // Asked at every tick: the rest is a walk over all hints.
        if self.placement.barrier.stage == Stage::Idle {
            return false;
        }
        let is_drained = self.durable.hints.iter().all(|(_, hint)| hint.ring >= self.placement.ring);
        let is_copy = self.placement.is_replica(self.life.node);
        let mut others = self.others().into_iter();
        let has_walked =
            others.all(|peer| self.walked_over.contains(&peer)) || plant::is(Bug::CollectsUnheld);
        is_drained && (!is_copy || (self.durable.is_ready && has_walked))
    }
    /// Whether there is something to collect, and time for it. `true` with one replica only: the first that is believed to be alive.
    pub fn wants_barrier(&self, now: Instant) -> bool {
        let residue = self.durable.copy.residue_count();
        let mut alive = self.placement.replicas.iter().filter(|node| self.alive.contains(node));
        self.placement.barrier.stage == Stage::Idle
            && alive.next() == Some(&self.life.node)
            && self.durable.is_ready
            && residue > 0
            // What the last one could not let go waits for something new.
            && residue != self.left
            && self.begun_at.is_some_and(|at| now.since(at) >= self.limits.barrier_every)
    }
    pub(super) fn tick_barrier(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.begun_at.get_or_insert(now);
        if self.passed_at.is_none() && self.passes() {
            self.passed_at = Some(self.token);
        }
        if plant::is(Bug::CollectsUnpromised) && self.durable.copy.residue_count() > 0 {
            let dots = self.durable.copy.residue();
            self.step(Step::Collect { dots }, out);
        }
    }
}
