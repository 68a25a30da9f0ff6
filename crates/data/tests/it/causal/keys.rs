//! Maps with a policy per field, and whole keys: several types, an expiry, DEL, making anew.

use super::history::{Effect, History, Seen, add, remove, write};
use super::subjects::{WORDS, expiry, word};
use super::world::{Draw, Subject};
use data::causal::{Amount, Causal, Deadline, Kind, Map, Object, Part, SetPolicy, Write};
use data::{Expiry, operation::End};

/// When everything happens, for the expiry of keys.
const NOW_MS: i64 = 1_000;

/// A hash: strings that count, a set, and a hash in the hash.
pub struct Fields;

#[derive(Clone, Debug)]
pub enum FieldOp {
    Set(&'static str, &'static str),
    Add(&'static str, i64),
    /// A member of a set in the field.
    Member(&'static str, &'static str),
    /// A field of a hash in the field.
    Deeper(&'static str, &'static str),
    Remove(&'static str),
    Clear,
}

impl Subject for Fields {
    type S = Object;
    type O = FieldOp;
    fn alphabet() -> Vec<FieldOp> {
        vec![
            FieldOp::Set("a", "10"),
            FieldOp::Add("a", 1),
            FieldOp::Member("a", "m"),
            FieldOp::Deeper("a", "f"),
            FieldOp::Remove("a"),
        ]
    }
    fn draw(draw: &mut Draw) -> FieldOp {
        let field = draw.pick(&WORDS);
        match draw.below(20) {
            0 => FieldOp::Clear,
            1..5 => FieldOp::Remove(field),
            5..9 => FieldOp::Set(field, draw.pick(&["10", "20", "words"])),
            9..13 => FieldOp::Add(field, draw.below(9) as i64 - 4),
            13..17 => FieldOp::Member(field, draw.pick(&WORDS)),
            _ => FieldOp::Deeper(field, draw.pick(&WORDS)),
        }
    }
    fn mutate(store: &Object, write: &mut Write<'_>, op: &FieldOp, _: usize) -> Causal<Object> {
        match op {
            FieldOp::Set(field, value) => {
                store.hash_set(write, NOW_MS, &[(field.as_bytes(), value.as_bytes())])
            }
            FieldOp::Add(field, by) => {
                store.hash_increment(write, NOW_MS, field.as_bytes(), Amount::whole(*by))
            }
            FieldOp::Member(field, member) => {
                let mut change = |object: &Object, write: &mut Write<'_>| {
                    object.set_add(write, NOW_MS, SetPolicy::ObservedRemove, &[member.as_bytes()])
                };
                store.hash_update(write, NOW_MS, &[field.as_bytes()], &mut change).expect("not deep")
            }
            FieldOp::Deeper(field, inner) => {
                let mut change =
                    |object: &Object, write: &mut Write<'_>| object.set(write, NOW_MS, b"x", Expiry::Never);
                let path = [field.as_bytes(), inner.as_bytes()];
                store.hash_update(write, NOW_MS, &path, &mut change).expect("not deep")
            }
            FieldOp::Remove(field) => store.hash_remove(write, &[field.as_bytes()]),
            FieldOp::Clear => store.delete(write),
        }
    }
    fn show(store: &Object) -> String {
        let mut fields = Vec::new();
        for (name, field) in store.as_map().into_iter().flat_map(Map::alive) {
            let mut parts = Vec::new();
            if let Some(text) = field.as_text().and_then(|text| text.shown()) {
                parts.push(word(&text));
            }
            for (member, _) in field.as_set().into_iter().flat_map(|set| set.alive()) {
                parts.push(format!("member-{}", word(member)));
            }
            for (inner, _) in field.as_map().into_iter().flat_map(Map::alive) {
                parts.push(format!("inner-{}", word(inner)));
            }
            fields.push(format!("{}: {}", word(name), parts.join(" ")));
        }
        fields.join(", ")
    }
    fn effects(_: &History<FieldOp>, _: &Seen, op: &FieldOp, _: usize, _: &str) -> Vec<Effect> {
        match op {
            // HSET replaces whatever the field held.
            FieldOp::Set(field, value) => {
                vec![remove(format!("{field}/")), write(format!("{field}/"), *value)]
            }
            FieldOp::Add(field, by) => vec![add(format!("{field}/"), *by)],
            FieldOp::Member(field, member) => vec![write(format!("{field}/member-{member}"), "")],
            FieldOp::Deeper(field, inner) => vec![write(format!("{field}/inner-{inner}"), "")],
            FieldOp::Remove(field) => vec![remove(format!("{field}/"))],
            FieldOp::Clear => vec![remove("")],
        }
    }
    fn expect(history: &History<FieldOp>, seen: &Seen) -> String {
        let alive = history.alive(seen);
        let mut fields = Vec::new();
        for field in WORDS {
            let prefix = format!("{field}/");
            let below = alive.below(&prefix);
            if below.is_empty() {
                continue;
            }
            let mut parts: Vec<String> = alive.text(&prefix).into_iter().collect();
            let members = below.iter().filter(|part| part.starts_with("member-"));
            parts.extend(members.map(|part| part.to_string()));
            let inner = below.iter().filter(|part| part.starts_with("inner-"));
            parts.extend(inner.map(|part| part.to_string()));
            fields.push(format!("{field}: {}", parts.join(" ")));
        }
        fields.join(", ")
    }
}

/// A whole key.
pub struct Key;

#[derive(Clone, Debug)]
pub enum KeyOp {
    Set(&'static str, Expiry),
    Increment,
    Member(&'static str),
    NoMember(&'static str),
    Field(&'static str),
    Push,
    Expire(i64),
    Persist,
    Delete,
}

/// A time that has passed, and one that has not.
const PAST_MS: i64 = 500;
const FUTURE_MS: i64 = 2_000;

impl Subject for Key {
    type S = Object;
    type O = KeyOp;
    fn alphabet() -> Vec<KeyOp> {
        vec![
            KeyOp::Set("10", Expiry::Never),
            KeyOp::Increment,
            KeyOp::Member("a"),
            KeyOp::Expire(PAST_MS),
            KeyOp::Delete,
        ]
    }
    fn draw(draw: &mut Draw) -> KeyOp {
        match draw.below(20) {
            0..2 => KeyOp::Delete,
            2 => KeyOp::Set("10", Expiry::Never),
            3 => KeyOp::Set("20", Expiry::Keep),
            4 => KeyOp::Set("words", Expiry::At(draw.pick(&[PAST_MS, FUTURE_MS]))),
            5..8 => KeyOp::Increment,
            8..11 => KeyOp::Member(draw.pick(&WORDS)),
            11 => KeyOp::NoMember(draw.pick(&WORDS)),
            12..14 => KeyOp::Field(draw.pick(&WORDS)),
            14 => KeyOp::Push,
            15..18 => KeyOp::Expire(draw.pick(&[PAST_MS, FUTURE_MS, FUTURE_MS + 5])),
            _ => KeyOp::Persist,
        }
    }
    fn mutate(store: &Object, write: &mut Write<'_>, op: &KeyOp, n: usize) -> Causal<Object> {
        match op {
            KeyOp::Set(value, expiry) => store.set(write, NOW_MS, value.as_bytes(), *expiry),
            KeyOp::Increment => store.increment(write, NOW_MS, Amount::whole(1)),
            KeyOp::Member(member) => {
                store.set_add(write, NOW_MS, SetPolicy::ObservedRemove, &[member.as_bytes()])
            }
            KeyOp::NoMember(member) => {
                store.set_remove(write, SetPolicy::ObservedRemove, &[member.as_bytes()])
            }
            KeyOp::Field(field) => store.hash_set(write, NOW_MS, &[(field.as_bytes(), b"x")]),
            KeyOp::Push => store.list_push(write, NOW_MS, End::Back, &[format!("e{n}").as_bytes()]),
            KeyOp::Expire(at_ms) => store.expire(write, NOW_MS, Deadline::At(*at_ms)),
            KeyOp::Persist => store.expire(write, NOW_MS, Deadline::Never),
            KeyOp::Delete => store.delete(write),
        }
    }
    fn show(store: &Object) -> String {
        let name = |part: &Part| match part.kind() {
            Kind::Text => "text",
            Kind::Set => "set",
            Kind::Map => "map",
            _ => "list",
        };
        let text = store.as_text().and_then(|text| text.shown()).map(|text| word(&text));
        let members: Vec<String> =
            store.as_set().into_iter().flat_map(|set| set.alive()).map(|(member, _)| word(member)).collect();
        let fields: Vec<String> =
            store.as_map().into_iter().flat_map(Map::alive).map(|(field, _)| word(field)).collect();
        format!(
            "{} {:?} {text:?} {members:?} {fields:?} {} {}",
            store.shown().map_or("none", name),
            store.hidden().map(name).collect::<Vec<_>>(),
            store.deadlines().at_ms().map_or("never".into(), |at_ms| at_ms.to_string()),
            store.is_shown(NOW_MS),
        )
    }
    fn effects(history: &History<KeyOp>, saw: &Seen, op: &KeyOp, n: usize, _: &str) -> Vec<Effect> {
        let alive = history.alive(saw);
        let is_shown = is_shown(&alive);
        let mut effects = Vec::new();
        let (has_value, has_word) = (alive.newest("v/").is_some(), alive.newest("expiry").is_some());
        // A key made anew owes nothing to what lies there unseen.
        let makes = matches!(op, KeyOp::Increment | KeyOp::Member(_) | KeyOp::Field(_) | KeyOp::Push);
        if makes && !is_shown && (has_value || has_word) {
            effects.push(remove(""));
        }
        match op {
            KeyOp::Set(value, expiry) => {
                effects.extend([remove("v/"), write("v/text", *value)]);
                match expiry {
                    Expiry::At(at_ms) => effects.push(write("expiry", at_ms.to_string())),
                    Expiry::Keep if is_shown => {}
                    _ if has_word => effects.push(write("expiry", "never")),
                    _ => {}
                }
            }
            KeyOp::Increment => effects.push(add("v/text", 1)),
            KeyOp::Member(member) => effects.push(write(format!("v/set/{member}"), "")),
            KeyOp::NoMember(member) => effects.push(remove(format!("v/set/{member}"))),
            KeyOp::Field(field) => effects.push(write(format!("v/map/{field}"), "")),
            KeyOp::Push => effects.push(write(format!("v/list/{n}"), "")),
            KeyOp::Expire(at_ms) if is_shown => effects.push(write("expiry", at_ms.to_string())),
            KeyOp::Persist if is_shown => effects.push(write("expiry", "never")),
            KeyOp::Expire(_) | KeyOp::Persist => {}
            KeyOp::Delete => effects.push(remove("")),
        }
        effects
    }
    fn expect(history: &History<KeyOp>, seen: &Seen) -> String {
        let alive = history.alive(seen);
        let kinds = ["text", "set", "map", "list"];
        let mut ranked: Vec<_> =
            kinds.iter().filter_map(|kind| Some((alive.newest(&format!("v/{kind}"))?, *kind))).collect();
        ranked.sort_by(|a, b| b.cmp(a));
        let shown = ranked.first().map_or("none", |(_, kind)| *kind);
        let hidden: Vec<&str> = kinds
            .into_iter()
            .filter(|kind| *kind != shown && ranked.iter().any(|(_, k)| k == kind))
            .collect();
        format!(
            "{shown} {hidden:?} {:?} {:?} {:?} {} {}",
            alive.text("v/text"),
            alive.below("v/set/").into_iter().map(String::from).collect::<Vec<_>>(),
            alive.below("v/map/").into_iter().map(String::from).collect::<Vec<_>>(),
            expiry(&alive, "expiry"),
            is_shown(&alive),
        )
    }
}

fn is_shown(alive: &super::history::Alive<'_>) -> bool {
    let has_value = alive.newest("v/").is_some();
    let is_over = expiry(alive, "expiry").parse().is_ok_and(|at_ms: i64| at_ms <= NOW_MS);
    has_value && !is_over
}
