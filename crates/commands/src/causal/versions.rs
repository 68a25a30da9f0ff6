//! All versions of a key: GETV shows them with a context that SETV gives back, and each policy says what is to be told of
//! those that a plain read does not show.
// catalogue: J5 J7 J14 K10 K12

use super::Setting;
use crate::call::{CommandError, CommandResult};
use alloc::vec::Vec;
use data::causal::{Kind, Mark, Object, Part, sealed};
use data::value::Blob;
use wire::ReplyWriter;

/// How a keyspace treats versions that nobody ordered.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Policy {
    /// Counters, sets and their kin merge; of concurrent SETs the highest is shown, and the next write that saw them ends
    /// them.
    #[default]
    Crdt,
    /// People or programs resolve them; until then the highest is shown.
    Siblings,
    /// The highest has won; the others have lost, and are told.
    LastWriteWins,
}

/// A version of a key's string that a plain read does not show, or the type of a value that it does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Tells one version from another for ever: seen again, it is the same one.
    pub mark: Mark,
    /// `None` for a value of another type than a string.
    pub value: Option<Blob>,
    pub kind: Kind,
}

/// What a caller puts into the inbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The mark of what is shown.
    pub shown: Mark,
    /// The highest first; never empty.
    pub others: Vec<Version>,
    /// Whether somebody has to resolve it: under `siblings`. Otherwise the policy has decided.
    pub is_open: bool,
}

/// What a read found besides what it shows; nothing where there is one version.
pub fn conflict(object: &Object, now_ms: i64, policy: Policy) -> Option<Conflict> {
    let shown_part = object.shown_at(now_ms)?;
    let shown = shown_part.newest()?;
    let mut others: Vec<Version> = Vec::new();
    if let Part::Text(text) = shown_part {
        let highest = text.siblings().highest().map(|(mark, _)| mark);
        let hidden = text.siblings().iter().filter(|(mark, _)| Some(*mark) != highest);
        others.extend(hidden.map(|(mark, value)| Version {
            mark,
            value: Some(value.clone()),
            kind: Kind::Text,
        }));
    }
    for part in object.hidden() {
        let Some(mark) = part.newest() else { continue };
        let value = match part {
            Part::Text(text) => text.shown().map(|text| text.into()),
            _ => None,
        };
        others.push(Version { mark, value, kind: part.kind() });
    }
    others.sort_by_key(|version| core::cmp::Reverse(version.mark));
    let conflict = Conflict { shown, others, is_open: policy == Policy::Siblings };
    (!conflict.others.is_empty()).then_some(conflict)
}

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
        Some(_) => return Err(CommandError::WRONG_TYPE),
    };
    // Also what lies there expired: a write that echoes this context shall end it.
    let seen = object.map(Object::seen_text).unwrap_or_default();
    reply.array(2);
    reply.bulk(sealed::seal(setting.seed, key, &seen).as_bytes());
    reply.array(versions.len());
    versions.iter().for_each(|version| reply.bulk(version));
    Ok(())
}
