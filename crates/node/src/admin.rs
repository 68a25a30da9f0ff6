//! Commands about the connection, the node and the cluster.

pub(crate) mod changes;
mod client;
mod cluster;
mod config_command;
mod connection;
pub(crate) mod inbox;
mod info;
mod keyspace;
mod latency_parts;
pub(crate) mod ledger;
mod ledger_words;
mod log_bytes;
mod moves;
mod operation_words;
pub(crate) mod poll;
mod presets;
mod read_options;
mod receipt;
mod request_options;
mod rules;
mod server;
mod session_command;
mod snapshot_command;
mod status;
pub(crate) mod wait;
mod with;

pub(crate) use keyspace::parse_settings;
pub(crate) use presets::option_words;
pub(crate) use status::quoted;
pub(crate) use with::NOT_LEADERLESS;

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::reads::ReadFrom;
use commands::Spec;

impl Node {
    /// Executes a command of [`commands::Class::Node`].
    pub(crate) fn administer(
        &mut self,
        connection: ConnectionId,
        spec: &'static Spec,
        args: &[&[u8]],
    ) -> Flow {
        if self.is_kept_from(connection, spec) {
            return self.reply_error(connection, crate::snapshot_reads::READS_ONLY);
        }
        match spec.name {
            "ping" => self.ping(connection, args),
            "echo" => self.reply(connection, |w| w.bulk(args[1])),
            "hello" => self.hello(connection, args),
            "auth" => self.auth(connection, args),
            "select" => self.select(connection, args[1]),
            "quit" => self.quit(connection),
            "reset" => self.reset(connection),
            "client" => self.client(connection, args),
            "info" => self.info(connection, &args[1..]),
            "command" => self.command(connection, args),
            "config" => self.config_command(connection, args),
            "flushall" => self.flushall(connection, &args[1..]),
            "time" => self.time(connection),
            "role" => self.role(connection),
            "wait" => self.wait(connection, args, false),
            "waitaof" => self.wait(connection, args, true),
            "multi" | "watch" if self.in_leaderless(connection) => self.reply_error(
                connection,
                "EXCLUSIVE MULTI and WATCH need somebody who orders writes, and a leaderless keyspace has nobody: send single commands, which merge",
            ),
            "multi" => self.multi(connection),
            "exec" => self.exec(connection),
            "discard" => self.discard(connection),
            "watch" => self.watch(connection, &args[1..]),
            "unwatch" => self.unwatch(connection),
            "subscribe" => self.subscribe(connection, &args[1..], false),
            "psubscribe" => self.subscribe(connection, &args[1..], true),
            "unsubscribe" => self.unsubscribe(connection, &args[1..], false),
            "punsubscribe" => self.unsubscribe(connection, &args[1..], true),
            "publish" => self.publish(connection, args[1], args[2]),
            "pubsub" => self.pubsub_command(connection, args),
            "shutdown" => self.shutdown(connection),
            "cluster" => self.cluster(connection, args),
            // Nothing is served before it is owned: nobody is told to ASK, and who does all the same is answered like any other.
            "asking" => self.reply(connection, |w| w.ok()),
            "keyspace" => self.keyspace(connection, spec, args),
            "changes" => self.changes(connection, &args[1..]),
            "inbox" => self.inbox_command(connection, spec, args),
            "ledger" => self.ledger_command(connection, args),
            "receipt" => self.receipt(connection, args),
            "with" => self.with(connection, args),
            "consistency" => self.consistency(connection, args),
            "readonly" => self.read_mode(connection, ReadFrom::Follower),
            "readwrite" => self.read_mode(connection, ReadFrom::Leader),
            "session" => self.session(connection, args),
            "snapshot" => self.snapshot(connection, spec, args),
            "lolwut" => self.lolwut(connection),
            other => {
                debug_assert!(false, "{other} is listed and not executed");
                self.reply_error(connection, &commands::spec::unknown_command(args))
            }
        }
    }
}
