//! Why storage could not do what it was asked. Each variant says what the caller can do about it.

use data::GroupId;
use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// Flushed data that is not what was written, or is not there any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Corruption {
    pub path: String,
    /// Byte offset in the file.
    pub offset: u64,
    /// What was wrong there.
    pub what: &'static str,
    /// The groups whose records were hit, when all of them are known; `None` means it may be any group of the stream.
    pub groups: Option<Vec<GroupId>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// No space left. Nothing was lost: free space, then go on.
    Full { path: String },
    /// The medium failed. What was being written may or may not be there: never retried (SL-12).
    Failed { op: &'static str, path: String, reason: String },
    /// No such file.
    Missing { path: String },
    /// The file exists already.
    Exists { path: String },
    /// Another process holds the directory.
    Locked { path: String },
    /// Flushed data was damaged: rebuild the replica from its peers; never cut here.
    Corrupt(Box<Corruption>),
    /// The file belongs to another cluster or node.
    Foreign { path: String, expected: u64, found: u64 },
    /// A newer version of Tercet wrote this: start that version.
    Newer { path: String, known: u32, found: u32 },
    /// An earlier failure, told here, made this log read-only for the rest of the process.
    Poisoned { reason: String },
    /// More than a file of this kind can hold.
    TooLarge { what: &'static str, max: u64 },
}

impl Error {
    pub(crate) fn corrupt(path: &str, offset: u64, what: &'static str) -> Error {
        Error::Corrupt(Box::new(Corruption { path: path.to_owned(), offset, what, groups: None }))
    }
    /// Whether the disk may serve again once there is space.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Full { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Full { path } => write!(f, "no space left for {path}: free space, then go on"),
            Error::Failed { op, path, reason } => write!(f, "{op} of {path} failed: {reason}"),
            Error::Missing { path } => write!(f, "{path} does not exist"),
            Error::Exists { path } => write!(f, "{path} exists already"),
            Error::Locked { path } => {
                write!(f, "{path} is held by another process: use another data directory")
            }
            Error::Corrupt(c) => {
                write!(
                    f,
                    "{} is damaged at byte {}: {}; rebuild this copy from its peers",
                    c.path, c.offset, c.what
                )
            }
            Error::Foreign { path, expected, found } => {
                write!(f, "{path} belongs to {found:#x}, not to {expected:#x}: use another data directory")
            }
            Error::Newer { path, known, found } => {
                write!(
                    f,
                    "{path} has format {found}, this program reads up to {known}: start the newer version"
                )
            }
            Error::Poisoned { reason } => write!(f, "the log stopped after an earlier failure: {reason}"),
            Error::TooLarge { what, max } => write!(f, "{what} is larger than {max}"),
        }
    }
}
impl std::error::Error for Error {}
