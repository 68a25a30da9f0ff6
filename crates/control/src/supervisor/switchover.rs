//! Planned switchover: the leader pauses and drains, then an election prefers the target. Nothing is lost, for the
//! election counts seals like any other; a switchover that takes too long is called off and the leader carries on.

use super::{Action, Supervisor};
use crate::command::{Applied, Command, Refusal};
use crate::consensus::Origin;
use crate::event::Event;
use crate::map::ClusterMap;
use crate::message::Message;
use data::view::View;
use data::{Epoch, GroupId, Instant, NodeId};

/// One that failed is not tried again by the supervisor itself for so many of its own time-outs.
const PAUSE_SWITCHOVERS: u32 = 3;

#[derive(Debug)]
pub(crate) struct Switchover {
    pub target: NodeId,
    /// Who asked; `None` when the supervisor moves a leaving node's leadership.
    pub origin: Option<Origin>,
    /// The epoch to be followed.
    pub epoch: Epoch,
    pub begun_at: Instant,
    pub asked_at: Instant,
    pub ready: bool,
    /// Called off; kept for a while so that it is not tried again at once.
    pub failed: bool,
}

impl Supervisor {
    pub fn ask_switchover(
        &mut self,
        now: Instant,
        map: &ClusterMap,
        group: GroupId,
        target: Option<NodeId>,
        origin: Origin,
    ) {
        // The operator decides, until a node comes or comes back.
        self.balance.is_left_alone();
        if let Err(refusal) = self.begin_switchover(now, map, group, target, Some(origin)) {
            self.actions.push(Action::Answer { origin, result: Err(refusal) });
        }
    }

    pub(super) fn begin_switchover(
        &mut self,
        now: Instant,
        map: &ClusterMap,
        group: GroupId,
        target: Option<NodeId>,
        origin: Option<Origin>,
    ) -> Result<(), Refusal> {
        let view = map.view(group).ok_or(Refusal::UnknownGroup)?;
        let busy = self.switchovers.get(&group).is_some_and(|known| !known.failed);
        if view.election.is_some() || busy {
            return Err(Refusal::InElection);
        }
        let leader = view.leader.ok_or(Refusal::InElection)?;
        let able = view.electable.iter().filter(|replica| {
            let node = map.nodes.get(&replica.node);
            let current = node.is_some_and(|n| n.usable() && n.incarnation == replica.incarnation);
            current && replica.node != leader.replica.node && !self.detector.suspects(replica.node)
        });
        let chosen = match target {
            Some(target) => able.map(|replica| replica.node).find(|node| *node == target),
            None => able.map(|replica| replica.node).min_by_key(|node| {
                let away = !map.is_at(*node, view.settings.site);
                (away, *node == self.me, *node)
            }),
        };
        let target = chosen.ok_or(Refusal::NotElectable)?;
        let switchover = Switchover {
            target,
            origin,
            epoch: view.epoch,
            begun_at: now,
            asked_at: now,
            ready: false,
            failed: false,
        };
        self.switchovers.insert(group, switchover);
        self.actions.push(Action::Report(Event::SwitchoverStarted { group, target }));
        let message = Message::PrepareSwitchover { group, number: view.number, target };
        self.actions.push(Action::Send { to: leader.replica.node, message });
        Ok(())
    }

    /// The leader has paused and its followers hold everything.
    pub fn switchover_ready(&mut self, map: &ClusterMap, from: NodeId, group: GroupId, target: NodeId) {
        if map.leader_of(group) != Some(from) {
            return;
        }
        if let Some(switchover) = self.switchovers.get_mut(&group)
            && switchover.target == target
            && !switchover.failed
        {
            switchover.ready = true;
        }
    }

    /// For a group without an election whose leader is well.
    pub(super) fn tend_switchover(&mut self, now: Instant, view: &View) {
        let group = view.group;
        let Some(leader) = view.leader else { return };
        let Some(switchover) = self.switchovers.get_mut(&group) else { return };
        if switchover.failed || switchover.epoch != view.epoch {
            return;
        }
        if now.since(switchover.begun_at) >= self.timings.switchover {
            switchover.failed = true;
            let origin = switchover.origin.take();
            // Whoever could not take it in time is not asked by itself again: every attempt stops the leader for a moment.
            self.balance.is_left_alone();
            self.actions.push(Action::Send { to: leader.replica.node, message: Message::CallOff { group } });
            self.actions.push(Action::Report(Event::SwitchoverCalledOff { group }));
            if let Some(origin) = origin {
                self.actions.push(Action::Answer { origin, result: Err(Refusal::CalledOff) });
            }
        } else if switchover.ready {
            self.propose(now, view, Command::StartElection { group, number: view.number });
        } else if now.since(switchover.asked_at) >= self.timings.retry {
            switchover.asked_at = now;
            let target = switchover.target;
            let message = Message::PrepareSwitchover { group, number: view.number, target };
            self.actions.push(Action::Send { to: leader.replica.node, message });
        }
    }

    /// Answers those that have ended: another epoch leads, or the group is gone.
    pub(super) fn finish_switchovers(&mut self, now: Instant, map: &ClusterMap) {
        let pause = self.timings.switchover * PAUSE_SWITCHOVERS;
        let mut answers = Vec::new();
        self.switchovers.retain(|group, switchover| {
            let view = map.view(*group);
            if view.is_some_and(|view| view.epoch == switchover.epoch) {
                return !switchover.failed || now.since(switchover.begun_at) < pause;
            }
            let moved =
                view.is_none_or(|view| view.leader.is_some_and(|l| l.replica.node == switchover.target));
            if let Some(origin) = switchover.origin.take() {
                let done = view.map(|view| Applied::View { group: *group, number: view.number });
                let result = if moved { done.ok_or(Refusal::UnknownGroup) } else { Err(Refusal::CalledOff) };
                answers.push(Action::Answer { origin, result });
            }
            // Another won: not tried again at once, for every attempt stops the leader for a moment.
            if let (false, Some(view)) = (moved, view) {
                (switchover.failed, switchover.epoch, switchover.begun_at) = (true, view.epoch, now);
            }
            !moved
        });
        self.actions.append(&mut answers);
    }

    /// Moves a leaving node's leadership when somebody can take it.
    pub(super) fn relieve(&mut self, now: Instant, map: &ClusterMap, view: &View) {
        if !self.switchovers.contains_key(&view.group) {
            // Nobody can take it yet: a replacement has to become electable first.
            let _ = self.begin_switchover(now, map, view.group, None, None);
        }
    }
}
