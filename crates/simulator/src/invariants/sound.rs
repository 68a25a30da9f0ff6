//! Some reports never come from a correct cluster: a log that would cut what is committed, a second leader of an epoch,
//! two histories of one position.
//!
//! Source: the reports' own definition in `protocol::single_leader`.

use super::Violation;
use data::{GroupId, NodeId};
use node::Event;
use protocol::single_leader::Report;
use std::collections::BTreeSet;

pub const NAME: &str = "no impossible report";

pub fn check(id: NodeId, event: &Event, lossy: &BTreeSet<GroupId>) -> Option<Violation> {
    let Event::Replica { group, report } = event else { return None };
    let impossible = match report {
        Report::SecondLeader { .. } => true,
        Report::Diverged { .. } | Report::CommittedConflict { .. } => !lossy.contains(group),
        _ => false,
    };
    impossible.then(|| Violation { property: NAME, text: format!("{id} {group}: {report:?}") })
}
