//! EXEC in a multi-leader keyspace: its commands are one write of this site, which every site shows all at once or not at all.
//!
//! A command sees what those before it are going to do; one that does not fit is answered with its error, and the others are done,
//! as in Redis. A watch breaks when its site's leader proposes a change of a watched key, its own or another site's: it tells of
//! what this site has heard, and not of what is under way elsewhere. That is settled by the policy, as for any write.
// catalogue: I4

use super::execute::{JOINING, refusal_text, unavailable};
use crate::execute::{Context, Executed};
use crate::group::Group;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::causal::{self, OnSiblings, Plan};
use commands::table_view::TableView;
use commands::{Call, Class, Ops, Spec};
use data::causal::{Object, Wish};
use data::value::Blob;
use data::{Index, SiteId};
use protocol::multi_leader::{Draft, Refusal};
use wire::ReplyWriter;

/// Why a command of a transaction is not done.
enum Failed {
    /// The others are.
    One(String),
    /// Nor are the others.
    All(String),
    /// A key is at home at this other site, and all of them go there.
    Home(SiteId),
}

impl Group {
    /// As [`Group::execute_all`], in a multi-leader keyspace.
    pub(crate) fn execute_all_site<'a>(
        &mut self,
        context: &mut Context<'_>,
        commands: impl ExactSizeIterator<Item = (&'static Spec, Vec<&'a [u8]>)>,
        reply: &mut Vec<u8>,
    ) -> Executed {
        let (start, mut depends, mut draft) = (reply.len(), Index(0), Draft::default());
        ReplyWriter::new(reply, context.protocol).array(commands.len());
        for (spec, args) in commands {
            let before = reply.len();
            let done = self.execute_in(context, spec, &args, (&mut draft, &mut depends), reply);
            match done {
                Ok(()) => {}
                Err(Failed::One(text)) => {
                    reply.truncate(before);
                    ReplyWriter::new(reply, context.protocol).error(&text);
                }
                Err(Failed::Home(home)) => {
                    if let Some(exchange) = self.site.as_mut().and_then(|site| site.exchange.as_mut()) {
                        exchange.take_back(draft);
                    }
                    reply.truncate(start);
                    return Executed::AtHome(home);
                }
                Err(Failed::All(text)) => {
                    if let Some(exchange) = self.site.as_mut().and_then(|site| site.exchange.as_mut()) {
                        exchange.take_back(draft);
                    }
                    return self.refuse(context, start, reply, depends, &text);
                }
            }
        }
        if draft.is_empty() {
            return Executed::Read(depends);
        }
        let mut out = Vec::new();
        let Some(exchange) = self.site.as_mut().and_then(|site| site.exchange.as_mut()) else {
            return Executed::NotLeading;
        };
        let stamp = exchange.conclude(draft, &mut out);
        self.append_site(context, (stamp, out), start, reply, depends)
    }

    fn execute_in(
        &mut self,
        context: &mut Context<'_>,
        spec: &'static Spec,
        args: &[&[u8]],
        (draft, depends): (&mut Draft, &mut Index),
        reply: &mut Vec<u8>,
    ) -> Result<(), Failed> {
        if spec.class == Class::Node {
            return self.run_on_node(context, spec, args, reply);
        }
        let setting = self.setting(context.now.wall.middle_ms());
        let one = |error: commands::call::CommandError| Failed::One(error.text().into());
        let plan = causal::plan(spec, args, &setting).map_err(one)?;
        let keys: Vec<&[u8]> = match &plan {
            Plan::Read(keys) | Plan::Exclusive(keys) => keys.iter().copied().collect(),
            Plan::Write { writes, .. } => writes.iter().map(|(key, _)| *key).collect(),
            Plan::Merge { from, into } => from.iter().copied().chain([*into]).collect(),
            Plan::Names | Plan::Node => {
                return Err(Failed::One(format!("{} inside MULTI", unavailable(spec))));
            }
        };
        let home = self.home_elsewhere(keys.iter().copied());
        *depends = self.depends_on(keys.iter().copied()).max(*depends);
        let Some(site) = &mut self.site else { return Err(Failed::All(JOINING.into())) };
        if let Some(home) = home {
            return Err(Failed::Home(home));
        }
        let refusal = site.refusal_here(keys.iter().copied());
        let Some(exchange) = site.exchange.as_mut().filter(|it| it.state().is_ready()) else {
            return Err(Failed::All(JOINING.into()));
        };
        // What the command reads, as the transaction has made it so far.
        let objects: Vec<(&[u8], Option<Object>)> = match &plan {
            Plan::Read(_) | Plan::Merge { .. } | Plan::Exclusive(_) => {
                keys.iter().map(|key| (*key, exchange.drafted(draft, key).cloned())).collect()
            }
            _ => Vec::new(),
        };
        let found: Vec<(&[u8], Option<&Object>)> =
            objects.iter().map(|(key, object)| (*key, object.as_ref())).collect();
        let (writes, form) = match plan {
            Plan::Read(_) => {
                let shown = site.shown(spec, &found);
                let found: Vec<(&[u8], Option<&Object>)> =
                    shown.iter().map(|(key, object)| (*key, object.as_deref())).collect();
                let writer = ReplyWriter::new(reply, context.protocol);
                let random = &mut *context.random;
                let answered = causal::answer(spec, args, &setting, OnSiblings::Show, &found, random, writer);
                return answered.map(|_| ()).map_err(one);
            }
            Plan::Exclusive(_) => {
                if let Some(refusal) = refusal {
                    return Err(Failed::One(refusal_text(site, &refusal)));
                }
                let writer = ReplyWriter::new(reply, context.protocol);
                let random = &mut *context.random;
                let changes = causal::execute_exclusive(spec, args, &setting, &found, random, writer);
                let added = exchange.add(context.now, draft, &changes.map_err(one)?);
                return added.map_err(|refusal| Failed::All(refusal_text(site, &refusal)));
            }
            Plan::Merge { from, into } => {
                let wish = causal::merged(&found[..from.len()], setting.now_ms).map_err(one)?;
                (Vec::from([(into, wish)]), causal::Form::Ok)
            }
            Plan::Write { writes, form } => (writes.into_iter().collect(), form),
            Plan::Names | Plan::Node => return Ok(()),
        };
        let changes: Vec<(Blob, Wish)> = writes.into_iter().map(|(key, wish)| (key.into(), wish)).collect();
        let judged = exchange.judge(context.now, draft, &changes).and_then(|outcomes| {
            exchange.add(context.now, draft, &changes)?;
            Ok(outcomes)
        });
        let outcomes = judged.map_err(|refusal| {
            let text = refusal_text(site, &refusal);
            match refusal {
                Refusal::NotANumber | Refusal::Unfit(_) => Failed::One(text),
                _ => Failed::All(text),
            }
        })?;
        causal::written(form, &outcomes, &mut ReplyWriter::new(reply, context.protocol));
        Ok(())
    }

    /// What has no keys is answered as anywhere.
    fn run_on_node(
        &self,
        context: &mut Context<'_>,
        spec: &'static Spec,
        args: &[&[u8]],
        reply: &mut Vec<u8>,
    ) -> Result<(), Failed> {
        let Some(run) = spec.run else { return Err(Failed::One(unavailable(spec))) };
        let now_ms = context.now.wall.middle_ms();
        let done = run(&mut Call {
            args,
            view: &TableView { table: &self.table, now_ms },
            now_ms,
            random: context.random,
            reply: ReplyWriter::new(reply, context.protocol),
            ops: &mut Ops::new(),
        });
        done.map_err(|error| Failed::One(error.text().into()))
    }
}
