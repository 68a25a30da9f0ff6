//! ZRANGE and the older commands that it unites.

use super::interval::{By, Interval};
use super::{begin_members, show_member, zset_at};
use crate::arguments::integer;
use crate::call::{Call, CommandError, CommandResult};
use crate::places::limited;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use core::ops::Range;
use data::Operation;
use data::operation::Expiry;
use data::value::{Value, ZSet};

/// What a command's name settles, and what it leaves to options.
#[derive(Clone, Copy, Default)]
struct Form {
    by: Option<By>,
    backwards: bool,
    /// BYSCORE, BYLEX and REV are options.
    open: bool,
    /// The members are stored, so there is nobody to show scores to.
    stores: bool,
}

/// A range with its options read.
struct Selection<'a> {
    interval: Interval<'a>,
    backwards: bool,
    limit: Option<(i64, i64)>,
    with_scores: bool,
}

pub(super) fn zrange(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, Form { open: true, ..Form::default() })
}
pub(super) fn zrevrange(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, Form { by: Some(By::Rank), backwards: true, ..Form::default() })
}
pub(super) fn zrangebyscore(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, Form { by: Some(By::Score), ..Form::default() })
}
pub(super) fn zrevrangebyscore(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, Form { by: Some(By::Score), backwards: true, ..Form::default() })
}
pub(super) fn zrangebylex(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, Form { by: Some(By::Lex), ..Form::default() })
}
pub(super) fn zrevrangebylex(call: &mut Call<'_, '_>) -> CommandResult {
    answer(call, Form { by: Some(By::Lex), backwards: true, ..Form::default() })
}

fn answer(call: &mut Call<'_, '_>, form: Form) -> CommandResult {
    let selection = Selection::parse(form, call.rest(2))?;
    let Some(zset) = zset_at(call.view, call.key(1))? else {
        call.reply.array(0);
        return Ok(());
    };
    let ranks = selection.ranks(zset);
    begin_members(&mut call.reply, ranks.len(), selection.with_scores);
    let members = zset.range(ranks.start, ranks.end);
    let mut show = |(member, score)| show_member(&mut call.reply, member, score, selection.with_scores);
    if selection.backwards {
        members.rev().for_each(&mut show)
    } else {
        members.for_each(&mut show)
    }
    Ok(())
}

pub(super) fn zrangestore(call: &mut Call<'_, '_>) -> CommandResult {
    let selection = Selection::parse(Form { open: true, stores: true, ..Form::default() }, call.rest(3))?;
    let mut stored = ZSet::new();
    if let Some(zset) = zset_at(call.view, call.key(2))? {
        let ranks = selection.ranks(zset);
        for (member, score) in zset.range(ranks.start, ranks.end) {
            stored.set(member, score);
        }
    }
    store(call, stored);
    Ok(())
}

/// Puts a result under the key of argument 1 and answers its size; an empty one clears the key.
pub(crate) fn store(call: &mut Call<'_, '_>, zset: ZSet) {
    let destination = call.key(1);
    call.reply.integer(zset.len() as i64);
    if !zset.is_empty() {
        let value = Value::ZSet(Box::new(zset));
        call.op(Operation::Put { key: Cow::Borrowed(destination), value, expiry: Expiry::Never });
    } else if call.view.get(destination).is_some() {
        call.op(Operation::Delete { key: Cow::Borrowed(destination) });
    }
}

impl<'a> Selection<'a> {
    /// Reads `first second [options ...]`.
    fn parse(form: Form, args: &[&'a [u8]]) -> Result<Selection<'a>, CommandError> {
        let [first, second, options @ ..] = args else { return Err(CommandError::SYNTAX) };
        let (mut by, mut backwards, mut limit, mut with_scores) = (form.by, form.backwards, None, false);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match option.to_ascii_uppercase().as_slice() {
                b"WITHSCORES" if !form.stores => with_scores = true,
                b"LIMIT" => {
                    let offset = options.next().ok_or(CommandError::SYNTAX)?;
                    let count = options.next().ok_or(CommandError::SYNTAX)?;
                    limit = Some((integer(offset)?, integer(count)?));
                }
                b"REV" if form.open => backwards = true,
                b"BYSCORE" if form.open && by.is_none() => by = Some(By::Score),
                b"BYLEX" if form.open && by.is_none() => by = Some(By::Lex),
                _ => return Err(CommandError::SYNTAX),
            }
        }
        let by = by.unwrap_or(By::Rank);
        if limit.is_some() && by == By::Rank {
            return Err(CommandError::fixed(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::fixed(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let interval = Interval::parse(by, first, second, backwards)?;
        Ok(Selection { interval, backwards, limit, with_scores })
    }

    fn ranks(&self, zset: &ZSet) -> Range<usize> {
        let ranks = self.interval.ranks(zset);
        match self.limit {
            Some((offset, count)) => limited(ranks, offset, count, self.backwards),
            None => ranks,
        }
    }
}
