//! After all faults have ended and a bound has passed, every copy of a multi-leader shard holds the same, at every site: the same
//! writes, the same keys, the same context; no write waits for its cause, and no site is still copying another.
//!
//! And at all times: nothing that a site holds is stamped so far ahead of the truth that other sites would not take it, whatever the
//! wall clocks of fewer than half of the nodes do.
//!
//! Source: DESIGN section 8, CATALOGUE J17; bugs: ML-01, ML-02, ML-03, ML-06, ML-11, ML-12, ML-13, ML-15, TC-79

use super::{Violation, liveness};
use crate::clocks::true_ms;
use crate::host::Host;
use crate::world::World;
use data::NodeId;
use node::sites::SiteGroupState;
use std::collections::BTreeMap;

pub const NAME: &str = "sites become equal";
pub const TIMES: &str = "no site writes ahead of its time";

/// After a turn: the newest stamp of a copy lies within what receivers take.
pub fn check(now: u64, host: &Host, state: &node::GroupState<'_>) -> Option<Violation> {
    let newest_ms = state.site?.copy().newest().ms();
    let ahead_ms_max = protocol::multi_leader::Limits::default().ahead_ms_max;
    let by_ms = newest_ms - true_ms(now);
    (by_ms > ahead_ms_max).then(|| Violation {
        property: TIMES,
        text: format!("{} holds a stamp of {} that lies {by_ms} ms ahead", host.id, state.group),
    })
}

/// What is still missing, if anything is.
pub fn missing(world: &World) -> Option<Violation> {
    let map = world.newest_map()?;
    let broken = |text: String| {
        Some(Violation { property: NAME, text: format!("{text}; {}", liveness::known(world)) })
    };
    for it in map.multi_leader.values() {
        for shard in 0..it.sites.first().map_or(0, |site| site.groups.len()) {
            let groups: Vec<_> = it.sites.iter().filter_map(|site| site.groups.get(shard)).collect();
            let mut copies: BTreeMap<(NodeId, data::GroupId), SiteGroupState<'_>> = BTreeMap::new();
            for host in world.hosts.values() {
                let Some(node) = &host.node else { continue };
                let its = node.site_states().filter(|state| groups.contains(&&state.group));
                copies.extend(its.map(|state| ((host.id, state.group), state)));
            }
            let leaders = copies.values().filter(|state| state.is_leader).count();
            if leaders != groups.len() {
                return broken(format!("{leaders} of {} sites of {groups:?} exchange", groups.len()));
            }
            let Some(((first, _), state)) = copies.pop_first() else { continue };
            for ((other, group), its) in &copies {
                if !its.state.is_ready() || its.waiting_bytes > 0 {
                    return broken(format!("{group} on {other} is joining, or waits for causes"));
                }
                if its.state.vector() != state.state.vector() {
                    return broken(format!(
                        "{first} holds {:?} and {group} on {other} {:?}",
                        state.state.vector(),
                        its.state.vector()
                    ));
                }
                if its.state.copy() != state.state.copy()
                    || its.state.copy().tree() != state.state.copy().tree()
                {
                    return broken(format!(
                        "the copies of {first} and of {group} on {other} differ: {} and {} keys",
                        state.state.copy().len(),
                        its.state.copy().len()
                    ));
                }
            }
        }
    }
    None
}
