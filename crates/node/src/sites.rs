//! Multi-leader keyspaces on this node: in each site a group with a leader of its own, and the exchange between the sites,
//! run by those leaders. The machines are [`protocol::multi_leader`]; here is what surrounds them.
//!
//! | file | does |
//! |---|---|
//! | `sites` | sites' groups and their settings, messages, timers; carries out what an exchange wants |
//! | `clocks` | nodes tell each other what their wall clocks show |
//! | `shard` | the state that a group's log makes, on each of its copies |
//! | `entry` | the payload of a `site` entry |
//! | `execute` | commands on a causal shard |
//! | `transaction` | EXEC: several of them as one write |
//! | `show` | KEYSPACE CREATE, ALTER and INFO, counters, looks for metrics and judges |
//! | `home` | commands go where their key is at home; homes move |
//! | `claim` | under `block` a write waits until the sites have agreed |
//! | `session` | a session that goes to another site |
//! | `inbox` | conflicts between sites, and words on them |
//! | `receipt` | which sites hold a write |
//! | `sheet` | what a keyspace promises |
//!
//! *A site's group is a group.* Log, elections, commit rule, held replies, retried requests, snapshots and reads of followers are
//! those of any single-leader group: its entries are `site` records in place of rows, and the state that they make is a
//! [`protocol::multi_leader::SiteState`] in place of a table.
//!
//! *Where a client's command goes.* To the leader of its node's own site; from a node elsewhere to the leader of one of the sites,
//! the first in the node's own order that it can reach. What was sent to one site's group is never sent to another's: its request
//! id is known to one log only.
// catalogue: I1 I2 I3

mod claim;
pub(crate) mod entry;
mod execute;
mod home;
mod inbox;
mod receipt;
pub(crate) mod session;
pub(crate) mod shard;
pub mod sheet;
mod show;
mod transaction;

use crate::group::Group;
use crate::io::{Event, Output};
use crate::message::PeerMessage;
use crate::node::Node;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;
use control::{ClusterMap, MultiLeader};
use data::multi_leader::Topology;
use data::{GroupId, Index, KeyspaceId, NodeId, RequestId, Site, SiteId};
pub use entry::record_of;
use protocol::multi_leader::{self, Config, Leadership, Message, Output as SiteOutput, Report};
pub(crate) use shard::{RestoredSite, SiteShard};
pub use show::{LinkState, SiteGroupState};

/// Nodes of this message version hold sites' groups.
pub(crate) const SINCE_VERSION: u8 = 6;
/// Uncommitted bytes of a group beyond which nothing is taken from other sites: it comes again.
const PENDING_BYTES_MAX: usize = 32 << 20;
/// A leader keeps the log for peers that are behind: one entry for so many bytes that make a snapshot worth while. A guess: at 64
/// bytes an entry as much log as a snapshot waits for.
const BYTES_PER_ENTRY: usize = 64;

/// Counts for INFO and the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Messages to and from other sites, and their writes.
    pub sent: u64,
    pub received: u64,
    pub writes_sent: u64,
    pub writes_received: u64,
    /// Keys that held concurrent values when a remote write came.
    pub conflicts: u64,
    /// Values that last-write-wins let go although the winner had not seen them.
    pub lost: u64,
    pub copies: u64,
    pub copies_abandoned: u64,
    pub overdue: u64,
    /// Decisions on conflicts that were let go.
    pub inbox_dropped: u64,
    pub stopped: u64,
    /// Times that this node's clock was found to be ahead of most others.
    pub clock_ahead: u64,
    pub dropped: u64,
    /// Writes for which other sites were asked, and those that were refused, by them or for want of them.
    pub claims: u64,
    pub claims_refused: u64,
}

/// Which site's groups this node sends its clients' commands to, by keyspace.
pub(crate) type Served = BTreeMap<KeyspaceId, SiteId>;

/// The exchange's configuration, as the map has it.
fn config_of(it: &MultiLeader) -> Config {
    let id = |name: &Site| it.site_named(name.as_str()).map(|site| site.id).unwrap_or_default();
    let topology = match &it.topology {
        Topology::AllToAll => multi_leader::Topology::AllToAll,
        Topology::Circular => multi_leader::Topology::Circular,
        Topology::Star { hub } => multi_leader::Topology::Star { hub: id(hub) },
        Topology::Tree { edges } => multi_leader::Topology::Tree {
            parents: edges.iter().map(|(child, parent)| (id(child), id(parent))).collect(),
        },
    };
    Config { version: it.version, sites: it.sites.iter().map(|site| site.id).collect(), topology }
}

impl Node {
    pub(crate) fn is_multi_leader(&self, keyspace: KeyspaceId) -> bool {
        self.map.multi_leader.contains_key(&keyspace)
    }

    /// Which site serves this node's clients: its own; from elsewhere the first whose leaders can be reached, each node beginning
    /// with another one; the one of before as long as it can.
    pub(crate) fn choose_sites(&mut self) {
        let mut served = Served::new();
        let me = self.config.node;
        for (keyspace, it) in &self.map.multi_leader {
            let own = self.map.nodes.get(&me).and_then(|node| it.site_named(&node.site));
            let led = |group: &GroupId| {
                self.map
                    .leader_of(*group)
                    .is_some_and(|leader| leader == me || self.peers.contains_key(&leader))
            };
            let can = |site: &&control::SiteGroups| site.groups.iter().all(led);
            let before = self.served.get(keyspace).and_then(|id| it.site(*id)).filter(can);
            let count = it.sites.len().max(1);
            let turn = it.sites.iter().cycle().skip(me.0 as usize % count).take(count);
            let first = it.sites.get(me.0 as usize % count);
            let chosen = own.or(before).or_else(|| turn.clone().find(can)).or(first);
            if let Some(site) = chosen {
                served.insert(*keyspace, site.id);
            }
        }
        self.served = served;
    }

    /// A peer came or went: clients of nodes that are at none of a keyspace's sites may have to be sent elsewhere.
    pub(crate) fn reroute_sites(&mut self) {
        if self.map.multi_leader.is_empty() {
            return;
        }
        self.choose_sites();
        self.routes = crate::route::Routes::of(&self.map, &self.groups_elsewhere());
    }

    /// Groups of the sites that this node's clients are not sent to.
    pub(crate) fn groups_elsewhere(&self) -> BTreeSet<GroupId> {
        let mut groups = BTreeSet::new();
        for (keyspace, it) in &self.map.multi_leader {
            let served = self.served.get(keyspace);
            let others = it.sites.iter().filter(|site| Some(&site.id) != served);
            groups.extend(others.flat_map(|site| site.groups.iter().copied()));
        }
        groups
    }

    /// The state of a group of a site; nothing of other groups.
    pub(crate) fn open_site(
        &self,
        map: &ClusterMap,
        group: GroupId,
        restored: RestoredSite,
        through: (Index, Index),
    ) -> Option<SiteShard> {
        let it = map.multi_leader_of(group)?;
        let (site, _) = it.place_of(group)?;
        let keyspace = map.keyspaces.get(&map.view(group)?.keyspace)?;
        let mut shard = SiteShard::open(
            (site.id, site.name),
            &it.founders,
            (it.conflict.clone(), keyspace.seed),
            restored,
            through,
        );
        shard.set_conflict(&it.conflict, self.map.rules_of(keyspace.id), self.config.merge_engine);
        shard.names = it.sites.iter().map(|site| (site.id, site.name)).collect();
        Some(shard)
    }

    /// The map changed: exchanges hear of sites and topologies.
    pub(crate) fn meet_sites(&mut self) {
        let map = self.map.clone();
        self.judge_clock();
        for (group, _) in map.multi_leader.values().flat_map(|it| {
            it.sites.iter().flat_map(|site| site.groups.iter().map(move |group| (*group, site.id)))
        }) {
            let Some(it) = map.multi_leader_of(group) else { continue };
            let Some(keyspace) = map.view(group).map(|view| view.keyspace) else { continue };
            let (now, engine) = (self.now.instant, self.config.merge_engine);
            let Some(site) = self.groups.get_mut(&group).and_then(|it| it.site.as_mut()) else { continue };
            site.set_conflict(&it.conflict, map.rules_of(keyspace), engine);
            site.names = it.sites.iter().map(|site| (site.id, site.name)).collect();
            let mut out = Vec::new();
            if let Some(exchange) = site.exchange.as_mut().filter(|it2| it2.config().version < it.version) {
                exchange.configure(now, config_of(it), &mut out);
            }
            self.carry_out_site(group, out);
        }
    }

    /// A group's log is committed further: its leader begins the exchange with it, or goes on.
    pub(crate) fn tell_site(&mut self, group: GroupId) {
        let map = self.map.clone();
        let now = self.now;
        let Some(it) = self.groups.get_mut(&group) else { return };
        let (serving, newest) = (it.is_serving(), it.replica.newest().index);
        let epoch = it.replica.leads();
        let Some(site) = &mut it.site else { return };
        if site.exchange.is_none()
            && serving
            && site.applied == newest
            && let Some(epoch) = epoch
            && let Some(multi) = map.multi_leader_of(group)
        {
            let me = Leadership { site: site.me, epoch, shard: group };
            site.lead(me, now.instant, config_of(multi), self.clocks.bounds);
        }
        let mut out = core::mem::take(&mut site.late);
        site.tell_committed(now, &mut out);
        self.carry_out_site(group, out);
        self.tend_behind(group);
    }

    /// What this node may send to each other site is for those of its shards that have something to send, in equal parts.
    pub(crate) fn divide_site_rate(&mut self) {
        let Some(rate) = self.config.site_bytes_per_second else { return };
        let now = self.now.instant;
        let of = |it: &Group| it.site.as_ref()?.exchange.as_ref().map(|it| it.has_to_send(now));
        let busy = self.groups.values().filter(|it| of(it) == Some(true)).count() as u64;
        let part = (u64::from(rate) / busy.max(1)).max(1);
        let sites = self.groups.values_mut().filter_map(|it| it.site.as_mut()?.exchange.as_mut());
        sites.for_each(|exchange| exchange.set_bandwidth(Some(part)));
    }

    /// Once a tick.
    pub(crate) fn tend_site(&mut self, group: GroupId) {
        let now = self.now;
        let Some(it) = self.groups.get_mut(&group) else { return };
        // A planned switchover waits until nothing new is proposed.
        let rests = it.paused.is_some() || self.disk_full || !it.is_serving();
        let Some(site) = &mut it.site else { return };
        if site.exchange.is_none() {
            return self.tell_site(group);
        }
        let mut out = core::mem::take(&mut site.late);
        match &mut site.exchange {
            Some(exchange) if rests => exchange.rest(now, &mut out),
            Some(exchange) => exchange.tick(now, &mut out),
            None => {}
        }
        self.carry_out_site(group, out);
        self.tend_behind(group);
    }

    /// What the leader of another site's group says.
    pub(crate) fn on_site_message(
        &mut self,
        from: NodeId,
        group: GroupId,
        origin: GroupId,
        message: Message,
    ) {
        let now = self.now;
        self.sites.received += 1;
        if let Message::Writes { writes } = &message {
            self.sites.writes_received += writes.len() as u64;
        }
        let map = self.map.clone();
        let known = map.multi_leader_of(group).and_then(|it| {
            let ((_, shard), (site, its)) = (it.place_of(group)?, it.place_of(origin)?);
            (shard == its && map.view(origin)?.holds_copy(from)).then_some(site.id)
        });
        let Some(peer) = known else {
            self.sites.dropped += 1;
            return;
        };
        let Some(it) = self.groups.get_mut(&group) else { return };
        // bugs: X-05. What would have to be written waits for room: it is sent again.
        let full = it.paused.is_some() || self.disk_full || it.replica.pending_bytes() > PENDING_BYTES_MAX;
        if self.stopped.is_some() || !it.is_serving() || (full && message.writes()) {
            self.sites.dropped += 1;
            return;
        }
        let mut out = Vec::new();
        if let Some(exchange) = it.site.as_mut().and_then(|site| site.exchange.as_mut()) {
            exchange.receive(now, peer, message, &mut out);
        }
        self.carry_out_site(group, out);
    }

    /// Carries out what an exchange wants; reading its log may make it want more.
    fn carry_out_site(&mut self, group: GroupId, out: Vec<SiteOutput>) {
        let mut wanted: VecDeque<SiteOutput> = out.into();
        let now = self.now;
        while let Some(output) = wanted.pop_front() {
            match output {
                SiteOutput::Send { to, message } => self.send_to_site(group, to, message),
                SiteOutput::Propose { record } => {
                    let Some(it) = self.groups.get_mut(&group) else { return };
                    let none = (RequestId::NONE, None);
                    if it.propose_site(none, now.wall.middle_ms(), record).is_none() {
                        return;
                    }
                    self.unflushed.insert(group);
                }
                SiteOutput::Fetch { peer, from, bytes_max } => {
                    let Some(site) = self.groups.get_mut(&group).and_then(|it| it.site.as_mut()) else {
                        return;
                    };
                    match site.fetch(now.instant, (peer, from, bytes_max)) {
                        Ok(fetched) => {
                            let mut more = Vec::new();
                            if let Some(exchange) = &mut site.exchange {
                                exchange.fetched(now, peer, from, fetched, &mut more);
                            }
                            wanted.extend(more);
                        }
                        Err(Some((from, bytes_max))) => self.read_site_log(group, from, bytes_max),
                        Err(None) => {}
                    }
                }
                SiteOutput::Claimed { claim } => self.claimed(group, claim),
                SiteOutput::Unclaimed { claim, why } => self.unclaimed(group, claim, why),
                SiteOutput::Report(report) => self.on_site_report(group, report),
            }
        }
    }

    fn read_site_log(&mut self, group: GroupId, from: Index, bytes_max: u64) {
        let to = self.config.node;
        self.outputs.push(Output::ReadLog { group, to, from, bytes_max: bytes_max as usize });
    }

    /// A piece of the group's own log from this index on, for another site.
    pub(crate) fn on_site_log_read(&mut self, group: GroupId, from: Index, records: &Bytes) {
        let now = self.now;
        let Some(site) = self.groups.get_mut(&group).and_then(|it| it.site.as_mut()) else { return };
        let mut out = Vec::new();
        let further = match site.read(now.instant, from, records) {
            Ok(Some((peer, from, fetched))) => {
                if let Some(exchange) = &mut site.exchange {
                    exchange.fetched(now, peer, from, fetched, &mut out);
                }
                site.next_reading(now.instant)
            }
            Ok(None) => site.next_reading(now.instant),
            Err(next) => Some(next),
        };
        if let Some((from, bytes_max)) = further {
            self.read_site_log(group, from, bytes_max);
        }
        self.carry_out_site(group, out);
    }

    /// To the leader of that site's group; who is not within reach hears it again.
    fn send_to_site(&mut self, group: GroupId, to: SiteId, message: Message) {
        let target = self.map.multi_leader_of(group).and_then(|it| {
            let (_, shard) = it.place_of(group)?;
            it.site(to)?.groups.get(shard).copied()
        });
        let Some(target) = target else { return };
        let Some(leader) = self.map.leader_of(target) else { return };
        if self.peers.get(&leader).is_some_and(|version| *version >= SINCE_VERSION) {
            self.sites.sent += 1;
            if let Message::Writes { writes } = &message {
                self.sites.writes_sent += writes.len() as u64;
            }
            self.send(leader, PeerMessage::Site { group: target, origin: group, message });
        }
    }

    fn on_site_report(&mut self, group: GroupId, report: Report) {
        let counts = &mut self.sites;
        match &report {
            Report::Lost(_) => counts.lost += 1,
            Report::Conflict { .. } => counts.conflicts += 1,
            Report::Routed { away, is_detour } => {
                let routed = (away.clone(), *is_detour);
                if let Some(site) = self.groups.get_mut(&group).and_then(|it| it.site.as_mut()) {
                    site.routed = routed;
                }
            }
            Report::Stopped { .. } => counts.stopped += 1,
            Report::Overdue { .. } => counts.overdue += 1,
            Report::Forgot { count } => counts.inbox_dropped += count,
            Report::ClockAhead { .. } => counts.clock_ahead += 1,
            Report::CopyDone { .. } => counts.copies += 1,
            Report::CopyAbandoned { .. } => counts.copies_abandoned += 1,
            Report::Dropped(_) => counts.dropped += 1,
            Report::Resumed { .. }
            | Report::ClockRight
            | Report::Unheard { .. }
            | Report::Overflow { .. }
            | Report::CopyStarted { .. } => {}
        }
        self.outputs.push(Output::Event(Event::Site { group, report }));
    }

    /// How far the log of a site's group may go behind this snapshot: what peers lack stays, within a bound.
    pub(crate) fn site_keeps(&self, group: GroupId, through: Index) -> Index {
        let Some(it) = self.groups.get(&group) else { return through };
        let Some(site) = &it.site else { return through };
        let most = (self.config.snapshot_log_bytes / BYTES_PER_ENTRY).max(64) as u64;
        let first = match &site.exchange {
            Some(exchange) => exchange.keep_from(),
            // Whoever leads next shall be able to go on.
            None => Index(it.replica.commit().0.saturating_sub(most / 2)),
        };
        if through.0.saturating_sub(first.0) > most { through } else { through.min(first.previous()) }
    }
}
