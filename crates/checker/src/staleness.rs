//! How old the answers of registers are.
//!
//! A read is as old as the time for which a newer value had already been acknowledged when it began: from the end of the
//! first acknowledged write that began after the write that it saw had ended. It is 0 where nothing newer was surely there.

use crate::model::Key;
use crate::register;
use crate::verdict::{Kind, Verdict};
use crate::versions::{Versions, later, seen};

/// The ages of all reads, ns.
#[derive(Default)]
pub(crate) struct Ages {
    ages: Vec<u64>,
}

impl Ages {
    pub fn check(&mut self, key: &Key<'_>, bound: Option<u64>, verdict: &mut Verdict) {
        let versions = Versions::of(key);
        for (at, operation) in key.operations() {
            let Some(value) = seen(operation) else { continue };
            let source = match versions.source(value, operation.end) {
                Ok(source) => source,
                Err(why) => {
                    register::tell(key, at, value, &why, verdict);
                    continue;
                }
            };
            let newer = versions.successor(&source).filter(|newer| newer.end < later(operation.start));
            let age = newer.map_or(0, |newer| later(operation.start) - newer.end);
            self.ages.push(age);
            if let Some(bound) = bound
                && age > bound
            {
                let text = format!(
                    "{} was {:.3} ms old, {:.3} ms are allowed",
                    register::show(value),
                    age as f64 / 1e6,
                    bound as f64 / 1e6
                );
                let newer = newer.and_then(|newer| newer.at);
                let witnesses: Vec<usize> = source.at.into_iter().chain(newer).chain([at]).collect();
                verdict.found(Kind::Stale, key.name, &witnesses, text);
            }
        }
    }

    pub fn measured(mut self) -> Vec<(&'static str, u64)> {
        self.ages.sort_unstable();
        let Some(last) = self.ages.len().checked_sub(1) else { return Vec::new() };
        let stale = self.ages.len() - self.ages.partition_point(|age| *age == 0);
        let at = |percent: usize| self.ages[last * percent / 100];
        vec![
            ("reads", self.ages.len() as u64),
            ("stale_reads", stale as u64),
            ("age_ns_p50", at(50)),
            ("age_ns_p99", at(99)),
            ("age_ns_max", self.ages[last]),
        ]
    }
}
