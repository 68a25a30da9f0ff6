//! The contents of one file, with and without what a power cut would take.

use crate::disk::SECTOR;
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Inode {
    pub live: Vec<u8>,
    pub durable: Vec<u8>,
    pub dirty: BTreeSet<usize>,
    /// Shared with every handle.
    pub open: Arc<()>,
}

impl Inode {
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = offset as usize;
        let end = start + bytes.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        self.live[start..end].copy_from_slice(bytes);
        self.dirty.extend(start / SECTOR..=(end - 1) / SECTOR);
    }
    /// Copies one sector of the live image to the durable one.
    pub fn keep(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.live.len());
        if start >= end {
            return;
        }
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.live[start..end]);
    }
    pub fn flush(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
        self.durable.resize(self.live.len(), 0);
    }
}
