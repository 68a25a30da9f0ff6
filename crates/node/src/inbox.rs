//! The inbox: every conflict that a policy met, whatever it did with it. Nothing is kept for it here: conflicts and the
//! decisions on them lie in the copies ([`data::causal::Conflict`]), and this module tells of those on this node. What several
//! nodes tell of one conflict has one name and is one item.
//!
//! Whoever holds copies that merge adds them to [`Node::merging_copies`]; everything else follows.
// catalogue: J7 J14 N6 N8

use crate::admin::inbox::Errand;
use crate::admin::poll::{Horizon, Polls};
use crate::message::PeerMessage;
use crate::node::Node;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;
use core::str::FromStr;
use data::causal::{ConflictId, Decisions, Dot, How, Mark, Object, ShardCopy, Stamp, Version};
use data::codec::{DecodeError, Reader, Writer};
use data::table::Seed;
use data::value::Blob;
use data::{GroupId, KeyspaceId, NodeId};

/// Items that one node tells of at once, and about how many bytes of them; one that is larger is told of alone.
const LIST_MAX: usize = 1000;
const LIST_BYTES_MAX: usize = 1 << 20;
/// Items that this node remembers to have announced. A guess: beyond it one may be announced again.
const TOLD_MAX: usize = 4096;

/// Names an item: the group that holds its key, and its conflict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ItemId {
    pub group: GroupId,
    pub conflict: ConflictId,
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.group.0, self.conflict.0)
    }
}

impl FromStr for ItemId {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<ItemId, DecodeError> {
        let wrong = DecodeError::Invalid("inbox id");
        let (group, conflict) = text.split_once('-').ok_or(wrong)?;
        let digits = |text: &str, max: usize| {
            !text.is_empty() && text.len() <= max && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        if !digits(group, 10) || !digits(conflict, 16) {
            return Err(wrong);
        }
        let group = GroupId(group.parse().map_err(|_| wrong)?);
        let conflict = ConflictId(u64::from_str_radix(conflict, 16).map_err(|_| wrong)?);
        Ok(ItemId { group, conflict })
    }
}

impl ItemId {
    fn encode(self, w: &mut Writer<'_>) {
        self.group.encode(w);
        w.u64(self.conflict.0);
    }
    fn decode(r: &mut Reader<'_>) -> Result<ItemId, DecodeError> {
        Ok(ItemId { group: GroupId::decode(r)?, conflict: ConflictId(r.u64()?) })
    }
}

/// What became of a conflict: who minted that and when, how it came about, and older decisions of the key that made room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    pub mark: Mark,
    pub how: How,
    pub dropped: u64,
}

/// One conflict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    pub id: ItemId,
    pub keyspace: KeyspaceId,
    pub key: Blob,
    pub path: Vec<Blob>,
    pub versions: Vec<Version>,
    /// In the order of their marks; none while it lasts.
    pub decisions: Vec<Told>,
}

impl Item {
    fn bytes(&self) -> usize {
        let values = self.versions.iter().map(|version| 64 + version.value.as_ref().map_or(0, |it| it.len()));
        128 + self.key.len() + values.sum::<usize>()
    }
    fn dots(&self) -> BTreeSet<Dot> {
        self.versions.iter().map(|version| version.mark.dot).collect()
    }
    /// Takes over what another copy knows of the same conflict.
    fn join(&mut self, other: Item) {
        for told in other.decisions {
            if let Err(at) = self.decisions.binary_search_by_key(&told.mark, |it| it.mark) {
                self.decisions.insert(at, told);
            }
        }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        self.id.encode(w);
        self.keyspace.encode(w);
        w.bytes(&self.key);
        w.list(&self.path, |w, field| w.bytes(field));
        w.list(&self.versions, |w, version| version.encode(w));
        w.list(&self.decisions, |w, told| {
            w.u64(told.mark.stamp.0);
            let Dot { actor, counter } = told.mark.dot;
            actor.node.encode(w);
            actor.incarnation.encode(w);
            actor.shard.encode(w);
            w.u64(counter);
            match &told.how {
                How::Overwritten => w.u8(1),
                How::Deleted => w.u8(2),
                How::Resolved { by } => {
                    w.u8(3);
                    w.bytes(by);
                }
            }
            w.u64(told.dropped);
        });
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Item, DecodeError> {
        Ok(Item {
            id: ItemId::decode(r)?,
            keyspace: KeyspaceId::decode(r)?,
            key: r.bytes()?.into(),
            path: r.list(|r| Ok(r.bytes()?.into()))?,
            versions: r.list(Version::decode)?,
            decisions: r.list(|r| {
                let stamp = Stamp(r.u64()?);
                let actor = data::causal::Actor {
                    node: NodeId::decode(r)?,
                    incarnation: data::Incarnation::decode(r)?,
                    shard: GroupId::decode(r)?,
                };
                let mark = Mark { stamp, dot: Dot { actor, counter: r.u64()? } };
                let how = match r.u8()? {
                    1 => How::Overwritten,
                    2 => How::Deleted,
                    3 => How::Resolved { by: r.bytes()?.into() },
                    _ => return Err(DecodeError::Invalid("decision")),
                };
                Ok(Told { mark, how, dropped: r.u64()? })
            })?,
        })
    }
}

/// What a node wants to know of another one's copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Items of a keyspace, or of all, behind this one.
    List {
        keyspace: Option<KeyspaceId>,
        after: Option<ItemId>,
    },
    Get(ItemId),
}

impl Ask {
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            Ask::List { keyspace, after } => {
                w.u8(1);
                w.option(*keyspace, |w, keyspace| keyspace.encode(w));
                w.option(*after, |w, after| after.encode(w));
            }
            Ask::Get(id) => {
                w.u8(2);
                id.encode(w);
            }
        }
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Ask, DecodeError> {
        Ok(match r.u8()? {
            1 => Ask::List { keyspace: r.option(KeyspaceId::decode)?, after: r.option(ItemId::decode)? },
            2 => Ask::Get(ItemId::decode(r)?),
            _ => return Err(DecodeError::Invalid("question to an inbox")),
        })
    }
}

/// What one node answers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Answer {
    /// Ascending.
    pub items: Vec<Item>,
    /// There are more behind them.
    pub more: bool,
    /// Per group the decisions that its copy let go unasked.
    pub dropped: Vec<(GroupId, u64)>,
}

impl Answer {
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.list(&self.items, |w, item| item.encode(w));
        w.bool(self.more);
        w.list(&self.dropped, |w, (group, count)| {
            group.encode(w);
            w.u64(*count);
        });
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Answer, DecodeError> {
        Ok(Answer {
            items: r.list(Item::decode)?,
            more: r.bool()?,
            dropped: r.list(|r| Ok((GroupId::decode(r)?, r.u64()?)))?,
        })
    }
}

/// What several nodes answered together.
#[derive(Default)]
pub struct Gathered {
    pub items: BTreeMap<ItemId, Item>,
    pub more: bool,
    dropped: BTreeMap<GroupId, u64>,
    horizon: Horizon<ItemId>,
}

impl Gathered {
    pub fn take(&mut self, answer: Answer) {
        if let Some(last) = answer.items.last().filter(|_| answer.more) {
            self.horizon.note(last.id);
        }
        self.more |= answer.more;
        for item in answer.items {
            match self.items.get_mut(&item.id) {
                Some(known) => known.join(item),
                None => {
                    self.items.insert(item.id, item);
                }
            }
        }
        for (group, count) in answer.dropped {
            let most = self.dropped.entry(group).or_default();
            *most = (*most).max(count);
        }
    }
    /// Copies let the same decisions go, each for itself.
    pub fn dropped(&self) -> u64 {
        self.dropped.values().sum()
    }
    /// Once all have answered: no gaps, and no conflict that one copy has seen a part of only.
    pub fn finish(&mut self) {
        self.horizon.cut(&mut self.items);
        let mut by_place: BTreeMap<Place, Vec<(ItemId, BTreeSet<Dot>)>> = BTreeMap::new();
        for item in self.items.values() {
            let place = (item.keyspace, item.key.clone(), item.path.clone());
            by_place.entry(place).or_default().push((item.id, item.dots()));
        }
        for places in by_place.values().filter(|places| places.len() > 1) {
            for (id, dots) in places {
                let lasts = self.items.get(id).is_some_and(|item| item.decisions.is_empty());
                if lasts && places.iter().any(|(other, more)| other != id && dots.is_subset(more)) {
                    self.items.remove(id);
                }
            }
        }
    }
}

/// A keyspace, a key in it, and a path of fields below that.
type Place = (KeyspaceId, Blob, Vec<Blob>);

/// What a node keeps for the inbox: who asks, and what was announced.
#[derive(Default)]
pub(crate) struct Inbox {
    pub questions: Polls<Errand, Gathered>,
    told: BTreeSet<(ItemId, usize)>,
    told_order: VecDeque<(ItemId, usize)>,
}

impl Inbox {
    /// Whether it was not told of before.
    fn is_news(&mut self, item: &Item) -> bool {
        let news = (item.id, item.decisions.len());
        if !self.told.insert(news) {
            return false;
        }
        self.told_order.push_back(news);
        if self.told_order.len() > TOLD_MAX
            && let Some(old) = self.told_order.pop_front()
        {
            self.told.remove(&old);
        }
        true
    }
}

/// Everything that a key has to say.
fn items_of(keyspace: KeyspaceId, group: GroupId, seed: Seed, key: &Blob, object: &Object) -> Vec<Item> {
    let mut items: BTreeMap<ItemId, Item> = BTreeMap::new();
    let mut add = |path: &[Blob], versions: &[Version], told: Option<Told>| {
        let id = ItemId { group, conflict: ConflictId::new(seed, key, path, versions) };
        let item = items.entry(id).or_insert_with(|| Item {
            id,
            keyspace,
            key: key.clone(),
            path: path.to_vec(),
            versions: versions.to_vec(),
            decisions: Vec::new(),
        });
        item.decisions.extend(told);
        item.decisions.sort_by_key(|told| told.mark);
    };
    object.conflicts().iter().for_each(|conflict| add(&conflict.path, &conflict.versions, None));
    for (mark, decision) in object.as_decisions().into_iter().flat_map(Decisions::iter) {
        let told = Told { mark, how: decision.how.clone(), dropped: decision.dropped };
        add(&decision.path, &decision.versions, Some(told));
    }
    items.into_values().collect()
}

impl Node {
    /// Copies on this node whose writes merge.
    fn merging_copies(&self) -> impl Iterator<Item = (KeyspaceId, GroupId, &ShardCopy)> {
        self.shard_states()
            .filter(|state| state.is_replica)
            .map(|state| (state.keyspace, state.group, state.copy))
            .chain(self.site_copies())
    }

    /// What this node's copies have to say.
    pub(crate) fn look_in_inbox(&self, ask: &Ask) -> Answer {
        let mut answer = Answer::default();
        let mut found: BTreeMap<ItemId, Item> = BTreeMap::new();
        for (keyspace, group, copy) in self.merging_copies() {
            let wanted = match ask {
                Ask::List { keyspace: wanted, .. } => wanted.is_none_or(|wanted| wanted == keyspace),
                Ask::Get(id) => id.group == group,
            };
            if !wanted {
                continue;
            }
            answer.dropped.push((group, copy.dropped_decisions()));
            for (key, object) in copy.disputed() {
                for item in items_of(keyspace, group, copy.seed(), key, object) {
                    let fits = match ask {
                        Ask::List { after, .. } => after.is_none_or(|after| item.id > after),
                        Ask::Get(id) => item.id == *id,
                    };
                    if fits {
                        found.insert(item.id, item);
                    }
                    if found.len() > LIST_MAX {
                        found.pop_last();
                        answer.more = true;
                    }
                }
            }
        }
        let mut bytes = 0;
        for item in found.into_values() {
            bytes += item.bytes();
            if bytes > LIST_BYTES_MAX && !answer.items.is_empty() {
                answer.more = true;
                break;
            }
            answer.items.push(item);
        }
        answer
    }

    /// Once a tick: tells subscribers on all nodes of what came. One copy of each shard speaks for all.
    pub(crate) fn announce_conflicts(&mut self) {
        for (keyspace, group, keys) in self.take_conflict_news() {
            let name = self.keyspace_name(keyspace);
            let mut items = Vec::new();
            for (_, _, copy) in self.merging_copies().filter(|(_, it, _)| *it == group) {
                for key in &keys {
                    if let Some(object) = copy.object(key) {
                        items.extend(items_of(keyspace, group, copy.seed(), key, object));
                    }
                }
            }
            for item in items {
                if !self.inbox.is_news(&item) {
                    continue;
                }
                let state = if item.decisions.is_empty() { "conflict" } else { "settled" };
                let payload = format!(
                    "{{\"id\":\"{}\",\"keyspace\":{},\"key\":{},\"state\":\"{state}\",\"versions\":{}}}",
                    item.id,
                    crate::admin::quoted(&name),
                    crate::admin::quoted(&String::from_utf8_lossy(&item.key)),
                    item.versions.len()
                );
                let channel = format!("inbox:{name}");
                self.deliver(channel.as_bytes(), payload.as_bytes());
                let peers: Vec<NodeId> = self.peers.keys().copied().collect();
                for peer in peers {
                    let channel = Bytes::copy_from_slice(channel.as_bytes());
                    let payload = Bytes::copy_from_slice(payload.as_bytes());
                    self.send(peer, PeerMessage::Publish { channel, payload });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(conflict: u64, dots: &[u64], decided: &[u64]) -> Item {
        let mark = |counter: u64| Mark {
            stamp: Stamp(counter),
            dot: Dot { actor: data::causal::Actor::default(), counter },
        };
        let kind = data::causal::Kind::Text;
        let versions = dots.iter().map(|dot| Version { mark: mark(*dot), value: None, kind }).collect();
        let how = How::Resolved { by: (*b"me").into() };
        let told = |dot: &u64| Told { mark: mark(*dot), how: how.clone(), dropped: 0 };
        Item {
            id: ItemId { group: GroupId(7), conflict: ConflictId(conflict) },
            keyspace: KeyspaceId(3),
            key: (*b"k").into(),
            path: Vec::new(),
            versions,
            decisions: decided.iter().map(told).collect(),
        }
    }

    #[test]
    fn ids_are_read_as_they_are_shown() {
        let id = ItemId { group: GroupId(42), conflict: ConflictId(0xab) };
        assert_eq!(format!("{id}"), "42-00000000000000ab");
        assert_eq!(format!("{id}").parse(), Ok(id));
        for text in ["", "42", "-", "42-", "x-1", "42-1-1", "42-11111111111111111", "99999999999-1"] {
            assert!(text.parse::<ItemId>().is_err(), "{text}");
        }
    }

    #[test]
    fn answers_of_several_nodes_are_one_list() {
        let mut all = Gathered::default();
        let answer = |items: &[Item], more, dropped| Answer {
            items: items.to_vec(),
            more,
            dropped: [(GroupId(7), dropped)].into(),
        };
        all.take(answer(&[item(1, &[1, 2], &[]), item(2, &[3, 4], &[9])], false, 2));
        all.take(answer(&[item(2, &[3, 4], &[8]), item(5, &[1, 2, 5], &[])], true, 3));
        all.take(answer(&[item(6, &[6, 7], &[])], false, 3));
        all.finish();
        let ids: Vec<u64> = all.items.keys().map(|id| id.conflict.0).collect();
        assert_eq!(ids, [2, 5], "a part of a conflict is none, and nothing is told past a gap");
        let marks = all.items.values().next().map(|item| item.decisions.len());
        assert_eq!((marks, all.more, all.dropped()), (Some(2), true, 3));
    }

    #[test]
    fn an_answer_travels() {
        let answer = Answer { items: [item(1, &[1, 2], &[9])].into(), more: true, dropped: Vec::new() };
        let mut bytes = Vec::new();
        answer.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Answer::decode(&mut Reader::new(&bytes)), Ok(answer));
        for cut in 0..bytes.len() {
            assert!(Answer::decode(&mut Reader::new(&bytes[..cut])).is_err(), "{cut}");
        }
    }
}
