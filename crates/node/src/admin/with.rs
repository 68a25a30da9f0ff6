//! WITH: options for one command. CONSISTENCY: the same for all commands of a connection that say nothing else.
// catalogue: B3, C12, C13

use super::read_options::take_all;
use super::request_options::{Said, parse, shown};
use crate::io::ConnectionId;
use crate::node::{Flow, Node};
use crate::reads::ReadOptions;
use crate::session::ReplyMode;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::{Class, Spec};

impl Node {
    /// `WITH <option value ...> DO <command ...>`. What is wrong is told before anything is done.
    pub(super) fn with(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let inner = commands::with::inner_of(args);
        let words = &args[1..args.len() - inner.len()];
        // The last of them is DO, unless there is none.
        let words = if inner.is_empty() { words } else { &words[..words.len() - 1] };
        match self.read_with(connection, words, inner) {
            Ok((spec, said, reads)) => self.execute_with(connection, spec, said, reads, inner),
            Err(error) => {
                self.fail_queue(connection);
                self.reply_error(connection, &error)
            }
        }
    }

    fn read_with(
        &self,
        connection: ConnectionId,
        words: &[&[u8]],
        inner: &[&[u8]],
    ) -> Result<(&'static Spec, Said, ReadOptions), String> {
        let mut reads = self.sessions.get(connection).map(|session| session.reads).unwrap_or_default();
        let words = take_all(&mut reads, words)?;
        let said = self.parse_options(&words).map_err(|error| match inner.is_empty() {
            true if error.contains("'do'") || error.contains("'DO'") => NO_COMMAND.into(),
            _ => error,
        })?;
        let Some(name) = inner.first() else { return Err(NO_COMMAND.into()) };
        let spec = commands::find(name).ok_or_else(|| commands::spec::unknown_command(inner))?;
        if !spec.arity_fits(inner.len()) {
            return Err(commands::spec::wrong_arity(spec.name));
        }
        if spec.class == Class::Node && spec.name != "exec" {
            return Err(format!("ERR WITH goes with commands on data and with EXEC, not with {}", spec.name));
        }
        let queued = self.sessions.get(connection).is_some_and(|session| session.queue.is_some());
        if queued && spec.name != "exec" {
            return Err("ERR inside MULTI there is one WITH, around the whole: WITH ... DO EXEC".into());
        }
        Ok((spec, said, reads))
    }

    fn parse_options(&self, words: &[&[u8]]) -> Result<Said, String> {
        parse(words, &|name| self.node_named(name))
    }

    fn execute_with(
        &mut self,
        connection: ConnectionId,
        spec: &'static Spec,
        said: Said,
        reads: ReadOptions,
        inner: &[&[u8]],
    ) -> Flow {
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        session.last_command = spec.name;
        let options = said.options.over(session.defaults.as_deref());
        let any = options.asked.is_some() || options.client.is_some() || !options.levels.is_empty();
        let (keyspace, levels) = (session.keyspace, options.levels);
        if !levels.is_empty() && !self.is_leaderless(keyspace) {
            return self.reply_error(connection, NOT_LEADERLESS);
        }
        if options.client.is_some() && self.is_multi_leader(keyspace) {
            return self.reply_error(connection, ONE_SITE_KNOWS);
        }
        let Some(session) = self.sessions.get_mut(connection) else { return Flow::Continue };
        // A reply that is thrown away has no receipt.
        let receipt = said.receipt && session.reply_mode == ReplyMode::On;
        if receipt {
            // An array whose two elements are a reply and a receipt: each comes when it can, in this order.
            (session.receipt, session.receipt_command) = (None, session.commands);
            session.replies.begin().extend_from_slice(b"*2\r\n");
            session.replies.finish_head();
        }
        let own = session.read_as(reads);
        self.options = any.then(|| Box::new(options));
        let flow = self.execute(connection, spec, inner);
        self.options = None;
        if let Some(session) = self.sessions.get_mut(connection) {
            session.read_as(own);
        }
        if !receipt {
            return flow;
        }
        self.note_output(connection);
        let after = self.sessions.get(connection).and_then(|session| session.replies.last_held());
        self.receipt_after(connection, after)
    }

    /// `CONSISTENCY [DEFAULT | <option value ...>]`.
    pub(super) fn consistency(&mut self, connection: ConnectionId, args: &[&[u8]]) -> Flow {
        let mut reads = self.sessions.get(connection).map(|session| session.reads).unwrap_or_default();
        let words = match take_all(&mut reads, &args[1..]) {
            Ok(words) => words,
            Err(error) => return self.reply_error(connection, &error),
        };
        let defaults = match &words[..] {
            [] if args.len() == 1 => return self.show_consistency(connection),
            [] => self.sessions.get(connection).and_then(|session| session.defaults.as_deref().cloned()),
            [word] if args.len() == 2 && word.eq_ignore_ascii_case(b"DEFAULT") => {
                reads = ReadOptions::default();
                None
            }
            words => match self.parse_options(words) {
                Ok(Said { receipt: false, options }) if options.client.is_none() => Some(options),
                Ok(_) => {
                    let text = "ERR RECEIPT and REQUEST belong to one request: WITH ... DO ...";
                    return self.reply_error(connection, text);
                }
                Err(error) => return self.reply_error(connection, &error),
            },
        };
        if let Some(session) = self.sessions.get_mut(connection) {
            // One at a time, or all at once: what is not named stays.
            session.read_as(reads);
            session.defaults = defaults.map(|options| Box::new(options.over(session.defaults.as_deref())));
        }
        self.reply(connection, |w| w.ok())
    }

    fn show_consistency(&mut self, connection: ConnectionId) -> Flow {
        let name = |node| self.map.nodes.get(&node).map_or_else(String::new, |it| it.name.clone());
        let defaults = self.sessions.get(connection).and_then(|session| session.defaults.as_ref());
        let asked = defaults.and_then(|options| options.asked.as_ref());
        let mut words: Vec<(&'static str, String)> = asked.map_or_else(Vec::new, |asked| shown(asked, &name));
        let reads = self.sessions.get(connection).map(|session| session.reads).unwrap_or_default();
        words.extend(defaults.map(|options| options.levels.shown()).unwrap_or_default());
        words.extend(super::read_options::shown(&reads));
        self.reply(connection, |w| {
            w.map(words.len());
            for (name, value) in &words {
                w.bulk(name.as_bytes());
                w.bulk(value.as_bytes());
            }
        })
    }
}

pub(crate) const NOT_LEADERLESS: &str = "ERR W, R, SLOPPY, CONSISTENCY-LEVEL and LINEARIZABLE are about copies without a leader, and this keyspace has one: COMMIT, ACKS and LEVEL say what a write waits for";
/// An id lies in the log of the site that executed the request, and no other site looks there.
const ONE_SITE_KNOWS: &str = "ERR REQUEST does not go with multi-leader keyspaces in this version: an id is known at one site, and a write that is sent again at another one would be done twice";
const NO_COMMAND: &str = "ERR WITH <option value ...> DO <command ...>: there is no command behind DO";
