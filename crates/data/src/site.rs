//! The name of a site: a datacenter, a region, or whatever fails together and is near to itself.

use crate::codec::{DecodeError, Reader, Writer};
use core::fmt;

/// Bytes of a name.
const LEN_MAX: usize = 31;

/// A site by its name, 1 to 31 bytes of printable ASCII without spaces. Kept in place, so that settings stay plain values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Site {
    len: u8,
    bytes: [u8; LEN_MAX],
}

impl Site {
    /// Nothing when the text is no name.
    pub fn named(text: &str) -> Option<Site> {
        let fits = !text.is_empty() && text.len() <= LEN_MAX && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| {
            let mut bytes = [0; LEN_MAX];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            Site { len: text.len() as u8, bytes }
        })
    }
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.text(self.as_str());
    }
    pub fn decode(r: &mut Reader<'_>) -> Result<Site, DecodeError> {
        Site::named(&r.text()?).ok_or(DecodeError::Invalid("site"))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!(Site::named("eu-west-1").map(|site| site.as_str().len()), Some(9));
        for text in ["", "a b", "é", "a-name-that-is-longer-than-31-bytes"] {
            assert!(Site::named(text).is_none(), "{text}");
        }
        assert_eq!(Site::named("eu"), Site::named("eu"));
        assert_ne!(Site::named("eu"), Site::named("eu2"));
    }
}
