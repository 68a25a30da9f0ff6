//! The judge of a commit rule that may lose acknowledged writes: each that is gone must be in the ledger, and whatever else is
//! promised still holds: nothing happens twice, nothing that was refused happens.
// catalogue: C2

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bench::client::Client;
use bench::resp::Value;
use bench::servers::wait_for;

use super::history::{History, Operation, Outcome, list_key, once_key};
use super::judge::{FinalState, Verdict};

/// The operations of all items, in the words of LEDGER GET: by key, name and arguments.
#[derive(Default, Debug)]
pub struct Kept(BTreeMap<String, Vec<Vec<String>>>);

impl Kept {
    fn touches(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
    /// Whether an operation on `key` carries `element`.
    fn carries(&self, key: &str, element: u64) -> bool {
        let element = element.to_string();
        self.0.get(key).is_some_and(|operations| operations.iter().any(|words| words.contains(&element)))
    }
}

/// Reads the ledger of keyspace 0 once nothing is left in it of which only the announcement is known.
pub fn read_ledger(address: SocketAddr, timeout: Duration) -> Result<Kept> {
    let ids = wait_for("the payloads of all lost writes", timeout, || {
        let mut client = Client::connect(address, Duration::from_secs(5)).ok()?;
        let reply = client.call(&["LEDGER", "LIST", "0"]).ok()?;
        let items = field(&reply, "items")?.items();
        let marks = items.iter().filter_map(|item| field(item, "mark")?.text());
        if marks.into_iter().any(|mark| mark == "announced") {
            return None;
        }
        Some(items.iter().filter_map(|item| Some(field(item, "id")?.text()?.to_owned())).collect::<Vec<_>>())
    })?;
    let mut kept = Kept::default();
    let mut client = Client::connect(address, Duration::from_secs(5))?;
    for id in &ids {
        let reply = client.call(&["LEDGER", "GET", id])?;
        let operations =
            field(&reply, "operations").with_context(|| format!("LEDGER GET {id}: {reply:?}"))?;
        for operation in operations.items() {
            let words = field(operation, "operation").map(Value::items).unwrap_or_default();
            let words: Vec<String> = words.iter().filter_map(|word| word.text().map(str::to_owned)).collect();
            let key = words.get(1).with_context(|| format!("LEDGER GET {id}: {operation:?}"))?.clone();
            kept.0.entry(key).or_default().push(words);
        }
    }
    println!("  the ledger holds {} items", ids.len());
    Ok(kept)
}

/// A field of a map in RESP2: names and values in turn.
fn field<'v>(map: &'v Value, name: &str) -> Option<&'v Value> {
    map.items().chunks_exact(2).find(|pair| pair[0].text() == Some(name)).map(|pair| &pair[1])
}

/// Counts as lost only what is not in the ledger.
pub fn judge(history: &History, end: &FinalState, kept: &Kept) -> Verdict {
    let mut verdict = Verdict::default();
    let (mut gone, mut unlisted) = (0u64, BTreeSet::new());
    let mut lose = |what: String, is_kept: bool| {
        gone += 1;
        if !is_kept {
            unlisted.insert(what);
        }
    };
    for event in &history.events {
        let (happened, twice, what, is_kept) = match event.operation {
            Operation::Once { number } => {
                let key = once_key(event.client, number);
                let count = end.once.get(&(event.client, number)).copied().unwrap_or(0);
                let is_kept = kept.touches(&key);
                (count > 0, count > 1, key, is_kept)
            }
            Operation::Append { number } => {
                let key = list_key(event.client);
                let items = end.lists.get(&event.client).map(Vec::as_slice).unwrap_or_default();
                let count = items.iter().filter(|item| **item == number).count();
                let is_kept = kept.carries(&key, number);
                (count > 0, count > 1, format!("{key} {number}"), is_kept)
            }
            Operation::Write { register, value } => {
                let key = register.key();
                let found = end.registers.get(&register).copied().unwrap_or(0);
                let is_kept = kept.touches(&key);
                // Values grow: a later one stands for all before it.
                (found >= value || event.outcome == Outcome::Refused, false, key, is_kept)
            }
            Operation::Count | Operation::Read { .. } => continue,
        };
        verdict.doubled += u64::from(twice);
        match event.outcome {
            Outcome::Ok(_) if !happened => lose(what, is_kept),
            Outcome::Refused if happened && !matches!(event.operation, Operation::Write { .. }) => {
                verdict.other += 1;
            }
            _ => {}
        }
    }
    verdict.lost = unlisted.len() as u64;
    let shown: Vec<&String> = unlisted.iter().take(10).collect();
    verdict.reports.push(format!(
        "{gone} acknowledged writes are gone, {} of them not in the ledger {shown:?}",
        verdict.lost
    ));
    verdict
}
