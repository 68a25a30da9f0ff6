//! Counting and finding bits within a range.

use crate::arguments::{integer, is};
use crate::call::{Call, CommandError, CommandResult};
use crate::string::string_at;
use core::ops::Range;

/// `start end [BYTE|BIT]` as a client wrote it.
struct Ends {
    start: i64,
    /// `None` is the end of the string, whatever its length.
    end: Option<i64>,
    in_bits: bool,
}

impl Ends {
    fn parse(args: &[&[u8]]) -> Result<Ends, CommandError> {
        let (start, end, unit) = match args {
            [] => return Ok(Ends { start: 0, end: None, in_bits: false }),
            [start] => (start, None, None),
            [start, end] => (start, Some(end), None),
            [start, end, unit] => (start, Some(end), Some(unit)),
            _ => return Err(CommandError::SYNTAX),
        };
        let in_bits = match unit {
            Some(unit) if is(unit, "BIT") => true,
            Some(unit) if !is(unit, "BYTE") => return Err(CommandError::SYNTAX),
            _ => false,
        };
        let end = end.map(|end| integer(end)).transpose()?;
        Ok(Ends { start: integer(start)?, end, in_bits })
    }
    /// The bits that are meant in a string of so many bytes; negative ends count from its end.
    fn bits(&self, bytes: usize) -> Range<u64> {
        let unit = if self.in_bits { 1 } else { 8 };
        let length = bytes as i64 * 8 / unit;
        let place = |at: i64| if at < 0 { at.saturating_add(length).max(0) } else { at };
        let (from, last) = (place(self.start), place(self.end.unwrap_or(-1)).min(length - 1));
        if from > last { 0..0 } else { (from * unit) as u64..((last + 1) * unit) as u64 }
    }
}

pub(super) fn bitcount(call: &mut Call<'_, '_>) -> CommandResult {
    if call.args.len() == 3 {
        return Err(CommandError::SYNTAX);
    }
    let ends = Ends::parse(call.rest(2))?;
    let bytes = string_at(call.view, call.key(1))?.unwrap_or_default();
    // As with GETRANGE, two negative ends in the wrong order mean nothing even where clamping would join them.
    let crossed = ends.end.is_some_and(|end| end < 0 && ends.start < 0 && ends.start > end);
    let count = if crossed { 0 } else { ones(bytes, ends.bits(bytes.len())) };
    call.reply.integer(count as i64);
    Ok(())
}

pub(super) fn bitpos(call: &mut Call<'_, '_>) -> CommandResult {
    let wanted = match integer(call.key(2))? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::fixed("ERR The bit argument must be 1 or 0.")),
    };
    let ends = Ends::parse(call.rest(3))?;
    let place = match string_at(call.view, call.key(1))? {
        None => (!wanted).then_some(0),
        Some(bytes) => {
            let bits = ends.bits(bytes.len());
            // Without an end the string goes on with zeros for ever.
            let open = !wanted && ends.end.is_none() && !bits.is_empty();
            first(bytes, bits.clone(), wanted).or(open.then_some(bits.end))
        }
    };
    call.reply.integer(place.map_or(-1, |bit| bit as i64));
    Ok(())
}

/// First and last byte of a range that is not empty, with masks for the bits of it that lie in them.
fn edges(bits: &Range<u64>) -> ((usize, u8), (usize, u8)) {
    let last = bits.end - 1;
    let (head, tail) = (0xff >> (bits.start % 8), 0xff << (7 - last % 8));
    (((bits.start / 8) as usize, head), ((last / 8) as usize, tail))
}

/// Number of bits set; the range lies within the bytes.
fn ones(bytes: &[u8], bits: Range<u64>) -> u64 {
    if bits.is_empty() {
        return 0;
    }
    let ((first, head), (last, tail)) = edges(&bits);
    if first == last {
        return u64::from((bytes[first] & head & tail).count_ones());
    }
    let (words, rest) = bytes[first + 1..last].as_chunks::<8>();
    let inner: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let rest: u32 = rest.iter().map(|byte| byte.count_ones()).sum();
    inner + u64::from(rest + (bytes[first] & head).count_ones() + (bytes[last] & tail).count_ones())
}

/// The first bit of the wanted kind; the range lies within the bytes.
fn first(bytes: &[u8], bits: Range<u64>, wanted: bool) -> Option<u64> {
    if bits.is_empty() {
        return None;
    }
    let flip = if wanted { 0 } else { 0xff };
    let ((first, head), (last, tail)) = edges(&bits);
    let found = |at: usize, mask: u8| {
        let byte = (bytes[at] ^ flip) & mask;
        (byte != 0).then(|| at as u64 * 8 + u64::from(byte.leading_zeros()))
    };
    if first == last {
        return found(first, head & tail);
    }
    let inner = || bytes[first + 1..last].iter().position(|byte| *byte != flip);
    found(first, head)
        .or_else(|| inner().and_then(|at| found(first + 1 + at, 0xff)))
        .or_else(|| found(last, tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_and_places_are_those_of_single_bits(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xffu8), any::<u8>()], 0..30),
            ends: (prop::sample::Index, prop::sample::Index),
        ) {
            let length = bytes.len() as u64 * 8;
            let (a, b) = (ends.0.index(length as usize + 1) as u64, ends.1.index(length as usize + 1) as u64);
            let range = a.min(b)..a.max(b);
            let is_on = |bit: u64| bytes[(bit / 8) as usize] & (0x80 >> (bit % 8)) != 0;
            let on: Vec<u64> = range.clone().filter(|bit| is_on(*bit)).collect();
            prop_assert_eq!(ones(&bytes, range.clone()), on.len() as u64);
            prop_assert_eq!(first(&bytes, range.clone(), true), on.first().copied());
            prop_assert_eq!(first(&bytes, range.clone(), false), range.clone().find(|bit| !is_on(*bit)));
        }
    }
}
