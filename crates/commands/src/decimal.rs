//! Decimal arithmetic of the commands that add fractions to texts (HINCRBYFLOAT).
//!
//! Clients expect 0.1 + 0.2 = 0.3, and a replica on another processor must come to the same digits. So sums are exact
//! fixed-point sums of the decimal texts wherever these fit; only huge or very fine numbers fall back to doubles.

use crate::arguments::double;
use alloc::format;
use alloc::string::String;

/// Places behind the point that an answer may have, as in Redis.
const PLACES: i32 = 17;
const ONE: i128 = 10i128.pow(PLACES as u32);

/// Exponents beyond this are left to doubles: their powers of ten do not fit anyway.
const EXPONENT_MAX: i32 = 60;

/// A number as read from a text.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Decimal {
    /// In units of 10^-17, where the text says nothing finer and nothing too large.
    exact: Option<i128>,
    nearest: f64,
}

impl Decimal {
    pub(crate) const ZERO: Decimal = Decimal { exact: Some(0), nearest: 0.0 };

    /// Reads a decimal number; infinities count, what is not a number does not.
    pub(crate) fn parse(text: &[u8]) -> Option<Decimal> {
        Some(Decimal { nearest: double(text)?, exact: exact(text) })
    }
    pub(crate) fn is_finite(self) -> bool {
        self.nearest.is_finite()
    }
    /// The sum as text without needless zeros; `None` when it is not finite.
    pub(crate) fn sum(self, other: Decimal) -> Option<String> {
        if let (Some(a), Some(b)) = (self.exact, other.exact)
            && let Some(sum) = a.checked_add(b)
        {
            return Some(text_of(sum));
        }
        let sum = self.nearest + other.nearest;
        // Adding zero turns -0 into 0.
        sum.is_finite().then(|| format!("{}", sum + 0.0))
    }
}

/// The value of `[sign] digits [. digits] [e [sign] digits]` in units of 10^-17, if it is a whole number of them.
fn exact(text: &[u8]) -> Option<i128> {
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&text[..at], core::str::from_utf8(&text[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    if exponent.abs() > EXPONENT_MAX {
        return None;
    }
    let (negative, digits) = match mantissa {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let (mut value, mut scale, mut behind_point) = (0i128, PLACES + exponent, false);
    for byte in digits {
        match byte {
            b'.' => behind_point = true,
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                scale -= i32::from(behind_point);
            }
            _ => return None,
        }
    }
    while scale < 0 && value % 10 == 0 && value != 0 {
        value /= 10;
        scale += 1;
    }
    if value == 0 {
        return Some(0);
    }
    let value = value.checked_mul(10i128.checked_pow(u32::try_from(scale).ok()?)?)?;
    Some(if negative { -value } else { value })
}

fn text_of(value: i128) -> String {
    let (sign, magnitude) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    let (whole, fraction) = (magnitude / ONE.unsigned_abs(), magnitude % ONE.unsigned_abs());
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let digits = format!("{fraction:017}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        Decimal::parse(a.as_bytes())?.sum(Decimal::parse(b.as_bytes())?)
    }

    #[test]
    fn sums_look_as_a_person_would_write_them() {
        for (a, b, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "-3", "0"),
            ("-0", "0", "0"),
            ("-1.5", "1", "-0.5"),
            ("1e-17", "0", "0.00000000000000001"),
            (".5", "+1", "1.5"),
            ("1.", "1E0", "2"),
            ("0e999", "1", "1"),
            ("9007199254740993", "0.25", "9007199254740993.25"),
            ("1e300", "0", &format!("{}", 1e300)),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
        assert_eq!(sum("1e308", "1.7e308"), None);
        assert_eq!(sum("inf", "1"), None);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "abc", "1 ", " 1", "nan", "1e", "--1", "1.2.3", ".", "1e999"] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn hundredths_add_up(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
            let text = |n: i64| format!("{}{}.{:02}", if n < 0 { "-" } else { "" }, n.abs() / 100, n.abs() % 100);
            let total = sum(&text(a), &text(b)).unwrap();
            prop_assert_eq!(exact(total.as_bytes()), exact(text(a + b).as_bytes()));
        }
    }
}
