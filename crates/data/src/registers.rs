//! The registers of a hyperloglog, and the string that Redis keeps them in.
//!
//! 16,384 registers of six bits. The string is a head of 16 bytes ("HYLL", the encoding, three unused bytes, a count that Redis keeps
//! for later) and the registers: *dense*, six bits each from the lowest bit of the first byte on, or *sparse*, in runs. What is
//! written here is always dense, with the kept count marked as outdated; both are read.
//!
//! Source: Flajolet et al., "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm" (2007);
//! the format is that of Redis 2.8.9 and later.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// How many registers there are.
pub const REGISTERS: usize = 16_384;
/// The highest value that six bits hold.
pub const VALUE_MAX: u8 = 63;
const BITS: usize = 6;
const MAGIC: &[u8; 4] = b"HYLL";
const HEAD_LEN: usize = 16;
const ENCODING_AT: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// The highest bit of this byte says that the count in the head is outdated.
const OUTDATED_AT: usize = 15;
const OUTDATED: u8 = 0x80;
/// Bytes of a dense string.
pub const DENSE_LEN: usize = HEAD_LEN + (REGISTERS * BITS).div_ceil(8);

/// Why a string is none that holds registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoRegisters {
    /// It does not begin like one, or is too short or too long.
    Other,
    /// It begins like one, and its runs do not come to all registers.
    Corrupted,
}

/// One byte for each register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registers(Box<[u8]>);

impl Default for Registers {
    fn default() -> Registers {
        Registers(alloc::vec![0; REGISTERS].into())
    }
}

/// The byte in which a register begins in a dense string, and at which bit.
fn place(at: usize) -> (usize, usize) {
    (HEAD_LEN + at * BITS / 8, at * BITS % 8)
}

impl Registers {
    /// Raises a register to this value at least; whether it was lower. Nothing for a register that there is not.
    pub fn raise(&mut self, at: u16, value: u8) -> bool {
        let Some(register) = self.0.get_mut(usize::from(at)) else { return false };
        let (before, after) = (*register, (*register).max(value.min(VALUE_MAX)));
        *register = after;
        before < after
    }
    /// All registers in their order.
    pub fn values(&self) -> &[u8] {
        &self.0
    }
    /// The registers that stand above zero.
    pub fn points(&self) -> impl Iterator<Item = (u16, u8)> + '_ {
        let all = self.0.iter().enumerate().filter(|(_, value)| **value > 0);
        all.map(|(at, value)| (at as u16, *value))
    }
    /// Reads a string of either encoding.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &[u8]) -> Result<Registers, NoRegisters> {
        if text.len() < HEAD_LEN || !text.starts_with(MAGIC) {
            return Err(NoRegisters::Other);
        }
        match text[ENCODING_AT] {
            DENSE if text.len() == DENSE_LEN => Ok(Registers::dense(text)),
            SPARSE => Registers::sparse(&text[HEAD_LEN..]).ok_or(NoRegisters::Corrupted),
            _ => Err(NoRegisters::Other),
        }
    }
    fn dense(text: &[u8]) -> Registers {
        let mut registers = Registers::default();
        for (at, register) in registers.0.iter_mut().enumerate() {
            let (byte, bit) = place(at);
            let low = u16::from(text[byte]);
            let high = text.get(byte + 1).map_or(0, |byte| u16::from(*byte));
            *register = ((high << 8 | low) >> bit) as u8 & VALUE_MAX;
        }
        registers
    }
    fn sparse(mut runs: &[u8]) -> Option<Registers> {
        let mut registers = Registers::default();
        let mut at = 0;
        while let Some((first, rest)) = runs.split_first() {
            runs = rest;
            let (len, value) = match first >> 6 {
                0 => (usize::from(first & 0x3f) + 1, 0),
                1 => {
                    let (second, rest) = runs.split_first()?;
                    runs = rest;
                    ((usize::from(first & 0x3f) << 8 | usize::from(*second)) + 1, 0)
                }
                _ => (usize::from(first & 3) + 1, (first >> 2 & 0x1f) + 1),
            };
            registers.0.get_mut(at..at + len)?.fill(value);
            at += len;
        }
        (at == REGISTERS).then_some(registers)
    }
    /// The dense string.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = alloc::vec![0; DENSE_LEN];
        text[..MAGIC.len()].copy_from_slice(MAGIC);
        text[OUTDATED_AT] = OUTDATED;
        for (at, value) in self.points() {
            let (byte, bit) = place(usize::from(at));
            let bits = u16::from(value) << bit;
            text[byte] |= bits as u8;
            if let Some(next) = text.get_mut(byte + 1) {
                *next |= (bits >> 8) as u8;
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dense_string_holds_every_register() {
        let mut registers = Registers::default();
        for at in 0..REGISTERS as u16 {
            registers.raise(at, (at % 64) as u8);
        }
        assert!(!registers.raise(63, 62) && registers.raise(62, 63) && !registers.raise(62, 200));
        assert!(!registers.raise(REGISTERS as u16, 1));
        let text = registers.to_text();
        assert_eq!(text.len(), 12_304);
        assert_eq!(Registers::parse(&text), Ok(registers.clone()));
        let points: Vec<(u16, u8)> = registers.points().collect();
        assert_eq!(points.len(), REGISTERS - REGISTERS / 64);
        assert_eq!(Registers::parse(&text[..12_303]), Err(NoRegisters::Other));
        assert_eq!(Registers::parse(b"HYLL"), Err(NoRegisters::Other));
        assert_eq!(Registers::parse(b"text that is longer than a head"), Err(NoRegisters::Other));
    }

    #[test]
    fn sparse_strings_are_read_and_bad_ones_refused() {
        let text = |runs: &[u8]| {
            let mut text = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80".to_vec();
            text.extend_from_slice(runs);
            text
        };
        // Two zeros, three registers of 5, and 16,379 zeros.
        let registers = Registers::parse(&text(&[0x01, 0x80 | 4 << 2 | 2, 0x7f, 0xfa])).expect("registers");
        assert_eq!(registers.points().collect::<Vec<_>>(), [(2, 5), (3, 5), (4, 5)]);
        for runs in [&[0x7f][..], &[0x7f, 0xfe], &[0x7f, 0xff, 0x00], &[]] {
            assert_eq!(Registers::parse(&text(runs)), Err(NoRegisters::Corrupted), "{runs:?}");
        }
    }
}
