//! What a key holds, and each field of a map: parts of different types, and an expiry.
//!
//! Writers that do not know of each other may give one key two types. Both are kept; a reader is shown the part with
//! the highest mark, the others are listed for the inbox until a SET, a DEL or a resolution that saw them takes them
//! away.

use super::acceptor::Acceptor;
use super::codec::{Decoder, Encoder, Legend};
use super::conflict::Decisions;
use super::context::Context;
use super::counted::Text;
use super::dot::{Mark, Write};
use super::expiry::Deadlines;
use super::keyed::Keyed;
use super::last::Last;
use super::list::List;
use super::maximum::Maximum;
use super::sets::{RemoveWinsSet, Set, TwoPhaseSet};
use super::siblings::Flag;
use super::store::{Causal, Losers, Store, encode_store};
use super::zset::ZSet;
use crate::codec::{DecodeError, Writer};
use crate::table::Seed;
use alloc::vec::Vec;
use siphasher::sip::SipHasher13;

/// What a short string takes beside its key: of such a key the bytes to be hashed fit at once.
const HASHED_BYTES: usize = 160;

/// A map: each field is an object of its own, so a field's policy is the type of what is written to it: a string with
/// counter, last-write-wins, a set of any kind, a map again.
pub type Map = Keyed<Object>;

/// Does the same with a part of any type.
macro_rules! on_part {
    ($part:expr, $inner:ident => $body:expr) => {
        match $part {
            Part::Text($inner) => $body,
            Part::Last($inner) => $body,
            Part::Flag($inner) => $body,
            Part::Set($inner) => $body,
            Part::RemoveWinsSet($inner) => $body,
            Part::TwoPhaseSet($inner) => $body,
            Part::Map($inner) => $body,
            Part::ZSet($inner) => $body,
            Part::List($inner) => $body,
            Part::Maximum($inner) => $body,
            Part::Decisions($inner) => $body,
            Part::Acceptor($inner) => $body,
        }
    };
}

macro_rules! parts {
    ($($(#[$doc:meta])* $tag:literal $name:ident $find:ident $redis:literal,)*) => {
        /// The types that a key can have.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $tag,)*
        }

        impl Kind {
            /// The one with this number, as in encoded forms.
            pub fn of(tag: u8) -> Option<Kind> {
                match tag {
                    $($tag => Some(Kind::$name),)*
                    _ => None,
                }
            }
            /// The word that `TYPE` answers.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$name => $redis,)*
                }
            }
        }

        /// A value of one type.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Part {
            $($(#[$doc])* $name($name),)*
        }

        impl Part {
            pub fn kind(&self) -> Kind {
                match self {
                    $(Part::$name(_) => Kind::$name,)*
                }
            }
            fn bottom(kind: Kind) -> Part {
                match kind {
                    $(Kind::$name => Part::$name($name::default()),)*
                }
            }
            fn decode(decoder: &mut Decoder<'_>) -> Result<Part, DecodeError> {
                Ok(match decoder.byte()? {
                    $($tag => Part::$name($name::decode(decoder)?),)*
                    _ => return Err(DecodeError::Invalid("type of value")),
                })
            }
            /// # Panics
            /// When the types differ.
            fn join(&mut self, own: &Context, other: &Part, theirs: &Context, losers: &mut Losers) {
                match (self, other) {
                    $((Part::$name(a), Part::$name(b)) => a.join(own, b, theirs, losers),)*
                    _ => unreachable!("parts are joined with parts of their own type"),
                }
            }
        }

        $(/// What a delta of this part alone does to a key.
        impl From<$name> for Object {
            fn from(part: $name) -> Object {
                let parts = alloc::vec![Part::$name(part)];
                Object { parts, deadlines: Deadlines::default(), is_whole: false }
            }
        })*

        impl Object {
            $(
                /// The part of this type, whether it is the one that is shown or not.
                pub fn $find(&self) -> Option<&$name> {
                    match self.find(Kind::$name) {
                        Some(Part::$name(part)) => Some(part),
                        _ => None,
                    }
                }
            )*
        }
    };
}

parts! {
    /// A register with siblings plus a counter.
    1 Text as_text "string",
    /// A last-write-wins register.
    2 Last as_last "string",
    3 Flag as_flag "string",
    /// Observed-remove.
    4 Set as_set "set",
    5 RemoveWinsSet as_remove_wins_set "set",
    6 TwoPhaseSet as_two_phase_set "set",
    7 Map as_map "hash",
    8 ZSet as_zset "zset",
    9 List as_list "list",
    10 Maximum as_maximum "string",
    /// What became of the key's conflicts: never shown.
    11 Decisions as_decisions "none",
    /// A linearizable key: what its copies agreed on, in the form of snapshots.
    12 Acceptor as_acceptor "none",
}

impl Part {
    pub fn is_alive(&self) -> bool {
        on_part!(self, part => part.is_alive())
    }
    /// The highest mark of what a reader sees.
    pub fn newest(&self) -> Option<Mark> {
        on_part!(self, part => part.newest())
    }
    fn is_bottom(&self) -> bool {
        on_part!(self, part => part.is_bottom())
    }
    pub(super) fn clear(&self, write: &mut Write<'_>) -> Causal<Object> {
        on_part!(self, part => part.clear(write).map(Object::from))
    }
    fn residue(&self, dots: &mut Context) {
        on_part!(self, part => part.residue(dots));
    }
    fn collect(&mut self, dots: &Context) {
        on_part!(self, part => part.collect(dots));
    }
}

/// Everything that one key holds.
///
/// Invariant: ascending by type, one part of each at most; in a whole one none of them is bottom. A delta of one part
/// is not whole: it says nothing of the others, so that EXPIRE of a large collection does not walk it.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    parts: Vec<Part>,
    deadlines: Deadlines,
    is_whole: bool,
}

impl Default for Object {
    fn default() -> Object {
        Object { parts: Vec::new(), deadlines: Deadlines::default(), is_whole: true }
    }
}

impl Object {
    /// What a reader is shown: of the parts that are alive the one with the highest mark. Says nothing of expiry.
    pub fn shown(&self) -> Option<&Part> {
        // What was agreed on is what the key is, whatever was written past it.
        if self.is_linearizable() {
            return self.find(Kind::Acceptor).filter(|part| part.is_alive());
        }
        let mut alive = self.parts.iter().filter(|part| part.is_alive());
        let first = alive.next()?;
        // One part is the rule: then nobody asks for marks, which costs a walk over a collection.
        match alive.next() {
            None => Some(first),
            Some(_) => self.parts.iter().filter(|part| part.is_alive()).max_by_key(|part| part.newest()),
        }
    }
    /// Parts that are alive and not shown: conflicts of type, for the inbox.
    // catalogue: J14
    pub fn hidden(&self) -> impl Iterator<Item = &Part> {
        let shown = self.shown().map(Part::kind);
        self.parts.iter().filter(move |part| part.is_alive() && Some(part.kind()) != shown)
    }
    /// The highest mark of what a reader sees, or of the delete that hides it where deletes are writes.
    pub fn newest_write(&self) -> Option<Mark> {
        self.newest().max(self.as_last().and_then(Last::mark))
    }
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }
    /// Whether a reader sees the key at this time, in milliseconds since 1970.
    pub fn is_shown(&self, now_ms: i64) -> bool {
        self.is_alive() && self.expires_at_ms().is_none_or(|at_ms| at_ms > now_ms)
    }
    /// When what a reader sees expires, in milliseconds since 1970; `None` for never.
    pub fn expires_at_ms(&self) -> Option<i64> {
        match self.as_acceptor().filter(|acceptor| acceptor.accepted.is_written()) {
            Some(acceptor) => acceptor.accepted.expires_at_ms,
            None => self.deadlines.at_ms(),
        }
    }
    /// What a reader is shown at this time, in milliseconds since 1970.
    pub fn shown_at(&self, now_ms: i64) -> Option<&Part> {
        self.shown().filter(|_| self.is_shown(now_ms))
    }
    pub(super) fn list_at(&self, now_ms: i64) -> Option<&List> {
        match self.shown_at(now_ms) {
            Some(Part::List(list)) => Some(list),
            _ => None,
        }
    }
    /// The key's summand in the hash of a range: of its name, its dots, its values and its residue, so that a
    /// tombstone counts too (LL-19), and equal for equal states under one seed. Zero for a key that holds nothing.
    pub fn state_hash(&self, seed: Seed, key: &[u8]) -> u64 {
        if self.is_bottom() {
            return 0;
        }
        let mut bytes = Vec::with_capacity(key.len() + HASHED_BYTES);
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(key);
        encode_store(self, &mut writer);
        SipHasher13::new_with_keys(seed.0, seed.1).hash(&bytes)
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
    /// The same key with other parts, of the same types.
    pub(super) fn with_parts(&self, parts: Vec<Part>) -> Object {
        Object { parts, deadlines: self.deadlines.clone(), is_whole: self.is_whole }
    }
    /// Whether clients agree on its value with each other: then it is written and read in no other way.
    pub fn is_linearizable(&self) -> bool {
        self.as_acceptor().is_some_and(|acceptor| acceptor.accepted.is_written())
    }
    /// Whether it has a value that was written without agreement.
    pub fn is_plain(&self) -> bool {
        self.parts.iter().any(|part| part.kind() != Kind::Acceptor && part.is_alive())
    }
    /// Whether removals have left something in it.
    pub fn has_residue(&self) -> bool {
        let mut dots = Context::new();
        self.residue(&mut dots);
        !dots.is_empty() || self.as_last().is_some_and(|last| !last.is_alive())
    }
    /// Whether part of it is a list.
    pub fn has_list(&self) -> bool {
        self.as_list().is_some()
    }
    /// Makes a delta of this object one that means something to a copy that lacks the `recent` dots of it that are not `spread`.
    pub fn bring_parents(&self, delta: &mut Causal<Object>, recent: &Context, spread: &Context) {
        let list = delta.store.parts.iter_mut().find_map(|part| match part {
            Part::List(list) => Some(list),
            _ => None,
        });
        if let (Some(list), Some(held)) = (list, self.as_list()) {
            let brought = held.bring_parents(list, recent, spread);
            delta.context.merge(&brought);
        }
    }
    fn find(&self, kind: Kind) -> Option<&Part> {
        self.parts.iter().find(|part| part.kind() == kind)
    }
    /// A delta that removes the values seen here and leaves the expiry.
    pub(super) fn clear_parts(&self, write: &mut Write<'_>) -> Causal<Object> {
        let mut cleared = Causal::<Object>::new();
        for part in &self.parts {
            cleared.merge(&part.clear(write));
        }
        cleared
    }
    pub(super) fn of_deadlines(deadlines: Deadlines) -> Object {
        Object { parts: Vec::new(), deadlines, is_whole: false }
    }
}

impl Store for Object {
    const MAY_LOSE: bool = true;
    const MAY_REMAIN: bool = true;

    fn join(&mut self, own: &Context, other: &Self, theirs: &Context, losers: &mut Losers) {
        for part in &mut self.parts {
            match other.find(part.kind()) {
                Some(incoming) => part.join(own, incoming, theirs, losers),
                None if other.is_whole => part.join(own, &Part::bottom(part.kind()), theirs, losers),
                None => {}
            }
        }
        for incoming in &other.parts {
            if let Err(at) = self.parts.binary_search_by_key(&incoming.kind(), Part::kind) {
                let mut part = Part::bottom(incoming.kind());
                part.join(own, incoming, theirs, losers);
                // Most keys have one part for ever.
                self.parts.reserve_exact(1);
                self.parts.insert(at, part);
            }
        }
        self.is_whole |= other.is_whole;
        if self.is_whole {
            self.parts.retain(|part| !part.is_bottom());
        }
        self.deadlines.join(own, &other.deadlines, theirs, losers);
    }
    fn is_bottom(&self) -> bool {
        self.parts.is_empty() && self.deadlines.is_bottom()
    }
    /// An expiry without a value is nothing to see.
    fn is_alive(&self) -> bool {
        match self.is_linearizable() {
            true => self.as_acceptor().is_some_and(Store::is_alive),
            false => self.parts.iter().any(Part::is_alive),
        }
    }
    fn newest(&self) -> Option<Mark> {
        self.parts.iter().filter_map(Part::newest).max()
    }
    fn clear(&self, write: &mut Write<'_>) -> Causal<Self> {
        let mut cleared = self.clear_parts(write);
        cleared.context.merge(&self.deadlines.seen());
        cleared
    }
    fn residue(&self, dots: &mut Context) {
        self.parts.iter().for_each(|part| part.residue(dots));
        if !self.is_alive() {
            dots.merge(&self.deadlines.seen());
        }
    }
    /// An expiry goes with the last value.
    fn collect(&mut self, dots: &Context) {
        self.parts.iter_mut().for_each(|part| part.collect(dots));
        if self.is_whole {
            self.parts.retain(|part| !part.is_bottom());
        }
        if !self.is_alive() && dots.covers(&self.deadlines.seen()) {
            self.deadlines = Deadlines::default();
        }
    }
    fn note(&self, legend: &mut Legend) {
        for part in &self.parts {
            on_part!(part, part => part.note(legend));
        }
        self.deadlines.note(legend);
    }
    fn encode(&self, encoder: &mut Encoder<'_, '_>) {
        encoder.byte(u8::from(self.is_whole));
        encoder.number(self.parts.len() as u64);
        for part in &self.parts {
            encoder.byte(part.kind() as u8);
            on_part!(part, part => part.encode(encoder));
        }
        self.deadlines.encode(encoder);
    }
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decoder.nested(|decoder| {
            let is_whole = decoder.flag()?;
            let mut parts: Vec<Part> = Vec::new();
            for _ in 0..decoder.count()? {
                let part = Part::decode(decoder)?;
                let is_next = parts.last().is_none_or(|last| last.kind() < part.kind());
                if !is_next || (is_whole && part.is_bottom()) {
                    return Err(DecodeError::Invalid("part"));
                }
                parts.push(part);
            }
            Ok(Object { parts, deadlines: Deadlines::decode(decoder)?, is_whole })
        })
    }
}
