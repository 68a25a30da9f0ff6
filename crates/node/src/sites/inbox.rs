//! The inbox for sites: conflicts lie in each site's copies like those of leaderless keyspaces, and so do the decisions on them. What the
//! copies of all sites tell of one conflict is one item, whatever site is asked; a word on it is a write at the asked node's own site,
//! which supersedes what it names at every site.
// catalogue: J14

use crate::execute::{Context, Executed, Identity};
use crate::forward::{Origin, Outgoing, Purpose};
use crate::group::Group;
use crate::io::ConnectionId;
use crate::message::Work;
use crate::node::Node;
use crate::replies::SlotId;
use alloc::vec::Vec;
use bytes::Bytes;
use data::causal::{ShardCopy, Wish};
use data::codec::{Reader, Writer};
use data::value::Blob;
use data::{GroupId, Index, KeyspaceId, NodeId, RequestId, SiteId};
use wire::{Protocol, ReplyWriter};

impl Node {
    /// What the copies on this node hold, each under the name that its shard has at all sites.
    pub(crate) fn site_copies(&self) -> impl Iterator<Item = (KeyspaceId, GroupId, &ShardCopy)> {
        self.groups.values().filter_map(|it| {
            let site = it.site.as_ref().filter(|site| site.state.is_ready())?;
            let name = self.map.multi_leader_of(it.id())?.shard_name(it.id())?;
            Some((it.keyspace.id, name, site.state.copy()))
        })
    }

    /// Keys with news of the shards for which a leader on this node speaks: that of the first site within reach.
    pub(crate) fn take_site_news(&mut self) -> Vec<(KeyspaceId, GroupId, Vec<Blob>)> {
        let (me, peers, map) = (self.config.node, &self.peers, &self.map);
        let mut news = Vec::new();
        for (group, it) in &mut self.groups {
            let Some(site) = &mut it.site else { continue };
            let keys = site.state.take_news();
            if keys.is_empty() {
                continue;
            }
            let Some(multi) = map.multi_leader_of(*group) else { continue };
            let Some((_, shard)) = multi.place_of(*group) else { continue };
            let mut groups = multi.sites.iter().filter_map(|site| site.groups.get(shard));
            let reached = |group: &&GroupId| {
                map.leader_of(**group).is_some_and(|leader| leader == me || peers.contains_key(&leader))
            };
            let speaks = groups.find(reached).is_some_and(|first| first == group);
            if let Some(name) = multi.shard_name(*group).filter(|_| speaks && site.exchange.is_some()) {
                news.push((it.keyspace.id, name, keys));
            }
        }
        news
    }

    /// The name of a site of a keyspace.
    pub(crate) fn site_name(&self, keyspace: KeyspaceId, site: SiteId) -> Option<data::Site> {
        self.map.multi_leader.get(&keyspace)?.site(site).map(|site| site.name)
    }

    /// A word on a conflict: a write at this node's site, for a command whose reply has its place already.
    pub(crate) fn settle_at_site(
        &mut self,
        (connection, slot, protocol): (ConnectionId, SlotId, Protocol),
        keyspace: KeyspaceId,
        key: &Blob,
        wish: &Wish,
    ) {
        let mut bytes = Vec::new();
        wish.encode(&mut Writer::new(&mut bytes));
        let work = Work::Settle { key: Bytes::copy_from_slice(key), wish: Bytes::from(bytes) };
        self.write_at_site((connection, slot, protocol), keyspace, work);
    }

    /// A write that is no command, for one whose reply has its place already.
    pub(super) fn write_at_site(
        &mut self,
        (connection, slot, protocol): (ConnectionId, SlotId, Protocol),
        keyspace: KeyspaceId,
        work: Work,
    ) {
        let origin = Origin::Client { connection, slot, purpose: Purpose::Command };
        let deadline = Some(self.patience_of(connection));
        let outgoing = Outgoing::new(keyspace, protocol, work, origin, deadline);
        let Some(session) = self.sessions.get_mut(connection) else { return };
        let command = session.commands;
        if self.forwards.add(Outgoing { command, write: true, ..outgoing }).is_ok() {
            session.forwarded += 1;
            return;
        }
        let mut bytes = Vec::new();
        let text = "TRYAGAIN too many commands wait for other nodes: slow down";
        ReplyWriter::new(&mut bytes, protocol).error(text);
        self.fill(connection, slot, &bytes);
    }

    /// The same where the site's group is led.
    pub(crate) fn settle_here(
        &mut self,
        from: NodeId,
        group: GroupId,
        request: RequestId,
        protocol: Protocol,
        (key, wish): (&Bytes, &Bytes),
    ) {
        let reader = &mut Reader::new(wish);
        let wish = Wish::decode(reader).and_then(|wish| reader.end().map(|()| wish));
        let Ok(wish @ (Wish::Settle { .. } | Wish::Forget { .. })) = wish else {
            return self.refuse_forwarded(from, request, "ERR a word on a conflict of a newer version");
        };
        self.write_here(from, group, request, protocol, |it, context, reply| {
            it.settle_site(context, Blob::from(&key[..]), wish, reply)
        });
    }

    /// A write that is no command, where the site's group is led: once, however often it is sent.
    pub(super) fn write_here(
        &mut self,
        from: NodeId,
        group: GroupId,
        request: RequestId,
        protocol: Protocol,
        write: impl FnOnce(&mut Group, &mut Context<'_>, &mut Vec<u8>) -> Executed,
    ) {
        let identity = Identity::forwarded(request);
        if self.answered_before(from, group, request, identity, protocol) {
            return;
        }
        if let Some(refusal) = commands::find(b"set").and_then(|spec| self.refuse_write(group, spec)) {
            return self.refuse_forwarded(from, request, &refusal);
        }
        let (now, wall_ms) = (self.now, self.now.wall.middle_ms());
        let mut context = Context { now, wall_ms, random: &mut self.random, protocol, identity };
        let mut reply = Vec::new();
        let Some(it) = self.groups.get_mut(&group) else { return };
        let executed = write(it, &mut context, &mut reply);
        self.settle_unwritten(request, executed);
        self.conclude_forwarded(from, group, request, executed, Bytes::from(reply));
    }
}

impl Group {
    /// Makes a write of a word on a conflict. What it names and this site has not heard of yet is superseded when it comes.
    fn settle_site(
        &mut self,
        context: &mut Context<'_>,
        key: Blob,
        wish: Wish,
        reply: &mut Vec<u8>,
    ) -> Executed {
        if !self.is_serving() || self.site.as_ref().is_none_or(|site| site.exchange.is_none()) {
            return Executed::NotLeading;
        }
        let start = reply.len();
        ReplyWriter::new(reply, context.protocol).ok();
        self.write_site(context, &[(key, wish)], start, reply, Index(0))
    }
}
