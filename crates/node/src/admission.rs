//! Whose copies can follow a log of this format, and what happens to one that cannot: it is refused.
//!
//! What a node's program can read is known from the handshake: the message version, and the number of its engine's format. Between
//! a leader and a copy that it refuses nothing of the group travels, in either direction: to the leader it is a member that is not
//! connected, so it counts for nothing, is not elected, and is shown as refused with the reason. The format is never changed for
//! its sake.
//!
//! The format in which a keyspace *logs* decides, so that a refused copy can be let in by `KEYSPACE ALTER ... LOG row`; entries
//! behind that are in the log's window only until a snapshot stands for them.
// catalogue: D5

use crate::io::{Event, Output};
use crate::message::GAPS_SINCE;
use crate::node::Node;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use data::keyspace::CommitRule;
use data::{GroupId, LogFormat, NodeId};
use protocol::single_leader;

/// Peers of this message version read entries of all formats.
pub const SINCE_VERSION: u8 = 5;

/// What is known of a node's program: message version and engine format.
pub(crate) type Program = (u8, u16);

/// Why a copy of such a program cannot follow a log of this format, if so. `own`: the number of this node's engine.
fn refusal(log: LogFormat, own: u16, (version, engine): Program) -> Option<String> {
    if log == LogFormat::Row {
        None
    } else if version < SINCE_VERSION {
        Some(format!(
            "its program (message version {version}) reads no {} log: it takes version {SINCE_VERSION}",
            log.name()
        ))
    } else if log == LogFormat::Physical && engine != own {
        Some(format!("its engine writes values in format {engine}, ours in format {own}"))
    } else {
        None
    }
}

impl Node {
    /// Why the node's copy of a group is refused.
    pub(crate) fn refused(&self, group: GroupId, node: NodeId) -> Option<String> {
        let settings = self.groups.get(&group)?.keyspace.settings;
        let (log, program) = (settings.log, (*self.versions.get(&node)?, *self.engines.get(&node)?));
        if settings.commit == CommitRule::BestEffort && program.0 < GAPS_SINCE {
            return Some(format!(
                "its program (message version {}) knows no gaps: COMMIT best-effort takes version {GAPS_SINCE}",
                program.0
            ));
        }
        refusal(log, self.config.engine_format, program)
    }

    /// Whether nothing of the group is said to the node, or heard of it.
    pub(crate) fn is_refused(&self, group: GroupId, node: NodeId) -> bool {
        !self.refused.is_empty() && self.refused.contains(&(group, node))
    }

    /// The map, a node's program, or a keyspace's format changed: copies are refused, or let in.
    pub(crate) fn meet_programs(&mut self) {
        let mut changed: Vec<(GroupId, NodeId, Option<String>)> = Vec::new();
        for group in self.groups.keys() {
            for node in self.versions.keys() {
                let (why, known) = (self.refused(*group, *node), self.refused.contains(&(*group, *node)));
                let holds = self.map.view(*group).is_some_and(|view| view.holds_copy(*node));
                let why = why.filter(|_| holds);
                if why.is_some() != known {
                    changed.push((*group, *node, why));
                }
            }
        }
        self.refused.retain(|(group, _)| self.groups.contains_key(group));
        for (group, node, why) in changed {
            let up = why.is_none() && self.peers.contains_key(&node);
            match why {
                Some(why) => {
                    self.refused.insert((group, node));
                    self.outputs.push(Output::Event(Event::Refused { group, node, why }));
                }
                None => drop(self.refused.remove(&(group, node))),
            }
            self.feed(group, single_leader::Input::Connection { node, up });
        }
    }

    /// Why a keyspace cannot be given this format now: a node that may hold a copy of it could not follow.
    pub(crate) fn refuse_format(&self, log: LogFormat) -> Option<String> {
        if log == LogFormat::Row {
            return None;
        }
        let others = self.map.nodes.values().filter(|node| node.id != self.config.node && node.usable());
        for node in others {
            let program = self.versions.get(&node.id).zip(self.engines.get(&node.id));
            let Some((version, engine)) = program else {
                return Some(format!(
                    "TRYAGAIN node {} has not been met yet: nobody here knows whether it reads a {} log",
                    node.name,
                    log.name()
                ));
            };
            if let Some(why) = refusal(log, self.config.engine_format, (*version, *engine)) {
                return Some(format!("ERR node {} cannot follow a {} log: {why}", node.name, log.name()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_for_all_statements_for_new_programs_images_for_those_of_one_engine() {
        let refused = |log, program| refusal(log, 1, program).is_some();
        assert!(!refused(LogFormat::Row, (1, 2)));
        assert!(refused(LogFormat::Statement, (4, 1)) && !refused(LogFormat::Statement, (5, 2)));
        assert!(refused(LogFormat::Physical, (4, 1)) && refused(LogFormat::Physical, (5, 2)));
        assert!(!refused(LogFormat::Physical, (5, 1)));
    }
}
