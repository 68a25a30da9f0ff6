//! A leader commits nothing older before its own epoch's first entry.
//!
//! Source: Ongaro and Ousterhout (2014), section 5.4.2 and figure 8; DESIGN, single-leader, rule 2. bugs: SL-19

use super::Violation;
use crate::host::Host;
use data::{Epoch, GroupId, Index, NodeId};
use node::GroupState;
use protocol::single_leader::RoleName;
use std::collections::BTreeMap;

pub const NAME: &str = "the own epoch commits first";

#[derive(Default)]
pub struct OwnEpoch {
    /// What was committed when a leadership was first seen.
    elect: BTreeMap<(GroupId, NodeId), (Epoch, Index)>,
}

impl OwnEpoch {
    pub fn check(&mut self, host: &Host, state: &GroupState<'_>) -> Option<Violation> {
        if state.replica.role() != RoleName::LeaderElect {
            return None;
        }
        let (epoch, commit) = (state.replica.leads()?, state.replica.commit());
        let seen = self.elect.entry((state.group, host.id)).or_insert((epoch, commit));
        if seen.0 != epoch {
            *seen = (epoch, commit);
        }
        let text = || format!("{} {} {epoch}: {} and then {commit}", host.id, state.group, seen.1);
        (commit > seen.1).then(|| Violation { property: NAME, text: text() })
    }
}
