//! Commands on a causal shard, executed by its site's leader: reads show what it holds, writes become one entry each.
//!
//! A write with several keys of one shard is one write everywhere: all of it or nothing, and no site shows a part.
// catalogue: I4

use super::shard::SiteShard;
use crate::execute::{Context, Executed};
use crate::group::Group;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::causal::{self, OnSiblings, Plan, Setting};
use commands::{Flags, Spec};
use data::causal::{CausalView, Object, Wish};
use data::multi_leader::Conflict;
use data::record::Kind;
use data::value::Blob;
use data::{Index, Position, RequestId, WriteStamp};
use protocol::multi_leader::{Change, Draft, Output, Record, Refusal};
use wire::ReplyWriter;

pub(super) const JOINING: &str =
    "TRYAGAIN this site is being copied from another one: nothing was done; ask a node of another site";

const NO_FLUSH: &str = "ERR 'flushdb' is not available under CONFLICT home or block, for a site cannot write all keys by itself: DEL what SCAN shows, or drop the keyspace";

impl Group {
    /// As [`Group::execute`], in a multi-leader keyspace.
    pub(crate) fn execute_site(
        &mut self,
        context: &mut Context<'_>,
        spec: &'static Spec,
        args: &[&[u8]],
        reply: &mut Vec<u8>,
    ) -> Executed {
        let Some(site) = &self.site else { return Executed::NotLeading };
        let Some(exchange) = &site.exchange else { return Executed::NotLeading };
        let start = reply.len();
        let setting = self.setting(context.now.wall.middle_ms());
        let plan = match causal::plan(spec, args, &setting) {
            Ok(plan) => plan,
            Err(error) => return self.refuse(context, start, reply, Index(0), error.text()),
        };
        let plan = match plan {
            Plan::Merge { from, into } if exchange.state().is_ready() => {
                if let Some(home) = self.home_elsewhere(from.iter().copied().chain([into])) {
                    return Executed::AtHome(home);
                }
                let (depends, copy) = (self.depends_on(from.iter().copied()), exchange.state().copy());
                let found: Vec<(&[u8], Option<&Object>)> =
                    from.iter().map(|key| (*key, copy.object(key))).collect();
                match causal::merged(&found, setting.now_ms) {
                    Ok(wish) => Plan::Write { writes: [(into, wish)].into(), form: causal::Form::Ok },
                    Err(error) => return self.refuse(context, start, reply, depends, error.text()),
                }
            }
            plan => plan,
        };
        match plan {
            _ if !exchange.state().is_ready() => self.refuse(context, start, reply, Index(0), JOINING),
            Plan::Node => self.refuse(context, start, reply, Index(0), &unavailable(spec)),
            Plan::Names if spec.flags.has(Flags::WRITE) => self.flush_site(context, args, start, reply),
            Plan::Names => {
                let (copy, draw) = (exchange.state().copy(), context.random.draw());
                let mut writer = ReplyWriter::new(reply, context.protocol);
                match causal::answer_names(spec, args, copy, setting.now_ms, draw, &mut writer) {
                    Ok(()) => Executed::Read(self.applied),
                    Err(error) => self.refuse(context, start, reply, Index(0), error.text()),
                }
            }
            Plan::Exclusive(keys) => {
                if let Some(home) = self.home_elsewhere(keys.iter().copied()) {
                    return Executed::AtHome(home);
                }
                let depends = self.depends_on(keys.iter().copied());
                if let Some(refusal) = site.refusal_here(keys.iter().copied()) {
                    return self.refuse(context, start, reply, depends, &refusal_text(site, &refusal));
                }
                let copy = exchange.state().copy();
                let found: Vec<(&[u8], Option<&Object>)> =
                    keys.iter().map(|key| (*key, copy.object(key))).collect();
                let writer = ReplyWriter::new(reply, context.protocol);
                let made = causal::execute_exclusive(spec, args, &setting, &found, context.random, writer);
                match made {
                    Ok(changes) if changes.is_empty() => Executed::Read(depends),
                    Ok(changes) => self.write_site(context, &changes, start, reply, depends),
                    Err(error) => self.refuse(context, start, reply, depends, error.text()),
                }
            }
            // It became a write.
            Plan::Merge { .. } => self.refuse(context, start, reply, Index(0), JOINING),
            Plan::Read(keys) => {
                if let Some(home) = self.home_elsewhere(keys.iter().copied()) {
                    return Executed::AtHome(home);
                }
                let depends = self.depends_on(keys.iter().copied());
                let copy = exchange.state().copy();
                let found: Vec<(&[u8], Option<&Object>)> =
                    keys.iter().map(|key| (*key, copy.object(key))).collect();
                let shown = site.shown(spec, &found);
                let found: Vec<(&[u8], Option<&Object>)> =
                    shown.iter().map(|(key, object)| (*key, object.as_deref())).collect();
                let writer = ReplyWriter::new(reply, context.protocol);
                let answered =
                    causal::answer(spec, args, &setting, OnSiblings::Show, &found, context.random, writer);
                match answered {
                    Ok(_) => Executed::Read(depends),
                    Err(error) => self.refuse(context, start, reply, depends, error.text()),
                }
            }
            Plan::Write { writes, form } => {
                if let Some(home) = self.home_elsewhere(writes.iter().map(|(key, _)| &**key)) {
                    return Executed::AtHome(home);
                }
                let depends = self.depends_on(writes.iter().map(|(key, _)| *key));
                let changes: Vec<(Blob, _)> =
                    writes.into_iter().map(|(key, wish)| (Blob::from(key), wish)).collect();
                let outcomes = match exchange.judge(context.now, &mut Draft::default(), &changes) {
                    Ok(outcomes) => outcomes,
                    Err(refusal) => {
                        let text = refusal_text(site, &refusal);
                        return self.refuse(context, start, reply, depends, &text);
                    }
                };
                causal::written(form, &outcomes, &mut ReplyWriter::new(reply, context.protocol));
                self.write_site(context, &changes, start, reply, depends)
            }
        }
    }

    /// A page of FLUSHDB, answered with the leaf where the next one begins, or OK at the end.
    fn flush_site(
        &mut self,
        context: &mut Context<'_>,
        args: &[&[u8]],
        start: usize,
        reply: &mut Vec<u8>,
    ) -> Executed {
        let Some(site) = &self.site else { return Executed::NotLeading };
        let Some(exchange) = &site.exchange else { return Executed::NotLeading };
        // Of a key that is at home elsewhere, or that another site is asked about first, this leader cannot write by itself.
        if matches!(site.conflict, Conflict::Home | Conflict::Block) {
            return self.refuse(context, start, reply, Index(0), NO_FLUSH);
        }
        let leaf = match causal::flush_from(args) {
            Ok(leaf) => leaf,
            Err(error) => return self.refuse(context, start, reply, Index(0), error.text()),
        };
        let (keys, next) = causal::flush_page(exchange.state().copy(), leaf);
        let mut writer = ReplyWriter::new(reply, context.protocol);
        match next {
            Some(leaf) => writer.integer(i64::from(leaf)),
            None => writer.ok(),
        }
        if keys.is_empty() {
            return Executed::Read(self.applied);
        }
        let depends = self.depends_on(keys.iter().map(|key| &**key));
        let changes: Vec<(Blob, Wish)> = keys.into_iter().map(|key| (key, Wish::Delete)).collect();
        self.write_site(context, &changes, start, reply, depends)
    }

    /// What command lines are read with: where keys have a home, or the sites agreed to this write, nobody else writes meanwhile.
    pub(super) fn setting(&self, now_ms: i64) -> Setting {
        let conflict = self.site.as_ref().map(|site| &site.conflict);
        let is_alone = matches!(conflict, Some(Conflict::Home | Conflict::Block));
        Setting { now_ms, seed: self.keyspace.seed, is_alone }
    }

    pub(super) fn write_site(
        &mut self,
        context: &mut Context<'_>,
        changes: &[(Blob, Wish)],
        start: usize,
        reply: &mut Vec<u8>,
        depends: Index,
    ) -> Executed {
        let Some(site) = &mut self.site else { return Executed::NotLeading };
        let Some(exchange) = &mut site.exchange else { return Executed::NotLeading };
        let mut out = Vec::new();
        let stamp = match exchange.write(context.now, changes, &mut out) {
            Ok(stamp) => stamp,
            Err(refusal) => {
                let text = refusal_text(site, &refusal);
                return self.refuse(context, start, reply, depends, &text);
            }
        };
        self.append_site(context, (stamp, out), start, reply, depends)
    }

    /// Makes an entry of a write.
    pub(super) fn append_site(
        &mut self,
        context: &Context<'_>,
        (stamp, out): (WriteStamp, Vec<Output>),
        start: usize,
        reply: &[u8],
        depends: Index,
    ) -> Executed {
        // Of a forwarded command: clients' own ids are refused in multi-leader keyspaces.
        let request = context.identity.request;
        let answer = (!request.is_none()).then(|| &reply[start..]);
        self.depended = depends;
        match self.propose_all((request, answer), context.wall_ms, out) {
            Some(position) => {
                self.note_site_stamp(position, stamp);
                Executed::Written(position)
            }
            None => Executed::NotLeading,
        }
    }

    /// Makes an entry of what the exchange proposes, and keeps the rest for the end of the turn.
    pub(super) fn propose_all(
        &mut self,
        (request, answer): (RequestId, Option<&[u8]>),
        wall_ms: i64,
        out: Vec<Output>,
    ) -> Option<Position> {
        let mut position = None;
        for output in out {
            match output {
                Output::Propose { record } => {
                    position = self.propose_site((request, answer), wall_ms, record);
                }
                other => self.site_late(other),
            }
        }
        position
    }
    pub(super) fn site_late(&mut self, output: Output) {
        if let Some(site) = &mut self.site {
            site.late.push(output);
        }
    }
    fn note_site_stamp(&mut self, position: Position, stamp: WriteStamp) {
        if let Some(site) = &mut self.site {
            site.note_stamp(position.index, stamp);
        }
    }

    /// Makes an entry of what the exchange proposes.
    pub(crate) fn propose_site(
        &mut self,
        (request, answer): (RequestId, Option<&[u8]>),
        wall_ms: i64,
        record: Record,
    ) -> Option<Position> {
        let mut len = 0;
        let position = self.replica.propose(Kind::Site, request, wall_ms, |w| {
            let before = w.buffer.len();
            super::entry::write(w, answer, &record);
            len = w.buffer.len() - before;
        });
        let Some(position) = position else {
            // Cannot happen after `is_serving`; should it, nothing may stay in the state that is in no log.
            debug_assert!(false, "a serving leader takes proposals");
            if let Some(site) = &mut self.site {
                site.step_down();
            }
            return None;
        };
        self.undo.push_back((position.index, Vec::new()));
        self.applied = position.index;
        if let Some(answer) = answer.filter(|_| !request.is_none()) {
            self.answers.insert(request, position, answer);
        }
        match &record {
            Record::Write(write) => {
                if let Change::Deltas(deltas) = &write.change {
                    for (key, _) in deltas {
                        self.dirty.touch(self.table.hash(key), position.index);
                        if !self.watches.is_empty() {
                            self.watches.written(key);
                        }
                    }
                }
            }
            Record::Claim { .. } | Record::Unclaim { .. } => {}
            Record::CopyBegin { .. } | Record::CopyPart(_) | Record::CopyEnd { .. } => {
                self.dirty.touch_all(position.index);
                self.watches.all_written();
            }
        }
        if let Some(site) = &mut self.site {
            site.proposed(position.index, record, len);
        }
        Some(position)
    }

    /// The newest entry, not committed perhaps, that may have changed one of the keys.
    pub(super) fn depends_on<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Index {
        let newest = keys.map(|key| self.dirty.index(self.table.hash(key))).max();
        newest.unwrap_or(Index(0)).min(self.applied)
    }

    pub(super) fn refuse(
        &self,
        context: &Context<'_>,
        start: usize,
        reply: &mut Vec<u8>,
        depends: Index,
        text: &str,
    ) -> Executed {
        reply.truncate(start);
        ReplyWriter::new(reply, context.protocol).error(text);
        Executed::Read(depends)
    }

    /// A read of this copy's committed state.
    pub(crate) fn look_up_site(
        &self,
        random: &mut commands::Random,
        spec: &'static Spec,
        args: &[&[u8]],
        now_ms: i64,
        protocol: wire::Protocol,
        reply: &mut Vec<u8>,
    ) {
        let Some(site) = &self.site else { return };
        self.look_up_in(site.state.copy(), random, spec, args, now_ms, protocol, reply);
    }

    /// The same on the copy as it was at some moment.
    #[expect(clippy::too_many_arguments, reason = "those of a look-up, and where")]
    pub(crate) fn look_up_in(
        &self,
        copy: &impl CausalView,
        random: &mut commands::Random,
        spec: &'static Spec,
        args: &[&[u8]],
        now_ms: i64,
        protocol: wire::Protocol,
        reply: &mut Vec<u8>,
    ) {
        let Some(site) = &self.site else { return };
        let start = reply.len();
        // What exclusive commands ask for their site's leader does.
        let setting = Setting { is_alone: false, ..self.setting(now_ms) };
        let refused = match causal::plan(spec, args, &setting) {
            Ok(_) if !site.state.is_ready() => Some(JOINING.into()),
            Ok(Plan::Read(keys)) => {
                let found: Vec<(&[u8], Option<&Object>)> =
                    keys.iter().map(|key| (*key, copy.object(key))).collect();
                let shown = site.shown(spec, &found);
                let found: Vec<(&[u8], Option<&Object>)> =
                    shown.iter().map(|(key, object)| (*key, object.as_deref())).collect();
                let writer = ReplyWriter::new(reply, protocol);
                let answered = causal::answer(spec, args, &setting, OnSiblings::Show, &found, random, writer);
                answered.err().map(|error| String::from(error.text()))
            }
            Ok(Plan::Names) => {
                let mut writer = ReplyWriter::new(reply, protocol);
                let answered = causal::answer_names(spec, args, copy, now_ms, random.draw(), &mut writer);
                answered.err().map(|error| String::from(error.text()))
            }
            Ok(_) => Some(unavailable(spec)),
            Err(error) => Some(error.text().into()),
        };
        if let Some(text) = refused {
            reply.truncate(start);
            ReplyWriter::new(reply, protocol).error(&text);
        }
    }
}

pub(super) fn unavailable(spec: &Spec) -> String {
    format!("ERR '{}' is not available in a multi-leader keyspace", spec.name)
}

/// Why a write was not made, for a client. Nothing was done.
pub(super) fn refusal_text(site: &SiteShard, refusal: &Refusal) -> String {
    match refusal {
        Refusal::Joining => JOINING.into(),
        Refusal::Clock(ahead) => format!(
            "TRYAGAIN this site's clock is too far behind what it has seen ({ahead}): nothing was written; set the clocks of its nodes"
        ),
        Refusal::Ahead { by_ms } => format!(
            "TRYAGAIN the clock of this site's leader is {by_ms} ms ahead of most others: nothing was written; set the clocks of its nodes"
        ),
        Refusal::Elsewhere { home } => {
            let name = site.names.get(home).map_or_else(|| format!("{home}"), |name| format!("{name}"));
            format!(
                "HOME the key is at home at site {name}: nothing was written; write it at a node of that site"
            )
        }
        Refusal::Unclaimed => "TRYAGAIN the sites have not agreed to this write: nothing was written".into(),
        Refusal::NotASite(other) => format!("ERR {other} is none of the keyspace's sites"),
        Refusal::NotANumber => "ERR value is not an integer or out of range".into(),
        Refusal::Unfit(unfit) => causal::unfit(*unfit).text().into(),
        Refusal::TooLarge { bytes_max } => {
            format!("ERR a write has at most {bytes_max} bytes here: nothing was written")
        }
    }
}
