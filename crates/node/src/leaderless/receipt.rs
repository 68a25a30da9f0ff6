//! What a command in a leaderless keyspace achieved: who acknowledged, who stood in for whom, who answered and who was behind.
// catalogue: B10 K16 K19

use crate::node::Node;
use crate::session::Receipt;
use alloc::string::String;
use alloc::vec::Vec;
use data::NodeId;
use protocol::leaderless::WriteReceipt;
use wire::{Protocol, ReplyWriter};

/// Who acknowledged the write of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct WrittenBy {
    pub required: usize,
    /// The minter first.
    pub replicas: Vec<NodeId>,
    /// Who stood in, and for whom.
    pub stand_ins: Vec<(NodeId, NodeId)>,
    pub is_sloppy: bool,
}

impl WrittenBy {
    pub fn of(receipt: &WriteReceipt) -> WrittenBy {
        WrittenBy {
            required: receipt.required,
            replicas: receipt.replicas.clone(),
            stand_ins: receipt.stand_ins.clone(),
            is_sloppy: receipt.is_sloppy(),
        }
    }
}

/// Who answered the read of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ReadBy {
    pub required: usize,
    pub replicas: Vec<NodeId>,
    pub stand_ins: Vec<NodeId>,
    pub stale: Vec<NodeId>,
}

/// The content of a receipt. Of a command with several keys it shows the key with the fewest.
#[derive(Clone, Default, Debug)]
pub(crate) struct QuorumReceipt {
    pub ring: u64,
    pub keys: usize,
    /// How it ended; empty for a read that was answered.
    pub outcome: &'static str,
    /// Versions of the key with the most of them, and keys that hold values of several types.
    pub versions: usize,
    pub mixed: usize,
    written: Option<WrittenBy>,
    read: Option<ReadBy>,
}

impl QuorumReceipt {
    pub(super) fn of(keys: usize) -> QuorumReceipt {
        QuorumReceipt { keys, ..QuorumReceipt::default() }
    }
    pub(super) fn wrote(&mut self, by: WrittenBy) {
        let count = |by: &WrittenBy| (by.replicas.len() + by.stand_ins.len(), by.replicas.len());
        if self.written.as_ref().is_none_or(|known| count(&by) < count(known)) {
            self.written = Some(by);
        }
    }
    pub(super) fn read(&mut self, by: ReadBy) {
        let count = |by: &ReadBy| (by.replicas.len() + by.stand_ins.len(), by.replicas.len());
        if self.read.as_ref().is_none_or(|known| count(&by) < count(known)) {
            self.read = Some(by);
        }
    }
}

impl Node {
    /// The reply to RECEIPT.
    pub(crate) fn quorum_receipt_bytes(
        &self,
        protocol: Protocol,
        receipt: &Receipt,
        quorum: &QuorumReceipt,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ReplyWriter::new(&mut bytes, protocol);
        let w = &mut writer;
        let name = |node: NodeId| self.map.nodes.get(&node).map_or_else(String::new, |it| it.name.clone());
        let nodes = |w: &mut ReplyWriter<'_>, nodes: &[NodeId]| {
            w.array(nodes.len());
            nodes.iter().for_each(|node| w.bulk(name(*node).as_bytes()));
        };
        let (written, read) = (quorum.written.as_ref(), quorum.read.as_ref());
        let required = written.map(|by| by.required).or(read.map(|by| by.required)).unwrap_or(0);
        let replicas = written.map(|by| &by.replicas[..]).or(read.map(|by| &by.replicas[..])).unwrap_or(&[]);
        w.map(13);
        w.bulk(b"keyspace");
        w.bulk(self.keyspace_name(receipt.keyspace).as_bytes());
        w.bulk(b"kind");
        w.bulk(if receipt.write { b"write" } else { b"read" });
        w.bulk(b"outcome");
        w.bulk(if quorum.outcome.is_empty() { b"answered" } else { quorum.outcome.as_bytes() });
        w.bulk(b"node");
        w.bulk(name(receipt.node).as_bytes());
        w.bulk(b"role");
        w.bulk(b"coordinator");
        w.bulk(b"keys");
        w.integer(quorum.keys as i64);
        w.bulk(b"ring");
        w.integer(quorum.ring as i64);
        w.bulk(b"required");
        w.integer(required as i64);
        w.bulk(if receipt.write { &b"acknowledged-by"[..] } else { b"answered-by" });
        nodes(w, replicas);
        w.bulk(b"stood-in");
        let none: &[(NodeId, NodeId)] = &[];
        let stood_in = written.map_or(none, |by| &by.stand_ins);
        let answered = read.map_or(&[][..], |by| &by.stand_ins[..]);
        w.array(stood_in.len() + answered.len());
        for (holder, target) in stood_in {
            w.map(2);
            w.bulk(b"node");
            w.bulk(name(*holder).as_bytes());
            w.bulk(b"for");
            w.bulk(name(*target).as_bytes());
        }
        for holder in answered {
            w.map(1);
            w.bulk(b"node");
            w.bulk(name(*holder).as_bytes());
        }
        w.bulk(b"sloppy");
        w.boolean(written.is_some_and(|by| by.is_sloppy) || !answered.is_empty());
        w.bulk(b"stale");
        nodes(w, read.map_or(&[][..], |by| &by.stale[..]));
        w.bulk(b"versions");
        w.integer(quorum.versions as i64);
        bytes
    }
}
