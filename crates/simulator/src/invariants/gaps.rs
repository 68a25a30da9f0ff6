//! Only a keyspace under `best-effort` has copies that go on without entries, each says which, and none of them counts under a rule
//! that promises every entry.
//!
//! That a difference between copies is one that a gap explains is looked for in `state`: equal history and equal gaps mean equal
//! tables. That what an election lost with them lies in the ledger: in `ledger`.
//!
//! Source: DESIGN §7, best-effort; catalogue: C4; bugs: TC-80 TC-81

use super::Violation;
use crate::host::Host;
use data::keyspace::CommitRule;
use data::view::Replica;
use data::{GroupId, ViewNumber};
use node::GroupState;
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "copies with gaps count for nothing";

#[derive(Default)]
pub struct Gapped {
    /// Keyspaces that are, or once were, under `best-effort`.
    pub names: BTreeSet<String>,
    /// Groups in which a copy went on without entries, and all copies that were seen to.
    pub groups: BTreeSet<GroupId>,
    pub copies: u64,
    seen: BTreeSet<(data::NodeId, GroupId, u64)>,
    /// The newest view that a copy knew at any time: what its disk has of it may be older.
    views: BTreeMap<(data::NodeId, GroupId), ViewNumber>,
}

impl Gapped {
    pub fn check(&mut self, host: &Host, state: &GroupState<'_>) -> Option<Violation> {
        let lacks = state.shortfall.own();
        let number = state.replica.view().map_or(ViewNumber::default(), |view| view.number);
        let newest = self.views.entry((host.id, state.group)).or_default();
        *newest = number.max(*newest);
        let is_newest = number == *newest;
        if lacks.is_empty() {
            return None;
        }
        let broken = |text: String| Some(Violation { property: NAME, text });
        if !self.names.contains(&state.keyspace.name) {
            return broken(format!(
                "{} {} goes on without {} entries in {}, which promises all",
                host.id,
                state.group,
                lacks.entries(),
                state.keyspace.name
            ));
        }
        self.groups.insert(state.group);
        if self.seen.insert((host.id, state.group, lacks.digest())) {
            self.copies += 1;
        }
        let told: u64 = lacks.ranges().iter().map(|(first, last)| last.0 - first.0 + 1).sum();
        if lacks.entries() > told {
            return broken(format!("{} {} counts {} of {told}", host.id, state.group, lacks.entries()));
        }
        // By the newest view that this copy knows, which is of the epoch that its table was told of. One that has just started
        // may know an older one, by which it does nothing.
        let view = state.replica.view()?;
        let me = Replica { node: host.id, incarnation: host.incarnation };
        let counts = view.rule != CommitRule::BestEffort && view.is_electable(me);
        let text = || {
            format!(
                "{} {} counts under {} and lacks {} entries that its leader has",
                host.id,
                state.group,
                view.rule.name(),
                state.shortfall.missed()
            )
        };
        (counts && is_newest && !state.shortfall.is_whole())
            .then(|| Violation { property: NAME, text: text() })
    }
}
