//! Single strikes of faults, counted by kind: a smaller run leaves some of them out, and the others stay what they were.

use super::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// The strike of this number among those of its kind, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Strike {
    pub fault: Fault,
    pub number: u32,
}

/// Strikes that are left out; on the command line `crash:1-3,crash:7`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Skip(pub BTreeSet<Strike>);

impl FromStr for Skip {
    type Err = String;

    fn from_str(text: &str) -> Result<Skip, String> {
        let mut skip = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let wrong = || format!("{part} is no strike: crash:3, crash:3-5");
            let (name, numbers) = part.split_once(':').ok_or_else(wrong)?;
            let fault = Fault::named(name).ok_or_else(|| format!("no fault {name}: see --list"))?;
            let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
            let number = |text: &str| text.parse::<u32>().ok().filter(|it| *it < 1 << 20).ok_or_else(wrong);
            skip.extend((number(first)?..=number(last)?).map(|number| Strike { fault, number }));
        }
        Ok(Skip(skip))
    }
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            let follows = |it: &Strike, last: Strike| *it == Strike { number: last.number + 1, ..last };
            while let Some(next) = rest.next_if(|it| follows(it, last)) {
                last = next;
            }
            write!(f, "{comma}{}:{}", first.fault.name(), first.number)?;
            if last != first {
                write!(f, "-{}", last.number)?;
            }
            comma = ",";
        }
        Ok(())
    }
}

/// The strikes of one run.
#[derive(Default)]
pub struct Strikes {
    pub skip: Skip,
    /// Those that fell, each with its virtual time.
    pub fallen: Vec<(u64, Strike)>,
    counts: BTreeMap<Fault, u32>,
}

impl Strikes {
    /// Counts a strike; false if it is left out.
    pub fn falls(&mut self, now: u64, fault: Fault) -> bool {
        let count = self.counts.entry(fault).or_default();
        *count += 1;
        let strike = Strike { fault, number: *count };
        if self.skip.0.contains(&strike) {
            return false;
        }
        self.fallen.push((now, strike));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        for text in ["", "crash:1", "crash:1-3,crash:7,wipe:2", "squeeze:1-48,newcomer:1"] {
            let skip: Skip = text.parse().expect(text);
            assert_eq!(skip.to_string().parse(), Ok(skip), "{text}");
        }
        assert_eq!(
            "wipe:2,crash:3,crash:1-2".parse::<Skip>().map(|it| it.to_string()),
            Ok("crash:1-3,wipe:2".into())
        );
        for wrong in ["crash", "crash:x", "rain:1", "crash:1-", "crash:1-99999999"] {
            assert!(wrong.parse::<Skip>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn strikes_are_counted_whether_they_fall_or_not() {
        let mut strikes = Strikes { skip: "crash:2".parse().expect("a skip"), ..Strikes::default() };
        let fell: Vec<bool> = (0..3).map(|now| strikes.falls(now, Fault::Crash)).collect();
        assert_eq!(fell, [true, false, true]);
        assert!(strikes.falls(9, Fault::Wipe));
        let numbers: Vec<u32> = strikes.fallen.iter().map(|(_, strike)| strike.number).collect();
        assert_eq!(numbers, [1, 3, 1]);
    }
}
