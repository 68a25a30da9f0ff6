//! What the log costs, by format and command: a part of KEYSPACE INFO, and of the metrics.
// catalogue: D8

use crate::logged::Logged;
use crate::node::Node;
use alloc::format;
use data::KeyspaceId;
use wire::ReplyWriter;

impl Node {
    /// What this node, as a leader, wrote into the logs of a keyspace since its process started.
    pub fn logged(&self, keyspace: KeyspaceId) -> Logged {
        let mut logged = Logged::default();
        for it in self.groups.values().filter(|it| it.keyspace.id == keyspace) {
            logged.add(&it.logged);
        }
        logged
    }
}

/// One line for each format and command.
pub(super) fn write_logged(logged: &Logged, w: &mut ReplyWriter<'_>) {
    w.array(logged.rows().len());
    for row in logged.rows() {
        let line = format!(
            "{} {} entries={} changes={} bytes={}",
            row.format.name(),
            row.command,
            row.entries,
            row.changes,
            row.bytes
        );
        w.bulk(line.as_bytes());
    }
}
