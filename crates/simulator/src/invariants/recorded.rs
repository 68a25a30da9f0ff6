//! The recorded view binds its leader before it hears of it: what a leader commits is held by as many replicas of the newest
//! recorded electable set as the rule says, and no set changes while an election counts against it.
//!
//! Source: DESIGN, "single-leader", rule 1 (from proposing a change until it has learned the outcome a leader meets both
//! sets), and "control plane" (an election counts against the electable set that it found). bugs: SL-20 TC-04 TC-05

use super::{Violation, holders::Holders};
use crate::host::Host;
use data::view::{Leader, Replica, View};
use data::{GroupId, Index, NodeId};
use node::GroupState;
use protocol::single_leader::RoleName;
use std::collections::BTreeMap;

pub const NAME: &str = "the recorded electable set binds";

#[derive(Default)]
pub struct Recorded {
    /// The newest view that any node has heard of.
    newest: BTreeMap<GroupId, View>,
    checked: BTreeMap<(GroupId, NodeId), Index>,
}

impl Recorded {
    pub fn check(
        &mut self,
        host: &Host,
        state: &GroupState<'_>,
        holders: &Holders,
        lossy: bool,
    ) -> Option<Violation> {
        let view = state.replica.view()?;
        match self.newest.get(&state.group) {
            Some(newest) if newest.number > view.number => {}
            Some(newest) if newest.number == view.number => return None,
            before => {
                let broken = before.and_then(|before| changed_in_election(before, view));
                self.newest.insert(state.group, view.clone());
                return broken;
            }
        }
        if lossy || state.replica.role() != RoleName::Leader {
            return None;
        }
        // This leader has not heard of the newest view, which still names it.
        let newest = self.newest.get(&state.group)?;
        let replica = Replica { node: host.id, incarnation: host.incarnation };
        let commit = state.replica.commit();
        let seen = self.checked.insert((state.group, host.id), commit);
        if newest.leader != Some(Leader { replica, process: host.process })
            || seen.is_none_or(|c| c == commit)
        {
            return None;
        }
        let needed = newest.followers_needed() + 1;
        let held = newest.electable.iter().filter(|it| holders.holds(state.group, **it, commit)).count();
        let text = || {
            format!(
                "{} {} committed {commit}: {held} of the recorded {:?} hold it, {needed} must",
                host.id, state.group, newest.electable
            )
        };
        (held < needed).then(|| Violation { property: NAME, text: text() })
    }
}

/// Whether the set changed between two views of one election. An election that ends may begin the set anew.
fn changed_in_election(before: &View, after: &View) -> Option<Violation> {
    let same_election = before.election.is_some() && before.election == after.election;
    let text = || {
        format!(
            "{} {}: {:?} became {:?} in the election of {:?}",
            after.group, after.number, before.electable, after.electable, after.election
        )
    };
    (same_election && before.electable != after.electable).then(|| Violation { property: NAME, text: text() })
}
