//! What is gone although it was acknowledged lies in the ledger, and what the ledger calls acknowledged was, and is gone.
//!
//! Twice: by the log (what a leader committed under a rule that may lose, against the log of the last leader), and by the
//! clients (the elements whose adding was answered, against what is read at the end). Only where every copy is back: a machine that
//! was set up anew has taken its copy's tail with it.
//!
//! Source: DESIGN, the ledger; catalogue: C2, C8, F5; bugs: TC-10

use super::Violation;
use crate::history::{Did, Operation, Outcome};
use crate::host::Host;
use crate::world::{Space, World};
use data::ledger::{Item, Mark};
use data::{Epoch, GroupId, Index, NodeId, Position};
use node::GroupState;
use node::payload::{Changes, Payload};
use protocol::single_leader::RoleName;
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "what is lost lies in the ledger";
pub const BOUND: &str = "the loss is bounded by the lag that is allowed";
/// A leader looks at its followers by its own clock, and stamps entries with another: so much they may differ.
const SLACK_MS: i64 = 100;

#[derive(Default)]
pub struct Ledgers {
    /// Operations that a leader committed, by group and epoch, in keyspaces that may lose.
    committed: BTreeMap<(GroupId, Epoch), BTreeSet<Index>>,
    seen: BTreeMap<(NodeId, GroupId), (Epoch, Index)>,
    /// A machine lost its power: what no disk had flushed may be gone with every copy.
    pub power_lost: bool,
    /// Something was done to a disk behind its node's back.
    pub harmed: bool,
}

/// What the ledgers of a run held at its end.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Entries, with and without payload.
    pub items: u64,
    pub acknowledged: u64,
    /// Announced losses whose copy has not come back.
    pub announced: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, more: Count) {
        self.items += more.items;
        self.acknowledged += more.acknowledged;
        self.announced += more.announced;
    }
}

impl Ledgers {
    /// After a turn.
    pub fn observe(&mut self, host: &Host, state: &GroupState<'_>) {
        let (Some(epoch), RoleName::Leader) = (state.replica.leads(), state.replica.role()) else { return };
        let commit = state.replica.commit();
        let seen = self.seen.entry((host.id, state.group)).or_insert((epoch, commit));
        let from = if seen.0 == epoch { seen.1.next() } else { commit };
        *seen = (epoch, commit);
        if from > commit {
            return;
        }
        let all = self.committed.entry((state.group, epoch)).or_default();
        state.replica.log().each(from, commit, |record| {
            if record.header.kind.is_change() && record.header.epoch == epoch {
                all.insert(record.header.index);
            }
        });
    }
    pub fn forget(&mut self, id: NodeId) {
        self.seen.retain(|(node, _), _| *node != id);
    }

    /// At the end of a run whose copies are all alike.
    pub fn judge(&self, world: &World) -> Result<Count, Violation> {
        let broken = |text: String| Violation { property: NAME, text };
        let items = gather(world);
        let whole = !self.harmed && copies_are_back(world);
        let mut leaders = BTreeMap::new();
        for node in world.hosts.values().filter_map(|host| host.node.as_ref()) {
            for state in node.group_states().filter(|state| state.replica.role() == RoleName::Leader) {
                let kept = (state.replica.log().clone(), state.shortfall.lost().clone());
                leaders.insert(state.group, (kept, state.keyspace.name.clone()));
            }
        }
        let survives = |group: GroupId, position: Position| {
            // An entry that a leader was told to go on without has its place in the history, and nothing came of it.
            let kept = leaders.get(&group).map(|(kept, _)| kept);
            kept.is_some_and(|(log, gaps)| {
                log.epoch_at(position.index) == Some(position.epoch) && !gaps.covers(position.index)
            })
        };
        for ((group, epoch), indices) in &self.committed {
            let Some((_, name)) = leaders.get(group) else { continue };
            let flushed = |space: &Space| space.name == *name && self.is_flushed(space);
            let judged = whole && world.spaces.iter().any(flushed);
            for index in indices.iter().filter(|_| judged) {
                let position = Position { epoch: *epoch, index: *index };
                if !survives(*group, position) && !holds(&items, *group, position) {
                    return Err(broken(format!(
                        "{group} {position} was committed, is gone and in no ledger"
                    )));
                }
            }
        }
        for item in items.iter().filter(|item| item.mark != Mark::Announced) {
            let position = item.id.position;
            if item.through == position.index && survives(item.id.group, position) {
                return Err(broken(format!("{} is in a ledger and in the log", item.id)));
            }
            let space = leaders.get(&item.id.group).map(|(_, name)| name);
            let keeps = |name: &String| world.spaces.iter().any(|it| it.name == *name && it.durable);
            if item.mark == Mark::Acknowledged && space.is_some_and(keeps) {
                return Err(broken(format!("{} was acknowledged in a keyspace that loses nothing", item.id)));
            }
        }
        self.by_clients(world, &items, whole).map_err(broken)?;
        bounded(world, &items).map_err(|text| Violation { property: BOUND, text })?;
        let marked = |mark| items.iter().filter(|item| item.mark == mark).count() as u64;
        let announced = marked(Mark::Announced);
        Ok(Count {
            items: items.iter().filter_map(Item::entries).sum(),
            acknowledged: marked(Mark::Acknowledged),
            announced,
        })
    }

    /// A keyspace that acknowledges what no disk has flushed loses it with the power.
    fn is_flushed(&self, space: &Space) -> bool {
        !(self.power_lost && space.options.iter().any(|word| word == "received"))
    }

    /// What the clients know: values are unique in a run.
    fn by_clients(&self, world: &World, items: &[Item], whole: bool) -> Result<(), String> {
        let Some(map) = world.newest_map() else { return Ok(()) };
        let space_of = |item: &Item| {
            let name = &map.keyspaces.get(&item.keyspace)?.name;
            world.spaces.iter().position(|space| space.name == *name)
        };
        // What a range without payload holds only the log can tell; a physical item does not tell what is new in a set or list.
        let ranges: BTreeSet<usize> =
            items.iter().filter(|item| tells_little(item)).filter_map(space_of).collect();
        let mut kept: BTreeMap<(usize, String, i64), Mark> = BTreeMap::new();
        for item in items {
            let (Some(space), Some(payload)) = (space_of(item), &item.payload) else { continue };
            for (key, value) in values(payload) {
                let mark = kept.entry((space, key, value)).or_insert(item.mark);
                *mark = item.mark.min(*mark);
            }
        }
        let mut last: BTreeMap<(usize, &str), &Operation> = BTreeMap::new();
        for operation in world.history.iter().filter(|it| it.outcome == Outcome::Ok && !it.place.from_copy) {
            if matches!(operation.did, Did::Members { .. } | Did::Range { .. }) {
                let newest = last.entry((operation.keyspace, &operation.key)).or_insert(operation);
                if newest.start < operation.start {
                    *newest = operation;
                }
            }
        }
        // Where nobody leads no election loses anything, and elements are removed.
        let led = |it: &&Operation| world.spaces[it.keyspace].quorums.is_none();
        for operation in world.history.iter().filter(led) {
            let value = match operation.did {
                Did::Add { element } | Did::Push { element } => element,
                Did::Write { value } | Did::SetExpiring { value } => value,
                Did::Swap { new, .. } => new,
                _ => continue,
            };
            let mark = kept.get(&(operation.keyspace, operation.key.clone(), value)).copied();
            let what =
                || format!("{value} under {} in {}", operation.key, world.spaces[operation.keyspace].name);
            // Of one that asked for less than its keyspace's rule the history keeps no outcome, whatever it was answered.
            let known = !operation.key.starts_with("asked");
            let answered = known && operation.end != u64::MAX && operation.outcome != Outcome::Ok;
            if mark == Some(Mark::Acknowledged) && answered {
                return Err(format!("{} was not acknowledged, as the ledger has it", what()));
            }
            let collected = matches!(operation.did, Did::Add { .. } | Did::Push { .. });
            let Some(read) = last.get(&(operation.keyspace, operation.key.as_str())).filter(|_| collected)
            else {
                continue;
            };
            let seen = match &read.did {
                Did::Members { seen } | Did::Range { seen } => seen.contains(&value),
                _ => continue,
            };
            if seen && mark == Some(Mark::Acknowledged) {
                return Err(format!("{} is called lost and is there", what()));
            }
            let judged = whole
                && !ranges.contains(&operation.keyspace)
                && self.is_flushed(&world.spaces[operation.keyspace]);
            let gone = operation.outcome == Outcome::Ok && operation.end < read.start && !seen;
            if gone && judged && mark.is_none() {
                return Err(format!("{} was acknowledged, is gone and in no ledger", what()));
            }
        }
        Ok(())
    }
}

/// The items of all nodes, an entry that several hold once, under the strongest mark.
fn gather(world: &World) -> Vec<Item> {
    let mut items: BTreeMap<_, Item> = BTreeMap::new();
    for node in world.hosts.values().filter_map(|host| host.node.as_ref()) {
        for item in node.ledger().items() {
            items.entry(item.id).or_insert_with(|| item.clone()).join(item);
        }
    }
    items.into_values().collect()
}

fn tells_little(item: &Item) -> bool {
    if item.through > item.id.position.index && item.mark != Mark::Announced {
        return true;
    }
    let Some(payload) = &item.payload else { return item.mark != Mark::Announced };
    matches!(Payload::parse(payload), Ok(Payload { changes: Changes::Images(_), .. }))
}

fn holds(items: &[Item], group: GroupId, position: Position) -> bool {
    items.iter().any(|item| {
        let from = item.id.position;
        item.mark != Mark::Announced
            && (item.id.group, from.epoch) == (group, position.epoch)
            && (from.index..=item.through).contains(&position.index)
    })
}

/// Whether every copy that ever was is still there: nobody was set up anew or left.
fn copies_are_back(world: &World) -> bool {
    // A node that has left took its ledger along.
    let joined = world.newest_map().map_or(0, |map| map.next_node.0.saturating_sub(1));
    (1..=world.mix.nodes.max(joined))
        .map(NodeId)
        .all(|id| world.hosts.get(&id).is_some_and(|host| !host.lost && host.node.is_some()))
}

/// Under `MIN-REPLICAS-MAX-LAG` what one leader acknowledged and lost was all written within that time.
fn bounded(world: &World, items: &[Item]) -> Result<(), String> {
    let Some(map) = world.newest_map() else { return Ok(()) };
    let mut spans: BTreeMap<(GroupId, Epoch), (i64, i64)> = BTreeMap::new();
    for item in items.iter().filter(|item| item.payload.is_some()) {
        let guarded =
            map.keyspaces.get(&item.keyspace).is_some_and(|it| it.settings.min_replicas_to_write > 0);
        if guarded {
            let at = item.time_ms;
            let span = spans.entry((item.id.group, item.id.position.epoch)).or_insert((at, at));
            *span = (span.0.min(at), span.1.max(at));
        }
    }
    for ((group, epoch), (first, last)) in spans {
        let keyspace = map.view(group).and_then(|view| map.keyspaces.get(&view.keyspace));
        let most_ms = keyspace.map_or(0, |it| i64::from(it.settings.min_replicas_max_lag_s) * 1000);
        if last - first > most_ms + SLACK_MS {
            return Err(format!("{group} lost writes of {epoch} that span {} ms of {most_ms}", last - first));
        }
    }
    Ok(())
}

/// The values that an entry writes, as far as its format tells.
fn values(payload: &[u8]) -> Vec<(String, i64)> {
    let written = Payload::parse(payload).map(|payload| payload.written()).unwrap_or_default();
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    let of = |(key, value): &(Vec<u8>, Vec<u8>)| {
        number(value).map(|value| (String::from_utf8_lossy(key).into_owned(), value))
    };
    written.iter().filter_map(of).collect()
}
