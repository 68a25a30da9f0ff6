//! A write: one replica mints it, the others and stand-ins take it, w of them make it done.
// catalogue: K3 K16 K20
// bugs: LL-04, LL-15, LL-24, LL-25

use super::coordinator::{Level, Output, Reply, Request, Ring, Task, WriteReceipt, second_round};
use super::message::{Message, Why};
use super::quorum::Placement;
use super::read::{Answers, is_followed, repair};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use data::causal::{Causal, KeyState, Object, Outcome, Wish};
use data::leaderless::ConflictPolicy;
use data::plant::{self, Bug};
use data::{Incarnation, NodeId};

enum Phase {
    /// A removal asks r copies what there is to remove.
    Observing(Answers),
    /// What some copies told others lack. A removal that finds nothing to remove any more mints nothing that would bring the earlier
    /// one to them, and yet its client may count on it: as many copies as every read meets one of have to know first.
    Levelling { together: KeyState, holders: BTreeMap<NodeId, Incarnation> },
    /// Invariant: a mint request that may have left goes to `at` and to nobody else.
    Minting { at: NodeId, life: Incarnation },
    /// A removal found less than it names, or leaves some of what was met: its minter may know of another one, of which others have
    /// not heard, and is asked what it holds. Its client counts on that too.
    Recalling { minter: (NodeId, Incarnation), minted: Box<Spread> },
    /// The delta exists, and goes to whoever lacks it.
    Spreading(Box<Spread>),
}

/// What was minted, and who has it.
struct Spread {
    minter: NodeId,
    delta: Causal<Object>,
    outcome: Outcome,
    /// Goes in place of the delta: all that the minter holds of the key.
    state: Option<Box<KeyState>>,
    holders: Holders,
    asked: Asked,
}
/// Per replica who holds it for that one, itself or a stand-in, and in which life.
type Holders = BTreeMap<NodeId, (NodeId, Incarnation)>;

/// Which stand-ins were asked to stand for whom.
type Asked = BTreeMap<NodeId, NodeId>;

pub(super) struct Writing {
    wish: Wish,
    r: Level,
    /// It asks r copies first: what it does follows from what it finds.
    observes: bool,
    /// So many of them have to hold what they know together; none where reads need not meet writes.
    held_by: usize,
    /// The minter knows that most replicas hold it.
    is_told: bool,
    seen: Option<KeyState>,
    /// Replicas that surely did not mint it, and why the last one did not.
    refused: BTreeSet<NodeId>,
    why: Option<Why>,
    phase: Phase,
}

impl Spread {
    fn nothing() -> Spread {
        let (holders, asked) = (Holders::new(), Asked::new());
        Spread {
            minter: NodeId(0),
            delta: Causal::new(),
            outcome: Outcome::Done,
            state: None,
            holders,
            asked,
        }
    }
}

impl Writing {
    pub fn bytes(&self) -> usize {
        self.wish.bytes()
    }
    pub fn new(wish: Wish, r: Level, conflict: ConflictPolicy) -> Writing {
        let phase = Phase::Observing(Answers::default());
        let observes = wish.is_observed(conflict);
        let (refused, why) = (BTreeSet::new(), None);
        Writing { wish, r, observes, held_by: 0, is_told: false, seen: None, refused, why, phase }
    }
}

impl Writing {
    /// Whether somebody who lacks the delta can be sent it, or somebody in its place: not where all others are away.
    fn may_spread(&self, sloppy: bool, ring: &Ring<'_>) -> bool {
        let Phase::Spreading(spread) = &self.phase else { return true };
        let is_free = |node: &NodeId| spread.asked.values().all(|asked| asked != node);
        let stands_in = |target| spread.asked.contains_key(target) || ring.stand_ins().iter().any(is_free);
        let mut missing =
            ring.placement.replicas.iter().filter(|target| !spread.holders.contains_key(target));
        missing.any(|target| ring.alive.contains_key(target) || (sloppy && stands_in(target)))
    }
    /// Whether others hold something that a removal names and its delta does not take away: its minter has removed that before.
    fn leaves(&mut self, delta: &Causal<Object>) -> bool {
        self.seen.take().filter(|_| self.wish.is_thorough()).is_some_and(|seen| {
            let mut met = Causal { store: seen.held.object, context: seen.context };
            met.merge(delta);
            self.wish.finds(&met.store)
        })
    }
    pub(super) fn place(&mut self, placement: &Placement) {
        match &mut self.phase {
            Phase::Observing(answers) => answers.place(placement),
            Phase::Levelling { holders, .. } => holders.retain(|node, _| placement.is_replica(*node)),
            Phase::Minting { .. } => {}
            Phase::Recalling { minted: spread, .. } | Phase::Spreading(spread) => {
                spread.holders.retain(|target, _| placement.is_replica(*target));
                spread.asked.retain(|target, _| placement.is_replica(*target));
            }
        }
    }
}

impl Request {
    pub(super) fn start_write(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Task::Write(writing) = &mut self.task else { return true };
        if !writing.observes || plant::is(Bug::RemovesUnseen) {
            return self.mint(ring, out);
        }
        let (n, w, r) = (ring.placement.replicas.len(), self.level.required, writing.r.required);
        if !self.level.sloppy && !writing.r.sloppy && w + r > n {
            // So many are alive, or w are not.
            writing.held_by = n + 1 - r.min(n);
            writing.r.required = r.max(writing.held_by);
        }
        let (required, alive) = (writing.r.required, ring.reach(writing.r));
        if alive < required {
            self.reply(Reply::NoQuorum { required, alive }, out);
            return true;
        }
        if let Phase::Observing(answers) = &mut writing.phase {
            answers.ask(self.id, &self.key, writing.r, false, ring, out);
        }
        false
    }
    /// Asks the first replica that has not refused.
    fn mint(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Task::Write(writing) = &mut self.task else { return true };
        let at = ring.replicas().into_iter().find(|node| !writing.refused.contains(node));
        let Some(at) = at else {
            let reply = match writing.why {
                Some(why) => Reply::Refused(why),
                None => Reply::NoQuorum { required: self.level.required, alive: 0 },
            };
            self.reply(reply, out);
            return true;
        };
        let life = ring.alive.get(&at).copied().unwrap_or_default();
        writing.phase = Phase::Minting { at, life };
        self.send_mint(at, life, out);
        false
    }
    fn send_mint(&self, at: NodeId, life: Incarnation, out: &mut Vec<Output>) {
        let Task::Write(writing) = &self.task else { return };
        let message = Message::Mint {
            request: self.id,
            life,
            key: self.key.clone(),
            wish: Box::new(writing.wish.clone()),
            seen: writing.seen.clone().map(Box::new),
        };
        out.push(Output::Send { to: at, message });
    }
    pub(super) fn receive_write(
        &mut self,
        (from, from_life): (NodeId, Incarnation),
        message: Message,
        ring: &Ring<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        let Task::Write(writing) = &mut self.task else { return true };
        match (&mut writing.phase, message) {
            (Phase::Observing(answers), message @ Message::State { request, .. }) if request == self.id => {
                answers.note((from, from_life), message, writing.r);
                if answers.len() < writing.r.required {
                    return false;
                }
                let together = answers.together();
                let holders = answers.holders(&together);
                if holders.len() < writing.held_by {
                    for to in answers.stale(&together) {
                        out.push(Output::Send { to, message: repair(self.id, &self.key, &together) });
                    }
                    writing.phase = Phase::Levelling { together, holders };
                    return false;
                }
                writing.seen = Some(together);
                self.mint(ring, out)
            }
            (Phase::Levelling { together, holders }, Message::Repaired { request, lives })
                if request == self.id =>
            {
                holders.insert(from, from_life);
                holders.retain(|node, life| !is_followed(&lives, *node, *life));
                if holders.len() < writing.held_by {
                    return false;
                }
                writing.seen = Some(core::mem::take(together));
                self.mint(ring, out)
            }
            (Phase::Minting { at, .. }, Message::Minted { delta, outcome, .. })
                if *at == from || plant::is(Bug::MintsElsewhere) =>
            {
                let mut holders = Holders::from([(from, (from, from_life))]);
                // It may have been replaced meanwhile.
                holders.retain(|target, _| ring.placement.is_replica(*target));
                let (delta, asked) = (*delta, Asked::new());
                let spread = Box::new(Spread { minter: from, delta, outcome, state: None, holders, asked });
                if writing.held_by > 0
                    && (!writing.wish.removed_all(outcome) || writing.leaves(&spread.delta))
                {
                    writing.phase = Phase::Recalling { minter: (from, from_life), minted: spread };
                    let (request, key) = (second_round(self.id), self.key.clone());
                    out.push(Output::Send { to: from, message: Message::Read { request, key } });
                    return false;
                }
                writing.phase = Phase::Spreading(spread);
                self.spread(false, ring, out);
                self.count(ring, out)
            }
            (Phase::Recalling { minter, minted }, Message::State { request, state, stand_in: false })
                if *minter == (from, from_life) && request == second_round(self.id) =>
            {
                // What nothing is recent of, others may hold all the same: a removal makes no dot of its own.
                minted.state = Some(state);
                let minted = core::mem::replace(minted, Box::new(Spread::nothing()));
                writing.phase = Phase::Spreading(minted);
                self.spread(false, ring, out);
                self.count(ring, out)
            }
            (Phase::Minting { at, .. }, Message::Refused { why, .. }) if *at == from => {
                if why == Why::Forgotten {
                    // Perhaps minted, and nobody knows any more.
                    self.expire_write(out);
                    return true;
                }
                if let Why::Unfit(_) = why {
                    // As its minter sees it; asking on until one agrees would make the answer depend on who lags.
                    self.reply(Reply::Refused(why), out);
                    return true;
                }
                writing.refused.insert(from);
                writing.why = Some(why);
                self.mint(ring, out)
            }
            (Phase::Spreading(spread), Message::Repaired { request, lives })
                if request == second_round(self.id) =>
            {
                if ring.placement.is_replica(from) {
                    spread.holders.insert(from, (from, from_life));
                }
                spread.holders.retain(|_, (holder, life)| !is_followed(&lives, *holder, *life));
                self.count(ring, out)
            }
            (Phase::Spreading(spread), Message::Applied { stands_for, lives, .. }) => {
                let Spread { holders, asked, .. } = &mut **spread;
                let target = stands_for.unwrap_or(from);
                let is_asked = stands_for.is_none() || asked.get(&target) == Some(&from);
                if is_asked && ring.placement.is_replica(target) {
                    // The replica itself is more than whoever stands in for it.
                    let holder = holders.entry(target).or_insert((from, from_life));
                    if from == target {
                        *holder = (from, from_life);
                    }
                }
                holders.retain(|_, (holder, life)| !is_followed(&lives, *holder, *life));
                self.count(ring, out)
            }
            _ => false,
        }
    }
    pub(super) fn resend_write(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Task::Write(writing) = &mut self.task else { return true };
        match &mut writing.phase {
            Phase::Observing(answers) => answers.ask(self.id, &self.key, writing.r, true, ring, out),
            Phase::Levelling { together, holders } => {
                for to in ring.replicas().into_iter().filter(|to| !holders.contains_key(to)) {
                    out.push(Output::Send { to, message: repair(self.id, &self.key, together) });
                }
            }
            Phase::Minting { at, life } => {
                if plant::is(Bug::MintsElsewhere)
                    && let Some(other) = ring.replicas().into_iter().find(|node| node != at)
                {
                    (*at, *life) = (other, ring.alive[&other]);
                }
                let (at, life) = (*at, *life);
                self.send_mint(at, life, out);
            }
            Phase::Recalling { minter: (to, _), .. } => {
                let message = Message::Read { request: second_round(self.id), key: self.key.clone() };
                out.push(Output::Send { to: *to, message });
            }
            Phase::Spreading(_) => {
                self.spread(true, ring, out);
                // Whoever it was for may be away by now.
                return self.client.is_none() && self.count(ring, out);
            }
        }
        false
    }
    /// Sends the delta to every replica that has not acknowledged it; for one that is away, or late, to a stand-in.
    fn spread(&mut self, is_late: bool, ring: &Ring<'_>, out: &mut Vec<Output>) {
        let Task::Write(writing) = &mut self.task else { return };
        let Phase::Spreading(spread) = &mut writing.phase else { return };
        let Spread { delta, state, holders, asked, .. } = &mut **spread;
        let missing = ring.placement.replicas.iter().filter(|node| !holders.contains_key(node));
        for target in missing {
            let is_alive = ring.alive.contains_key(target);
            let apply = |stands_for| Message::Apply {
                request: self.id,
                key: self.key.clone(),
                delta: Box::new(delta.clone()),
                stands_for,
            };
            if is_alive {
                let message = match state {
                    Some(state) => repair(second_round(self.id), &self.key, state),
                    None => apply(None),
                };
                out.push(Output::Send { to: *target, message });
            }
            if !self.level.sloppy || (is_alive && !is_late) {
                continue;
            }
            // Each stands for one replica, so that it counts once.
            let free = ring
                .stand_ins()
                .into_iter()
                .find(|node| asked.iter().all(|(other, at)| at != node || other == target));
            if let Some(stand_in) = asked.get(target).copied().or(free) {
                asked.insert(*target, stand_in);
                let message = apply(Some((*target, ring.placement.ring)));
                out.push(Output::Send { to: stand_in, message });
            }
        }
    }
    /// Answers once enough have it; over when all have.
    fn count(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Task::Write(writing) = &mut self.task else { return false };
        let Phase::Spreading(spread) = &writing.phase else { return false };
        let Spread { minter, delta, holders, .. } = &**spread;
        let (count, n) = (holders.len(), ring.placement.replicas.len());
        if count < self.level.required {
            return false;
        }
        let replicas = holders.iter().filter(|(target, (holder, _))| *target == holder).count();
        if !writing.is_told && replicas > n / 2 && delta.store.has_list() {
            writing.is_told = true;
            let message = Message::Spread { dots: delta.context.clone(), copies: replicas as u32 };
            out.push(Output::Send { to: *minter, message });
        }
        // The receipt has a copy of the delta: not made again for those who acknowledge after the client was answered.
        if self.client.is_some() {
            let receipt = self.receipt();
            self.reply(Reply::Written(receipt), out);
        }
        let Task::Write(writing) = &self.task else { return false };
        count >= n || !writing.may_spread(self.level.sloppy, ring)
    }
    pub(super) fn expire_write(&mut self, out: &mut Vec<Output>) {
        let Task::Write(writing) = &self.task else { return };
        let answered = match &writing.phase {
            Phase::Observing(answers) => Some(answers.len()),
            Phase::Levelling { holders, .. } => Some(holders.len()),
            Phase::Minting { .. } | Phase::Recalling { .. } | Phase::Spreading(_) => None,
        };
        if let Some(alive) = answered {
            let required = writing.r.required.max(writing.held_by);
            return self.reply(Reply::NoQuorum { required, alive }, out);
        }
        let (receipt, required) = (self.receipt(), self.level.required);
        let acknowledged = receipt.acknowledged();
        self.reply(Reply::Indeterminate { acknowledged, required, receipt }, out);
    }
    fn receipt(&self) -> WriteReceipt {
        let mut receipt = WriteReceipt {
            required: self.level.required,
            replicas: Vec::new(),
            stand_ins: Vec::new(),
            delta: None,
            outcome: None,
        };
        if let Task::Write(writing) = &self.task
            && let Phase::Spreading(spread) | Phase::Recalling { minted: spread, .. } = &writing.phase
        {
            let Spread { minter, delta, outcome, holders, .. } = &**spread;
            receipt.delta = Some(delta.clone());
            receipt.outcome = Some(*outcome);
            if holders.contains_key(minter) {
                receipt.replicas.push(*minter);
            }
            for (target, (holder, _)) in holders.iter().filter(|(target, _)| *target != minter) {
                if target == holder {
                    receipt.replicas.push(*target);
                } else {
                    receipt.stand_ins.push((*holder, *target));
                }
            }
        }
        receipt
    }
}
