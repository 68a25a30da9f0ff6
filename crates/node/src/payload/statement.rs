//! An entry in statement format: what every copy executes, and a digest of what came of it where it was executed first.
//!
//! ```text
//! command    1   number of words, words
//! operation  2   one operation: of a command that is rewritten, or of none (expiry, keys that come with a move)
//! ```
//!
//! The digest covers the rows that the row format would have logged, before images included. A copy whose commands do something
//! else, or find something else, knows it at once; and a lost command is applied again only where it would do the same.
//! The time that it was executed at is the record's.
// catalogue: D1 D2
// bugs: SL-23

use alloc::vec::Vec;
use commands::find;
use data::codec::{DecodeError, Reader, Writer};
use data::operation::Operation;

#[derive(Clone)]
pub struct Statement<'a> {
    /// [`data::table::digest`] of the rows.
    pub digest: u64,
    steps: Reader<'a>,
}

/// One thing that a copy does.
pub enum Step<'a> {
    Command(Vec<&'a [u8]>),
    Operation(Operation<'a>),
}

/// Words of one command that are read, at most: as many as a client may send.
const WORDS_MAX: usize = 1 << 20;

pub(crate) fn write_command(w: &mut Writer<'_>, args: &[&[u8]]) {
    w.u8(1);
    w.list(args, |w, word| w.bytes(word));
}

pub(crate) fn write_operation(w: &mut Writer<'_>, operation: &Operation<'_>) {
    w.u8(2);
    operation.encode(w);
}

impl<'a> Statement<'a> {
    pub(super) fn parse(mut r: Reader<'a>) -> Result<Statement<'a>, DecodeError> {
        Ok(Statement { digest: r.u64()?, steps: r })
    }
    /// The next step, `None` at the end.
    pub fn next_step(&mut self) -> Result<Option<Step<'a>>, DecodeError> {
        if self.steps.is_empty() {
            return Ok(None);
        }
        Ok(Some(match self.steps.u8()? {
            1 => {
                let words = self.steps.list(|r| r.bytes())?;
                if words.is_empty() || words.len() > WORDS_MAX {
                    return Err(DecodeError::Invalid("number of words"));
                }
                Step::Command(words)
            }
            2 => Step::Operation(Operation::decode(&mut self.steps)?),
            _ => return Err(DecodeError::Invalid("step of a statement")),
        }))
    }
    pub fn all(mut self) -> Result<Vec<Step<'a>>, DecodeError> {
        let mut steps = Vec::new();
        while let Some(step) = self.next_step()? {
            steps.push(step);
        }
        Ok(steps)
    }
}

impl Step<'_> {
    /// The keys that it names, those that are only read too.
    pub(crate) fn each_key(&self, each: &mut dyn FnMut(&[u8])) {
        match self {
            Step::Operation(operation) => operation.keys().for_each(each),
            Step::Command(args) => {
                let spec = args.first().and_then(|name| find(name));
                let keys = spec.and_then(|spec| commands::docs::keys_of(spec, args).ok());
                keys.into_iter().flatten().for_each(each);
            }
        }
    }
    /// What it writes into a string, a set or a list, as far as its words say.
    pub(super) fn written(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let args = match self {
            Step::Operation(operation) => return super::written_by(operation),
            Step::Command(args) => args,
        };
        let (Some(name), Some(key)) = (args.first(), args.get(1)) else { return Vec::new() };
        let values = match &name.to_ascii_lowercase()[..] {
            b"set" => args.get(2..3),
            b"sadd" | b"rpush" | b"lpush" => args.get(2..),
            _ => None,
        };
        values.unwrap_or_default().iter().map(|value| (key.to_vec(), value.to_vec())).collect()
    }
}
