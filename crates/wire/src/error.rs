//! Why bytes are not what the Redis protocol allows: requests of clients and replies of servers.

use core::fmt;

/// The first thing that was wrong. `Display` gives the whole error line that Redis would answer, without the leading `-`.
///
/// After any of these the stream has lost its frame: answer, then close the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// An argument began with this byte instead of `$`.
    ExpectedBulk(u8),
    MultibulkLength,
    BulkLength,
    /// The line that announces the number of arguments does not end.
    MultibulkLineTooLong,
    /// The line that announces an argument's length does not end.
    BulkLineTooLong,
    InlineTooLong,
    UnbalancedQuotes,
    /// More arguments than a client may send before it is authenticated.
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it is authenticated.
    UnauthenticatedBulkLength,
    /// The whole command is longer than the limit, though each argument is within its own.
    RequestTooLong,
    /// An argument was not followed by the end of its line: the announced length was wrong.
    BulkNotTerminated,
    /// HTTP came to this port: perhaps a browser that was tricked into it. Close without an answer.
    Http,
    /// A reply began with a byte that is no reply's.
    UnknownReply(u8),
    /// A reply's line, number or length cannot be understood: the name of the part.
    InvalidReply(&'static str),
    /// Aggregates of a reply lie in each other deeper than a reader follows.
    TooDeep,
    /// A stored reply ends early.
    Truncated,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ProtocolError as E;
        f.write_str("ERR Protocol error: ")?;
        match self {
            E::ExpectedBulk(byte) => write!(f, "expected '$', got '{}'", byte.escape_ascii()),
            E::MultibulkLength => f.write_str("invalid multibulk length"),
            E::BulkLength => f.write_str("invalid bulk length"),
            E::MultibulkLineTooLong => f.write_str("too big mbulk count string"),
            E::BulkLineTooLong => f.write_str("too big bulk count string"),
            E::InlineTooLong => f.write_str("too big inline request"),
            E::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            E::UnauthenticatedMultibulkLength => f.write_str("unauthenticated multibulk length"),
            E::UnauthenticatedBulkLength => f.write_str("unauthenticated bulk length"),
            E::RequestTooLong => f.write_str("too big request"),
            E::BulkNotTerminated => f.write_str("expected a line end after an argument"),
            E::Http => f.write_str("this port speaks the Redis protocol, not HTTP"),
            E::UnknownReply(byte) => write!(f, "no reply begins with '{}'", byte.escape_ascii()),
            E::InvalidReply(what) => write!(f, "invalid {what} in a reply"),
            E::TooDeep => f.write_str("reply is nested too deep"),
            E::Truncated => f.write_str("reply ends early"),
        }
    }
}
impl core::error::Error for ProtocolError {}
