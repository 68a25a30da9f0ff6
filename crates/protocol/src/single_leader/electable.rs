//! How a leader keeps the electable set honest: who is in sync, who has caught up, who is gone.

use super::commit::committed;
use super::leader::Leader;
use super::progress::Mode;
use super::replica::{Output, Replica, Report, Role};
use alloc::vec::Vec;
use core::time::Duration;
use data::keyspace::CommitRule;
use data::plant::{self, Bug};
use data::view;
use data::{Index, Instant, ViewNumber};

/// An in-sync follower that misses entries and makes no progress for so long leaves the set: the bound on how long it
/// can hold up writes (bugs: SL-26). Longer than a resend, so that one lost message does not cost a view change.
const LAG_MAX: Duration = Duration::from_millis(600);
/// The same for a follower whose connection is lost: nothing can be on its way.
const LAG_MAX_DISCONNECTED: Duration = Duration::from_millis(100);
/// Proposals to the control plane are repeated until a newer view is known.
const PROPOSE_EVERY: Duration = Duration::from_millis(200);

/// Another electable set, proposed and not yet decided.
pub(super) struct Proposal {
    pub number: ViewNumber,
    pub electable: Vec<view::Replica>,
    sent_at: Instant,
}

impl Replica {
    /// The control plane's log holds a refusal of this very proposal at the present view number: it can never be accepted
    /// later, so the leader is free to propose what fits now.
    pub(super) fn on_refused(&mut self, number: ViewNumber, electable: &[view::Replica]) {
        let Role::Leader(leader) = &mut self.role else { return };
        leader.proposal.take_if(|proposal| proposal.number == number && proposal.electable == electable);
    }

    /// Proposes another electable set when the present one does not fit the followers.
    pub(super) fn keep_electable(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (Role::Leader(leader), Some(view)) = (&mut self.role, &self.view) else { return };
        if view.election.is_some() || view.epoch != leader.epoch {
            return;
        }
        if plant::is(Bug::WithdrawsProposal) {
            leader.proposal.take_if(|proposal| now.since(proposal.sent_at) >= PROPOSE_EVERY);
        }
        if let Some(proposal) = &mut leader.proposal {
            // Never withdrawn: repeated until a newer view tells how it ended (TC-04).
            if now.since(proposal.sent_at) >= PROPOSE_EVERY {
                proposal.sent_at = now;
                out.push(Output::ProposeElectable {
                    number: proposal.number,
                    electable: proposal.electable.clone(),
                });
            }
            return;
        }
        let last = self.log.last().position.index;
        // Before the empty entry is committed any inherited entry may be: then all of them must stand.
        let bound = if leader.ready { self.commit } else { leader.start };
        let Some(electable) = wanted_electable(now, self.me, view, leader, bound, last) else { return };
        // Every committed entry must stand under the new rule before it is proposed.
        let rule = view.settings.commit;
        let held =
            committed(rule, &electable, self.me.node, self.persisted, |r| Replica::persisted_by(leader, r));
        if held < bound {
            return;
        }
        for replica in &electable {
            if !view.is_electable(*replica) {
                out.push(Output::Report(Report::FollowerInSync(replica.node)));
            }
        }
        for replica in &view.electable {
            if !electable.contains(replica) {
                out.push(Output::Report(Report::FollowerLost(replica.node)));
            }
        }
        let number = view.number;
        out.push(Output::ProposeElectable { number, electable: electable.clone() });
        leader.proposal = Some(Proposal { number, electable, sent_at: now });
    }
}

/// The electable set that fits what the followers do, `None` when the present one does.
fn wanted_electable(
    now: Instant,
    me: view::Replica,
    view: &view::View,
    leader: &Leader,
    bound: Index,
    last: Index,
) -> Option<Vec<view::Replica>> {
    let in_sync_set = matches!(view.settings.commit, CommitRule::InSyncSet { .. });
    let mut wanted = Vec::with_capacity(view.members.len());
    for node in &view.members {
        if *node == me.node {
            wanted.push(me);
            continue;
        }
        let present = view.electable.iter().find(|r| r.node == *node).copied();
        let progress = leader.followers.get(node);
        let life =
            progress.and_then(|p| p.incarnation).map(|i| view::Replica { node: *node, incarnation: i });
        let caught_up = progress.is_some_and(|p| p.mode == Mode::Replicate && p.matched >= bound);
        let current = progress.is_some_and(|p| {
            let patience = if p.connected { LAG_MAX } else { LAG_MAX_DISCONNECTED };
            // One that is gone is not waited for: it has everything only until the next entry.
            let patient = now.since(p.current_at) < patience || plant::is(Bug::WaitsForEver);
            p.connected && p.matched >= last || patient
        });
        match (present, life) {
            (Some(present), Some(life)) if present == life && in_sync_set && !current => {}
            (Some(present), Some(life)) if present == life => wanted.push(present),
            // Another life, or none in the set yet: it counts once it holds what is committed.
            (_, Some(life)) if caught_up => wanted.push(life),
            (Some(present), _) if !in_sync_set || current => wanted.push(present),
            _ => {}
        }
    }
    wanted.sort_unstable();
    if wanted == view.electable {
        return None;
    }
    if let CommitRule::InSyncSet { minimum } = view.settings.commit
        && wanted.len() < view.electable.len()
        && wanted.len() < minimum as usize
    {
        return None;
    }
    Some(wanted)
}
