//! What counters add up: whole numbers exactly, fractions as well as doubles can.

use super::codec::{Decoder, Encoder};
use crate::codec::{DecodeError, Reader, Writer};

/// A whole part and a fractional part, added and subtracted apart: INCR is exact however many INCRBYFLOAT went
/// before.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Amount {
    whole: i128,
    /// Finite, and never minus zero: equal amounts have equal bytes.
    float: f64,
}

impl Amount {
    pub const ZERO: Amount = Amount { whole: 0, float: 0.0 };

    pub fn whole(whole: i64) -> Amount {
        Amount { whole: i128::from(whole), float: 0.0 }
    }
    /// `None` for what is infinite or no number: it would swallow every later amount.
    pub fn float(float: f64) -> Option<Amount> {
        float.is_finite().then_some(Amount { whole: 0, float: float + 0.0 })
    }
    /// The sum, when no fraction ever went into it.
    pub fn as_whole(self) -> Option<i128> {
        (self.float == 0.0).then_some(self.whole)
    }
    /// Within the range of finite doubles.
    pub fn as_float(self) -> f64 {
        bounded(self.whole as f64 + self.float)
    }
    /// Whole parts wrap at 128 bits, so differences stay right; fractions stop at the largest double.
    #[must_use]
    pub fn plus(self, other: Amount) -> Amount {
        Amount { whole: self.whole.wrapping_add(other.whole), float: bounded(self.float + other.float) }
    }
    #[must_use]
    pub fn minus(self, other: Amount) -> Amount {
        Amount { whole: self.whole.wrapping_sub(other.whole), float: bounded(self.float - other.float) }
    }
    pub(super) fn encode(self, encoder: &mut Encoder<'_, '_>) {
        encoder.byte(u8::from(self.float != 0.0));
        encoder.signed(self.whole);
        if self.float != 0.0 {
            encoder.float(self.float);
        }
    }
    /// Alone, in a fixed length.
    pub fn write(self, writer: &mut Writer<'_>) {
        writer.u64((self.whole as u128 >> 64) as u64);
        writer.u64(self.whole as u64);
        writer.f64(self.float);
    }
    /// # Errors
    /// When the bytes are not what [`Amount::write`] writes.
    pub fn read(reader: &mut Reader<'_>) -> Result<Amount, DecodeError> {
        let (high, low) = (reader.u64()?, reader.u64()?);
        let float = reader.f64()?;
        if !float.is_finite() || (float == 0.0 && float.is_sign_negative()) {
            return Err(DecodeError::Invalid("amount"));
        }
        Ok(Amount { whole: (u128::from(high) << 64 | u128::from(low)) as i128, float })
    }
    pub(super) fn decode(decoder: &mut Decoder<'_>) -> Result<Amount, DecodeError> {
        let has_float = decoder.flag()?;
        let whole = decoder.signed()?;
        let float = if has_float { decoder.finite()? } else { 0.0 };
        if has_float && float == 0.0 {
            return Err(DecodeError::Invalid("amount"));
        }
        Ok(Amount { whole, float })
    }
}

fn bounded(sum: f64) -> f64 {
    sum.clamp(f64::MIN, f64::MAX) + 0.0
}
