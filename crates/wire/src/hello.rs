//! What a node says of itself when it meets another, and the reasons to refuse it.
//!
//! A hello is only ever extended at its end, and what stands behind the known fields is ignored (but proven, with the
//! rest, by the [handshake](crate::handshake)): so nodes of all versions can read each other's hello and say precisely
//! why they cannot work together.

use data::codec::{DecodeError, Reader, Writer};
use data::{Incarnation, NodeId, Process};

use alloc::format;
use alloc::string::String;
use core::fmt;

/// Bytes of random challenge from each side: too many for one to come twice.
pub const NONCE_LEN: usize = 32;
/// Bytes of a node's name.
pub const NAME_LEN_MAX: usize = 255;

/// Who a node is and what it can read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster's id; 0 for a node that belongs to none yet (a founder, a joiner).
    pub cluster: u64,
    /// 0 for a node that the control plane has not numbered yet.
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub process: Process,
    /// At most [`NAME_LEN_MAX`] bytes; what is beyond is cut off.
    pub name: String,
    /// The feature level that is in force in its cluster: everyone in it reads what this level may write.
    pub level: u16,
    /// The highest feature level that this program reads.
    pub level_max: u16,
    /// The message versions that this program speaks, from 1.
    pub version_min: u8,
    pub version_max: u8,
    /// The number of the encoding of values that its engine writes: a physical log ties copies to one. 0 from a program that says
    /// nothing of it, and writes no such log.
    pub engine_format: u16,
}

/// An identity, addressed to someone, with a challenge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    pub identity: Identity,
    /// The node that is believed to live at this address; 0 for whoever it is.
    pub expects: NodeId,
    pub nonce: [u8; NONCE_LEN],
}

impl Hello {
    pub fn encode(&self, w: &mut Writer<'_>) {
        let own = &self.identity;
        w.u8(own.version_min);
        w.u8(own.version_max);
        w.u16(own.level);
        w.u16(own.level_max);
        w.u64(own.cluster);
        own.node.encode(w);
        own.incarnation.encode(w);
        own.process.encode(w);
        self.expects.encode(w);
        w.buffer.extend_from_slice(&self.nonce);
        let mut end = own.name.len().min(NAME_LEN_MAX);
        while !own.name.is_char_boundary(end) {
            end -= 1;
        }
        w.text(&own.name[..end]);
        w.u16(own.engine_format);
    }

    pub fn decode(r: &mut Reader<'_>) -> Result<Hello, DecodeError> {
        let (version_min, version_max) = (r.u8()?, r.u8()?);
        if version_min == 0 || version_min > version_max {
            return Err(DecodeError::Invalid("range of versions"));
        }
        let (level, level_max) = (r.u16()?, r.u16()?);
        let cluster = r.u64()?;
        let node = NodeId::decode(r)?;
        let incarnation = Incarnation::decode(r)?;
        let process = Process::decode(r)?;
        let expects = NodeId::decode(r)?;
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(r.take(NONCE_LEN)?);
        let name = r.text()?;
        if name.len() > NAME_LEN_MAX {
            return Err(DecodeError::Invalid("length of name"));
        }
        let engine_format = if r.remaining() < 2 { 0 } else { r.u16()? };
        let identity = Identity {
            cluster,
            node,
            incarnation,
            process,
            name,
            level,
            level_max,
            version_min,
            version_max,
            engine_format,
        };
        Ok(Hello { identity, expects, nonce })
    }
}

/// Why two nodes do not talk, as seen by the side that refused. The numbers are on the wire for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Reason {
    /// Both belong to a cluster, and not to the same.
    OtherCluster = 1,
    /// The other side does not hold the cluster's secret.
    WrongSecret = 2,
    /// The other side's newest version or level is older than anything this side may use.
    PeerTooOld = 3,
    /// The other side's oldest version or its cluster's level is newer than anything this side reads.
    PeerTooNew = 4,
    /// Another node lives at this address than the one that was looked for.
    WrongNode = 5,
    /// The other side claims this node's own id: a wrong address, or a copied data directory.
    SameNode = 6,
    /// Bytes that are no handshake, or not the one expected now.
    Malformed = 7,
}

impl Reason {
    pub(crate) fn from_byte(byte: u8) -> Option<Reason> {
        use Reason as R;
        [
            R::OtherCluster,
            R::WrongSecret,
            R::PeerTooOld,
            R::PeerTooNew,
            R::WrongNode,
            R::SameNode,
            R::Malformed,
        ]
        .into_iter()
        .find(|reason| *reason as u8 == byte)
    }
    fn text(self) -> &'static str {
        match self {
            Reason::OtherCluster => "other cluster",
            Reason::WrongSecret => "wrong secret",
            Reason::PeerTooOld => "the other side is too old",
            Reason::PeerTooNew => "the other side is too new",
            Reason::WrongNode => "wrong node at this address",
            Reason::SameNode => "the same node id",
            Reason::Malformed => "malformed handshake",
        }
    }
}

/// A handshake that failed. The connection must be closed after what was written for the peer is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub reason: Reason,
    /// Whether the other side refused. It has proven nothing: believe it for a log line and a slower retry only.
    pub by_peer: bool,
    /// The values that did not fit, for the operator.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, detail: String) -> Refusal {
        Refusal { reason, by_peer: false, detail }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.by_peer { "refused by the other side" } else { "refused" };
        write!(f, "{who}: {}: {}", self.reason.text(), self.detail)
    }
}
impl core::error::Error for Refusal {}

/// Whether two identities can work together: the message version that both will speak, the newest that both know.
/// `expected` is the node that this side looked for, 0 for any.
pub(crate) fn agree(own: &Identity, peer: &Identity, expected: NodeId) -> Result<u8, Refusal> {
    if own.cluster != 0 && peer.cluster != 0 && own.cluster != peer.cluster {
        let detail = format!("ours is {:016x}, theirs {:016x}", own.cluster, peer.cluster);
        return Err(Refusal::new(Reason::OtherCluster, detail));
    }
    if peer.version_max < own.version_min {
        let detail =
            format!("it speaks message versions up to {}, we from {}", peer.version_max, own.version_min);
        return Err(Refusal::new(Reason::PeerTooOld, detail));
    }
    if peer.version_min > own.version_max {
        let detail =
            format!("it speaks message versions from {}, we up to {}", peer.version_min, own.version_max);
        return Err(Refusal::new(Reason::PeerTooNew, detail));
    }
    if peer.level_max < own.level {
        let detail =
            format!("it reads up to feature level {}, the cluster is at {}", peer.level_max, own.level);
        return Err(Refusal::new(Reason::PeerTooOld, detail));
    }
    if peer.level > own.level_max {
        let detail =
            format!("its cluster is at feature level {}, we read up to {}", peer.level, own.level_max);
        return Err(Refusal::new(Reason::PeerTooNew, detail));
    }
    if expected != NodeId(0) && peer.node != expected {
        let detail = format!("looked for {expected}, found {} ({:?})", peer.node, peer.name);
        return Err(Refusal::new(Reason::WrongNode, detail));
    }
    if own.node != NodeId(0) && own.node == peer.node {
        let detail = if own.process == peer.process {
            format!("{} reached itself", own.node)
        } else {
            format!("{:?} claims to be {} too", peer.name, own.node)
        };
        return Err(Refusal::new(Reason::SameNode, detail));
    }
    Ok(own.version_max.min(peer.version_max))
}
