//! Sizes, names, leftovers and docs of the sources.

use super::Finding;
use super::tree::Tree;

/// Above this a file should be looked at again.
const LINES_WARN: usize = 450;
/// Above this it must be split.
const LINES_MAX: usize = 700;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc"];
/// Leftovers. Spelled in halves so that this file does not find itself.
const LEFTOVERS: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("XX", "X:"),
];
/// Paths that exist on one machine only.
const MACHINE_PATHS: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in &tree.paths {
        let stem = path.rsplit('/').next().unwrap_or_default().split('.').next().unwrap_or_default();
        if EMPTY_NAMES.contains(&stem) {
            findings.push(Finding::error(path, "a name that says nothing: name the file after its role"));
        }
    }
    for (path, text) in &tree.files {
        findings.extend(check_words(path, text));
        if path.ends_with(".rs") {
            findings.extend(check_rust(path, text));
        }
    }
    findings
}

fn check_words(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_code = [".rs", ".py", ".mjs", ".js", ".sh", ".toml"].iter().any(|end| path.ends_with(end));
    for (number, line) in text.lines().enumerate() {
        let place = || format!("{path}:{}", number + 1);
        if is_code && let Some(word) = LEFTOVERS.iter().find(|word| line.contains(**word)) {
            findings.push(Finding::error(place(), format!("leftover `{word}`")));
        }
        if let Some(word) = MACHINE_PATHS.iter().find(|word| has_absolute_path(line, word)) {
            findings.push(Finding::error(place(), format!("a path of one machine: `{word}`")));
        }
    }
    findings
}

/// Whether the line holds `path` at the beginning of a path, not in the middle of one or of an address.
fn has_absolute_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "\"'`(=:".contains(c))
    })
}

fn check_rust(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::error(path, format!("{lines} lines, above {LINES_MAX}: split it by role")));
    } else if lines > LINES_WARN {
        findings.push(Finding::warning(path, format!("{lines} lines, above {LINES_WARN}")));
    }
    let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    if is_root && !text.starts_with("//! ") {
        findings.push(Finding::error(path, "a crate begins with a `//!` doc that says what it is for"));
    }
    for (number, line) in text.lines().enumerate() {
        if line.trim() == concat!("#[ig", "nore]") {
            findings
                .push(Finding::error(format!("{path}:{}", number + 1), "an ignored test needs its reason"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).iter().filter(|finding| finding.is_error).count()
    }

    #[test]
    fn each_rule_can_fail() {
        assert_eq!(errors("crates/a/src/lib.rs", "//! A crate.\n"), 0);
        assert_eq!(errors("crates/a/src/lib.rs", "fn main() {}\n"), 1);
        assert_eq!(errors("crates/a/src/utils.rs", ""), 1);
        assert_eq!(errors("crates/a/src/b.rs", &format!("{}!()", concat!("to", "do"))), 1);
        assert_eq!(errors("crates/a/src/b.rs", &"\n".repeat(LINES_MAX + 1)), 1);
        assert_eq!(errors("crates/a/src/b.rs", concat!("#[ig", "nore]\n")), 1);
        assert_eq!(errors("docs/a.md", concat!("see /ho", "me/me/x")), 1);
    }

    #[test]
    fn an_address_is_no_machine_path() {
        assert_eq!(errors("docs/a.md", concat!("https://example.org/ho", "me/x")), 0);
    }

    #[test]
    fn a_long_file_is_a_warning_first() {
        let text = "\n".repeat(LINES_WARN + 1);
        let findings = check(&Tree::of(&[("crates/a/src/b.rs", &text)]));
        assert_eq!(findings.len(), 1);
        assert!(!findings[0].is_error);
    }
}
