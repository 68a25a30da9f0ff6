//! SNAPSHOT: this connection reads its keyspace as it was at one moment.
// catalogue: J16

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use alloc::format;
use alloc::string::String;
use commands::Spec;
use commands::spec::{unknown_subcommand, wrong_arity};

const HELP: &[&str] = &[
    "SNAPSHOT <subcommand>. Subcommands are:",
    "OPEN",
    "    Read the selected keyspace as it is now, on this connection, until CLOSE. Writers do not wait.",
    "CLOSE",
    "    Read what is there then, and write, as before.",
    "INFO",
    "    What this connection has open: how old it is, and the bytes that are kept for it.",
    "HELP",
];

impl Node {
    pub(super) fn snapshot(&mut self, connection: ConnectionId, spec: &'static Spec, args: &[&[u8]]) -> Flow {
        let subcommand = args[1].to_ascii_lowercase();
        match (&subcommand[..], &args[2..]) {
            (b"open", []) => self.open_snapshot(connection, spec, args),
            (b"close", []) => {
                if self.close_snapshot(connection) {
                    return self.reply(connection, |w| w.ok());
                }
                self.reply_error(connection, "ERR no snapshot is open on this connection")
            }
            (b"info", []) => self.snapshot_info(connection),
            (b"help", []) => self.reply(connection, |w| {
                w.array(HELP.len());
                HELP.iter().for_each(|line| w.simple(line));
            }),
            (b"open" | b"close" | b"info" | b"help", _) => {
                let shown = format!("snapshot|{}", String::from_utf8_lossy(&subcommand));
                self.reply_error(connection, &wrong_arity(&shown))
            }
            _ => self.reply_error(connection, &unknown_subcommand("snapshot", args[1])),
        }
    }

    /// Whether a connection that reads a snapshot may not use this command: it would write, or read something else.
    pub(super) fn is_kept_from(&self, connection: ConnectionId, spec: &Spec) -> bool {
        let changes = matches!(
            spec.name,
            "consistency" | "flushall" | "multi" | "readonly" | "readwrite" | "select" | "watch" | "with"
        );
        changes && self.sessions.get(connection).is_some_and(|session| session.snapshot.is_some())
    }
}
