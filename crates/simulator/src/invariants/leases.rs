//! When a new leader serves, nobody of an older epoch may still answer reads alone.
//!
//! Source: Gray and Cheriton, "Leases" (1989); DESIGN, single-leader, rule 4. bugs: SL-06 TC-03 TC-06
//!
//! Where clocks run further apart than the margin covers, leases last until that has been noticed: such runs are judged
//! by what clients see.

use super::Violation;
use crate::host::Host;
use data::{Epoch, GroupId, NodeId};
use protocol::single_leader::RoleName;
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "leases end before the next leader serves";

#[derive(Default)]
pub struct Leases {
    /// The newest epoch that was seen serving.
    serving: BTreeMap<GroupId, Epoch>,
}

impl Leases {
    /// After a turn of `id`.
    pub fn check(
        &mut self,
        now: u64,
        hosts: &BTreeMap<NodeId, Host>,
        id: NodeId,
        lossy: &BTreeSet<GroupId>,
    ) -> Option<Violation> {
        let node = hosts.get(&id)?.node.as_ref()?;
        for state in node.group_states() {
            let (Some(epoch), RoleName::Leader) = (state.replica.leads(), state.replica.role()) else {
                continue;
            };
            let newest = self.serving.entry(state.group).or_default();
            if epoch <= *newest || lossy.contains(&state.group) {
                continue;
            }
            *newest = epoch;
            for host in hosts.values().filter(|host| host.id != id) {
                let Some(until) = leased(host, state.group, epoch) else { continue };
                let shown = host.clock.instant(now);
                if shown < until {
                    let text =
                        format!("{} {}: {id} serves in {epoch}, {shown:?} < {until:?}", host.id, state.group);
                    return Some(Violation { property: NAME, text });
                }
            }
        }
        None
    }
}

/// Until when, by its own clock, a leader of an epoch before `epoch` answers reads alone.
fn leased(host: &Host, group: GroupId, epoch: Epoch) -> Option<data::Instant> {
    let state = host.node.as_ref()?.group_states().find(|state| state.group == group)?;
    state.replica.leads().filter(|led| *led < epoch).map(|_| state.read_until)
}
