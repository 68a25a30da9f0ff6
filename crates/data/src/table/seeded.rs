//! The hasher of the collections within values.

use core::hash::BuildHasher;
use core::sync::atomic::{AtomicU64, Ordering};
use siphasher::sip::SipHasher13;

static SEED_0: AtomicU64 = AtomicU64::new(0x7465_7263_6574);
static SEED_1: AtomicU64 = AtomicU64::new(0x6861_7368);

/// Sets the process-wide seed that collections hash their members with. Call it once at start, before the first
/// collection exists: a collection keeps the seed it was made with. No order and no state hash depends on it.
pub fn set_collection_seed(a: u64, b: u64) {
    SEED_0.store(a, Ordering::Relaxed);
    SEED_1.store(b, Ordering::Relaxed);
}

/// Hashes members of collections with the seed that was in force when the collection was made.
#[derive(Clone, Copy, Debug)]
pub struct Seeded(u64, u64);

impl Default for Seeded {
    fn default() -> Seeded {
        Seeded(SEED_0.load(Ordering::Relaxed), SEED_1.load(Ordering::Relaxed))
    }
}

impl BuildHasher for Seeded {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}
