//! Commands and the replies that Redis documents for them: `e2e/conformance/*.json`.
//!
//! A file is a list of cases `{"name", "since", "commands", "replies"}`: command lines in redis-cli's quoting and one
//! expectation per line. A case runs on a fresh connection against an empty store. An expectation is a plain value
//! (string, number, null, list) or an object with one field:
//!
//! | field | meaning |
//! |---|---|
//! | `error` | an error that begins so |
//! | `any_order` | a list with these items in any order; also the set type of RESP3 |
//! | `between` | a number from the first to the second |
//! | `one_of` | any of these: where versions differ |
//! | `begins`, `contains` | a text that does so |
//! | `list_of` | a list of that many items |
//! | `anything` | any reply but an error |

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::{Contender, Running, tercet};
use clap::ValueEnum;
use serde_json::Value as Json;

#[derive(clap::Args, Default)]
pub struct Options {
    #[arg(long, value_enum, default_value_t = Target::Tercet)]
    server: Target,
    /// A server that already runs; its data is erased.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// Only cases whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Print what the server answers, as a case would expect it; judges nothing.
    #[arg(long)]
    record: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Target {
    #[default]
    Tercet,
    Redis,
}

struct Case {
    name: String,
    commands: Vec<String>,
    replies: Vec<Json>,
}

pub fn run(options: &Options) -> Result<()> {
    let (address, _running) = match options.address {
        Some(address) => (address, None),
        None => {
            let running = start(options.server)?;
            (running.address, Some(running))
        }
    };
    let mut cases = Vec::new();
    for case in read_cases(&crate::shell::root().join("e2e/conformance"))? {
        if options.only.as_ref().is_none_or(|word| case.name.contains(word)) {
            cases.push(case);
        }
    }
    if options.record {
        return cases.iter().try_for_each(|case| record(address, case));
    }
    let mut failed = 0;
    for case in &cases {
        if let Err(error) = try_case(address, case) {
            failed += 1;
            println!("  FAILED: {}: {error:#}", case.name);
        }
    }
    println!("conformance: {} passed, {failed} failed", cases.len() - failed);
    ensure!(failed == 0, "{failed} of {} cases failed", cases.len());
    Ok(())
}

fn start(target: Target) -> Result<Running> {
    match target {
        Target::Tercet => Ok(tercet::up(&crate::shell::tercet_binary()?, 1, 1)?),
        Target::Redis => {
            let peers = Contender::peers();
            let redis =
                peers.iter().find(|peer| peer.name() == "redis").context("redis-server is not installed")?;
            redis.start_alone()?.context("redis-server did not start")
        }
    }
}

fn read_cases(folder: &Path) -> Result<Vec<Case>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)?;
        let file: Json = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let family = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for case in file.as_array().context("a file is a list of cases")? {
            cases.push(read_case(&family, case).with_context(|| case.to_string())?);
        }
    }
    Ok(cases)
}

fn read_case(family: &str, case: &Json) -> Result<Case> {
    let name = case["name"].as_str().context("a case has a name")?;
    ensure!(case["since"].is_string(), "a case says since when");
    let commands = case["commands"].as_array().context("a case has commands")?;
    let commands = commands.iter().map(|c| c.as_str().map(str::to_owned).context("a command is a line"));
    let commands = commands.collect::<Result<Vec<String>>>()?;
    let replies = case["replies"].as_array().cloned().unwrap_or_default();
    ensure!(commands.len() == replies.len(), "{} commands, {} replies", commands.len(), replies.len());
    Ok(Case { name: format!("{family}: {name}"), commands, replies })
}

fn connect(address: SocketAddr) -> Result<Client> {
    let mut client = Client::connect(address, Duration::from_secs(5))?;
    let erased = client.call(&["FLUSHALL"])?;
    ensure!(erased == Value::Simple("OK".into()), "FLUSHALL: {erased:?}");
    Ok(client)
}

fn try_case(address: SocketAddr, case: &Case) -> Result<()> {
    let mut client = connect(address)?;
    for (line, expected) in case.commands.iter().zip(&case.replies) {
        let reply = client.call(&split_line(line)?).with_context(|| line.clone())?;
        ensure!(matches(expected, &reply), "{line}: expected {expected}, got {}", show(&reply));
    }
    Ok(())
}

fn record(address: SocketAddr, case: &Case) -> Result<()> {
    let mut client = connect(address)?;
    let mut replies = Vec::new();
    for line in &case.commands {
        replies.push(show(&client.call(&split_line(line)?)?));
    }
    println!("{}", serde_json::json!({ "name": case.name, "replies": replies }));
    Ok(())
}

/// A reply as a case would expect it.
fn show(reply: &Value) -> Json {
    match reply {
        Value::Null => Json::Null,
        Value::Simple(text) => text.clone().into(),
        Value::Error(words) => serde_json::json!({ "error": words }),
        Value::Integer(value) => (*value).into(),
        Value::Bulk(bytes) => escape(bytes).into(),
        Value::Array(items) | Value::Push(items) => items.iter().map(show).collect(),
        Value::Set(items) => serde_json::json!({ "any_order": items.iter().map(show).collect::<Vec<_>>() }),
        Value::Map(pairs) => pairs.iter().flat_map(|(key, value)| [show(key), show(value)]).collect(),
        Value::Boolean(value) => (*value).into(),
        Value::Double(value) => (*value).into(),
        Value::Big(digits) => digits.clone().into(),
    }
}

/// Bytes as a text that stands for them one to one: a byte above 127 becomes the character of that number.
fn escape(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

fn matches(expected: &Json, reply: &Value) -> bool {
    let fields = match (expected, reply) {
        (Json::Object(fields), _) => fields,
        (Json::Array(wanted), Value::Array(items) | Value::Push(items)) => {
            return wanted.len() == items.len() && wanted.iter().zip(items).all(|(w, item)| matches(w, item));
        }
        _ => return *expected == show(reply),
    };
    let text = || match reply {
        Value::Simple(text) => text.clone(),
        Value::Bulk(bytes) => escape(bytes),
        _ => String::new(),
    };
    let Some((field, argument)) = fields.iter().next() else { return false };
    let word = argument.as_str().unwrap_or_default();
    match field.as_str() {
        "error" => matches!(reply, Value::Error(words) if words.starts_with(word)),
        "any_order" => argument.as_array().is_some_and(|items| matches_in_any_order(items, reply.items())),
        "between" => {
            let number = reply.integer().or_else(|| text().parse().ok());
            number.is_some_and(|n| argument[0].as_i64() <= Some(n) && Some(n) <= argument[1].as_i64())
        }
        "one_of" => argument.as_array().is_some_and(|wanted| wanted.iter().any(|one| matches(one, reply))),
        "begins" => text().starts_with(word),
        "contains" => text().contains(word),
        "list_of" => argument.as_u64() == Some(reply.items().len() as u64),
        "anything" => !matches!(reply, Value::Error(_)),
        _ => false,
    }
}

fn matches_in_any_order(expected: &[Json], items: &[Value]) -> bool {
    let mut left: Vec<&Value> = items.iter().collect();
    expected.len() == left.len()
        && expected.iter().all(|wanted| {
            let found = left.iter().position(|item| matches(wanted, item));
            found.map(|at| left.remove(at)).is_some()
        })
}

/// Words of a line: bare, in single quotes, or in double quotes with `\n`, `\\`, `\"` and `\x41`.
fn split_line(line: &str) -> Result<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' => split_quoted(&rest[1..])?,
            '\'' => {
                let (word, after) = rest[1..].split_once('\'').context("an open quote")?;
                (word.as_bytes().to_vec(), after)
            }
            _ => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest.as_bytes()[..end].to_vec(), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

fn split_quoted(rest: &str) -> Result<(Vec<u8>, &str)> {
    let mut word = Vec::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((word, &rest[at + 1..])),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => word.push(b'\n'),
                Some('r') => word.push(b'\r'),
                Some('t') => word.push(b'\t'),
                Some('x') => {
                    let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                    word.push(u8::from_str_radix(&digits, 16)?);
                }
                Some(other) => word.extend(other.to_string().bytes()),
                None => bail!("an open escape"),
            },
            other => word.extend(other.to_string().bytes()),
        }
    }
    bail!("an open quote")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_are_split_as_redis_cli_does() {
        let words = split_line(r#"SET  "a b\x00" 'c "d"' e"#).unwrap();
        assert_eq!(words, [b"SET".to_vec(), b"a b\0".to_vec(), b"c \"d\"".to_vec(), b"e".to_vec()]);
        assert!(split_line("GET \"a").is_err());
    }

    #[test]
    fn expectations_hold_and_fail() {
        let list = Value::Array(vec![Value::Integer(1), Value::Bulk(b"b".to_vec())]);
        for (expected, holds) in [
            (json!([1, "b"]), true),
            (json!(["b", 1]), false),
            (json!({ "any_order": ["b", 1] }), true),
            (json!({ "any_order": ["b", "b"] }), false),
            (json!({ "list_of": 2 }), true),
            (json!({ "anything": true }), true),
            (json!({ "error": "ERR" }), false),
            (json!({ "unheard_of": 1 }), false),
        ] {
            assert_eq!(matches(&expected, &list), holds, "{expected}");
        }
        assert!(matches(&json!([1, { "anything": true }]), &list));
        assert!(matches(&json!({ "between": [1, 3] }), &Value::Integer(3)));
        assert!(!matches(&json!({ "between": [1, 3] }), &Value::Integer(4)));
        assert!(!matches(&json!(1), &Value::Bulk(b"1".to_vec())));
    }

    #[test]
    fn the_cases_are_well_formed() {
        let cases = read_cases(&crate::shell::root().join("e2e/conformance")).unwrap();
        assert!(cases.len() >= 200, "{} cases", cases.len());
        for case in &cases {
            case.commands
                .iter()
                .for_each(|line| assert!(!split_line(line).unwrap().is_empty(), "{}", case.name));
        }
    }
}
