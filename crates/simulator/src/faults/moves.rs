//! An operator who moves slots under load, divides keyspaces anew, and changes his mind.
// bugs: X-01

use crate::random::Random;
use crate::workload::{Command, KEYS_LIVE, command};
use crate::world::World;
use data::slot::SLOTS;
use data::{KeyspaceId, NodeId};

impl World {
    pub(super) fn order_move(&mut self, at: NodeId, random: &mut Random) {
        let space = random.below(self.spaces.len() as u64) as usize;
        let Some(name) = self.spaces.get(space).map(|it| it.name.clone()) else { return };
        let Some(node) = self.hosts.get(&at).and_then(|host| host.node.as_ref()) else { return };
        let map = node.map();
        let Some(keyspace) = map.keyspace_named(&name).map(|it| it.id) else { return };
        if name == "homes" {
            let Some(words) = self.home_order(keyspace, random) else { return };
            return self.order(at, vec![words]);
        }
        let groups: Vec<_> = map.groups_of(keyspace).map(|it| (it.view.group, it.slots.clone())).collect();
        let moves: Vec<u64> = map.moves.keys().copied().collect();
        let (draw, shards) = (random.below(10), random.between(1, 4).to_string());
        let (first, length) = (random.below(u64::from(SLOTS)), random.below(9_000));
        let mut one = || groups.get(random.below(groups.len().max(1) as u64) as usize);
        let (from, to) = (one(), one());
        let words = match (draw, random.pick(&moves), from, to) {
            (0, Some(id), ..) => command(&["KEYSPACE", "CANCEL-MOVE", &id.to_string()]),
            (1..=6, _, Some((from, slots)), Some((to, _))) if groups.len() > 1 && from != to => {
                // A part of what it has, often with the slots that are used most; sometimes all.
                let Some(range) = random.pick(slots.ranges()) else { return };
                let last = u64::from(range.last);
                let first = (u64::from(range.first) + first % u64::from(range.len())).min(last);
                let range = match draw {
                    1 | 2 => format!("{}-{last}", range.first),
                    _ => format!("{first}-{}", (first + length).min(last)),
                };
                command(&["KEYSPACE", "MOVE-SLOTS", &name, &range, "TO", &to.0.to_string()])
            }
            _ => command(&["KEYSPACE", "ALTER", &name, "SHARDS", &shards]),
        };
        self.order(at, vec![words]);
    }

    /// A key that is in use moves home.
    // catalogue: J3
    fn home_order(&self, keyspace: KeyspaceId, random: &mut Random) -> Option<Command> {
        let map = self.newest_map()?;
        let to = random.pick(&map.multi_leader.get(&keyspace)?.names())?.to_string();
        let kind = random.pick(&["sregister", "counter", "set", "list"])?;
        let key = format!("{kind}{}-{}", self.now / KEYS_LIVE, random.below(2));
        Some(command(&["KEYSPACE", "MOVE-HOME", "homes", &key, "TO", &to]))
    }
}
