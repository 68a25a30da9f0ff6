//! Random command lines: whatever a client writes, no command panics, and each keeps the promises that the harness
//! checks (one reply of the right form, no operation from a read, none on a key that it does not name).

use crate::harness::Store;
use commands::{Class, spec};
use proptest::prelude::*;

/// Words that commands give a meaning to: few keys, so that commands meet, and numbers at the edges.
const WORDS: &[&str] = &[
    "a",
    "b",
    "c",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "-2",
    "5",
    "1.5",
    "-0.5",
    "inf",
    "-inf",
    "nan",
    "x",
    "",
    "*",
    "?[",
    "100",
    "10000",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1e400",
    "(1",
    "[a",
    "[b",
    "+",
    "-",
    "(",
    "#",
    "w_*",
    "NX",
    "XX",
    "GT",
    "LT",
    "CH",
    "INCR",
    "GET",
    "SET",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "PERSIST",
    "LIMIT",
    "BY",
    "ASC",
    "DESC",
    "ALPHA",
    "STORE",
    "MATCH",
    "COUNT",
    "TYPE",
    "LEFT",
    "RIGHT",
    "BEFORE",
    "AFTER",
    "MIN",
    "MAX",
    "WEIGHTS",
    "AGGREGATE",
    "SUM",
    "WITHSCORES",
    "WITHVALUES",
    "NOVALUES",
    "BYSCORE",
    "BYLEX",
    "REV",
    "RANK",
    "MAXLEN",
    "AND",
    "OR",
    "XOR",
    "NOT",
    "u8",
    "i64",
    "u63",
    "i3",
    "#1",
    "INCRBY",
    "OVERFLOW",
    "SAT",
    "FAIL",
    "WRAP",
    "BIT",
    "BYTE",
    "ENCODING",
    "USAGE",
    "HELP",
    "IDX",
    "LEN",
    "MINMATCHLEN",
    "WITHMATCHLEN",
    "FROMMEMBER",
    "FROMLONLAT",
    "BYRADIUS",
    "BYBOX",
    "m",
    "km",
    "13.36",
    "38.11",
    "REPLACE",
    "SYNC",
    "FIELDS",
    "\u{ff}",
];

fn line() -> impl Strategy<Value = Vec<String>> {
    let names: Vec<&str> =
        spec::all().filter(|spec| spec.class != Class::Node).map(|spec| spec.name).collect();
    let word = prop_oneof![4 => prop::sample::select(&WORDS[..12]), 6 => prop::sample::select(WORDS)];
    (prop::sample::select(names), proptest::collection::vec(word, 0..8)).prop_map(|(name, mut words)| {
        // As many words as the command takes at least: most lines shall get past its arity.
        let arity = spec::find(name.as_bytes()).map_or(-1, |spec| spec.arity);
        let (count, least) = (words.len(), arity.unsigned_abs() as usize - 1);
        words.extend(WORDS.iter().cycle().skip(count % 7).take(least.saturating_sub(count)));
        if arity > 0 {
            words.truncate(least);
        }
        std::iter::once(name).chain(words).map(str::to_string).collect()
    })
}

/// Something of every type, so that most commands have something to work on.
const FURNITURE: &[&str] = &[
    "SET a 12",
    "RPUSH b 1 2 a x",
    "SADD c 1 a b 3",
    "ZADD 1 1 a 2 b 3 c",
    "HSET 2 a 1 b x",
    "GEOADD 3 13.36 38.11 a",
    "SET w_1 5",
    "SET 5 foobar",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_line_is_answered(lines in proptest::collection::vec(line(), 1..25)) {
        let mut store = Store::default();
        for line in FURNITURE {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            store.execute(&words);
        }
        for line in &lines {
            let words: Vec<&[u8]> = line.iter().map(String::as_bytes).collect();
            store.execute(&words);
            store.now_ms += 250;
        }
    }
}
