//! Patterns of KEYS, SCAN, PSUBSCRIBE and CONFIG GET: `*`, `?`, `[a-z]`, `[^x]`, `\` takes the next byte as it is.

/// Whether the whole text fits the pattern. Costs at most the product of both lengths: on a mismatch only the last `*`
/// takes one byte more.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        match one(pattern, p, text[t]) {
            Some(next) => {
                p = next;
                t += 1;
            }
            None => match &mut star {
                Some((after, taken)) => {
                    *taken += 1;
                    p = *after;
                    t = *taken;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether the element of the pattern at `p` fits a byte; where the next element begins.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        literal => (literal == byte).then_some(p + 1),
    }
}

/// A bracket expression whose content begins at `p`. One without an end takes the rest of the pattern.
fn class(pattern: &[u8], mut p: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut found = false;
    loop {
        match pattern.get(p) {
            None => break,
            Some(b']') => {
                p += 1;
                break;
            }
            Some(b'\\') if p + 1 < pattern.len() => {
                found |= pattern[p + 1] == byte;
                p += 2;
            }
            Some(low) if pattern.get(p + 1) == Some(&b'-') && p + 2 < pattern.len() => {
                let high = pattern[p + 2];
                found |= (*low.min(&high)..=*low.max(&high)).contains(&byte);
                p += 3;
            }
            Some(literal) => {
                found |= *literal == byte;
                p += 1;
            }
        }
    }
    (found != negated).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::matches;
    use proptest::prelude::*;

    #[test]
    fn patterns_fit_whole_texts() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbx", false),
            ("[a", "a", true),
            ("user:*:name", "user:12:name", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }

    /// What a pattern means, without care for time.
    fn fits(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| fits(rest, &text[at..])),
            ([b'?', rest @ ..], [_, after @ ..]) => fits(rest, after),
            ([b'\\', literal, rest @ ..], [byte, after @ ..]) => literal == byte && fits(rest, after),
            ([literal, rest @ ..], [byte, after @ ..]) => literal == byte && fits(rest, after),
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_its_definition_says(
            pattern in proptest::collection::vec(prop::sample::select(&b"ab*?\\"[..]), 0..10),
            text in proptest::collection::vec(prop::sample::select(&b"ab*\\"[..]), 0..10),
        ) {
            prop_assert_eq!(matches(&pattern, &text), fits(&pattern, &text));
        }

        #[test]
        fn an_escaped_text_fits_itself_alone(text: alloc::vec::Vec<u8>, other: alloc::vec::Vec<u8>) {
            let escaped: alloc::vec::Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
            prop_assert!(matches(&escaped, &text));
            prop_assert_eq!(matches(&escaped, &other), text == other);
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let text = [b'a'; 4000];
        assert!(!matches(b"a*a*a*a*a*a*a*a*a*a*a*a*a*b", &text));
    }
}
