//! A life of a node comes back with all that it had persisted, or it does not come back as that life.
//!
//! Source: DESIGN, durable incarnations: what a replica acknowledged is counted for as long as its incarnation lives.
//! bugs: SL-13 SL-14

use super::Violation;
use crate::host::Host;
use data::{GroupId, Incarnation, Index, NodeId, Process};
use node::GroupState;
use std::collections::BTreeMap;

pub const NAME: &str = "a life keeps what it persisted";

#[derive(Default)]
pub struct Durable {
    /// Who held the copy when it was last seen, and how much of the log.
    seen: BTreeMap<(NodeId, GroupId), (Incarnation, Process, Index)>,
}

impl Durable {
    pub fn check(&mut self, host: &Host, state: &GroupState<'_>, lossy: bool) -> Option<Violation> {
        let persisted = state.replica.persisted();
        let now = (host.incarnation, host.process, persisted);
        let (life, process, before) = self.seen.insert((host.id, state.group), now)?;
        // In its first turn a process may hear of a newer epoch that began before the end of its log, and cut.
        let last = state.replica.log().last().position.epoch;
        let cut = |view: &data::view::View| {
            view.history
                .iter()
                .any(|begun| begun.epoch > last && begun.index <= before && begun.index > persisted)
        };
        let cut = state.replica.view().is_some_and(cut);
        let restarted = life == host.incarnation && process != host.process && !cut;
        let text = || {
            format!(
                "{} {} persisted {before} as {process} and has {persisted} as {}",
                host.id, state.group, host.process
            )
        };
        (restarted && persisted < before && !lossy).then(|| Violation { property: NAME, text: text() })
    }

    /// A copy that the node gave back holds nothing any more.
    pub fn gave_back(&mut self, id: NodeId, group: GroupId) {
        self.seen.remove(&(id, group));
    }
}
