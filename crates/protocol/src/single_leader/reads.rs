//! When a leader may answer reads: under leases, or after a round of messages that confirms that it still leads.

use super::commit::{committed, leased_until};
use super::io::{Output, ReadPermit};
use super::replica::{Replica, Role};
use alloc::vec::Vec;
use data::keyspace::CommitRule;
use data::view;
use data::{Index, Instant, NodeId};

/// Whether another replica may be elected, and commit, without a word of those whom this rule asks.
fn asks_nobody((rule, electable): (CommitRule, &[view::Replica])) -> bool {
    electable.len() > 1 && rule.followers_needed(electable.len()) == 0
}

impl Replica {
    /// Until when reads may be answered without asking, or which round has to be confirmed. `granted` tells the leases
    /// of followers, `control` until when the control plane guarantees that it elects nobody else.
    pub fn read_permit(
        &mut self,
        now: Instant,
        granted: impl Fn(view::Replica) -> Instant,
        control: Instant,
    ) -> ReadPermit {
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return ReadPermit::No };
        if !leader.ready {
            return ReadPermit::No;
        }
        let by = |(rule, electable): (CommitRule, &[view::Replica])| {
            leased_until(rule, electable, self.me.node, &granted)
        };
        let until = leader.quorums(view).map(by).min().unwrap_or_default();
        // The control plane goes on granting a lease to the node while it elects another leader for this group: what it grants
        // from then on is not about this group. Followers that answered the election refuse by themselves.
        let until = if view.election.is_none() { until.max(control) } else { until };
        if now < until {
            return ReadPermit::Until(until);
        }
        if leader.quorums(view).any(asks_nobody) {
            // Followers have no say under this rule, and a proposed one may be recorded already: only the control plane's lease
            // can tell.
            return ReadPermit::No;
        }
        if leader.round_asked == leader.round_sent {
            leader.round_asked += 1;
        }
        ReadPermit::After(leader.round_asked)
    }

    pub(super) fn confirm_rounds(&mut self, out: &mut Vec<Output>) {
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return };
        if leader.quorums(view).any(asks_nobody) {
            return;
        }
        let by = |(rule, electable): (CommitRule, &[view::Replica])| {
            let round = |r: view::Replica| match leader.followers.get(&r.node) {
                Some(p) if p.incarnation == Some(r.incarnation) => Index(p.round),
                _ => Index(0),
            };
            committed(rule, electable, self.me.node, Index(leader.round_sent), round).0
        };
        let round = leader.quorums(view).map(by).min().unwrap_or_default();
        if round > leader.round_confirmed {
            leader.round_confirmed = round;
            out.push(Output::ReadConfirmed(round));
        }
    }

    pub(super) fn send_round(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.round_sent == leader.round_asked {
            return;
        }
        leader.round_sent = leader.round_asked;
        let nodes: Vec<NodeId> = leader.followers.keys().copied().collect();
        for node in nodes {
            self.send_notice(now, node, out);
        }
    }

    /// A round whose messages or answers were lost is sent again. Messages carry the last round sent, never one that is
    /// only asked for: a read may still join that one.
    pub(super) fn resend_round(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.round_confirmed < leader.round_sent {
            leader.round_sent -= 1;
        }
        self.send_round(now, out);
    }
}
