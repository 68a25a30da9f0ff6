//! The end of faults: of all of them, or of those that touch a core of nodes.

use super::{Fault, Undo};
use crate::clocks::TRUE_RATE;
use crate::world::{Event, World};
use data::NodeId;
use std::collections::BTreeSet;

impl World {
    /// An operator starts processes again whose disk failed, as often as that happens: an injected failure may strike late.
    pub fn replace_failed_disks(&mut self) {
        let all = self.hosts.keys().copied().collect();
        self.replace_failed_disks_of(&all);
    }
    pub fn replace_failed_disks_of(&mut self, ids: &BTreeSet<NodeId>) {
        for id in ids {
            if self.hosts.get(id).is_some_and(|host| host.disk.has_failed()) {
                self.after(0, Event::Undo(Undo::Restart(*id)));
            }
        }
    }

    /// Everything works and runs again.
    pub fn heal(&mut self) {
        self.healing = true;
        self.network.heal();
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        for id in ids {
            self.heal_host(id);
        }
    }

    /// Only the core works and runs again. Of the others every second one is dead, and the rest are cut off: they run, and
    /// take what clients send them.
    pub fn heal_only(&mut self, core: &BTreeSet<NodeId>) {
        self.healing = true;
        self.trace.note(self.now, || format!("only {core:?} are healed"));
        self.network.heal();
        let others: Vec<NodeId> = self.hosts.keys().copied().filter(|id| !core.contains(id)).collect();
        for (at, id) in others.iter().enumerate() {
            if at % 2 == 0 {
                self.stop(*id, false);
            }
            if let Some(host) = self.hosts.get_mut(id) {
                host.held_down = true;
            }
            self.network.cut.extend(core.iter().flat_map(|member| [(*id, *member), (*member, *id)]));
        }
        for id in core {
            self.heal_host(*id);
        }
    }

    fn heal_host(&mut self, id: NodeId) {
        let now = self.now;
        let wild = self.mix.has(Fault::WildClocks);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        host.disk.medium.limit(None);
        host.disk_slow = 0;
        host.pause_in_turn = None;
        host.clock.set_wall(0, 5);
        host.clock.freeze_wall(None);
        if !wild {
            host.clock.set_rate(now, TRUE_RATE);
        }
        self.after(0, Event::Wake { node: id });
        self.after(1, Event::Undo(Undo::Restart(id)));
        self.after(2, Event::Undo(Undo::Scrub(id)));
    }
}
