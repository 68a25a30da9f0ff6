//! Looking at elements.

use super::list_at;
use crate::arguments::integer;
use crate::call::{Call, CommandError, CommandResult};
use crate::choice::NOT_NEGATABLE;
use crate::places::{place, span};
use alloc::vec::Vec;
use data::value::List;

pub(super) fn llen(call: &mut Call<'_, '_>) -> CommandResult {
    let len = list_at(call.view, call.key(1))?.map_or(0, |list| list.len());
    call.reply.integer(len as i64);
    Ok(())
}

pub(super) fn lindex(call: &mut Call<'_, '_>) -> CommandResult {
    let Some(list) = list_at(call.view, call.key(1))? else {
        call.reply.null();
        return Ok(());
    };
    let index = integer(call.key(2))?;
    match place(index, list.len()).and_then(|at| list.at(at)) {
        Some(element) => call.reply.bulk(element),
        None => call.reply.null(),
    }
    Ok(())
}

pub(super) fn lrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (start, stop) = (integer(call.key(2))?, integer(call.key(3))?);
    let Some(list) = list_at(call.view, call.key(1))? else {
        call.reply.array(0);
        return Ok(());
    };
    let span = span(start, stop, list.len());
    call.reply.array(span.len());
    for element in list.range(span.start, span.end) {
        call.reply.bulk(element);
    }
    Ok(())
}

/// Options of LPOS.
struct Search {
    backwards: bool,
    /// Matches to skip.
    skip: u64,
    /// Matches to answer; `None` asks for one place instead of an array, `Some(0)` for all.
    count: Option<u64>,
    /// Elements to compare; `u64::MAX` is no limit.
    compare_max: u64,
}

impl Search {
    fn parse(options: &[&[u8]]) -> Result<Search, CommandError> {
        let mut search = Search { backwards: false, skip: 0, count: None, compare_max: u64::MAX };
        let (pairs, rest) = options.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(CommandError::SYNTAX);
        }
        for [option, value] in pairs {
            if option.eq_ignore_ascii_case(b"rank") {
                let rank = integer(value)?;
                if rank == 0 {
                    return Err(CommandError::fixed(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list",
                    ));
                }
                if rank == i64::MIN {
                    return Err(NOT_NEGATABLE);
                }
                search.backwards = rank < 0;
                search.skip = rank.unsigned_abs() - 1;
            } else if option.eq_ignore_ascii_case(b"count") {
                let negative = CommandError::fixed("ERR COUNT can't be negative");
                search.count = Some(u64::try_from(integer(value).unwrap_or(-1)).map_err(|_| negative)?);
            } else if option.eq_ignore_ascii_case(b"maxlen") {
                let negative = CommandError::fixed("ERR MAXLEN can't be negative");
                let len = u64::try_from(integer(value).unwrap_or(-1)).map_err(|_| negative)?;
                search.compare_max = if len == 0 { u64::MAX } else { len };
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(search)
    }

    fn places(&self, list: &List, element: &[u8]) -> Vec<usize> {
        let limit = |len: u64| usize::try_from(len).unwrap_or(usize::MAX);
        let wanted = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => limit(count),
        };
        let last = list.len().saturating_sub(1);
        let matches = |(at, candidate): (usize, &[u8])| (candidate == element).then_some(at);
        let (compare_max, skip) = (limit(self.compare_max), limit(self.skip));
        if self.backwards {
            let places = list.iter().rev().enumerate().take(compare_max).filter_map(matches);
            places.skip(skip).take(wanted).map(|at| last - at).collect()
        } else {
            let places = list.iter().enumerate().take(compare_max).filter_map(matches);
            places.skip(skip).take(wanted).collect()
        }
    }
}

pub(super) fn lpos(call: &mut Call<'_, '_>) -> CommandResult {
    let search = Search::parse(call.rest(3))?;
    let places = list_at(call.view, call.key(1))?.map(|list| search.places(list, call.key(2)));
    let places = places.unwrap_or_default();
    if search.count.is_none() {
        match places.first() {
            Some(at) => call.reply.integer(*at as i64),
            None => call.reply.null(),
        }
        return Ok(());
    }
    call.reply.array(places.len());
    for at in places {
        call.reply.integer(at as i64);
    }
    Ok(())
}
