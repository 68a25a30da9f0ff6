//! What goes wrong, and how often: crashes, wiped disks, cut links, slow networks, members that come and go.

use super::*;

impl World {
    pub(super) fn fault(&mut self) {
        if self.healing {
            return;
        }
        let after = self.rng.between(20, 250) * MS;
        self.schedule(after, Event::Fault);
        let id = NodeId(self.rng.between(1, self.nodes.len() as u64) as u32);
        let leader = self.control.view.leader.map_or(id, |leader| leader.replica.node);
        let until = self.now + self.rng.between(50, 900) * MS;
        match self.rng.below(18) {
            0 | 1 => {
                let down = self.rng.between(1, 700);
                self.crash(id, down, false);
            }
            2 => {
                let down = self.rng.between(1, 300);
                self.crash(leader, down, false);
            }
            3 | 4 => {
                // The leader believes on: no word to or from the control plane, some followers within reach.
                self.cuts.insert((CONTROL, leader), until);
                self.cuts.insert((leader, CONTROL), until);
                for peer in (1..=self.nodes.len() as u32).map(NodeId) {
                    if self.rng.chance(50) {
                        self.cuts.insert((leader, peer), until);
                        self.cuts.insert((peer, leader), until);
                    }
                }
            }
            5 | 6 => {
                let peer = NodeId(self.rng.below(self.nodes.len() as u64 + 1) as u32);
                self.cuts.insert((id, peer), until);
                if self.rng.chance(50) {
                    self.cuts.insert((peer, id), until);
                }
            }
            7 => self.begin_election(),
            8 => self.loss_percent = self.rng.below(8),
            9 => self.slow_percent = self.rng.below(30),
            10 => self.change_members(),
            11 | 12 if self.may_wipe(id) => {
                let down = self.rng.between(1, 100);
                self.crash(id, down, true);
            }
            13 => {
                let node = self.at(id);
                // What is committed but not persisted here may still stand behind a cut on its way to the disk.
                let through = node.replica.as_ref().map_or(Index(0), |r| r.commit().min(r.persisted()));
                node.disk.trim(through);
            }
            14 | 15 => {
                // The leader alone on its side, and a short power cut on the other.
                for peer in (0..=self.nodes.len() as u32).map(NodeId) {
                    self.cuts.insert((leader, peer), until);
                    self.cuts.insert((peer, leader), until);
                    if peer != CONTROL && peer != leader && self.rng.chance(50) {
                        let down = self.rng.between(1, 30);
                        self.crash(peer, down, false);
                    }
                }
            }
            16 | 17 => {
                // The control plane hears the leader, but not the other way round; a follower lags.
                self.cuts.insert((CONTROL, leader), until);
                self.cuts.insert((leader, id), until);
            }
            _ => {}
        }
    }
    fn change_members(&mut self) {
        let view = &self.control.view;
        let leader = view.leader.map(|leader| leader.replica.node);
        if view.election.is_some() {
            return;
        }
        let id = NodeId(self.rng.between(1, self.nodes.len() as u64) as u32);
        let mut members = view.members.clone();
        match members.binary_search(&id) {
            Ok(at) if Some(id) != leader && members.len() > view.rule.nodes_needed().max(2) => {
                members.remove(at);
            }
            Ok(_) => return,
            Err(at) => members.insert(at, id),
        }
        self.note(|| format!("members {members:?}"));
        self.control.change_members(members);
        self.send_views();
    }
    /// Only while every rule still has enough copies: no other replica of the set has lost its life.
    fn may_wipe(&self, id: NodeId) -> bool {
        let view = &self.control.view;
        let clean = view.electable.iter().all(|r| self.nodes[r.node.0 as usize - 1].life == *r);
        let inside = view.electable.iter().any(|r| r.node == id);
        let enough = match view.rule {
            CommitRule::BestEffort | CommitRule::Async => true,
            CommitRule::Majority => view.electable.len() >= 3,
            CommitRule::SemiSync { acks } => view.electable.len() > acks as usize + 1,
            CommitRule::InSyncSet { .. } | CommitRule::Synchronous | CommitRule::Chain { .. } => {
                view.electable.len() >= 2
            }
        };
        clean && (enough || !inside) && view.election.is_none()
    }
}
