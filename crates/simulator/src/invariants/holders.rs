//! What a leader has committed is persisted by itself and by as many electable followers as the rule says.
//!
//! Source: DESIGN, rule 1: acknowledging replicas are a subset of the electable set. bugs: SL-11 SL-15 SL-19

use super::Violation;
use crate::host::Host;
use data::view::Replica;
use data::{GroupId, Index, NodeId};
use node::GroupState;
use protocol::single_leader::RoleName;
use std::collections::BTreeMap;

pub const NAME: &str = "electable replicas hold what is committed";

#[derive(Default)]
pub struct Holders {
    /// The furthest that a life of a node persisted a group's log, and its end when that was seen.
    persisted: BTreeMap<(GroupId, Replica), Index>,
    checked: BTreeMap<(GroupId, NodeId), Index>,
}

impl Holders {
    /// Whether a life of a node was seen to hold the log through `index`.
    pub fn holds(&self, group: GroupId, replica: Replica, index: Index) -> bool {
        self.persisted.get(&(group, replica)).is_some_and(|through| *through >= index)
    }

    /// The control plane agreed that this copy counts no more, and it went. Its last acknowledgement may have left in the same
    /// turn, and a leader that has not heard of the change yet counts it by the old rule, beside the new one.
    pub fn gave_back(&mut self, id: NodeId, of: GroupId) {
        let gone =
            self.persisted.iter_mut().filter(|((group, replica), _)| *group == of && replica.node == id);
        gone.for_each(|(_, through)| *through = Index(u64::MAX));
    }

    pub fn check(&mut self, host: &Host, state: &GroupState<'_>, lossy: bool) -> Option<Violation> {
        let me = Replica { node: host.id, incarnation: host.incarnation };
        let persisted = state.replica.persisted();
        self.persisted.insert((state.group, me), persisted);
        let commit = state.replica.commit();
        if lossy || state.replica.role() != RoleName::Leader {
            return None;
        }
        if self.checked.insert((state.group, host.id), commit) == Some(commit) {
            return None;
        }
        let view = state.replica.view()?;
        let needed = view.followers_needed() + 1;
        let holds = |replica: &&Replica| {
            self.persisted.get(&(state.group, **replica)).is_some_and(|through| *through >= commit)
        };
        let held = view.electable.iter().filter(holds).count();
        let text = || {
            format!(
                "{} {} committed {commit}: {held} of {:?} hold it, {needed} must",
                host.id, state.group, view.electable
            )
        };
        (held < needed && view.leader.is_some_and(|leader| leader.replica == me))
            .then(|| Violation { property: NAME, text: text() })
    }
}
