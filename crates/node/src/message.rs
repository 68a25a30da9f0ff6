//! Messages between nodes. Each is the body of one peer frame; the frame's kind is [`PeerMessage::kind`].
//!
//! A connection speaks the newest message version that both ends know ([`VERSION_MAX`]): a cluster is upgraded node by node. A new kind
//! of message raises the version and is sent only where [`PeerMessage::since_version`] allows.

mod work;

pub use work::{Forward, Work};

use crate::admin::ledger::{self, Ask, Listed};
use crate::audit;
use crate::inbox;
use crate::latency;
use crate::moving::{self, Piece};
use crate::rollback::{self, Life};
use alloc::vec::Vec;
use bytes::Bytes;
use data::codec::{DecodeError, Reader, Writer};
use data::{GroupId, Position, Process, RequestId};
use protocol::single_leader::Mark;
use protocol::{lease, single_leader};

/// Message versions that this program speaks.
pub const VERSION_MIN: u8 = 1;
pub const VERSION_MAX: u8 = 12;
/// What is given with a command, and questions for a write's fate, travel since this version.
pub const OPTIONS_SINCE: u8 = 3;
/// Followers feed each other since this version. To an older node nothing comes through a link: its leader feeds it itself.
pub const LINKS_SINCE: u8 = 4;

/// Messages between sites may come compressed since this version: in frames of a kind of their own, which the driver unpacks.
pub const PACKED_SINCE: u8 = 10;
pub const PACKED_KIND: u8 = 62;

/// Members know [`control::LEVEL`] since this version.
pub const LEVEL_SINCE: u8 = 11;

/// What a session saw goes with it to another site since this version.
pub const HELD_SINCE: u8 = 12;

/// Members read rules in the map since this version.
pub const RULES_SINCE: u8 = 9;

/// Followers go on without entries under `best-effort` since this version.
pub const GAPS_SINCE: u8 = 6;

#[derive(Clone, Debug)]
pub enum PeerMessage {
    /// Between the replicas of a group.
    Replication { group: GroupId, message: single_leader::Message },
    /// Between pairs of nodes.
    Lease(lease::Message),
    /// Of the control plane.
    Control(control::Message),
    /// A client's command on its way to the group's leader.
    Forward(Forward),
    /// The leader's answer.
    Answer { request: RequestId, outcome: ForwardOutcome },
    /// The client of a forwarded command that may wait is gone.
    Cancel { request: RequestId },
    /// A published message for the subscribers of every node.
    Publish { channel: Bytes, payload: Bytes },
    /// Pull a piece of a snapshot.
    FetchSnapshot { group: GroupId, position: Position, offset: u64, len_max: u32 },
    /// A piece of a snapshot; none when it is gone.
    SnapshotPiece { group: GroupId, position: Position, offset: u64, bytes: Bytes },
    /// Which run of the sender's process this is, and how far its log reaches (since version 2).
    Life(Life),
    /// This run of the receiver's process began with less than the sender knows to have been durable (since version 2).
    Forgotten { process: Process, run: u64, durable: u64 },
    /// What does the receiver's ledger hold? (since version 3)
    LedgerAsk { question: u64, ask: Ask },
    /// This, and perhaps more of it (since version 3).
    LedgerAnswer { question: u64, items: Vec<Listed>, more: bool },
    /// Slots on their way between two groups (since version 4).
    Move(Piece),
    /// What a copy found at the last audit that it applied (since version 4).
    AuditFinding { group: GroupId, finding: audit::Finding },
    /// To a copy in doubt: what you found at this audit is what most copies hold (since version 4).
    AuditVerdict { group: GroupId, position: Position },
    /// To a copy in doubt: it is not; make yours anew from this snapshot (since version 4).
    AuditOffer { group: GroupId, mark: Mark, len: u64 },
    /// Of a leaderless shard, under the ring that the sender knows (since version 5).
    Leaderless { group: GroupId, ring: u64, message: protocol::leaderless::Message },
    /// From the leader of one site's group to that of another one's, about their shard (since version 6).
    Site { group: GroupId, origin: GroupId, message: protocol::multi_leader::Message },
    /// What the sender's wall clock shows, in ms since 1970 (since version 6).
    Clock { wall_ms: i64 },
    /// Of a leader that measures a write: how long will this entry, which comes next, take until it is persisted (since version 5)?
    LatencyAsk { group: GroupId, position: Position },
    /// It is persisted; so many microseconds after it arrived, if that is known (since version 5).
    LatencyAnswer { group: GroupId, position: Position, micros: Option<u64> },
    /// Which conflicts do the receiver's copies know of? (since version 5)
    InboxAsk { question: u64, ask: inbox::Ask },
    /// These (since version 5).
    InboxAnswer { question: u64, answer: inbox::Answer },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForwardOutcome {
    /// The reply in the protocol that was asked for, and where the write stands (zero for reads). `seen`: what a read showed was
    /// committed through here (since version 3; nothing when nothing was executed).
    Reply { bytes: Bytes, position: Position, seen: Option<Position> },
    /// The key is at home at another site, in this group of it: nothing was done (since version 6).
    AtHome { group: GroupId },
    /// Not the leader (any more). Ask the next one, under the same request id: what this one did may or may not survive.
    NotLeader,
}

impl PeerMessage {
    pub fn kind(&self) -> u8 {
        match self {
            PeerMessage::Replication { .. } => 1,
            PeerMessage::Lease(_) => 2,
            PeerMessage::Control(_) => 3,
            PeerMessage::Forward(forward) if forward.is_new() => 12,
            PeerMessage::Forward(_) => 4,
            PeerMessage::Answer { .. } => 5,
            PeerMessage::Cancel { .. } => 6,
            PeerMessage::Publish { .. } => 7,
            PeerMessage::FetchSnapshot { .. } => 8,
            PeerMessage::SnapshotPiece { .. } => 9,
            PeerMessage::Life(_) => 10,
            PeerMessage::Forgotten { .. } => 11,
            PeerMessage::LedgerAsk { .. } => 13,
            PeerMessage::LedgerAnswer { .. } => 14,
            PeerMessage::Move(_) => 20,
            PeerMessage::AuditFinding { .. } => 40,
            PeerMessage::AuditVerdict { .. } => 41,
            PeerMessage::AuditOffer { .. } => 42,
            PeerMessage::Leaderless { .. } => 50,
            PeerMessage::Site { .. } => 60,
            PeerMessage::Clock { .. } => 61,
            PeerMessage::LatencyAsk { .. } => 75,
            PeerMessage::LatencyAnswer { .. } => 76,
            PeerMessage::InboxAsk { .. } => 90,
            PeerMessage::InboxAnswer { .. } => 91,
        }
    }
    /// The first message version that has this kind of message: to a connection of an older one it is not sent.
    pub fn since_version(&self) -> u8 {
        match self {
            PeerMessage::Life(_) | PeerMessage::Forgotten { .. } => rollback::SINCE_VERSION,
            PeerMessage::LedgerAsk { .. } | PeerMessage::LedgerAnswer { .. } => ledger::SINCE_VERSION,
            PeerMessage::Forward(forward) if forward.work.is_about_sites() => HELD_SINCE,
            PeerMessage::Forward(forward) if forward.is_new() => OPTIONS_SINCE,
            PeerMessage::Replication { message, .. } if message.is_linked() => LINKS_SINCE,
            PeerMessage::Replication { message, .. } if message.is_of_gaps() => GAPS_SINCE,
            PeerMessage::Move(_) => moving::SINCE_VERSION,
            PeerMessage::AuditFinding { .. }
            | PeerMessage::AuditVerdict { .. }
            | PeerMessage::AuditOffer { .. } => audit::SINCE_VERSION,
            PeerMessage::Leaderless { message, .. } => crate::leaderless::since(message),
            PeerMessage::InboxAsk { .. } | PeerMessage::InboxAnswer { .. } => {
                crate::leaderless::SINCE_VERSION
            }
            PeerMessage::Site { .. } | PeerMessage::Clock { .. } => crate::sites::SINCE_VERSION,
            PeerMessage::LatencyAsk { .. } | PeerMessage::LatencyAnswer { .. } => latency::SINCE_VERSION,
            _ => 1,
        }
    }
    /// The group that the message is about, 0 for those about the node.
    pub fn group(&self) -> GroupId {
        match self {
            PeerMessage::Replication { group, .. }
            | PeerMessage::FetchSnapshot { group, .. }
            | PeerMessage::SnapshotPiece { group, .. }
            | PeerMessage::AuditFinding { group, .. }
            | PeerMessage::AuditVerdict { group, .. }
            | PeerMessage::AuditOffer { group, .. }
            | PeerMessage::Leaderless { group, .. }
            | PeerMessage::Site { group, .. }
            | PeerMessage::LatencyAsk { group, .. }
            | PeerMessage::LatencyAnswer { group, .. } => *group,
            PeerMessage::Forward(forward) => forward.group,
            PeerMessage::Move(piece) => piece.group(),
            PeerMessage::Lease(_)
            | PeerMessage::Clock { .. }
            | PeerMessage::Control(_)
            | PeerMessage::Answer { .. }
            | PeerMessage::Cancel { .. }
            | PeerMessage::Publish { .. }
            | PeerMessage::Life(_)
            | PeerMessage::Forgotten { .. }
            | PeerMessage::LedgerAsk { .. }
            | PeerMessage::LedgerAnswer { .. }
            | PeerMessage::InboxAsk { .. }
            | PeerMessage::InboxAnswer { .. } => GroupId(0),
        }
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        match self {
            PeerMessage::Replication { group, message } => {
                group.encode(w);
                message.encode(w);
            }
            PeerMessage::Lease(message) => message.encode(w),
            PeerMessage::Control(message) => message.encode(w),
            PeerMessage::Forward(forward) => forward.encode(w),
            PeerMessage::Answer { request, outcome } => {
                request.encode(w);
                match outcome {
                    ForwardOutcome::Reply { bytes, position, seen: None } => {
                        w.u8(1);
                        w.bytes(bytes);
                        position.encode(w);
                    }
                    ForwardOutcome::Reply { bytes, position, seen: Some(seen) } => {
                        w.u8(3);
                        w.bytes(bytes);
                        position.encode(w);
                        seen.encode(w);
                    }
                    ForwardOutcome::NotLeader => w.u8(2),
                    ForwardOutcome::AtHome { group } => {
                        w.u8(4);
                        group.encode(w);
                    }
                }
            }
            PeerMessage::Cancel { request } => request.encode(w),
            PeerMessage::Publish { channel, payload } => {
                w.bytes(channel);
                w.bytes(payload);
            }
            PeerMessage::FetchSnapshot { group, position, offset, len_max } => {
                group.encode(w);
                position.encode(w);
                w.u64(*offset);
                w.u32(*len_max);
            }
            PeerMessage::SnapshotPiece { group, position, offset, bytes } => {
                group.encode(w);
                position.encode(w);
                w.u64(*offset);
                w.bytes(bytes);
            }
            PeerMessage::Move(piece) => piece.encode(w),
            PeerMessage::Life(life) => life.encode(w),
            PeerMessage::Forgotten { process, run, durable } => {
                process.encode(w);
                w.u64(*run);
                w.u64(*durable);
            }
            PeerMessage::LedgerAsk { question, ask } => {
                w.u64(*question);
                ask.encode(w);
            }
            PeerMessage::LedgerAnswer { question, items, more } => {
                w.u64(*question);
                w.list(items, |w, item| item.encode(w));
                w.bool(*more);
            }
            PeerMessage::AuditFinding { group, finding } => {
                group.encode(w);
                finding.encode(w);
            }
            PeerMessage::AuditVerdict { group, position } => {
                group.encode(w);
                position.encode(w);
            }
            PeerMessage::AuditOffer { group, mark, len } => {
                group.encode(w);
                mark.position.encode(w);
                w.u64(mark.hash);
                w.u64(*len);
            }
            PeerMessage::Leaderless { group, ring, message } => {
                group.encode(w);
                w.u64(*ring);
                message.encode(w);
            }
            PeerMessage::Site { group, origin, message } => {
                group.encode(w);
                origin.encode(w);
                message.encode(w);
            }
            PeerMessage::Clock { wall_ms } => w.i64(*wall_ms),
            PeerMessage::LatencyAsk { group, position } => {
                group.encode(w);
                position.encode(w);
            }
            PeerMessage::LatencyAnswer { group, position, micros } => {
                group.encode(w);
                position.encode(w);
                w.option(*micros, |w, micros| w.u64(micros));
            }
            PeerMessage::InboxAsk { question, ask } => {
                w.u64(*question);
                ask.encode(w);
            }
            PeerMessage::InboxAnswer { question, answer } => {
                w.u64(*question);
                answer.encode(w);
            }
        }
    }
    pub fn decode(kind: u8, body: &[u8]) -> Result<PeerMessage, DecodeError> {
        let r = &mut Reader::new(body);
        let message = match kind {
            1 => PeerMessage::Replication {
                group: GroupId::decode(r)?,
                message: single_leader::Message::decode(r)?,
            },
            2 => PeerMessage::Lease(lease::Message::decode(r)?),
            3 => PeerMessage::Control(control::Message::decode(r)?),
            4 => PeerMessage::Forward(Forward::decode(r, false)?),
            5 => PeerMessage::Answer {
                request: RequestId::decode(r)?,
                outcome: match r.u8()? {
                    1 => {
                        ForwardOutcome::Reply { bytes: owned(r)?, position: Position::decode(r)?, seen: None }
                    }
                    3 => ForwardOutcome::Reply {
                        bytes: owned(r)?,
                        position: Position::decode(r)?,
                        seen: Some(Position::decode(r)?),
                    },
                    2 => ForwardOutcome::NotLeader,
                    4 => ForwardOutcome::AtHome { group: GroupId::decode(r)? },
                    _ => return Err(DecodeError::Invalid("forward outcome")),
                },
            },
            6 => PeerMessage::Cancel { request: RequestId::decode(r)? },
            7 => PeerMessage::Publish { channel: owned(r)?, payload: owned(r)? },
            8 => PeerMessage::FetchSnapshot {
                group: GroupId::decode(r)?,
                position: Position::decode(r)?,
                offset: r.u64()?,
                len_max: r.u32()?,
            },
            9 => PeerMessage::SnapshotPiece {
                group: GroupId::decode(r)?,
                position: Position::decode(r)?,
                offset: r.u64()?,
                bytes: owned(r)?,
            },
            10 => PeerMessage::Life(Life::decode(r)?),
            11 => PeerMessage::Forgotten { process: Process::decode(r)?, run: r.u64()?, durable: r.u64()? },
            12 => PeerMessage::Forward(Forward::decode(r, true)?),
            13 => PeerMessage::LedgerAsk { question: r.u64()?, ask: Ask::decode(r)? },
            14 => {
                let (question, items) = (r.u64()?, r.list(Listed::decode)?);
                PeerMessage::LedgerAnswer { question, items, more: r.bool()? }
            }
            20 => PeerMessage::Move(Piece::decode(r)?),
            40 => {
                PeerMessage::AuditFinding { group: GroupId::decode(r)?, finding: audit::Finding::decode(r)? }
            }
            41 => PeerMessage::AuditVerdict { group: GroupId::decode(r)?, position: Position::decode(r)? },
            42 => PeerMessage::AuditOffer {
                group: GroupId::decode(r)?,
                mark: Mark { position: Position::decode(r)?, hash: r.u64()? },
                len: r.u64()?,
            },
            50 => PeerMessage::Leaderless {
                group: GroupId::decode(r)?,
                ring: r.u64()?,
                message: protocol::leaderless::Message::decode(r)?,
            },
            60 => PeerMessage::Site {
                group: GroupId::decode(r)?,
                origin: GroupId::decode(r)?,
                message: protocol::multi_leader::Message::decode(r)?,
            },
            61 => PeerMessage::Clock { wall_ms: r.i64()? },
            75 => PeerMessage::LatencyAsk { group: GroupId::decode(r)?, position: Position::decode(r)? },
            76 => PeerMessage::LatencyAnswer {
                group: GroupId::decode(r)?,
                position: Position::decode(r)?,
                micros: r.option(|r| r.u64())?,
            },
            90 => PeerMessage::InboxAsk { question: r.u64()?, ask: inbox::Ask::decode(r)? },
            91 => PeerMessage::InboxAnswer { question: r.u64()?, answer: inbox::Answer::decode(r)? },
            _ => return Err(DecodeError::Invalid("message kind")),
        };
        r.end()?;
        Ok(message)
    }
}

fn owned(r: &mut Reader<'_>) -> Result<Bytes, DecodeError> {
    Ok(Bytes::copy_from_slice(r.bytes()?))
}
