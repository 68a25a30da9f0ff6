//! Golden scripts: what clients see, line by line, in `tests/scripts/`.
//!
//! A block lists commands; below its `---` stands each command with its reply, and with the reply of RESP3 where that
//! looks different. `UPDATE_GOLDENFILES=1 cargo test -p commands` writes the replies anew: read the difference like code.
//!
//! - A character up to U+00FF stands for that byte: `"\xff"`.
//! - `[ops] SET k v` shows the operations too.
//! - `advance 1500` lets 1500 ms pass; `flush` empties the table.

use crate::harness::Store;
use goldenscript::{Argument, Command, Context, Runner};
use std::error::Error;
use std::path::Path;

impl Runner for Store {
    type Command = Command;

    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        let words: Vec<Vec<u8>> = std::iter::once(bytes_of(&command.name))
            .chain(command.args.iter().map(|argument| match argument {
                Argument::KeyValue(key, value) => bytes_of(&format!("{key}={value}")),
                other => bytes_of(&positional(other)),
            }))
            .collect();
        match (command.name.as_str(), words.get(1)) {
            ("advance", Some(ms)) => {
                self.now_ms += String::from_utf8(ms.clone())?.parse::<i64>()?;
                return Ok(String::new());
            }
            ("flush", None) => {
                let now_ms = self.now_ms;
                *self = Store::default();
                self.now_ms = now_ms;
                return Ok(String::new());
            }
            _ => {}
        }
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let outcome = self.execute(&words);
        let mut text = format!("{command} => {}\n", outcome.reply);
        if let Some(resp3) = outcome.resp3 {
            text.push_str(&format!("    resp3 => {resp3}\n"));
        }
        if context.tags.contains("ops") {
            outcome.operations.iter().for_each(|op| text.push_str(&format!("    op {op}\n")));
        }
        Ok(text)
    }
}

fn positional(argument: &Argument) -> String {
    match argument {
        Argument::Positional(text) => text.clone(),
        other => other.to_string(),
    }
}

fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for character in text.chars() {
        match u8::try_from(u32::from(character)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(character.to_string().bytes()),
        }
    }
    bytes
}

#[test]
fn scripts_read_as_they_are_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        let result = goldenscript::run(&mut Store::default(), &script);
        result.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    }
}
