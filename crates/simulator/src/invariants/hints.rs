//! Whoever says that it keeps a write for another node has written that down: a stand-in has said so no more often than its log has
//! hints of that shard. That a word waits until the disk holds what stands behind it is judged by what crashes take back
//! (`verdict::quorum`, `durable`).
//!
//! A hint that only memory had is hardly ever missed by clients: the replica that minted the write has it too, and brings it to the
//! others. It takes the loss of that one as well before somebody sees it.
//!
//! Source: DESIGN section 9, "hints are durable before they count"; bugs: LL-16

use super::Violation;
use data::record::{Kind, Record};
use data::{GroupId, NodeId};
use node::PeerMessage;
use protocol::leaderless::{Logged, Message, Record as Change};
use std::collections::BTreeMap;

pub const NAME: &str = "a hint is written down before it counts";

/// Hints by node and shard: in its log, and as it said to others.
#[derive(Default)]
pub struct Hints {
    counts: BTreeMap<(NodeId, GroupId), (u64, u64)>,
}

impl Hints {
    /// A node writes to its log.
    pub fn logged(&mut self, id: NodeId, record: &Record<'_>) {
        let is_of_copy = record.header.kind == Kind::Leaderless;
        if is_of_copy && let Ok(Logged::Change(Change::Hint { .. })) = Logged::decode(record.payload) {
            self.counts.entry((id, record.header.group)).or_default().0 += 1;
        }
    }
    /// A node says something.
    pub fn said(&mut self, id: NodeId, message: &PeerMessage) -> Option<Violation> {
        let PeerMessage::Leaderless { group, message, .. } = message else { return None };
        let Message::Applied { stands_for: Some(target), .. } = message else { return None };
        let (logged, said) = self.counts.entry((id, *group)).or_default();
        *said += 1;
        let text = || {
            format!(
                "{id} said {said} times that it keeps something of {group}, {target} the last, and wrote {logged}"
            )
        };
        (*said > *logged).then(|| Violation { property: NAME, text: text() })
    }
}
