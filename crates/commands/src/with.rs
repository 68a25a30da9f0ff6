//! `WITH <option value ...> DO <command ...>`: where the command begins.

/// Options that are said by their name alone; every other one has a value.
const FLAGS: &[&str] = &["receipt", "linearizable"];

/// Whether this option has no value.
pub fn is_flag(word: &[u8]) -> bool {
    FLAGS.iter().any(|flag| word.eq_ignore_ascii_case(flag.as_bytes()))
}

/// The command behind DO with its arguments; empty when there is none. `args[0]` is WITH. Options that nobody knows are passed
/// over: whoever executes the command tells of them.
pub fn inner_of<'l, 'a>(args: &'l [&'a [u8]]) -> &'l [&'a [u8]] {
    let mut rest = args.get(1..).unwrap_or_default();
    while let Some((word, behind)) = rest.split_first() {
        if word.eq_ignore_ascii_case(b"do") {
            return behind;
        }
        rest = behind.get(usize::from(!is_flag(word))..).unwrap_or_default();
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_command_stands_behind_do() {
        let inner = |line: &'static str| -> Vec<&'static str> {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            inner_of(&args).iter().map(|word| core::str::from_utf8(word).unwrap_or_default()).collect()
        };
        assert_eq!(inner("WITH RECEIPT DO GET k"), ["GET", "k"]);
        assert_eq!(inner("with commit majority receipt timeout 5 do set do do"), ["set", "do", "do"]);
        assert_eq!(inner("WITH LINEARIZABLE receipt DO SETNX k v"), ["SETNX", "k", "v"]);
        assert_eq!(inner("WITH REQUEST do DO DEL k"), ["DEL", "k"], "a value may be any word");
        assert!(inner("WITH COMMIT majority SET k v").is_empty());
        assert!(inner("WITH RECEIPT DO").is_empty());
    }
}
