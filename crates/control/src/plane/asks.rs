//! Requests to the control leader: from any node, answered to whoever asked.
//!
//! A command that may have reached a control leader's log is handed over again only when applying it twice does no harm;
//! else silence ends as [`Refusal::Unanswered`].

use super::{Output, Pending, Plane};
use crate::command::{Applied, Command, Refusal};
use crate::consensus::Origin;
use crate::map::LeaderlessChange;
use crate::message::{Ask, Message};
use data::{Instant, NodeId, Process};

impl Plane {
    pub(super) fn ask(&mut self, now: Instant, ticket: Option<u64>, ask: Ask) {
        self.last_ask += 1;
        let deadline = now + self.config.timings.answer;
        self.asks.insert(self.last_ask, Pending { ask, ticket, deadline, handed: None, not_before: now });
    }

    /// Makes the map show this process: proposed until it does.
    pub(super) fn announce(&mut self, now: Instant) {
        let config = &self.config;
        let Some(known) = self.map.nodes.get(&config.node) else { return };
        let shown = known.process == config.process
            && known.incarnation == config.incarnation
            && known.name == config.name
            && known.addresses == config.addresses
            && known.site == config.site;
        if shown || self.asks.values().any(|pending| pending.ticket.is_none()) {
            return;
        }
        let command = Command::StartNode {
            node: config.node,
            name: config.name.clone(),
            addresses: config.addresses.clone(),
            site: config.site.clone(),
            process: config.process,
            incarnation: config.incarnation,
        };
        self.ask(now, None, Ask::Propose(command));
    }

    /// Hands waiting requests to the control leader. Whether it took any itself.
    pub(super) fn hand_over(&mut self, now: Instant, out: &mut Vec<Output>) -> bool {
        let Some(leader) = self.control_leader() else { return false };
        let again_after = self.config.timings.retry * 5;
        let mut due = Vec::new();
        for (number, pending) in &mut self.asks {
            let hand = match pending.handed {
                None => now >= pending.not_before,
                Some((to, at)) => {
                    harmless_twice(&pending.ask) && (to != leader || now.since(at) >= again_after)
                }
            };
            if hand {
                pending.handed = Some((leader, now));
                due.push((*number, pending.ask.clone()));
            }
        }
        let taken = !due.is_empty() && leader == self.config.node;
        let process = self.config.process;
        for (ticket, ask) in due {
            if leader == self.config.node {
                self.on_ask(now, leader, ticket, process, ask, out);
            } else {
                out.push(Output::Send { to: leader, message: Message::Ask { ticket, process, ask } });
            }
        }
        taken
    }

    /// A request has come to this node as control leader.
    pub(super) fn on_ask(
        &mut self,
        now: Instant,
        from: NodeId,
        ticket: u64,
        process: Process,
        ask: Ask,
        out: &mut Vec<Output>,
    ) {
        let origin = Origin { node: from, process, ticket };
        let Some((_, supervisor)) = &mut self.supervisor else {
            self.turn_away(now, from, Some(ticket), out);
            return;
        };
        match ask {
            Ask::Switchover { group, target } => {
                let map = self.consensus.map().clone();
                supervisor.ask_switchover(now, &map, group, target, origin);
            }
            Ask::Propose(command) if is_internal(&command) => {
                let refusal = Refusal::Invalid("this change is the control leader's own");
                self.answer(origin, Err(refusal), out);
            }
            // A founder starts a moment after the founding: placed before that, everything would lie on the first one.
            Ask::Propose(Command::EnsureGroup { .. } | Command::CreateKeyspace { .. })
                if supervisor.awaits_nodes(now, self.consensus.map()) =>
            {
                self.turn_away(now, from, Some(ticket), out);
            }
            Ask::Propose(command) => {
                let advice = supervisor.advice();
                if !self.consensus.propose(origin, &advice, &command) {
                    self.turn_away(now, from, Some(ticket), out);
                }
            }
        }
    }

    pub(super) fn turn_away(
        &mut self,
        now: Instant,
        from: NodeId,
        ticket: Option<u64>,
        out: &mut Vec<Output>,
    ) {
        let leader = self.control_leader().filter(|leader| *leader != self.config.node);
        if from == self.config.node {
            self.turned_away(now, ticket);
        } else {
            out.push(Output::Send { to: from, message: Message::NotLeader { ticket, leader } });
        }
    }

    /// The request surely has not been taken: it may be handed over again.
    pub(super) fn turned_away(&mut self, now: Instant, ticket: Option<u64>) {
        if let Some(pending) = ticket.and_then(|ticket| self.asks.get_mut(&ticket)) {
            pending.handed = None;
            pending.not_before = now + self.config.timings.raft_tick;
        }
    }

    /// Tells whoever asked how it ended.
    pub(super) fn answer(&mut self, origin: Origin, result: Result<Applied, Refusal>, out: &mut Vec<Output>) {
        let Origin { node, process, ticket } = origin;
        if ticket == 0 {
            return;
        }
        if node == self.config.node {
            self.answered(ticket, process, result, out);
        } else if self.supervisor.is_some() {
            let message = Message::Answer { ticket, process, result };
            out.push(Output::Send { to: node, message });
        }
    }

    pub(super) fn answered(
        &mut self,
        ticket: u64,
        process: Process,
        result: Result<Applied, Refusal>,
        out: &mut Vec<Output>,
    ) {
        if process != self.config.process {
            return;
        }
        if let Some(ticket) = self.asks.remove(&ticket).and_then(|pending| pending.ticket) {
            out.push(Output::Answer { ticket, result });
        }
    }

    pub(super) fn expire_asks(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.asks.retain(|_, pending| {
            if now < pending.deadline {
                return true;
            }
            let refusal =
                if pending.handed.is_some() { Refusal::Unanswered } else { Refusal::NoControlLeader };
            if let Some(ticket) = pending.ticket {
                out.push(Output::Answer { ticket, result: Err(refusal) });
            }
            false
        });
    }
}

/// Commands that only the control leader derives from what it alone sees.
fn is_internal(command: &Command) -> bool {
    use crate::shards::ShardChange as Shards;
    matches!(
        command,
        Command::Found { .. }
            | Command::FinishElection { .. }
            | Command::ForgetNode { .. }
            | Command::ChangeShards(
                Shards::AddGroup { .. } | Shards::DropGroup { .. } | Shards::Divided { .. }
            )
            | Command::ChangeLeaderless(LeaderlessChange::Replace { .. })
    )
}

fn harmless_twice(ask: &Ask) -> bool {
    match ask {
        Ask::Propose(command) => matches!(
            command,
            Command::AddNode { .. }
                | Command::StartNode { .. }
                | Command::RemoveNode { .. }
                | Command::AlterKeyspace { .. }
                | Command::EnsureGroup { .. }
                | Command::RaiseLevel { .. }
                | Command::ChangeLeaderless(
                    LeaderlessChange::Joined { .. }
                        | LeaderlessChange::Alter { .. }
                        | LeaderlessChange::Begin { .. }
                        | LeaderlessChange::Report { .. }
                )
        ),
        Ask::Switchover { .. } => false,
    }
}
