//! What a node is told and what it wants done: the border between the pure node and whoever drives it (the server's
//! loop or the simulator's world). Both carry out [`Output`] with an exhaustive match.
//!
//! A driver's turn: feed inputs ([`crate::Node::step`], [`crate::Node::request`]), then call [`crate::Node::end_turn`]
//! with a clock read *after* all of them, then carry out the outputs and write what
//! [`crate::Node::take_replies`] gives for each ready connection.

use crate::message::PeerMessage;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use data::{GroupId, Incarnation, Index, NodeId, Position, Process};
use protocol::single_leader::Mark;

/// A client connection, numbered by the driver, never reused within a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

#[derive(Clone, Debug)]
pub enum Input {
    /// A client connected; `address` is its own, `local` the one it connected to, both as `host:port`.
    Connected {
        connection: ConnectionId,
        address: String,
        local: String,
    },
    /// A client is gone; its replies go nowhere.
    Closed {
        connection: ConnectionId,
    },
    /// A message of a peer that has proved who it is.
    Peer {
        from: NodeId,
        incarnation: Incarnation,
        process: Process,
        /// The message version that the connection speaks.
        version: u8,
        message: PeerMessage,
    },
    /// Messages can be sent and received; `version` is the message version that both speak.
    PeerUp {
        node: NodeId,
        version: u8,
        /// The number of its engine's format ([`data::log_format::ENGINE_FORMAT`]).
        engine_format: u16,
    },
    PeerDown {
        node: NodeId,
    },
    /// Everything of [`Output::Persist`] up to this token is as durable as was asked for.
    /// `durable`: batches of the log that survive a power cut by now; 0 without a disk.
    Persisted {
        token: u64,
        durable: u64,
    },
    /// Answer to [`Output::ReadLog`]: the entry before the records (position and rolling hash) and the records; no records when
    /// the log no longer reaches back so far.
    LogRead {
        group: GroupId,
        to: NodeId,
        before: Mark,
        records: Bytes,
    },
    /// The snapshot that [`Output::WriteSnapshot`] wrote is durable and in place; `len` is its length in bytes.
    SnapshotStored {
        group: GroupId,
        mark: Mark,
        len: u64,
    },
    /// Answer to [`Output::ReadSnapshot`]; no bytes when there is no such snapshot any more.
    SnapshotRead {
        group: GroupId,
        to: NodeId,
        position: Position,
        offset: u64,
        bytes: Bytes,
    },
    /// So much of a snapshot is already here: where the transfer goes on. Answers [`Output::ReceiveSnapshot`].
    SnapshotReceived {
        group: GroupId,
        mark: Mark,
        offset: u64,
    },
    /// Writing failed for good: the node stops taking part in replication. The text says what the disk said.
    DiskFailed {
        reason: String,
    },
    /// The oldest part of the log, with so many bytes behind it, is kept because these groups were not released through here.
    LogBlocked {
        behind_bytes: u64,
        by: Vec<(GroupId, Index)>,
    },
    /// The log has no room to grow (or has some again). Nothing was lost; what was handed over waits.
    DiskFull {
        full: bool,
    },
    /// An empty node asks to become a member; answered by [`Output::JoinAnswer`], or never.
    Join {
        nonce: u64,
        name: String,
        addresses: control::Addresses,
        site: String,
    },
    /// Called about every 5 ms.
    Tick,
}

#[derive(Clone, Debug)]
pub enum Output {
    /// A message that the connection's version does not have is dropped: it was said before the node heard of that connection.
    Send {
        to: NodeId,
        message: PeerMessage,
    },
    /// Append these records, in this order, to the log. `flush`: answer only when they survive a power cut; else when the
    /// operating system has them. Tokens ascend; `Input::Persisted` names the last one that is done.
    Persist {
        token: u64,
        records: Bytes,
        flush: bool,
    },
    /// Read the group's log from this index on, at most so many bytes (but at least one record).
    ReadLog {
        group: GroupId,
        to: NodeId,
        from: Index,
        bytes_max: usize,
    },
    /// One piece of a snapshot of this place; `first` begins it (and abandons another unfinished one of the group), `last`
    /// completes it: make it durable, put it in the place of older ones.
    WriteSnapshot {
        group: GroupId,
        mark: Mark,
        bytes: Vec<u8>,
        first: bool,
        last: bool,
    },
    ReadSnapshot {
        group: GroupId,
        to: NodeId,
        position: Position,
        offset: u64,
        len_max: usize,
    },
    /// A piece of another node's snapshot. Keep it beside what came before (`offset` says where it goes; 0 bytes ask how
    /// much is there); when `len` bytes are complete, verify and hand it to [`crate::Node::install_snapshot`].
    ReceiveSnapshot {
        group: GroupId,
        mark: Mark,
        offset: u64,
        bytes: Bytes,
        len: u64,
    },
    /// Entries of the group through this index may be deleted from the log.
    ReleaseLog {
        group: GroupId,
        through: Index,
    },
    /// The group is no longer held here: its log and snapshots may go.
    DropGroup {
        group: GroupId,
    },
    /// The node at this peer address is a member now, under this number.
    JoinAnswer {
        peer: String,
        node: NodeId,
        map: Arc<control::ClusterMap>,
    },
    /// Close the connection once its replies are written.
    Close {
        connection: ConnectionId,
    },
    /// The node wants to end (SHUTDOWN).
    Shutdown,
    /// The data directory holds less than this node has promised. Mark it, so that no process ever starts with it again; say why;
    /// end.
    Abandon {
        reason: String,
    },
    Event(Event),
}

/// Something worth a line in the log or a count in the metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A group's role on this node changed.
    Role {
        group: GroupId,
        role: protocol::single_leader::RoleName,
        epoch: data::Epoch,
    },
    /// What a replica reports.
    Replica {
        group: GroupId,
        report: protocol::single_leader::Report,
    },
    /// Entries that a copy loses went to the ledger; so many of them were acknowledged for certain.
    Ledger {
        group: GroupId,
        items: u64,
        acknowledged: u64,
    },
    /// What the control plane reports, in words.
    Control(String),
    SnapshotTaken {
        group: GroupId,
        position: Position,
    },
    SnapshotInstalled {
        group: GroupId,
        position: Position,
    },
    /// An alarm: what this copy holds is not what others hold behind the same log. It is shown to nobody until that is settled.
    Doubted {
        group: GroupId,
        keyspace: String,
        doubt: crate::audit::Doubt,
    },
    /// The copy in doubt was right.
    Cleared {
        group: GroupId,
    },
    /// The copy in doubt was made anew and holds everything through here.
    Rebuilt {
        group: GroupId,
        position: Position,
    },
    /// What a copy of a leaderless shard reports.
    Leaderless {
        group: GroupId,
        report: protocol::leaderless::Report,
    },
    /// What the exchange of a site's group reports.
    Site {
        group: GroupId,
        report: protocol::multi_leader::Report,
    },
    /// A copy cannot follow the group's log in its format, and why: nothing of the group travels between it and this node.
    Refused {
        group: GroupId,
        node: NodeId,
        why: String,
    },
    /// This node stopped replicating and says why.
    Stopped(String),
}
