//! LCS: the longest text that two strings share, gaps allowed.

use super::string_at;
use crate::arguments::{integer, is};
use crate::call::{Call, CommandError, CommandResult, STRING_LEN_MAX};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

#[derive(Default)]
struct Options {
    length: bool,
    places: bool,
    with_lengths: bool,
    length_min: usize,
}

impl Options {
    fn parse(args: &[&[u8]]) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let mut args = args.iter();
        while let Some(option) = args.next() {
            if is(option, "LEN") {
                options.length = true;
            } else if is(option, "IDX") {
                options.places = true;
            } else if is(option, "WITHMATCHLEN") {
                options.with_lengths = true;
            } else if is(option, "MINMATCHLEN") {
                let length = integer(args.next().ok_or(CommandError::SYNTAX)?)?;
                options.length_min = usize::try_from(length).unwrap_or(0);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        if options.length && options.places {
            return Err(CommandError::fixed(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

pub(super) fn lcs(call: &mut Call<'_, '_>) -> CommandResult {
    let not_strings = |_| CommandError::fixed("ERR The specified keys must contain string values");
    let a = string_at(call.view, call.key(1)).map_err(not_strings)?.unwrap_or_default();
    let b = string_at(call.view, call.key(2)).map_err(not_strings)?.unwrap_or_default();
    let options = Options::parse(call.rest(3))?;
    let table = Lengths::of(a, b).ok_or(CommandError::fixed(
        "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
    ))?;
    let length = table.at(a.len(), b.len());
    if options.length {
        call.reply.integer(i64::from(length));
        return Ok(());
    }
    let mut matches = table.matches(a, b);
    if !options.places {
        let text: Vec<u8> = matches.iter().rev().flat_map(|(place, _)| &a[place.clone()]).copied().collect();
        call.reply.bulk(&text);
        return Ok(());
    }
    matches.retain(|(place, _)| place.len() >= options.length_min);
    call.reply.map(2);
    call.reply.bulk(b"matches");
    call.reply.array(matches.len());
    for (in_a, in_b) in matches {
        call.reply.array(if options.with_lengths { 3 } else { 2 });
        for place in [&in_a, &in_b] {
            call.reply.array(2);
            call.reply.integer(place.start as i64);
            call.reply.integer(place.end as i64 - 1);
        }
        if options.with_lengths {
            call.reply.integer(in_a.len() as i64);
        }
    }
    call.reply.bulk(b"len");
    call.reply.integer(i64::from(length));
    Ok(())
}

/// How much every two beginnings share.
struct Lengths {
    cells: Vec<u32>,
    width: usize,
}

impl Lengths {
    /// `None` when the table would take more memory than a string may.
    fn of(a: &[u8], b: &[u8]) -> Option<Lengths> {
        let width = b.len() + 1;
        let cells = width.checked_mul(a.len() + 1)?;
        if cells.checked_mul(size_of::<u32>())? > STRING_LEN_MAX {
            return None;
        }
        let mut table = Lengths { cells: vec![0; cells], width };
        for (i, x) in a.iter().enumerate() {
            let (above, row) = table.cells[i * width..(i + 2) * width].split_at_mut(width);
            for (j, y) in b.iter().enumerate() {
                row[j + 1] = if x == y { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Some(table)
    }
    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }
    /// The shared runs, the last one first.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<(Range<usize>, Range<usize>)> {
        let mut matches: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                match matches.last_mut().filter(|(x, y)| x.start == i + 1 && y.start == j + 1) {
                    Some((x, y)) => (x.start, y.start) = (i, j),
                    None => matches.push((i..i + 1, j..j + 1)),
                }
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}
