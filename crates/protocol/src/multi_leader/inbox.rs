//! Keeps what the sites hold for the inbox within bounds: decisions on conflicts go when they are too old, or when there are too many
//! of them. Conflicts that last are values and stay.
//!
//! The lowest site of those that hear each other looks after all of them: what it lets go it removes by a write like others, and
//! so everywhere. Where there are too many, any site does.

use super::exchange::{Exchange, Output, Report};
use super::record::Change;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use data::Now;
use data::causal::{Causal, Context, Decisions, Mark, Object, Stamp};
use data::value::Blob;

/// From one look at their ages to the next. A guess: ages are days.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Decisions that one write lets go. A guess: a write that long does not hold up others.
const GONE_MAX: usize = 4096;

impl Exchange {
    pub(super) fn tick_inbox(&mut self, now: Now, out: &mut Vec<Output>) {
        let held = self.state.copy.decision_bytes();
        let is_full = held > self.limits.inbox_bytes_max;
        let is_due = self.inbox_at.is_none_or(|at| now.instant >= at);
        if !self.state.is_ready || held == 0 || !(is_full || is_due) {
            return;
        }
        // A clock that may be wrong says nothing of ages.
        let Ok(time_ms) = self.time(now) else { return };
        self.inbox_at = Some(now.instant + LOOK_EVERY);
        let me = self.me.site;
        let is_lowest = self.heard(now.instant).iter().all(|site| *site > me);
        if !is_full && !is_lowest {
            return;
        }
        let oldest = Stamp::from_ms(time_ms.saturating_sub(self.limits.inbox_age_ms_max));
        let mut all: Vec<(Mark, &Blob, u64)> = Vec::new();
        for (key, object) in self.state.copy.disputed() {
            let decisions = object.as_decisions().into_iter().flat_map(Decisions::iter);
            all.extend(decisions.map(|(mark, decision)| (mark, key, decision.bytes() as u64)));
        }
        all.sort_by_key(|(mark, ..)| *mark);
        // An eighth goes at once, so that the next write does not begin anew.
        let mut surplus = match is_full {
            true => held - self.limits.inbox_bytes_max / 8 * 7,
            false => 0,
        };
        let mut gone: BTreeMap<Blob, Context> = BTreeMap::new();
        let mut count = 0;
        for (mark, key, bytes) in all {
            if (mark.stamp >= oldest && surplus == 0) || count == GONE_MAX {
                break;
            }
            surplus = surplus.saturating_sub(bytes);
            gone.entry(key.clone()).or_default().insert(mark.dot);
            count += 1;
        }
        if count == 0 {
            return;
        }
        let deltas: Vec<(Blob, Causal<Object>)> =
            gone.into_iter().map(|(key, dots)| (key, Decisions::forget(dots))).collect();
        self.make(Change::Deltas(deltas), out);
        out.push(Output::Report(Report::Forgot { count: count as u64 }));
    }
}
