//! Mergeable commands: a command line becomes one wish per key.

use super::read::NothingView;
use super::{Form, Setting, exclusive, keys_once};
use crate::arguments::{float, integer, is};
use crate::call::{Call, CommandError, CommandResult, Ops, Random};
use crate::hyperloglog::points_of;
use crate::spec::Spec;
use crate::string::{TimeForm, is_conditional};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use data::Operation;
use data::causal::{Amount, Deadline, Score, Wish, sealed};
use data::value::Blob;
use wire::{Protocol, ReplyWriter};

/// A command line whose arity fits.
pub struct Line<'l, 'a> {
    pub spec: &'l Spec,
    pub args: &'l [&'a [u8]],
    pub setting: &'l Setting,
}

/// One wish per key, each key once, and the form of the reply.
pub type Writes<'a> = (Vec<(&'a [u8], Wish)>, Form);

pub(super) type Made<'a> = Result<Writes<'a>, CommandError>;

impl<'a> Line<'_, 'a> {
    fn key(&self) -> &'a [u8] {
        self.args[1]
    }
    fn rest(&self, at: usize) -> &[&'a [u8]] {
        self.args.get(at..).unwrap_or(&[])
    }
    fn one(&self, wish: Wish, form: Form) -> Made<'a> {
        Ok((vec![(self.key(), wish)], form))
    }
    /// Lets the plain command look at its arguments. What it does in a keyspace without keys it does anywhere, if it is one
    /// that does not look at what is there.
    fn run(&self, with: &mut dyn FnMut(&Operation<'_>)) -> CommandResult {
        let Some(run) = self.spec.run else { return Ok(()) };
        let (mut buffer, mut ops) = (Vec::new(), Ops::new());
        run(&mut Call {
            args: self.args,
            view: &NothingView,
            now_ms: self.setting.now_ms,
            random: &mut Random(0),
            reply: ReplyWriter::new(&mut buffer, Protocol::Resp2),
            ops: &mut ops,
        })?;
        ops.iter().for_each(with);
        Ok(())
    }
}

fn blobs<T: AsRef<[u8]>>(items: &[T]) -> Vec<Blob> {
    items.iter().map(|item| item.as_ref().into()).collect()
}

/// Commands that write the same whatever is there: their operations are their wishes. Of a key named twice the last one
/// counts.
fn blind<'a>(line: &Line<'_, 'a>, form: Form) -> Made<'a> {
    let mut wishes: BTreeMap<Blob, Wish> = BTreeMap::new();
    line.run(&mut |operation| {
        let (key, wish) = match operation {
            Operation::Set { key, value, expiry } => {
                (key, Wish::Set { value: (**value).into(), expiry: *expiry })
            }
            Operation::SetAdd { key, members } => (key, Wish::SetAdd { members: blobs(members) }),
            Operation::HashSet { key, fields } => {
                let fields = fields.iter().map(|(f, v)| ((**f).into(), (**v).into())).collect();
                (key, Wish::HashSet { fields })
            }
            Operation::ZSetAdd { key, members } => {
                let scored =
                    members.iter().filter_map(|(m, score)| Some(((**m).into(), Score::new(*score)?)));
                (key, Wish::ZSetSet { members: scored.collect() })
            }
            Operation::ListPush { key, end, elements } => {
                (key, Wish::ListPush { end: *end, elements: blobs(elements) })
            }
            _ => return,
        };
        wishes.insert((**key).into(), wish);
    })?;
    let keys = keys_once(line.spec, line.args)?;
    let writes = keys.into_iter().filter_map(|key| Some((key, wishes.remove(key)?)));
    Ok((writes.collect(), form))
}

pub(super) fn set<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    if is_conditional(line.rest(3))? {
        return Err(exclusive("set ... nx|xx|get", "use SET without them, or GETV and SETV"));
    }
    blind(line, Form::Ok)
}
pub(super) fn blind_ok<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    blind(line, Form::Ok)
}
pub(super) fn blind_integer<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    blind(line, Form::Integer)
}

/// SETV key context value.
pub(super) fn setv<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    let seen = sealed::unseal(line.setting.seed, line.key(), line.args[2]).map_err(|why| {
        CommandError::fixed(match why {
            sealed::NotGivenOut::Malformed => "ERR invalid context: take the one that GETV told",
            sealed::NotGivenOut::Foreign => "ERR the context was not given out for this key of this keyspace",
        })
    })?;
    line.one(Wish::SetOver { seen, value: line.args[3].into() }, Form::Ok)
}

/// DEL, UNLINK: each key by itself.
pub(super) fn del<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    let keys = keys_once(line.spec, line.args)?;
    Ok((keys.into_iter().map(|key| (key, Wish::Delete)).collect(), Form::Integer))
}

fn add<'a>(line: &Line<'_, 'a>, by: i64) -> Made<'a> {
    line.one(Wish::Increment { by: Amount::whole(by) }, Form::Integer)
}
pub(super) fn incr<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    add(line, 1)
}
pub(super) fn decr<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    add(line, -1)
}
pub(super) fn incrby<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    add(line, integer(line.args[2])?)
}
pub(super) fn decrby<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    let by = integer(line.args[2])?;
    add(line, by.checked_neg().ok_or(CommandError::fixed("ERR decrement would overflow"))?)
}

/// Whole numbers that doubles hold exactly stay whole, so that they add up exactly.
fn amount(text: &[u8], infinite: &'static str) -> Result<Amount, CommandError> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let by = float(text)?;
    let whole = by as i64;
    if by.abs() <= EXACT_MAX && whole as f64 == by {
        return Ok(Amount::whole(whole));
    }
    Amount::float(by).ok_or(CommandError::fixed(infinite))
}
pub(super) fn incrbyfloat<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    let by = amount(line.args[2], "ERR increment would produce NaN or Infinity")?;
    line.one(Wish::IncrementFloat { by }, Form::Text)
}
pub(super) fn hincrby<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    let by = Amount::whole(integer(line.args[3])?);
    line.one(Wish::HashIncrement { field: line.args[2].into(), by }, Form::Integer)
}
pub(super) fn hincrbyfloat<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    let by = amount(line.args[3], "ERR value is NaN or Infinity")?;
    line.one(Wish::HashIncrementFloat { field: line.args[2].into(), by }, Form::Text)
}

pub(super) fn srem<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    line.one(Wish::SetRemove { members: blobs(line.rest(2)) }, Form::Integer)
}
pub(super) fn hdel<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    line.one(Wish::HashRemove { fields: blobs(line.rest(2)) }, Form::Integer)
}
pub(super) fn zrem<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    line.one(Wish::ZSetRemove { members: blobs(line.rest(2)) }, Form::Integer)
}

/// ZADD and GEOADD without conditions; ZADD INCR is ZINCRBY.
pub(super) fn zadd<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    // The plain command says what is wrong with the arguments, whatever the options.
    line.run(&mut |_| {})?;
    let is_option = |arg: &&&[u8]| ["NX", "XX", "GT", "LT", "CH", "INCR"].iter().any(|word| is(arg, word));
    let options: Vec<&[u8]> = line.rest(2).iter().take_while(is_option).copied().collect();
    let has = |word: &str| options.iter().any(|option| is(option, word));
    if ["NX", "XX", "GT", "LT"].into_iter().any(has) {
        let what = format!("{} ... nx|xx|gt|lt", line.spec.name);
        return Err(exclusive(&what, "use it without them, or ZINCRBY"));
    }
    if has("INCR") {
        let [by, member] = line.rest(2 + options.len()) else { return Err(CommandError::SYNTAX) };
        return zset_increment(line, by, member);
    }
    blind(line, if has("CH") { Form::Changed } else { Form::Integer })
}
pub(super) fn zincrby<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    zset_increment(line, line.args[2], line.args[3])
}
fn zset_increment<'a>(line: &Line<'_, 'a>, by: &[u8], member: &[u8]) -> Made<'a> {
    let by = amount(by, "ERR an increment must be finite where several replicas write: use ZADD")?;
    line.one(Wish::ZSetIncrement { member: member.into(), by }, Form::Score)
}

pub(super) fn linsert<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    let after = is(line.args[2], "AFTER");
    if !after && !is(line.args[2], "BEFORE") {
        return Err(CommandError::SYNTAX);
    }
    let (pivot, element) = (line.args[3].into(), line.args[4].into());
    line.one(Wish::ListInsert { after, pivot, element }, Form::Integer)
}
pub(super) fn lrem<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    let wish = Wish::ListRemove { count: integer(line.args[2])?, element: line.args[3].into() };
    line.one(wish, Form::Integer)
}

pub(super) fn pfadd<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    line.one(Wish::Raise { points: points_of(line.rest(2)) }, Form::Integer)
}

/// EXPIRE and its kin without conditions. A time that has passed hides the key; it deletes nothing.
pub(super) fn expire<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    line.run(&mut |_| {})?;
    let name = line.spec.name;
    if line.args.len() > 3 {
        return Err(exclusive(&format!("{name} ... nx|xx|gt|lt"), "use it without conditions"));
    }
    let form = match name {
        "expire" => TimeForm::Seconds,
        "pexpire" => TimeForm::Milliseconds,
        "expireat" => TimeForm::AtSeconds,
        _ => TimeForm::AtMilliseconds,
    };
    let at_ms = form.absolute(integer(line.args[2])?, line.setting.now_ms);
    let at_ms =
        at_ms.ok_or_else(|| CommandError::new(format!("ERR invalid expire time in '{name}' command")))?;
    line.one(Wish::Expire { deadline: Deadline::At(at_ms) }, Form::Integer)
}
pub(super) fn persist<'a>(line: &Line<'_, 'a>) -> Made<'a> {
    line.one(Wish::Expire { deadline: Deadline::Never }, Form::Integer)
}
