//! One call of a function, in an interpreter of its own.

use crate::VALUE_LEN_MAX;
use crate::library::{self, Allowance};
use data::causal::Given;
use mlua::chunk::ChunkMode;
use mlua::{Error, HookTriggers, Lua, LuaOptions, StdLib, Value, VmState};
use std::fmt;
use std::rc::Rc;

/// Instructions of one call. A guess: a list of a thousand items is put together with a fraction of them.
const INSTRUCTIONS_MAX: u32 = 50_000;
/// They are counted in steps of so many.
const STEP: u32 = 500;
/// What one call may allocate, in all. A guess; it also bounds what one instruction can copy.
const MEMORY_BYTES_MAX: usize = 1 << 20;
/// What is told of a failure at most: the line is shown beside each item of the inbox.
const TEXT_LEN_MAX: usize = 200;

/// Why a call gave nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The text is no Lua.
    Syntax(String),
    /// It did not end within its allowance.
    RanAway(&'static str),
    /// It ended with an error.
    Error(String),
    /// What it gave is no value.
    Gave(String),
    /// A value that it was given is too long.
    TooLong,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Syntax(text) => write!(f, "it is no Lua: {text}"),
            Failure::RanAway(what) => write!(f, "it was cut off: {what}"),
            Failure::Error(text) => write!(f, "it failed: {text}"),
            Failure::Gave(what) => write!(f, "it gave {what}, and a value is a string or a number"),
            Failure::TooLong => write!(f, "a value has more than {VALUE_LEN_MAX} bytes"),
        }
    }
}

/// Runs a function on two values.
///
/// # Errors
/// When it gives no value.
pub fn run(function: &str, one: Given<'_>, other: Given<'_>) -> Result<Vec<u8>, Failure> {
    if one.value.len().max(other.value.len()) > VALUE_LEN_MAX {
        return Err(Failure::TooLong);
    }
    let allowance = Rc::new(Allowance::new(INSTRUCTIONS_MAX));
    call(function, one, other, &allowance).map_err(|error| failure(&error, &allowance))?
}

fn call(
    function: &str,
    one: Given<'_>,
    other: Given<'_>,
    allowance: &Rc<Allowance>,
) -> mlua::Result<Result<Vec<u8>, Failure>> {
    let lua = Lua::new_with(StdLib::STRING | StdLib::TABLE | StdLib::MATH, LuaOptions::new())?;
    // What is let go stays counted: when the collector runs would differ from build to build.
    lua.gc_stop();
    let environment = library::environment(&lua, allowance)?;
    lua.set_memory_limit(lua.used_memory() + MEMORY_BYTES_MAX)?;
    let hook = Rc::clone(allowance);
    lua.set_hook(HookTriggers::new().every_nth_instruction(STEP), move |_, _| {
        hook.step(STEP)?;
        Ok(VmState::Continue)
    })?;
    let text = chunk(function);
    let chunk = lua.load(&text).set_name("=merge").set_mode(ChunkMode::Text).set_environment(environment);
    let compiled = match chunk.into_function() {
        Err(Error::SyntaxError { message, .. }) => return Ok(Err(Failure::Syntax(line(&message)))),
        compiled => compiled?,
    };
    let given = |it: Given<'_>| -> mlua::Result<mlua::Table> {
        let table = lua.create_table()?;
        table.raw_set("value", lua.create_string(it.value)?)?;
        table.raw_set("time", it.time_ms as f64)?;
        Ok(table)
    };
    let gave: Value = compiled.call((given(one)?, given(other)?))?;
    let value = match &gave {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(_) | Value::Number(_) => {
            let text = lua.coerce_string(gave.clone())?;
            text.map_or_else(Vec::new, |text| text.as_bytes().to_vec())
        }
        other => return Ok(Err(Failure::Gave(other.type_name().into()))),
    };
    if value.len() > VALUE_LEN_MAX {
        return Ok(Err(Failure::Gave(format!("more than {VALUE_LEN_MAX} bytes"))));
    }
    Ok(Ok(value))
}

/// The text is the body of a function of `a` and `b`, or such a function. Lines keep their numbers.
fn chunk(function: &str) -> String {
    let rest = function.trim_start().strip_prefix("function");
    match rest.filter(|rest| rest.trim_start().starts_with('(')) {
        Some(_) => format!("return ({function}\n)(...)"),
        None => format!("local a, b = ... {function}"),
    }
}

fn failure(error: &Error, allowance: &Allowance) -> Failure {
    if let Some(what) = allowance.spent() {
        return Failure::RanAway(what);
    }
    match error {
        Error::MemoryError(_) => Failure::RanAway("too much memory"),
        Error::CallbackError { cause, .. } => failure(cause, allowance),
        Error::RuntimeError(text) => Failure::Error(line(text)),
        other => Failure::Error(line(&other.to_string())),
    }
}

/// The first line, without control characters: it is shown in replies.
fn line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    first.chars().filter(|it| !it.is_control()).take(TEXT_LEN_MAX).collect()
}
