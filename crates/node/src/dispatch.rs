//! From a parsed command to the part that executes it: who may, how many arguments, where.

use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::session::ReplyMode;
use alloc::format;
use commands::{Class, Flags, Spec};
use data::{KeyspaceId, Now};
use wire::ReplyWriter;

impl Node {
    /// Executes one command of a client. `args` holds at least the command's name. The caller reads the clock once per turn,
    /// after reading the sockets.
    pub fn request(&mut self, now: Now, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        self.now = now;
        let Some(name) = args.first() else { return Flow::Continue };
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        if session.closing {
            return Flow::Continue;
        }
        self.statistics.commands += 1;
        session.active = now.instant;
        session.commands += 1;
        let Some(spec) = commands::find(name) else {
            self.fail_queue(connection);
            return self.reply_error(connection, &commands::spec::unknown_command(args));
        };
        session.last_command = spec.name;
        if !session.authenticated && !spec.flags.has(Flags::NO_AUTH) {
            return self.reply_error(connection, "NOAUTH Authentication required.");
        }
        let queued = session.queue.is_some();
        let silent = session.reply_mode != ReplyMode::On;
        let has_defaults = session.defaults.is_some();
        if !spec.arity_fits(args.len()) {
            self.fail_queue(connection);
            return self.reply_error(connection, &commands::spec::wrong_arity(spec.name));
        }
        if queued
            && !matches!(
                spec.name,
                "exec" | "discard" | "multi" | "watch" | "unwatch" | "quit" | "reset" | "with"
            )
        {
            return self.enqueue(connection, spec, args);
        }
        if !self.allowed_while_subscribed(connection, spec.name) {
            let text = format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
                spec.name
            );
            return self.reply_error(connection, &text);
        }
        if has_defaults && (spec.class != Class::Node || spec.name == "exec") {
            return self.request_by_default(connection, spec, args);
        }
        let flow = self.execute(connection, spec, args);
        if silent {
            self.silence(connection, spec);
        }
        flow
    }

    pub(crate) fn execute(&mut self, connection: ConnectionId, spec: &'static Spec, args: &[&[u8]]) -> Flow {
        match spec.class {
            Class::Read | Class::Write | Class::Blocking => self.serve(connection, spec, args),
            Class::Node => self.administer(connection, spec, args),
        }
    }

    /// The same for a command that says nothing of what it waits for, on a connection that said so before.
    fn request_by_default(&mut self, connection: ConnectionId, spec: &'static Spec, args: &[&[u8]]) -> Flow {
        self.options = self.sessions.get(connection).and_then(|session| session.defaults.clone());
        let keyspace = self.sessions.get(connection).map_or(KeyspaceId(0), |session| session.keyspace);
        if self.options.as_ref().is_some_and(|it| !it.levels.is_empty()) && !self.is_leaderless(keyspace) {
            self.options = None;
            return self.reply_error(connection, crate::admin::NOT_LEADERLESS);
        }
        let flow = self.execute(connection, spec, args);
        self.options = None;
        self.silence(connection, spec);
        flow
    }

    /// What a client sent is not the protocol: it is told, and its connection will be closed.
    pub fn protocol_error(&mut self, connection: ConnectionId, text: &str) {
        self.reply_error(connection, text);
    }

    /// CLIENT REPLY OFF and SKIP: the reply is made and thrown away, so that order and effects stay the same.
    fn silence(&mut self, connection: ConnectionId, spec: &Spec) {
        let Some(session) = self.sessions.get_mut(connection) else { return };
        match session.reply_mode {
            ReplyMode::On => {}
            ReplyMode::Off => session.replies.mute(),
            ReplyMode::SkipNext => {
                // The CLIENT REPLY SKIP itself answers nothing; the command behind it is the one that is skipped.
                session.replies.mute();
                if spec.name != "client" {
                    session.reply_mode = ReplyMode::On;
                }
            }
        }
    }

    /// Writes a reply that depends on nothing.
    pub(crate) fn reply(
        &mut self,
        connection: ConnectionId,
        write: impl FnOnce(&mut ReplyWriter<'_>),
    ) -> Flow {
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        let protocol = session.protocol;
        let buffer = session.replies.begin();
        write(&mut ReplyWriter::new(buffer, protocol));
        session.replies.finish();
        self.note_output(connection);
        Flow::Continue
    }

    pub(crate) fn reply_error(&mut self, connection: ConnectionId, text: &str) -> Flow {
        self.statistics.errors += 1;
        self.reply(connection, |w| w.error(text))
    }
}
