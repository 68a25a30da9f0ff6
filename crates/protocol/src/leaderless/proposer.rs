//! A linearizable key: its copies agree on each value by single-decree Paxos, one after the other, and a value is made from the one
//! before it (CASPaxos). No clock and no lease is asked, and nobody leads.
//!
//! 1. *Prepare.* A majority of the replicas promises to accept nothing below this ballot, and says what it has accepted. The highest of
//!    that is what the key is: a value that was chosen lies at a majority, and one of those was asked.
//! 2. *Decide.* The command is executed on that value, outside; what it makes of it is proposed. A command that changes nothing
//!    proposes the value as it is, for it may lie at a minority still.
//! 3. *Accept.* When a majority has accepted it, it is chosen, and the client is answered.
//!
//! A read asks first, without a ballot: a majority that has accepted one value and promised nothing above it has chosen
//! it. Otherwise the read is a command that changes nothing: *read with write-back*.
//!
//! *Once.* A proposal that did not come through may still be found and chosen by somebody else. So each value names its newest
//! writes ([`Proposal::history`]): whoever tries again sees whether its own is among them, and ends as INDETERMINATE when that cannot be
//! told. `Outbid` and NOQUORUM are answered only where nothing was ever proposed.
//!
//! *Lives and rings.* A majority counts while its replicas live and the ring stands, as with writes: answers name the lives that
//! their senders know of, a copy that is rebuilt has walked over enough others to hold every promise and value of a majority
//! ([`super::quorum::to_rebuild`]), and an attempt begins anew under another ring.
//!
//! Sources: Lamport, "The Part-Time Parliament" (1998); Rystsov, "CASPaxos: Replicated State Machines without logs" (2018).
// catalogue: K4
// bugs: LL-03

use super::coordinator::{Coordinator, Level, Output, Reply, Request, Ring, Task, WriteReceipt};
use super::message::{Message, Why};
use super::read::is_followed;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use data::causal::{Ballot, Proposal};
use data::plant::{self, Bug};
use data::value::Blob;
use data::{Incarnation, Instant, NodeId};

/// Attempts after which the wait before the next one grows no more, each time twice as long. A guess.
const BACKOFF_MAX: u32 = 5;

/// What a replica said to an attempt.
struct Word {
    life: Incarnation,
    promised: Ballot,
    accepted: Box<Proposal>,
    is_plain: bool,
}

/// A write that was proposed: under which ballot, and the last write of the value that it was made from.
struct Attempt {
    ballot: Ballot,
    basis: Option<Ballot>,
}

enum Phase {
    /// Behind other requests of this coordinator for the key.
    Queued,
    /// A read asks what was accepted.
    Asking(BTreeMap<NodeId, Word>),
    Preparing(BTreeMap<NodeId, Word>),
    Deciding(Box<Proposal>),
    /// `decided`: the ballot under which what the client is told was decided; none for a read.
    Accepting {
        proposal: Box<Proposal>,
        decided: Ballot,
        holders: BTreeMap<NodeId, Incarnation>,
    },
    /// Others were faster: tries again after so many ticks.
    Waiting {
        ticks: u32,
    },
}

pub(super) struct Proposing {
    is_read: bool,
    /// Of the command that waits for it.
    pub bytes: usize,
    /// Of the attempt under way; none for a read that asks.
    ballot: Ballot,
    /// Replicas that promised others more than this attempt.
    outbid: BTreeSet<NodeId>,
    attempts: Vec<Attempt>,
    tries: u32,
    phase: Phase,
}

impl Proposing {
    pub fn new(is_read: bool, bytes: usize) -> Proposing {
        Proposing {
            is_read,
            bytes,
            ballot: Ballot::default(),
            outbid: BTreeSet::new(),
            attempts: Vec::new(),
            tries: 0,
            phase: Phase::Queued,
        }
    }
    /// Another ring: what was said under the one before counts no more.
    pub fn place(&mut self) {
        match self.phase {
            Phase::Queued | Phase::Waiting { .. } => {}
            _ => self.phase = Phase::Waiting { ticks: 0 },
        }
    }
    fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued)
    }
}

/// More than half of the replicas.
fn majority(ring: &Ring<'_>) -> usize {
    ring.placement.replicas.len() / 2 + 1
}

impl Request {
    fn proposing(&mut self) -> Option<&mut Proposing> {
        match &mut self.task {
            Task::Propose(proposing) => Some(proposing),
            _ => None,
        }
    }
    /// A read asks at once; a write, and a read that has to write back, waits for its place in the line.
    pub(super) fn start_proposing(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Task::Propose(proposing) = &mut self.task else { return true };
        if proposing.is_read {
            (proposing.ballot, proposing.phase) = (Ballot::default(), Phase::Asking(BTreeMap::new()));
            self.ask(ring, out);
        }
        false
    }
    /// Sends what the phase asks for to the replicas that have not answered it.
    fn ask(&self, ring: &Ring<'_>, out: &mut Vec<Output>) {
        let Task::Propose(proposing) = &self.task else { return };
        for to in ring.replicas() {
            let message = match &proposing.phase {
                Phase::Asking(words) | Phase::Preparing(words) if !words.contains_key(&to) => {
                    Message::Prepare { request: self.id, key: self.key.clone(), ballot: proposing.ballot }
                }
                Phase::Accepting { proposal, holders, .. } if !holders.contains_key(&to) => {
                    Message::Accept { request: self.id, key: self.key.clone(), proposal: proposal.clone() }
                }
                _ => continue,
            };
            out.push(Output::Send { to, message });
        }
    }
    /// An attempt, above all that was heard of.
    fn prepare(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) {
        let Some(proposing) = self.proposing() else { return };
        let counter = ring.ballots.get().saturating_add(1);
        ring.ballots.set(counter);
        proposing.ballot = Ballot { counter, node: ring.me, process: ring.process };
        proposing.outbid.clear();
        proposing.phase = Phase::Preparing(BTreeMap::new());
        self.ask(ring, out);
    }
    pub(super) fn receive_proposing(
        &mut self,
        (from, life): (NodeId, Incarnation),
        message: Message,
        ring: &Ring<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(proposing) = self.proposing() else { return true };
        if !ring.placement.is_replica(from) {
            return false;
        }
        match (&mut proposing.phase, message) {
            (
                Phase::Asking(words) | Phase::Preparing(words),
                Message::Promised { ballot, promised, accepted, is_plain, lives, .. },
            ) if ballot == proposing.ballot => {
                // The next ballot of this coordinator is above all that it has heard of.
                ring.ballots.set(ring.ballots.get().max(promised.counter));
                words.insert(from, Word { life, promised, accepted, is_plain });
                words.retain(|node, word| !is_followed(&lives, *node, word.life));
                let count = words.len();
                match proposing.phase {
                    Phase::Asking(_) => self.conclude_asking(ring, out),
                    _ if count >= majority(ring) => self.decide(ring, out),
                    _ => false,
                }
            }
            (Phase::Accepting { holders, .. }, Message::Accepted { ballot, lives, .. })
                if ballot == proposing.ballot =>
            {
                holders.insert(from, life);
                holders.retain(|node, life| !is_followed(&lives, *node, *life));
                self.count_accepted(ring, out)
            }
            (Phase::Preparing(_) | Phase::Accepting { .. }, Message::Outbid { ballot, promised, .. })
                if ballot == proposing.ballot =>
            {
                ring.ballots.set(ring.ballots.get().max(promised.counter));
                proposing.outbid.insert(from);
                let left = ring.placement.replicas.len() - proposing.outbid.len();
                if left < majority(ring) {
                    self.wait(ring);
                }
                false
            }
            _ => false,
        }
    }
    /// Others were faster. The first time it only did not know how far they were; then each node waits for a time of its own.
    fn wait(&mut self, ring: &Ring<'_>) {
        let sequence = self.id.sequence;
        let Some(proposing) = self.proposing() else { return };
        proposing.tries += 1;
        let most = (1u32 << proposing.tries.min(BACKOFF_MAX)) - 1;
        let draw = (sequence ^ u64::from(ring.me.0) << 32 ^ u64::from(proposing.tries) << 48)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let ticks = if proposing.tries == 1 { 0 } else { (draw >> 40) as u32 % (most + 1) };
        proposing.phase = Phase::Waiting { ticks };
    }
    /// A read has an answer if a majority says the same; if all have answered and none does, the value is written back.
    fn conclude_asking(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let (needed, reach) = (majority(ring), ring.replicas().len());
        let Some(Proposing { phase: Phase::Asking(words), .. }) = self.proposing() else { return false };
        // What lies above its promise may lie at a minority, and somebody may be about to choose another one.
        let agrees = |word: &Word, one: &Word| {
            word.accepted.ballot == one.accepted.ballot
                && (word.promised <= one.accepted.ballot || plant::is(Bug::ReadsUnchosen))
        };
        let chosen = words.values().find(|one| {
            let holders = words.values().filter(|word| agrees(word, one)).count();
            holders >= needed || plant::is(Bug::ReadsUnchosen) && words.len() >= needed
        });
        if let Some(Word { accepted, .. }) = chosen {
            let accepted = accepted.clone();
            if !accepted.is_written() && words.values().any(|word| word.is_plain) {
                self.reply(Reply::Refused(Why::Plain), out);
                return true;
            }
            let replicas = words.keys().copied().collect();
            self.agree(Ballot::default(), accepted, replicas, ring, out);
            return true;
        }
        if words.len() >= reach.max(needed)
            && let Some(proposing) = self.proposing()
        {
            proposing.phase = Phase::Queued;
        }
        false
    }
    /// A majority has promised: what is the key, and what becomes of it?
    fn decide(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let (client, sequence) = (self.client, self.id.sequence);
        let Some(proposing) = self.proposing() else { return true };
        let Phase::Preparing(words) = &proposing.phase else { return false };
        let newest = words.values().max_by_key(|word| word.accepted.ballot);
        let basis = newest.map(|word| word.accepted.clone()).unwrap_or_default();
        let is_plain = words.values().any(|word| word.is_plain);
        if plant::is(Bug::ProposesAgain) {
            proposing.attempts.clear();
        }
        let done = proposing.attempts.iter().find(|attempt| basis.history.contains(&attempt.ballot));
        if let Some(done) = done.map(|attempt| attempt.ballot) {
            self.propose(basis, done, ring, out);
            return false;
        }
        let is_told = |attempt: &Attempt| basis.would_name(attempt.basis.as_ref());
        if !proposing.attempts.iter().all(is_told) {
            self.expire_proposing(ring, out);
            return true;
        }
        if !basis.is_written() && is_plain {
            if proposing.attempts.is_empty() {
                self.reply(Reply::Refused(Why::Plain), out);
            } else {
                self.expire_proposing(ring, out);
            }
            return true;
        }
        let ballot = proposing.ballot;
        if proposing.is_read {
            self.propose(basis, Ballot::default(), ring, out);
        } else if let Some(client) = client {
            proposing.phase = Phase::Deciding(basis.clone());
            out.push(Output::Decide { sequence, client, ballot, value: basis });
        }
        false
    }
    /// Has a majority accept a value under this attempt's ballot.
    fn propose(&mut self, mut value: Box<Proposal>, decided: Ballot, ring: &Ring<'_>, out: &mut Vec<Output>) {
        let Some(proposing) = self.proposing() else { return };
        value.ballot = proposing.ballot;
        proposing.outbid.clear();
        proposing.phase = Phase::Accepting { proposal: value, decided, holders: BTreeMap::new() };
        self.ask(ring, out);
    }
    fn count_accepted(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Some(Proposing { phase: Phase::Accepting { proposal, decided, holders }, .. }) = self.proposing()
        else {
            return false;
        };
        if holders.len() < majority(ring) {
            return false;
        }
        let (value, decided, replicas) = (proposal.clone(), *decided, holders.keys().copied().collect());
        self.agree(decided, value, replicas, ring, out);
        true
    }
    fn agree(
        &mut self,
        decided: Ballot,
        value: Box<Proposal>,
        replicas: Vec<NodeId>,
        ring: &Ring<'_>,
        out: &mut Vec<Output>,
    ) {
        let required = majority(ring);
        self.reply(Reply::Agreed { decided, value, required, replicas }, out);
    }
    /// Returns whether the request is over.
    pub(super) fn resend_proposing(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) -> bool {
        let Some(proposing) = self.proposing() else { return true };
        match &proposing.phase {
            Phase::Asking(words) if words.len() >= majority(ring) => proposing.phase = Phase::Queued,
            // One that promised others more never takes this ballot, and those that could in its place are away.
            Phase::Preparing(_) | Phase::Accepting { .. } if !proposing.outbid.is_empty() => self.wait(ring),
            _ => self.ask(ring, out),
        }
        false
    }
    /// A tick of the clock, for who waits.
    fn tick_proposing(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) {
        let Some(Proposing { phase: Phase::Waiting { ticks }, is_read, attempts, tries, .. }) =
            self.proposing()
        else {
            return;
        };
        if *ticks > 0 {
            *ticks -= 1;
        } else if *is_read && attempts.is_empty() && *tries == 0 {
            self.start_proposing(ring, out);
        } else {
            self.prepare(ring, out);
        }
    }
    pub(super) fn expire_proposing(&mut self, ring: &Ring<'_>, out: &mut Vec<Output>) {
        let required = majority(ring);
        let Some(proposing) = self.proposing() else { return };
        let replicas: Vec<NodeId> = match &proposing.phase {
            Phase::Accepting { holders, .. } => holders.keys().copied().collect(),
            Phase::Asking(words) | Phase::Preparing(words) => words.keys().copied().collect(),
            _ => Vec::new(),
        };
        if !proposing.attempts.is_empty() {
            let acknowledged = replicas.len();
            let receipt =
                WriteReceipt { required, replicas, stand_ins: Vec::new(), delta: None, outcome: None };
            return self.reply(Reply::Indeterminate { acknowledged, required, receipt }, out);
        }
        let is_late = proposing.tries > 0 || proposing.is_queued();
        match is_late {
            true => self.reply(Reply::Refused(Why::Outbid), out),
            false => self.reply(Reply::NoQuorum { required, alive: replicas.len() }, out),
        }
    }
}

/// Requests of one coordinator for one key, the first of which is under way: they would only outbid each other.
pub(super) type Lines = BTreeMap<Blob, VecDeque<u64>>;

impl Coordinator {
    /// A command on a key that is agreed on, of so many bytes. A read is answered with the value; for a write [`Output::Decide`] asks what it
    /// makes of it, perhaps several times.
    pub fn propose(
        &mut self,
        now: Instant,
        client: u64,
        (key, bytes): (Blob, usize),
        is_read: bool,
        out: &mut Vec<Output>,
    ) {
        let level = Level { required: self.replicas() / 2 + 1, sloppy: false };
        self.begin(now, client, key, level, Task::Propose(Proposing::new(is_read, bytes)), out);
    }
    /// What the command makes of the value that [`Output::Decide`] told: the key's new image and expiry, or nothing if it changes
    /// nothing.
    pub fn decided(
        &mut self,
        sequence: u64,
        ballot: Ballot,
        change: Option<(Option<Blob>, Option<i64>)>,
        out: &mut Vec<Output>,
    ) {
        let ring = Ring::of(self.me, self.process, &self.ballots, &self.placement, &self.alive);
        let Some(request) = self.requests.get_mut(&sequence) else { return };
        let Some(proposing) = request.proposing() else { return };
        let Phase::Deciding(basis) = &proposing.phase else { return };
        if proposing.ballot != ballot {
            return;
        }
        let value = match change {
            None => basis.clone(),
            Some((image, expires_at_ms)) => {
                let attempt = Attempt { ballot, basis: basis.history.last().copied() };
                let value = Box::new(basis.followed(ballot, image, expires_at_ms));
                proposing.attempts.push(attempt);
                value
            }
        };
        request.propose(value, ballot, &ring, out);
    }
    /// Gives a request that wants to prepare its place in the line of its key; the first one may begin.
    pub(super) fn line_up(&mut self, sequence: u64, out: &mut Vec<Output>) {
        let Some(request) = self.requests.get_mut(&sequence) else { return };
        if !request.proposing().is_some_and(|proposing| proposing.is_queued()) {
            return;
        }
        let line = self.lines.entry(request.key.clone()).or_default();
        if !line.contains(&sequence) {
            line.push_back(sequence);
        }
        if line.front() == Some(&sequence) {
            let ring = Ring::of(self.me, self.process, &self.ballots, &self.placement, &self.alive);
            request.prepare(&ring, out);
        }
    }
    /// A request is over: the next one in its line may begin.
    pub(super) fn leave_line(&mut self, key: &Blob, sequence: u64, out: &mut Vec<Output>) {
        let Some(line) = self.lines.get_mut(key) else { return };
        line.retain(|other| *other != sequence);
        match line.front().copied() {
            Some(next) => self.line_up(next, out),
            None => {
                self.lines.remove(key);
            }
        }
    }
    pub(super) fn tick_proposals(&mut self, out: &mut Vec<Output>) {
        let ring = Ring::of(self.me, self.process, &self.ballots, &self.placement, &self.alive);
        let mut waiting: Vec<u64> = Vec::new();
        for (sequence, request) in &mut self.requests {
            if matches!(request.task, Task::Propose(_)) {
                request.tick_proposing(&ring, out);
                waiting.push(*sequence);
            }
        }
        waiting.into_iter().for_each(|sequence| self.line_up(sequence, out));
    }
}
