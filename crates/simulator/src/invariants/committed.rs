//! What is committed stays: no other entry ever takes its place on any node, and a process never takes a commit back.
//!
//! Source: "State Machine Safety" and "Leader Append-Only", Ongaro and Ousterhout (2014), figure 3; PacificA (2008),
//! "Commit Invariant". Under `async` a failover may replace committed entries: there only the second half holds.

use super::Violation;
use crate::host::Host;
use data::{GroupId, Index, NodeId};
use node::GroupState;
use std::collections::{BTreeMap, HashMap};

pub const NAME: &str = "committed entries stay";
pub const MONOTONE: &str = "commit is monotone";

#[derive(Default)]
pub struct Committed {
    /// Only looked up. The hash of the history through a committed entry.
    hashes: HashMap<(GroupId, Index), u64>,
    last: BTreeMap<(NodeId, GroupId), Index>,
    through: BTreeMap<GroupId, Index>,
}

impl Committed {
    pub fn check(&mut self, host: &Host, state: &GroupState<'_>, lossy: bool) -> Option<Violation> {
        let commit = state.replica.commit();
        let before = self.last.insert((host.id, state.group), commit);
        if before == Some(commit) {
            return None;
        }
        if before.is_some_and(|before| commit < before) && !lossy {
            let text = format!("{} {}: {before:?} then {commit}", host.id, state.group);
            return Some(Violation { property: MONOTONE, text });
        }
        if lossy {
            return None;
        }
        let through = self.through.entry(state.group).or_default();
        *through = commit.max(*through);
        let hash = state.replica.log().hash_at(commit)?;
        let first = *self.hashes.entry((state.group, commit)).or_insert(hash);
        let text =
            || format!("{} {} {commit}: {hash:x}, committed before as {first:x}", host.id, state.group);
        (first != hash).then(|| Violation { property: NAME, text: text() })
    }
    pub fn forget(&mut self, id: NodeId) {
        self.last.retain(|(node, _), _| *node != id);
    }
    /// The furthest that was ever committed, and the hash there.
    pub fn highest(&self, group: GroupId) -> Option<(Index, Option<u64>)> {
        let index = *self.through.get(&group)?;
        Some((index, self.hashes.get(&(group, index)).copied()))
    }
}
