//! Keeps what this copy holds for the inbox within bounds: decisions on conflicts go when they are too old, or when there are
//! too many of them. Conflicts that last are values and stay.
//!
//! Each copy looks after its own. What goes is removed by its dots, as in any other removal, so it stays away from the
//! copies that join this one; and its number is kept, so that nobody takes the inbox for complete that is not.

use super::replica::{Output, Replica};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use data::Now;
use data::causal::{Context, Decisions, Mark, Stamp, Step};
use data::value::Blob;

/// From one look at their ages to the next. A guess: ages are days.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Replica {
    pub(super) fn tick_inbox(&mut self, now: Now, out: &mut Vec<Output>) {
        let is_full = self.durable.copy.decision_bytes() > self.limits.inbox_bytes_max;
        if !is_full && now.instant < self.inbox_at {
            return;
        }
        self.inbox_at = now.instant + LOOK_EVERY;
        let oldest = Stamp::from_ms(now.wall.earliest_ms.saturating_sub(self.limits.inbox_age_ms_max));
        let mut all: Vec<(Mark, &Blob, u64)> = Vec::new();
        for (key, object) in self.durable.copy.disputed() {
            let decisions = object.as_decisions().into_iter().flat_map(Decisions::iter);
            all.extend(decisions.map(|(mark, decision)| (mark, key, decision.bytes() as u64)));
        }
        all.sort_by_key(|(mark, ..)| *mark);
        // An eighth goes at once, so that the next write does not begin anew.
        let mut surplus = match is_full {
            true => self.durable.copy.decision_bytes() - self.limits.inbox_bytes_max / 8 * 7,
            false => 0,
        };
        let mut gone: BTreeMap<Blob, (Context, u64)> = BTreeMap::new();
        for (mark, key, bytes) in all {
            if mark.stamp >= oldest && surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(bytes);
            let (dots, count) = gone.entry(key.clone()).or_default();
            dots.insert(mark.dot);
            *count += 1;
        }
        for (key, (decisions, dropped)) in gone {
            self.step(Step::Forget { key, decisions, dropped }, out);
        }
    }
    /// Keys of which the inbox has something new to tell.
    pub fn take_news(&mut self) -> Vec<Blob> {
        self.durable.copy.take_news()
    }
}
