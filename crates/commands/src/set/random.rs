//! Members at random, kept (SRANDMEMBER) or taken away (SPOP).

use super::set_at;
use crate::call::{Call, CommandError, CommandResult};
use crate::choice::{Count, check_reply_len, count_of, distinct_places, pop_count};
use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use data::Operation;
use data::value::Set;

pub(super) fn srandmember(call: &mut Call<'_, '_>) -> CommandResult {
    let count = match call.rest(2) {
        [] => None,
        [count] => Some(count_of(count)?),
        _ => return Err(CommandError::SYNTAX),
    };
    let set = set_at(call.view, call.key(1))?;
    match (set, count) {
        (None, None) => call.reply.null(),
        (None, Some(_)) => call.reply.array(0),
        (Some(set), None) => match one_of(call, set) {
            Some(member) => call.reply.bulk(member),
            None => call.reply.null(),
        },
        (Some(set), Some(Count::Distinct(count))) => {
            let places = distinct_places(call.random, set.len(), count);
            call.reply.array(places.len());
            places.iter().filter_map(|at| set.at(*at)).for_each(|member| call.reply.bulk(member));
        }
        (Some(set), Some(Count::Repeated(count))) => {
            let start = call.reply.buffer.len();
            call.reply.array(usize::try_from(count).unwrap_or(usize::MAX));
            for _ in 0..count {
                if let Some(member) = one_of(call, set) {
                    call.reply.bulk(member);
                }
                check_reply_len(call.reply.buffer.len() - start)?;
            }
        }
    }
    Ok(())
}

fn one_of<'v>(call: &mut Call<'_, '_>, set: &'v Set) -> Option<&'v [u8]> {
    set.at(call.random.below(set.len() as u64) as usize)
}

pub(super) fn spop(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.key(1);
    let count = match call.rest(2) {
        [] => None,
        [count] => Some(pop_count(count)?),
        _ => return Err(CommandError::SYNTAX),
    };
    match (set_at(call.view, key)?, count) {
        (None, None) => call.reply.null(),
        (None, Some(_)) => call.reply.set(0),
        (Some(set), None) => match one_of(call, set) {
            Some(member) => {
                call.reply.bulk(member);
                let members = vec![Call::owned(member)];
                call.op(Operation::SetRemove { key: Cow::Borrowed(key), members });
            }
            None => call.reply.null(),
        },
        (Some(set), Some(count)) => pop_many(call, key, set, count),
    }
    Ok(())
}

/// Takes away up to `count` members; the operation names them, or drops the key when none would stay.
fn pop_many<'a>(call: &mut Call<'a, '_>, key: &'a [u8], set: &Set, count: usize) {
    if count >= set.len() {
        call.reply.set(set.len());
        set.iter().for_each(|member| call.reply.bulk(member));
        call.op(Operation::Delete { key: Cow::Borrowed(key) });
        return;
    }
    let places = distinct_places(call.random, set.len(), count);
    let members: Vec<&[u8]> = places.iter().filter_map(|at| set.at(*at)).collect();
    call.reply.set(members.len());
    members.iter().for_each(|member| call.reply.bulk(member));
    if !members.is_empty() {
        let members = members.into_iter().map(Call::owned).collect();
        call.op(Operation::SetRemove { key: Cow::Borrowed(key), members });
    }
}
