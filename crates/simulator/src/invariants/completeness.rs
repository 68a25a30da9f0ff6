//! A leader holds everything that was committed before its epoch: so acknowledged writes survive every election.
//!
//! Source: "Leader Completeness", Ongaro and Ousterhout (2014), figure 3; here the meeting of write quorum and election
//! quorum (DESIGN, single-leader). bugs: SL-01 SL-02 SL-14 SL-15

use super::{Violation, committed::Committed};
use crate::host::Host;
use data::{Epoch, GroupId, NodeId};
use node::GroupState;
use std::collections::BTreeMap;

pub const NAME: &str = "acknowledged entries survive elections";

#[derive(Default)]
pub struct Completeness {
    checked: BTreeMap<(NodeId, GroupId), Epoch>,
    /// The newest epoch that was seen led.
    newest: BTreeMap<GroupId, Epoch>,
}

impl Completeness {
    pub fn check(
        &mut self,
        host: &Host,
        state: &GroupState<'_>,
        committed: &Committed,
        lossy: bool,
    ) -> Option<Violation> {
        let epoch = state.replica.leads()?;
        // Once per leadership: when it is first seen.
        if lossy || self.checked.insert((host.id, state.group), epoch) == Some(epoch) {
            return None;
        }
        // One that was paused may hear of its election when others have been elected and have committed since.
        let newest = self.newest.entry(state.group).or_default();
        *newest = epoch.max(*newest);
        if *newest > epoch {
            return None;
        }
        let (index, hash) = committed.highest(state.group)?;
        let log = state.replica.log();
        let (last, mine) = (log.last().position.index, log.hash_at(index));
        let differs = mine.zip(hash).is_some_and(|(mine, hash)| mine != hash);
        let text = || {
            format!(
                "{} leads {} in {epoch} with a log to {last}, {index} is committed ({mine:x?}, {hash:x?})",
                host.id, state.group
            )
        };
        (last < index || differs).then(|| Violation { property: NAME, text: text() })
    }
    pub fn forget(&mut self, id: NodeId) {
        self.checked.retain(|(node, _), _| *node != id);
    }
}
