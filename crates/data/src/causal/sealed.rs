//! What a reader saw of a string, handed to a client and taken back: a context may only be believed if this keyspace gave
//! it out for this key. A forged one could claim dots that nobody read, and so delete them.
//!
//! Text: `cv1_`, then hexadecimal digits of a keyed hash of eight bytes and of the encoded context. The hash is SipHash-2-4
//! (Aumasson, Bernstein, 2012) under the keyspace's seed, which clients do not know; it covers the key's name too.
// catalogue: K10
// bugs: LL-12

use super::counted::Text;
use super::store::Causal;
use crate::codec::Writer;
use crate::table::Seed;
use alloc::string::String;
use alloc::vec::Vec;
use siphasher::sip::SipHasher24;

const PREFIX: &[u8] = b"cv1_";
/// Bytes of a context in hand: some hundred versions of dozens of actors take a tenth of it. A guess.
const BYTES_MAX: usize = 64 << 10;

/// Why a context was not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotGivenOut {
    /// It is no text that [`seal`] makes.
    Malformed,
    /// It was made for another key or keyspace, or by nobody.
    Foreign,
}

/// The text for a client. Give it out only for what was read under this key.
pub fn seal(seed: Seed, key: &[u8], seen: &Causal<Text>) -> String {
    let mut bytes = Vec::new();
    seen.encode(&mut Writer::new(&mut bytes));
    let mut text = String::from("cv1_");
    for byte in proof(seed, key, &bytes).to_le_bytes().iter().chain(&bytes) {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text
}

/// What [`seal`] put in.
///
/// # Errors
/// When it did not make the text for this key.
pub fn unseal(seed: Seed, key: &[u8], text: &[u8]) -> Result<Causal<Text>, NotGivenOut> {
    let digits = text.strip_prefix(PREFIX).ok_or(NotGivenOut::Malformed)?;
    if digits.len() > 2 * (BYTES_MAX + 8) {
        return Err(NotGivenOut::Malformed);
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Option<Vec<u8>> =
        pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    let bytes = bytes.filter(|_| rest.is_empty()).ok_or(NotGivenOut::Malformed)?;
    let (given, context) = bytes.split_first_chunk::<8>().ok_or(NotGivenOut::Malformed)?;
    if u64::from_le_bytes(*given) != proof(seed, key, context) {
        return Err(NotGivenOut::Foreign);
    }
    Causal::decode(context).map_err(|_| NotGivenOut::Malformed)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn proof(seed: Seed, key: &[u8], context: &[u8]) -> u64 {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    writer.bytes(key);
    writer.bytes(context);
    // Another seed than those of places and of entries' hashes: none of them says anything of the others.
    SipHasher24::new_with_keys(seed.0 ^ 0x636f_6e74_6578, seed.1).hash(&bytes)
}
