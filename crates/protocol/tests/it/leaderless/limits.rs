//! What one slow, lost or wrong node may cost the others: single machines, fed by hand.
// catalogue: K3 K13
// bugs: LL-02, X-05

use data::causal::{
    Actor, Amount, Causal, Entry, Held, KeyState, Minter, Object, Outcome, Range, Stamp, Wish, Write,
};
use data::leaderless::ConflictPolicy;
use data::operation::End;
use data::table::Seed;
use data::value::Blob;
use data::{Expiry, GroupId, Incarnation, Instant, NodeId, Now, Process, RequestId, WallInterval};
use protocol::clocks::Clocks;
use protocol::leaderless::coordinator::{self, Coordinator, Level, Repair};
use protocol::leaderless::{Alive, Durable, Life, Limits, Message, Output, Placement, Replica, Why};

const LIFE: Incarnation = Incarnation(1);
const HOUR_MS: i64 = 3_600_000;
const WALL_MS: i64 = 1_800_000_000_000;

fn at(instant_ms: u64, wall_ms: i64) -> Now {
    let wall = WallInterval { earliest_ms: wall_ms, latest_ms: wall_ms };
    Now { instant: Instant::from_millis(instant_ms), wall }
}
fn placement() -> Placement {
    let replicas = (1..=3).map(NodeId).collect();
    Placement { ring: 1, replicas, ..Placement::default() }
}
fn blob(text: &str) -> Blob {
    Blob::from(text.as_bytes())
}
fn coordinator(conflict: ConflictPolicy) -> Coordinator {
    let limits = coordinator::Limits { conflict, ..coordinator::Limits::default() };
    let mut coordinator = Coordinator::new(NodeId(1), Process(1), limits);
    coordinator.set_alive((1..=3).map(|node| (NodeId(node), LIFE)).collect::<Alive>());
    coordinator.place(placement(), &mut Vec::new());
    coordinator
}
fn replica(node: u32, limits: Limits) -> Replica {
    let life = Life { node: NodeId(node), incarnation: LIFE, process: Process(1), shard: GroupId(1) };
    let mut out = Vec::new();
    let mut replica = Replica::new(life, limits, Durable::new(Seed(1, 2), true), &mut out);
    replica.place(placement(), &mut out);
    replica.persisted(u64::MAX, &mut out);
    replica
}
/// A value written by a node at a time.
fn value(node: u32, ms: i64) -> Causal<Object> {
    let actor = Actor { node: NodeId(node), incarnation: LIFE, shard: GroupId(1) };
    let mut minter = Minter::new(actor, 0);
    Object::default().set(&mut Write::new(&mut minter, Stamp::from_ms(ms)), 0, b"v", Expiry::Keep)
}
fn state(of: Causal<Object>) -> KeyState {
    KeyState { held: Held { object: of.store, recent: of.context.clone() }, context: of.context }
}
fn request(sequence: u64) -> RequestId {
    RequestId { origin: NodeId(1), process: Process(1), sequence }
}
fn push(replica: &mut Replica, now: Now, sequence: u64) -> Causal<Object> {
    let wish = Box::new(Wish::ListPush { elements: vec![blob("element")], end: End::Back });
    let mint = Message::Mint { request: request(sequence), life: LIFE, key: blob("list"), wish, seen: None };
    let mut out = Vec::new();
    replica.receive(now, NodeId(1), LIFE, mint, &mut out);
    replica.persisted(u64::MAX, &mut out);
    let minted = out.into_iter().find_map(|it| match it {
        Output::Send { message: Message::Minted { delta, .. }, .. } => Some(*delta),
        _ => None,
    });
    minted.expect("it is minted")
}

/// One of those who were asked cannot write: its disk is full. The answer waits for r copies, not for this one.
#[test]
fn an_answer_goes_to_any_other_copy_when_one_does_not_take_it() {
    let mut coordinator = coordinator(ConflictPolicy::Crdt);
    let (mut out, level) = (Vec::new(), Level { required: 2, sloppy: false });
    coordinator.read(Instant::ZERO, 9, blob("k"), level, Repair::Blocking, false, &mut out);
    let told = |of: KeyState| Message::State { request: request(1), state: Box::new(of), stand_in: false };
    coordinator.receive(NodeId(1), LIFE, told(state(value(1, WALL_MS))), &mut out);
    coordinator.receive(NodeId(2), LIFE, told(KeyState::default()), &mut out);
    out.clear();
    coordinator.tick(Instant::from_millis(500), &mut out);
    let asked: Vec<NodeId> = out
        .drain(..)
        .filter_map(|it| match it {
            coordinator::Output::Send { to, message: Message::Repair { .. } } => Some(to),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [NodeId(2), NodeId(3)]);
    coordinator.receive(
        NodeId(3),
        LIFE,
        Message::Repaired { request: request(1), lives: Vec::new() },
        &mut out,
    );
    assert!(matches!(&out[..], [coordinator::Output::Reply { client: 9, .. }]), "{out:?}");
}

/// Where the last one wins the sum is written: the second of two increments, one after the other, must know the first.
#[test]
fn an_increment_reads_first_where_it_writes_the_sum() {
    for (conflict, reads) in [(ConflictPolicy::Crdt, false), (ConflictPolicy::LastWriteWins, true)] {
        let (mut out, level) = (Vec::new(), Level { required: 2, sloppy: false });
        let wish = Wish::Increment { by: Amount::whole(1) };
        coordinator(conflict).write(Instant::ZERO, 9, blob("k"), wish, level, level, &mut out);
        let first = match &out[0] {
            coordinator::Output::Send { message, .. } => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(matches!(first, Message::Read { .. }), reads, "{conflict:?}");
    }
}

/// A push brings the elements along that a reader might lack, and no others: a queue that is pushed to for an hour while a copy is
/// away is not sent again with each element.
#[test]
fn a_push_does_not_bring_what_every_reader_meets() {
    let (mut replica, now) = (replica(1, Limits::default()), at(1_000, WALL_MS));
    for sequence in 1..=50 {
        let delta = push(&mut replica, now, sequence);
        assert_eq!(delta.context.dots(), sequence, "nobody said that the others have anything");
    }
    // What one copy holds a reader of two may miss.
    let delta = push(&mut replica, now, 51);
    let spread = |copies: u32| Message::Spread { dots: delta.context.clone(), copies };
    replica.receive(now, NodeId(1), LIFE, spread(1), &mut Vec::new());
    assert_eq!(push(&mut replica, now, 52).context.dots(), 52);
    replica.receive(now, NodeId(1), LIFE, spread(2), &mut Vec::new());
    assert_eq!(
        push(&mut replica, now, 53).context.dots(),
        2,
        "itself, and the one that two have not said to hold"
    );
}

/// The coordinator says so to who minted it, once most hold it.
#[test]
fn the_minter_of_a_push_hears_who_holds_it() {
    let mut coordinator = coordinator(ConflictPolicy::Crdt);
    let (mut out, level) = (Vec::new(), Level { required: 2, sloppy: false });
    let wish = Wish::ListPush { elements: vec![blob("element")], end: End::Back };
    coordinator.write(Instant::ZERO, 9, blob("list"), wish, level, level, &mut out);
    let delta = push(&mut replica(1, Limits::default()), at(1_000, WALL_MS), 1);
    let minted = Message::Minted {
        request: request(1),
        delta: Box::new(delta.clone()),
        outcome: Outcome::Done,
        lives: Vec::new(),
    };
    coordinator.receive(NodeId(1), LIFE, minted, &mut out);
    out.clear();
    let applied = Message::Applied { request: request(1), stands_for: None, lives: Vec::new() };
    coordinator.receive(NodeId(2), LIFE, applied, &mut out);
    let told = Message::Spread { dots: delta.context, copies: 2 };
    assert!(out.contains(&coordinator::Output::Send { to: NodeId(1), message: told }), "{out:?}");
}

/// Two of three nodes say that it is an hour earlier: this one mints nothing, and its coordinator asks another copy.
#[test]
fn a_copy_whose_clock_is_ahead_of_most_mints_nothing() {
    let (mut replica, now) = (replica(1, Limits::default()), at(1_000, WALL_MS + HOUR_MS));
    let mut clocks = Clocks::default();
    (2..=3).for_each(|node| clocks.hear(now.instant, NodeId(node), WALL_MS));
    replica.hear_clocks(clocks.bounds(NodeId(1), (1..=3).map(NodeId)));
    let wish = Box::new(Wish::Set { value: blob("v"), expiry: Expiry::Keep });
    let mint = Message::Mint { request: request(1), life: LIFE, key: blob("k"), wish, seen: None };
    let mut out = Vec::new();
    replica.receive(now, NodeId(1), LIFE, mint, &mut out);
    replica.persisted(u64::MAX, &mut out);
    let refused = Message::Refused { request: request(1), why: Why::Clock };
    assert!(out.contains(&Output::Send { to: NodeId(1), message: refused }), "{out:?}");
}

/// Its own clock is the one that is behind: what the other two agree on is right.
#[test]
fn a_copy_whose_clock_is_behind_most_goes_by_theirs() {
    let (mut replica, now) = (replica(1, Limits::default()), at(1_000, WALL_MS));
    let mut clocks = Clocks::default();
    (2..=3).for_each(|node| clocks.hear(now.instant, NodeId(node), WALL_MS + HOUR_MS));
    replica.hear_clocks(clocks.bounds(NodeId(1), (1..=3).map(NodeId)));
    let Causal { store, context } = value(2, WALL_MS + HOUR_MS);
    let held = Held { object: store, recent: context.clone() };
    let span = Range::WHOLE.span();
    let brought = Message::WalkSpan { walk: 1, span, entries: vec![Entry { key: blob("k"), held }], context };
    replica.receive(now, NodeId(2), LIFE, brought, &mut Vec::new());
    assert!(replica.durable().copy.object(b"k").is_some());
    push(&mut replica, now, 1);
}

/// The replies of a coordinator of whose three replicas only the first two acknowledge: writes of so many keys, one after the other.
fn written(coordinator: &mut Coordinator, keys: std::ops::RangeInclusive<u64>) -> Vec<coordinator::Reply> {
    let (mut replies, level) = (Vec::new(), Level { required: 2, sloppy: false });
    for sequence in keys {
        let mut out = Vec::new();
        let wish = Wish::Increment { by: Amount::whole(1) };
        coordinator.write(Instant::ZERO, 9, blob(&sequence.to_string()), wish, level, level, &mut out);
        let request = request(sequence);
        let (delta, outcome) = (Box::new(value(1, WALL_MS)), Outcome::Done);
        let minted = Message::Minted { request, delta, outcome, lives: Vec::new() };
        coordinator.receive(NodeId(1), LIFE, minted, &mut out);
        let applied = Message::Applied { request, stands_for: None, lives: Vec::new() };
        coordinator.receive(NodeId(2), LIFE, applied, &mut out);
        let reply = |it| if let coordinator::Output::Reply { reply, .. } = it { Some(reply) } else { None };
        replies.extend(out.into_iter().filter_map(reply));
    }
    replies
}

/// What is acknowledged waits for nobody who is away: with one replica gone the others take as many writes as ever.
// catalogue: K3 K6
#[test]
fn a_write_that_is_acknowledged_waits_for_nobody_who_is_away() {
    let mut coordinator = coordinator(ConflictPolicy::Crdt);
    coordinator.set_alive((1..=2).map(|node| (NodeId(node), LIFE)).collect::<Alive>());
    let replies = written(&mut coordinator, 1..=10);
    assert!(replies.iter().all(|reply| matches!(reply, coordinator::Reply::Written(_))), "{replies:?}");
    assert_eq!((replies.len(), coordinator.under_way()), (10, 0));
}

/// Nor do others wait for one that is alive and slow: the oldest of those that are answered give way, and what is not answered stays.
// catalogue: K3 K6
#[test]
fn writes_that_only_spread_give_way_to_others() {
    let limits = coordinator::Limits { requests_max: 4, ..coordinator::Limits::default() };
    let mut coordinator = Coordinator::new(NodeId(1), Process(1), limits);
    coordinator.set_alive((1..=3).map(|node| (NodeId(node), LIFE)).collect::<Alive>());
    coordinator.place(placement(), &mut Vec::new());
    let replies = written(&mut coordinator, 1..=10);
    assert!(replies.iter().all(|reply| matches!(reply, coordinator::Reply::Written(_))), "{replies:?}");
    assert_eq!((replies.len(), coordinator.under_way()), (10, 4));
    // Four that nobody answers leave no room for a fifth.
    let (mut out, level) = (Vec::new(), Level { required: 2, sloppy: false });
    for client in 1..=5 {
        coordinator.read(Instant::ZERO, client, blob("k"), level, Repair::Blocking, false, &mut out);
    }
    let busy = coordinator::Output::Reply { client: 5, reply: coordinator::Reply::Busy };
    assert_eq!((out.last(), coordinator.under_way()), (Some(&busy), 4));
}
