//! Numbers as text, in the forms that Redis reads and writes.

use alloc::format;
use alloc::string::String;

/// An integer in its canonical decimal form only: no plus sign, no leading zero, no `-0`, within 64 bits.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] if !negative => return Some(0),
        [b'0', ..] => return None,
        _ => {}
    }
    let mut value = 0i64;
    for &digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Built up on the negative side, which reaches one further.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// Decimal digits of an integer, written into the end of `digits`.
pub fn format_integer(value: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

/// Whole doubles up to here are written as integers: 2^52, as Redis does.
const WHOLE_MAX: f64 = 4_503_599_627_370_496.0;

/// The text that Redis 7.4 gives a double: the fewest digits that read back equal, `inf`, `-inf`, `nan`.
///
/// Where plain and scientific notation part follows the printer of that release, which clients compare with: whole
/// numbers stay plain up to 2^52 or seven appended zeros, fractions with up to six places or an exponent within ±3.
pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let whole = value as i64;
    if (-WHOLE_MAX..=WHOLE_MAX).contains(&value) && whole as f64 == value {
        let mut digits = [0u8; 20];
        return String::from_utf8_lossy(format_integer(whole, &mut digits)).into_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    // Places of the last digit: value = digits * 10^scale.
    let scale = exponent - (digits - 1);
    let plain = if scale >= 0 { exponent < digits + 7 } else { scale > -7 || exponent.abs() < 4 };
    if plain {
        format!("{value}")
    } else {
        format!("{mantissa}e{}{}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_in_canonical_form_only() {
        for (text, value) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn integers_read_back() {
        for value in [0, 1, -1, 9, 10, -10, 12_345, i64::MAX, i64::MIN] {
            assert_eq!(parse_integer(format_integer(value, &mut [0; 20])), Some(value));
        }
    }

    #[test]
    fn doubles_look_as_in_redis() {
        for (value, text) in [
            (3.0, "3"),
            (-3.0, "-3"),
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (-1.5, "-1.5"),
            (3.25e2, "325"),
            (1e8, "100000000"),
            (4_503_599_627_370_496.0, "4503599627370496"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e15, "1000000000000000"),
            (1e17, "1e+17"),
            (1e20, "1e+20"),
            (-1.5e300, "-1.5e+300"),
            (1.5e-7, "1.5e-7"),
            (1e-5, "0.00001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (0.0012345, "0.0012345"),
            (0.00012345, "1.2345e-4"),
            (core::f64::consts::PI, "3.141592653589793"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(format_double(value), text);
        }
    }
}
