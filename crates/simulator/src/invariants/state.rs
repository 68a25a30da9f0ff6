//! Equal history means equal state: applying is deterministic, and nobody applies what is not in the log. Copies of a keyspace under
//! `best-effort` that differ say what they went on without: a difference that no gap explains is a violation.
//!
//! Source: "State Machine Safety"; bugs: SL-23 SL-24

use super::Violation;
use super::audits::Audits;
use crate::host::Host;
use data::{GroupId, NodeId};
use node::GroupState;
use std::collections::{BTreeMap, HashMap};

pub const NAME: &str = "equal history, equal state";
/// The hash walks the table: it is taken now and then.
const EVERY_NS: u64 = 700_000_000;

#[derive(Default)]
pub struct State {
    /// Only looked up. State by the rolling hash of the history that made it, and by what
    /// its copy says to have gone on without.
    states: HashMap<(GroupId, u64, u64), u64>,
    looked: BTreeMap<(NodeId, GroupId), u64>,
}

impl State {
    pub fn check(
        &mut self,
        now: u64,
        host: &Host,
        state: &GroupState<'_>,
        audits: &mut Audits,
    ) -> Option<Violation> {
        let looked = self.looked.entry((host.id, state.group)).or_default();
        if now < *looked + EVERY_NS {
            return None;
        }
        *looked = now;
        let history = state.replica.log().hash_at(state.applied)?;
        let lacks = state.shortfall.own().digest();
        let hash = state.table.state_hash();
        if audits.is_copy_harmed(host.id, state.group, state.applied) {
            if self.states.get(&(state.group, history, lacks)) == Some(&hash) {
                audits.is_sound(host.id, state.group, state.applied);
            }
            return None;
        }
        let first = *self.states.entry((state.group, history, lacks)).or_insert(hash);
        let text =
            || format!("{} {} at {}: {hash:x}, elsewhere {first:x}", host.id, state.group, state.applied);
        (first != hash).then(|| Violation { property: NAME, text: text() })
    }
}
