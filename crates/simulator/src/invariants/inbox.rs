//! Of concurrent writes none is gone without a word: an acknowledged write is shown, lies beside what is shown, was replaced by
//! a write whose minter held it, or is told of in the inbox.
//!
//! The judge knows what each write replaced because it reads what replicas and sites log: a minted delta names the dots that it adds
//! and those that it ends. A minter that ended several values of a key at once must have said so.
//!
//! Source: DESIGN §8 and §9, CATALOGUE J7, J14; bugs: LL-01, LL-23, TC-61, TC-77

use super::Violation;
use crate::history::{Did, Outcome};
use crate::workload::quorum::is_agreed;
use crate::world::World;
use data::causal::{Causal, Dot, Object, ShardCopy};
use data::record::{Kind, Record};
use data::value::Blob;
use data::{GroupId, KeyspaceId};
use protocol::leaderless::{Logged, Record as Minted};
use protocol::multi_leader::{Change, Record as SiteRecord};
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "what lost is told of in the inbox";

/// One write of a string.
struct Mint {
    dot: Dot,
    /// Its own dot and those that it ended.
    delta: Causal<Object>,
}

/// What replicas and sites minted, of keys of registers.
#[derive(Default)]
pub struct Writes {
    by_key: BTreeMap<(KeyspaceId, Blob), Vec<Mint>>,
    by_value: BTreeMap<i64, (KeyspaceId, GroupId, Blob, Vec<Dot>)>,
    /// Of sites: every log of all of them holds a write.
    met: BTreeSet<Dot>,
}

/// What a record brings, key by key.
fn minted(record: &Record<'_>) -> Vec<(Blob, Causal<Object>)> {
    match record.header.kind {
        Kind::Leaderless => match Logged::decode(record.payload) {
            Ok(Logged::Change(Minted::Mint { key, delta, .. })) => [(key, delta)].into(),
            _ => Vec::new(),
        },
        // Reading all of it takes its time.
        Kind::Site if !record.payload.windows(9).any(|it| it == b"sregister") => Vec::new(),
        Kind::Site => match node::sites::record_of(record.payload) {
            Some(SiteRecord::Write(write)) => match &write.change {
                Change::Deltas(deltas) => deltas.clone(),
                Change::HandOver { .. } => Vec::new(),
            },
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn dots_of(object: &Object) -> Vec<(Dot, Option<Blob>)> {
    let texts = object.as_text().into_iter().flat_map(|text| text.siblings().iter());
    let texts = texts.map(|(mark, value)| (mark.dot, Some(value.clone())));
    let lasts = object.as_last().into_iter().flat_map(|last| last.writes());
    texts.chain(lasts.map(|(mark, value)| (mark.dot, value.clone()))).collect()
}

fn number(value: &Blob) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl Writes {
    /// A node writes to its log.
    pub fn logged(&mut self, record: &Record<'_>) {
        let (keyspace, group) = (record.header.keyspace, record.header.group);
        let is_site = record.header.kind == Kind::Site;
        for (key, delta) in minted(record) {
            if !key.starts_with(b"qregister") && !key.starts_with(b"sregister") {
                continue;
            }
            for (dot, value) in dots_of(&delta.store) {
                if is_site && !self.met.insert(dot) {
                    continue;
                }
                if let Some(value) = value.as_ref().and_then(number) {
                    let first = || (keyspace, group, key.clone(), Vec::new());
                    self.by_value.entry(value).or_insert_with(first).3.push(dot);
                }
                let mint = Mint { dot, delta: delta.clone() };
                self.by_key.entry((keyspace, key.clone())).or_default().push(mint);
            }
        }
    }

    /// At the end of a run, when all copies are equal.
    pub fn judge(&self, world: &World) -> Option<Violation> {
        let mut copies: BTreeMap<GroupId, &ShardCopy> = BTreeMap::new();
        for node in world.hosts.values().filter_map(|host| host.node.as_ref()) {
            for state in node.shard_states().filter(|state| state.is_replica && state.is_ready) {
                copies.insert(state.group, state.copy);
            }
            for state in node.site_states().filter(|state| state.state.is_ready()) {
                copies.insert(state.group, state.state.copy());
            }
        }
        for operation in &world.history {
            let Did::Write { value } = operation.did else { continue };
            let space = world.spaces.get(operation.keyspace);
            let is_led = space.is_none_or(|space| space.quorums.is_none());
            // What copies agree on is in one order: nothing competes.
            if is_led || is_agreed(&operation.key) || operation.outcome != Outcome::Ok {
                continue;
            }
            let told = |text: &str| {
                let text = format!("{} = {value}, acknowledged, {text}", operation.key);
                Some(Violation { property: NAME, text })
            };
            let Some((keyspace, group, key, dots)) = self.by_value.get(&value) else {
                return told("and no log has it");
            };
            // Keyspaces of runs are not dropped; who holds no copy at all is another judge's.
            let Some(copy) = copies.get(group) else { continue };
            let nothing = Object::default();
            let object = copy.object(key).unwrap_or(&nothing);
            let alive = dots_of(object);
            let is_alive = |dot: &Dot| alive.iter().any(|(it, _)| it == dot);
            if dots.iter().any(is_alive) {
                continue;
            }
            let all = self.by_key.get(&(*keyspace, key.clone())).map_or(&[][..], |all| &all[..]);
            let ends = |mint: &&Mint, dot: &Dot| mint.dot != *dot && mint.delta.context.contains(*dot);
            let ended_by = |dot: &Dot| -> Vec<&Mint> {
                all.iter().filter(|mint| ends(mint, dot) && copy.context().contains(mint.dot)).collect()
            };
            let Some((dot, by)) = dots.iter().map(|dot| (dot, ended_by(dot))).find(|(_, by)| !by.is_empty())
            else {
                return told("is not shown, and nobody who held it replaced it");
            };
            let decisions = object.as_decisions();
            let dropped = decisions.into_iter().flat_map(|it| it.iter()).map(|(_, it)| it.dropped).max();
            let mut decided = decisions.into_iter().flat_map(|it| it.iter());
            let is_told = decided.any(|(_, it)| it.versions.iter().any(|version| version.mark.dot == *dot));
            // Each of them ended it together with another value, and so a conflict.
            let in_conflict =
                by.iter().all(|mint| all.iter().any(|other| other.dot != *dot && ends(mint, &other.dot)));
            if in_conflict && !is_told && dropped.unwrap_or(0) == 0 {
                return told("was ended in a conflict, and the inbox does not tell");
            }
        }
        None
    }
}
