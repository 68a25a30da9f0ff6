//! The replies of one connection, in the order of its commands: what may be written, and what is held back.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use smallvec::SmallVec;

/// Number of a held reply within its connection.
pub type SlotId = u64;

#[derive(Debug)]
struct Slot {
    done: bool,
    muted: bool,
    bytes: SmallVec<[u8; 32]>,
}

/// Invariant: the first slot, if there is one, is not done; `out` holds what stands before it.
#[derive(Debug)]
pub struct Replies {
    out: Vec<u8>,
    slots: VecDeque<Slot>,
    first: SlotId,
    /// Where the reply that is being written begins, in `out` or in `scratch`.
    start: usize,
    scratch: Vec<u8>,
}

impl Default for Replies {
    fn default() -> Replies {
        // Numbers begin high: `recall` puts replies in front of the first.
        Replies { out: Vec::new(), slots: VecDeque::new(), first: 1 << 48, start: 0, scratch: Vec::new() }
    }
}

impl Replies {
    /// The buffer for the next reply: straight into the output where nothing is held.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        if self.slots.is_empty() {
            self.start = self.out.len();
            &mut self.out
        } else {
            self.start = 0;
            self.scratch.clear();
            &mut self.scratch
        }
    }
    /// The reply begun last, as written so far.
    pub fn current(&mut self) -> &mut Vec<u8> {
        if self.slots.is_empty() { &mut self.out } else { &mut self.scratch }
    }
    /// Takes back what was written of the reply begun last.
    pub fn rollback(&mut self) {
        let start = self.start;
        self.current().truncate(start);
    }
    /// The reply begun last is final.
    pub fn finish(&mut self) {
        let start = self.start;
        assert_whole(&self.current()[start..]);
        self.finish_head();
    }
    /// What was begun last is the head of an aggregate only: its items are the replies that come next.
    pub fn finish_head(&mut self) {
        if !self.slots.is_empty() {
            let bytes = SmallVec::from_slice(&self.scratch);
            self.slots.push_back(Slot { done: true, muted: false, bytes });
        }
    }
    /// The reply begun last is held until [`Replies::release`] or [`Replies::fill`].
    pub fn hold(&mut self) -> SlotId {
        let start = self.start;
        let buffer = self.current();
        let bytes = SmallVec::from_slice(&buffer[start..]);
        buffer.truncate(start);
        let id = self.first + self.slots.len() as u64;
        self.slots.push_back(Slot { done: false, muted: false, bytes });
        id
    }
    /// A held reply may be sent as it is. True when something became ready to be written.
    pub fn release(&mut self, id: SlotId) -> bool {
        self.settle(id, None)
    }
    /// A held reply gets these bytes in place of what it held.
    pub fn fill(&mut self, id: SlotId, bytes: &[u8]) -> bool {
        assert_whole(bytes);
        self.settle(id, Some(bytes))
    }
    /// The reply of the last command, if it is held.
    pub fn last_held(&self) -> Option<SlotId> {
        self.slots.back().filter(|slot| !slot.done).map(|_| self.first + self.slots.len() as u64 - 1)
    }
    /// Whether a held reply is held still.
    pub fn is_held(&self, id: SlotId) -> bool {
        let slot = id.checked_sub(self.first).and_then(|at| self.slots.get(at as usize));
        slot.is_some_and(|slot| !slot.done)
    }
    /// A held reply stays held, with these bytes.
    pub fn refill(&mut self, id: SlotId, bytes: &[u8]) {
        let at = id.checked_sub(self.first).map(|at| at as usize);
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            slot.bytes = SmallVec::from_slice(bytes);
        }
    }
    fn settle(&mut self, id: SlotId, bytes: Option<&[u8]>) -> bool {
        let Some(at) = id.checked_sub(self.first) else { return false };
        let Some(slot) = self.slots.get_mut(at as usize) else { return false };
        slot.done = true;
        if let Some(bytes) = bytes {
            slot.bytes = SmallVec::from_slice(bytes);
        }
        if at > 0 {
            return false;
        }
        while let Some(slot) = self.slots.front().filter(|slot| slot.done) {
            if !slot.muted {
                self.out.extend_from_slice(&slot.bytes);
            }
            self.slots.pop_front();
            self.first += 1;
        }
        true
    }
    /// The reply begun last is not sent (CLIENT REPLY OFF).
    pub fn mute(&mut self) {
        match self.slots.back_mut() {
            Some(slot) if slot.done => slot.bytes.clear(),
            // It comes later: when it does, it is nothing.
            Some(slot) => slot.muted = true,
            None => self.out.truncate(self.start),
        }
    }
    /// An out-of-band message goes behind what is already final.
    pub fn push(&mut self, bytes: &[u8]) {
        match self.slots.back_mut() {
            None => self.out.extend_from_slice(bytes),
            Some(_) => {
                self.slots.push_back(Slot { done: true, muted: false, bytes: SmallVec::from_slice(bytes) })
            }
        }
    }
    /// Everything that may be written is held instead, as one reply: it was said under a lease that has ended.
    pub fn recall(&mut self) -> Option<SlotId> {
        if self.out.is_empty() {
            return None;
        }
        let bytes = SmallVec::from_slice(&self.out);
        self.out.clear();
        self.start = 0;
        self.first -= 1;
        self.slots.push_front(Slot { done: false, muted: false, bytes });
        Some(self.first)
    }
    /// Whether no reply before this one is held.
    pub fn is_first(&self, id: SlotId) -> bool {
        id == self.first
    }
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }
    pub fn held(&self) -> usize {
        self.slots.len()
    }
    /// Moves what may be written behind `into`.
    pub fn take(&mut self, into: &mut Vec<u8>) {
        if into.is_empty() {
            core::mem::swap(&mut self.out, into);
        } else {
            into.append(&mut self.out);
        }
        self.start = 0;
    }
}

/// In builds for tests, that a client can tell where a reply ends.
fn assert_whole(bytes: &[u8]) {
    debug_assert!(wire::reply::is_whole(bytes), "a torn reply: {}", bytes.escape_ascii());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(replies: &mut Replies, text: &[u8]) {
        replies.begin().extend_from_slice(text);
        replies.finish();
    }
    fn taken(replies: &mut Replies) -> Vec<u8> {
        let mut bytes = Vec::new();
        replies.take(&mut bytes);
        bytes
    }

    #[test]
    fn replies_leave_in_the_order_of_their_commands() {
        let mut replies = Replies::default();
        say(&mut replies, b"+a\r\n");
        replies.begin().extend_from_slice(b"+b\r\n");
        let b = replies.hold();
        say(&mut replies, b"+c\r\n");
        replies.begin();
        let d = replies.hold();
        say(&mut replies, b"+e\r\n");
        assert_eq!(taken(&mut replies), b"+a\r\n");
        assert!(!replies.fill(d, b"+D\r\n"));
        assert!(replies.release(b));
        assert_eq!(taken(&mut replies), b"+b\r\n+c\r\n+D\r\n+e\r\n");
        say(&mut replies, b"+f\r\n");
        assert_eq!(taken(&mut replies), b"+f\r\n");
    }

    #[test]
    fn what_was_said_under_an_ended_lease_is_held_in_front() {
        let mut replies = Replies::default();
        say(&mut replies, b"+first\r\n");
        taken(&mut replies);
        say(&mut replies, b"+a\r\n");
        replies.begin().extend_from_slice(b"+b\r\n");
        let b = replies.hold();
        let recalled = replies.recall().expect("something was said");
        assert!(!replies.release(b));
        assert_eq!(taken(&mut replies), b"");
        assert!(replies.release(recalled));
        assert_eq!(taken(&mut replies), b"+a\r\n+b\r\n");
    }

    #[test]
    fn a_reply_taken_back_leaves_nothing() {
        let mut replies = Replies::default();
        say(&mut replies, b"+a\r\n");
        replies.begin().extend_from_slice(b"wrong");
        replies.rollback();
        replies.current().extend_from_slice(b"-ERR\r\n");
        replies.finish();
        assert_eq!(taken(&mut replies), b"+a\r\n-ERR\r\n");
    }
}
