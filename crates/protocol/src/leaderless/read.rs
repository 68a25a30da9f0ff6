//! A read: asks r copies, puts together what they know, repairs those that lack something.
// catalogue: K10 K11 K12 K13 K19
// bugs: LL-04, LL-05, LL-06

use super::coordinator::{Level, Output, ReadReceipt, Repair, Reply, Request, Ring, Task};
use super::message::{Lives, Message};
use super::quorum::Placement;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use data::causal::KeyState;
use data::plant::{self, Bug};
use data::value::Blob;
use data::{Incarnation, NodeId, RequestId};

/// Answers so far.
#[derive(Default)]
pub(super) struct Answers {
    asked: BTreeSet<NodeId>,
    states: BTreeMap<NodeId, (KeyState, bool, Incarnation)>,
}

impl Answers {
    /// Asks as many as are needed, replicas before stand-ins; all of them if `everybody`.
    pub fn ask(
        &mut self,
        id: RequestId,
        key: &Blob,
        level: Level,
        everybody: bool,
        ring: &Ring<'_>,
        out: &mut Vec<Output>,
    ) {
        let mut nodes = ring.replicas();
        if level.sloppy && nodes.len() < level.required {
            nodes.extend(ring.stand_ins().into_iter().take(level.required - nodes.len()));
        }
        let count = if everybody { nodes.len() } else { level.required };
        for to in nodes.into_iter().take(count) {
            self.asked.insert(to);
            if !self.states.contains_key(&to) {
                out.push(Output::Send { to, message: Message::Read { request: id, key: key.clone() } });
            }
        }
    }
    pub fn note(&mut self, (from, life): (NodeId, Incarnation), message: Message, level: Level) {
        if let Message::State { state, stand_in, .. } = message
            && self.asked.contains(&from)
            && (level.sloppy || !stand_in)
        {
            self.states.entry(from).or_insert((*state, stand_in, life));
        }
    }
    pub fn len(&self) -> usize {
        self.states.len()
    }
    /// Another ring. The word of a replica that is none any more may be older than what others have acknowledged since; one
    /// that stood in and is a replica now has more to say.
    // bugs: LL-18
    pub fn place(&mut self, placement: &Placement) {
        self.states.retain(|node, (_, stand_in, _)| placement.is_replica(*node) != *stand_in);
        self.asked.retain(|node| placement.is_replica(*node) || placement.stand_ins.contains(node));
    }
    /// What they know together.
    pub fn together(&self) -> KeyState {
        let mut states = self.states.values();
        let mut together = states.next().map(|(state, ..)| state.clone()).unwrap_or_default();
        states.for_each(|(state, ..)| together.join(state));
        together
    }
    fn nodes(&self, stand_ins: bool) -> Vec<NodeId> {
        let states = self.states.iter().filter(|(_, (_, stand_in, _))| *stand_in == stand_ins);
        states.map(|(node, _)| *node).collect()
    }
    /// Who is not [stale](Answers::stale), in which life.
    pub fn holders(&self, together: &KeyState) -> BTreeMap<NodeId, Incarnation> {
        let states =
            self.states.iter().filter(|(_, (state, stand_in, _))| *stand_in || !state.lacks(together));
        states.map(|(node, (.., life))| (*node, *life)).collect()
    }
    /// Replicas that lack something of it.
    pub fn stale(&self, together: &KeyState) -> Vec<NodeId> {
        let states =
            self.states.iter().filter(|(_, (state, stand_in, _))| !stand_in && state.lacks(together));
        states.map(|(node, _)| *node).collect()
    }
}

pub(super) struct Read {
    repair: Repair,
    everybody: bool,
    answers: Answers,
    repairing: Option<Repairing>,
}

/// An answer that waits until enough copies hold it.
struct Repairing {
    state: KeyState,
    receipt: ReadReceipt,
    /// The copies that hold it, in which life.
    holders: BTreeMap<NodeId, Incarnation>,
}

impl Read {
    pub fn place(&mut self, placement: &Placement) {
        self.answers.place(placement);
        if let Some(repairing) = &mut self.repairing {
            repairing.holders.retain(|node, _| placement.is_replica(*node));
            repairing.receipt.stale.retain(|node| placement.is_replica(*node));
        }
    }
    pub fn new(repair: Repair, everybody: bool) -> Read {
        Read { repair, everybody, answers: Answers::default(), repairing: None }
    }
}

impl Request {
    pub(super) fn start_read(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Task::Read(read) = &mut self.task else { return true };
        read.answers.ask(self.id, &self.key, self.level, read.everybody, ring, out);
        false
    }
    pub(super) fn receive_read(
        &mut self,
        from: (NodeId, Incarnation),
        message: Message,
        out: &mut Vec<Output>,
    ) -> bool {
        let Task::Read(read) = &mut self.task else { return true };
        if let Some(repairing) = &mut read.repairing {
            if let Message::Repaired { lives, .. } = message {
                repairing.holders.insert(from.0, from.1);
                repairing.holders.retain(|node, life| !is_followed(&lives, *node, *life));
            }
            return self.repaired(out);
        }
        read.answers.note(from, message, self.level);
        let wanted = if read.everybody { read.answers.asked.len() } else { self.level.required };
        if read.answers.len() >= wanted.max(self.level.required) { self.conclude(out) } else { false }
    }
    pub(super) fn resend_read(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Task::Read(read) = &mut self.task else { return true };
        if let Some(Repairing { state, receipt, holders }) = &read.repairing {
            // Who was asked first may not be able to take it: any other replica is as good.
            let others = ring.replicas().into_iter().filter(|to| !receipt.stale.contains(to));
            for to in receipt.stale.iter().copied().chain(others).filter(|to| !holders.contains_key(to)) {
                out.push(Output::Send { to, message: repair(self.id, &self.key, state) });
            }
            return false;
        }
        // Those who were asked are slow: everybody is, and r answers are enough.
        read.everybody = false;
        if read.answers.len() >= self.level.required {
            return self.conclude(out);
        }
        read.answers.ask(self.id, &self.key, self.level, true, ring, out);
        false
    }
    pub(super) fn expire_read(&mut self, out: &mut Vec<Output>) {
        let Task::Read(read) = &self.task else { return };
        // What was repaired in part may not be shown: another quorum could still deny it.
        let alive = match &read.repairing {
            Some(repairing) => repairing.holders.len(),
            None => read.answers.len(),
        };
        self.reply(Reply::NoQuorum { required: self.level.required, alive }, out);
    }

    /// Enough have answered.
    fn conclude(&mut self, out: &mut Vec<Output>) -> bool {
        let Task::Read(read) = &mut self.task else { return true };
        let together = read.answers.together();
        let stale = read.answers.stale(&together);
        let is_alone = plant::is(Bug::RepairsMajority) && read.answers.holders(&together).len() == 1;
        let receipt = ReadReceipt {
            required: self.level.required,
            replicas: read.answers.nodes(false),
            stand_ins: read.answers.nodes(true),
            stale: stale.clone(),
        };
        if read.repair != Repair::Off && !is_alone {
            for to in &stale {
                out.push(Output::Send { to: *to, message: repair(self.id, &self.key, &together) });
            }
        }
        if read.repair != Repair::Blocking || is_alone || plant::is(Bug::AnswersBeforeRepair) {
            self.reply(Reply::Value { state: together, receipt }, out);
            return true;
        }
        let holders = read.answers.holders(&together);
        read.repairing = Some(Repairing { state: together, receipt, holders });
        self.repaired(out)
    }
    /// Answers when r of those that answered hold what the answer says.
    fn repaired(&mut self, out: &mut Vec<Output>) -> bool {
        let Task::Read(read) = &mut self.task else { return true };
        let Some(Repairing { state, receipt, holders }) = &read.repairing else { return false };
        if holders.len() < self.level.required {
            return false;
        }
        let (state, receipt) = (state.clone(), receipt.clone());
        self.reply(Reply::Value { state, receipt }, out);
        true
    }
}

/// Whether another life has followed this one.
pub(super) fn is_followed(lives: &Lives, node: NodeId, life: Incarnation) -> bool {
    lives.iter().any(|(other, newest)| *other == node && *newest > life)
}

pub(super) fn repair(request: RequestId, key: &Blob, together: &KeyState) -> Message {
    Message::Repair { request, key: key.clone(), together: Box::new(together.clone()) }
}
