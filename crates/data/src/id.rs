//! Identifiers and positions. Every one is a newtype, so that an epoch can never be passed for an index.

use crate::codec::{DecodeError, Reader, Writer};
use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $put:ident, $take:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $name {
            pub fn encode(self, writer: &mut Writer) {
                writer.$put(self.0);
            }
            pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok($name(reader.$take()?))
            }
            /// The one after this one.
            #[must_use]
            pub fn next(self) -> Self {
                $name(self.0 + 1)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

number!(
    /// A member of the cluster, numbered by the control plane, never reused.
    NodeId(u32), u32, u32, "n"
);
number!(
    /// One life of a node's data. A node that cannot prove that it still holds what it promised takes a new one.
    Incarnation(u64), u64, u64, "i"
);
number!(
    /// One run of a node's process. Leadership ends with it: a restarted leader is a follower.
    Process(u64), u64, u64, "p"
);
number!(
    /// A keyspace, never reused. 0 to 15 are the numbered keyspaces of `SELECT`.
    KeyspaceId(u32), u32, u32, "k"
);
number!(
    /// The replicas of one shard. 0 is the control plane's own group.
    GroupId(u32), u32, u32, "g"
);
number!(
    /// A site of a multi-leader keyspace, numbered by the control plane, never reused.
    SiteId(u32), u32, u32, "s"
);
number!(
    /// One leader process of a group. Grows with every election; 0 before the first.
    Epoch(u64), u64, u64, "e"
);
number!(
    /// Number of an entry in its group's log; the first entry is 1, 0 means "before the log".
    Index(u64), u64, u64, "#"
);
number!(
    /// Grows with any change of a group's view.
    ViewNumber(u64), u64, u64, "v"
);

impl Index {
    /// The one before this one; 0 stays 0.
    #[must_use]
    pub fn previous(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

/// The group that the control plane itself replicates.
pub const CONTROL_GROUP: GroupId = GroupId(0);

/// Where an entry stands in its group's history. Ordered by epoch first: of two logs the one whose last position is
/// greater is the more advanced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    pub epoch: Epoch,
    pub index: Index,
}

impl Position {
    pub fn new(epoch: u64, index: u64) -> Position {
        Position { epoch: Epoch(epoch), index: Index(index) }
    }
    pub fn encode(self, writer: &mut Writer) {
        self.epoch.encode(writer);
        self.index.encode(writer);
    }
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Position { epoch: Epoch::decode(reader)?, index: Index::decode(reader)? })
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.epoch, self.index)
    }
}
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch.0, self.index.0)
    }
}

/// Names one write of one client for ever: where it entered the cluster, in which process of that node, and its number
/// there. The all-zero id means "none": the write never leaves the node that got it, so it cannot be sent twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct RequestId {
    pub origin: NodeId,
    pub process: Process,
    pub sequence: u64,
}

impl RequestId {
    pub const NONE: RequestId = RequestId { origin: NodeId(0), process: Process(0), sequence: 0 };
    /// Stands in the place of the node in ids that clients chose themselves; the process then stands for the client.
    pub const BY_CLIENT: NodeId = NodeId(u32::MAX);

    /// Whether a client chose it, so that it may come again over any connection and node.
    pub fn is_by_client(self) -> bool {
        self.origin == RequestId::BY_CLIENT
    }

    pub fn is_none(self) -> bool {
        self == RequestId::NONE
    }
    pub fn encode(self, writer: &mut Writer) {
        self.origin.encode(writer);
        self.process.encode(writer);
        writer.u64(self.sequence);
    }
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(RequestId {
            origin: NodeId::decode(reader)?,
            process: Process::decode(reader)?,
            sequence: reader.u64()?,
        })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}:{}", self.origin.0, self.process.0, self.sequence)
    }
}
