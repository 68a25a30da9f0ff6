//! Multi-leader keyspaces: their sites, how these exchange writes, and the groups of each site.
//!
//! Each site has a group of its own for each shard, on nodes of that site: a group like any other, with its view, its elections
//! and the keyspace's commit rule. What makes them one keyspace is recorded here. The number of a site is never used again in
//! its keyspace: stamps of writes name it.
//!
//! | command | by | refused unless |
//! |---|---|---|
//! | create | an operator | each site has a node |
//! | function | an operator | the keyspace has a merge function |
//! | alter | an operator | it was made from the present version, and no group of the keyspace elects |
// catalogue: I2 I6 I7 I8

use super::{Advice, ClusterMap, Group};
use crate::command::{Applied, Refusal, decode_seed, encode_seed};
use crate::event::Change;
use data::codec::{DecodeError, Reader, Writer};
use data::keyspace::{CommitRule, Keyspace, OnTimeout, Settings};
use data::multi_leader::{Conflict, Topology, check_sites};
use data::table::Seed;
use data::{GroupId, KeyspaceId, Site, SiteId, SlotRange, SlotSet};
use std::sync::Arc;

/// A site of a keyspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteGroups {
    pub id: SiteId,
    pub name: Site,
    /// One for each shard, in the order of the shards.
    pub groups: Vec<GroupId>,
}

/// What makes a keyspace multi-leader; its name, seed and settings stand with the other keyspaces'.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MultiLeader {
    pub conflict: Conflict,
    pub topology: Topology,
    /// Of sites and topology: grows with each change of them.
    pub version: u64,
    /// In the order of the ring.
    pub sites: Vec<SiteGroups>,
    /// The sites that the keyspace was made with.
    pub founders: Vec<SiteId>,
    pub next_site: SiteId,
}

/// A change of a multi-leader keyspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiLeaderChange {
    Create {
        name: String,
        settings: Settings,
        seed: Seed,
        conflict: Conflict,
        topology: Topology,
        sites: Vec<Site>,
    },
    /// Another function, where one merges.
    Function { keyspace: KeyspaceId, function: Arc<str> },
    /// All of it as it shall be.
    Alter { keyspace: KeyspaceId, version: u64, settings: Settings, topology: Topology, sites: Vec<Site> },
}

impl MultiLeader {
    pub fn site(&self, id: SiteId) -> Option<&SiteGroups> {
        self.sites.iter().find(|site| site.id == id)
    }
    /// What names a shard of all sites together: the lowest of their groups. It is another one once that site has left.
    pub fn shard_name(&self, group: GroupId) -> Option<GroupId> {
        let (_, shard) = self.place_of(group)?;
        self.sites.iter().filter_map(|site| site.groups.get(shard)).min().copied()
    }
    pub fn site_named(&self, name: &str) -> Option<&SiteGroups> {
        self.sites.iter().find(|site| site.name.as_str() == name)
    }
    /// The site of a group, and the shard's place.
    pub fn place_of(&self, group: GroupId) -> Option<(&SiteGroups, usize)> {
        self.sites.iter().find_map(|site| Some((site, site.groups.iter().position(|known| *known == group)?)))
    }
    pub fn names(&self) -> Vec<Site> {
        self.sites.iter().map(|site| site.name).collect()
    }
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        self.conflict.encode(w);
        self.topology.encode(w);
        w.u64(self.version);
        w.list(&self.sites, |w, site| {
            site.id.encode(w);
            site.name.encode(w);
            w.list(&site.groups, |w, group| group.encode(w));
        });
        w.list(&self.founders, |w, site| site.encode(w));
        self.next_site.encode(w);
    }
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<MultiLeader, DecodeError> {
        Ok(MultiLeader {
            conflict: Conflict::decode(r)?,
            topology: Topology::decode(r)?,
            version: r.u64()?,
            sites: r.list(|r| {
                let (id, name) = (SiteId::decode(r)?, Site::decode(r)?);
                Ok(SiteGroups { id, name, groups: r.list(GroupId::decode)? })
            })?,
            founders: r.list(SiteId::decode)?,
            next_site: SiteId::decode(r)?,
        })
    }
}

impl MultiLeaderChange {
    pub(crate) fn encode(&self, w: &mut Writer<'_>) {
        match self {
            MultiLeaderChange::Create { name, settings, seed, conflict, topology, sites } => {
                w.u8(1);
                w.text(name);
                settings.encode(w);
                encode_seed(*seed, w);
                conflict.encode(w);
                topology.encode(w);
                w.list(sites, |w, site| site.encode(w));
            }
            MultiLeaderChange::Function { keyspace, function } => {
                w.u8(3);
                keyspace.encode(w);
                w.text(function);
            }
            MultiLeaderChange::Alter { keyspace, version, settings, topology, sites } => {
                w.u8(2);
                keyspace.encode(w);
                w.u64(*version);
                settings.encode(w);
                topology.encode(w);
                w.list(sites, |w, site| site.encode(w));
            }
        }
    }
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<MultiLeaderChange, DecodeError> {
        Ok(match r.u8()? {
            1 => MultiLeaderChange::Create {
                name: r.text()?,
                settings: Settings::decode(r)?,
                seed: decode_seed(r)?,
                conflict: Conflict::decode(r)?,
                topology: Topology::decode(r)?,
                sites: r.list(Site::decode)?,
            },
            2 => MultiLeaderChange::Alter {
                keyspace: KeyspaceId::decode(r)?,
                version: r.u64()?,
                settings: Settings::decode(r)?,
                topology: Topology::decode(r)?,
                sites: r.list(Site::decode)?,
            },
            3 => MultiLeaderChange::Function { keyspace: KeyspaceId::decode(r)?, function: r.text()?.into() },
            _ => return Err(DecodeError::Invalid("change of a multi-leader keyspace")),
        })
    }
}

impl ClusterMap {
    /// What makes the keyspace of this group multi-leader, if it is.
    pub fn multi_leader_of(&self, group: GroupId) -> Option<&MultiLeader> {
        self.multi_leader.get(&self.view(group)?.keyspace)
    }

    pub(super) fn change_multi_leader(
        &mut self,
        change: &MultiLeaderChange,
        advice: &Advice,
    ) -> Result<Applied, Refusal> {
        match change {
            MultiLeaderChange::Create { name, settings, seed, conflict, topology, sites } => {
                self.check_new_name(name)?;
                check(settings, conflict, topology, sites)?;
                self.check_nodes_at(sites, advice)?;
                let id = self.next_keyspace;
                self.next_keyspace = id.next();
                let keyspace = Keyspace { id, name: name.clone(), settings: *settings, seed: *seed };
                self.keyspaces.insert(id, keyspace);
                self.remember(Change::KeyspaceCreated(id));
                let mut it = MultiLeader {
                    conflict: conflict.clone(),
                    topology: topology.clone(),
                    version: 1,
                    sites: Vec::new(),
                    founders: Vec::new(),
                    next_site: SiteId(1),
                };
                for site in sites {
                    self.add_site(id, &mut it, *site, *settings, advice)?;
                }
                it.founders = it.sites.iter().map(|site| site.id).collect();
                self.multi_leader.insert(id, it);
                Ok(Applied::Keyspace(id))
            }
            MultiLeaderChange::Function { keyspace, function } => {
                let it = self.multi_leader.get_mut(keyspace).ok_or(Refusal::UnknownKeyspace)?;
                let conflict = Conflict::Merge { function: function.clone() };
                conflict.check().map_err(Refusal::Invalid)?;
                if it.conflict.function().is_none() {
                    return Err(Refusal::Invalid(NO_FUNCTION));
                }
                it.conflict = conflict;
                self.remember(Change::KeyspaceAltered(*keyspace));
                Ok(Applied::Done)
            }
            MultiLeaderChange::Alter { keyspace, version, settings, topology, sites } => {
                self.alter_multi_leader(*keyspace, *version, *settings, topology, sites, advice)
            }
        }
    }

    /// Refuses sites that no node is at: a slip of the pen, and nobody could hold the group.
    fn check_nodes_at(&self, sites: &[Site], advice: &Advice) -> Result<(), Refusal> {
        let is_empty = |site: &Site| self.place(1, Some(*site), &[], advice).is_empty();
        match sites.iter().any(is_empty) {
            true => Err(Refusal::Invalid("no node is at a site of this name")),
            false => Ok(()),
        }
    }

    /// A group for each shard, on nodes of the site.
    fn add_site(
        &mut self,
        keyspace: KeyspaceId,
        it: &mut MultiLeader,
        name: Site,
        settings: Settings,
        advice: &Advice,
    ) -> Result<(), Refusal> {
        let settings = Settings { site: Some(name), ..settings };
        let mut groups = Vec::new();
        for slots in SlotRange::divide(settings.shards) {
            let view = self.first_view(keyspace, settings, advice)?;
            groups.push(view.group);
            self.insert_group(view, SlotSet::of(slots));
        }
        it.sites.push(SiteGroups { id: it.next_site, name, groups });
        it.next_site = SiteId(it.next_site.0 + 1);
        Ok(())
    }

    fn alter_multi_leader(
        &mut self,
        keyspace: KeyspaceId,
        version: u64,
        settings: Settings,
        topology: &Topology,
        sites: &[Site],
        advice: &Advice,
    ) -> Result<Applied, Refusal> {
        let mut it = self.multi_leader.get(&keyspace).ok_or(Refusal::UnknownKeyspace)?.clone();
        let known = self.keyspaces.get(&keyspace).ok_or(Refusal::UnknownKeyspace)?.settings;
        if it.version != version {
            return Err(Refusal::Invalid(CHANGED));
        }
        check(&settings, &it.conflict, topology, sites)?;
        if settings.shards != known.shards {
            return Err(Refusal::Invalid(SHARDS_STAY));
        }
        let stays = |site: &SiteGroups| sites.contains(&site.name);
        // Slots that are at home there would be at home nowhere.
        if it.conflict == Conflict::Home && !it.sites.iter().all(stays) {
            return Err(Refusal::Invalid(HOMES_STAY));
        }
        // Majorities of the sites before and behind several changes need not meet.
        if it.conflict == Conflict::Block && (!it.sites.iter().all(stays) || sites.len() != it.sites.len()) {
            return Err(Refusal::Invalid(SITES_STAY));
        }
        if self.groups_of(keyspace).any(|group| group.view.election.is_some()) {
            return Err(Refusal::InElection);
        }
        let fresh: Vec<Site> =
            sites.iter().copied().filter(|name| it.site_named(name.as_str()).is_none()).collect();
        self.check_nodes_at(&fresh, advice)?;
        let gone: Vec<GroupId> =
            it.sites.iter().filter(|site| !stays(site)).flat_map(|site| site.groups.clone()).collect();
        for group in gone {
            self.groups.remove(&group);
            self.remember(Change::GroupDropped { group, keyspace });
        }
        it.sites.retain(stays);
        for name in fresh {
            self.add_site(keyspace, &mut it, name, settings, advice)?;
        }
        it.sites.sort_by_key(|site| sites.iter().position(|name| *name == site.name));
        it.topology = topology.clone();
        it.version += 1;
        if let Some(keyspace) = self.keyspaces.get_mut(&keyspace) {
            keyspace.settings = settings;
        }
        let its: Vec<&mut Group> =
            self.groups.values_mut().filter(|group| group.view.keyspace == keyspace).collect();
        for group in its {
            let wanted = Settings { site: group.view.settings.site, ..settings };
            if group.view.settings != wanted {
                group.view.settings = wanted;
                group.view.number = group.view.number.next();
            }
        }
        self.multi_leader.insert(keyspace, it);
        self.remember(Change::KeyspaceAltered(keyspace));
        Ok(Applied::Done)
    }
}

/// The first contradiction among what a keyspace is asked to be.
fn check(
    settings: &Settings,
    conflict: &Conflict,
    topology: &Topology,
    sites: &[Site],
) -> Result<(), Refusal> {
    settings.check().map_err(Refusal::Invalid)?;
    check_sites(sites).map_err(Refusal::Invalid)?;
    topology.check(sites).map_err(Refusal::Invalid)?;
    conflict.check().map_err(Refusal::Invalid)?;
    if settings.site.is_some() || settings.recovery_site.is_some() {
        return Err(Refusal::Invalid(SITES_NOT_SITE));
    }
    if settings.commit == CommitRule::BestEffort {
        return Err(Refusal::Invalid(SITES_MISS_NOTHING));
    }
    let loses = settings.commit == CommitRule::Async || settings.on_timeout == OnTimeout::Degrade;
    if *conflict == Conflict::Home && loses {
        return Err(Refusal::Invalid(HOME_KEEPS));
    }
    if *conflict == Conflict::Block && loses {
        return Err(Refusal::Invalid(BLOCK_KEEPS));
    }
    Ok(())
}

pub(crate) const CHANGED: &str = "the keyspace changed in the meantime: try again";
pub(crate) const SHARDS_STAY: &str = "a multi-leader keyspace keeps its number of shards";
pub(crate) const NO_FUNCTION: &str =
    "a multi-leader keyspace whose conflicts no function merges gets none later";
pub(crate) const HOMES_STAY: &str = "a site may be the home of keys: under CONFLICT home sites stay";
pub(crate) const SITES_NOT_SITE: &str = "a multi-leader keyspace has SITES, each with copies of its own: SITE and RECOVERY-SITE say nothing in it";
pub(crate) const SITES_MISS_NOTHING: &str = "a multi-leader keyspace does not go with COMMIT best-effort: what a copy went on without, other sites would miss";
pub(crate) const SITES_STAY: &str = "under CONFLICT block a majority of the sites agrees to each write: the sites are those that the keyspace was made with";
pub(crate) const BLOCK_KEEPS: &str = "CONFLICT block needs a commit rule that loses nothing: a site that forgot what it agreed to would agree again";
pub(crate) const HOME_KEEPS: &str = "CONFLICT home needs a commit rule that loses nothing: a home that forgot it had moved would be a second one";
