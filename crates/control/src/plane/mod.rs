//! One node's part in the control plane.

mod asks;
mod inbox;
mod predecessor;
mod settle;

use crate::command::{Applied, Command, Refusal};
use crate::config::Config;
use crate::consensus::{Consensus, records};
use crate::event::Event;
use crate::lease::Holder;
use crate::map::ClusterMap;
use crate::message::{Ask, Message, Sealed};
use crate::supervisor::Supervisor;
use core::time::Duration;
use data::codec::DecodeError;
use data::{Epoch, GroupId, Instant, NodeId, ViewNumber};
use predecessor::Predecessor;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What a plane is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Called about every 10 ms; what is due follows from `now`.
    Tick,
    Message {
        from: NodeId,
        message: Message,
    },
    /// The records of [`Output::Persist`] up to this token are durable.
    Persisted {
        token: u64,
    },
    /// Change the map; answered by [`Output::Answer`] with the same ticket, always.
    Propose {
        ticket: u64,
        command: Command,
    },
    /// Move a group's leadership without loss; `target`: whither, `None` leaves the choice. Answered like a proposal.
    Switchover {
        ticket: u64,
        group: GroupId,
        target: Option<NodeId>,
    },
    /// Write everything anew, so that older records may go: they keep the log from being shortened.
    Rewrite,
    PeerUp {
        node: NodeId,
    },
    /// The connection was reset: suspicion starts at once.
    PeerDown {
        node: NodeId,
    },
    /// The local replica answers a seal.
    Sealed(Sealed),
    /// The local leader has paused and every electable follower holds its log's end.
    SwitchoverReady {
        group: GroupId,
        target: NodeId,
    },
}

/// What a plane wants done. In any order, but `Persist` outputs keep theirs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    Send {
        to: NodeId,
        message: Message,
    },
    /// Make these payloads durable, in order, and say [`Input::Persisted`]. `replaces`: the first of them holds everything
    /// that all earlier ones said; those may be dropped once it is durable.
    Persist {
        token: u64,
        replaces: bool,
        records: Vec<Vec<u8>>,
    },
    /// The newest map that this node knows.
    MapChanged(Arc<ClusterMap>),
    /// For the local replica; said again until its answer has come. The map in which the election stands was told before.
    /// `released`: the deposed leader no longer serves, so leases granted to it bind nobody.
    Seal {
        group: GroupId,
        epoch: Epoch,
        election: ViewNumber,
        released: bool,
    },
    /// For the local leader: pause, let the followers catch up, then say [`Input::SwitchoverReady`]. Said again until
    /// then. It carries on by itself when it hears neither of a new view nor of a call-off within its own time-out.
    PrepareSwitchover {
        group: GroupId,
        target: NodeId,
    },
    /// For the local leader: carry on.
    CallOffSwitchover {
        group: GroupId,
    },
    Answer {
        ticket: u64,
        result: Result<Applied, Refusal>,
    },
    /// Until then no other leader is elected for a group that the newest map says this process leads.
    ControlLease {
        until: Instant,
        grantor: NodeId,
    },
    Report(Event),
}

/// What a node finds on its disk.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// A map from elsewhere: of the answer to a request to join.
    pub map: Option<Arc<ClusterMap>>,
    /// The payloads of [`Output::Persist`] in the order they were written; those before the last one that replaces all
    /// others may be missing.
    pub records: Vec<Vec<u8>>,
}

/// A request of this node that has no answer yet.
struct Pending {
    ask: Ask,
    /// The driver's ticket; `None` for what the plane asks for itself.
    ticket: Option<u64>,
    deadline: Instant,
    /// When it was last handed to a control leader, and to which one.
    handed: Option<(NodeId, Instant)>,
    /// Turned away: not handed over again before.
    not_before: Instant,
}

/// A control member that noticed the loss of the control leader campaigns ahead of its time.
#[derive(Clone, Copy)]
struct Campaign {
    at: Instant,
    /// Until the next attempt.
    wait: Duration,
}

/// From here on the ordinary time-outs of the consensus library go on.
const CAMPAIGN_WAIT_MAX: Duration = Duration::from_secs(1);

/// A seal that waits for the map in which its election stands.
#[derive(Clone, Copy)]
struct HeldSeal {
    version: u64,
    epoch: Epoch,
    election: ViewNumber,
    released: bool,
}

/// One node's control plane.
pub struct Plane {
    config: Config,
    consensus: Consensus,
    /// The newest map known: the consensus library's on a control member, else what the control leader sent.
    map: Arc<ClusterMap>,
    /// With the term that it belongs to; exists while this node is the control leader.
    supervisor: Option<(u64, Supervisor)>,
    holder: Holder,
    heartbeat_at: Instant,
    /// The newest term whose control leader this control member has known, and since when.
    following: (u64, Instant),
    /// Who a node that is no control member believes to lead, and since when it heard from it.
    hint: Option<(NodeId, Instant)>,
    /// The control leader that this control member follows, or followed last.
    predecessor: Predecessor,
    asks: BTreeMap<u64, Pending>,
    last_ask: u64,
    down: BTreeSet<NodeId>,
    campaign: Option<Campaign>,
    seals: BTreeMap<GroupId, HeldSeal>,
    /// Maps sent to nodes that are no control members: version and time.
    pushed: BTreeMap<NodeId, (u64, Instant)>,
    /// Messages of this node to itself.
    local: VecDeque<Message>,
    /// The supervisor has something to look at.
    stirred: bool,
}

impl Plane {
    /// A node that starts now with what it found on its disk. A record that cannot be read is an error: what follows it is
    /// unknown, votes among it, and such a node must not start.
    pub fn new(config: Config, recovered: Recovered, now: Instant) -> Result<Plane, DecodeError> {
        let replayed = records::replay(&recovered.records)?;
        let consensus = Consensus::new(&config, replayed.log, now);
        let maps = [replayed.known, recovered.map, Some(consensus.map().clone())];
        let map = maps.into_iter().flatten().max_by_key(|map| map.version).unwrap_or_default();
        let timings = config.timings;
        Ok(Plane {
            config,
            consensus,
            map,
            supervisor: None,
            holder: Holder::default(),
            heartbeat_at: now,
            following: (0, now),
            hint: None,
            predecessor: Predecessor::new(timings, now),
            asks: BTreeMap::new(),
            last_ask: 0,
            down: BTreeSet::new(),
            campaign: None,
            seals: BTreeMap::new(),
            pushed: BTreeMap::new(),
            local: VecDeque::new(),
            stirred: false,
        })
    }

    /// The newest map that this node knows; changes are told by [`Output::MapChanged`].
    pub fn map(&self) -> &Arc<ClusterMap> {
        &self.map
    }

    /// The control leader, as far as this node knows.
    pub fn control_leader(&self) -> Option<NodeId> {
        if self.is_control_member() { self.consensus.leader() } else { self.hint.map(|(node, _)| node) }
    }

    /// Whether this node has a part in the control group. One that was removed hears of it only from a newer map, for
    /// the library stops talking to it.
    fn is_control_member(&self) -> bool {
        let listed = self.map.is_control_member(self.config.node);
        self.consensus.is_member() && (self.consensus.map().version >= self.map.version || listed)
    }

    /// Takes one input and appends what it leads to. Never fails: an unusable message is dropped and reported.
    pub fn step(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Tick => self.on_tick(now, out),
            Input::Message { from, message } => self.on_message(now, from, message, out),
            Input::Persisted { token } => {
                let mut effects = Vec::new();
                self.consensus.persisted(token, &mut effects);
                self.carry_out(now, effects, out);
            }
            Input::Propose { ticket, command } => self.ask(now, Some(ticket), Ask::Propose(command)),
            Input::Switchover { ticket, group, target } => {
                self.ask(now, Some(ticket), Ask::Switchover { group, target });
            }
            Input::Rewrite => self.rewrite(now, out),
            Input::PeerUp { node } => self.on_peer_up(now, node, out),
            Input::PeerDown { node } => self.on_peer_down(now, node, out),
            Input::Sealed(sealed) => self.send_to_leader(Message::Sealed(sealed), out),
            Input::SwitchoverReady { group, target } => {
                self.send_to_leader(Message::SwitchoverReady { group, target }, out);
            }
        }
        self.settle(now, out);
    }

    fn on_tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.is_control_member() {
            self.consensus.on_tick(now);
            self.predecessor.on_tick(now);
        }
        self.stirred = true;
        if let Some(Campaign { at, wait }) = self.campaign {
            if self.consensus.leader().is_some() {
                self.campaign = None;
            } else if now >= at {
                // Again later, should the others not have noticed yet. The distance to the next member's campaign grows too:
                // where messages travel for longer than that, two who began close together would split the votes for ever.
                self.campaign =
                    (wait < CAMPAIGN_WAIT_MAX).then(|| Campaign { at: now + wait, wait: wait * 2 });
                self.consensus.campaign();
            }
        }
        if now >= self.heartbeat_at {
            self.send_heartbeat(now, out);
            let followed = self.following.1 + self.config.timings.lease;
            let next = now + self.config.timings.heartbeat;
            // A control leader may wait to hear that its predecessors' leases are over.
            self.heartbeat_at = if now < followed { next.min(followed) } else { next };
        }
        self.announce(now);
        self.expire_asks(now, out);
    }

    /// To the control leader, or to one voter after the other until one knows it.
    fn send_heartbeat(&mut self, now: Instant, out: &mut Vec<Output>) {
        if let Some((_, heard_at)) = self.hint
            && now.since(heard_at) >= self.config.timings.suspicion_min
        {
            self.hint = None;
        }
        let sequence = self.holder.ask(now);
        let others = self.map.voters.iter().copied().filter(|n| *n != self.config.node);
        let to = match self.control_leader().or(self.hint.map(|(node, _)| node)) {
            Some(leader) => leader,
            None => {
                let others: Vec<NodeId> = others.collect();
                let Some(at) = (sequence as usize).checked_rem(others.len()) else { return };
                others[at]
            }
        };
        let (term, since) = self.following;
        let waited = if now >= since + self.config.timings.lease { term } else { 0 };
        let process = self.config.process;
        let message = Message::Heartbeat { sequence, process, version: self.map.version, waited };
        self.send(to, message, out);
    }

    fn rewrite(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.consensus.is_blank() {
            self.remember_map(&self.map.clone(), out);
            return;
        }
        let mut effects = Vec::new();
        self.consensus.rewrite(&mut effects);
        self.carry_out(now, effects, out);
    }

    fn on_peer_up(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        self.down.remove(&node);
        if self.supervisor.is_some() {
            self.push_map(now, node, 0, out);
        }
    }

    fn on_peer_down(&mut self, now: Instant, node: NodeId, out: &mut Vec<Output>) {
        self.down.insert(node);
        self.stirred = true;
        if self.hint.is_some_and(|(hint, _)| hint == node) {
            self.hint = None;
        }
        if let Some((_, supervisor)) = &mut self.supervisor {
            supervisor.peer_down(now, node);
        } else if self.consensus.leader() == Some(node) {
            self.consensus.forget_leader();
            let voters = self.map.voters.iter().filter(|voter| **voter != node);
            if let Some(rank) = (1..).zip(voters).find(|(_, v)| **v == self.config.node).map(|(r, _)| r) {
                let wait = self.config.timings.campaign_delay * rank;
                self.campaign = Some(Campaign { at: now + wait, wait: wait * 2 });
            }
        } else {
            self.send_to_leader(Message::Suspect { node }, out);
        }
    }

    fn send(&mut self, to: NodeId, message: Message, out: &mut Vec<Output>) {
        if to == self.config.node {
            self.local.push_back(message);
        } else {
            out.push(Output::Send { to, message });
        }
    }

    /// Lost when no control leader is known: whoever needs it asks again.
    fn send_to_leader(&mut self, message: Message, out: &mut Vec<Output>) {
        if let Some(leader) = self.control_leader() {
            self.send(leader, message, out);
        }
    }
}
