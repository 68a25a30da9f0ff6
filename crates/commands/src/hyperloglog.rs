//! Hyperloglogs: how many different elements were seen, within about one per cent, in 12 KiB.
//!
//! The string, the hash and the estimate are those of Redis, so that values and counts are the same. Only the dense form is
//! written.
//!
//! Source: Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), for the estimate.

use crate::call::{Call, CommandError, CommandResult, View};
use crate::describe::Family;
use crate::spec::{Flags, Keys, Spec};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;
use data::registers::{DENSE_LEN, NoRegisters, REGISTERS, Registers};
use data::value::ValueRef;
use data::{Expiry, Operation};

const HYPERLOGLOG: Family = Family("hyperloglog");
const EVERY: Keys = Keys::Range { first: 1, last: -1, step: 1 };

pub const SPECS: &[Spec] = &[
    HYPERLOGLOG.write("pfadd", -2, pfadd).flags(Flags::DENYOOM.and(Flags::FAST)).docs(
        "2.8.9",
        "O(N), N elements",
        "Adds elements to a hyperloglog, which is made if it is missing.",
    ),
    HYPERLOGLOG.read("pfcount", -2, pfcount).keys(EVERY).docs(
        "2.8.9",
        "O(N), N keys",
        "Estimates how many different elements were added to hyperloglogs, together.",
    ),
    HYPERLOGLOG.write("pfmerge", -2, pfmerge).flags(Flags::DENYOOM).keys(EVERY).docs(
        "2.8.9",
        "O(N), N keys",
        "Adds to a hyperloglog what others have seen.",
    ),
];

/// Changed bytes beyond this many runs are written as one. A guess: what a run costs beside its bytes.
const RUNS_MAX: usize = 32;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = REGISTERS.ilog2();
/// Bits of a hash that are left for the value.
const VALUE_BITS: u32 = 64 - INDEX_BITS;

/// The registers that elements raise, and to what at least; each register once.
pub(crate) fn points_of(elements: &[&[u8]]) -> Vec<(u16, u8)> {
    let mut points: BTreeMap<u16, u8> = BTreeMap::new();
    for element in elements {
        let (at, value) = point_of(element);
        let highest = points.entry(at).or_default();
        *highest = value.max(*highest);
    }
    points.into_iter().collect()
}

fn point_of(element: &[u8]) -> (u16, u8) {
    let hash = murmur(element);
    let at = hash % REGISTERS as u64;
    // A bit behind the last one: the value is at most one more than there are bits.
    let rest = hash >> INDEX_BITS | 1 << VALUE_BITS;
    (at as u16, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A of Austin Appleby, read in little-endian words, with the seed of Redis.
fn murmur(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    const SEED: u64 = 0xadc8_3b19;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> R;
        hash = (hash ^ word.wrapping_mul(M)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let word = tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(M);
    }
    hash ^= hash >> R;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> R
}

/// How many different elements raised them, about: the standard error is 0.81 %.
fn estimate(registers: &Registers) -> u64 {
    /// 1 / (2 ln 2).
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let many = REGISTERS as f64;
    let mut with_value = [0u32; 64];
    for value in registers.values() {
        with_value[usize::from(*value) % 64] += 1;
    }
    let with = |value: u32| f64::from(with_value[value as usize]);
    let mut z = many * tau((many - with(VALUE_BITS + 1)) / many);
    for value in (1..=VALUE_BITS).rev() {
        z = (z + with(value)) * 0.5;
    }
    z += many * sigma(with(0) / many);
    libm::round(ALPHA * many * many / z) as u64
}

/// The correction for registers that nothing has raised.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// The correction for registers that cannot rise further.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = libm::sqrt(x);
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// The registers that a string holds.
pub(crate) fn parse(text: &[u8]) -> Result<Registers, CommandError> {
    Registers::parse(text).map_err(|why| {
        CommandError::fixed(match why {
            NoRegisters::Other => "WRONGTYPE Key is not a valid HyperLogLog string value.",
            NoRegisters::Corrupted => "INVALIDOBJ Corrupted HLL object detected",
        })
    })
}

/// The string of a key and the registers in it.
fn registers_at<'v>(view: &'v dyn View, key: &[u8]) -> Result<Option<(&'v [u8], Registers)>, CommandError> {
    match view.get(key).map(|found| found.value) {
        None => Ok(None),
        Some(ValueRef::String(text)) => Ok(Some((text, parse(text)?))),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}

fn pfadd(call: &mut Call<'_, '_>) -> CommandResult {
    let found = registers_at(call.view, call.key(1))?;
    let is_new = found.is_none();
    let (before, mut registers) = found.unwrap_or_default();
    let mut changes = is_new;
    for (at, value) in points_of(call.rest(2)) {
        changes |= registers.raise(at, value);
    }
    if changes {
        write(call, before, &registers);
    }
    call.reply.integer(i64::from(changes));
    Ok(())
}

fn pfcount(call: &mut Call<'_, '_>) -> CommandResult {
    let mut together = Registers::default();
    for key in call.rest(1) {
        merge(&mut together, registers_at(call.view, key)?);
    }
    call.reply.integer(i64::try_from(estimate(&together)).unwrap_or(i64::MAX));
    Ok(())
}

/// The destination counts among the sources.
fn pfmerge(call: &mut Call<'_, '_>) -> CommandResult {
    let (before, mut together) = registers_at(call.view, call.key(1))?.unwrap_or_default();
    for key in call.rest(2) {
        merge(&mut together, registers_at(call.view, key)?);
    }
    write(call, before, &together);
    call.reply.ok();
    Ok(())
}

fn merge(together: &mut Registers, found: Option<(&[u8], Registers)>) {
    for (at, value) in found.iter().flat_map(|(_, registers)| registers.points()) {
        together.raise(at, value);
    }
}

/// The key's string becomes this: of one that is dense already only the bytes that change are written.
fn write(call: &mut Call<'_, '_>, before: &[u8], registers: &Registers) {
    let (key, after) = (call.key(1), registers.to_text());
    if before.len() != DENSE_LEN {
        return call.op(Operation::Set {
            key: Cow::Borrowed(key),
            value: Cow::Owned(after),
            expiry: Expiry::Keep,
        });
    }
    for run in runs(before, &after) {
        let (offset, bytes) = (run.start as u64, Call::owned(&after[run]));
        call.op(Operation::StringWrite { key: Cow::Borrowed(key), offset, bytes });
    }
}

/// Where two texts of one length differ.
fn runs(before: &[u8], after: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let differing = before.iter().zip(after).enumerate().filter(|(_, (before, after))| before != after);
    for (at, _) in differing {
        match runs.last_mut() {
            Some(run) if run.end == at => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    if runs.len() > RUNS_MAX
        && let Some(last) = runs.pop()
    {
        runs.truncate(1);
        runs[0].end = last.end;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn elements_raise_the_registers_that_they_raise_in_redis() {
        assert_eq!(points_of(&[b"a", b"a"]), [(12_711, 2)]);
        let points = points_of(&[b"", b"a", b"abcdefgh", b"abcdefghi"]);
        assert_eq!(points, [(1_383, 1), (5_938, 2), (6_903, 1), (12_711, 2)]);
    }

    /// What Redis 7 counts of the same elements; then four standard errors, which a broken hash or estimate is far beyond.
    #[test]
    fn estimates_are_those_of_redis_and_near() {
        let mut registers = Registers::default();
        assert_eq!(estimate(&registers), 0);
        let mut added = 0u64;
        for (count, redis) in [
            (1, Some(1)),
            (10, Some(10)),
            (100, Some(100)),
            (1_000, Some(1_003)),
            (10_000, Some(10_008)),
            (50_000, None),
            (500_000, None),
        ] {
            while added < count {
                let (at, value) = point_of(format!("element {added}").as_bytes());
                registers.raise(at, value);
                added += 1;
            }
            let seen = estimate(&registers);
            let off = (seen as f64 - count as f64).abs() / count as f64;
            assert!(redis.is_none_or(|redis| redis == seen), "{count} were counted as {seen}, not {redis:?}");
            assert!(off <= 0.0325, "{count} were counted as {seen}");
        }
    }

    #[test]
    fn few_changes_are_few_bytes() {
        let (before, mut after) = ([0u8; 1000], [0u8; 1000]);
        assert_eq!(runs(&before, &after), []);
        after[3] = 1;
        after[4] = 1;
        after[900] = 1;
        assert_eq!(runs(&before, &after), [3..5, 900..901]);
        (0..100).for_each(|at| after[at * 10] = 1);
        assert_eq!(runs(&before, &after).first().map(|run| (run.start, run.end)), Some((0, 991)));
        assert_eq!(runs(&before, &after).len(), 1);
    }
}
