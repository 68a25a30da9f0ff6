//! Reads a file from front to back in large pieces and hands out small ones.

use crate::disk::{File, read_up_to};
use crate::error::Result;
use std::sync::Arc;

/// Large enough that a disk's latency does not matter, small enough to be read for one record.
const PIECE: usize = 256 << 10;

pub(crate) struct Window {
    file: Arc<dyn File>,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub fn new(file: Arc<dyn File>) -> Window {
        Window { file, start: 0, bytes: Vec::new() }
    }
    /// The bytes at `offset`: `len` of them, or fewer at the end of the file.
    pub fn at(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let inside = offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            self.bytes = read_up_to(&*self.file, offset, len.max(PIECE))?;
            self.start = offset;
        }
        let from = ((offset - self.start) as usize).min(self.bytes.len());
        let to = (from + len).min(self.bytes.len());
        Ok(&self.bytes[from..to])
    }
}
