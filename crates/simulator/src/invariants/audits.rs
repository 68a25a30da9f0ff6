//! A copy is doubted only where memory was harmed, and what was harmed is noticed and made anew.
//!
//! The second half is asked at the end of a run: a harmed copy that nobody noticed differs from the others, and so the run does not
//! converge (`liveness`, within thirty seconds). Until then a harmed copy is left out of `state`. So is one that was made from the
//! snapshot of a group with a harmed copy in it: a harmed follower that is elected before its audit passes its state on, and
//! two copies outvote the third. Nothing that compares copies could tell; then the run asks for equal copies only.
//!
//! Source: DESIGN §10; bugs: TC-40

use super::Violation;
use data::{GroupId, NodeId};
use node::Event;
use std::collections::BTreeSet;

pub const NAME: &str = "only harmed copies are doubted";

#[derive(Default)]
pub struct Audits {
    harmed: BTreeSet<(NodeId, GroupId)>,
    /// Groups with a harmed copy at any time.
    ever: BTreeSet<GroupId>,
    pub flips: u64,
    pub doubted: u64,
    pub rebuilt: u64,
}

impl Audits {
    pub fn flipped(&mut self, id: NodeId, group: GroupId) {
        self.harmed.insert((id, group));
        self.ever.insert(group);
        self.flips += 1;
    }
    /// Whether the group has a harmed copy anywhere.
    pub fn is_harmed(&self, group: GroupId) -> bool {
        self.harmed.iter().any(|(_, of)| *of == group)
    }
    pub fn is_copy_harmed(&self, id: NodeId, group: GroupId) -> bool {
        self.harmed.contains(&(id, group))
    }
    /// The copy holds what sound ones hold: what was harmed is overwritten, or made anew.
    pub fn is_sound(&mut self, id: NodeId, group: GroupId) {
        self.harmed.remove(&(id, group));
    }
    pub fn told(&mut self, id: NodeId, event: &Event) -> Option<Violation> {
        match event {
            Event::Doubted { group, doubt, .. } => {
                self.doubted += 1;
                let text = || format!("{id} {group}: {doubt:?}");
                (!self.ever.contains(group)).then(|| Violation { property: NAME, text: text() })
            }
            Event::Rebuilt { group, .. } | Event::SnapshotInstalled { group, .. } => {
                self.rebuilt += u64::from(matches!(event, Event::Rebuilt { .. }));
                let others = self.harmed.iter().any(|(other, of)| of == group && *other != id);
                if others {
                    self.harmed.insert((id, *group));
                } else {
                    self.harmed.remove(&(id, *group));
                }
                None
            }
            _ => None,
        }
    }
}
