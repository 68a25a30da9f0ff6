//! A copy to go on from when a site is lost: a read replica at the recovery site, which always knows how much would be missing.
//!
//! It asks the leader how far the log is committed, over and over, by the way of [`crate::freshness`]: what this copy lacks was
//! acknowledged no longer ago than its age, whatever the clocks say. That is its recovery point. When the site of the leader is lost
//! the point stands still, and the age grows from then on: what it was at the moment of the loss is what the loss costs.
// catalogue: C3

use crate::node::Node;
use core::time::Duration;
use data::GroupId;

/// How often the leader is asked. A guess: well below what operators ask of a recovery point, and a few messages a second.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// What would be lost if this copy had to lead now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryPoint {
    /// Nothing that it lacks was acknowledged longer ago; nothing when that was never proved.
    pub age: Option<Duration>,
    /// Entries committed when the leader was last heard that it has not applied.
    pub entries: u64,
}

impl Node {
    fn is_recovery_copy(&self, group: GroupId) -> bool {
        let me = self.config.node;
        self.map
            .view(group)
            .is_some_and(|view| view.settings.recovery_site.is_some() && view.read_replicas.contains(&me))
    }

    /// Once a tick.
    pub(crate) fn tend_recovery(&mut self, group: GroupId) {
        if self.is_recovery_copy(group) {
            let since = self.now.instant - ASK_EVERY;
            self.prove_freshness(group, since);
        }
    }

    /// Of a copy at a recovery site, and of no other.
    pub fn recovery_point(&self, group: GroupId) -> Option<RecoveryPoint> {
        let it = self.groups.get(&group).filter(|_| self.is_recovery_copy(group))?;
        let (age, entries) = (it.freshness.age(self.now.instant), it.freshness.missing(it.applied));
        Some(RecoveryPoint { age, entries })
    }
}
