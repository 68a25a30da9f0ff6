//! How a leader keeps the electable set honest: who is in sync, who has caught up, who is gone; and how it goes over to another
//! commit rule, because the settings changed or because they let it go on with fewer (`ON-TIMEOUT degrade`).

use super::commit::committed;
use super::io::{Output, Report};
use super::leader::Leader;
use super::progress::Mode;
use super::replica::{Replica, Role};
use alloc::vec::Vec;
use core::time::Duration;
use data::keyspace::{CommitRule, OnTimeout};
use data::plant::{self, Bug};
use data::view;
use data::{Index, Instant, ViewNumber};

/// An in-sync follower that misses entries and makes no progress for so long leaves the set: the bound on how long it
/// can hold up writes (bugs: SL-26). Longer than a resend, so that one lost message does not cost a view change.
const LAG_MAX: Duration = Duration::from_millis(600);
/// The same for a follower whose connection is lost: nothing can be on its way.
const LAG_MAX_DISCONNECTED: Duration = Duration::from_millis(100);
/// The same for one that has not answered since this leadership began, though its connection stands: it was stopped, perhaps, and
/// the election has waited for it before. Some round trips between far sites.
const LAG_MAX_UNHEARD: Duration = Duration::from_millis(250);
/// Proposals to the control plane are repeated until a newer view is known.
const PROPOSE_EVERY: Duration = Duration::from_millis(200);
/// A follower that made progress within this time keeps up. A guess: many round trips, less than anybody's patience.
const KEEPS_UP_WITHIN: Duration = Duration::from_millis(100);
/// For so long nothing is committed that another rule does not hold, in the hope that it comes to hold everything. Below every
/// time-out of a write.
const PREPARE_MAX: Duration = Duration::from_millis(250);
/// After a vain attempt it is not tried again for so long.
const PREPARE_AGAIN: Duration = Duration::from_secs(2);

/// Another electable set or commit rule, proposed and not yet decided.
pub(super) struct Proposal {
    pub number: ViewNumber,
    pub rule: CommitRule,
    pub electable: Vec<view::Replica>,
    sent_at: Instant,
}

impl Replica {
    /// Whether an election may find others than this leader electable: recorded, or proposed and perhaps recorded without its knowing.
    pub fn may_be_succeeded(&self) -> bool {
        let several = self.view.as_ref().is_some_and(|view| view.electable.len() > 1);
        several || matches!(&self.role, Role::Leader(leader) if leader.proposal.is_some())
    }

    /// The control plane's log holds a refusal of this very proposal at the present view number: it can never be accepted
    /// later, so the leader is free to propose what fits now.
    pub(super) fn on_refused(&mut self, number: ViewNumber, rule: CommitRule, electable: &[view::Replica]) {
        let Role::Leader(leader) = &mut self.role else { return };
        leader.proposal.take_if(|proposal| {
            (proposal.number, proposal.rule) == (number, rule) && proposal.electable == electable
        });
    }

    /// Proposes another electable set when the present one does not fit the followers, or another rule when it does not fit the
    /// settings.
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
                    rule: proposal.rule,
                    electable: proposal.electable.clone(),
                });
            }
            return;
        }
        let last = self.log.last().position.index;
        // Before the empty entry is committed any inherited entry may be: then all of them must stand.
        let bound = if leader.ready { self.commit } else { leader.start };
        // Only what followers are late with counts: neither the own disk, nor a time in which this process was away.
        let away = now.since(leader.ticked_at) > KEEPS_UP_WITHIN;
        leader.ticked_at = now;
        let waits_for_followers = self.persisted > self.commit;
        if away || !waits_for_followers {
            leader.stalled_since = None;
        } else if leader.stalled_since.is_none() {
            leader.stalled_since = Some(now);
        }
        let rule = wanted_rule(now, self.me, view, leader, waits_for_followers);
        let wanted = wanted_electable(now, self.me, view, rule, leader, bound, last);
        leader.preparing.take_if(|prepared| *prepared != rule);
        if rule == view.rule && wanted.is_none() {
            return;
        }
        let electable = wanted.unwrap_or_else(|| view.electable.clone());
        // Every committed entry must stand under the new rule before it is proposed.
        let held =
            committed(rule, &electable, self.me.node, self.persisted, |r| Replica::persisted_by(leader, r));
        if held < bound {
            prepare(now, rule, view, leader);
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
        out.push(Output::ProposeElectable { number, rule, electable: electable.clone() });
        leader.proposal = Some(Proposal { number, rule, electable, sent_at: now });
        leader.preparing = None;
    }
}

/// The rule that fits the settings and what the followers do.
fn wanted_rule(
    now: Instant,
    me: view::Replica,
    view: &view::View,
    leader: &Leader,
    waits_for_followers: bool,
) -> CommitRule {
    let (present, asked) = (view.rule, view.settings.commit);
    let degrades = view.settings.on_timeout == OnTimeout::Degrade;
    if present == asked {
        let patience = Duration::from_millis(u64::from(view.settings.timeout_ms));
        let late = leader.stalled_since.is_some_and(|since| now.since(since) >= patience);
        return if degrades && late && waits_for_followers { CommitRule::Async } else { asked };
    }
    // From a rule under which copies go on without entries nobody goes over before all of them are whole.
    if present == CommitRule::BestEffort && !leader.all_whole(view, me.node) {
        return present;
    }
    // To a rule that too few follow nobody goes over, back from a degraded one least of all.
    // One that drops laggards goes on without them.
    let enough = match asked.drops_laggards() {
        true => asked.nodes_needed().saturating_sub(1),
        false => asked.followers_needed(view.electable.len()),
    };
    if leader.keeping_up(now, view, KEEPS_UP_WITHIN) >= enough { asked } else { present }
}

/// Committed entries do not stand under the wanted rule yet: for a while nothing more is committed that does not.
fn prepare(now: Instant, rule: CommitRule, view: &view::View, leader: &mut Leader) {
    let since = now.since(leader.prepared_at);
    if leader.preparing.is_some() {
        leader.preparing.take_if(|_| since >= PREPARE_MAX);
    } else if rule != view.rule && since >= PREPARE_AGAIN {
        leader.preparing = Some(rule);
        leader.prepared_at = now;
    }
}

/// The electable set that fits what the followers do, `None` when the present one does.
fn wanted_electable(
    now: Instant,
    me: view::Replica,
    view: &view::View,
    rule: CommitRule,
    leader: &Leader,
    bound: Index,
    last: Index,
) -> Option<Vec<view::Replica>> {
    let in_sync_set = rule.drops_laggards();
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
            let patience = match (p.connected, p.incarnation) {
                (false, _) => LAG_MAX_DISCONNECTED,
                (true, None) => LAG_MAX_UNHEARD,
                (true, Some(_)) => LAG_MAX,
            };
            // One that is gone is not waited for: it has everything only until the next entry.
            let patient = now.since(p.current_at) < patience || plant::is(Bug::WaitsForEver);
            p.connected && p.matched >= last || patient
        });
        match (present, life) {
            (Some(present), Some(life)) if present == life && in_sync_set && !current => {}
            (Some(present), Some(life)) if present == life => wanted.push(present),
            // Another life, or none in the set yet: it counts once it holds what is committed. While somebody holds up the commit
            // so does one that fell silent: a set that waits for all takes in none that it would have to drop.
            (in_it, Some(life)) if caught_up && (current || !in_sync_set || in_it.is_some()) => {
                wanted.push(life)
            }
            (Some(present), _) if !in_sync_set || current => wanted.push(present),
            _ => {}
        }
    }
    wanted.sort_unstable();
    if wanted == view.electable {
        return None;
    }
    if in_sync_set && wanted.len() < view.electable.len() && wanted.len() < rule.nodes_needed() {
        return None;
    }
    Some(wanted)
}
