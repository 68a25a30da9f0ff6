//! Symptoms seen once, each with its story, smallest first.

use crate::rig::control::{GROUP, KEYSPACE};
use bytes::Bytes;
use data::keyspace::{CommitRule, Settings};
use data::record::{Header, Kind, Record};
use data::view::{Leader, Replica as Life, View};
use data::{Epoch, Incarnation, Index, Instant, NodeId, Position, Process, RequestId, ViewNumber};
use protocol::single_leader::{
    Input, Mark, Message, Output, ReadPermit, Recovered, Replica, RoleName, SealAnswer,
};

const NOW: Instant = Instant(1_000_000_000);

fn life(node: u32) -> Life {
    Life { node: NodeId(node), incarnation: Incarnation(1) }
}
fn view(commit: CommitRule, members: &[u32], electable: &[u32]) -> View {
    View {
        group: GROUP,
        keyspace: KEYSPACE,
        number: ViewNumber(1),
        epoch: Epoch(1),
        leader: Some(Leader { replica: life(1), process: Process(1) }),
        members: members.iter().map(|n| NodeId(*n)).collect(),
        electable: electable.iter().map(|n| life(*n)).collect(),
        read_replicas: Vec::new(),
        election: None,
        forced: None,
        history: vec![Position::new(1, 1)],
        last_loss: Epoch(0),
        rule: commit,
        settings: Settings { commit, ..Settings::default() },
    }
}
fn replica(node: u32) -> Replica {
    Replica::new(life(node), Process(1), GROUP, KEYSPACE, Recovered::default())
}
fn step(replica: &mut Replica, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    replica.step(NOW, input, &mut out);
    out
}
fn from(node: u32, message: Message) -> Input {
    Input::Message { from: NodeId(node), incarnation: Incarnation(1), message }
}
fn ack(matched: u64, round: u64) -> Message {
    Message::Ack { epoch: Epoch(1), matched: Index(matched), applied: Index(0), round }
}
/// Entries `first..=last` of epoch 1 and the place of the last one.
fn entries(before: Mark, last: u64) -> (Bytes, Mark) {
    let (mut buffer, mut mark) = (Vec::new(), before);
    for index in before.position.index.0 + 1..=last {
        let position = Position::new(1, index);
        let header = Header {
            kind: Kind::Operations,
            keyspace: KEYSPACE,
            group: GROUP,
            epoch: position.epoch,
            index: position.index,
            commit: Index(0),
            time_ms: 0,
            request: RequestId::NONE,
        };
        let hash = Record::write(&mut buffer, &header, mark.hash, |_| {});
        mark = Mark { position, hash };
    }
    (Bytes::from(buffer), mark)
}
fn append(previous: Mark, records: Bytes) -> Message {
    Message::Append {
        epoch: Epoch(1),
        previous: previous.position,
        previous_hash: previous.hash,
        commit: Index(0),
        round: 0,
        records,
    }
}
/// A leader of three whose empty entry is committed.
fn leader() -> Replica {
    let mut leader = replica(1);
    step(&mut leader, Input::View(Box::new(view(CommitRule::Majority, &[1, 2, 3], &[1, 2, 3]))));
    step(&mut leader, Input::Persisted { token: 1 });
    step(&mut leader, from(2, ack(1, 0)));
    assert_eq!(leader.role(), RoleName::Leader);
    leader
}

/// While a snapshot was on its way the follower got the entries behind it from the log, and acknowledged them. The
/// installation began the log anew at the snapshot: acknowledged entries were gone, and an election could lose them.
// bugs: SL-16
#[test]
fn a_snapshot_does_not_drop_acknowledged_entries_behind_it() {
    let mut follower = replica(2);
    step(&mut follower, Input::View(Box::new(view(CommitRule::Majority, &[1, 2, 3], &[1, 2, 3]))));
    let (head, middle) = entries(Mark::default(), 5);
    let (tail, last) = entries(middle, 9);
    step(&mut follower, from(1, append(Mark::default(), head)));
    step(&mut follower, from(1, append(middle, tail)));
    let out = step(&mut follower, Input::Persisted { token: 2 });
    assert!(
        out.iter().any(|o| matches!(o, Output::Send { message: Message::Ack { matched: Index(9), .. }, .. }))
    );
    let starts = vec![Position::new(1, 1)];
    step(&mut follower, Input::Installed { mark: middle, starts, time_ms: 0 });
    assert_eq!((follower.log().last(), follower.persisted(), follower.commit()), (last, Index(9), Index(5)));
}

/// A round that was asked for but not sent travelled with entries; a read that came after that still joined it, and the
/// answers to those entries, older than the read, confirmed it.
// bugs: SL-06
#[test]
fn entries_do_not_carry_a_round_that_reads_may_still_join() {
    let mut leader = leader();
    let never = |_: Life| Instant::ZERO;
    let mut out = Vec::new();
    leader.propose(Kind::Operations, RequestId::NONE, 0, |_| {});
    let ReadPermit::After(round) = leader.read_permit(NOW, never, Instant::ZERO) else { panic!("a round") };
    let early = step(&mut leader, from(3, ack(0, 0)));
    leader.flush(NOW, &mut out);
    let rounds = |out: &[Output]| {
        let round = |o: &Output| match o {
            Output::Send { message: Message::Append { round, .. }, .. } => Some(*round),
            _ => None,
        };
        out.iter().filter_map(round).collect::<Vec<_>>()
    };
    assert!(!rounds(&early).is_empty() && rounds(&early).iter().all(|sent| *sent < round));
    assert!(rounds(&out).contains(&round));
    assert_eq!(leader.read_permit(NOW, never, Instant::ZERO), ReadPermit::After(round + 1));
}

/// A replica that had left the members, but not yet the electable set, answered no seal: with the leader gone the group
/// could never elect again.
#[test]
fn a_replica_that_left_the_members_still_seals_while_it_counts() {
    let mut follower = replica(3);
    step(&mut follower, Input::View(Box::new(view(CommitRule::Majority, &[1, 2], &[1, 2, 3]))));
    let seal = Input::Seal { epoch: Epoch(2), election: ViewNumber(2), not_before: Instant::ZERO };
    step(&mut follower, seal);
    let out = step(&mut follower, Input::Persisted { token: 1 });
    let last = Position::default();
    let answer = SealAnswer { group: GROUP, epoch: Epoch(2), election: ViewNumber(2), last, missed: 0 };
    assert!(out.contains(&Output::Sealed(answer)), "{out:?}");
}

/// Every refusal of a pipeline was answered with the whole tail, whose messages were refused in turn: four million
/// messages within seconds.
#[test]
fn refusals_of_one_pipeline_are_answered_once() {
    let mut leader = leader();
    let mut out = Vec::new();
    for _ in 0..8 {
        leader.propose(Kind::Operations, RequestId::NONE, 0, |_| {});
        leader.flush(NOW, &mut out);
    }
    let refusal =
        Message::Mismatch { epoch: Epoch(1), last: Position::new(1, 1), starts: vec![Position::new(1, 1)] };
    let sent: usize = (0..8).map(|_| step(&mut leader, from(2, refusal.clone())).len()).sum();
    assert_eq!(sent, 1);
}

/// A proposal that the control plane refuses for good held the leader to a set that could never come to be.
#[test]
fn a_refused_proposal_binds_no_longer() {
    let mut leader = replica(1);
    step(&mut leader, Input::View(Box::new(view(CommitRule::Majority, &[1, 2, 3], &[1, 2]))));
    step(&mut leader, Input::Persisted { token: 1 });
    let mut out = step(&mut leader, from(2, ack(1, 0)));
    out.extend(step(&mut leader, from(3, ack(1, 0))));
    out.extend(step(&mut leader, Input::Tick));
    let proposed = out.iter().find_map(|o| match o {
        Output::ProposeElectable { number, rule, electable } => Some((*number, *rule, electable.clone())),
        _ => None,
    });
    let (number, rule, electable) = proposed.expect("the learner caught up");
    step(&mut leader, Input::ProposalRefused { number, rule, electable });
    let again = step(&mut leader, Input::Tick);
    assert!(again.iter().any(|o| matches!(o, Output::ProposeElectable { .. })), "{again:?}");
}

/// An old seal that came late made a replica that was sealed for a newer election take part in the older one.
#[test]
fn an_older_seal_does_not_replace_a_newer_one() {
    let mut follower = replica(2);
    step(&mut follower, Input::View(Box::new(view(CommitRule::Majority, &[1, 2, 3], &[1, 2, 3]))));
    let later = Instant(u64::MAX);
    step(&mut follower, Input::Seal { epoch: Epoch(3), election: ViewNumber(3), not_before: later });
    step(&mut follower, Input::Seal { epoch: Epoch(2), election: ViewNumber(2), not_before: Instant::ZERO });
    let out = step(&mut follower, Input::Persisted { token: 1 });
    assert!(!out.iter().any(|o| matches!(o, Output::Sealed(_))), "{out:?}");
    assert!(follower.refuses(Epoch(2)));
}
