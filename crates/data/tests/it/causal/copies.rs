//! A copy of a shard: the tree is the one of the data after every step, walks take contexts over without bringing
//! anything back, and what is recent goes when everybody knows it.
// catalogue: K14
// bugs: LL-05, LL-06, LL-17, LL-19, LL-20, LL-21

use super::keys::{Key, KeyOp};
use super::world::{Draw, Subject, actor};
use data::causal::{
    Causal, Context, Dot, Entry, Held, Minter, Object, Range, ShardCopy, Span, Stamp, Step, Write,
};
use data::codec::{Reader, Writer};
use data::table::Seed;
use std::collections::BTreeSet;

const SEED: Seed = Seed(7, 9);
const NAMES: [&str; 4] = ["j", "k", "l", "m"];

fn delta(key: &str, delta: Causal<Object>) -> Step {
    Step::Delta { key: key.as_bytes().into(), delta }
}

struct Author {
    copy: ShardCopy,
    minter: Minter,
    stamp: u64,
}

impl Author {
    fn new(replica: usize) -> Author {
        Author { copy: ShardCopy::new(SEED), minter: Minter::new(actor(replica), 0), stamp: 0 }
    }
    fn write(&mut self, key: &str, operation: &KeyOp, n: usize) -> Step {
        self.stamp += 1;
        let mut write = Write::new(&mut self.minter, Stamp(self.stamp));
        let nothing = Object::default();
        let object = self.copy.object(key.as_bytes()).unwrap_or(&nothing);
        let step = delta(key, Key::mutate(object, &mut write, operation, n));
        self.copy.apply(&step);
        step
    }
}

fn entries(copy: &ShardCopy, span: Span) -> Vec<Entry> {
    copy.entries(span).map(|(_, key, held)| Entry { key: key.clone(), held: held.clone() }).collect()
}

/// The same keys put into a new tree one by one.
fn check_tree(copy: &ShardCopy) {
    let mut anew = ShardCopy::new(SEED);
    for Entry { key, held } in entries(copy, Span::WHOLE) {
        let held = Held { recent: Context::new(), ..held };
        anew.apply(&Step::Key { entry: Entry { key, held }, theirs: Context::new() });
    }
    assert_eq!(copy.tree(), anew.tree());
    let alive = copy.entries(Span::WHOLE).filter(|(.., held)| held.object.is_shown(i64::MIN));
    assert_eq!(copy.alive(), alive.count() as u64);
}

/// Walks over a copy as a replica does, and lets `meanwhile` happen between its spans.
fn walk(walker: &mut ShardCopy, over: &ShardCopy, mut meanwhile: impl FnMut(&mut ShardCopy)) {
    walker.apply(&Step::Begin { theirs: over.context().clone() });
    for range in Range::WHOLE.children() {
        let span = range.span();
        let theirs = over.context().clone();
        walker.apply(&Step::Span { span, entries: entries(over, span), theirs });
        walker.apply(&Step::Pass { span });
        meanwhile(walker);
    }
    walker.apply(&Step::Finish);
}

/// Random runs of three copies: deltas in any order and number, single keys, walks with old deltas in between.
#[test]
fn copies_converge_and_the_tree_goes_with_the_data() {
    for seed in 0..120 {
        let mut draw = Draw(seed);
        let mut authors: Vec<Author> = (0..3).map(Author::new).collect();
        let mut steps: Vec<Step> = Vec::new();
        for n in 0..50 {
            let at = draw.below(3);
            let other = (at + 1 + draw.below(2)) % 3;
            match draw.below(8) {
                0..4 => {
                    let step = authors[at].write(draw.pick(&NAMES), &Key::draw(&mut draw), n);
                    steps.push(step);
                }
                4 | 5 if !steps.is_empty() => {
                    let step = draw.pick(&steps);
                    authors[at].copy.apply(&step);
                }
                6 => {
                    let key = draw.pick(&NAMES);
                    let state = authors[other].copy.state(key.as_bytes());
                    let entry = Entry { key: key.as_bytes().into(), held: state.held };
                    authors[at].copy.apply(&Step::Key { entry, theirs: state.context });
                }
                _ => {
                    let over = authors[other].copy.clone();
                    walk(&mut authors[at].copy, &over, |copy| {
                        if !steps.is_empty() {
                            copy.apply(&draw.pick(&steps));
                        }
                    });
                    assert!(authors[at].copy.context().covers(over.context()));
                }
            }
            authors.iter().for_each(|author| check_tree(&author.copy));
        }
        // Each walks over each: all are equal, whatever came when.
        for _ in 0..2 {
            for (at, other) in [(0, 1), (1, 2), (2, 0), (0, 2), (1, 0), (2, 1)] {
                let over = authors[other].copy.clone();
                walk(&mut authors[at].copy, &over, |_| {});
            }
        }
        let all: Context = authors[0].copy.context().clone();
        for author in &mut authors {
            // An old delta, and an older copy, bring nothing back.
            steps.iter().for_each(|step| {
                author.copy.apply(step);
            });
            author.copy.settle(&all);
            assert_eq!(author.copy.unsettled(), 0);
        }
        for author in &authors {
            assert!(author.copy == authors[0].copy, "seed {seed}");
            assert_eq!(author.copy.tree().whole(), authors[0].copy.tree().whole());
        }
    }
}

/// A copy that hears of the removed value last, and of the walk that removed it in between.
#[test]
fn a_late_delta_behind_a_walk_brings_nothing_back() {
    let (mut a, mut c) = (Author::new(0), Author::new(2));
    let set = a.write("k", &KeyOp::Set("10", data::Expiry::Never), 0);
    a.write("k", &KeyOp::Delete, 1);
    let over = a.copy.clone();
    walk(&mut c.copy, &over, |copy| {
        copy.apply(&set);
    });
    c.copy.apply(&set);
    assert_eq!(c.copy.len(), 0);
    assert!(c.copy.context().covers(a.copy.context()));
}

/// What a walk that was cut off had passed proves nothing.
#[test]
fn a_walk_without_an_end_takes_no_context() {
    let (mut a, mut c) = (Author::new(0), Author::new(2));
    a.write("k", &KeyOp::Set("10", data::Expiry::Never), 0);
    let over = a.copy.clone();
    let mut children: Vec<Range> = Range::WHOLE.children().collect();
    // All but the range of the key.
    children.retain(|range| !range.span().contains(over.place(b"k")));
    c.copy.apply(&Step::Begin { theirs: over.context().clone() });
    children.iter().for_each(|range| {
        c.copy.apply(&Step::Pass { span: range.span() });
    });
    let cut_off = c.copy.clone();
    for end in [Step::Finish, Step::Abandon] {
        let mut copy = cut_off.clone();
        copy.apply(&end);
        assert!(copy.context().is_empty(), "{end:?}");
    }
}

/// A deleted key is a stub until everybody knows, and then nothing.
#[test]
fn what_is_recent_goes_when_all_cover_it() {
    let mut a = Author::new(0);
    a.write("k", &KeyOp::Set("10", data::Expiry::Never), 0);
    a.write("k", &KeyOp::Delete, 1);
    assert_eq!((a.copy.len(), a.copy.unsettled()), (0, 1));
    a.copy.settle(&Context::new());
    assert_eq!(a.copy.unsettled(), 1);
    let all = a.copy.context().clone();
    a.copy.settle(&all);
    assert_eq!(a.copy.unsettled(), 0);
    assert_eq!(a.copy.entries(Span::WHOLE).count(), 0, "no tombstone is left");
    // Its own memory is the context: the old write stays out.
    assert!(a.copy.context().contains(Dot { actor: actor(0), counter: 1 }));
}

/// Two keys with equal values, or one with another value: the sums tell.
#[test]
fn equal_entries_do_not_cancel_and_values_count() {
    let mut sums = BTreeSet::new();
    let mut a = Author::new(0);
    for (n, key) in ["k", "l", "m"].into_iter().enumerate() {
        a.write(key, &KeyOp::Set("10", data::Expiry::Never), n);
        assert!(sums.insert(a.copy.tree().whole().sum));
    }
    a.write("k", &KeyOp::Set("20", data::Expiry::Never), 3);
    assert!(sums.insert(a.copy.tree().whole().sum), "another value under the same key");
    a.write("k", &KeyOp::Set("20", data::Expiry::Never), 4);
    assert!(sums.insert(a.copy.tree().whole().sum), "the same value under another dot");
    for key in ["k", "l", "m"] {
        a.write(key, &KeyOp::Delete, 5);
    }
    assert_eq!(a.copy.tree(), ShardCopy::new(SEED).tree(), "an empty tree has no branches");
}

fn grown(seed: u64) -> (ShardCopy, Vec<Step>) {
    let mut draw = Draw(seed);
    let mut authors: Vec<Author> = (0..2).map(Author::new).collect();
    let mut steps = Vec::new();
    for n in 0..20 {
        let at = draw.below(2);
        let step = authors[at].write(draw.pick(&NAMES), &Key::draw(&mut draw), n);
        authors[1 - at].copy.apply(&step);
        steps.push(step);
    }
    let copy = authors.remove(0).copy;
    let (theirs, span) = (copy.context().clone(), Span { first: 5, last: u64::MAX });
    let held = entries(&copy, Span::WHOLE);
    steps.push(Step::Key { entry: held[0].clone(), theirs: theirs.clone() });
    steps.push(Step::Span { span, entries: held, theirs: theirs.clone() });
    steps.extend([Step::Take { theirs: theirs.clone() }, Step::Begin { theirs }, Step::Pass { span }]);
    steps.extend([Step::Finish, Step::Abandon]);
    (copy, steps)
}

/// Steps and whole copies survive the round trip; cut or damaged they are refused or become something else that a
/// writer could have made, and never panic.
#[test]
fn encoded_steps_and_copies() {
    for seed in 0..10 {
        let (copy, steps) = grown(seed);
        let mut bytes = Vec::new();
        copy.encode(&mut Writer::new(&mut bytes));
        let read = ShardCopy::decode(SEED, &bytes).expect("its own");
        assert!(read == copy && read.tree() == copy.tree() && read.newest() >= copy.newest());
        assert_eq!(read.unsettled(), copy.unsettled());
        for at in 0..bytes.len() {
            assert!(ShardCopy::decode(SEED, &bytes[..at]).is_err());
            let mut damaged = bytes.clone();
            damaged[at] = damaged[at].wrapping_add(1 + seed as u8);
            let _ = ShardCopy::decode(SEED, &damaged);
        }
        for step in steps {
            let mut bytes = Vec::new();
            step.encode(&mut Writer::new(&mut bytes));
            assert_eq!(Step::decode(&mut Reader::new(&bytes)), Ok(step));
            for at in 0..bytes.len() {
                assert!(Step::decode(&mut Reader::new(&bytes[..at])).is_err(), "cut at {at}");
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                if let Ok(step) = Step::decode(&mut Reader::new(&damaged)) {
                    copy.clone().apply(&step);
                }
            }
        }
    }
}

/// Ranges cover all places once, and none other is read.
#[test]
fn ranges_divide_the_places() {
    let mut at = Range::WHOLE;
    while !at.is_leaf() {
        let spans: Vec<Span> = at.children().map(Range::span).collect();
        assert_eq!((spans[0].first, spans[15].last), (at.span().first, at.span().last));
        assert!(spans.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
        at = at.children().nth(11).expect("sixteen");
        assert_eq!(at.span(), spans[11]);
        let mut bytes = Vec::new();
        at.encode(&mut Writer::new(&mut bytes));
        assert_eq!(Range::decode(&mut Reader::new(&bytes)), Ok(at));
    }
    assert_eq!(Range::leaf_of(at.span().last), at);
    for bytes in [[5, 0, 0, 0, 0], [4, 0, 0, 1, 0], [0, 1, 0, 0, 0], [1, 16, 0, 0, 0]] {
        assert!(Range::decode(&mut Reader::new(&bytes)).is_err());
    }
}

/// What both include, and what is left without another: as sets of dots.
#[test]
fn contexts_meet_and_part_as_sets() {
    for seed in 0..400 {
        let mut draw = Draw(seed);
        let mut sets = [BTreeSet::new(), BTreeSet::new()];
        let mut contexts = [Context::new(), Context::new()];
        for _ in 0..draw.below(14) {
            let (which, at) = (draw.below(2), draw.below(2));
            let first = 1 + draw.below(20) as u64;
            let last = first + draw.below(5) as u64;
            contexts[which].insert_range(actor(at), first, last);
            sets[which].extend((first..=last).map(|counter| Dot { actor: actor(at), counter }));
        }
        let met: Context = sets[0].intersection(&sets[1]).copied().collect();
        assert_eq!(contexts[0].meet(&contexts[1]), met, "seed {seed}");
        assert_eq!(contexts[1].meet(&contexts[0]), met, "seed {seed}");
        let rest: Context = sets[0].difference(&sets[1]).copied().collect();
        let mut left = contexts[0].clone();
        left.remove(&contexts[1]);
        assert_eq!(left, rest, "seed {seed}");
        let few = draw.below(4);
        left.keep_newest(few);
        assert!(left.ranges().count() <= few && rest.covers(&left));
    }
}
