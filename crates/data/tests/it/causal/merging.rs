//! A function shows readers one value and changes nothing that is kept.
// catalogue: J13
// bugs: ML-15, ML-16, ML-19

use super::subjects::{blob, word};
use super::world::actor;
use data::causal::{
    Amount, Given, MergeEngine, Merged, Merging, Minter, Object, Outcome, ShardCopy, Stamp, Step, Unfit,
    Wish, Write,
};
use data::leaderless::ConflictPolicy;
use data::table::Seed;
use data::{Expiry, value::Blob};

const KEY: &[u8] = b"price";

/// Knows its functions by name.
#[derive(Debug)]
struct Named;

impl MergeEngine for Named {
    fn accept(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
    fn merge(&self, function: &str, one: Given<'_>, other: Given<'_>) -> Result<Vec<u8>, String> {
        match function {
            "least" => Ok(one.value.min(other.value).into()),
            "greatest" => Ok(one.value.max(other.value).into()),
            "earliest" => Ok(if one.time_ms <= other.time_ms { one.value } else { other.value }.into()),
            "both" => Ok([one.value, b"+", other.value].concat()),
            _ => Err("it failed".into()),
        }
    }
}

fn by(function: &str) -> Merging {
    Merging { engine: &Named, function: function.into() }
}

struct Copy {
    copy: ShardCopy,
    minter: Minter,
    merging: Merging,
}

impl Copy {
    fn new(at: usize, function: &str) -> Copy {
        Copy { copy: ShardCopy::new(Seed(5, 6)), minter: Minter::new(actor(at), 0), merging: by(function) }
    }
    fn object(&self) -> Object {
        self.copy.object(KEY).cloned().unwrap_or_default()
    }
    fn wish(&mut self, stamp: u64, wish: &Wish) -> Result<(Step, Outcome), Unfit> {
        let mut write = Write::new(&mut self.minter, Stamp(stamp << 16));
        let nothing = Object::default();
        let object = self.copy.object(KEY).unwrap_or(&nothing);
        let (delta, outcome) =
            wish.mint_under(ConflictPolicy::Merge, Some(&self.merging), object, &mut write, 0)?;
        let step = Step::Delta { key: KEY.into(), delta };
        self.copy.apply(&step);
        Ok((step, outcome))
    }
    fn write(&mut self, stamp: u64, wish: &Wish) -> Step {
        self.wish(stamp, wish).expect("it fits").0
    }
    fn shown(&self) -> (String, Merged) {
        let mut count = Merged::default();
        let object = self.object();
        let merged = object.merged(&self.merging, &mut count);
        (merged.as_text().and_then(|text| text.shown()).map_or("none".into(), |text| word(&text)), count)
    }
}

fn set(value: &str) -> Wish {
    Wish::Set { value: blob(value), expiry: Expiry::Keep }
}

/// Copies that wrote these values at once, one each, and heard of each other.
fn met(functions: [&str; 3], values: [&str; 3]) -> [Copy; 3] {
    let mut copies = [0, 1, 2].map(|at| Copy::new(at, functions[at]));
    let steps = [0, 1, 2].map(|at| copies[at].write(7 + at as u64, &set(values[at])));
    for copy in &mut copies {
        for step in &steps {
            copy.copy.apply(step);
        }
    }
    copies
}

const DONE: Merged = Merged { done: 1, failed: 0 };
const FAILED: Merged = Merged { done: 0, failed: 1 };

/// Whatever functions nodes know, and wherever one fails: what they hold is equal, and so is what the next write ends.
#[test]
fn copies_are_equal_whatever_their_functions_do() {
    let mut copies = met(["least", "greatest", "none"], ["b", "c", "a"]);
    let before = copies[0].object();
    assert_eq!(copies[0].shown(), ("a".into(), DONE));
    assert_eq!(copies[1].shown(), ("c".into(), DONE));
    assert_eq!(copies[2].shown(), ("a".into(), FAILED), "the highest mark");
    assert!(copies.iter().all(|copy| copy.object() == before), "nothing was written");
    let over = copies[1].write(20, &set("d"));
    copies[0].copy.apply(&over);
    copies[2].copy.apply(&over);
    assert!(copies.iter().all(|copy| copy.shown() == ("d".into(), Merged::default())));
    assert!(copies.iter().all(|copy| copy.object() == copies[0].object()));
}

/// The order of arrival says nothing: versions are taken in the order of their marks, even by a function that it matters to.
#[test]
fn every_copy_merges_in_one_order() {
    let copies = met(["both"; 3], ["x", "y", "z"]);
    let mut late = Copy::new(2, "both");
    for at in [2, 0, 1] {
        let step = Copy::new(at, "both").write(7 + at as u64, &set(["x", "y", "z"][at]));
        late.copy.apply(&step);
    }
    assert!(copies.iter().chain([&late]).all(|copy| copy.shown() == ("x+y+z".into(), DONE)));
}

#[test]
fn equal_values_are_not_given_and_times_are_those_of_the_values() {
    assert_eq!(met(["none"; 3], ["a", "a", "a"])[0].shown(), ("a".into(), DONE), "nothing was asked");
    // What two come to carries the time of the one that it is.
    assert_eq!(met(["earliest"; 3], ["x", "y", "z"])[0].shown(), ("x".into(), DONE));
}

#[test]
fn increments_count_on_top_of_what_is_shown() {
    let mut copies = met(["least"; 3], ["5", "7", "6"]);
    let up = |by| Wish::Increment { by: Amount::whole(by) };
    let (step, outcome) = copies[0].wish(20, &up(2)).expect("a number");
    assert_eq!(outcome, Outcome::Total(7));
    copies[1].copy.apply(&step);
    assert_eq!(copies[1].shown(), ("7".into(), DONE));
    // A word among them that the function lets go is no obstacle, and one that it shows is.
    let mut copies = met(["least"; 3], ["5", "7", "word"]);
    assert_eq!(copies[1].wish(20, &up(1)).map(|(_, outcome)| outcome), Ok(Outcome::Total(6)));
    let mut copies = met(["greatest"; 3], ["5", "7", "word"]);
    assert_eq!(copies[1].wish(20, &up(1)).map(|_| ()), Err(Unfit::NotInteger));
}

#[test]
fn fields_are_merged_each_by_itself() {
    let [mut one, mut two, _] = met(["least"; 3], ["1", "1", "1"]);
    let fields = |value: &str| Wish::HashSet {
        fields: [("eu", value), ("us", "same")].map(|(field, value)| (blob(field), blob(value))).into(),
    };
    for copy in [&mut one, &mut two] {
        copy.write(20, &Wish::Delete);
    }
    let (low, high) = (one.write(30, &fields("3")), two.write(31, &fields("4")));
    one.copy.apply(&high);
    two.copy.apply(&low);
    let mut count = Merged::default();
    let object = one.object();
    let merged = object.merged(&one.merging, &mut count);
    let field = |name: &[u8]| -> Option<Blob> {
        let text = merged.as_map()?.entry(name)?.as_text()?.shown()?;
        Some(blob(&word(&text)))
    };
    assert_eq!((field(b"eu"), field(b"us")), (Some(blob("3")), Some(blob("same"))));
    assert_eq!(count, Merged { done: 2, failed: 0 });
    // What goes on being refused or shown is told of by its own conflict.
    let conflict = object.conflicts().remove(0);
    assert_eq!(one.merging.of_versions(&conflict.versions), Some(Ok(blob("3"))));
    assert_eq!(by("none").of_versions(&conflict.versions), Some(Err("it failed".into())));
}
