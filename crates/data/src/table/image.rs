//! Whole values as the physical log carries them, and digests that stand for what was there before.

use super::{Seed, Table, hash_key, snapshot};
use alloc::vec::Vec;

/// Digests lie in logs, which are read before the seed of their keyspace is known: they are not keyed. Whoever makes two
/// values with one digest on purpose fools a comparison of his own values.
const DIGEST_SEED: Seed = Seed(0x6c6f_6720_666f_726d, 0x6174_2064_6967_6573);

/// A digest of bytes: the same on every copy.
pub fn digest(bytes: &[u8]) -> u64 {
    hash_key(DIGEST_SEED, bytes)
}

impl Table {
    /// Appends the key with its value and expiry as snapshots hold them; whether it is there. Equal values have equal bytes.
    pub fn image(&self, key: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(found) = self.get(key) else { return false };
        snapshot::encode_key(out, key, found);
        true
    }
    /// The digest of that image; 0 for a key that is not there.
    pub fn image_digest(&self, key: &[u8]) -> u64 {
        let mut bytes = Vec::new();
        // An image whose digest is 0 would be taken for an absent key.
        if self.image(key, &mut bytes) { digest(&bytes).max(1) } else { 0 }
    }
}
