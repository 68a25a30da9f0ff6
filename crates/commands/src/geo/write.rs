//! Adding places.

use super::place_of;
use crate::arguments::is;
use crate::call::{Call, CommandError, CommandResult};
use crate::zset::{Conditions, add};
use alloc::vec::Vec;

pub(super) fn geoadd(call: &mut Call<'_, '_>) -> CommandResult {
    let mut conditions = Conditions::default();
    let mut counts_changed = false;
    let mut at = 2;
    while let Some(option) = call.args.get(at) {
        if is(option, "NX") {
            conditions.only_new = true;
        } else if is(option, "XX") {
            conditions.only_existing = true;
        } else if is(option, "CH") {
            counts_changed = true;
        } else {
            break;
        }
        at += 1;
    }
    let (triples, rest) = call.rest(at).as_chunks::<3>();
    if triples.is_empty() || !rest.is_empty() || conditions.only_new && conditions.only_existing {
        return Err(CommandError::SYNTAX);
    }
    let scored = triples
        .iter()
        .map(|[longitude, latitude, member]| Ok((*member, place_of(longitude, latitude)?.score())))
        .collect::<Result<Vec<_>, CommandError>>()?;
    add(call, conditions, scored, counts_changed)
}
