//! A copy is doubted only where memory was harmed, and what was harmed is noticed and made anew.
//!
//! The second half is asked at the end of a run: a harmed copy that nobody noticed differs from the others, and so the run does not
//! converge (`liveness`, within thirty seconds). Until then a harmed copy is left out of `state`. So is one that was made from the
//! snapshot of a group with a harmed copy in it: a harmed follower that is elected before its audit passes its state on, and
//! two copies outvote the third. Nothing that compares copies could tell; then the run asks for equal copies only.
//!
//! A copy whose harm was overwritten is sound from there on only: its disk may hold a table of before, and a start from that is
//! as harmed as it was.
//!
//! Source: DESIGN §10; bugs: TC-40

use super::Violation;
use data::{GroupId, Index, NodeId};
use node::Event;
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "only harmed copies are doubted";

#[derive(Default)]
pub struct Audits {
    /// Harmed copies: up to which index, if they were seen to be sound there.
    harmed: BTreeMap<(NodeId, GroupId), Option<Index>>,
    /// Groups with a harmed copy at any time.
    ever: BTreeSet<GroupId>,
    pub flips: u64,
    pub doubted: u64,
    pub rebuilt: u64,
}

impl Audits {
    pub fn flipped(&mut self, id: NodeId, group: GroupId) {
        self.harmed.insert((id, group), None);
        self.ever.insert(group);
        self.flips += 1;
    }
    /// Whether the group has a harmed copy anywhere, or one that can become so again.
    pub fn is_harmed(&self, group: GroupId) -> bool {
        self.harmed.keys().any(|(_, of)| *of == group)
    }
    /// Whether the table that the copy has at `applied` is harmed.
    pub fn is_copy_harmed(&self, id: NodeId, group: GroupId, applied: Index) -> bool {
        self.harmed.get(&(id, group)).is_some_and(|sound_from| sound_from.is_none_or(|from| applied < from))
    }
    /// The copy holds at `applied` what sound ones hold: what was harmed is overwritten, or made anew.
    pub fn is_sound(&mut self, id: NodeId, group: GroupId, applied: Index) {
        self.harmed.insert((id, group), Some(applied));
    }
    /// The node gave its copy back.
    pub fn gave_back(&mut self, id: NodeId, group: GroupId) {
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
                let others = self.harmed.iter().filter(|((other, of), _)| of == group && *other != id);
                // Nothing is above everything: one that is harmed still makes the copy harmed.
                let worst = others.map(|(_, sound_from)| sound_from.unwrap_or(Index(u64::MAX))).max();
                match worst {
                    Some(Index(u64::MAX)) => self.harmed.insert((id, *group), None),
                    Some(from) => self.harmed.insert((id, *group), Some(from)),
                    None => self.harmed.remove(&(id, *group)),
                };
                None
            }
            _ => None,
        }
    }
}
