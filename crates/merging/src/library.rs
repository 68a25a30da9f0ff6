//! What a function may use. Everything else is not there; what is there is charged by the length of what it works on.

use mlua::{Function, Lua, MultiValue, Result, Table, Value, Variadic};
use std::cell::Cell;
use std::cmp::Ordering;
use std::rc::Rc;

/// Bytes and elements that library functions may go through in one call. A guess: some ten milliseconds.
const WORK_MAX: u64 = 16 << 20;
/// Patterns are at most so long: matching calls itself for each item of one.
const PATTERN_LEN_MAX: usize = 256;

const BASE: &[&str] = &["assert", "error", "ipairs", "select", "tonumber", "type", "unpack"];
const MATH: &[&str] = &["abs", "ceil", "floor", "fmod", "huge", "max", "min", "modf", "pi", "sqrt"];
const STRING: &[&str] = &[
    "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep", "reverse", "sub",
    "upper",
];
const TABLE: &[&str] = &["concat", "insert", "remove", "sort"];

/// What is left of a call's allowance.
pub struct Allowance {
    instructions: Cell<u32>,
    work: Cell<u64>,
    spent: Cell<Option<&'static str>>,
}

impl Allowance {
    pub fn new(instructions: u32) -> Allowance {
        Allowance { instructions: Cell::new(instructions), work: Cell::new(WORK_MAX), spent: Cell::new(None) }
    }
    /// What was used up first, if anything was.
    pub fn spent(&self) -> Option<&'static str> {
        self.spent.get()
    }
    pub fn step(&self, instructions: u32) -> Result<()> {
        match self.instructions.get().checked_sub(instructions) {
            Some(left) => {
                self.instructions.set(left);
                Ok(())
            }
            None => self.end("too many instructions"),
        }
    }
    fn charge(&self, work: u64) -> Result<()> {
        match self.work.get().checked_sub(work) {
            Some(left) => {
                self.work.set(left);
                Ok(())
            }
            None => self.end("too much work in library functions"),
        }
    }
    fn end(&self, what: &'static str) -> Result<()> {
        self.spent.set(self.spent.get().or(Some(what)));
        Err(mlua::Error::runtime(what))
    }
}

/// What names mean in a function.
pub fn environment(lua: &Lua, allowance: &Rc<Allowance>) -> Result<Table> {
    let (globals, own) = (lua.globals(), lua.create_table()?);
    for name in BASE {
        let function: Function = globals.raw_get(*name)?;
        own.raw_set(*name, charged(lua, name, function, allowance)?)?;
    }
    for (library, names) in [("math", MATH), ("string", STRING), ("table", TABLE)] {
        let all: Table = globals.raw_get(library)?;
        let known: Vec<String> =
            all.pairs::<String, Value>().map(|pair| pair.map(|(name, _)| name)).collect::<Result<_>>()?;
        // In its place: the methods of strings are looked up in this very table.
        for name in known {
            let kept = match all.raw_get(&name[..])? {
                _ if !names.contains(&&name[..]) => Value::Nil,
                Value::Function(function) => Value::Function(charged(lua, &name, function, allowance)?),
                constant => constant,
            };
            all.raw_set(name, kept)?;
        }
        own.raw_set(library, all)?;
    }
    own.raw_set("tostring", lua.create_function(text_of)?)?;
    let allowance = Rc::clone(allowance);
    own.raw_set("pairs", lua.create_function(move |lua, table: Table| pairs(lua, table, &allowance))?)?;
    Ok(own)
}

/// The same function, which now costs something.
fn charged(lua: &Lua, name: &str, function: Function, allowance: &Rc<Allowance>) -> Result<Function> {
    let allowance = Rc::clone(allowance);
    let cost: fn(&MultiValue) -> u64 = match name {
        "find" => find_cost,
        "match" | "gmatch" | "gsub" => pattern_cost,
        "rep" => rep_cost,
        "sort" => sort_cost,
        _ => size_of,
    };
    lua.create_function(move |_, args: MultiValue| {
        allowance.charge(cost(&args))?;
        let gave: MultiValue = function.call(args)?;
        allowance.charge(size_of(&gave))?;
        Ok(gave)
    })
}

/// Bytes of strings and elements of tables.
fn size_of(values: &MultiValue) -> u64 {
    let size = |value: &Value| match value {
        Value::String(text) => text.as_bytes().len() as u64,
        Value::Table(table) => table.raw_len() as u64,
        _ => 0,
    };
    1 + values.iter().map(size).sum::<u64>()
}

fn bytes_at(values: &MultiValue, at: usize) -> Vec<u8> {
    match values.get(at) {
        Some(Value::String(text)) => text.as_bytes().to_vec(),
        _ => Vec::new(),
    }
}

/// The most steps that matching can take: each item that may match more or less may be tried at every place, but for one at the
/// very end, behind which nothing can fail.
fn pattern_cost(values: &MultiValue) -> u64 {
    let (text, pattern) = (bytes_at(values, 0), bytes_at(values, 1));
    if pattern.len() > PATTERN_LEN_MAX {
        return u64::MAX;
    }
    let places = text.len() as u64 + 1;
    places.saturating_pow(1 + tries_of(&pattern)).saturating_mul(pattern.len() as u64 + 1)
}

/// Items of a pattern that may match more or less, without one at its end.
fn tries_of(pattern: &[u8]) -> u32 {
    let (mut rest, mut tries, mut ends_so) = (pattern, 0, false);
    while let [first, behind @ ..] = rest {
        let item = match first {
            // Two brackets that belong together, and all between them.
            b'%' if behind.first() == Some(&b'b') => {
                tries += 1;
                4
            }
            b'%' => 2,
            b'[' => set_len(behind) + 1,
            b'(' | b')' => {
                rest = behind;
                continue;
            }
            _ => 1,
        };
        rest = rest.get(item..).unwrap_or_default();
        ends_so = matches!(rest.first(), Some(b'*' | b'+' | b'-' | b'?'));
        if ends_so {
            tries += 1;
            rest = &rest[1..];
        }
    }
    tries - u32::from(ends_so)
}

/// How far a set reaches behind its opening bracket.
fn set_len(behind: &[u8]) -> usize {
    let mut at = usize::from(behind.first() == Some(&b'^'));
    let first = at;
    while let Some(byte) = behind.get(at) {
        match byte {
            b']' if at > first => return at + 1,
            b'%' => at += 2,
            _ => at += 1,
        }
    }
    behind.len()
}

fn find_cost(values: &MultiValue) -> u64 {
    match values.get(3) {
        None | Some(Value::Nil | Value::Boolean(false)) => pattern_cost(values),
        Some(_) => size_of(values).saturating_mul(bytes_at(values, 1).len() as u64 + 1),
    }
}

fn rep_cost(values: &MultiValue) -> u64 {
    let times = match values.get(1) {
        Some(Value::Integer(times)) => u64::try_from(*times).unwrap_or(0),
        Some(Value::Number(times)) => *times as u64,
        // A string that is a number would do.
        Some(_) => u64::MAX,
        None => 0,
    };
    times.saturating_mul(bytes_at(values, 0).len() as u64 + 1)
}

fn sort_cost(values: &MultiValue) -> u64 {
    let size = size_of(values);
    size.saturating_mul(2 * u64::from(64 - size.leading_zeros()))
}

/// Tables and functions have none: it would be their address.
fn text_of(lua: &Lua, value: Value) -> Result<Value> {
    Ok(match value {
        Value::Nil | Value::Boolean(_) => Value::String(lua.create_string(if value.is_nil() {
            "nil"
        } else if value == Value::Boolean(true) {
            "true"
        } else {
            "false"
        })?),
        Value::String(_) => value,
        Value::Integer(_) | Value::Number(_) => lua.coerce_string(value)?.map_or(Value::Nil, Value::String),
        other => return Err(mlua::Error::runtime(format!("a {} has no text", other.type_name()))),
    })
}

/// Numbers, then strings, then booleans, each ascending.
fn order(one: &Value, other: &Value) -> Ordering {
    let number = |value: &Value| match value {
        Value::Integer(it) => Some(*it as f64),
        Value::Number(it) => Some(*it),
        _ => None,
    };
    match (number(one), number(other)) {
        (Some(one), Some(other)) => return one.total_cmp(&other),
        (Some(_), None) => return Ordering::Less,
        (None, Some(_)) => return Ordering::Greater,
        (None, None) => {}
    }
    match (one, other) {
        (Value::String(one), Value::String(other)) => one.as_bytes().cmp(&other.as_bytes()),
        (Value::String(_), _) => Ordering::Less,
        (_, Value::String(_)) => Ordering::Greater,
        (Value::Boolean(one), Value::Boolean(other)) => one.cmp(other),
        _ => Ordering::Equal,
    }
}

/// `pairs` in an order that depends on the keys alone.
fn pairs(lua: &Lua, table: Table, allowance: &Allowance) -> Result<(Function, Table, Value)> {
    let mut keys: Vec<Value> = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        allowance.charge(16)?;
        match key {
            Value::Integer(_) | Value::Number(_) | Value::String(_) | Value::Boolean(_) => keys.push(key),
            other => {
                let text = format!("pairs: a {} as a key has no place in an order", other.type_name());
                return Err(mlua::Error::runtime(text));
            }
        }
    }
    keys.sort_by(order);
    let keys = Cell::new(keys.into_iter());
    let next = lua.create_function(move |_, (table, _): (Table, Variadic<Value>)| {
        let mut rest = keys.take();
        let mut found = (Value::Nil, Value::Nil);
        for key in rest.by_ref() {
            let value: Value = table.raw_get(key.clone())?;
            // It may have been taken away meanwhile.
            if !value.is_nil() {
                found = (key, value);
                break;
            }
        }
        keys.set(rest);
        Ok(found)
    })?;
    Ok((next, table, Value::Nil))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pattern_tries() {
        for (pattern, tries) in [
            ("abc", 0),
            ("[^,]+", 0),
            ("(%d+)", 0),
            ("%d+,", 1),
            ("a*b", 1),
            ("^%s*(.-)%s*$", 3),
            ("[*+-]", 0),
            ("[]*]+x", 1),
            ("[%]*]*", 0),
            ("%*%+%-", 0),
            ("%b()", 1),
            ("a?a?a?", 2),
            ("%", 0),
            ("[", 0),
            ("%b", 1),
        ] {
            assert_eq!(tries_of(pattern.as_bytes()), tries, "{pattern}");
        }
    }
}
