//! When a new leader serves, nobody of an older epoch may still answer reads alone.
//!
//! Source: Gray and Cheriton, "Leases" (1989); DESIGN, single-leader, rule 4. bugs: SL-06 TC-03 TC-06
//!
//! Where clocks run further apart than the margin covers, leases last until that has been noticed: such runs are judged
//! by what clients see.

use super::Violation;
use crate::host::Host;
use data::{Epoch, GroupId, Index, NodeId};
use node::GroupState;
use protocol::single_leader::RoleName;
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "leases end before the next leader serves";
pub const ALONE: &str = "nobody goes on alone behind its successor";

#[derive(Default)]
pub struct Leases {
    /// The newest epoch that was seen serving.
    serving: BTreeMap<GroupId, Epoch>,
    /// How far the log of each leader went.
    ends: BTreeMap<(NodeId, GroupId), (Epoch, Index)>,
}

impl Leases {
    /// After a turn of `id`.
    pub fn check(
        &mut self,
        now: u64,
        hosts: &BTreeMap<NodeId, Host>,
        id: NodeId,
        lossy: &BTreeSet<GroupId>,
        whole_turns: bool,
    ) -> Option<Violation> {
        let node = hosts.get(&id)?.node.as_ref()?;
        for state in node.group_states() {
            let (Some(epoch), RoleName::Leader) = (state.replica.leads(), state.replica.role()) else {
                continue;
            };
            let newest = self.serving.entry(state.group).or_default();
            let end = state.replica.newest().index;
            let before = self.ends.insert((id, state.group), (epoch, end));
            if epoch < *newest && lossy.contains(&state.group) {
                if whole_turns && let Some(text) = goes_on(&state, before, end, *newest) {
                    return Some(Violation {
                        property: ALONE,
                        text: format!("{id} {}: {text}", state.group),
                    });
                }
                continue;
            }
            if epoch <= *newest {
                continue;
            }
            *newest = epoch;
            if lossy.contains(&state.group) {
                continue;
            }
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

/// Under `async` the leader alone commits: it takes no write of a client while another serves. What it does by the clock, as
/// expiring keys, is told to nobody.
///
/// Source: DESIGN, single-leader, rule 4; catalogue: F3; bugs: X-02
fn goes_on(
    state: &GroupState<'_>,
    before: Option<(Epoch, Index)>,
    end: Index,
    newest: Epoch,
) -> Option<String> {
    let view = state.replica.view().filter(|view| view.elects_best())?;
    let (_, from) = before.filter(|(epoch, _)| state.replica.leads() == Some(*epoch))?;
    let mut asked = None;
    state.replica.log().each(from.next(), end, |record| {
        if record.header.kind.is_change() && !record.header.request.is_none() {
            asked = Some(record.header.index);
        }
    });
    asked.map(|index| format!("writes {index} in {} while {newest} serves", view.epoch))
}

/// Until when, by its own clock, a leader of an epoch before `epoch` answers reads alone.
fn leased(host: &Host, group: GroupId, epoch: Epoch) -> Option<data::Instant> {
    let state = host.node.as_ref()?.group_states().find(|state| state.group == group)?;
    state.replica.leads().filter(|led| *led < epoch).map(|_| state.read_until)
}
