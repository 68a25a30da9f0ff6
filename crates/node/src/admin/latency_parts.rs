//! The parts of a write's time in words: in KEYSPACE INFO and on the sheet.
// catalogue: C17

use crate::latency::{Figures, Part};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use wire::ReplyWriter;

/// One line for each part that measured writes had.
pub(super) fn write_parts(figures: &Figures, w: &mut ReplyWriter<'_>) {
    let lines: Vec<String> = Part::ALL.into_iter().filter_map(|part| line(figures, part)).collect();
    w.array(lines.len());
    lines.iter().for_each(|line| w.bulk(line.as_bytes()));
}

fn line(figures: &Figures, part: Part) -> Option<String> {
    let (writes, sum) = figures.sum(part);
    let mean = sum.as_micros().checked_div(u128::from(writes))?;
    let at = |percent| figures.percentile(part, percent).unwrap_or_default().as_micros();
    let (p50, p90, p99) = (at(50), at(90), at(99));
    let name = part.name();
    Some(format!("{name} writes={writes} mean-us={mean} p50-us={p50} p90-us={p90} p99-us={p99}"))
}

/// The sheet's section.
pub(super) fn section(figures: &Figures) -> String {
    let ms = |length: Duration| format!("{}.{:03}", length.as_millis(), length.as_micros() % 1000);
    let median = |part: Part| Some(format!("{} {}", part.name(), ms(figures.percentile(part, 50)?)));
    let parts: Vec<String> = Part::ALL.into_iter().filter_map(median).collect();
    match parts.is_empty() {
        true => String::from("\nLatency parts\n- no write measured yet by this node\n"),
        false => format!(
            "\nLatency parts\n- medians of the last {} writes that this node measured, ms: {}\n",
            figures.shown(),
            parts.join(", ")
        ),
    }
}
