//! Commands where several replicas write: what a command line asks of causal values, and the reply that follows.
//!
//! A command is one of three kinds here. One that *reads* is run unchanged, over plain values made of what was read
//! ([`answer`]). One that is *mergeable* becomes a [`Wish`] per key, which the key's minter turns into a delta; the reply
//! follows from what it says that it came to ([`written`]). One that is *exclusive* only means something if nobody else writes
//! meanwhile: where that is so it is the plain command ([`Plan::Exclusive`]), elsewhere it is refused with a word on what to use instead. [`table`] has a row for each command.
//!
//! # How a node uses it
//!
//! 1. [`plan`] says what to do, or why nothing is done.
//! 2. `Plan::Read`: each key is read by itself (several keys are no common moment), then [`answer`] writes the reply.
//! 3. `Plan::Write`: each key is written by itself, all of them or some: nothing makes them one. When all are acknowledged
//!    [`written`] writes the reply from their outcomes. If one is not, the command is not done, and others of it may be: the
//!    reply is INDETERMINATE unless no key was minted. A minter's [`Unfit`] is answered by [`unfit`].
//! 4. `Plan::Merge`: the one, then the other.
//!
//! Replies are as one replica saw it: two clients may both be told that they added one member.
// catalogue: K10 K12

mod exclusive;
mod flush;
mod names;
mod read;
mod specs;
pub mod table;
mod versions;
mod write;

use crate::call::CommandError;
use crate::docs::{KeyList, keys_of};
use crate::spec::{Class, Spec};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use data::causal::{Object, Outcome, Unfit, Wish};
use data::registers::Registers;
use data::table::Seed;
use data::value::Value;
use table::Kind;
use wire::ReplyWriter;

pub use exclusive::execute as execute_exclusive;
pub use flush::{flush_from, flush_page};
pub use names::{KEYS_BYTES_MAX, RANDOM_NAMES, answer_names, too_many_names};
pub use read::{OnSiblings, Seen, answer, seen, shows_versions};
pub(crate) use specs::SPECS;

/// What a command line is read with.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The coordinator's time, ms since 1970: relative expiries are made absolute by it, and reads judge by it.
    pub now_ms: i64,
    /// The keyspace's: contexts in the hands of clients are sealed with it.
    pub seed: Seed,
    /// Nobody else writes the command's keys until it is done, and whoever executes it holds all of them.
    pub is_alone: bool,
}

/// What to do for a command.
#[derive(Clone, PartialEq, Debug)]
pub enum Plan<'a> {
    /// Read these keys, each once, then [`answer`]. None for what needs no key (OBJECT HELP).
    Read(KeyList<'a>),
    /// One independent write per key, each key once, then [`written`].
    Write { writes: Vec<(&'a [u8], Wish)>, form: Form },
    /// Read the keys of `from`, each once; what they come to together ([`merged`]) is one write of `into`, answered OK.
    Merge { from: KeyList<'a>, into: &'a [u8] },
    /// Read these keys, each once; what [`execute_exclusive`] makes of them is one write. Only where [`Setting::is_alone`].
    Exclusive(KeyList<'a>),
    /// About all keys. Where one copy can answer that, [`answer_names`] does.
    Names,
    /// The node's own command: nothing here knows it.
    Node,
}

/// How the reply of a write is made of what its keys' writes came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// OK.
    Ok,
    /// An integer: how many were new or gone, a length, a total.
    Integer,
    /// An integer: members that are new and members with another score (ZADD CH).
    Changed,
    /// A number as a string (INCRBYFLOAT).
    Text,
    /// A score.
    Score,
}

/// What a command line asks for.
///
/// # Errors
/// A line to be answered as it is, with nothing done: wrong arguments in the words of the plain command, or `EXCLUSIVE` and what
/// to use instead. The arity has been checked against the spec.
pub fn plan<'a>(spec: &Spec, args: &[&'a [u8]], setting: &Setting) -> Result<Plan<'a>, CommandError> {
    let can_be_alone = setting.is_alone && spec.class == Class::Write && spec.run.is_some();
    match plan_shared(spec, args, setting) {
        Err(error) if can_be_alone && error.text().starts_with(EXCLUSIVE) => {
            keys_once(spec, args).map(Plan::Exclusive)
        }
        planned => planned,
    }
}

/// As if others wrote.
fn plan_shared<'a>(spec: &Spec, args: &[&'a [u8]], setting: &Setting) -> Result<Plan<'a>, CommandError> {
    let Some(kind) = table::kind_of(spec.name) else {
        return Err(CommandError::new(format!(
            "ERR '{}' is not known where several replicas write",
            spec.name
        )));
    };
    match kind {
        Kind::Read => read::plan(spec, args),
        Kind::Write(make) => {
            let (writes, form) = make(&write::Line { spec, args, setting })?;
            Ok(Plan::Write { writes, form })
        }
        Kind::Merge => {
            let mut from = keys_once(spec, args)?;
            // What the destination holds it keeps.
            from.retain(|key| *key != args[1]);
            Ok(Plan::Merge { from, into: args[1] })
        }
        Kind::Exclusive(instead) => Err(exclusive(spec.name, instead)),
        Kind::Missing(what) => {
            Err(CommandError::new(format!("ERR '{}' is not available in this keyspace: {what}", spec.name)))
        }
        Kind::Names => Ok(Plan::Names),
        Kind::Node => Ok(Plan::Node),
    }
}

/// The keys of a command line, each once.
fn keys_once<'a>(spec: &Spec, args: &[&'a [u8]]) -> Result<KeyList<'a>, CommandError> {
    let mut keys = keys_of(spec, args)?;
    let mut earlier = BTreeSet::new();
    keys.retain(|key| earlier.insert(*key));
    Ok(keys)
}

/// How the refusal of an exclusive command begins.
const EXCLUSIVE: &str = "EXCLUSIVE ";

fn exclusive(what: &str, instead: &str) -> CommandError {
    CommandError::new(format!(
        "{EXCLUSIVE}'{what}' only means something if nobody else writes meanwhile, and here several replicas write: {instead}"
    ))
}

/// What hyperloglogs that were read raise together.
///
/// # Errors
/// When one of them is none.
pub fn merged(found: &[(&[u8], Option<&Object>)], now_ms: i64) -> Result<Wish, CommandError> {
    let mut together = Registers::default();
    for value in found.iter().filter_map(|(_, object)| object.and_then(|object| object.plain(now_ms))) {
        let Value::String(text) = &value else { return Err(CommandError::WRONG_TYPE) };
        for (at, value) in crate::hyperloglog::parse(text)?.points() {
            together.raise(at, value);
        }
    }
    Ok(Wish::Raise { points: together.points().collect() })
}

/// Writes the reply of a write whose keys are all acknowledged; `outcomes` in the order of the plan.
pub fn written(form: Form, outcomes: &[Outcome], reply: &mut ReplyWriter<'_>) {
    let sum = |of: fn(&Outcome) -> i64| outcomes.iter().map(of).fold(0i64, i64::saturating_add);
    let number = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Number(number) => Some(*number),
        _ => None,
    });
    match form {
        Form::Ok => reply.ok(),
        Form::Integer => reply.integer(sum(integer_of)),
        Form::Changed => reply.integer(sum(changed_of)),
        Form::Text => match number {
            Some(number) => reply.bulk(format!("{number}").as_bytes()),
            None => reply.bulk_integer(sum(integer_of)),
        },
        Form::Score => reply.double(number.unwrap_or(0.0)),
    }
}

fn integer_of(outcome: &Outcome) -> i64 {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    match outcome {
        Outcome::Done | Outcome::Number(_) => 0,
        Outcome::Count(count) | Outcome::Length(count) => number(*count),
        Outcome::Scored { added, .. } => number(*added),
        Outcome::NoPivot => -1,
        Outcome::Total(total) => *total,
    }
}

fn changed_of(outcome: &Outcome) -> i64 {
    match outcome {
        Outcome::Scored { added, changed } => {
            i64::try_from(added.saturating_add(*changed)).unwrap_or(i64::MAX)
        }
        other => integer_of(other),
    }
}

/// What a client reads who goes past the agreement on a key.
pub const LINEARIZABLE: &str = "LINEARIZABLE the copies of this key agree on its values one by one: say WITH LINEARIZABLE DO ... of every command on it; nothing was done";

/// What a client reads whose write did not fit what its minter held: as the plain command says it.
pub fn unfit(why: Unfit) -> CommandError {
    match why {
        Unfit::WrongType => CommandError::WRONG_TYPE,
        Unfit::NotInteger => CommandError::NOT_AN_INTEGER,
        Unfit::FieldNotInteger => CommandError::fixed("ERR hash value is not an integer"),
        Unfit::NotFloat => CommandError::NOT_A_FLOAT,
        Unfit::FieldNotFloat => CommandError::fixed("ERR hash value is not a float"),
        Unfit::Overflow => CommandError::OVERFLOW,
        Unfit::Infinite => CommandError::fixed("ERR increment would produce NaN or Infinity"),
        Unfit::Siblings => CommandError::fixed(
            "CONFLICT the key has as many versions as it may have: read it again by GETV, and write what they come to by SETV with the context that GETV tells",
        ),
        Unfit::Linearizable => CommandError::fixed(LINEARIZABLE),
    }
}
