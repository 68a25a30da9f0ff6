//! The list: everybody sees elements in one order, and what was typed in one go stays together.

use super::history::{Effect, History, Seen, remove, write};
use super::subjects::word;
use super::world::{Draw, Subject, World, actor};
use data::causal::{Causal, List, Minter, Stamp, Store, Write};
use std::collections::{BTreeMap, BTreeSet};

pub struct Sequence;

#[derive(Clone, Debug)]
pub enum SequenceOp {
    /// Before this place, counted modulo what there is.
    Insert(usize),
    PushFront,
    PushBack,
    Remove(usize),
}

/// Place at which an operation inserts into what its user saw.
fn place(op: &SequenceOp, length: usize) -> Option<usize> {
    match op {
        SequenceOp::Insert(at) => Some(at % (length + 1)),
        SequenceOp::PushFront => Some(0),
        SequenceOp::PushBack => Some(length),
        SequenceOp::Remove(_) => None,
    }
}

pub fn values(list: &List) -> Vec<String> {
    list.elements().iter().map(|element| word(element.value)).collect()
}

impl Subject for Sequence {
    type S = List;
    type O = SequenceOp;
    fn alphabet() -> Vec<SequenceOp> {
        vec![SequenceOp::PushFront, SequenceOp::PushBack, SequenceOp::Insert(1), SequenceOp::Remove(0)]
    }
    fn draw(draw: &mut Draw) -> SequenceOp {
        match draw.below(8) {
            0 => SequenceOp::PushFront,
            1..3 => SequenceOp::PushBack,
            3..6 => SequenceOp::Insert(draw.below(50)),
            _ => SequenceOp::Remove(draw.below(50)),
        }
    }
    fn mutate(store: &List, write: &mut Write<'_>, op: &SequenceOp, n: usize) -> Causal<List> {
        let elements = store.elements();
        let value = format!("e{n}");
        match op {
            SequenceOp::Remove(at) => {
                store.remove(elements.get(at % elements.len().max(1)).map(|e| e.mark.dot))
            }
            SequenceOp::PushFront => store.push_front(write, [value.as_bytes()]),
            SequenceOp::PushBack => store.push_back(write, [value.as_bytes()]),
            SequenceOp::Insert(_) => {
                store.insert(write, place(op, elements.len()).unwrap_or(0), [value.as_bytes()])
            }
        }
    }
    fn show(store: &List) -> String {
        values(store).join(" ")
    }
    fn effects(_: &History<SequenceOp>, _: &Seen, op: &SequenceOp, n: usize, before: &str) -> Vec<Effect> {
        let before: Vec<&str> = before.split_whitespace().collect();
        match op {
            SequenceOp::Remove(at) => before
                .get(at % before.len().max(1))
                .map(|value| remove(format!("{value}.")))
                .into_iter()
                .collect(),
            _ => vec![write(format!("e{n}."), "")],
        }
    }
    fn expect(_: &History<SequenceOp>, _: &Seen) -> String {
        unreachable!("judged by its own rule")
    }
    fn judge(history: &History<SequenceOp>, seen: &Seen, store: &List) -> Result<(), String> {
        let shown = values(store);
        let alive = history.alive(seen).writes;
        let places: BTreeMap<&str, usize> =
            shown.iter().enumerate().map(|(at, v)| (v.as_str(), at)).collect();
        if let Some(stray) = shown.iter().find(|value| !alive.contains_key(format!("{value}.").as_str())) {
            return Err(format!("shows {shown:?}, {stray} among them"));
        }
        // What hangs on something that has not arrived is not shown yet.
        let is_closed = seen.iter().all(|event| seen.covers(&history.events[event].saw));
        if is_closed && shown.len() != alive.len() {
            return Err(format!("shows {shown:?} of {:?}", alive.keys()));
        }
        for (n, event) in history.events.iter().enumerate() {
            let (left, right) = neighbours(event);
            let Some(at) = places.get(format!("e{n}").as_str()) else { continue };
            let left = left.and_then(|left| places.get(left));
            let right = right.and_then(|right| places.get(right));
            if left.is_some_and(|left| left > at) || right.is_some_and(|right| right < at) {
                return Err(format!("shows {shown:?}, e{n} not between its neighbours"));
            }
        }
        Ok(())
    }
}

/// Between what the user of an insert saw it go.
fn neighbours(event: &super::history::Event<SequenceOp>) -> (Option<&str>, Option<&str>) {
    let before: Vec<&str> = event.before.split_whitespace().collect();
    match place(&event.operation, before.len()) {
        Some(at) => (at.checked_sub(1).map(|at| before[at]), before.get(at).copied()),
        None => (None, None),
    }
}

/// There is one order of all elements ever, removed ones too, and nobody ever saw another; in it, what was inserted
/// behind an element, and behind that, follows the element without a stranger in between.
///
/// Sources: the strong list specification of Attiya, Burckhardt, Gotsman, Morrison, Yang, Zawirski (PODC 2016);
/// forward non-interleaving of Weidner and Kleppmann (2023): the list is a walk of the tree of left neighbours.
#[test]
fn one_order_for_ever_and_no_interleaving() {
    for seed in 0..150 {
        let mut draw = Draw(seed);
        let mut world = World::<Sequence>::new(&[1_000, 1_000, 1_000]);
        for _ in 0..4 + seed as usize / 3 {
            let at = draw.below(3);
            let pending: Vec<usize> =
                (0..world.deltas.len()).filter(|event| !world.replicas[at].seen.contains(*event)).collect();
            // Here in order: an element's neighbours are there before it.
            for event in pending {
                let saw = world.history.events[event].saw;
                if draw.below(3) > 0 && world.replicas[at].seen.covers(&saw) {
                    world.deliver(event, at).expect("delivered");
                }
            }
            world.act(at, Sequence::draw(&mut draw)).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        }
        // All inserts and no removes: the order of everything.
        let mut all = Causal::<List>::new();
        for (event, delta) in world.history.events.iter().zip(&world.deltas) {
            if place(&event.operation, 0).is_some() {
                all.merge(delta);
            }
        }
        let order = values(&all.store);
        let rank: BTreeMap<&str, usize> = order.iter().enumerate().map(|(at, v)| (v.as_str(), at)).collect();
        for event in &world.history.events {
            let saw: Vec<usize> = event.before.split_whitespace().map(|value| rank[value]).collect();
            assert!(saw.is_sorted(), "seed {seed}: saw {} of {order:?}", event.before);
        }
        stays_together(&world.history, &order)
            .unwrap_or_else(|what| panic!("seed {seed}: {what}\n{}", world.story()));
    }
}

/// What was put behind an element, and behind that, follows it without a stranger in between.
fn stays_together(history: &History<SequenceOp>, order: &[String]) -> Result<(), String> {
    let rank: BTreeMap<&str, usize> = order.iter().enumerate().map(|(at, v)| (v.as_str(), at)).collect();
    let names: Vec<String> = (0..history.events.len()).map(|n| format!("e{n}")).collect();
    for (head, first) in names.iter().enumerate().filter(|(_, name)| rank.contains_key(name.as_str())) {
        let mut family = BTreeSet::from([first.as_str()]);
        for (n, event) in history.events.iter().enumerate() {
            if neighbours(event).0.is_some_and(|behind| family.contains(behind)) {
                family.insert(&names[n]);
            }
        }
        let places: BTreeSet<usize> = family.iter().map(|member| rank[member]).collect();
        let last = places.last().copied().unwrap_or(0);
        if places.first() != Some(&rank[first.as_str()]) {
            return Err(format!("{first} stands before what was put behind it"));
        }
        for stranger in (rank[first.as_str()]..=last).filter(|at| !places.contains(at)).map(|at| &order[at]) {
            let n = names.iter().position(|name| name == stranger).unwrap_or(0);
            let event = &history.events[n];
            // Whoever saw the first one removed put nothing behind it, and may have put something beside its family.
            if !event.saw.contains(head) || event.before.split_whitespace().any(|value| value == first) {
                return Err(format!("{stranger} amid {family:?} in {order:?}"));
            }
        }
    }
    Ok(())
}

/// The check above is none if it passes what a list without a tree makes of two paragraphs.
#[test]
fn an_interleaved_order_is_noticed() {
    let mut world = World::<Sequence>::new(&[1_000, 1_000, 1_000]);
    for _ in 0..3 {
        world.act(0, SequenceOp::PushBack).expect("pushed");
        world.act(1, SequenceOp::PushBack).expect("pushed");
    }
    let order = |order: &[usize]| order.iter().map(|n| format!("e{n}")).collect::<Vec<_>>();
    assert_eq!(stays_together(&world.history, &order(&[0, 2, 4, 1, 3, 5])), Ok(()));
    assert!(stays_together(&world.history, &order(&[0, 1, 2, 3, 4, 5])).is_err());
    assert!(stays_together(&world.history, &order(&[0, 2, 1, 3, 5, 4])).is_err());
}

/// One replica's pushes to one end, a push per word.
fn run(list: &List, replica: usize, words: &str, is_front: bool) -> Causal<List> {
    let mut minter = Minter::new(actor(replica), 100 * replica as u64);
    let mut state = Causal { store: list.clone(), context: Default::default() };
    let mut sum = Causal::new();
    for value in words.split_whitespace() {
        let mut write = Write::new(&mut minter, Stamp(1));
        let delta = match is_front {
            true => state.store.push_front(&mut write, [value.as_bytes()]),
            false => state.store.push_back(&mut write, [value.as_bytes()]),
        };
        state.merge(&delta);
        sum.merge(&delta);
    }
    sum
}

/// Two paragraphs typed at one place at one time.
// Guards against ML-21.
#[test]
fn concurrent_runs_stand_one_behind_the_other() {
    for base in ["", "x y"] {
        let base = run(&List::default(), 0, base, false);
        for (one_front, two_front) in [(false, false), (true, true), (false, true), (true, false)] {
            let mut all = base.clone();
            all.merge(&run(&base.store, 1, "a1 a2 a3", one_front));
            all.merge(&run(&base.store, 2, "b1 b2 b3", two_front));
            let shown = values(&all.store);
            for letter in ["a", "b"] {
                let places: Vec<usize> =
                    (0..shown.len()).filter(|at| shown[*at].starts_with(letter)).collect();
                assert!(places.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{shown:?}");
            }
        }
    }
}

/// LPUSH a b c leaves c first; LINSERT of a run keeps its order; what is removed leaves its neighbours where they
/// are.
#[test]
fn pushes_and_inserts_like_redis() {
    let mut minter = Minter::new(actor(0), 0);
    let mut state = Causal::<List>::new();
    let mut write = Write::new(&mut minter, Stamp(1));
    state.merge(&state.store.push_front(&mut write, [&b"a"[..], b"b", b"c"]));
    state.merge(&state.store.push_back(&mut write, [&b"y"[..], b"z"]));
    assert_eq!(values(&state.store), ["c", "b", "a", "y", "z"]);
    state.merge(&state.store.insert(&mut write, 3, [&b"1"[..], b"2"]));
    assert_eq!(values(&state.store), ["c", "b", "a", "1", "2", "y", "z"]);
    let gone: Vec<_> = state.store.elements()[1..4].iter().map(|element| element.mark.dot).collect();
    state.merge(&state.store.remove(gone));
    assert_eq!(values(&state.store), ["c", "2", "y", "z"]);
    state.merge(&state.store.insert(&mut write, 1, [&b"!"[..]]));
    assert_eq!(values(&state.store), ["c", "!", "2", "y", "z"]);
    state.merge(&state.store.clear(&mut write));
    assert!(!state.store.is_alive() && !state.store.is_bottom());
    state.merge(&state.store.push_back(&mut write, [&b"new"[..]]));
    assert_eq!(values(&state.store), ["new"]);
}
