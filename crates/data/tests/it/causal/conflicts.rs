//! Conflicts and the decisions on them: the same on every copy, whatever came first, and nothing let go without a word.
// catalogue: J5 J6 J7 J14
// bugs: LL-01, LL-23, ML-07, ML-19

use super::subjects::{blob, word};
use super::world::{Draw, actor};
use data::causal::{
    Amount, Causal, Conflict, ConflictId, Decision, Dot, How, KeyState, Minter, Object, Outcome, Part,
    ShardCopy, Stamp, Step, Store, Unfit, Version, Wish, Write,
};
use data::codec::{Reader, Writer};
use data::leaderless::ConflictPolicy;
use data::table::Seed;
use data::value::Blob;
use data::{Expiry, operation::End};
use std::collections::BTreeSet;

const SEED: Seed = Seed(5, 6);
const KEY: &[u8] = b"price";

struct Node {
    policy: ConflictPolicy,
    copy: ShardCopy,
    minter: Minter,
}

impl Node {
    fn new(at: usize, policy: ConflictPolicy) -> Node {
        Node { policy, copy: ShardCopy::new(SEED), minter: Minter::new(actor(at), 0) }
    }
    fn wish(&mut self, stamp: u64, key: &[u8], wish: &Wish) -> Result<(Step, Outcome), Unfit> {
        let nothing = Object::default();
        let object = self.copy.object(key).unwrap_or(&nothing);
        let mut write = Write::new(&mut self.minter, Stamp(stamp << 16));
        let (delta, outcome) = wish.mint_under(self.policy, None, object, &mut write, 0)?;
        let step = Step::Delta { key: key.into(), delta };
        self.copy.apply(&step);
        Ok((step, outcome))
    }
    fn write(&mut self, stamp: u64, wish: &Wish) -> Step {
        self.wish(stamp, KEY, wish).expect("it fits").0
    }
    fn object(&self) -> Object {
        self.copy.object(KEY).cloned().unwrap_or_default()
    }
    fn shown(&self) -> String {
        match self.object().shown() {
            Some(Part::Text(text)) => text.shown().map_or("none".into(), |text| word(&text)),
            Some(Part::Last(last)) => last.value().map_or("none".into(), |value| word(value)),
            Some(part) => part.kind().name().into(),
            None => "none".into(),
        }
    }
    /// The values of each conflict, the highest first.
    fn conflicts(&self) -> Vec<Vec<String>> {
        self.object().conflicts().iter().map(|conflict| values(&conflict.versions)).collect()
    }
    fn decisions(&self) -> Vec<Decision> {
        let object = self.object();
        object.as_decisions().into_iter().flat_map(|all| all.iter()).map(|(_, it)| it.clone()).collect()
    }
}

fn values(versions: &[data::causal::Version]) -> Vec<String> {
    versions.iter().map(|it| it.value.as_ref().map_or("nothing".into(), |value| word(value))).collect()
}

fn set(value: &str) -> Wish {
    Wish::Set { value: blob(value), expiry: Expiry::Keep }
}

fn settle(conflict: &Conflict, value: &str, by: &str) -> Wish {
    Wish::Settle {
        path: conflict.path.clone(),
        versions: conflict.versions.clone(),
        value: Some(blob(value)),
        by: blob(by),
    }
}

fn pair(policy: ConflictPolicy) -> (Node, Node) {
    (Node::new(0, policy), Node::new(1, policy))
}

/// 100 against 150, on two copies at once: under every policy both show the same, both tell of it under one name, and what
/// replaces them says what it replaced.
// catalogue: J1
fn id_of(path: &[Blob], versions: &[Version]) -> ConflictId {
    ConflictId::new(SEED, KEY, path.iter(), versions.iter().map(|version| version.mark.dot))
}

#[test]
fn price() {
    for policy in ConflictPolicy::ALL {
        let (mut eu, mut us) = pair(policy);
        let (low, high) = (eu.write(7, &set("100")), us.write(9, &set("150")));
        eu.copy.apply(&high);
        us.copy.apply(&low);
        assert_eq!(eu.object(), us.object());
        assert_eq!((eu.shown(), us.shown()), ("150".into(), "150".into()), "{policy:?}");
        assert_eq!(us.conflicts(), [["150", "100"]]);
        let conflict = eu.object().conflicts().remove(0);
        let id = id_of(&conflict.path, &conflict.versions);
        let over = eu.write(20, &set("120"));
        us.copy.apply(&over);
        assert_eq!((us.shown(), us.conflicts().len(), us.decisions().len()), ("120".into(), 0, 1));
        let decision = us.decisions().remove(0);
        assert_eq!(id_of(&decision.path, &decision.versions), id);
        assert_eq!(
            (decision.how, values(&decision.versions)),
            (How::Overwritten, vec!["150".into(), "100".into()])
        );
        assert_eq!(eu.copy.take_news(), [Blob::from(KEY)]);
        // Neither SET nor DEL takes it away, and a reader sees no key.
        let gone = us.write(30, &Wish::Delete);
        eu.copy.apply(&gone);
        assert_eq!((eu.shown(), eu.decisions().len()), ("none".into(), 1));
        let dots = us
            .object()
            .as_decisions()
            .into_iter()
            .flat_map(|it| it.iter())
            .map(|(mark, _)| mark.dot)
            .collect();
        let forgotten = us.write(31, &Wish::Forget { decisions: dots });
        eu.copy.apply(&forgotten);
        assert_eq!((eu.decisions().len(), eu.copy.decision_bytes(), eu.copy.disputed().count()), (0, 0, 0));
        assert_eq!(eu.copy, us.copy);
    }
}

/// A reader that puts copies together, and brings them what they lack, takes no loser away: no copy was there when the two met.
#[test]
fn a_loser_survives_repair() {
    let (mut eu, mut us) = pair(ConflictPolicy::LastWriteWins);
    let low = eu.write(7, &set("100"));
    us.write(9, &set("150"));
    let mut together = eu.copy.state(KEY);
    together.join(&us.copy.state(KEY));
    let KeyState { held, context } = together;
    let repair = Step::Key { entry: data::causal::Entry { key: KEY.into(), held }, theirs: context };
    eu.copy.apply(&repair);
    us.copy.apply(&repair);
    us.copy.apply(&low);
    assert_eq!(us.conflicts(), [["150", "100"]]);
    assert_eq!(eu.object(), us.object());
}

/// Equal stamps: the higher actor wins, everywhere and for whole values. Clocks that are wrong change who wins, and what is told.
// catalogue: J6 J7
#[test]
fn ties_and_wrong_clocks() {
    for stamps in [(9, 9), (10_000, 1), (1, 10_000)] {
        let (mut eu, mut us) = pair(ConflictPolicy::LastWriteWins);
        let (one, two) = (eu.write(stamps.0, &set("one")), us.write(stamps.1, &set("two")));
        eu.copy.apply(&two);
        us.copy.apply(&one);
        let (winner, loser) = if stamps.0 > stamps.1 { ("one", "two") } else { ("two", "one") };
        assert_eq!((eu.shown(), us.shown()), (winner.into(), winner.into()));
        assert_eq!(eu.conflicts(), [[winner, loser]]);
        // A write never loses to what it saw, however far behind its clock is.
        let over = us.write(2, &set("three"));
        eu.copy.apply(&over);
        assert_eq!(eu.shown(), "three");
        assert_eq!(eu.object(), us.object());
    }
}

/// A delete wins and loses like any other write, and so does the sum that an increment writes.
#[test]
fn deletes_and_sums_are_writes() {
    let (mut eu, mut us) = pair(ConflictPolicy::LastWriteWins);
    let first = eu.write(1, &set("5"));
    us.copy.apply(&first);
    let (gone, kept) = (eu.write(9, &Wish::Delete), us.write(7, &set("6")));
    us.copy.apply(&gone);
    eu.copy.apply(&kept);
    assert_eq!((eu.shown(), us.shown()), ("none".into(), "none".into()));
    assert_eq!(eu.conflicts(), [["nothing", "6"]]);
    let (step, outcome) =
        eu.wish(20, KEY, &Wish::Increment { by: Amount::whole(3) }).expect("absent is zero");
    us.copy.apply(&step);
    assert_eq!((outcome, us.shown()), (Outcome::Total(3), "3".into()));
    let (one, two) = (eu.write(30, &Wish::Increment { by: Amount::whole(1) }), us.write(31, &set("9.5")));
    eu.copy.apply(&two);
    us.copy.apply(&one);
    assert_eq!((eu.shown(), eu.conflicts()), ("9.5".into(), vec![vec!["9.5".to_string(), "4".into()]]));
    assert_eq!(eu.wish(40, KEY, &Wish::Increment { by: Amount::whole(1) }).err(), Some(Unfit::NotInteger));
    let half = Amount::float(0.5).expect("finite");
    let (step, outcome) = eu.wish(41, KEY, &Wish::IncrementFloat { by: half }).expect("a number");
    us.copy.apply(&step);
    assert_eq!(outcome, Outcome::Number(10.0));
    // Fields are registers of their own.
    let fields =
        |value: &str| Wish::HashSet { fields: vec![(blob("f"), blob(value)), (blob(value), blob("x"))] };
    let one = eu.wish(50, b"hash", &fields("a")).expect("it fits");
    let two = us.wish(51, b"hash", &fields("b")).expect("it fits");
    assert_eq!((one.1, two.1), (Outcome::Count(2), Outcome::Count(2)));
    eu.copy.apply(&two.0);
    us.copy.apply(&one.0);
    let conflicts = eu.copy.object(b"hash").expect("there").conflicts();
    assert_eq!((conflicts.len(), &conflicts[0].path[..]), (1, &[blob("f")][..]));
    assert_eq!(values(&conflicts[0].versions), ["b", "a"]);
    let step = eu.wish(60, b"hash", &settle(&conflicts[0], "c", "me")).expect("it fits").0;
    us.copy.apply(&step);
    assert!(us.copy.object(b"hash").expect("there").conflicts().is_empty());
    assert_eq!(eu.copy, us.copy);
    // A string under the other policies is taken for what it is.
    let mut text = Node::new(2, ConflictPolicy::Crdt);
    text.write(1, &set("41"));
    text.policy = ConflictPolicy::LastWriteWins;
    assert_eq!(
        text.wish(2, KEY, &Wish::Increment { by: Amount::whole(1) }).map(|it| it.1),
        Ok(Outcome::Total(42))
    );
    assert_eq!((text.shown(), text.conflicts().len()), ("42".into(), 0));
}

/// Writes of one value are no conflict, and are counted apart.
#[test]
fn equal_values_are_no_conflict() {
    for policy in ConflictPolicy::ALL {
        let (mut eu, mut us) = pair(policy);
        eu.write(7, &set("same"));
        us.copy.apply(&Step::Delta { key: KEY.into(), delta: Causal::default() });
        let other = us.write(9, &set("same"));
        eu.copy.apply(&other);
        assert_eq!((eu.conflicts().len(), eu.copy.agreed()), (0, 1), "{policy:?}");
        eu.write(10, &set("new"));
        assert_eq!((eu.decisions().len(), eu.shown()), (0, "new".into()));
    }
}

/// Somebody's word replaces exactly what they saw. Two words at once are a conflict again, of the two of them.
#[test]
fn a_resolution_is_a_write() {
    for policy in ConflictPolicy::ALL {
        let (mut eu, mut us) = pair(policy);
        let (low, high) = (eu.write(7, &set("100")), us.write(9, &set("150")));
        eu.copy.apply(&high);
        us.copy.apply(&low);
        let conflict = eu.object().conflicts().remove(0);
        // A third value that nobody had seen when the word was given.
        let mut ap = Node::new(2, policy);
        let unseen = ap.write(8, &set("130"));
        let (one, two) =
            (eu.write(20, &settle(&conflict, "120", "ann")), us.write(21, &settle(&conflict, "125", "bob")));
        for step in [&two, &unseen] {
            eu.copy.apply(step);
        }
        for step in [&unseen, &one] {
            us.copy.apply(step);
        }
        // Words reach a copy before what they are about.
        for step in [&two, &one, &high, &low] {
            ap.copy.apply(step);
        }
        assert_eq!(eu.object(), us.object());
        assert_eq!(eu.object(), ap.object());
        assert_eq!(eu.conflicts(), [["125", "120", "130"]], "{policy:?}");
        let said: BTreeSet<String> = eu
            .decisions()
            .iter()
            .map(|it| if let How::Resolved { by } = &it.how { word(by) } else { "nobody".into() })
            .collect();
        assert_eq!(said, BTreeSet::from(["ann".into(), "bob".into()]));
        assert!(eu.decisions().iter().all(|it| it.versions == conflict.versions));
        let nothing = Wish::Settle {
            path: Vec::new(),
            versions: eu.object().conflicts().remove(0).versions,
            value: None,
            by: blob("carl"),
        };
        let gone = eu.write(30, &nothing);
        us.copy.apply(&gone);
        assert_eq!((us.shown(), us.conflicts().len(), us.decisions().len()), ("none".into(), 0, 3));
    }
}

/// Values of two types: the string is shown, and somebody keeps the list.
#[test]
fn types_in_conflict() {
    let (mut eu, mut us) = pair(ConflictPolicy::Siblings);
    let push = Wish::ListPush { end: End::Back, elements: vec![blob("x")] };
    let (list, text) = (eu.write(7, &push), us.write(9, &set("v")));
    eu.copy.apply(&text);
    us.copy.apply(&list);
    assert_eq!((eu.shown(), eu.conflicts()), ("v".into(), vec![vec!["v".to_string(), "nothing".into()]]));
    let mut versions = eu.object().conflicts().remove(0).versions;
    versions.remove(1);
    let kept = eu.write(10, &Wish::Settle { path: Vec::new(), versions, value: None, by: blob("me") });
    us.copy.apply(&kept);
    assert_eq!((us.shown(), us.conflicts().len()), ("list".into(), 0));
    let (list, text) = (eu.write(17, &push), us.write(19, &set("v")));
    eu.copy.apply(&text);
    us.copy.apply(&list);
    // The list grew behind the back of a SET that replaced it.
    assert_eq!((eu.shown(), us.conflicts().len()), ("v".into(), 1));
    let conflict = eu.object().conflicts().remove(0);
    let one = eu.write(20, &settle(&conflict, "w", "me"));
    us.copy.apply(&one);
    assert_eq!((us.shown(), us.conflicts().len()), ("w".into(), 0));
}

/// The decisions of one key make room for newer ones, and say how many went.
#[test]
fn decisions_are_bounded() {
    let (mut eu, mut us) = pair(ConflictPolicy::LastWriteWins);
    for n in 0..100 {
        let (one, two) =
            (eu.write(3 * n + 1, &set(&format!("a{n}"))), us.write(3 * n + 2, &set(&format!("b{n}"))));
        eu.copy.apply(&two);
        us.copy.apply(&one);
        let over = eu.write(3 * n + 3, &set(&format!("c{n}")));
        us.copy.apply(&over);
    }
    assert_eq!(eu.decisions().len(), 64);
    assert_eq!(eu.decisions().iter().map(|it| it.dropped).max(), Some(36));
    assert_eq!(eu.copy, us.copy);
    let bytes: usize = eu.decisions().iter().map(Decision::bytes).sum();
    assert_eq!(us.copy.decision_bytes(), bytes as u64);
}

fn draw_wish(draw: &mut Draw, node: &Node, key: &[u8], n: usize) -> Wish {
    let value = n.to_string();
    match draw.below(12) {
        0 | 1 => Wish::Delete,
        2 => Wish::HashSet { fields: vec![(blob("f"), blob(&value))] },
        3 => Wish::Increment { by: Amount::whole(1) },
        4 => Wish::SetAdd { members: vec![blob(&value)] },
        5 | 6 => match node.copy.object(key).map(Object::conflicts).and_then(|it| it.into_iter().next()) {
            Some(conflict) => settle(&conflict, &value, "me"),
            None => set(&value),
        },
        7 => {
            let decisions = node.copy.object(key).and_then(Object::as_decisions);
            let dots = decisions.into_iter().flat_map(|it| it.iter()).map(|(mark, _)| mark.dot).take(1);
            Wish::Forget { decisions: dots.collect() }
        }
        _ => set(&value),
    }
}

/// Random writes on three copies that exchange what they have in any order, twice, or as whole keys: in the end all are equal, in
/// values, decisions and what is counted of them; and a string is gone only by a write that held it.
#[test]
fn copies_agree_on_conflicts() {
    for seed in 0..300 {
        let draw = &mut Draw(seed);
        let policy = ConflictPolicy::ALL[seed as usize % 3];
        let mut nodes: Vec<Node> = (0..3).map(|at| Node::new(at, policy)).collect();
        let mut steps: Vec<Step> = Vec::new();
        for n in 0..40 {
            let at = draw.below(3);
            let key = if draw.below(2) == 0 { &b"j"[..] } else { b"k" };
            let wish = draw_wish(draw, &nodes[at], key, n);
            if let Ok((step, _)) = nodes[at].wish(100 + n as u64 + draw.below(9) as u64, key, &wish) {
                steps.push(step);
            }
            for _ in 0..draw.below(3) {
                if steps.is_empty() {
                    continue;
                }
                let (step, to) = (draw.pick(&steps), draw.below(3));
                nodes[to].copy.apply(&step);
            }
            if draw.below(5) == 0 {
                let KeyState { held, context } = nodes[draw.below(3)].copy.state(key);
                let entry = data::causal::Entry { key: key.into(), held };
                nodes[draw.below(3)].copy.apply(&Step::Key { entry, theirs: context });
            }
        }
        for node in &mut nodes {
            let mut late = steps.clone();
            while !late.is_empty() {
                let step = late.swap_remove(draw.below(late.len()));
                let mut bytes = Vec::new();
                step.encode(&mut Writer::new(&mut bytes));
                let read = Step::decode(&mut Reader::new(&bytes)).expect("what was written");
                assert_eq!(read, step);
                node.copy.apply(&read);
            }
        }
        let (first, rest) = nodes.split_first().expect("three");
        for other in rest {
            assert_eq!(first.copy, other.copy, "seed {seed}");
            assert_eq!(first.copy.tree(), other.copy.tree(), "seed {seed}");
            assert_eq!(first.copy.decision_bytes(), other.copy.decision_bytes(), "seed {seed}");
            let keys = |node: &Node| node.copy.disputed().map(|(key, _)| key.clone()).collect::<Vec<_>>();
            assert_eq!(keys(first), keys(other), "seed {seed}");
        }
        let mut bytes = Vec::new();
        first.copy.encode(&mut Writer::new(&mut bytes));
        let read = ShardCopy::decode(SEED, &bytes).expect("what was written");
        assert_eq!((&read, read.decision_bytes()), (&first.copy, first.copy.decision_bytes()));
        nothing_is_gone_unseen(&steps, &first.copy);
    }
}

fn strings_of(object: &Object) -> Vec<Dot> {
    let texts =
        object.as_text().into_iter().flat_map(|text| text.siblings().iter().map(|(mark, _)| mark.dot));
    let lasts = object.as_last().into_iter().flat_map(|last| last.writes().map(|(mark, _)| mark.dot));
    texts.chain(lasts).collect()
}

fn nothing_is_gone_unseen(steps: &[Step], copy: &ShardCopy) {
    for (at, step) in steps.iter().enumerate() {
        let Step::Delta { key, delta } = step else { continue };
        let held = copy.object(key).map(strings_of).unwrap_or_default();
        for dot in strings_of(&delta.store) {
            let ended = steps.iter().enumerate().any(|(other, step)| {
                matches!(step, Step::Delta { delta, .. } if other != at && delta.context.contains(dot))
            });
            assert!(held.contains(&dot) || ended, "{dot} of {key:?} is gone");
        }
    }
}

#[test]
fn forgetting_is_counted_and_travels() {
    let (mut eu, mut us) = pair(ConflictPolicy::Siblings);
    let (low, high) = (eu.write(7, &set("100")), us.write(9, &set("150")));
    eu.copy.apply(&high);
    us.copy.apply(&low);
    let over = eu.write(20, &set("120"));
    us.copy.apply(&over);
    let decisions =
        us.object().as_decisions().into_iter().flat_map(|it| it.iter()).map(|it| it.0.dot).collect();
    let step = Step::Forget { key: KEY.into(), decisions, dropped: 1 };
    us.copy.apply(&step);
    assert_eq!((us.copy.dropped_decisions(), us.copy.disputed().count()), (1, 0));
    // What one copy let go does not come back from another.
    let KeyState { held, context } = us.copy.state(KEY);
    eu.copy.apply(&Step::Key { entry: data::causal::Entry { key: KEY.into(), held }, theirs: context });
    assert_eq!(eu.decisions().len(), 0);
    assert!(!eu.object().is_bottom());
}
