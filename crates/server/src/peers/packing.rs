//! What goes to another site is compressed where that makes it shorter: links between sites are slow, or paid for by the byte.
//!
//! ```text
//! offset  size  field
//!      0     1  kind of the message
//!      1     4  length of its body, little-endian
//!      5     -  the body as one LZ4 block
//! ```
// catalogue: I3

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};
use node::PeerMessage;
use node::message::PACKED_SINCE;

/// A shorter body is hardly made shorter. A guess.
const BODY_LEN_MIN: usize = 256;
/// No LZ4 block says more than this many bytes with each of its own.
const RATIO_MAX: usize = 255;
const FRONT_LEN: usize = 5;

/// Whether a message is worth the try on a connection of this version.
pub fn is_for(message: &PeerMessage, version: u8) -> bool {
    version >= PACKED_SINCE && matches!(message, PeerMessage::Site { .. })
}

/// `None` where the packed body would be no shorter.
pub fn pack(kind: u8, body: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(body.len()).ok().filter(|_| body.len() >= BODY_LEN_MIN)?;
    let mut packed = vec![0; FRONT_LEN + get_maximum_output_size(body.len())];
    let (front, block) = packed.split_at_mut(FRONT_LEN);
    front[0] = kind;
    front[1..].copy_from_slice(&len.to_le_bytes());
    let used = compress_into(body, block).ok()?;
    packed.truncate(FRONT_LEN + used);
    (packed.len() < body.len()).then_some(packed)
}

/// Kind and body of the message; `None` for what [`pack`] does not make, or for a body beyond `len_max`.
pub fn unpack(packed: &[u8], len_max: usize) -> Option<(u8, Vec<u8>)> {
    let (front, block) = packed.split_first_chunk::<FRONT_LEN>()?;
    let [kind, len @ ..] = *front;
    let len = u32::from_le_bytes(len) as usize;
    if len > len_max || len > block.len().saturating_mul(RATIO_MAX) {
        return None;
    }
    let mut body = vec![0; len];
    (decompress_into(block, &mut body).ok() == Some(len)).then_some((kind, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: usize = 1 << 20;

    #[test]
    fn what_is_packed_comes_back() {
        let body: Vec<u8> = (0..5_000).map(|at| (at / 100) as u8).collect();
        let packed = pack(60, &body).expect("it repeats itself");
        assert!(packed.len() < body.len() / 10, "{} bytes", packed.len());
        assert_eq!(unpack(&packed, ANY), Some((60, body)));
    }

    #[test]
    fn what_gets_no_shorter_goes_as_it_is() {
        assert_eq!(pack(60, &[7; BODY_LEN_MIN - 1]), None);
        let mut state = 1u64;
        let noise: Vec<u8> = (0..4_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert_eq!(pack(60, &noise), None);
    }

    /// bugs: X-05
    #[test]
    fn what_a_peer_makes_up_is_refused() {
        let packed = pack(60, &[7; 10_000]).expect("it repeats itself");
        assert_eq!(unpack(&packed, 9_999), None, "longer than the receiver takes");
        for len in 0..packed.len() {
            assert_eq!(unpack(&packed[..len], ANY), None, "cut at {len}");
        }
        for (at, flip) in (0..packed.len()).flat_map(|at| [(at, 1), (at, 0x80), (at, 0xff)]) {
            let mut changed = packed.clone();
            changed[at] ^= flip;
            // Perhaps another body, and no panic; the frame's checksum is what tells.
            let _ = unpack(&changed, ANY);
        }
        let huge = [&[60][..], &u32::MAX.to_le_bytes(), &[0; 64]].concat();
        assert_eq!(unpack(&huge, usize::MAX), None, "no room is made for what cannot be there");
    }
}
