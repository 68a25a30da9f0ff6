//! A ring in which one replica takes the place of another.
// bugs: LL-18

use data::causal::{Actor, Causal, Held, KeyState, Minter, Object, Outcome, Stamp, Store, Wish, Write};
use data::table::Seed;
use data::value::Blob;
use data::{Expiry, GroupId, Incarnation, Instant, NodeId, Now, Process, RequestId, WallInterval};
use protocol::leaderless::coordinator::{self, Coordinator, Level};
use protocol::leaderless::{Alive, Durable, Life, Limits, Message, Output, Placement, Replica, Reply, Why};

const LIFE: Incarnation = Incarnation(1);

fn placement(ring: u64, nodes: [u32; 3]) -> Placement {
    Placement { ring, replicas: nodes.map(NodeId).to_vec(), stand_ins: Vec::new(), ..Placement::default() }
}

fn delta(node: u32) -> Causal<Object> {
    let actor = Actor { node: NodeId(node), incarnation: LIFE, shard: GroupId(1) };
    let mut minter = Minter::new(actor, 0);
    Object::default().set(&mut Write::new(&mut minter, Stamp(5)), 0, b"v", Expiry::Keep)
}

#[test]
fn what_a_replaced_replica_acknowledged_counts_no_more() {
    let mut coordinator = Coordinator::new(NodeId(5), Process(1), coordinator::Limits::default());
    coordinator.set_alive((1..=5).map(|node| (NodeId(node), LIFE)).collect::<Alive>());
    coordinator.place(placement(1, [1, 2, 3]), &mut Vec::new());
    let level = Level { required: 2, sloppy: false };
    let wish = Wish::Set { value: Blob::from(&b"v"[..]), expiry: Expiry::Keep };
    let mut out = Vec::new();
    coordinator.write(Instant::ZERO, 9, Blob::from(&b"k"[..]), wish, level, level, &mut out);
    let request = match &out[..] {
        [coordinator::Output::Send { to: NodeId(1), message: Message::Mint { request, .. } }] => *request,
        other => panic!("{other:?}"),
    };
    let minted =
        Message::Minted { request, delta: Box::new(delta(1)), outcome: Outcome::Done, lives: Vec::new() };
    coordinator.receive(NodeId(1), LIFE, minted, &mut out);
    coordinator.place(placement(2, [2, 3, 4]), &mut Vec::new());
    let replies = |out: &[coordinator::Output]| -> Vec<Reply> {
        let reply = |it: &coordinator::Output| match it {
            coordinator::Output::Reply { reply, .. } => Some(reply.clone()),
            coordinator::Output::Send { .. } | coordinator::Output::Decide { .. } => None,
        };
        out.iter().filter_map(reply).collect()
    };
    let applied = || Message::Applied { request, stands_for: None, lives: Vec::new() };
    coordinator.receive(NodeId(2), LIFE, applied(), &mut out);
    assert_eq!(replies(&out), [], "one of the new ring has it");
    coordinator.receive(NodeId(1), LIFE, applied(), &mut out);
    assert_eq!(replies(&out), [], "the replaced one is nobody");
    coordinator.receive(NodeId(3), LIFE, applied(), &mut out);
    match &replies(&out)[..] {
        [Reply::Written(receipt)] => assert_eq!(receipt.replicas, [NodeId(2), NodeId(3)]),
        other => panic!("{other:?}"),
    }
}

/// A node that restarted goes by an old map for a moment, and asks itself, who was a replica once. What it answers may be older
/// than what the others have acknowledged since: a delete that counts it would leave alone what it is to delete.
#[test]
fn what_a_replaced_replica_told_a_delete_counts_no_more() {
    let mut coordinator = Coordinator::new(NodeId(1), Process(1), coordinator::Limits::default());
    coordinator.set_alive((1..=4).map(|node| (NodeId(node), LIFE)).collect::<Alive>());
    coordinator.place(placement(1, [1, 2, 3]), &mut Vec::new());
    let level = Level { required: 2, sloppy: false };
    let mut out = Vec::new();
    coordinator.write(Instant::ZERO, 9, Blob::from(&b"k"[..]), Wish::Delete, level, level, &mut out);
    let request = match &out[..] {
        [
            coordinator::Output::Send { to: NodeId(1), message: Message::Read { request, .. } },
            coordinator::Output::Send { to: NodeId(2), message: Message::Read { .. } },
        ] => *request,
        other => panic!("{other:?}"),
    };
    let state = |held: bool| {
        let mut state = KeyState::default();
        if held {
            let Causal { store, context } = delta(3);
            state = KeyState { held: Held { object: store, recent: context.clone() }, context };
        }
        Message::State { request, state: Box::new(state), stand_in: false }
    };
    coordinator.receive(NodeId(1), LIFE, state(false), &mut out);
    coordinator.place(placement(2, [2, 3, 4]), &mut Vec::new());
    out.clear();
    coordinator.receive(NodeId(2), LIFE, state(false), &mut out);
    coordinator.receive(NodeId(1), LIFE, state(false), &mut out);
    assert_eq!(out, [], "one of the new ring has answered");
    coordinator.tick(Instant::ZERO, &mut out);
    let asked: Vec<NodeId> = out
        .drain(..)
        .filter_map(|it| match it {
            coordinator::Output::Send { to, message: Message::Read { .. } } => Some(to),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [NodeId(3), NodeId(4)], "who has not answered under the new ring");
    coordinator.receive(NodeId(3), LIFE, state(true), &mut out);
    match &out[..] {
        [coordinator::Output::Send { to: NodeId(2), message: Message::Repair { .. } }] => out.clear(),
        other => panic!("n2 lacks what n3 told: {other:?}"),
    }
    coordinator.receive(NodeId(2), LIFE, Message::Repaired { request, lives: Vec::new() }, &mut out);
    match &out[..] {
        [coordinator::Output::Send { to: NodeId(2), message: Message::Mint { seen: Some(seen), .. } }] => {
            assert!(!seen.held.object.is_bottom(), "the delete knows what it deletes");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newcomer_takes_deltas_and_acknowledges_none_before_it_is_ready() {
    let life = Life { node: NodeId(4), incarnation: LIFE, process: Process(1), shard: GroupId(1) };
    let now = Now {
        instant: Instant::from_millis(10),
        wall: WallInterval { earliest_ms: 1_000_000, latest_ms: 1_000_001 },
    };
    for is_ready in [false, true] {
        let mut out = Vec::new();
        let mut replica = Replica::new(life, Limits::default(), Durable::new(Seed(1, 2), is_ready), &mut out);
        replica.place(placement(2, [2, 3, 4]), &mut out);
        let request = RequestId { origin: NodeId(5), process: Process(1), sequence: 1 };
        let apply = Message::Apply {
            request,
            key: Blob::from(&b"k"[..]),
            delta: Box::new(delta(2)),
            stands_for: None,
        };
        replica.receive(now, NodeId(5), LIFE, apply, &mut out);
        replica.persisted(u64::MAX, &mut out);
        let said: Vec<&Message> = out
            .iter()
            .filter_map(|it| if let Output::Send { message, .. } = it { Some(message) } else { None })
            .collect();
        match (is_ready, &said[..]) {
            (false, [Message::Refused { why: Why::Rebuilding, .. }]) => {}
            (true, [Message::Applied { .. }]) => {}
            other => panic!("{other:?}"),
        }
        assert!(replica.durable().copy.object(b"k").is_some(), "it has it all the same");
    }
}

/// A refusal is the last word on a mint request, and on nothing else: one of a read, come late, would be taken for it.
// bugs: LL-24
#[test]
fn a_copy_that_cannot_answer_a_read_or_take_a_repair_says_nothing() {
    let life = Life { node: NodeId(4), incarnation: LIFE, process: Process(1), shard: GroupId(1) };
    let wall = WallInterval { earliest_ms: 1_000_000, latest_ms: 1_000_001 };
    let now = Now { instant: Instant::from_millis(10), wall };
    let request = RequestId { origin: NodeId(5), process: Process(1), sequence: 1 };
    let key = || Blob::from(&b"k"[..]);
    for (ring, members) in [("not ready", [2, 3, 4]), ("no replica", [1, 2, 3])] {
        let mut out = Vec::new();
        let mut replica = Replica::new(life, Limits::default(), Durable::new(Seed(1, 2), false), &mut out);
        replica.place(placement(2, members), &mut out);
        out.clear();
        replica.receive(now, NodeId(5), LIFE, Message::Read { request, key: key() }, &mut out);
        if ring == "no replica" {
            let together = Box::new(KeyState::default());
            replica.receive(
                now,
                NodeId(5),
                LIFE,
                Message::Repair { request, key: key(), together },
                &mut out,
            );
            // It may stand in, and tells what it holds for others.
            out.retain(|it| {
                !matches!(it, Output::Send { message: Message::State { stand_in: true, .. }, .. })
            });
        }
        replica.persisted(u64::MAX, &mut out);
        let said =
            out.iter().filter(|it| matches!(it, Output::Send { message: Message::Refused { .. }, .. }));
        assert_eq!(said.count(), 0, "{ring}: {out:?}");
    }
}

/// The word of a copy that is gone comes after that of a peer which knows its successor: in this order it counts as little as in the
/// other one.
// bugs: LL-09
#[test]
fn a_late_word_of_a_lost_copy_counts_no_more() {
    for is_late in [false, true] {
        let mut coordinator = Coordinator::new(NodeId(1), Process(1), coordinator::Limits::default());
        coordinator.set_alive((1..=3).map(|node| (NodeId(node), LIFE)).collect::<Alive>());
        coordinator.place(placement(1, [1, 2, 3]), &mut Vec::new());
        let level = Level { required: 3, sloppy: false };
        let wish = Wish::SetAdd { members: vec![Blob::from(&b"m"[..])] };
        let mut out = Vec::new();
        coordinator.write(Instant::ZERO, 9, Blob::from(&b"k"[..]), wish, level, level, &mut out);
        let request = match &out[..] {
            [coordinator::Output::Send { message: Message::Mint { request, .. }, .. }] => *request,
            other => panic!("{other:?}"),
        };
        let delta = Box::new(delta(1));
        let minted = Message::Minted { request, delta, outcome: Outcome::Count(1), lives: Vec::new() };
        coordinator.receive(NodeId(1), LIFE, minted, &mut out);
        out.clear();
        let applied = |lives: &[(NodeId, Incarnation)]| Message::Applied {
            request,
            stands_for: None,
            lives: lives.to_vec(),
        };
        let knows_another = applied(&[(NodeId(3), LIFE.next())]);
        let (first, second) = ((NodeId(2), knows_another), (NodeId(3), applied(&[])));
        let (first, second) = if is_late { (first, second) } else { (second, first) };
        coordinator.receive(first.0, LIFE, first.1, &mut out);
        coordinator.receive(second.0, LIFE, second.1, &mut out);
        assert_eq!(out, [], "the copy that n3 was is gone, late: {is_late}");
        coordinator.receive(NodeId(3), LIFE.next(), applied(&[]), &mut out);
        assert!(matches!(&out[..], [coordinator::Output::Reply { .. }]), "{out:?}");
    }
}
