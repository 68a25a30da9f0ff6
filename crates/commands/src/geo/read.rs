//! Looking up places and distances.

use super::place::Place;
use super::unit_of;
use crate::call::{Call, CommandError, CommandResult};
use crate::zset::zset_at;
use alloc::format;
use wire::{Protocol, ReplyWriter};

pub(super) fn geopos(call: &mut Call<'_, '_>) -> CommandResult {
    let zset = zset_at(call.view, call.key(1))?;
    let members = call.rest(2);
    call.reply.array(members.len());
    for member in members {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => show_place(&mut call.reply, Place::of_score(score)),
            None => call.reply.null_array(),
        }
    }
    Ok(())
}

pub(super) fn geohash(call: &mut Call<'_, '_>) -> CommandResult {
    let zset = zset_at(call.view, call.key(1))?;
    let members = call.rest(2);
    call.reply.array(members.len());
    for member in members {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => call.reply.bulk(Place::of_score(score).geohash().as_bytes()),
            None => call.reply.null(),
        }
    }
    Ok(())
}

pub(super) fn geodist(call: &mut Call<'_, '_>) -> CommandResult {
    let metres = match call.rest(4) {
        [] => 1.0,
        [unit] => unit_of(unit)?,
        _ => return Err(CommandError::SYNTAX),
    };
    let zset = zset_at(call.view, call.key(1))?;
    let place = |at| zset.and_then(|zset| zset.score(call.key(at))).map(Place::of_score);
    match (place(2), place(3)) {
        (Some(from), Some(to)) => show_distance(&mut call.reply, from.distance(to) / metres),
        _ => call.reply.null(),
    }
    Ok(())
}

/// Longitude and latitude, each with up to 17 places: doubles in RESP3, texts in RESP2.
pub(super) fn show_place(reply: &mut ReplyWriter<'_>, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        if reply.protocol == Protocol::Resp3 {
            reply.buffer.extend_from_slice(format!(",{text}\r\n").as_bytes());
        } else {
            reply.bulk(text.as_bytes());
        }
    }
}

/// A distance with four places, as text in both protocols.
pub(super) fn show_distance(reply: &mut ReplyWriter<'_>, distance: f64) {
    reply.bulk(format!("{distance:.4}").as_bytes());
}
