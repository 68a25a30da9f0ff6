//! A session that goes to another site: its token says what the sites that it used hold, and no other site answers it with less.
//!
//! *Token.* SESSION TOKEN asks the leader of each group of a site that the session saw for what that site holds, and the vector goes
//! along. *There.* The leader of the site's own group does what the session asks once it holds that, for reads and writes: a
//! write that its session's earlier ones could not overtake here would overtake them elsewhere. From its first answer on the
//! session's position in that group's log says all.
//!
//! Under `CONFLICT home` with forwarding commands go to the home of their key, which shows the newest there is of it: there nothing
//! waits, and only a node's own copy is not asked.
//!
//! Source: Terry and others, "Session Guarantees for Weakly Consistent Replicated Data" (1994).
// catalogue: I5
// bugs: ML-20, TC-88

use super::shard::SiteShard;
use crate::io::ConnectionId;
use crate::message::{Forward, Work};
use crate::node::Node;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;
use data::codec::{Reader, Writer};
use data::plant::{self, Bug};
use data::{GroupId, Instant, KeyspaceId, NodeId, OriginVector};
use protocol::multi_leader::{Exchange, Shard};

/// How long what a session saw elsewhere is waited for where its client waits for ever.
const PATIENCE: Duration = Duration::from_secs(4);
/// Commands that wait so at one leader. A guess; each is bounded in bytes where it came from.
const BEHIND_MAX: usize = 4096;

pub(crate) const NOT_YET: &str =
    "TRYAGAIN this site has not heard yet of all that this session saw at another one: nothing was done";

/// A command of a session that saw more elsewhere.
pub(crate) struct Behind {
    from: NodeId,
    forward: Forward,
    held: OriginVector,
    until: Instant,
}

impl Node {
    /// The shard of a multi-leader keyspace that a group holds at its site.
    pub(crate) fn shard_of_site(&self, group: GroupId) -> Option<Shard> {
        if self.map.multi_leader.is_empty() {
            return None;
        }
        let (_, shard) = self.map.multi_leader_of(group)?.place_of(group)?;
        Some((self.map.view(group)?.keyspace, u16::try_from(shard).ok()?))
    }

    /// What a group's site must hold before it answers this session.
    pub(crate) fn wanted_of_site(&self, connection: ConnectionId, group: GroupId) -> Option<&OriginVector> {
        let session = self.sessions.get(connection).filter(|session| !session.sites.is_empty())?;
        session.sites.wanted(self.shard_of_site(group)?)
    }
    /// Whether commands of this session wait there: not where each goes to the home of its key.
    pub(crate) fn waits_for_site(&self, connection: ConnectionId, group: GroupId) -> bool {
        let is_home = |keyspace: Option<KeyspaceId>| keyspace.is_some_and(|it| self.forwards_home(it));
        self.wanted_of_site(connection, group).is_some() && !is_home(self.map.keyspace_of(group))
    }
    /// Whether this node's own copy shows less than the session saw at another site.
    pub(crate) fn lacks_of_site(&self, connection: ConnectionId, group: GroupId) -> bool {
        let Some(wanted) = self.wanted_of_site(connection, group) else { return false };
        let site = self.groups.get(&group).and_then(|it| it.site.as_ref());
        !site.is_some_and(|site| site.state.is_ready() && site.state.vector().covers(wanted))
    }
    /// A leader answered that held this: the session's position there says all.
    pub(crate) fn met_site(&mut self, connection: ConnectionId, group: GroupId, held: &OriginVector) {
        let Some(shard) = self.shard_of_site(group) else { return };
        if let Some(session) = self.sessions.get_mut(connection) {
            session.sites.met(shard, held);
            // What others told is in what this one will tell.
            session.carried.remove(&group);
        }
    }

    /// Parks what its site is not ready for. Gives back what need not wait, and nothing else around it.
    pub(crate) fn await_held(&mut self, from: NodeId, group: GroupId, forward: Forward) -> Option<Forward> {
        let Forward { request, keyspace, group: _, protocol, time_left_ms, work, options } = forward;
        let Work::Behind { held, work } = work else {
            return Some(Forward { request, keyspace, group, protocol, time_left_ms, work, options });
        };
        let forward = Forward { request, keyspace, group, protocol, time_left_ms, work: *work, options };
        let now = self.now.instant;
        let Some(site) = self.groups.get_mut(&group).and_then(|it| it.site.as_mut()) else {
            return Some(forward);
        };
        if site.holds(&held) {
            // What waits here came before it.
            self.tend_behind(group);
            return Some(forward);
        }
        if site.behind.iter().any(|it| it.from == from && it.forward.request == request) {
            return None;
        }
        if site.behind.len() >= BEHIND_MAX {
            self.refuse_forwarded(
                from,
                request,
                "TRYAGAIN too many commands wait for other sites: slow down",
            );
            return None;
        }
        // Its client shall hear a refusal before it gives the answer up.
        let left = Duration::from_millis(u64::from(time_left_ms)) * 3 / 4;
        let until = now + if left.is_zero() { PATIENCE } else { left };
        site.behind.push(Behind { from, forward, held, until });
        None
    }

    /// What waited for other sites is done when it may be, in the order in which it came.
    pub(crate) fn tend_behind(&mut self, group: GroupId) {
        let now = self.now.instant;
        let Some(site) = self.groups.get_mut(&group).and_then(|it| it.site.as_mut()) else { return };
        if site.behind.is_empty() {
            return;
        }
        let all = core::mem::take(&mut site.behind);
        let (ready, waiting): (Vec<Behind>, Vec<Behind>) =
            all.into_iter().partition(|it| site.holds(&it.held) || now >= it.until);
        site.behind = waiting;
        for Behind { from, forward, held, .. } in ready {
            let site = self.groups.get(&group).and_then(|it| it.site.as_ref());
            match site.is_some_and(|site| site.holds(&held)) {
                true => self.on_forward(from, forward),
                false => self.refuse_forwarded(from, forward.request, NOT_YET),
            }
        }
    }
    /// This node leads no more: whoever waits here asks the next leader.
    pub(crate) fn turn_behind_away(&mut self, group: GroupId) {
        let site = self.groups.get_mut(&group).and_then(|it| it.site.as_mut());
        let behind = site.map(|site| core::mem::take(&mut site.behind)).unwrap_or_default();
        for Behind { from, forward, .. } in behind {
            self.not_leader(from, forward.request);
        }
    }

    /// What a group's site holds, committed, as its leader tells.
    pub(crate) fn held_here(&self, group: GroupId) -> Bytes {
        let mut bytes = Vec::new();
        if let Some(vector) = self.groups.get(&group).and_then(|it| it.site.as_ref()?.held()) {
            vector.encode(&mut Writer::new(&mut bytes));
        }
        Bytes::from(bytes)
    }
}

/// The answer to [`Work::Held`].
pub(crate) fn decode_held(reply: &[u8]) -> Option<Box<OriginVector>> {
    let reader = &mut Reader::new(reply);
    let vector = OriginVector::decode(reader).ok()?;
    reader.end().ok()?;
    Some(Box::new(vector))
}

impl SiteShard {
    /// What is committed here, where this node leads.
    fn held(&self) -> Option<&OriginVector> {
        self.exchange.as_ref().filter(|it| it.state().is_ready()).map(|it| it.vector())
    }
    fn holds(&self, vector: &OriginVector) -> bool {
        let holds = |exchange: &Exchange| exchange.holds(vector) || plant::is(Bug::AnswersAnySession);
        self.exchange.as_ref().is_some_and(holds)
    }
}
