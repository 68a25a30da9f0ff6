//! Numbers and words among the arguments.

use crate::call::CommandError;

/// An integer in its canonical form: no sign `+`, no leading zero, no space.
pub(crate) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    wire::number::parse_integer(text).ok_or(CommandError::NOT_AN_INTEGER)
}

/// A double: decimal, with exponent, or `inf`; never NaN.
pub(crate) fn float(text: &[u8]) -> Result<f64, CommandError> {
    double(text).ok_or(CommandError::NOT_A_FLOAT)
}

/// The double that a text spells. What is only infinite because it does not fit is none.
pub(crate) fn double(text: &[u8]) -> Option<f64> {
    let number: f64 = core::str::from_utf8(text).ok()?.parse().ok()?;
    let spelled_infinite = text.iter().any(|byte| byte.eq_ignore_ascii_case(&b'i'));
    (!number.is_nan() && number.is_infinite() == spelled_infinite).then_some(number)
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
        assert_eq!(float(b"Infinity"), Ok(f64::INFINITY));
        for wrong in [&b"nan"[..], b"", b" 1", b"1 ", b"one", b"1e400", b"-1e400", b"0x10"] {
            assert_eq!(float(wrong), Err(CommandError::NOT_A_FLOAT), "{wrong:?}");
        }
    }
}
