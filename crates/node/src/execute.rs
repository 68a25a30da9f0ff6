//! Runs commands on a group that this node leads: reads through the newest state, turns what they yield into one log entry.

use crate::draft::{CHANGES_LEN_MAX, Draft};
use crate::group::Group;
use crate::looks::CountedView;
use crate::options;
use crate::payload;
use alloc::vec::Vec;
use commands::table_view::TableView;
use commands::{Call, Class, Ops, Random, Spec, statement};
use data::plant::{self, Bug};
use data::record::Kind;
use data::{Index, LogFormat, Now, Operation, Position, RequestId, SiteId};
use wire::{Protocol, ReplyWriter};

/// What a client reads whose write is refused for the size of its entry.
const TOO_LARGE: &str = "ERR the log entry of this write would be larger than 599 MB: nothing was written";

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Executed {
    /// The reply was written; it may be shown once the log is committed through this index.
    Read(Index),
    /// The reply was written; it may be shown once this entry is committed.
    Written(Position),
    /// A blocking command found nothing: no reply was written.
    Nothing,
    /// This replica does not lead: nothing was done.
    NotLeading,
    /// The key is at home at this other site, whose leader executes its commands: nothing was done.
    AtHome(SiteId),
}

/// What every execution is given from outside.
pub struct Context<'c> {
    pub now: Now,
    pub wall_ms: i64,
    pub random: &'c mut Random,
    pub protocol: Protocol,
    pub identity: Identity,
}

/// Under which id a write is known to the table of answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    pub request: RequestId,
    /// Which command it is, where the client chose the id: of such a write the answer is kept even when it changed nothing.
    pub command: Option<u64>,
}

impl Identity {
    pub const NONE: Identity = Identity { request: RequestId::NONE, command: None };

    /// The id that a forwarder gave it.
    pub fn forwarded(request: RequestId) -> Identity {
        Identity { request, command: None }
    }
}

impl Group {
    /// Executes one command and appends its reply (an error too) to `reply`.
    pub fn execute(
        &mut self,
        context: &mut Context<'_>,
        spec: &'static Spec,
        args: &[&[u8]],
        reply: &mut Vec<u8>,
    ) -> Executed {
        if !self.is_serving() {
            return Executed::NotLeading;
        }
        if self.site.is_some() {
            return self.execute_site(context, spec, args, reply);
        }
        let start = reply.len();
        let mut draft = self.draft(spec.name);
        self.run(context, spec, args, &mut draft, reply);
        if reply.len() == start && spec.class == Class::Blocking && draft.is_empty() {
            self.keep(draft);
            return Executed::Nothing;
        }
        self.conclude(context, draft, start, reply)
    }

    /// Executes the commands of an EXEC as one entry. The reply is an array with one reply for each.
    pub fn execute_all<'a>(
        &mut self,
        context: &mut Context<'_>,
        commands: impl ExactSizeIterator<Item = (&'static Spec, Vec<&'a [u8]>)>,
        reply: &mut Vec<u8>,
    ) -> Executed {
        if !self.is_serving() {
            return Executed::NotLeading;
        }
        if self.site.is_some() {
            return self.execute_all_site(context, commands, reply);
        }
        let start = reply.len();
        let mut draft = self.draft("exec");
        ReplyWriter::new(reply, context.protocol).array(commands.len());
        for (spec, args) in commands {
            let before = reply.len();
            self.run(context, spec, &args, &mut draft, reply);
            if reply.len() == before {
                let mut writer = ReplyWriter::new(reply, context.protocol);
                commands::blocking::nil_reply(spec.name, true, &mut writer);
            }
        }
        self.conclude(context, draft, start, reply)
    }

    /// The reply to an EXEC whose watch broke. Under its client's own id it is an answer like any other: asked for again, without
    /// the watch, nothing is executed either.
    pub fn execute_none(&mut self, context: &Context<'_>, reply: &mut Vec<u8>) -> Executed {
        if !self.is_serving() {
            return Executed::NotLeading;
        }
        let (start, draft) = (reply.len(), self.draft("exec"));
        ReplyWriter::new(reply, context.protocol).null_array();
        self.conclude(context, draft, start, reply)
    }

    /// Expires the keys that the command names, runs it and applies what it yields to the table and the draft.
    fn run(
        &mut self,
        context: &mut Context<'_>,
        spec: &'static Spec,
        args: &[&[u8]],
        draft: &mut Draft,
        reply: &mut Vec<u8>,
    ) {
        let time_ms = self.replica.entry_time_ms(context.wall_ms);
        let start = reply.len();
        let keys = match commands::docs::keys_of(spec, args) {
            Ok(keys) => keys,
            Err(error) => {
                ReplyWriter::new(reply, context.protocol).error(error.text());
                return;
            }
        };
        self.depend(spec, &keys, draft);
        let mut ops = Ops::new();
        if self.table.keys_with_expiry() > 0 {
            for key in &keys {
                let expiry = self.table.get(key).and_then(|found| found.expires_at_ms);
                if expiry.is_some_and(|at| at <= time_ms) {
                    ops.push(Operation::Expire { key: (*key).into(), at_ms: time_ms });
                }
            }
        }
        let expired = ops.len();
        let Some(run) = spec.run else { return };
        let owned = self.moving.as_ref().and_then(|moving| moving.owned.as_ref());
        let view = CountedView::new(TableView { table: &self.table, now_ms: time_ms }, owned);
        let result = run(&mut Call {
            args,
            view: &view,
            now_ms: time_ms,
            random: context.random,
            reply: ReplyWriter::new(reply, context.protocol),
            ops: &mut ops,
        });
        if spec.class == Class::Read {
            self.looks += view.looks();
        }
        if let Err(error) = result {
            reply.truncate(start);
            ReplyWriter::new(reply, context.protocol).error(error.text());
            ops.truncate(expired);
        }
        let seconds = (time_ms / 1000) as u32;
        // bugs: SL-23. Copies execute the command themselves only if it does the same there.
        let executed_again = draft.format == LogFormat::Statement
            && ops.len() > expired
            && (statement::is_logged_as_it_is(spec, args) || plant::is(Bug::LogsAsItIs));
        for (place, op) in ops.iter().enumerate() {
            if executed_again && place == expired {
                draft.note_command(args);
            }
            self.change_by(op, seconds, draft, executed_again && place >= expired);
        }
    }

    /// Which uncommitted entries the command's reply may depend on.
    fn depend(&self, spec: &Spec, keys: &[&[u8]], draft: &mut Draft) {
        if spec.reads_unnamed_keys() {
            draft.depends = draft.depends.max(self.applied);
        }
        for key in keys {
            draft.depends = draft.depends.max(self.dirty.index(self.table.hash(key)));
        }
    }

    /// The last command's reply says the same whatever was there before it: it shows nothing of entries that are not committed.
    pub fn forget_blind(&mut self, spec: &Spec, args: &[&[u8]]) {
        if matches!((spec.name, args.len()), ("set", 3) | ("mset", _)) {
            self.depended = Index(0);
        }
    }

    /// Applies one operation and notes who cares.
    pub(crate) fn change(&mut self, op: &Operation<'_>, seconds: u32, draft: &mut Draft) {
        self.change_by(op, seconds, draft, false);
    }
    /// The same of an operation that may be of the command that the draft noted last.
    pub(crate) fn change_by(
        &mut self,
        op: &Operation<'_>,
        seconds: u32,
        draft: &mut Draft,
        of_command: bool,
    ) {
        draft.note(op, &self.table, of_command);
        draft.undo.push(self.table.apply(op, seconds));
        let index = self.replica.newest().index.next();
        if matches!(op, Operation::Flush) {
            self.dirty.touch_all(index);
            self.watches.all_written();
            if let Some(moving) = &mut self.moving {
                moving.flushed();
            }
        }
        for key in op.keys() {
            self.dirty.touch(self.table.hash(key), index);
            if !self.watches.is_empty() {
                self.watches.written(key);
            }
            if !self.blocked.is_empty() {
                self.blocked.written(key);
            }
            if let Some(moving) = &mut self.moving {
                moving.written(key);
            }
        }
    }

    /// Turns the draft into an entry, if it changes anything.
    pub(crate) fn conclude(
        &mut self,
        context: &Context<'_>,
        mut draft: Draft,
        start: usize,
        reply: &mut Vec<u8>,
    ) -> Executed {
        let (request, by_client) = (context.identity.request, context.identity.command);
        draft.finish(&self.table);
        if draft.len() > CHANGES_LEN_MAX {
            self.take_back(&mut draft);
            reply.truncate(start);
            ReplyWriter::new(reply, context.protocol).error(TOO_LARGE);
        }
        if draft.is_empty() && by_client.is_none() {
            // Entries beyond the newest one were undone when an earlier leadership ended.
            let depends = draft.depends.min(self.applied);
            let depends = if plant::is(Bug::ShowsUncommitted) { Index(0) } else { depends };
            self.keep(draft);
            return Executed::Read(depends);
        }
        self.depended = draft.depends.min(self.applied);
        let reply = &reply[start..];
        let kept = by_client.map(|command| options::sealed(command, context.protocol, reply));
        let answer = (!request.is_none()).then(|| kept.as_deref().unwrap_or(reply));
        self.append(request, context.wall_ms, answer, draft)
    }

    /// Makes an entry of the draft; `answer` is kept for who asks again under the request's id.
    pub(crate) fn append(
        &mut self,
        request: RequestId,
        wall_ms: i64,
        answer: Option<&[u8]>,
        mut draft: Draft,
    ) -> Executed {
        draft.finish(&self.table);
        let position = self.replica.propose(Kind::of_change(draft.format), request, wall_ms, |w| {
            payload::write_head(w, draft.format, answer);
            draft.write(w);
        });
        let Some(position) = position else {
            // Cannot happen after `is_serving`; should it, nothing may stay applied that is in no log.
            debug_assert!(false, "a serving leader takes proposals");
            self.take_back(&mut draft);
            return Executed::NotLeading;
        };
        self.logged.note(&draft);
        self.undo.push_back((position.index, core::mem::take(&mut draft.undo)));
        self.applied = position.index;
        if let Some(answer) = answer {
            self.answers.insert(request, position, answer);
        }
        self.keep(draft);
        Executed::Written(position)
    }

    /// A draft that reuses the last one's memory, in the format that the keyspace has now.
    pub(crate) fn draft(&mut self, name: &'static str) -> Draft {
        let memory = core::mem::take(&mut self.rows);
        Draft::new(self.keyspace.settings.log, name, memory)
    }
    pub(crate) fn keep(&mut self, draft: Draft) {
        let memory = draft.into_memory();
        // A huge EXEC shall not pin its memory.
        if memory.capacity() <= 1 << 20 {
            self.rows = memory;
        }
    }
    /// Takes back what a draft did: it becomes an empty one.
    pub(crate) fn take_back(&mut self, draft: &mut Draft) {
        for undo in draft.undo.drain(..).rev() {
            self.table.undo(undo);
        }
        draft.forget();
    }

    /// Runs a command that only reads on the table as it is, at this time.
    pub(crate) fn look_up(
        &mut self,
        random: &mut Random,
        spec: &'static Spec,
        args: &[&[u8]],
        now_ms: i64,
        protocol: Protocol,
        reply: &mut Vec<u8>,
    ) {
        if self.site.is_some() {
            return self.look_up_site(random, spec, args, now_ms, protocol, reply);
        }
        let Some(run) = spec.run else { return };
        let start = reply.len();
        let mut ops = Ops::new();
        let owned = self.moving.as_ref().and_then(|moving| moving.owned.as_ref());
        let view = CountedView::new(TableView { table: &self.table, now_ms }, owned);
        let result = run(&mut Call {
            args,
            view: &view,
            now_ms,
            random,
            reply: ReplyWriter::new(reply, protocol),
            ops: &mut ops,
        });
        self.looks += view.looks();
        if let Err(error) = result {
            reply.truncate(start);
            ReplyWriter::new(reply, protocol).error(error.text());
        }
        debug_assert!(ops.is_empty(), "{} only reads", spec.name);
    }

    /// The bug SL-24: what expires here is in no log.
    fn expire_alone(&mut self, wall_ms: i64, max: usize) {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        self.table.expiring(wall_ms, max, &mut |key, _| keys.push(key.to_vec()));
        for key in keys {
            let expire = Operation::Expire { key: key.as_slice().into(), at_ms: wall_ms };
            self.table.apply_committed(&expire, (wall_ms / 1000) as u32);
        }
    }

    /// The leader's active expiry: an entry that expires keys whose time has come, at most `max` of them. Returns how many.
    pub fn expire_due(&mut self, wall_ms: i64, max: usize) -> usize {
        if plant::is(Bug::ExpiresAlone) && !self.is_serving() {
            self.expire_alone(wall_ms, max);
        }
        if !self.is_serving() || self.table.keys_with_expiry() == 0 {
            return 0;
        }
        let time_ms = self.replica.entry_time_ms(wall_ms);
        let mut keys: Vec<Vec<u8>> = Vec::new();
        self.table.expiring(time_ms, max, &mut |key, _| keys.push(key.to_vec()));
        if keys.is_empty() {
            return 0;
        }
        let mut draft = self.draft("expire");
        for key in &keys {
            self.change(
                &Operation::Expire { key: key.into(), at_ms: time_ms },
                (time_ms / 1000) as u32,
                &mut draft,
            );
        }
        let mut random = Random(0);
        let now = Now::default();
        let identity = Identity::NONE;
        let context = Context { now, wall_ms, random: &mut random, protocol: Protocol::Resp2, identity };
        if let Executed::Written(position) = self.conclude(&context, draft, 0, &mut Vec::new()) {
            self.told.untold(position.index);
        }
        keys.len()
    }
}
