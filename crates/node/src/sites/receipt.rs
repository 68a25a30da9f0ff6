//! Which sites hold a write, as far as its site's leader knows.
// catalogue: B10

use crate::node::Node;
use alloc::format;
use alloc::vec::Vec;
use data::{GroupId, Position, Site, WriteStamp};
use wire::reply::Fields;

/// What a receipt tells of a write in a multi-leader keyspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SiteReceipt {
    pub site: Site,
    /// Nothing where this node does not lead the site's group, or has led it for too short a time.
    pub stamp: Option<WriteStamp>,
    /// Sites that said that the write is committed there, the one that took it first.
    pub holders: Vec<Site>,
}

impl SiteReceipt {
    /// The fields that other receipts lack.
    pub fn write(&self, f: &mut Fields<'_, '_>) {
        f.text("site", self.site.as_str());
        match self.stamp {
            Some(stamp) => f.text("stamp", format!("{stamp}")),
            None => f.field("stamp").null(),
        }
        let sites: Vec<&str> = self.holders.iter().map(Site::as_str).collect();
        f.field("sites").list(&sites);
    }
}

impl Node {
    /// Of the entry at this place in the log of a site's group.
    pub(crate) fn site_receipt(&self, group: GroupId, position: Position) -> Option<SiteReceipt> {
        let it = self.map.multi_leader_of(group)?;
        let (site, _) = it.place_of(group)?;
        let shard = self.groups.get(&group).and_then(|it| it.site.as_ref());
        let led = shard.and_then(|shard| shard.exchange.as_ref().map(|exchange| (shard, exchange)));
        let stamp = led.and_then(|(shard, _)| shard.stamp_at(position.index));
        let mut holders = Vec::from([site.name]);
        if let Some(((shard, exchange), stamp)) = led.zip(stamp) {
            let others = shard.names.iter().filter(|(peer, _)| **peer != shard.me);
            holders.extend(others.filter(|(peer, _)| exchange.is_held(**peer, stamp)).map(|(_, name)| *name));
        }
        Some(SiteReceipt { site: site.name, stamp, holders })
    }
}
