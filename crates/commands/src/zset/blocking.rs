//! The forms that wait for a member. Here they try once; no reply means that the connection waits.

use super::pop::{Side, pop_first_of, pop_one_of};
use crate::blocking::timeout_of;
use crate::call::{Call, CommandResult};

pub(super) fn bzpopmin(call: &mut Call<'_, '_>) -> CommandResult {
    timeout_of("bzpopmin", call.args)?;
    pop_any(call, Side::Min)
}

pub(super) fn bzpopmax(call: &mut Call<'_, '_>) -> CommandResult {
    timeout_of("bzpopmax", call.args)?;
    pop_any(call, Side::Max)
}

/// Pops from the first sorted set that exists; the last argument is the timeout.
fn pop_any(call: &mut Call<'_, '_>, side: Side) -> CommandResult {
    let Some((_, keys)) = call.rest(1).split_last() else { return Ok(()) };
    pop_one_of(call, keys, side)
}

pub(super) fn bzmpop(call: &mut Call<'_, '_>) -> CommandResult {
    timeout_of("bzmpop", call.args)?;
    pop_first_of(call, 2)?;
    Ok(())
}
