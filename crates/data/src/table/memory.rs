//! Memory of entries: pages of equal slots, named by 32-bit handles.
//!
//! A handle is half a pointer and a slot has no header of an allocator, which is most of what a key costs beyond its own
//! bytes. A slot is one header word, that readers may change (it holds the access time), and a payload that only writers
//! change. This file is the only one of the crate with `unsafe` in it.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Words of a page: 32 KiB. A guess: small tables waste at most this per size of entry, and the pages of a million keys
/// still have their descriptions in the second-level cache.
const PAGE_WORDS: usize = 4096;
/// Slots are of every whole number of words up to here, so that little is lost in rounding ...
const EXACT_WORDS_MAX: usize = 64;
/// ... and of multiples of this above.
const COARSE_WORDS: usize = 8;
/// Words of the largest slot, its header included: 2 KiB. Larger values live outside.
pub(super) const SLOT_WORDS_MAX: usize = 256;
/// Bytes of the largest payload.
pub(super) const PAYLOAD_LEN_MAX: usize = (SLOT_WORDS_MAX - 1) * WORD;
const WORD: usize = size_of::<u64>();

/// A slot needs two words at least, so this many bits count those of a page.
const SLOT_BITS: u32 = 11;
/// Memory of empty pages that is kept for the next page, so that one key that comes and goes costs no page.
const SPARE_PAGES_MAX: usize = 4;
const END: u16 = u16::MAX;

/// Names a slot. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Handle(pub(super) u32);

impl Handle {
    fn new(page: usize, slot: usize) -> Handle {
        Handle(((page as u32 + 1) << SLOT_BITS) | slot as u32)
    }
    fn page(self) -> usize {
        (self.0 >> SLOT_BITS) as usize - 1
    }
    fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }
}

type Words = Box<[AtomicU64; PAGE_WORDS]>;

#[derive(Debug)]
struct Page {
    /// `None` while the page's number waits in `Memory::vacant`.
    words: Option<Words>,
    /// Words of each slot.
    slot_words: u16,
    used: u16,
    /// First slot of those that were freed; each one's header names the next.
    free: u16,
    /// Slots from here on were never used.
    fresh: u16,
    /// Place in the list of pages with room, while the page has any.
    place: u32,
}

impl Page {
    fn slots(&self) -> u16 {
        (PAGE_WORDS / usize::from(self.slot_words)) as u16
    }
    fn is_full(&self) -> bool {
        self.used == self.slots()
    }
}

#[derive(Default, Debug)]
pub(super) struct Memory {
    pages: Vec<Page>,
    /// Pages with room, by words of their slots.
    roomy: Vec<Vec<u32>>,
    vacant: Vec<u32>,
    spare: Vec<Words>,
}

/// Words of the slot that an entry with this payload takes; `None` beyond the largest.
pub(super) fn slot_words(payload_len: usize) -> Option<usize> {
    let words = 1 + payload_len.div_ceil(WORD);
    match words {
        0..=1 => Some(2),
        2..=EXACT_WORDS_MAX => Some(words),
        _ => Some(words.next_multiple_of(COARSE_WORDS)).filter(|words| *words <= SLOT_WORDS_MAX),
    }
}

impl Memory {
    pub(super) fn bytes(&self) -> usize {
        let pages = self.pages.len() - self.vacant.len() + self.spare.len();
        pages * PAGE_WORDS * WORD + self.pages.capacity() * size_of::<Page>()
    }
    /// Bytes that the slot takes.
    pub(super) fn slot_bytes(&self, handle: Handle) -> usize {
        usize::from(self.pages[handle.page()].slot_words) * WORD
    }

    /// A slot of this many words ([`slot_words`]); its content is arbitrary.
    pub(super) fn allocate(&mut self, slot_words: usize) -> Handle {
        if self.roomy.len() <= slot_words {
            self.roomy.resize_with(slot_words + 1, Vec::new);
        }
        let number = match self.roomy[slot_words].last() {
            Some(number) => *number as usize,
            None => self.add_page(slot_words),
        };
        let page = &mut self.pages[number];
        let slot = if page.free == END {
            page.fresh += 1;
            page.fresh - 1
        } else {
            let slot = page.free;
            let words = page.words.as_ref().expect("a page with slots has memory");
            page.free = words[usize::from(slot) * slot_words].load(Ordering::Relaxed) as u16;
            slot
        };
        page.used += 1;
        if page.is_full() {
            self.roomy[slot_words].pop();
        }
        Handle::new(number, usize::from(slot))
    }

    fn add_page(&mut self, slot_words: usize) -> usize {
        let words = self.spare.pop().unwrap_or_else(|| {
            let words: Box<[AtomicU64]> = (0..PAGE_WORDS).map(|_| AtomicU64::new(0)).collect();
            words.try_into().expect("a page has its length")
        });
        let page = Page {
            words: Some(words),
            slot_words: slot_words as u16,
            used: 0,
            free: END,
            fresh: 0,
            place: self.roomy[slot_words].len() as u32,
        };
        let number = match self.vacant.pop() {
            Some(number) => {
                self.pages[number as usize] = page;
                number as usize
            }
            None => {
                // 2^21 pages are 64 GiB of small entries in one shard.
                assert!(self.pages.len() < (1 << (32 - SLOT_BITS)) - 1, "a shard's memory has an end");
                self.pages.push(page);
                self.pages.len() - 1
            }
        };
        self.roomy[slot_words].push(number as u32);
        number
    }

    pub(super) fn free(&mut self, handle: Handle) {
        let number = handle.page();
        let page = &mut self.pages[number];
        let slot_words = usize::from(page.slot_words);
        let was_full = page.is_full();
        if let Some(words) = &page.words {
            words[handle.slot() * slot_words].store(u64::from(page.free), Ordering::Relaxed);
        }
        page.free = handle.slot() as u16;
        page.used -= 1;
        let is_empty = page.used == 0;
        let roomy = &mut self.roomy[slot_words];
        if was_full {
            page.place = roomy.len() as u32;
            roomy.push(number as u32);
        }
        if is_empty {
            let place = page.place as usize;
            roomy.swap_remove(place);
            if let Some(moved) = roomy.get(place) {
                self.pages[*moved as usize].place = place as u32;
            }
            let words = self.pages[number].words.take();
            self.vacant.push(number as u32);
            if self.spare.len() < SPARE_PAGES_MAX {
                self.spare.extend(words);
            }
        }
    }

    /// The header word and the payload words of a slot.
    fn slot(&self, handle: Handle) -> (&AtomicU64, &[AtomicU64]) {
        let page = &self.pages[handle.page()];
        let words = page.words.as_ref().expect("a handle names a slot of a page");
        let slot_words = usize::from(page.slot_words);
        let start = handle.slot() * slot_words;
        (&words[start], &words[start + 1..start + slot_words])
    }
    pub(super) fn header(&self, handle: Handle) -> u64 {
        self.slot(handle).0.load(Ordering::Relaxed)
    }
    /// Replaces the header. Readers may: payloads never overlap it.
    pub(super) fn set_header(&self, handle: Handle, header: u64) {
        self.slot(handle).0.store(header, Ordering::Relaxed);
    }
    /// Header and payload.
    pub(super) fn read(&self, handle: Handle) -> (u64, &[u8]) {
        let (header, words) = self.slot(handle);
        // SAFETY: the bytes are those of `words`, initialised and alive as long as `self` is borrowed. Nothing changes
        // them meanwhile: shared borrows store into first words of slots only (`set_header`), pages cut all their slots
        // alike while any is used, and `words` begins behind the first word and ends with its slot.
        let payload = unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) };
        (header.load(Ordering::Relaxed), payload)
    }
    pub(super) fn payload_mut(&mut self, handle: Handle) -> &mut [u8] {
        let page = &mut self.pages[handle.page()];
        let words = page.words.as_mut().expect("a handle names a slot of a page");
        let slot_words = usize::from(page.slot_words);
        let start = handle.slot() * slot_words;
        let words = &mut words[start + 1..start + slot_words];
        // SAFETY: the bytes are those of `words`, borrowed mutably from `self`; any bytes make a valid word.
        unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
    }
    /// Asks the processor for the first two cache lines of a slot.
    pub(super) fn prefetch(&self, handle: Handle) {
        let page = &self.pages[handle.page()];
        if let Some(words) = &page.words {
            let start = handle.slot() * usize::from(page.slot_words);
            prefetch(&words[start]);
            if let Some(second) = words.get(start + 64 / WORD) {
                prefetch(second);
            }
        }
    }
}

/// Asks the processor to load the cache line at this place. Does nothing where no instruction for it is known.
pub(super) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect that a program can see, whatever the address; SSE is part of x86-64.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(
            core::ptr::from_ref(place).cast(),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above; the instruction reads no register but the address and writes none.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) core::ptr::from_ref(place), options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = place;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_hold_their_payload_and_waste_little() {
        for len in 0..=PAYLOAD_LEN_MAX {
            let words = slot_words(len).expect("fits the largest slot");
            assert!((words - 1) * WORD >= len && words <= SLOT_WORDS_MAX);
            assert!(words <= 2 || (words - 1) * WORD < len + COARSE_WORDS * WORD);
        }
        assert_eq!(slot_words(80), Some(11));
        assert_eq!(slot_words(PAYLOAD_LEN_MAX + 1), None);
    }

    #[test]
    fn slots_never_overlap_and_pages_return() {
        let mut memory = Memory::default();
        let mut held = Vec::new();
        let mut draw = 1u64;
        for round in 0..30_000u64 {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let grows = round < 15_000;
            if held.is_empty() || (draw >> 60 < 6) != grows {
                let words = slot_words((draw >> 40) as usize % 300).expect("small");
                let handle = memory.allocate(words);
                memory.payload_mut(handle).fill(round as u8);
                memory.set_header(handle, round);
                held.push((handle, round));
            } else {
                let (handle, round) = held.swap_remove((draw >> 33) as usize % held.len());
                assert_eq!(memory.header(handle), round);
                assert!(memory.read(handle).1.iter().all(|byte| *byte == round as u8));
                memory.free(handle);
            }
        }
        for (handle, round) in held {
            assert_eq!(memory.header(handle), round);
            memory.free(handle);
        }
        assert!(
            memory.bytes()
                <= SPARE_PAGES_MAX * PAGE_WORDS * WORD + memory.pages.capacity() * size_of::<Page>()
        );
        assert!(memory.roomy.iter().all(Vec::is_empty));
    }
}
