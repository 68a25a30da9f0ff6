//! One election: who has sealed, and who wins.
//!
//! Counted against the electable set that the election found, by (node, incarnation), for this election only. Any e - k
//! clean seals meet every write quorum, so the most advanced of them holds every committed entry (bugs: SL-01). When
//! everybody reported in and too few are the life they were, the most advanced of all leads and the loss is announced.

use crate::config::Timings;
use crate::message::Sealed;
use data::plant::{self, Bug};
use data::view::{Leader, View};
use data::{Epoch, Index, Instant, NodeId, Position, Process, ViewNumber};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How long an election that serves a switchover waits for its target beyond the seals that would do, unless that is suspected: the
/// leader has paused, so everybody waits. A few round trips between far sites.
const TARGET_WAIT_RETRIES: u32 = 4;

/// What the control leader knows about nodes when it judges.
pub(crate) struct Reach<'a> {
    pub control_leader: NodeId,
    /// The deposed leader may hold a control lease of an earlier control leader.
    pub blind: bool,
    pub suspects: &'a dyn Fn(NodeId) -> bool,
    /// The process that a node runs now.
    pub process: &'a dyn Fn(NodeId) -> Option<Process>,
}

#[derive(Debug)]
pub(crate) struct Contest {
    pub number: ViewNumber,
    pub epoch: Epoch,
    pub started_at: Instant,
    pub asked_at: Instant,
    pub proposed_at: Option<Instant>,
    /// The control leases that this control leader granted to the deposed leader have ended by then.
    pub free_at: Instant,
    /// The deposed leader has sealed or its process is gone: its leases protect nobody.
    pub released: bool,
    pub answers: BTreeMap<NodeId, Sealed>,
    pub prefer: Option<NodeId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Winner {
    pub leader: Leader,
    pub start: Position,
    /// Where each epoch of its log began.
    pub starts: Vec<Position>,
    pub loss_possible: bool,
}

impl Contest {
    /// Takes an answer; whether it changes anything.
    pub fn sealed(&mut self, view: &View, from: NodeId, sealed: Sealed) -> bool {
        let meant = sealed.election == self.number && sealed.epoch == self.epoch;
        if !meant || sealed.replica.node != from || !view.asked().any(|node| node == from) {
            return false;
        }
        if view.leader.is_some_and(|leader| leader.replica.node == from) {
            self.released = true;
        }
        let news = self.answers.get(&from) != Some(&sealed);
        self.answers.insert(from, sealed);
        news
    }

    /// The winner, as soon as there is one.
    pub fn judge(&self, now: Instant, view: &View, reach: &Reach<'_>, timings: &Timings) -> Option<Winner> {
        if !self.released && (reach.blind || now < self.free_at) {
            return None;
        }
        let waited = now.since(self.started_at);
        if let Some(target) = self.prefer
            && !self.answers.contains_key(&target)
            && !(reach.suspects)(target)
            && waited < timings.retry * TARGET_WAIT_RETRIES
        {
            return None;
        }
        // An answer of a process that is gone proves nothing about the one that would lead.
        let valid = |node: NodeId| {
            let answer = self.answers.get(&node)?;
            let current = (reach.process)(node) == Some(answer.process) && !(reach.suspects)(node);
            current.then_some(answer)
        };
        if let Some(forced) = view.forced {
            return self.most_advanced(view, &[valid(forced)?], reach, true);
        }
        let answers: Vec<&Sealed> = view.electable.iter().filter_map(|r| valid(r.node)).collect();
        let clean: Vec<&Sealed> =
            answers.iter().copied().filter(|answer| view.is_electable(answer.replica)).collect();
        let everybody = answers.len() == view.electable.len();
        // Its leader's own copy, in the same life, was part of every write quorum.
        let led = view.leader.map(|leader| leader.replica);
        let complete = clean.iter().any(|answer| Some(answer.replica) == led);
        let enough = clean.len() >= view.seals_needed() || complete || plant::is(Bug::ElectsTooFew);
        if !clean.is_empty() && enough {
            let missing = view.electable.iter().any(|r| !(reach.suspects)(r.node) && valid(r.node).is_none());
            if !view.elects_best() {
                let winner = self.most_advanced(view, &clean, reach, false)?;
                // The control leader's own node answers first, and would take the group with it when it is lost: another as
                // good is waited for a moment.
                let hurried = winner.leader.replica.node == reach.control_leader && missing;
                return (!hurried || waited >= timings.retry).then_some(winner);
            }
            // Best: one would do, so all within reach are waited for a little.
            if missing && waited < timings.best_wait {
                return None;
            }
            return self.most_advanced(view, &clean, reach, !complete);
        }
        if everybody { self.most_advanced(view, &answers, reach, true) } else { None }
    }

    /// By position, less what was gone on without; among equals the wanted one, then one off the control leader's node, then the lowest number.
    fn most_advanced(
        &self,
        view: &View,
        answers: &[&Sealed],
        reach: &Reach<'_>,
        loss_possible: bool,
    ) -> Option<Winner> {
        let best = answers.iter().max_by_key(|answer| {
            let node = answer.replica.node;
            let Position { epoch, index } = answer.last;
            let held = (epoch, index.0.saturating_sub(answer.missed), index);
            (held, Some(node) == self.prefer, node != reach.control_leader, Reverse(node))
        })?;
        let start = Position { epoch: self.epoch, index: Index(best.last.index.0.checked_add(1)?) };
        let leader = Leader { replica: best.replica, process: best.process };
        // One of an older version does not say where the epochs of its log began. Of what is recorded nothing is in it that began
        // later than its end; what it has and is not recorded counts as lost rather than the other way round.
        let begun = |known: &&Position| known.epoch <= best.last.epoch && known.index <= best.last.index;
        let recorded = || view.history.iter().filter(begun).copied().collect();
        let starts = if best.starts.is_empty() { recorded() } else { best.starts.clone() };
        // What it was told to go on without is lost with its epoch.
        Some(Winner { leader, start, starts, loss_possible: loss_possible || best.missed > 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::keyspace::{CommitRule, Election, Settings};
    use data::view::Replica;
    use data::{GroupId, Incarnation, KeyspaceId};

    fn replica(node: u32, life: u64) -> Replica {
        Replica { node: NodeId(node), incarnation: Incarnation(life) }
    }
    fn view(commit: CommitRule) -> View {
        View {
            group: GroupId(1),
            keyspace: KeyspaceId(0),
            number: ViewNumber(2),
            epoch: Epoch(1),
            leader: Some(Leader { replica: replica(1, 1), process: Process(1) }),
            members: vec![NodeId(1), NodeId(2), NodeId(3)],
            read_replicas: vec![],
            electable: vec![replica(1, 1), replica(2, 1), replica(3, 1)],
            election: Some(Epoch(2)),
            forced: None,
            history: vec![Position::new(1, 1)],
            last_loss: Epoch(0),
            rule: commit,
            settings: Settings { commit, ..Settings::default() },
        }
    }
    fn answer(node: u32, life: u64, index: u64) -> Sealed {
        Sealed {
            group: GroupId(1),
            epoch: Epoch(2),
            election: ViewNumber(2),
            replica: replica(node, life),
            process: Process(1),
            last: Position::new(1, index),
            starts: vec![Position::new(1, 1)],
            missed: 0,
        }
    }
    fn contest(view: &View, answers: &[Sealed]) -> Contest {
        let zero = Instant::ZERO;
        let mut contest = Contest {
            number: ViewNumber(2),
            epoch: Epoch(2),
            started_at: zero,
            asked_at: zero,
            proposed_at: None,
            free_at: Instant::from_millis(300),
            released: false,
            answers: BTreeMap::new(),
            prefer: None,
        };
        for sealed in answers {
            contest.sealed(view, sealed.replica.node, sealed.clone());
        }
        contest
    }
    fn winner(at_ms: u64, view: &View, contest: &Contest, dead: &[u32]) -> Option<(u32, bool)> {
        let reach = Reach {
            control_leader: NodeId(2),
            blind: false,
            suspects: &|node| dead.contains(&node.0),
            process: &|_| Some(Process(1)),
        };
        let winner = contest.judge(Instant::from_millis(at_ms), view, &reach, &Timings::default());
        winner.map(|winner| (winner.leader.replica.node.0, winner.loss_possible))
    }

    #[test]
    // bugs: SL-01
    fn a_majority_group_needs_two_of_three_and_takes_the_most_advanced() {
        let view = view(CommitRule::Majority);
        assert_eq!(winner(400, &view, &contest(&view, &[answer(2, 1, 9)]), &[1]), None);
        let both = contest(&view, &[answer(2, 1, 9), answer(3, 1, 7)]);
        assert_eq!(winner(400, &view, &both, &[1]), Some((2, false)));
    }

    #[test]
    fn equals_keep_off_the_control_leaders_node() {
        let view = view(CommitRule::Majority);
        let both = contest(&view, &[answer(2, 1, 9), answer(3, 1, 9)]);
        assert_eq!(winner(400, &view, &both, &[1]), Some((3, false)));
    }

    #[test]
    // bugs: X-02
    fn the_old_leaders_lease_is_waited_out_unless_it_sealed_itself() {
        let view = view(CommitRule::Majority);
        let both = contest(&view, &[answer(2, 1, 9), answer(3, 1, 7)]);
        assert_eq!(winner(299, &view, &both, &[1]), None);
        let with_old = contest(&view, &[answer(1, 1, 9), answer(3, 1, 9)]);
        assert!(winner(10, &view, &with_old, &[]).is_some());
    }

    #[test]
    // bugs: SL-15
    fn another_life_of_a_node_does_not_count_until_everybody_reported_in() {
        let view = view(CommitRule::Majority);
        let wiped = [answer(1, 2, 0), answer(2, 2, 0)];
        assert_eq!(winner(400, &view, &contest(&view, &wiped), &[]), None);
        let all = [answer(1, 2, 0), answer(2, 2, 0), answer(3, 1, 5)];
        assert_eq!(winner(400, &view, &contest(&view, &all), &[]), Some((3, true)));
    }

    #[test]
    fn async_waits_for_all_within_reach_and_tells_of_possible_loss() {
        let view = view(CommitRule::Async);
        let one = Contest { released: true, ..contest(&view, &[answer(2, 1, 9)]) };
        assert_eq!(winner(100, &view, &one, &[1]), None);
        assert_eq!(winner(250, &view, &one, &[1]), Some((2, true)));
        assert_eq!(winner(100, &view, &one, &[1, 3]), Some((2, true)));
        let all = contest(&view, &[answer(1, 1, 9), answer(2, 1, 9), answer(3, 1, 8)]);
        assert_eq!(winner(10, &view, &all, &[]), Some((1, false)));
    }

    #[test]
    fn the_deposed_leaders_own_copy_is_enough_in_the_same_life_only() {
        for commit in [CommitRule::SemiSync { acks: 1 }, CommitRule::Majority, CommitRule::Async] {
            let mut view = view(commit);
            view.settings.election = Election::Wait;
            let others = contest(&view, &[answer(2, 1, 9)]);
            assert_eq!(winner(400, &view, &others, &[1, 3]), None, "{commit:?}");
            assert_eq!(winner(400, &view, &contest(&view, &[answer(1, 1, 9)]), &[3]), Some((1, false)));
            assert_eq!(winner(400, &view, &contest(&view, &[answer(1, 2, 9)]), &[3]), None);
        }
    }

    /// A follower of an older version was cut off while another led, and comes back with its own epoch's entries.
    #[test]
    fn an_epoch_that_the_winner_never_saw_is_not_in_its_history() {
        let mut view = view(CommitRule::Async);
        view.history = vec![Position::new(1, 1), Position::new(2, 5)];
        let mute = Sealed { starts: vec![], last: Position::new(1, 9), ..answer(1, 1, 9) };
        let contest = Contest { released: true, ..contest(&view, &[mute]) };
        let reach = Reach {
            control_leader: NodeId(2),
            blind: false,
            suspects: &|node| node != NodeId(1),
            process: &|_| Some(Process(1)),
        };
        let winner = contest.judge(Instant::from_millis(400), &view, &reach, &Timings::default());
        assert_eq!(winner.map(|it| it.starts), Some(vec![Position::new(1, 1)]));
    }

    #[test]
    fn answers_to_another_election_do_not_count() {
        let view = view(CommitRule::Majority);
        let stale = Sealed { election: ViewNumber(1), ..answer(2, 1, 9) };
        assert!(contest(&view, &[stale]).answers.is_empty());
        let other_epoch = Sealed { epoch: Epoch(3), ..answer(2, 1, 9) };
        assert!(contest(&view, &[other_epoch]).answers.is_empty());
    }
}
