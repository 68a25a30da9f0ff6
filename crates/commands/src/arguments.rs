//! Numbers and words among the arguments.

use crate::call::CommandError;

/// An integer in its canonical form: no sign `+`, no leading zero, no space.
pub(crate) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    wire::number::parse_integer(text).ok_or(CommandError::NOT_AN_INTEGER)
}

/// A double: decimal, with exponent, or `inf`; never NaN.
pub(crate) fn float(text: &[u8]) -> Result<f64, CommandError> {
    let spaced = text.first().is_none_or(u8::is_ascii_whitespace);
    let parsed = core::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    parsed.filter(|number| !spaced && !number.is_nan()).ok_or(CommandError::NOT_A_FLOAT)
}

/// Whether an argument is this option word, in any case.
pub(crate) fn is(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_form() {
        assert_eq!(integer(b"-12"), Ok(-12));
        for wrong in [&b"+1"[..], b"01", b" 1", b"1 ", b"", b"1.0", b"9223372036854775808"] {
            assert_eq!(integer(wrong), Err(CommandError::NOT_AN_INTEGER), "{wrong:?}");
        }
    }

    #[test]
    fn doubles_are_numbers() {
        assert_eq!(float(b"1e3"), Ok(1000.0));
        assert_eq!(float(b"-inf"), Ok(f64::NEG_INFINITY));
        for wrong in [&b"nan"[..], b"", b" 1", b"one"] {
            assert_eq!(float(wrong), Err(CommandError::NOT_A_FLOAT), "{wrong:?}");
        }
    }
}
