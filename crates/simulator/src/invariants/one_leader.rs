//! An epoch of a group has one leader process.
//!
//! Source: "Election Safety", Ongaro and Ousterhout (2014), figure 3; DESIGN: epoch = one leader process.

use super::Violation;
use crate::host::Host;
use data::{Epoch, GroupId, NodeId, Process};
use node::GroupState;
use std::collections::BTreeMap;

pub const NAME: &str = "one leader per epoch";

#[derive(Default)]
pub struct OneLeader {
    leaders: BTreeMap<(GroupId, Epoch), (NodeId, Process)>,
}

impl OneLeader {
    pub fn check(&mut self, host: &Host, state: &GroupState<'_>) -> Option<Violation> {
        let epoch = state.replica.leads()?;
        let me = (host.id, host.process);
        let first = *self.leaders.entry((state.group, epoch)).or_insert(me);
        let text = || format!("{} {epoch}: {first:?} and {me:?}", state.group);
        (first != me).then(|| Violation { property: NAME, text: text() })
    }
}
