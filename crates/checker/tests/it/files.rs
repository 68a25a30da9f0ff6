//! Histories as files: what is written comes back, and a bad line is named.

use crate::rig::*;
use checker::{Action, Operation, Status, Value, format};

fn reread(history: &[Operation]) -> Vec<Operation> {
    let mut file = Vec::new();
    for operation in history {
        format::write(&mut file, operation).unwrap();
    }
    format::read(&file[..]).unwrap().operations
}

#[test]
fn every_kind_of_operation_comes_back() {
    let text = || Value::from("a \"quoted\" é\n");
    let history = [
        ok(1, Action::Write { value: Some(text()) }, 0, 1),
        ok(1, delete(), 2, 3),
        ok(1, nothing(), 4, 5),
        ok(1, swap(1, 2), 6, 7),
        ok(1, Action::Swap { expected: None, value: text() }, 6, 7),
        Operation { session: 7, index: Some(3), replica: Some(2), is_final: true, ..ok(1, read(-5), 8, 9) },
        Operation { is_stale_read: true, ..ok(1, read(5), 8, 9) },
        ok(1, add(1), 10, 11),
        ok(1, remove(1), 12, 13),
        ok(1, members(&[1, 2]), 14, 15),
        ok(1, append(1), 16, 17),
        ok(1, range(&[]), 18, 19),
        ok(1, Action::Increment { by: 3, result: Some(9) }, 20, 21),
        ok(1, Action::Increment { by: -3, result: None }, 20, 21),
        ok(1, Action::Count { seen: 9 }, 22, 23),
        ok(1, Action::Issue { result: text() }, 24, 25),
        ok(1, Action::Transfer, 26, 27),
        ok(1, Action::Balances { seen: vec![1, -1] }, 28, 29),
        unknown(1, write(1), 30),
        failed(1, write(1), 32, 33),
    ];
    assert_eq!(reread(&history), history);
    // What did not come back is nothing.
    let unanswered = Operation::new(1, "k", read(3), 1, 2, Status::Info);
    assert_eq!(reread(&[unanswered])[0].action, nothing());
}

#[track_caller]
fn refused(line: &str, words: &str) {
    let file = format!("\n{}\n{line}\n", GOOD.replace('\'', "\""));
    let error = format::read(file.as_bytes()).err().expect("the line was taken").to_string();
    assert!(error.starts_with("line 3: ") && error.contains(words), "{error}");
}

const GOOD: &str = "{'client':1,'key':'k','op':'write','value':1,'invoke':5,'return':6,'status':'ok'}";

#[test]
fn a_bad_line_is_named_and_explained() {
    let but = |from: &str, to: &str| GOOD.replace(from, to).replace('\'', "\"");
    refused("{", "EOF");
    refused("nonsense", "expected");
    refused("\u{fffd}", "expected");
    refused(&but("'client':1,", ""), "client");
    refused(&but("'return':6,", ""), "return");
    refused(&but("'return':6", "'return':4"), "before it was invoked");
    refused(
        &but("'invoke':5,'return':6", "'invoke':18446744073709551615,'return':18446744073709551615"),
        "beyond",
    );
    refused(&but("'invoke':5", "'invoke':-5"), "-5");
    refused(&but("'value':1,", ""), "lacks its `value`");
    refused(&but("'value':1", "'value':[1]"), "not a list");
    refused(&but("'value':1", "'value':18446744073709551615"), "");
    refused(&but("'status':'ok'", "'status':'maybe'"), "maybe");
    refused(&but("'op':'write'", "'op':'frobnicate'"), "frobnicate");
    refused(&but("'op':'write'", "'op':'read'"), "lacks its `result`");
    refused(&but("'op':'write','value':1", "'op':'read','value':1,'result':1"), "has no `value`");
    refused(&but("'op':'write'", "'op':'swap'"), "lacks `expected`");
    refused(&but("'value':1", "'value':1,'expected':1"), "has no `expected`");
    refused(&but("'op':'write','value':1", "'op':'count','result':'x'"), "number");
    refused(&but("'op':'write','value':1", "'op':'members','result':1"), "list");
    // A misspelt field would quietly weaken the verdict.
    refused(&but("'client':1", "'client':1,'indx':3"), "indx");
}

#[test]
fn a_note_may_hold_anything_and_a_write_any_answer() {
    let line =
        GOOD.replace("'client':1", "'client':1,'note':{'node':[1,2]},'result':'OK'").replace('\'', "\"");
    let document = format::read(line.as_bytes()).unwrap();
    assert_eq!((document.operations.len(), &*document.lines), (1, &[1][..]));
    let silent = GOOD.replace("'return':6,'status':'ok'", "'status':'info'").replace('\'', "\"");
    assert_eq!(format::read(silent.as_bytes()).unwrap().operations[0].end, checker::NEVER);
}
