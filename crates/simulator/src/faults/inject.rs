//! What each kind of fault does, and how it ends.

use super::{Fault, Undo};
use crate::clocks::TRUE_RATE;
use crate::host::Host;
use crate::network::MS;
use crate::random::Random;
use crate::workload::command;
use crate::world::{Event, World};
use data::{LogFormat, NodeId};
use storage::memory::Fault as DiskFault;

/// A wall clock that is so many ms ahead is wrong for other nodes: less than what they take for agreement.
const AHEAD_MS: i64 = 15_000;

impl World {
    pub(crate) fn schedule_faults(&mut self) {
        for at in 0..self.mix.active.len() {
            let active = &mut self.mix.active[at];
            if active.every > 0 {
                let (fault, delay) = (active.fault, 3_000 * MS + active.random.around(active.every));
                self.after(delay, Event::Fault(fault));
            }
        }
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        if self.healing {
            return;
        }
        let Some(at) = self.mix.active.iter().position(|active| active.fault == fault) else { return };
        // Each strike has a lot of its own: leaving one out shifts none of the others, but for kinds that wait for what nodes
        // say.
        let active = &mut self.mix.active[at];
        let mut random = Random::new(active.random.draw(), 0);
        let delay = active.random.around(active.every);
        if self.strikes.falls(self.now, fault) {
            self.strike(fault, &mut random);
        }
        self.after(delay, Event::Fault(fault));
    }

    fn strike(&mut self, fault: Fault, random: &mut Random) {
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        let mut mixed = ids.clone();
        random.shuffle(&mut mixed);
        let Some(victim) = mixed.first().copied() else { return };
        let other = mixed.get(1).copied();
        // Mostly short, sometimes long against every time-out.
        let length =
            if random.chance(700) { random.between(5, 900) } else { random.between(900, 8_000) } * MS;
        self.trace.note(self.now, || format!("fault {} on {victim}", fault.name()));
        match fault {
            Fault::Crash => self.take_down(victim, false, length),
            Fault::PowerCut => self.take_down(victim, true, length),
            Fault::PowerCutAll => {
                for id in ids {
                    self.take_down(id, true, random.below(2_000) * MS);
                }
            }
            Fault::Pause => self.pause(victim, length),
            Fault::PauseInTurn => {
                let leader = random.chance(600).then(|| self.any_leader()).flatten();
                if let Some(host) = self.hosts.get_mut(&leader.unwrap_or(victim)) {
                    host.pause_in_turn = Some(length);
                }
            }
            Fault::Isolate => {
                let leader = random.chance(500).then(|| self.any_leader()).flatten();
                let one = leader.unwrap_or(victim);
                let links = ids.iter().filter(|id| **id != one).flat_map(|id| [(one, *id), (*id, one)]);
                self.cut(links.collect(), length, random);
            }
            Fault::Partition => {
                let size = random.below(mixed.len() as u64) as usize;
                let (left, right) = mixed.split_at(size);
                let links = left.iter().flat_map(|a| right.iter().flat_map(|b| [(*a, *b), (*b, *a)]));
                self.cut(links.collect(), length, random);
            }
            Fault::OneWay => {
                if let Some(other) = other {
                    self.cut(vec![(victim, other)], length, random);
                }
            }
            Fault::Clog => {
                if let Some(other) = other {
                    let open = self.now + length.min(3_000 * MS);
                    self.network.clogged.insert((victim, other), open);
                    self.after(length, Event::Undo(Undo::Unclog(victim, other)));
                }
            }
            Fault::SlowLink => {
                if let Some(other) = other {
                    self.network.slow.insert((victim, other), random.between(1, 150) * MS);
                    self.after(length, Event::Undo(Undo::Quicken(victim, other)));
                }
            }
            Fault::Reset => {
                if let Some(other) = other {
                    let number = self.network.connection(victim, other).number;
                    self.after(0, Event::Disconnect { a: victim, b: other, number });
                }
            }
            // In force all the time: nothing strikes.
            Fault::Loss
            | Fault::Duplicate
            | Fault::Reorder
            | Fault::WildClocks
            | Fault::Wan
            | Fault::Sites => {}
            // That strikes at elections.
            Fault::Newcomer => {}
            Fault::Squeeze => self.squeeze(random),
            Fault::Cascade => self.cascade(random),
            Fault::Latecomer => self.lose_follower(random),
            Fault::Overflow => self.overflow(random),
            Fault::Restore => self.back_up_or_restore(victim, length, random),
            Fault::Upgrade => self.change_version(victim, length, random),
            Fault::SiteCut => {
                if let Some(site) = random.pick(&self.network.sites.used) {
                    self.cut(self.network.sites.links_of(site), length, random);
                }
            }
            Fault::Drift | Fault::ClockJump | Fault::WallClock => {
                self.disturb_clock(fault, victim, length, random)
            }
            // A damage that waits for its discovery, and a set that shrinks to just that copy: then there is none left.
            Fault::DiskFail if self.hosts.values().any(|host| host.id != victim && host.harm.is_some()) => {}
            Fault::DiskSlow | Fault::DiskFail | Fault::DiskFull => {
                self.disturb_disk(fault, victim, length, random);
            }
            Fault::BitFlip | Fault::LostWrite | Fault::StrayWrite => {
                self.damage(fault, victim, length, random);
            }
            Fault::Wipe => {
                if self.may_lose(victim) {
                    self.wipe(victim, length, random.between(0, 8_000) * MS);
                }
            }
            Fault::Join => {
                self.add_machine();
            }
            Fault::Leave => {
                if let Some(id) = self.dispensable(random) {
                    self.dismiss(id);
                }
            }
            Fault::Replace => {
                if let Some(id) = self.dispensable(random)
                    && self.add_machine().is_some()
                {
                    self.operator.means_to_dismiss(id);
                    self.after(random.between(0, 3_000) * MS, Event::Undo(Undo::Dismiss(id)));
                }
            }
            Fault::HangUp => {
                if !self.clients.is_empty() {
                    let client = random.below(self.clients.len() as u64) as usize;
                    self.hang_up(client);
                }
            }
            Fault::Switchover => self.order_switchover(victim, random),
            Fault::TableFlip => self.flip_table(random),
            Fault::Alter => self.order_change(victim, random),
            Fault::Promote => self.order_promotion(victim, random),
            Fault::SlotMove => self.order_move(victim, random),
        }
    }

    fn any_leader(&self) -> Option<NodeId> {
        let leads = |id: &NodeId| {
            let node = self.hosts.get(id).and_then(|host| host.node.as_ref());
            node.is_some_and(|node| node.group_states().any(|state| state.replica.leads().is_some()))
        };
        self.hosts.keys().copied().find(leads)
    }

    pub(super) fn take_down(&mut self, id: NodeId, power: bool, length: u64) {
        self.stop(id, power);
        self.after(length, Event::Undo(Undo::Restart(id)));
        if let Some(host) = self.hosts.get_mut(&id) {
            host.held_down = true;
        }
    }

    pub(super) fn pause(&mut self, id: NodeId, length: u64) {
        if let Some(host) = self.hosts.get_mut(&id).filter(|host| host.is_running() && !host.paused) {
            host.paused = true;
            self.after(length, Event::Wake { node: id });
        }
    }

    fn cut(&mut self, links: Vec<(NodeId, NodeId)>, length: u64, random: &mut Random) {
        for link in links {
            // Noticed by a failed write or a keep-alive, or not before it is over.
            let noticed = random.between(1, 3_000) * MS;
            self.cut_noticed(vec![link], length, noticed);
        }
    }

    pub(super) fn cut_noticed(&mut self, links: Vec<(NodeId, NodeId)>, length: u64, noticed: u64) {
        for (from, to) in &links {
            self.network.cut.insert((*from, *to));
            let number = self.network.connection(*from, *to).number;
            if noticed < length {
                self.after(noticed, Event::Disconnect { a: *from, b: *to, number });
            }
        }
        self.after(length, Event::Undo(Undo::Mend(links)));
    }

    fn disturb_clock(&mut self, fault: Fault, id: NodeId, length: u64, random: &mut Random) {
        let wild = self.mix.has(Fault::WildClocks);
        let now = self.now;
        let may_lead = self.may_be_ahead(id);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        match fault {
            // Clocks may differ in rate by a sixth: one may lose and another gain 7 percent.
            Fault::Drift if !wild => host.clock.set_rate(now, TRUE_RATE * random.between(930, 1070) / 1000),
            // The wall clock: no lease survives a monotonic clock that jumps, so that one only drifts.
            Fault::ClockJump => {
                let by = random.between(0, 7_200_000) as i64 - 3_600_000;
                host.clock.set_wall(if may_lead { by } else { by.min(-by) }, 5);
            }
            Fault::WallClock => {
                match random.below(3) {
                    0 => host.clock.freeze_wall(Some(now)),
                    1 => {
                        let half = random.between(0, 500) as i64;
                        host.clock.set_wall(random.between(0, 20_000) as i64 - 10_000, half);
                    }
                    _ => host.clock.set_wall(random.between(0, 100) as i64 - 50, 100),
                }
                self.after(length, Event::Undo(Undo::TrueWall(id)));
            }
            _ => {}
        }
    }

    /// Whether another wall clock may jump far ahead. Where sites exchange writes most of them stay: a leader can tell by them,
    /// and who is ahead together with most others is right as far as anybody knows.
    fn may_be_ahead(&self, id: NodeId) -> bool {
        let far = |host: &&Host| host.id != id && host.clock.wall_offset_ms() > AHEAD_MS;
        let ahead = self.hosts.values().filter(far).count();
        let nodes = self.newest_map().map_or(0, |map| map.nodes.len());
        2 * (ahead + 1) < nodes || self.spaces.iter().all(|space| !space.has_sites)
    }

    fn disturb_disk(&mut self, fault: Fault, id: NodeId, length: u64, random: &mut Random) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        match fault {
            Fault::DiskSlow => {
                host.disk_slow = random.between(1, 300) * MS;
                self.after(length, Event::Undo(Undo::SpeedDisk(id)));
            }
            Fault::DiskFail => {
                let kind = if random.chance(700) { DiskFault::FailFlush } else { DiskFault::FailWrite };
                host.disk.medium.inject(random.below(4), kind);
                self.after(length, Event::Undo(Undo::Restart(id)));
            }
            _ => {
                let used: u64 =
                    host.disk.medium.paths().iter().filter_map(|path| host.disk.medium.len_of(path)).sum();
                host.disk.medium.limit(Some(used + random.below(100_000)));
                self.after(length, Event::Undo(Undo::FreeDisk(id)));
            }
        }
    }

    fn order_switchover(&mut self, at: NodeId, random: &mut Random) {
        let Some(node) = self.hosts.get(&at).and_then(|host| host.node.as_ref()) else { return };
        let groups: Vec<_> = node.map().views().map(|view| (view.group, view.members.clone())).collect();
        let at_group = random.below(groups.len() as u64) as usize;
        let Some((group, members)) = groups.get(at_group) else { return };
        if let Some(target) = random.pick(members) {
            let words = ["KEYSPACE", "SWITCHOVER", &group.0.to_string(), &target.0.to_string()];
            self.order(at, vec![command(&words)]);
        }
    }

    /// Any copy of a keyspace that may lose, while the others are alive or not. None while a disk is harmed: the promoted copy is the
    /// only one that counts for a while, and nobody could go on without it.
    fn order_promotion(&mut self, at: NodeId, random: &mut Random) {
        if self.has_harm() {
            return;
        }
        let Some(node) = self.hosts.get(&at).and_then(|host| host.node.as_ref()) else { return };
        let map = node.map();
        let mut copies = Vec::new();
        for space in self.spaces.iter().filter(|space| !space.durable) {
            let Some(id) = map.keyspace_named(&space.name).map(|keyspace| keyspace.id) else { continue };
            for view in map.views().filter(|view| view.keyspace == id) {
                copies.extend(view.copies().map(|copy| (view.group, copy)));
            }
        }
        if let Some((group, target)) = random.pick(&copies) {
            let words = ["KEYSPACE", "PROMOTE", &group.0.to_string(), &target.0.to_string(), "ACCEPT-LOSS"];
            self.order(at, vec![command(&words)]);
        }
    }

    fn order_change(&mut self, at: NodeId, random: &mut Random) {
        let space = random.below(self.spaces.len() as u64) as usize;
        let Some((name, durable)) = self.spaces.get(space).map(|it| (it.name.clone(), it.durable)) else {
            return;
        };
        let timeout = random.between(300, 3_000).to_string();
        let extra = format!("extra{}", random.below(4));
        // Rules that lose nothing, as far as so many nodes can meet them: a group that is founded under another one never serves.
        let rules: &[&[&str]] = &[
            &["majority"],
            &["chain", "ACKS", "0"],
            &["in-sync-set", "ACKS", "0"],
            &["synchronous"],
            &["semi-sync", "ACKS", "1"],
            &["in-sync-set", "ACKS", "1"],
            &["semi-sync", "ACKS", "2"],
            &["chain", "ACKS", "1"],
        ];
        let most = match self.staying().min(self.mix.nodes as usize) {
            0 | 1 => 4,
            2 => 6,
            _ => 8,
        };
        let rule = random.below(most) as usize;
        let format = random.pick(&LogFormat::ALL).unwrap_or_default();
        let commands = match random.below(5) {
            // To a rule that promises every entry and back: the copies are made anew in between.
            3 | 4 if name == "ingest" => {
                let rule =
                    random.pick(&["best-effort", "majority", "async", "best-effort"]).unwrap_or("majority");
                vec![command(&["KEYSPACE", "ALTER", &name, "COMMIT", rule])]
            }
            3 | 4 if durable && name != "cached" => {
                let start = ["KEYSPACE", "ALTER", &name, "COMMIT"];
                vec![command(&[&start, rules[rule]].concat())]
            }
            // Older programs read rows only.
            0 if !self.mix.has(Fault::Upgrade) && random.chance(500) => {
                vec![command(&["KEYSPACE", "ALTER", &name, "LOG", format.name()])]
            }
            0 => vec![command(&["KEYSPACE", "ALTER", &name, "TIMEOUT", &timeout])],
            1 => vec![command(&["KEYSPACE", "CREATE", &extra, "SINGLE-LEADER"])],
            _ => vec![command(&["KEYSPACE", "DROP", &extra])],
        };
        if self.hosts.get(&at).is_some_and(|host| host.is_running()) {
            self.order(at, commands);
        }
    }

    pub(crate) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Restart(id) => {
                let Some(host) = self.hosts.get_mut(&id) else { return };
                host.held_down = false;
                if host.is_running() && host.disk.has_failed() {
                    // An operator starts the process again on a disk that works again.
                    self.stop(id, false);
                }
                self.after(0, Event::Start { node: id });
            }
            Undo::Scrub(id) => self.scrub(id),
            Undo::Return(machine) => self.bring_up(machine),
            Undo::Dismiss(id) => self.dismiss(id),
            Undo::Mend(links) => {
                // What an earlier fault cut stays cut where only a core is healed.
                let stays =
                    |id: &NodeId| self.healing && self.hosts.get(id).is_some_and(|host| host.held_down);
                for (from, to) in &links {
                    if !stays(from) && !stays(to) {
                        self.network.cut.remove(&(*from, *to));
                    }
                }
            }
            Undo::Unclog(from, to) => {
                self.network.clogged.remove(&(from, to));
            }
            Undo::Quicken(from, to) => {
                self.network.slow.remove(&(from, to));
            }
            Undo::SpeedDisk(id) => {
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.disk_slow = 0;
                }
            }
            Undo::FreeDisk(id) => {
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.disk.medium.limit(None);
                    self.after(0, Event::Undo(Undo::Restart(id)));
                }
            }
            Undo::TrueWall(id) => {
                if let Some(host) = self.hosts.get_mut(&id) {
                    host.clock.set_wall(0, 5);
                    host.clock.freeze_wall(None);
                }
            }
        }
    }
}
