//! BITFIELD: integers of 1 to 64 bits at any bit of a string.

use super::{NOT_AN_OFFSET, within};
use crate::arguments::{integer, is};
use crate::call::{Call, CommandError, CommandResult, STRING_LEN_MAX};
use crate::string::string_at;
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use data::Operation;
use wire::number::parse_integer;

/// `i8`, `u63` ...
#[derive(Clone, Copy, Debug)]
struct Shape {
    signed: bool,
    bits: u32,
}

impl Shape {
    fn parse(text: &[u8]) -> Option<Shape> {
        let (sign, digits) = text.split_first()?;
        let signed = match sign {
            b'i' => true,
            b'u' => false,
            _ => return None,
        };
        // Replies are signed integers of 64 bits: u64 has no form there.
        let max = if signed { 64 } else { 63 };
        let bits = parse_integer(digits).filter(|bits| (1..=max).contains(bits))?;
        Some(Shape { signed, bits: bits as u32 })
    }
    fn min(self) -> i128 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }
    fn max(self) -> i128 {
        if self.signed { (1 << (self.bits - 1)) - 1 } else { (1 << self.bits) - 1 }
    }
    /// The number that the lowest bits of `value` spell.
    fn wrap(self, value: i128) -> i128 {
        let low = value & ((1 << self.bits) - 1);
        if low > self.max() { low - (1 << self.bits) } else { low }
    }
}

/// What becomes of a number that does not fit.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    fn parse(text: &[u8]) -> Option<Overflow> {
        [("WRAP", Overflow::Wrap), ("SAT", Overflow::Saturate), ("FAIL", Overflow::Fail)]
            .into_iter()
            .find(|(word, _)| is(text, word))
            .map(|(_, overflow)| overflow)
    }
    fn fit(self, shape: Shape, value: i128) -> Option<i128> {
        if (shape.min()..=shape.max()).contains(&value) {
            return Some(value);
        }
        match self {
            Overflow::Wrap => Some(shape.wrap(value)),
            Overflow::Saturate => Some(value.clamp(shape.min(), shape.max())),
            Overflow::Fail => None,
        }
    }
}

enum Action {
    Get,
    Set(i64, Overflow),
    Increment(i64, Overflow),
}

/// One subcommand. It lies within the longest string.
struct Step {
    shape: Shape,
    bit: u64,
    action: Action,
}

fn parse(args: &[&[u8]]) -> Result<Vec<Step>, CommandError> {
    let (mut steps, mut overflow, mut rest) = (Vec::new(), Overflow::Wrap, args);
    while let [word, after @ ..] = rest {
        if is(word, "OVERFLOW") {
            let [kind, after @ ..] = after else { return Err(CommandError::SYNTAX) };
            overflow =
                Overflow::parse(kind).ok_or(CommandError::fixed("ERR Invalid OVERFLOW type specified"))?;
            rest = after;
            continue;
        }
        let takes_number = is(word, "SET") || is(word, "INCRBY");
        let (shape, bit, number, after) = match after {
            [shape, bit, after @ ..] if is(word, "GET") => (shape, bit, None, after),
            [shape, bit, number, after @ ..] if takes_number => (shape, bit, Some(number), after),
            _ => return Err(CommandError::SYNTAX),
        };
        let shape = Shape::parse(shape).ok_or(CommandError::fixed(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ))?;
        let bit = place(bit, shape)?;
        let action = match number {
            None => Action::Get,
            Some(number) if is(word, "SET") => Action::Set(integer(number)?, overflow),
            Some(number) => Action::Increment(integer(number)?, overflow),
        };
        steps.push(Step { shape, bit, action });
        rest = after;
    }
    Ok(steps)
}

/// The first bit of an integer: a number of bits, or with `#` a number of integers of this width.
fn place(text: &[u8], shape: Shape) -> Result<u64, CommandError> {
    let bit = match text {
        [b'#', count @ ..] => parse_integer(count).and_then(|n| n.checked_mul(i64::from(shape.bits))),
        count => parse_integer(count),
    };
    let ends_within = |bit: &u64| bit + u64::from(shape.bits) <= STRING_LEN_MAX as u64 * 8;
    bit.and_then(within).filter(ends_within).ok_or(NOT_AN_OFFSET)
}

/// A string with changes that are not applied yet.
struct Draft<'v> {
    bytes: &'v [u8],
    changed: BTreeMap<u64, u8>,
}

impl Draft<'_> {
    fn byte(&self, at: u64) -> u8 {
        let old = || self.bytes.get(at as usize).copied().unwrap_or(0);
        self.changed.get(&at).copied().unwrap_or_else(old)
    }
    fn read(&self, shape: Shape, bit: u64) -> i128 {
        let bits = (bit..bit + u64::from(shape.bits)).map(|bit| self.byte(bit / 8) >> (7 - bit % 8) & 1);
        shape.wrap(bits.fold(0, |value, bit| value << 1 | i128::from(bit)))
    }
    fn write(&mut self, shape: Shape, bit: u64, value: i128) {
        for (place, bit) in (bit..bit + u64::from(shape.bits)).rev().enumerate() {
            let mask = 0x80 >> (bit % 8);
            let byte = self.byte(bit / 8);
            let on = value >> place & 1 == 1;
            self.changed.insert(bit / 8, if on { byte | mask } else { byte & !mask });
        }
    }
    /// Makes the string reach to this bit.
    fn reach(&mut self, bit: u64) {
        if bit / 8 >= self.bytes.len() as u64 {
            self.changed.entry(bit / 8).or_insert(0);
        }
    }
    /// The changed bytes as runs: offset and bytes.
    fn runs(&self) -> Vec<(u64, Vec<u8>)> {
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        for (&at, &byte) in &self.changed {
            if self.bytes.get(at as usize) == Some(&byte) {
                continue;
            }
            match runs.last_mut().filter(|(start, run)| start + run.len() as u64 == at) {
                Some((_, run)) => run.push(byte),
                None => runs.push((at, vec![byte])),
            }
        }
        runs
    }
}

pub(super) fn bitfield(call: &mut Call<'_, '_>) -> CommandResult {
    let steps = parse(call.rest(2))?;
    run(call, &steps)
}

pub(super) fn bitfield_ro(call: &mut Call<'_, '_>) -> CommandResult {
    let steps = parse(call.rest(2))?;
    if steps.iter().any(|step| !matches!(step.action, Action::Get)) {
        return Err(CommandError::fixed("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    run(call, &steps)
}

fn run(call: &mut Call<'_, '_>, steps: &[Step]) -> CommandResult {
    let key = call.key(1);
    let bytes = string_at(call.view, key)?.unwrap_or_default();
    let mut draft = Draft { bytes, changed: BTreeMap::new() };
    // The string grows for what would be written, even where an overflow then prevents it.
    let writes = steps.iter().filter(|step| !matches!(step.action, Action::Get));
    if let Some(end) = writes.map(|step| step.bit + u64::from(step.shape.bits) - 1).max() {
        draft.reach(end);
    }
    call.reply.array(steps.len());
    for Step { shape, bit, action } in steps {
        let old = draft.read(*shape, *bit);
        let (new, answer) = match action {
            Action::Get => (None, Some(old)),
            Action::Set(value, overflow) => {
                // An unsigned field takes a negative number for the huge one that has its bits.
                let value = if shape.signed { i128::from(*value) } else { i128::from(*value as u64) };
                let new = overflow.fit(*shape, value);
                (new, new.map(|_| old))
            }
            Action::Increment(by, overflow) => {
                let new = overflow.fit(*shape, old + i128::from(*by));
                (new, new)
            }
        };
        if let Some(new) = new {
            draft.write(*shape, *bit, new);
        }
        match answer {
            Some(number) => call.reply.integer(number as i64),
            None => call.reply.null(),
        }
    }
    for (offset, run) in draft.runs() {
        call.op(Operation::StringWrite { key: Cow::Borrowed(key), offset, bytes: Cow::Owned(run) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape() -> impl Strategy<Value = Shape> {
        (any::<bool>(), 1u32..64).prop_map(|(signed, bits)| Shape { signed, bits })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else_changes(
            bytes in proptest::collection::vec(any::<u8>(), 0..20),
            (a, b) in (shape(), shape()),
            place in 0u64..100,
            value: i64,
        ) {
            let mut draft = Draft { bytes: &bytes, changed: BTreeMap::new() };
            let beside = place + u64::from(a.bits);
            let neighbour = draft.read(b, beside);
            draft.write(a, place, a.wrap(i128::from(value)));
            prop_assert_eq!(draft.read(a, place), a.wrap(i128::from(value)));
            prop_assert_eq!(draft.read(b, beside), neighbour);
        }

        #[test]
        fn what_fits_is_kept_and_the_rest_lies_within(shape in shape(), value: i64) {
            let value = i128::from(value);
            for overflow in [Overflow::Wrap, Overflow::Saturate] {
                let fitted = overflow.fit(shape, value).unwrap();
                prop_assert!((shape.min()..=shape.max()).contains(&fitted));
                prop_assert!(fitted == value || !(shape.min()..=shape.max()).contains(&value));
            }
            prop_assert_eq!((shape.wrap(value) - value) % (1 << shape.bits), 0);
        }
    }
}
