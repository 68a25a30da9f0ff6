//! Members at random.

use super::{begin_members, show_member, zset_at};
use crate::call::{Call, CommandError, CommandResult};
use crate::choice::{Count, check_reply_len, count_of, distinct_places};

pub(super) fn zrandmember(call: &mut Call<'_, '_>) -> CommandResult {
    let count = call.args.get(2).map(|count| count_of(count)).transpose()?;
    let with_scores = match call.rest(3) {
        [] => false,
        [option] if option.eq_ignore_ascii_case(b"withscores") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    let zset = zset_at(call.view, call.key(1))?;
    let (Some(zset), Some(count)) = (zset, count) else {
        match zset.and_then(|zset| zset.member_at(call.random.below(zset.len() as u64) as usize)) {
            Some((member, _)) => call.reply.bulk(member),
            None if count.is_some() => call.reply.array(0),
            None => call.reply.null(),
        }
        return Ok(());
    };
    match count {
        Count::Distinct(count) => {
            let places = distinct_places(call.random, zset.len(), count);
            begin_members(&mut call.reply, places.len(), with_scores);
            for (member, score) in places.iter().filter_map(|at| zset.member_at(*at)) {
                show_member(&mut call.reply, member, score, with_scores);
            }
        }
        Count::Repeated(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if with_scores && count > i64::MAX as usize / 2 {
                return Err(CommandError::fixed("ERR value is out of range"));
            }
            let start = call.reply.buffer.len();
            begin_members(&mut call.reply, count, with_scores);
            for _ in 0..count {
                let at = call.random.below(zset.len() as u64) as usize;
                if let Some((member, score)) = zset.member_at(at) {
                    show_member(&mut call.reply, member, score, with_scores);
                }
                check_reply_len(call.reply.buffer.len() - start)?;
            }
        }
    }
    Ok(())
}
