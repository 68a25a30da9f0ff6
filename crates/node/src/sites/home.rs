//! Homes: under `CONFLICT home` every slot is at home at one site, and with it its keys. Where a keyspace forwards (FORWARD on),
//! commands of any node go to the leader of the key's home, reads too, and so a key has one order everywhere; reads of copies
//! (READ nearest, follower) stay at the node's own site. With FORWARD off writes elsewhere are refused and reads are local.
//!
//! *Who knows the home.* The log of each site's group: a home is given away by a write in the log of the home, and taken when that
//! write is applied. A node asks its own copy, or believes in the first home of the slot. Whoever is asked wrongly names the
//! home as it knows it, executes nothing, and the command goes there. While a home moves, two sites may name each other: the
//! command then travels between them until the new home has heard of it, or its time is over.
//!
//! *Once.* A request id is known to one log. A write that may have been executed at one site is never sent to another: whoever sent
//! it answers INDETERMINATE instead.
// catalogue: J3 J4

use crate::execute::{Context, Executed};
use crate::group::Group;
use crate::io::ConnectionId;
use crate::message::{ForwardOutcome, Work};
use crate::node::{Flow, Node};
use crate::route::Route;
use alloc::format;
use alloc::vec::Vec;
use data::multi_leader::Conflict;
use data::{GroupId, Index, KeyspaceId, NodeId, RequestId, SiteId};
use protocol::multi_leader::Refusal;
use wire::{Protocol, ReplyWriter};

impl Node {
    /// Whether commands of a keyspace go where their keys are at home.
    pub(crate) fn forwards_home(&self, keyspace: KeyspaceId) -> bool {
        self.has_homes(keyspace) && self.map.keyspaces.get(&keyspace).is_some_and(|it| it.settings.forward)
    }
    fn has_homes(&self, keyspace: KeyspaceId) -> bool {
        self.map.multi_leader.get(&keyspace).is_some_and(|it| it.conflict == Conflict::Home)
    }

    /// The site at which a slot is at home, as this node knows it; and its group there.
    fn home_of(&self, keyspace: KeyspaceId, slot: u16) -> Option<(SiteId, GroupId)> {
        let it = self.map.multi_leader.get(&keyspace)?;
        let has = |group: &&GroupId| self.map.groups.get(group).is_some_and(|it| it.slots.contains(slot));
        let shard = it.sites.first()?.groups.iter().position(|group| has(&group))?;
        let own = it.sites.iter().filter_map(|site| self.groups.get(site.groups.get(shard)?)?.site.as_ref());
        let known = own.filter(|site| site.state.is_ready()).map(|site| site.home(slot)).next();
        let first = || it.founders.get(usize::from(slot) % it.founders.len().max(1)).copied();
        let home = known.or_else(first)?;
        Some((home, it.site(home)?.groups.get(shard).copied()?))
    }
    /// Where a slot's commands go, in a keyspace that forwards.
    pub(crate) fn home_route(&self, keyspace: KeyspaceId, slot: u16) -> Option<Route> {
        let (_, group) = self.home_of(keyspace, slot)?;
        let ranges = self.map.groups.get(&group)?.slots.ranges();
        let slots = *ranges.iter().find(|range| range.contains(slot))?;
        Some(Route { slots, group, leader: self.map.leader_of(group) })
    }
    /// The same for a kept command; `always`: whatever the keyspace forwards.
    pub(crate) fn home_for(
        &self,
        keyspace: KeyspaceId,
        slot: u16,
        always: bool,
    ) -> Option<(GroupId, Option<NodeId>)> {
        if self.map.multi_leader.is_empty() || !self.has_homes(keyspace) {
            return None;
        }
        if !always && !self.forwards_home(keyspace) {
            return None;
        }
        let (_, group) = self.home_of(keyspace, slot)?;
        Some((group, self.map.leader_of(group)))
    }

    /// Tells who asked that the key is at home elsewhere.
    pub(crate) fn answer_home(&mut self, from: NodeId, group: GroupId, request: RequestId, home: SiteId) {
        let there = self.map.multi_leader_of(group).and_then(|it| {
            let (_, shard) = it.place_of(group)?;
            it.site(home)?.groups.get(shard).copied()
        });
        match there {
            Some(group) => self.answer(from, request, ForwardOutcome::AtHome { group }),
            // A site that left took its homes along.
            None => self.refuse_forwarded(
                from,
                request,
                "CLUSTERDOWN the site at which the key is at home is none of the keyspace's any more: nothing was done",
            ),
        }
    }
    /// A command was sent where its key is not at home.
    pub(crate) fn send_home(&mut self, from: NodeId, sequence: u64, group: GroupId) {
        let Some(outgoing) = self.forwards.get_mut(sequence) else { return };
        if outgoing.sent_to != Some(from) {
            return;
        }
        if outgoing.write && outgoing.copies > 1 {
            // An earlier sending may have been executed before the home moved, and its id is known to that site only.
            if let Some(outgoing) = self.forwards.remove(sequence) {
                self.settle_doubtful(outgoing);
            }
            return;
        }
        outgoing.copies = 0;
        outgoing.group = GroupId(0);
        outgoing.sent_to = None;
        outgoing.home = Some(group);
    }

    fn keyspace_with_homes(&self, name: &[u8]) -> Result<KeyspaceId, &'static str> {
        let known = core::str::from_utf8(name).ok().and_then(|name| self.map.keyspace_named(name));
        match known.map(|it| it.id) {
            Some(keyspace) if self.has_homes(keyspace) => Ok(keyspace),
            Some(_) => Err("ERR keys have a home in multi-leader keyspaces with CONFLICT home only"),
            None => Err("ERR no such keyspace"),
        }
    }

    /// KEYSPACE HOME <name> <key>: as this node's own copy knows it, which may not have heard of the last move yet.
    pub(crate) fn show_home(&mut self, connection: ConnectionId, name: &[u8], key: &[u8]) -> Flow {
        let keyspace = match self.keyspace_with_homes(name) {
            Ok(keyspace) => keyspace,
            Err(text) => return self.reply_error(connection, text),
        };
        let slot = data::slot::slot(key);
        let Some((site, group)) = self.home_of(keyspace, slot) else {
            let text = "CLUSTERDOWN the site at which the key is at home is none of the keyspace's any more";
            return self.reply_error(connection, text);
        };
        let it = self.map.multi_leader.get(&keyspace);
        let name = it.and_then(|it| it.site(site)).map(|site| format!("{}", site.name)).unwrap_or_default();
        let leader = self.map.leader_of(group).map(|node| format!("{node}"));
        self.reply(connection, |w| {
            w.fields(|w| {
                w.integer("slot", slot);
                w.text("site", &name);
                w.integer("group", group.0);
                w.text("leader", leader.as_deref().unwrap_or("none"));
            });
        })
    }

    /// KEYSPACE MOVE-HOME <name> <key> TO <site>: of the slot of this key.
    pub(crate) fn move_home(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let &[name, key, to, site] = args else {
            return self.reply_error(connection, "ERR KEYSPACE MOVE-HOME <name> <key> TO <site>");
        };
        if !to.eq_ignore_ascii_case(b"to") {
            return self.reply_error(connection, "ERR KEYSPACE MOVE-HOME <name> <key> TO <site>");
        }
        let keyspace = match self.keyspace_with_homes(name) {
            Ok(keyspace) => keyspace,
            Err(text) => return self.reply_error(connection, text),
        };
        let site = core::str::from_utf8(site).ok();
        let it = self.map.multi_leader.get(&keyspace);
        let Some(to) = it.zip(site).and_then(|(it, site)| it.site_named(site)).map(|site| site.id) else {
            return self
                .reply_error(connection, "ERR no such site of this keyspace: KEYSPACE INFO names them");
        };
        let work = Work::MoveHome { slot: data::slot::slot(key), to };
        let Some(slot) = self.hold_reply(connection) else { return Flow::Continue };
        let protocol = self.sessions.get(connection).map_or(Protocol::Resp2, |session| session.protocol);
        self.write_at_site((connection, slot, protocol), keyspace, work);
        Flow::Continue
    }

    /// The same where the slot is at home.
    pub(crate) fn move_home_here(
        &mut self,
        from: NodeId,
        group: GroupId,
        request: RequestId,
        protocol: Protocol,
        slot: u16,
        to: SiteId,
    ) {
        self.write_here(from, group, request, protocol, |it, context, reply| {
            it.give_home(context, slot, to, reply)
        });
    }
}

impl Group {
    /// The site at which one of these keys is at home, if it is another one than this and the keyspace forwards.
    pub(super) fn home_elsewhere<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) -> Option<SiteId> {
        let site = self.site.as_ref().filter(|site| site.conflict == Conflict::Home)?;
        if !self.keyspace.settings.forward {
            return None;
        }
        keys.find_map(|key| Some(site.home(data::slot::slot(key))).filter(|home| *home != site.me))
    }

    /// Gives a slot's home to another site. From this entry on this one refuses the slot.
    fn give_home(
        &mut self,
        context: &mut Context<'_>,
        slot: u16,
        to: SiteId,
        reply: &mut Vec<u8>,
    ) -> Executed {
        let serving = self.is_serving();
        let Some(site) = self.site.as_mut().filter(|_| serving) else { return Executed::NotLeading };
        let me = site.me;
        let Some(exchange) = &mut site.exchange else { return Executed::NotLeading };
        let mut writer = ReplyWriter::new(reply, context.protocol);
        if to == me && exchange.state().home(slot).0 == me {
            writer.ok();
            return Executed::Read(Index(0));
        }
        let mut out = Vec::new();
        match exchange.hand_over(slot, to, &mut out) {
            Ok(_) => writer.ok(),
            Err(Refusal::Elsewhere { home }) => return Executed::AtHome(home),
            Err(Refusal::Joining) => {
                writer.error("TRYAGAIN this site is being copied from another one: nothing was done");
                return Executed::Read(Index(0));
            }
            Err(_) => {
                writer.error("ERR no such site of this keyspace: KEYSPACE INFO names them");
                return Executed::Read(Index(0));
            }
        }
        let request = context.identity.request;
        let answer = (!request.is_none()).then_some(&reply[..]);
        let position = self.propose_all((request, answer), context.wall_ms, out);
        position.map_or(Executed::NotLeading, Executed::Written)
    }
}
