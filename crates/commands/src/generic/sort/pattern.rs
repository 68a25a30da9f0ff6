//! Keys that a member names: BY and GET.

use crate::call::View;
use alloc::vec::Vec;
use data::value::ValueRef;

pub(super) enum Pattern<'a> {
    /// `#`: the member itself.
    Member,
    /// Without a star it names nothing that depends on the member.
    Fixed,
    /// `before*after`, of a hash the field.
    Key { before: &'a [u8], after: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    pub(super) fn of(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Member;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else { return Pattern::Fixed };
        let (before, after) = (&text[..star], &text[star + 1..]);
        // An arrow in front of the star, or with nothing behind it, is part of the key.
        match after.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < after.len()) {
            Some(at) => Pattern::Key { before, after: &after[..at], field: Some(&after[at + 2..]) },
            None => Pattern::Key { before, after, field: None },
        }
    }
    /// What the key holds that the member names; nothing where it is missing or of another type.
    pub(super) fn find<'v>(&self, view: &'v dyn View, member: &[u8]) -> Option<&'v [u8]> {
        let Pattern::Key { before, after, field } = self else { return None };
        let mut key = Vec::with_capacity(before.len() + member.len() + after.len());
        key.extend_from_slice(before);
        key.extend_from_slice(member);
        key.extend_from_slice(after);
        match (view.get(&key)?.value, field) {
            (ValueRef::String(bytes), None) => Some(bytes),
            (ValueRef::Hash(hash), Some(field)) => hash.get(field),
            _ => None,
        }
    }
}
