//! After all faults have ended and a bound has passed, every copy of a multi-leader shard holds the same, at every site: the same
//! writes, the same keys, the same context; no write waits for its cause, and no site is still copying another.
//!
//! And at all times: no log holds a write twice. A write that comes again changes nothing in a value, so copies would stay equal; what
//! it costs are logs and links that carry it on for ever. And nothing that a site holds is stamped so far ahead of the truth that other
//! sites would not take it, whatever the wall clocks of fewer than half of the nodes do.
//!
//! Source: DESIGN section 8, CATALOGUE J17; bugs: ML-01, ML-02, ML-03, ML-06, ML-11, ML-12, ML-13, ML-15, TC-79

use super::{Violation, liveness};
use crate::clocks::true_ms;
use crate::host::Host;
use crate::world::World;
use data::record::Header;
use data::{Epoch, Index, NodeId, WriteStamp};
use node::sites::{SiteGroupState, record_of};
use protocol::multi_leader::Record;
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "sites become equal";
pub const ONCE: &str = "a site logs a write once";

/// Where each write lies in the log of each group, by the epoch that wrote it there: what one leader had not committed its successor
/// may have to take again.
#[derive(Default)]
pub struct Logged {
    at: BTreeMap<(data::GroupId, Epoch, WriteStamp), Index>,
}

impl Logged {
    /// A node writes to its log.
    pub fn note(&mut self, header: &Header, payload: &[u8]) -> Option<Violation> {
        let Some(Record::Write(write)) = record_of(payload) else { return None };
        let at = *self.at.entry((header.group, header.epoch, write.stamp)).or_insert(header.index);
        let text = || {
            format!(
                "{} holds {:?} at {at} and at {} of {}",
                header.group, write.stamp, header.index, header.epoch
            )
        };
        (at != header.index).then(|| Violation { property: ONCE, text: text() })
    }
}

/// Nodes that were at none of a multi-leader keyspace's sites, at any time. Their clients are sent to one site now and another one
/// later, and each shows what it has: what holds at every site at all times holds for them with a session token only.
#[derive(Default)]
pub struct Guests {
    /// Up to which version of its map a node was looked at.
    looked: BTreeMap<NodeId, u64>,
    of: BTreeSet<(String, NodeId)>,
}

impl Guests {
    pub fn note(&mut self, host: &Host) {
        let Some(map) = host.node.as_ref().map(node::Node::map) else { return };
        if map.multi_leader.is_empty() || self.looked.insert(host.id, map.version) == Some(map.version) {
            return;
        }
        let site = map.nodes.get(&host.id).map(|node| node.site.as_str());
        let is_guest = |it: &control::MultiLeader| site.is_none_or(|site| it.site_named(site).is_none());
        let ids = map.multi_leader.iter().filter(|(_, it)| is_guest(it)).map(|(id, _)| *id);
        let names = ids.filter_map(|id| map.keyspaces.get(&id)).map(|it| (it.name.clone(), host.id));
        self.of.extend(names);
    }
    pub fn has(&self, keyspace: &str, node: NodeId) -> bool {
        self.of.contains(&(keyspace.to_owned(), node))
    }
}

pub const TIMES: &str = "no site writes ahead of its time";

pub const AGREED: &str = "no two writes of a key that sites agreed to are concurrent";

/// After a turn: where sites agree to each write no copy holds two that did not know of each other.
// catalogue: J2
fn concurrent(host: &Host, state: &node::GroupState<'_>) -> Option<Violation> {
    let it = host.node.as_ref()?.map().multi_leader_of(state.group)?;
    if it.conflict != data::multi_leader::Conflict::Block {
        return None;
    }
    let (key, _) = state.site?.copy().disputed().next()?;
    let text = format!("{} holds concurrent values of {} in {}", host.id, key.escape_ascii(), state.group);
    Some(Violation { property: AGREED, text })
}

/// The same for the newest stamp of a copy: it lies within what receivers take.
pub fn check(now: u64, host: &Host, state: &node::GroupState<'_>) -> Option<Violation> {
    if let Some(violation) = concurrent(host, state) {
        return Some(violation);
    }
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
