//! Whether a function can be one: it is tried on values of many kinds before a keyspace gets it.
//!
//! Nothing here proves that it merges; it finds those that surely do not. A pair on which it fails tells nothing: a function
//! for numbers may fail on words. On some it must give something, or nobody knows what it does.
// bugs: ML-16

use crate::run::{Failure, run};
use data::causal::{FUNCTION_LEN_MAX, Given, join};

/// Numbers, words, lists, objects, dates, and what is at the edge of each.
const VALUES: &[&str] = &[
    "0",
    "1",
    "9",
    "10",
    "100",
    "-3",
    "2.5",
    "",
    "a",
    "pear",
    "apple,pear",
    "pear,plum",
    "true",
    "2024-02-29",
    "[1,2]",
    "{\"n\":1}",
];
/// When the earlier one was written, and the later one, in ms.
const TIMES: (i64, i64) = (1_700_000_000_000, 1_700_000_060_000);
/// Runs of three that are tried beside the pairs: of values that lie beside each other in the list.
const RUN: usize = 3;

type Sample<'s> = (&'s str, i64);

/// # Errors
/// Why not, as a sentence for its author.
pub fn accept(function: &str) -> Result<(), String> {
    if function.trim().is_empty() || function.len() > FUNCTION_LEN_MAX {
        return Err(format!("a merge function has between 1 and {FUNCTION_LEN_MAX} bytes"));
    }
    let mut tried = Tried { function, gave: 0, failed: None };
    let (earlier, later) = TIMES;
    for (at, one) in VALUES.iter().enumerate() {
        for (distance, other) in VALUES[at + 1..].iter().enumerate() {
            // Of the pairs every other one has its later value first.
            let (first, second) = if distance % 2 == 0 { (earlier, later) } else { (later, earlier) };
            tried.pair((one, first), (other, second))?;
            tried.commutes((one, earlier), (other, earlier))?;
        }
    }
    for run in VALUES.windows(RUN) {
        if let [one, two, three] = run {
            tried.triple([(one, earlier), (two, later), (three, later + 1)])?;
            tried.triple([(three, later), (one, earlier), (two, earlier)])?;
        }
    }
    match tried.failed {
        Some(failure) if tried.gave == 0 => {
            Err(format!("it gave nothing for any of the samples (numbers, words, lists, JSON): {failure}"))
        }
        _ => Ok(()),
    }
}

struct Tried<'f> {
    function: &'f str,
    gave: usize,
    failed: Option<Failure>,
}

impl Tried<'_> {
    /// What two come to; nothing where the function fails on them.
    fn join(&mut self, one: (&[u8], i64), other: (&[u8], i64)) -> Result<Option<(Vec<u8>, i64)>, String> {
        let mut failed = None;
        let given = |(value, time_ms)| Given { value, time_ms };
        let merged = join(given(one), given(other), |one, other| {
            run(self.function, one, other).map_err(|failure| {
                let text = failure.to_string();
                failed = Some(failure);
                text
            })
        });
        match failed {
            // It does the same to whoever reads.
            Some(Failure::Syntax(_) | Failure::RanAway(_)) => {
                return Err(failed.map(|failure| failure.to_string()).unwrap_or_default());
            }
            Some(failure) => self.failed = Some(failure),
            None => self.gave += 1,
        }
        Ok(merged.ok())
    }

    /// What they come to, whichever comes first.
    fn commutes(&mut self, one: Sample<'_>, other: Sample<'_>) -> Result<Option<(Vec<u8>, i64)>, String> {
        let (a, b) = ((one.0.as_bytes(), one.1), (other.0.as_bytes(), other.1));
        let (there, back) = (self.join(a, b)?, self.join(b, a)?);
        if there.as_ref().map(|it| &it.0) != back.as_ref().map(|it| &it.0) {
            return Err(format!(
                "it matters which value comes first, and no copy can know that: {} and {} come to {}, the other way round to {}",
                shown(one),
                shown(other),
                told(&there),
                told(&back)
            ));
        }
        Ok(there)
    }

    /// The same, and that neither counts again.
    fn pair(&mut self, one: Sample<'_>, other: Sample<'_>) -> Result<(), String> {
        let Some((merged, at_ms)) = self.commutes(one, other)? else { return Ok(()) };
        for sample in [one, other] {
            let again = self.join((&merged, at_ms), (sample.0.as_bytes(), sample.1))?;
            if again.as_ref().is_none_or(|(again, _)| *again != merged) {
                return Err(format!(
                    "a value that is merged twice counts twice, and that happens: {} and {} come to {}, and that and {} to {}",
                    shown(one),
                    shown(other),
                    quoted(&merged),
                    shown(sample),
                    told(&again)
                ));
            }
        }
        Ok(())
    }

    fn triple(&mut self, three: [Sample<'_>; RUN]) -> Result<(), String> {
        let [a, b, c] = three.map(|(value, time_ms)| (value.as_bytes(), time_ms));
        let Some((left, left_ms)) = self.join(a, b)? else { return Ok(()) };
        let Some((right, right_ms)) = self.join(b, c)? else { return Ok(()) };
        let first = self.join((&left, left_ms), c)?;
        let last = self.join(a, (&right, right_ms))?;
        if first.as_ref().map(|it| &it.0) != last.as_ref().map(|it| &it.0) {
            return Err(format!(
                "it matters in which order three values are merged: {}, {} and {} come to {} or to {}",
                shown(three[0]),
                shown(three[1]),
                shown(three[2]),
                told(&first),
                told(&last)
            ));
        }
        Ok(())
    }
}

fn shown((value, time_ms): Sample<'_>) -> String {
    format!("{} (time {time_ms})", quoted(value.as_bytes()))
}

fn told(it: &Option<(Vec<u8>, i64)>) -> String {
    it.as_ref().map_or_else(|| "nothing".into(), |(value, _)| quoted(value))
}

fn quoted(value: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(value).chars().take(60).collect();
    format!("{text:?}")
}
