//! What a walk over a copy costs: one key in a million, and where it stops.
// catalogue: K14 K15

use data::causal::{Actor, Amount, Minter, Object, Range, ShardCopy, Stamp, Step, Wish, Write};
use data::table::Seed;
use data::{Expiry, GroupId, Incarnation, Instant, NodeId, Now, Process, RequestId, WallInterval};
use protocol::leaderless::{Durable, Life, Limits, Message, Output, Placement, Replica, Report, Tally};
use std::collections::VecDeque;

/// Two replicas without network or disk: what is said arrives, what is written is durable.
struct Pair {
    replicas: [Replica; 2],
    now_ms: u64,
    /// Encoded bytes are not counted; keys are.
    messages: u64,
    largest: usize,
    /// Keys that the walker sent, and that it was answered.
    sent: usize,
    answered: usize,
    requests: u64,
}

/// A copy with so many keys, written by an actor that neither of the two is.
fn filled(count: u64) -> ShardCopy {
    let mut copy = ShardCopy::new(Seed(3, 4));
    let author = Actor { node: NodeId(9), incarnation: Incarnation(1), shard: GroupId(1) };
    let mut minter = Minter::new(author, 0);
    for number in 0..count {
        let mut write = Write::new(&mut minter, Stamp(number + 1));
        let delta = Object::default().set(&mut write, 0, b"12345", Expiry::Keep);
        copy.apply(&Step::Delta { key: name(number), delta });
        if number % 1_000 == 999 {
            // As if everybody knew.
            let all = copy.context().clone();
            copy.settle(&all);
        }
    }
    copy
}

fn name(number: u64) -> Box<[u8]> {
    format!("key:{number}").as_bytes().into()
}

fn node(at: usize) -> NodeId {
    NodeId(at as u32 + 1)
}

impl Pair {
    fn new(copy: ShardCopy) -> Pair {
        let placement = Placement {
            ring: 1,
            replicas: vec![node(0), node(1)],
            stand_ins: vec![],
            ..Placement::default()
        };
        let replicas = [0, 1].map(|at| {
            let life =
                Life { node: node(at), incarnation: Incarnation(1), process: Process(1), shard: GroupId(1) };
            let mut durable = Durable::new(Seed(3, 4), true);
            durable.copy = copy.clone();
            let mut replica = Replica::new(life, Limits::default(), durable, &mut Vec::new());
            replica.persisted(u64::MAX, &mut Vec::new());
            replica.place(placement.clone(), &mut Vec::new());
            replica.set_alive([node(0), node(1)].into());
            replica
        });
        Pair { replicas, now_ms: 1_000, messages: 0, largest: 0, sent: 0, answered: 0, requests: 0 }
    }
    fn now(&self) -> Now {
        let ms = self.now_ms as i64;
        let wall = WallInterval { earliest_ms: ms, latest_ms: ms };
        Now { instant: Instant::from_millis(self.now_ms), wall }
    }
    /// A write that only some of the replicas take.
    fn write(&mut self, number: u64, takers: &[usize]) {
        self.ask(number, takers, Wish::Increment { by: Amount::whole(1) });
    }
    /// A delete that only one of them takes.
    fn delete(&mut self, number: u64, taker: usize) {
        self.ask(number, &[taker], Wish::Delete);
    }
    fn ask(&mut self, number: u64, takers: &[usize], wish: Wish) {
        self.requests += 1;
        let key = name(number);
        let request = RequestId { origin: node(0), process: Process(1), sequence: self.requests };
        let wish = Box::new(wish);
        let (now, life) = (self.now(), Incarnation(1));
        let mint = Message::Mint { request, life, key: key.clone(), wish, seen: None };
        let mut out = Vec::new();
        self.replicas[takers[0]].receive(now, node(0), life, mint, &mut out);
        let delta = out.into_iter().find_map(|output| match output {
            Output::Send { message: Message::Minted { delta, .. }, .. } => Some(delta),
            _ => None,
        });
        let delta = delta.expect("minted");
        for taker in &takers[1..] {
            let apply = Message::Apply { request, key: key.clone(), delta: delta.clone(), stands_for: None };
            self.replicas[*taker].receive(now, node(0), life, apply, &mut Vec::new());
        }
    }
    /// Lets the second replica walk over the first.
    fn walk(&mut self) -> Tally {
        self.now_ms += 60_000;
        let now = self.now();
        let mut out = Vec::new();
        self.replicas[1].tick(now, &mut out);
        let mut queue: VecDeque<(usize, Output)> = out.into_iter().map(|output| (1, output)).collect();
        while let Some((at, output)) = queue.pop_front() {
            match output {
                Output::Send { to, message } => {
                    self.messages += 1;
                    let (sent, answered) = match &message {
                        Message::WalkSpan { entries, .. } => (entries.len(), 0),
                        Message::WalkBack { entries, .. } => (0, entries.len()),
                        _ => (0, 0),
                    };
                    self.largest = self.largest.max(sent).max(answered);
                    (self.sent, self.answered) = (self.sent + sent, self.answered + answered);
                    let mut out = Vec::new();
                    let to = to.0 as usize - 1;
                    self.replicas[to].receive(now, node(at), Incarnation(1), message, &mut out);
                    queue.extend(out.into_iter().map(|output| (to, output)));
                }
                Output::Report(Report::Walked { tally, .. }) => return tally,
                _ => {}
            }
        }
        panic!("the walk did not end");
    }
    fn are_equal(&self) -> bool {
        let [one, other] = [0, 1].map(|at| &self.replicas[at].durable().copy);
        one.tree().children(Range::WHOLE) == other.tree().children(Range::WHOLE)
            && one.context() == other.context()
    }
}

/// A million keys, one of which differs: four levels of sixteen sums, then the dozen keys of one leaf.
#[test]
fn one_divergent_key_in_a_million_is_found_with_64_sums() {
    let mut pair = Pair::new(filled(1_000_000));
    let equal = pair.walk();
    assert_eq!((equal.hashes, equal.spans), (16, 0), "equal copies compare sixteen sums");
    pair.write(1_234, &[0]);
    assert!(!pair.are_equal());
    let tally = pair.walk();
    println!("one of a million: {tally:?}");
    assert!(tally.hashes <= 4 * 16, "depth times fan-out: {tally:?}");
    assert_eq!(tally.spans, 1, "one leaf is exchanged");
    assert!((1..60).contains(&tally.keys), "its keys and no others: {tally:?}");
    assert!(pair.are_equal());
}

/// What is exchanged grows with the difference and not with the data, and in parts of a bounded size.
#[test]
fn what_moves_is_what_differs() {
    for different in [10, 100, 1_000] {
        let mut pair = Pair::new(filled(50_000));
        (0..different).for_each(|number| pair.write(number * 7, &[0]));
        let tally = pair.walk();
        println!("{different} of 50,000: {tally:?}, {} messages", pair.messages);
        assert!(tally.spans <= different && tally.keys <= different * 12, "{tally:?}");
        assert!(pair.are_equal());
    }
}

/// A copy that has nothing takes everything, in parts.
#[test]
fn an_empty_copy_is_filled() {
    let mut pair = Pair::new(filled(0));
    (0..20_000).for_each(|number| pair.write(number, &[0]));
    let tally = pair.walk();
    assert_eq!(tally.keys, 20_000);
    assert!(pair.are_equal() && pair.largest < 10_000, "{} keys in one message", pair.largest);
    assert_eq!(pair.replicas[1].durable().copy.context(), pair.replicas[0].durable().copy.context());
}

/// Where much differs, what goes together goes in one message: walks that took one leaf at a time spent their time on round trips.
#[test]
fn what_differs_everywhere_takes_few_messages() {
    const KEYS: u64 = 50_000;
    let mut overwritten = Pair::new(filled(KEYS));
    (0..KEYS).for_each(|number| overwritten.write(number, &[0]));
    let tally = overwritten.walk();
    println!("all of {KEYS} overwritten: {tally:?}, {} messages", overwritten.messages);
    assert!(overwritten.are_equal());
    assert_eq!(tally.keys, KEYS);
    assert!(overwritten.messages < KEYS / 20, "{} messages", overwritten.messages);
    let mut absent = Pair::new(filled(0));
    (0..KEYS).for_each(|number| absent.write(number, &[0]));
    let tally = absent.walk();
    println!("{KEYS} missed: {tally:?}, {} messages", absent.messages);
    assert!(absent.are_equal());
    assert!(absent.messages < KEYS / 100, "{} messages", absent.messages);
    assert!(absent.largest < 10_000, "{} keys in one message", absent.largest);
}

/// Versions that the other copy has newer ones of are not sent: that made repair move twice as much as differs.
#[test]
fn a_copy_that_was_away_takes_and_sends_nothing() {
    const KEYS: u64 = 10_000;
    let mut pair = Pair::new(filled(KEYS));
    (0..KEYS).for_each(|number| pair.write(number, &[0]));
    pair.walk();
    assert!(pair.are_equal());
    assert_eq!((pair.sent, pair.answered), (0, KEYS as usize));
}

/// What a copy was just sent does not come back.
#[test]
fn a_copy_that_is_ahead_sends_and_is_answered_nothing() {
    const KEYS: u64 = 10_000;
    let mut pair = Pair::new(filled(KEYS));
    (0..KEYS).for_each(|number| pair.write(number, &[1]));
    pair.walk();
    assert!(pair.are_equal());
    assert_eq!((pair.sent, pair.answered), (KEYS as usize, 0));
}

/// Where both have something new both learn of it in one walk.
#[test]
fn copies_that_both_have_news_exchange_them() {
    let mut pair = Pair::new(filled(10_000));
    (0..2_000).for_each(|number| pair.write(number, &[number as usize % 2]));
    pair.walk();
    assert!(pair.are_equal());
    assert!(pair.sent > 1_000 && pair.answered > 1_000, "{} {}", pair.sent, pair.answered);
}

/// A delete makes no dot: contexts say nothing of it, and whoever walks learns of it all the same.
#[test]
fn a_delete_that_the_walker_missed_arrives() {
    for (holder, news) in [(0, None), (0, Some(0)), (0, Some(1)), (1, None), (1, Some(0)), (1, Some(1))] {
        let mut pair = Pair::new(filled(1_000));
        pair.delete(5, holder);
        news.into_iter().for_each(|at| pair.write(700, &[at]));
        pair.walk();
        let has = |at: usize| {
            let object = pair.replicas[at].durable().copy.object(&name(5));
            object.is_some_and(|object| object.shown().is_some())
        };
        assert!(!has(1), "the walker holds what {holder} deleted, with news at {news:?}");
    }
}
