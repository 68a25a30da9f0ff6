//! What a judge says: violations by kind, each with the operations that contradict each other.

use crate::model::Model;
use crate::operation::{NEVER, Operation, Status};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// Beyond so many violations only their number is kept.
const VIOLATIONS_KEPT_MAX: usize = 1_000;

/// What can be wrong with a history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Acknowledged, and not there.
    Lost,
    /// Seen, though never acknowledged, and gone again.
    Vanished,
    /// Taken away, and there again.
    Resurrected,
    /// Seen, though nobody wrote it.
    Phantom,
    /// Seen, though its write was refused.
    Refused,
    /// Seen before its write began.
    Early,
    /// There twice, or given to two.
    Duplicated,
    /// Older than what was known when the read began, or than the bound allows.
    Stale,
    /// Two swaps took the place of one value.
    LostUpdate,
    /// No order explains it; each operation alone could be explained.
    NotLinearizable,
    /// In another order than that in which they were written.
    Reordered,
    /// In another order than another read saw.
    Rearranged,
    ReadYourWrites,
    MonotonicReads,
    MonotonicWrites,
    WritesFollowReads,
    ConsistentPrefix,
    /// A count below what was acknowledged or seen.
    TooLow,
    /// A count above what was asked for.
    TooHigh,
    /// Copies that differ when all is at rest.
    Diverged,
    /// Accounts that add up to another sum.
    Unbalanced,
}

impl Kind {
    pub const ALL: [Kind; 21] = [
        Kind::Lost,
        Kind::Vanished,
        Kind::Resurrected,
        Kind::Phantom,
        Kind::Refused,
        Kind::Early,
        Kind::Duplicated,
        Kind::Stale,
        Kind::LostUpdate,
        Kind::NotLinearizable,
        Kind::Reordered,
        Kind::Rearranged,
        Kind::ReadYourWrites,
        Kind::MonotonicReads,
        Kind::MonotonicWrites,
        Kind::WritesFollowReads,
        Kind::ConsistentPrefix,
        Kind::TooLow,
        Kind::TooHigh,
        Kind::Diverged,
        Kind::Unbalanced,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Lost => "lost",
            Kind::Vanished => "vanished",
            Kind::Resurrected => "resurrected",
            Kind::Phantom => "phantom",
            Kind::Refused => "refused-visible",
            Kind::Early => "seen-before-written",
            Kind::Duplicated => "duplicated",
            Kind::Stale => "stale",
            Kind::LostUpdate => "lost-update",
            Kind::NotLinearizable => "not-linearizable",
            Kind::Reordered => "reordered",
            Kind::Rearranged => "rearranged",
            Kind::ReadYourWrites => "read-your-writes",
            Kind::MonotonicReads => "monotonic-reads",
            Kind::MonotonicWrites => "monotonic-writes",
            Kind::WritesFollowReads => "writes-follow-reads",
            Kind::ConsistentPrefix => "consistent-prefix",
            Kind::TooLow => "too-low",
            Kind::TooHigh => "too-high",
            Kind::Diverged => "diverged",
            Kind::Unbalanced => "unbalanced",
        }
    }
}

/// One contradiction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub kind: Kind,
    pub key: Arc<str>,
    pub text: String,
    /// Places in the history of the operations that contradict each other.
    pub witnesses: Vec<usize>,
}

/// What one model says about a history.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub model: Model,
    pub keys: u64,
    pub ok: u64,
    pub failed: u64,
    pub unknown: u64,
    /// The first of them; `counts` has all.
    pub violations: Vec<Violation>,
    pub counts: BTreeMap<Kind, u64>,
    /// Keys whose search grew too large: nothing is said about them.
    pub undecided: Vec<Arc<str>>,
    /// What was measured, by name, with its unit in the name.
    pub measured: Vec<(&'static str, u64)>,
}

impl Verdict {
    pub(crate) fn new(model: Model) -> Verdict {
        Verdict {
            model,
            keys: 0,
            ok: 0,
            failed: 0,
            unknown: 0,
            violations: Vec::new(),
            counts: BTreeMap::new(),
            undecided: Vec::new(),
            measured: Vec::new(),
        }
    }

    pub(crate) fn judged(&mut self, operation: &Operation) {
        match operation.status {
            Status::Ok => self.ok += 1,
            Status::Fail => self.failed += 1,
            Status::Info => self.unknown += 1,
        }
    }

    pub(crate) fn found(&mut self, kind: Kind, key: &Arc<str>, witnesses: &[usize], text: String) {
        *self.counts.entry(kind).or_default() += 1;
        if self.violations.len() < VIOLATIONS_KEPT_MAX {
            let witnesses = witnesses.to_vec();
            self.violations.push(Violation { kind, key: Arc::clone(key), text, witnesses });
        }
    }

    /// How many violations of a kind there are.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    pub fn violation_count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// No violation, and nothing left undecided.
    pub fn is_good(&self) -> bool {
        self.counts.is_empty() && self.undecided.is_empty()
    }

    /// Operations that the model looked at.
    pub fn operations(&self) -> u64 {
        self.ok + self.failed + self.unknown
    }

    /// For a person: the first `shown` violations with the operations behind them, then the counts. `place` names an
    /// operation, as by its line.
    pub fn report(&self, history: &[Operation], shown: usize, place: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        for violation in self.violations.iter().take(shown) {
            let _ = writeln!(text, "{}: key {:?}: {}", violation.kind.name(), violation.key, violation.text);
            for at in &violation.witnesses {
                let _ = writeln!(text, "    {}: {}", place(*at), describe(&history[*at]));
            }
        }
        let more = self.violation_count().saturating_sub(shown as u64);
        if more > 0 {
            let _ = writeln!(text, "... and {more} more");
        }
        for key in self.undecided.iter().take(shown) {
            let _ = writeln!(text, "undecided: key {key:?}: the search grew too large, nothing is said");
        }
        let _ = write!(text, "{}", self.summary());
        text
    }

    /// One line.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{}: {} operations ({} ok, {} failed, {} unknown) on {} keys: {} violations",
            self.model.name(),
            self.operations(),
            self.ok,
            self.failed,
            self.unknown,
            self.keys,
            self.violation_count()
        );
        for (kind, count) in &self.counts {
            let _ = write!(text, ", {count} {}", kind.name());
        }
        if !self.undecided.is_empty() {
            let _ = write!(text, "; {} keys undecided", self.undecided.len());
        }
        for (name, value) in &self.measured {
            let _ = write!(text, "; {name} {value}");
        }
        text
    }

    /// For a machine; `place` gives the number of an operation, as its line.
    pub fn json(&self, place: impl Fn(usize) -> u64) -> serde_json::Value {
        let violation = |it: &Violation| {
            let witnesses: Vec<u64> = it.witnesses.iter().map(|at| place(*at)).collect();
            serde_json::json!({
                "kind": it.kind.name(), "key": &*it.key, "text": it.text, "lines": witnesses,
            })
        };
        let counts: BTreeMap<&str, u64> =
            self.counts.iter().map(|(kind, count)| (kind.name(), *count)).collect();
        let measured: BTreeMap<&str, u64> = self.measured.iter().copied().collect();
        serde_json::json!({
            "model": self.model.name(),
            "keys": self.keys,
            "ok": self.ok,
            "fail": self.failed,
            "info": self.unknown,
            "violations": self.violation_count(),
            "counts": counts,
            "undecided": self.undecided.iter().map(|key| &**key).collect::<Vec<&str>>(),
            "measured": measured,
            "found": self.violations.iter().map(violation).collect::<Vec<_>>(),
        })
    }
}

/// An operation in one line, with its times in milliseconds.
pub fn describe(operation: &Operation) -> String {
    let mut line = Vec::new();
    // Writing to memory does not fail.
    let _ = crate::format::write(&mut line, operation);
    let text = String::from_utf8_lossy(&line);
    let ms = |ns: u64| ns as f64 / 1e6;
    let until = if operation.end == NEVER { "never".to_owned() } else { format!("{:.3}", ms(operation.end)) };
    format!("{:.3} to {until} ms {}", ms(operation.start), text.trim_end())
}
