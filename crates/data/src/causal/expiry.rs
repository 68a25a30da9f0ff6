//! When a key expires: a later word replaces the earlier ones that it saw; among concurrent ones the longest time,
//! and above all "never", hold.
//!
//! An expired key is hidden, not removed: were it removed by whoever's clock says so, a concurrent PERSIST would come
//! too late. Only a write that finds it expired removes what it saw.

use super::codec::{Decoder, Encoder};
use super::siblings::{Payload, Siblings};
use crate::codec::DecodeError;

/// A word on a key's expiry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Deadline {
    /// In milliseconds since 1970.
    At(i64),
    Never,
}

impl Payload for Deadline {
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        match self {
            Deadline::Never => encoder.byte(0),
            Deadline::At(at_ms) => {
                encoder.byte(1);
                encoder.signed(i128::from(*at_ms));
            }
        }
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Deadline, DecodeError> {
        if !decoder.flag()? {
            return Ok(Deadline::Never);
        }
        let at_ms = i64::try_from(decoder.signed()?).map_err(|_| DecodeError::Invalid("expiry"))?;
        Ok(Deadline::At(at_ms))
    }
}

pub type Deadlines = Siblings<Deadline>;

impl Deadlines {
    /// The expiry that holds, in milliseconds since 1970; `None` for never.
    pub fn at_ms(&self) -> Option<i64> {
        match self.iter().map(|(_, deadline)| *deadline).max()? {
            Deadline::At(at_ms) => Some(at_ms),
            Deadline::Never => None,
        }
    }
}
