//! Equal epoch and index mean equal entries, and equal entries before them.
//!
//! Source: "Log Matching", Ongaro and Ousterhout (2014), figure 3. The rolling hash stands for everything before.

use super::Violation;
use crate::host::Host;
use data::{GroupId, Position};
use node::GroupState;
use std::collections::HashMap;

pub const NAME: &str = "log matching";

#[derive(Default)]
pub struct LogMatching {
    /// Only looked up, never walked: its order means nothing.
    seen: HashMap<(GroupId, Position), u64>,
}

impl LogMatching {
    pub fn check(&mut self, host: &Host, state: &GroupState<'_>) -> Option<Violation> {
        let last = state.replica.log().last();
        if last.position.index.0 == 0 {
            return None;
        }
        let hash = *self.seen.entry((state.group, last.position)).or_insert(last.hash);
        let text = || {
            format!("{} {} at {:?}: {:x}, elsewhere {hash:x}", host.id, state.group, last.position, last.hash)
        };
        (hash != last.hash).then(|| Violation { property: NAME, text: text() })
    }
}
