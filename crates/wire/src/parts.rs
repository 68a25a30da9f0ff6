//! Messages in parts. A large body (a snapshot, a long entry) is cut, so that heartbeats and small messages can be sent
//! between two parts and never wait behind megabytes; the receiver puts the parts together within a bound of bytes.

use crate::peer::{Part, PeerHeader};
use data::GroupId;

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

/// Cuts `body` into parts of at most `part_len_max` bytes, at least one. `None` where that would take more parts than can
/// be numbered, or `part_len_max` is 0 and the body is not empty.
pub fn split(body: &[u8], part_len_max: usize) -> Option<impl Iterator<Item = (Part, &[u8])>> {
    if body.len() > part_len_max.saturating_mul(usize::from(u16::MAX) + 1) {
        return None;
    }
    let last = body.len().saturating_sub(1) / part_len_max.max(1);
    Some((0..=last).map(move |number| {
        let start = number * part_len_max;
        let end = body.len().min(start.saturating_add(part_len_max));
        let part = Part { number: number as u16, is_last: number == last, is_abandoned: false };
        (part, &body[start..end])
    }))
}

/// Why a part was of no use. Its message is dropped whole; the connection may go on, the sender's own time-out or window
/// brings the message again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartError {
    /// A later part without the ones before it: `expected` is the number that would have fitted (0 for the first).
    Sequence { expected: u16, found: u16 },
    /// All unfinished messages together would take more than the bound.
    Full { bytes_max: usize },
}

impl fmt::Display for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartError::Sequence { expected, found } => {
                write!(f, "part {found} came instead of part {expected}")
            }
            PartError::Full { bytes_max } => write!(f, "unfinished messages exceed {bytes_max} bytes"),
        }
    }
}
impl core::error::Error for PartError {}

/// What an unfinished message costs beside its bytes, so that many empty ones are bounded too.
const MESSAGE_COST: usize = 128;

type Key = (GroupId, u8, u64);

/// The unfinished messages of one connection, hence of one sender, told apart by group, kind and id.
///
/// Invariant: `bytes` is the sum of the costs of `unfinished` and never above `bytes_max`; checked in [`Self::accept`].
#[derive(Debug)]
pub struct Assembler {
    bytes_max: usize,
    bytes: usize,
    unfinished: BTreeMap<Key, Unfinished>,
}

#[derive(Debug)]
struct Unfinished {
    body: Vec<u8>,
    next: u16,
}

impl Assembler {
    pub fn new(bytes_max: usize) -> Assembler {
        Assembler { bytes_max, bytes: 0, unfinished: BTreeMap::new() }
    }
    /// Bytes held for unfinished messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes one frame. Gives the message's body when it is whole: at once, and borrowed, for a message in one part.
    pub fn accept<'a>(
        &mut self,
        header: &PeerHeader,
        body: &'a [u8],
    ) -> Result<Option<Cow<'a, [u8]>>, PartError> {
        let key = (header.group, header.kind, header.id);
        let part = header.part;
        if part.is_abandoned {
            self.take(key);
            return Ok(None);
        }
        // A first part begins the message anew: the sender gave up its earlier attempt.
        let held = self.take(key).filter(|_| part.number > 0);
        if part.is_whole() {
            return Ok(Some(Cow::Borrowed(body)));
        }
        let mut held = held.unwrap_or(Unfinished { body: Vec::new(), next: 0 });
        if held.next != part.number {
            return Err(PartError::Sequence { expected: held.next, found: part.number });
        }
        let cost = held.body.len() + body.len() + MESSAGE_COST;
        if self.bytes + cost > self.bytes_max {
            return Err(PartError::Full { bytes_max: self.bytes_max });
        }
        held.body.extend_from_slice(body);
        if part.is_last {
            return Ok(Some(Cow::Owned(held.body)));
        }
        let Some(next) = part.number.checked_add(1) else {
            return Err(PartError::Sequence { expected: part.number, found: part.number });
        };
        held.next = next;
        self.bytes += cost;
        self.unfinished.insert(key, held);
        Ok(None)
    }

    fn take(&mut self, key: Key) -> Option<Unfinished> {
        let held = self.unfinished.remove(&key)?;
        self.bytes -= held.body.len() + MESSAGE_COST;
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::HANDSHAKE_VERSION;
    use alloc::vec;
    use data::{Epoch, Incarnation, KeyspaceId, NodeId, Process, ViewNumber};

    fn header(id: u64, part: Part) -> PeerHeader {
        PeerHeader {
            version: HANDSHAKE_VERSION,
            kind: 7,
            part,
            hops: 0,
            sender: NodeId(1),
            incarnation: Incarnation(1),
            process: Process(1),
            keyspace: KeyspaceId(0),
            group: GroupId(3),
            epoch: Epoch(1),
            view: ViewNumber(1),
            id,
            time_left_ms: 0,
        }
    }
    fn part(number: u16, is_last: bool) -> Part {
        Part { number, is_last, is_abandoned: false }
    }

    #[test]
    fn bodies_of_every_length_come_back_together() {
        for len in 0..20 {
            let body: Vec<u8> = (0..len).collect();
            let mut assembler = Assembler::new(1024);
            let mut whole = None;
            for (part, bytes) in split(&body, 4).unwrap() {
                assert!(whole.is_none(), "nothing follows the last part");
                assert!(bytes.len() <= 4);
                whole = assembler.accept(&header(1, part), bytes).unwrap().map(Cow::into_owned);
            }
            assert_eq!(whole.unwrap(), body);
            assert_eq!(assembler.bytes(), 0);
        }
    }

    #[test]
    fn what_cannot_be_numbered_is_not_split() {
        assert!(split(&[0; 65_537], 1).is_none());
        assert_eq!(split(&[0; 65_536], 1).unwrap().count(), 65_536);
        assert!(split(b"x", 0).is_none());
        assert_eq!(split(b"", 0).unwrap().collect::<Vec<_>>(), vec![(Part::WHOLE, &b""[..])]);
    }

    #[test]
    fn interleaved_messages_do_not_mix() {
        let mut a = Assembler::new(1024);
        assert_eq!(a.accept(&header(1, part(0, false)), b"one "), Ok(None));
        assert_eq!(a.accept(&header(2, part(0, false)), b"two "), Ok(None));
        assert_eq!(a.accept(&header(3, Part::WHOLE), b"beat"), Ok(Some(Cow::Borrowed(&b"beat"[..]))));
        assert_eq!(a.accept(&header(1, part(1, true)), b"!").unwrap().as_deref(), Some(&b"one !"[..]));
        assert_eq!(a.accept(&header(2, part(1, true)), b"?").unwrap().as_deref(), Some(&b"two ?"[..]));
    }

    #[test]
    fn a_hole_drops_the_message_whole() {
        let mut a = Assembler::new(1024);
        a.accept(&header(1, part(0, false)), b"a").unwrap();
        let hole = Err(PartError::Sequence { expected: 1, found: 2 });
        assert_eq!(a.accept(&header(1, part(2, true)), b"c"), hole);
        assert_eq!(a.bytes(), 0);
        let orphan = Err(PartError::Sequence { expected: 0, found: 1 });
        assert_eq!(a.accept(&header(1, part(1, true)), b"b"), orphan);
    }

    #[test]
    fn a_new_first_part_or_an_abandoned_one_frees_what_was_held() {
        let mut a = Assembler::new(1024);
        a.accept(&header(1, part(0, false)), b"stale").unwrap();
        a.accept(&header(1, part(0, false)), b"new").unwrap();
        assert_eq!(a.bytes(), 3 + MESSAGE_COST);
        let abandoned = Part { number: 1, is_last: true, is_abandoned: true };
        assert_eq!(a.accept(&header(1, abandoned), b""), Ok(None));
        assert_eq!(a.bytes(), 0);
    }

    #[test]
    fn unfinished_messages_are_bounded_even_when_empty() {
        let mut a = Assembler::new(10 * MESSAGE_COST);
        for id in 0..10 {
            a.accept(&header(id, part(0, false)), b"").unwrap();
        }
        let full = Err(PartError::Full { bytes_max: 10 * MESSAGE_COST });
        assert_eq!(a.accept(&header(10, part(0, false)), b""), full);
        assert_eq!(a.accept(&header(0, part(1, true)), b"").unwrap().as_deref(), Some(&b""[..]));
    }
}
