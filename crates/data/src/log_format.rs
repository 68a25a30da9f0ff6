//! What an entry of a single-leader log holds of a change: the choice between its three forms.
//!
//! | format | an entry holds | a copy that applies it |
//! |---|---|---|
//! | `row` | what changes, and what was there before | does what the entry says |
//! | `statement` | the command | executes it again |
//! | `physical` | the changed values, whole, as the engine encodes them | puts them in place |
//!
//! Every entry says its own format ([`crate::record::Kind`], and the first byte of its payload): a log may hold all three.
// catalogue: D1 D4 D6 B5

use crate::codec::{DecodeError, Reader, Writer};

/// In which form a keyspace's leader writes its entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum LogFormat {
    /// Operations with before images.
    #[default]
    Row,
    /// Commands, and a digest of what they did.
    Statement,
    /// The engine's encoded values.
    Physical,
}

/// Number of the encoding of values that `physical` entries carry. It grows with any change of [`crate::value::Value`]'s bytes, and
/// copies whose programs write different ones cannot follow each other physically.
pub const ENGINE_FORMAT: u16 = 1;

impl LogFormat {
    pub const ALL: [LogFormat; 3] = [LogFormat::Row, LogFormat::Statement, LogFormat::Physical];

    pub fn name(self) -> &'static str {
        match self {
            LogFormat::Row => "row",
            LogFormat::Statement => "statement",
            LogFormat::Physical => "physical",
        }
    }
    /// By the name that [`LogFormat::name`] gives.
    pub fn named(name: &str) -> Option<LogFormat> {
        LogFormat::ALL.into_iter().find(|format| format.name() == name)
    }
    pub fn encode(self, w: &mut Writer<'_>) {
        w.u8(match self {
            LogFormat::Row => 1,
            LogFormat::Statement => 2,
            LogFormat::Physical => 3,
        });
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<LogFormat, DecodeError> {
        Ok(match r.u8()? {
            1 => LogFormat::Row,
            2 => LogFormat::Statement,
            3 => LogFormat::Physical,
            _ => return Err(DecodeError::Invalid("log format")),
        })
    }
}
