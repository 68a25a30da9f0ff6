//! GETV: all versions of a key, with a context that SETV gives back.
// catalogue: K10 K12

use super::Setting;
use crate::call::{CommandError, CommandResult};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use data::causal::{Object, Part, sealed};
use wire::ReplyWriter;

/// GETV key: the context of what is shown, then the versions of the key's string, the highest first.
pub(super) fn getv(
    args: &[&[u8]],
    setting: &Setting,
    found: &[(&[u8], Option<&Object>)],
    reply: &mut ReplyWriter<'_>,
) -> CommandResult {
    let key = args[1];
    let object = found.iter().find(|(name, _)| *name == key).and_then(|(_, object)| *object);
    let versions = match object.and_then(|object| object.shown_at(setting.now_ms)) {
        None => Vec::new(),
        Some(Part::Text(text)) => text.versions(),
        // The others have lost: they are in the inbox.
        Some(Part::Last(last)) => last.value().map(|value| Cow::Borrowed(&**value)).into_iter().collect(),
        Some(_) => return Err(CommandError::WRONG_TYPE),
    };
    // Also what lies there expired: a write that echoes this context shall end it.
    let mut seen = object.map(Object::seen_text).unwrap_or_default();
    if let Some(last) = object.and_then(Object::as_last) {
        seen.context.merge(&last.seen());
    }
    reply.array(2);
    reply.bulk(sealed::seal(setting.seed, key, &seen).as_bytes());
    reply.array(versions.len());
    versions.iter().for_each(|version| reply.bulk(version));
    Ok(())
}
