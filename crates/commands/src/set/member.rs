//! Adding, removing, moving and listing members.

use super::set_at;
use crate::call::{Call, CommandResult};
use crate::distinct::Distinct;
use crate::walk::{self, Walk};
use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use data::Operation;

pub(super) fn sadd(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.key(1);
    let set = set_at(call.view, key)?;
    let mut distinct = Distinct::default();
    let absent = call.rest(2).iter().filter(|member| !set.is_some_and(|set| set.contains(member)));
    let members: Vec<_> =
        absent.filter(|member| distinct.is_first(member)).map(|member| Cow::Borrowed(*member)).collect();
    call.reply.integer(members.len() as i64);
    if !members.is_empty() {
        call.op(Operation::SetAdd { key: Cow::Borrowed(key), members });
    }
    Ok(())
}

pub(super) fn srem(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.key(1);
    let mut members = Vec::new();
    if let Some(set) = set_at(call.view, key)? {
        let mut distinct = Distinct::default();
        let there = call.rest(2).iter().filter(|member| set.contains(member));
        members.extend(there.filter(|member| distinct.is_first(member)).map(|member| Cow::Borrowed(*member)));
    }
    call.reply.integer(members.len() as i64);
    if !members.is_empty() {
        call.op(Operation::SetRemove { key: Cow::Borrowed(key), members });
    }
    Ok(())
}

pub(super) fn smove(call: &mut Call<'_, '_>) -> CommandResult {
    let (source, destination, member) = (call.key(1), call.key(2), call.key(3));
    // A missing source is answered before the destination's type is looked at.
    let Some(from) = set_at(call.view, source)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let to = set_at(call.view, destination)?;
    let moves = from.contains(member);
    if moves && source != destination {
        let members = vec![Cow::Borrowed(member)];
        call.op(Operation::SetRemove { key: Cow::Borrowed(source), members: members.clone() });
        if !to.is_some_and(|to| to.contains(member)) {
            call.op(Operation::SetAdd { key: Cow::Borrowed(destination), members });
        }
    }
    call.reply.integer(i64::from(moves));
    Ok(())
}

pub(super) fn smembers(call: &mut Call<'_, '_>) -> CommandResult {
    let set = set_at(call.view, call.key(1))?;
    call.reply.set(set.map_or(0, |set| set.len()));
    for member in set.into_iter().flat_map(|set| set.iter()) {
        call.reply.bulk(member);
    }
    Ok(())
}

pub(super) fn sismember(call: &mut Call<'_, '_>) -> CommandResult {
    let is_member = set_at(call.view, call.key(1))?.is_some_and(|set| set.contains(call.key(2)));
    call.reply.integer(i64::from(is_member));
    Ok(())
}

pub(super) fn smismember(call: &mut Call<'_, '_>) -> CommandResult {
    let set = set_at(call.view, call.key(1))?;
    let members = call.rest(2);
    call.reply.array(members.len());
    for member in members {
        call.reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

pub(super) fn scard(call: &mut Call<'_, '_>) -> CommandResult {
    let len = set_at(call.view, call.key(1))?.map_or(0, |set| set.len());
    call.reply.integer(len as i64);
    Ok(())
}

pub(super) fn sscan(call: &mut Call<'_, '_>) -> CommandResult {
    let cursor = walk::cursor_of(call.key(2))?;
    let Some(set) = set_at(call.view, call.key(1))? else {
        walk::answer(call, 0, [].into_iter());
        return Ok(());
    };
    let walk = Walk::parse(cursor, call.rest(3), false)?;
    let step = walk.step(set.len());
    let members: Vec<&[u8]> =
        step.clone().filter_map(|at| set.at(at)).filter(|member| walk.shows(member)).collect();
    walk::answer(call, step.start, members.into_iter());
    Ok(())
}
