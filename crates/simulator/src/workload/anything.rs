//! Every command of the product with arguments that often fit: nobody judges the replies, but no state may differ and
//! no node may fall over.

use super::Command;
use crate::random::Random;
use commands::spec;

/// Left out, and why: they end the process or the connection, stop replies, or change how replies are read.
const LEFT_OUT: [&str; 13] = [
    "shutdown",
    "quit",
    "reset",
    "hello",
    "client",
    "inbox",
    "subscribe",
    "psubscribe",
    "unsubscribe",
    "punsubscribe",
    "select",
    "auth",
    "keyspace",
];
/// They hold a connection for long, or leave it in a state that needs a second command.
const STATEFUL: [&str; 6] = ["multi", "exec", "discard", "watch", "unwatch", "wait"];

/// The commands in the mix.
fn mixed() -> impl Iterator<Item = &'static spec::Spec> {
    spec::all().filter(|spec| !LEFT_OUT.contains(&spec.name) && !STATEFUL.contains(&spec.name))
}

/// Few, so that commands meet.
const KEYS: u64 = 12;

/// Words that mean something to some command.
const WORDS: [&str; 24] = [
    "NX",
    "XX",
    "EX",
    "PX",
    "GET",
    "MATCH",
    "*",
    "COUNT",
    "WITHSCORES",
    "BYSCORE",
    "LIMIT",
    "LEFT",
    "RIGHT",
    "BEFORE",
    "AFTER",
    "REV",
    "-inf",
    "+inf",
    "(1",
    "[a",
    "u8",
    "BYTE",
    "KEEPTTL",
    "m",
];

/// Sets to draw from, and draws: rare among all commands, and the ones that copies could execute differently.
// bugs: SL-23
fn drawing(random: &mut Random) -> Command {
    let fill = random.chance(500);
    let mut words = vec![if fill { b"SADD".to_vec() } else { b"SPOP".to_vec() }, word(true, random)];
    if fill {
        words.extend((0..4).map(|_| word(false, random)));
    }
    words
}

pub fn draw(random: &mut Random) -> Command {
    if random.chance(80) {
        return drawing(random);
    }
    let specs: Vec<&spec::Spec> = mixed().collect();
    let Some(spec) = random.pick(&specs) else { return vec![b"PING".to_vec()] };
    let mut words = vec![spec.name.as_bytes().to_vec()];
    if let Some(sub) = random.pick(spec.subcommands) {
        words.push(sub.as_bytes().to_vec());
    }
    let least = spec.arity.unsigned_abs() as usize;
    let more = if spec.arity < 0 { random.below(4) as usize } else { 0 };
    while words.len() < least + more {
        let key = matches!(spec.keys, spec::Keys::Range { .. }) && words.len() == 1;
        words.push(word(key, random));
    }
    // Waiting for ever would say nothing.
    if spec.flags.has(spec::Flags::BLOCKING)
        && let Some(last) = words.last_mut()
    {
        *last = b"0.05".to_vec();
    }
    words
}

/// All keys that it uses.
pub fn keys() -> impl Iterator<Item = String> {
    (0..KEYS).map(|at| format!("any{at}"))
}

fn word(key: bool, random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        _ if key => format!("any{}", random.below(KEYS)).into_bytes(),
        0..=3 => format!("any{}", random.below(KEYS)).into_bytes(),
        4..=6 => random.below(20).to_string().into_bytes(),
        7 => format!("member{}", random.below(6)).into_bytes(),
        _ => WORDS[random.below(WORDS.len() as u64) as usize].as_bytes().to_vec(),
    }
}

/// Whether the command gives a reply of its own.
pub fn answers(words: &Command) -> bool {
    !words.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_product_is_in_the_mix_or_left_out_by_name() {
        let mut random = Random::new(1, 1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20_000 {
            let words = draw(&mut random);
            seen.insert(String::from_utf8_lossy(&words[0]).to_lowercase());
        }
        let missing: Vec<&str> = mixed().map(|spec| spec.name).filter(|name| !seen.contains(*name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        for name in LEFT_OUT.iter().chain(&STATEFUL) {
            assert!(!seen.contains(*name));
            assert!(spec::all().any(|spec| spec.name == *name), "{name} is left out and is no command");
        }
        // A new command is in the mix by itself; whoever leaves one out changes this number, and says above why.
        assert_eq!(LEFT_OUT.len() + STATEFUL.len() + mixed().count(), spec::all().count());
        assert_eq!(LEFT_OUT.len() + STATEFUL.len(), 19);
    }

    #[test]
    fn every_subcommand_is_in_the_mix() {
        let mut random = Random::new(2, 1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..40_000 {
            let words = draw(&mut random);
            seen.insert(words.into_iter().take(2).collect::<Vec<_>>());
        }
        for spec in mixed() {
            for sub in spec.subcommands {
                let words = vec![spec.name.as_bytes().to_vec(), sub.as_bytes().to_vec()];
                assert!(seen.contains(&words), "{} {sub}", spec.name);
            }
        }
    }
}
