//! The trace: a hash over everything that was delivered, and on request a text that a person can read.

use std::fmt::Write as _;

#[derive(Default)]
pub struct Trace {
    hash: u64,
    text: Option<String>,
}

impl Trace {
    pub fn new(readable: bool) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, text: readable.then(String::new) }
    }
    pub fn hash(&self) -> u64 {
        self.hash
    }
    /// Folds an event in: when, what, where, and a digest of its content.
    pub fn fold(&mut self, now: u64, kind: u64, place: u64, content: u64) {
        for word in [now, kind << 32 | place, content] {
            self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }
    pub fn is_readable(&self) -> bool {
        self.text.is_some()
    }
    /// A line of the readable trace; `line` is only made when somebody reads it.
    pub fn note(&mut self, now: u64, line: impl FnOnce() -> String) {
        if let Some(text) = &mut self.text {
            let (ms, us) = (now / 1_000_000, now / 1_000 % 1_000);
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{ms:>8}.{us:03} {}", line());
        }
    }
    pub fn take_text(&mut self) -> Option<String> {
        self.text.take()
    }
}
