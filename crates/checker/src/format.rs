//! Histories as JSON lines: one operation a line, read and written as a stream. The format is described in
//! `docs/internals/history.md`.

use crate::operation::{Action, NEVER, Operation, Status, Value};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

/// A line longer than this is no operation.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// 292 years: what is later is no time of a run.
const TIME_MAX: u64 = 1 << 63;

/// Why a history could not be read.
#[derive(Debug)]
pub enum FormatError {
    /// The file could not be read.
    Read(io::Error),
    /// This line is no operation. Nothing is judged then: a verdict on part of a history would mean nothing.
    Line { number: u64, reason: String },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Read(error) => write!(f, "{error}"),
            FormatError::Line { number, reason } => write!(f, "line {number}: {reason}"),
        }
    }
}

impl std::error::Error for FormatError {}

/// A history and where its operations stood.
#[derive(Default)]
pub struct Document {
    pub operations: Vec<Operation>,
    /// The line of each operation, from 1.
    pub lines: Vec<u64>,
}

/// Reads a whole history. Empty lines are passed over.
pub fn read(mut input: impl BufRead) -> Result<Document, FormatError> {
    let mut document = Document::default();
    let mut keys: HashSet<Arc<str>> = HashSet::new();
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        let limited = &mut io::Read::take(&mut input, LINE_BYTES_MAX);
        if limited.read_until(b'\n', &mut line).map_err(FormatError::Read)? == 0 {
            return Ok(document);
        }
        let wrong = |reason: String| FormatError::Line { number, reason };
        if line.len() as u64 >= LINE_BYTES_MAX {
            return Err(wrong("longer than 64 MiB".to_owned()));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let text: Line<'_> = serde_json::from_slice(line.trim_ascii()).map_err(|error| {
            // serde_json counts lines within what it was given: only the column says something.
            let text = error.to_string();
            wrong(text.replace(" at line 1 column", ", at column"))
        })?;
        document.operations.push(text.operation(&mut keys).map_err(wrong)?);
        document.lines.push(number);
    }
}

/// Writes one operation as a line.
pub fn write(output: &mut impl Write, operation: &Operation) -> io::Result<()> {
    serde_json::to_writer(&mut *output, &Line::from(operation))?;
    output.write_all(b"\n")
}

/// What stands behind `value`, `expected` and `result`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Argument {
    One(Value),
    Many(Vec<Value>),
}

/// A field that is there, be it `null`: `null` means "no value", an absent field that nobody wrote it down.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Argument>>, D::Error> {
    Option::<Argument>::deserialize(deserializer).map(Some)
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A line as it stands there. A field that is not listed is refused: a misspelt `index` would quietly weaken a verdict.
/// Whatever a recorder wants to add goes under `note`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    client: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<u64>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    op: Cow<'a, str>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    expected: Option<Option<Argument>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    value: Option<Option<Argument>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    result: Option<Option<Argument>>,
    invoke: u64,
    #[serde(default, rename = "return", skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replica: Option<u64>,
    #[serde(default, rename = "stale", skip_serializing_if = "is_false")]
    is_stale_read: bool,
    #[serde(default, rename = "final", skip_serializing_if = "is_false")]
    is_final: bool,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "read in order to be allowed, never looked at")]
    note: de::IgnoredAny,
}

impl Line<'_> {
    fn operation(self, keys: &mut HashSet<Arc<str>>) -> Result<Operation, String> {
        let end = match (self.status, self.end) {
            (Status::Info, _) => NEVER,
            (_, None) => return Err("`return` is missing, though the status is not `info`".to_owned()),
            (_, Some(end)) if end > TIME_MAX => return Err("a time beyond 2^63 ns".to_owned()),
            (_, Some(end)) if end < self.invoke => return Err("returned before it was invoked".to_owned()),
            (_, Some(end)) => end,
        };
        if self.invoke > TIME_MAX {
            return Err("a time beyond 2^63 ns".to_owned());
        }
        let key = match keys.get(&*self.key) {
            Some(known) => Arc::clone(known),
            None => {
                let key: Arc<str> = Arc::from(&*self.key);
                keys.insert(Arc::clone(&key));
                key
            }
        };
        Ok(Operation {
            client: self.client,
            session: self.session.unwrap_or(self.client),
            key,
            start: self.invoke,
            end,
            status: self.status,
            index: self.index,
            replica: self.replica,
            is_stale_read: self.is_stale_read,
            is_final: self.is_final,
            action: self.action()?,
        })
    }

    /// Takes the fields that the operation has, and refuses those that it has not.
    fn action(self) -> Result<Action, String> {
        let op = self.op.into_owned();
        let mut fields =
            Fields { op, is_ok: self.status == Status::Ok, value: self.value, result: self.result };
        if self.expected.is_some() && fields.op != "swap" {
            return Err(format!("`{}` has no `expected`", fields.op));
        }
        let action = match fields.op.as_str() {
            "read" => Action::Read { seen: fields.seen()? },
            "write" => Action::Write { value: fields.written()? },
            "swap" => Action::Swap {
                expected: one(self.expected.ok_or("`swap` lacks `expected`")?, "expected")?,
                value: fields.written()?.ok_or("`swap` writes no `null`")?,
            },
            "add" => Action::Add { element: fields.element()? },
            "remove" => Action::Remove { element: fields.element()? },
            "members" => Action::Members { seen: fields.many()? },
            "append" => Action::Append { element: fields.element()? },
            "range" => Action::Range { seen: fields.many()? },
            "increment" => Action::Increment {
                by: fields.by()?,
                result: fields.result.take().flatten().map(|it| number(Some(it), "result")).transpose()?,
            },
            "count" => Action::Count { seen: fields.number()? },
            "issue" => Action::Issue {
                result: if fields.is_ok {
                    fields.seen()?.ok_or("`issue` gave nothing out")?
                } else {
                    fields.result = None;
                    Value::Integer(0)
                },
            },
            "transfer" => {
                (fields.value, fields.result) = (None, None);
                Action::Transfer
            }
            "balances" => Action::Balances {
                seen: fields.many()?.into_iter().map(|it| integer(it, "result")).collect::<Result<_, _>>()?,
            },
            other => return Err(format!("no operation is called `{other}`")),
        };
        // The answer to a write says nothing beyond its status.
        if fields.value.is_some() {
            return Err(format!("`{}` has no `value`", fields.op));
        }
        if fields.result.is_some() && action.is_read() {
            return Err(format!("`{}` has no such `result`", fields.op));
        }
        Ok(action)
    }
}

/// The fields of one line that depend on its operation.
struct Fields {
    op: String,
    is_ok: bool,
    value: Option<Option<Argument>>,
    result: Option<Option<Argument>>,
}

impl Fields {
    /// What came back; anything where nothing did.
    fn result(&mut self) -> Result<Option<Argument>, String> {
        match self.result.take() {
            Some(result) if self.is_ok => Ok(result),
            None if self.is_ok => Err(format!("`{}` is ok and lacks its `result`", self.op)),
            _ => Ok(None),
        }
    }
    fn seen(&mut self) -> Result<Option<Value>, String> {
        one(self.result()?, "result")
    }
    fn many(&mut self) -> Result<Vec<Value>, String> {
        match self.result()? {
            Some(Argument::Many(values)) => Ok(values),
            None => Ok(Vec::new()),
            Some(Argument::One(_)) => Err(format!("the `result` of `{}` is a list", self.op)),
        }
    }
    fn number(&mut self) -> Result<i64, String> {
        match self.result()? {
            Some(result) => number(Some(result), "result"),
            None if self.is_ok => Err(format!("the `result` of `{}` is a number", self.op)),
            None => Ok(0),
        }
    }
    fn written(&mut self) -> Result<Option<Value>, String> {
        let value = self.value.take().ok_or_else(|| format!("`{}` lacks its `value`", self.op))?;
        one(value, "value")
    }
    fn element(&mut self) -> Result<Value, String> {
        self.written()?.ok_or_else(|| format!("`{}` takes no `null`", self.op))
    }
    fn by(&mut self) -> Result<i64, String> {
        self.value.take().map_or(Ok(1), |value| number(value, "value"))
    }
}

fn one(argument: Option<Argument>, field: &str) -> Result<Option<Value>, String> {
    match argument {
        None => Ok(None),
        Some(Argument::One(value)) => Ok(Some(value)),
        Some(Argument::Many(_)) => Err(format!("`{field}` is not a list here")),
    }
}

fn number(argument: Option<Argument>, field: &str) -> Result<i64, String> {
    match argument {
        Some(Argument::One(value)) => integer(value, field),
        _ => Err(format!("`{field}` is a number here")),
    }
}

fn integer(value: Value, field: &str) -> Result<i64, String> {
    match value {
        Value::Integer(number) => Ok(number),
        Value::Text(_) => Err(format!("`{field}` is a number here")),
    }
}

impl<'a> From<&'a Operation> for Line<'a> {
    fn from(it: &'a Operation) -> Line<'a> {
        let value = |value: &Value| Some(Some(Argument::One(value.clone())));
        let optional = |value: &Option<Value>| Some(value.clone().map(Argument::One));
        let many = |values: &[Value]| Some(Some(Argument::Many(values.to_vec())));
        let integer = |number: i64| Some(Some(Argument::One(Value::Integer(number))));
        let mut line = Line {
            client: it.client,
            session: (it.session != it.client).then_some(it.session),
            key: Cow::Borrowed(&it.key),
            op: Cow::Borrowed(""),
            expected: None,
            value: None,
            result: None,
            invoke: it.start,
            end: (it.end != NEVER).then_some(it.end),
            status: it.status,
            index: it.index,
            replica: it.replica,
            is_stale_read: it.is_stale_read,
            is_final: it.is_final,
            note: de::IgnoredAny,
        };
        let (op, written, result) = match &it.action {
            Action::Read { seen } => ("read", None, optional(seen)),
            Action::Write { value } => ("write", optional(value), None),
            Action::Swap { expected, value: new } => {
                line.expected = optional(expected);
                ("swap", value(new), None)
            }
            Action::Add { element } => ("add", value(element), None),
            Action::Remove { element } => ("remove", value(element), None),
            Action::Members { seen } => ("members", None, many(seen)),
            Action::Append { element } => ("append", value(element), None),
            Action::Range { seen } => ("range", None, many(seen)),
            Action::Increment { by, result } => ("increment", integer(*by), result.and_then(integer)),
            Action::Count { seen } => ("count", None, integer(*seen)),
            Action::Issue { result } => ("issue", None, value(result)),
            Action::Transfer => ("transfer", None, None),
            Action::Balances { seen } => {
                let seen: Vec<Value> = seen.iter().map(|it| Value::Integer(*it)).collect();
                ("balances", None, many(&seen))
            }
        };
        line.op = Cow::Borrowed(op);
        line.value = written;
        // What did not come back is not written down.
        line.result = result.filter(|_| it.is_ok());
        line
    }
}
