//! Where a key is served: its keyspace's groups divide the hash slots among them, and each is led by one node.

use crate::forward::{Origin, Outgoing, Purpose};
use crate::group::Group;
use crate::message::Work;
use crate::node::Node;
use crate::payload;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use commands::{Flags, Spec};
use control::ClusterMap;
use data::plant::{self, Bug};
use data::slot::slot;
use data::{GroupId, KeyspaceId, NodeId, SlotRange, SlotSet};
use smallvec::SmallVec;

/// A run of slots, and the group that owns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Route {
    pub group: GroupId,
    pub slots: SlotRange,
    /// The node whose process leads, unless an election is under way.
    pub leader: Option<NodeId>,
}

/// The runs of slots of a keyspace in their order; every slot is in one.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Routes(SmallVec<[Route; 1]>);

impl Routes {
    /// Those of all keyspaces that are in use, without these groups: of sites that others serve.
    pub fn of(map: &ClusterMap, elsewhere: &BTreeSet<GroupId>) -> BTreeMap<KeyspaceId, Routes> {
        let mut all: BTreeMap<KeyspaceId, Routes> = BTreeMap::new();
        for group in map.groups.values().filter(|group| !elsewhere.contains(&group.view.group)) {
            let (id, leader) = (group.view.group, map.leader_of(group.view.group));
            let routes = &mut all.entry(group.view.keyspace).or_default().0;
            routes.extend(group.slots.ranges().iter().map(|slots| Route {
                group: id,
                slots: *slots,
                leader,
            }));
        }
        all.values_mut().for_each(|routes| routes.0.sort_unstable_by_key(|route| route.slots.first));
        all
    }
    /// The only group that owns slots; `None` of a keyspace with several.
    pub fn only(&self) -> Option<Route> {
        if self.0.len() == 1 { self.0.first().copied() } else { None }
    }
    /// The group of a slot.
    pub fn at(&self, slot: u16) -> Option<Route> {
        self.only().or_else(|| {
            let at = self.0.partition_point(|route| route.slots.last < slot);
            self.0.get(at).filter(|route| route.slots.contains(slot)).copied()
        })
    }
    /// One route for each group, that with its first slots, in their order.
    pub fn groups(&self) -> Vec<Route> {
        let mut groups: Vec<Route> = Vec::new();
        for route in &self.0 {
            if groups.iter().all(|known| known.group != route.group) {
                groups.push(*route);
            }
        }
        groups
    }
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }
}

/// The slot of keys that are used together; `Err` where they have several.
fn common<'k>(mut keys: impl Iterator<Item = &'k [u8]>) -> Result<Option<u16>, ()> {
    let Some(first) = keys.next().map(slot) else { return Ok(None) };
    if keys.all(|key| slot(key) == first) { Ok(Some(first)) } else { Err(()) }
}

/// The slot of a command's first key.
pub(crate) fn slot_of_arguments(spec: &Spec, args: &[&[u8]]) -> Option<u16> {
    commands::docs::keys_of(spec, args).ok()?.first().map(|key| slot(key))
}

/// The same of words that are kept.
pub(crate) fn slot_of_words(args: &[Bytes]) -> Option<u16> {
    let args: SmallVec<[&[u8]; 8]> = args.iter().map(|arg| &arg[..]).collect();
    slot_of_arguments(commands::find(args.first()?)?, &args)
}

/// The slot that some work is for; 0 for work without keys.
pub(crate) fn slot_of_work(work: &Work) -> u16 {
    let slot = match work {
        Work::Command(args) => slot_of_words(args),
        Work::Transaction { commands, .. } => commands.iter().find_map(|args| slot_of_words(args)),
        Work::Watch { keys, .. } => keys.first().map(|key| slot(key)),
        Work::Reapply { item, .. } => payload::first_slot(&item.payload),
        Work::Settle { key, .. } => Some(slot(key)),
        Work::MoveHome { slot, .. } => Some(*slot),
        Work::Unwatch { .. } | Work::Holders { .. } | Work::Fate { .. } | Work::Position | Work::Held => None,
        Work::Behind { work, .. } => Some(slot_of_work(work)),
    };
    slot.unwrap_or(0)
}

/// Where the keys of some work are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Placed {
    Here,
    /// In another group, or about to be: whoever asked will hear which.
    Elsewhere,
    /// In several groups.
    Apart,
    /// It speaks of all keys, and some are fenced.
    Fenced,
}

/// The slots of all keys of some work.
fn slots_of(work: &Work) -> Vec<u16> {
    let command = |args: &Vec<Bytes>| -> Vec<u16> {
        let args: SmallVec<[&[u8]; 8]> = args.iter().map(|arg| &arg[..]).collect();
        let spec = args.first().and_then(|name| commands::find(name));
        let keys = spec.and_then(|spec| commands::docs::keys_of(spec, &args).ok());
        keys.into_iter().flatten().map(slot).collect()
    };
    match work {
        Work::Command(args) => command(args),
        Work::Transaction { commands, .. } => commands.iter().flat_map(command).collect(),
        Work::Watch { keys, .. } => keys.iter().map(|key| slot(key)).collect(),
        Work::Reapply { item, .. } => payload::slots(&item.payload),
        Work::Settle { key, .. } => [slot(key)].into(),
        Work::MoveHome { slot, .. } => [*slot].into(),
        Work::Unwatch { .. } | Work::Holders { .. } | Work::Fate { .. } | Work::Position | Work::Held => {
            Vec::new()
        }
        Work::Behind { work, .. } => slots_of(work),
    }
}

fn writes(args: &[Bytes]) -> bool {
    args.first().and_then(|name| commands::find(name)).is_some_and(|spec| spec.flags.has(Flags::WRITE))
}

/// A command that names no key.
pub(crate) fn is_keyless(args: &[Bytes]) -> bool {
    let spec = args.first().and_then(|name| commands::find(name));
    spec.is_some_and(|spec| spec.keys == commands::Keys::None)
}

/// What a client of Redis Cluster expects to read.
pub(crate) const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

impl Node {
    /// Whether the keys of a keyspace are in several groups.
    pub(crate) fn is_sharded(&self, keyspace: KeyspaceId) -> bool {
        match self.routes.get(&keyspace) {
            Some(routes) => routes.only().is_none(),
            None => self.map.keyspaces.get(&keyspace).is_some_and(|it| it.settings.shards > 1),
        }
    }

    /// Where a slot of a keyspace is served now. A keyspace without groups gets them: the control plane is asked.
    pub(crate) fn route(&mut self, keyspace: KeyspaceId, slot: u16) -> Option<Route> {
        let route = self.routes.get(&keyspace).and_then(|routes| routes.at(slot));
        if route.is_none() {
            self.ensure_group(keyspace);
        }
        route
    }

    /// The group that commands about a whole keyspace speak of (ROLE, INFO): one that this node leads, else the first.
    pub(crate) fn route_shown(&self, keyspace: KeyspaceId) -> Option<Route> {
        let routes = self.routes.get(&keyspace)?;
        let mine = routes.iter().find(|route| route.leader == Some(self.config.node));
        mine.or_else(|| routes.iter().next()).copied()
    }

    pub(crate) fn route_of(&self, outgoing: &Outgoing) -> Option<Route> {
        self.routes.get(&outgoing.keyspace)?.at(outgoing.slot)
    }

    /// The slot of a command's keys in a keyspace with several groups; `None` of a command without keys. `Err` is what its
    /// client reads.
    pub(crate) fn slot_of_command(&self, spec: &Spec, args: &[&[u8]]) -> Result<Option<u16>, String> {
        let Ok(keys) = commands::docs::keys_of(spec, args) else { return Ok(None) };
        if commands::docs::reads_by_pattern(spec, args) {
            return Err(format!(
                "ERR {} with BY or GET of other keys is not possible in a keyspace with SHARDS: they may be in other shards",
                spec.name.to_ascii_uppercase()
            ));
        }
        self.common_slot(keys.iter().copied())
    }

    pub(crate) fn common_slot<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Option<u16>, String> {
        common(keys).map_err(|()| CROSSSLOT.into())
    }

    /// Whether the keys of some work are in the group that it was sent to: its client's node may know less of the shards than
    /// this one, or more.
    // bugs: X-01
    pub(crate) fn placed(&self, group: GroupId, work: &Work) -> Placed {
        let Some(it) = self.groups.get(&group) else { return Placed::Elsewhere };
        // `None`: a group that the map does not know yet has all slots.
        let owned = self.map.groups.get(&group).map(|it| &it.slots);
        if it.moving.is_none() && owned.is_none_or(|slots| slots.holds(SlotRange::ALL)) {
            return Placed::Here;
        }
        let owns = |slot: u16| owned.is_none_or(|slots| slots.contains(slot));
        let fenced = it.moving.as_ref().is_some_and(|moving| moving.is_fenced());
        let mut slots = slots_of(work);
        slots.dedup();
        if slots.is_empty() && fenced {
            // How far the log is committed says nothing of what the next owner has; and what speaks of all keys cannot leave the
            // fenced ones out.
            return match work {
                Work::Position => Placed::Elsewhere,
                Work::Command(args) if writes(args) => Placed::Fenced,
                _ => Placed::Here,
            };
        }
        let here = |slot: &u16| {
            let owned = owns(*slot) || plant::is(Bug::ServesAfterCutOver);
            owned && !it.moving.as_ref().is_some_and(|moving| moving.fences(*slot))
        };
        if slots.iter().all(here) {
            return Placed::Here;
        }
        // Several slots may wait for the same group; once one of them is elsewhere for good they can be used together no more.
        match slots.iter().filter(|slot| owns(**slot)).count() {
            0 if slots.iter().any(|slot| *slot != slots[0]) => Placed::Apart,
            0 => Placed::Elsewhere,
            count if count == slots.len() => Placed::Elsewhere,
            _ => Placed::Apart,
        }
    }

    /// Whether a command of a client of this node must wait for a fence in front of its keys.
    pub(crate) fn is_fenced(&self, group: GroupId, spec: &Spec, args: &[&[u8]]) -> bool {
        let moving = self.groups.get(&group).and_then(|it| it.moving.as_ref());
        let Some(moving) = moving.filter(|moving| moving.is_fenced()) else { return false };
        match commands::docs::keys_of(spec, args) {
            Ok(keys) if keys.is_empty() => spec.flags.has(Flags::WRITE),
            Ok(keys) => keys.iter().any(|key| moving.fences(slot(key))),
            Err(_) => false,
        }
    }

    /// The slots that this node executes commands of as the group's leader.
    pub(crate) fn served_slots(&self, it: &Group) -> SlotSet {
        let mut slots = self.map.groups.get(&it.id()).map(|it| it.slots.clone()).unwrap_or_default();
        if let Some(leaving) = it.moving.as_ref().and_then(|moving| moving.leaving.as_ref())
            && leaving.is_fenced()
        {
            slots.remove(leaving.slots);
        }
        slots
    }

    /// Whether a command speaks of a whole keyspace that turned out to be divided after its client sent it.
    pub(crate) fn is_of_all(&self, outgoing: &Outgoing) -> bool {
        let Origin::Client { purpose: Purpose::Command, .. } = outgoing.origin else { return false };
        let Work::Command(args) = &outgoing.work else { return false };
        self.is_sharded(outgoing.keyspace) && is_keyless(args)
    }

    /// What a client reads whose command is led elsewhere, in a keyspace that does not forward.
    pub(crate) fn redirection(
        &self,
        keyspace: KeyspaceId,
        route: Route,
        slot: impl FnOnce() -> Option<u16>,
    ) -> Option<String> {
        let leader = route.leader.filter(|leader| *leader != self.config.node)?;
        if self.map.keyspaces.get(&keyspace)?.settings.forward {
            return None;
        }
        let slot = slot().unwrap_or(route.slots.first);
        Some(format!("MOVED {slot} {}", self.map.nodes.get(&leader)?.addresses.resp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&'static str]) -> Work {
        Work::Command(words.iter().map(|word| Bytes::from_static(word.as_bytes())).collect())
    }

    #[test]
    fn work_goes_by_its_first_key() {
        assert_eq!(slot_of_work(&command(&["GET", "foo"])), 12_182);
        assert_eq!(slot_of_work(&command(&["SET", "x{foo}", "bar"])), 12_182);
        assert_eq!(slot_of_work(&command(&["DBSIZE"])), 0);
        assert_eq!(slot_of_work(&command(&["NOSUCH", "foo"])), 0);
        let Work::Command(get) = command(&["GET", "foo"]) else { return };
        let ping = alloc::vec![Bytes::from_static(b"DBSIZE")];
        let work = Work::Transaction { commands: alloc::vec![ping, get], watch: None };
        assert_eq!(slot_of_work(&work), 12_182);
    }

    #[test]
    fn keys_of_one_tag_have_a_slot_in_common() {
        assert_eq!(common([&b"a{t}"[..], b"b{t}"].into_iter()), Ok(Some(slot(b"t"))));
        assert_eq!(common([&b"foo"[..], b"bar"].into_iter()), Err(()));
        assert_eq!(common(core::iter::empty()), Ok(None));
    }

    #[test]
    fn a_slot_is_found_among_the_groups() {
        let route = |group, slots| Route { group: GroupId(group), slots, leader: None };
        let ranges: alloc::vec::Vec<SlotRange> = SlotRange::divide(3).collect();
        let routes = Routes((1..).zip(&ranges).map(|(group, slots)| route(group, *slots)).collect());
        assert_eq!(routes.only(), None);
        for range in &ranges {
            assert_eq!(routes.at(range.first), routes.at(range.last));
            assert_eq!(routes.at(range.first).map(|route| route.slots), Some(*range));
        }
        assert_eq!(Routes::default().at(0), None);
    }
}
