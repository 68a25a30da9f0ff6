//! A table that takes command lines, as a node would run them, and shows every reply as one line of text.
//!
//! Each command runs twice on the same state, once for each version of the protocol, and is held to what every command
//! promises: one reply of the right form, the same operations whatever the protocol, no operation from a reading
//! command, no operation on a key that the command's spec does not name, operations that survive the log.

use commands::call::CommandResult;
use commands::table_view::TableView;
use commands::{Call, Class, Ops, Random, Spec, docs, spec};
use data::Operation;
use data::codec::{Reader, Writer};
use data::table::{Seed, Table};
use wire::{Protocol, ReplyWriter};

/// Noon of a day in 2023: where the clock of a script begins.
pub const START_MS: i64 = 1_700_000_000_000;

pub struct Store {
    pub table: Table,
    pub now_ms: i64,
    random: Random,
}

/// What one command did.
pub struct Outcome {
    /// The reply in RESP2, and in RESP3 where it looks different there (a null aside).
    pub reply: String,
    pub resp3: Option<String>,
    /// The operations, one line each.
    pub operations: Vec<String>,
}

impl Default for Store {
    fn default() -> Store {
        Store { table: Table::new(Seed(1, 2)), now_ms: START_MS, random: Random(7) }
    }
}

impl Store {
    /// Runs a command, checks its promises and applies what it yields.
    pub fn execute(&mut self, args: &[&[u8]]) -> Outcome {
        let refused = |text: &str| Outcome { reply: format!("-{text}"), resp3: None, operations: Vec::new() };
        let Some(spec) = args.first().and_then(|name| spec::find(name)) else {
            return refused(&spec::unknown_command(args));
        };
        if !spec.arity_fits(args.len()) {
            return refused(&spec::wrong_arity(spec.name));
        }
        assert!(spec.class != Class::Node, "{} is executed by the node", spec.name);
        self.expire(spec, args);
        let mut random = self.random.clone();
        let (resp2, ops) = self.run(spec, args, Protocol::Resp2, &mut random);
        let (resp3, same) = self.run(spec, args, Protocol::Resp3, &mut self.random.clone());
        assert_eq!(ops, same, "{} yields other operations in RESP3", spec.name);
        self.check(spec, args, &ops);
        self.random = random;
        let operations = ops.iter().map(operation_text).collect();
        for op in &ops {
            self.table.apply_committed(op, (self.now_ms / 1000) as u32);
        }
        // RESP2 has two kinds of nothing, RESP3 one.
        let unified = |text: &str| text.replace("nil-array", "null").replace("nil", "null");
        let (reply, resp3) = (shown(&resp2), shown(&resp3));
        let resp3 = (unified(&reply) != unified(&resp3)).then_some(resp3);
        Outcome { reply, resp3, operations }
    }

    /// Keys that the command names and whose time has come go first, as on a leader.
    fn expire(&mut self, spec: &Spec, args: &[&[u8]]) {
        let Ok(keys) = docs::keys_of(spec, args) else { return };
        for key in keys {
            let operation = Operation::Expire { key: key.into(), at_ms: self.now_ms };
            self.table.apply_committed(&operation, (self.now_ms / 1000) as u32);
        }
    }

    fn run<'a>(
        &self,
        spec: &Spec,
        args: &'a [&'a [u8]],
        protocol: Protocol,
        random: &mut Random,
    ) -> (Vec<u8>, Ops<'a>) {
        let (mut buffer, mut ops) = (Vec::new(), Ops::new());
        let run = spec.run.expect("a function behind every command that the node does not execute itself");
        let result: CommandResult = run(&mut Call {
            args,
            view: &TableView { table: &self.table, now_ms: self.now_ms },
            now_ms: self.now_ms,
            random,
            reply: ReplyWriter::new(&mut buffer, protocol),
            ops: &mut ops,
        });
        if let Err(error) = result {
            buffer.clear();
            ops.clear();
            ReplyWriter::new(&mut buffer, protocol).error(error.text());
        }
        (buffer, ops)
    }

    fn check(&self, spec: &Spec, args: &[&[u8]], ops: &[Operation<'_>]) {
        assert!(spec.class != Class::Read || ops.is_empty(), "{} only reads, but yields {ops:?}", spec.name);
        let keys = docs::keys_of(spec, args).unwrap_or_default();
        for op in ops {
            assert!(op.keys().all(|key| keys.contains(&key)), "{} changes a key it does not name", spec.name);
            let mut bytes = Vec::new();
            op.encode(&mut Writer::new(&mut bytes));
            assert_eq!(Operation::decode(&mut Reader::new(&bytes)).as_ref(), Ok(op));
        }
    }
}

/// A reply as text: `+simple`, `-error`, `:1`, `"bytes"`, `nil`, `nil-array`, `[array]`, `{map: value}`, `~[set]`, `,1.5`.
/// A blocking command that found nothing wrote nothing.
pub fn shown(reply: &[u8]) -> String {
    if reply.is_empty() {
        return "(waits)".into();
    }
    let mut rest = reply;
    let text = frame(&mut rest);
    assert!(rest.is_empty(), "one reply, then {:?}", String::from_utf8_lossy(rest));
    text
}

fn frame(rest: &mut &[u8]) -> String {
    let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a line ends");
    let (line, after) = (&rest[..end], &rest[end + 2..]);
    *rest = after;
    let text = quoted(&line[1..]);
    let text = text[1..text.len() - 1].replace("\\\"", "\"");
    let count = || text.parse::<usize>().expect("a length");
    match line[0] {
        b'+' | b'-' | b':' | b',' | b'#' => format!("{}{text}", char::from(line[0])),
        b'$' if text == "-1" => "nil".into(),
        b'*' if text == "-1" => "nil-array".into(),
        b'_' => "null".into(),
        b'$' => quoted(blob(rest, count())),
        b'=' => format!("={}", quoted(blob(rest, count()))),
        b'*' => format!("[{}]", list(rest, count())),
        b'~' => format!("~[{}]", list(rest, count())),
        b'%' => {
            let pair = |rest: &mut &[u8]| format!("{}: {}", frame(rest), frame(rest));
            let pairs: Vec<String> = (0..count()).map(|_| pair(rest)).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => panic!("no reply begins with {:?}", char::from(other)),
    }
}

fn list(rest: &mut &[u8], count: usize) -> String {
    (0..count).map(|_| frame(rest)).collect::<Vec<_>>().join(", ")
}

fn blob<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (bytes, after) = rest.split_at(count);
    *rest = after.strip_prefix(b"\r\n").expect("a string ends with a line break");
    bytes
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text + "\""
}

/// The debug form of an operation with its byte strings as text.
fn operation_text(operation: &Operation<'_>) -> String {
    let debug = format!("{operation:?}");
    let (mut text, mut rest) = (String::new(), debug.as_str());
    while let Some(open) = rest.find('[') {
        let close = open + rest[open..].find([']', '{', '(']).unwrap_or(rest.len() - open - 1);
        let bytes: Option<Vec<u8>> = match rest.get(open + 1..close) {
            Some("") => Some(Vec::new()),
            Some(items) => items.split(", ").map(|item| item.parse().ok()).collect(),
            None => None,
        };
        text.push_str(&rest[..open]);
        match bytes.filter(|_| rest[close..].starts_with(']')) {
            Some(bytes) => {
                text.push_str(&quoted(&bytes));
                rest = &rest[close + 1..];
            }
            None => {
                text.push('[');
                rest = &rest[open + 1..];
            }
        }
    }
    text + rest
}
