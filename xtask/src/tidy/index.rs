//! The feature index of ARCHITECTURE.md, and the ids that code and docs quote.

use super::Finding;
use super::tree::Tree;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Feature index";

/// How many rows each letter of the mechanism catalogue has.
const CATALOGUE: &[(&str, u32)] = &[
    ("A", 8),
    ("B", 10),
    ("C", 20),
    ("D", 8),
    ("E", 5),
    ("F", 6),
    ("G", 6),
    ("H", 4),
    ("I", 14),
    ("J", 18),
    ("K", 24),
    ("L", 13),
    ("N", 16),
];
/// How many rows each series of the list of bugs has; those of ours (TC) were given out in ranges.
const BUGS: &[(&str, u32)] = &[("SL", 26), ("LL", 25), ("ML", 24), ("X", 14), ("TC", 88)];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(text) = tree.text(ARCHITECTURE) {
        findings.extend(check_feature_index(tree, text));
    }
    for (path, text) in &tree.files {
        for (number, line) in text.lines().enumerate() {
            for (mark, known) in [("catalogue: ", CATALOGUE), ("bugs: ", BUGS)] {
                for id in quoted_ids(line, mark).filter(|id| !exists(id, known)) {
                    let place = format!("{path}:{}", number + 1);
                    findings.push(Finding::error(place, format!("no such id: {id}")));
                }
            }
        }
    }
    findings
}

/// Every path in backticks in the table under the heading must exist.
fn check_feature_index(tree: &Tree, text: &str) -> Vec<Finding> {
    let Some((before, section)) = text.split_once(HEADING) else {
        return vec![Finding::error(ARCHITECTURE, format!("has no `{HEADING}`"))];
    };
    let first_line = before.lines().count();
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut findings = Vec::new();
    for (number, line) in section.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
        for path in line.split('`').skip(1).step_by(2).filter(|word| word.contains('/')) {
            // `path::item` and `path#part` name something inside a file.
            let file =
                path.split(['#', ' ']).next().unwrap_or_default().split("::").next().unwrap_or_default();
            if !tree.has(file) {
                let place = format!("{ARCHITECTURE}:{}", first_line + number + 1);
                findings.push(Finding::error(place, format!("`{file}` does not exist")));
            }
        }
    }
    findings
}

/// The ids behind a mark in a comment: `C14 C20, D6` up to the first word that is none.
fn quoted_ids<'a>(line: &'a str, mark: &str) -> impl Iterator<Item = &'a str> {
    let is_comment = ["//", "#", "<!--", "/*"].iter().any(|start| line.trim_start().starts_with(start));
    let list = if is_comment { line.split_once(mark).map(|(_, list)| list) } else { None };
    // A semicolon ends the list: other sources may follow.
    let list = list.unwrap_or_default().split(';').next().unwrap_or_default();
    list.split([' ', ',', '.', ')']).filter(|word| !word.is_empty()).take_while(|word| looks_like_id(word))
}

fn looks_like_id(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.ends_with(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-')
}

/// Whether an id, or a span such as `B1-B4` or `SL-12`, is in the series.
fn exists(id: &str, known: &[(&str, u32)]) -> bool {
    let single = |id: &str| {
        let at = id.find(|c: char| c.is_ascii_digit()).unwrap_or(id.len());
        let (letters, digits) = id.split_at(at);
        let number: u32 = digits.parse().unwrap_or(0);
        let letters = letters.trim_end_matches('-');
        known.iter().any(|(series, rows)| *series == letters && (1..=*rows).contains(&number))
    };
    single(id) || id.split_once('-').is_some_and(|(from, to)| single(from) && single(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_names_a_lost_file_is_found() {
        let text = "# A\n\n## Feature index\n\n| concept | file |\n|---|---|\n| quorum | `crates/a/q.rs` |\n\
                    | lost | `crates/a/lost.rs` |\n\n## Next\n\n| x | `crates/none.rs` |\n";
        let tree = Tree::of(&[(ARCHITECTURE, text), ("crates/a/q.rs", "")]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].text.contains("lost.rs"));
        assert!(findings[0].place.ends_with(":8"), "{findings:?}");
    }

    #[test]
    fn quoted_ids_must_exist() {
        let wrong = concat!("// catalogue: C14, B1-B4 ", "Q9 and more\n");
        let findings = check(&Tree::of(&[("crates/a/b.rs", wrong)]));
        assert_eq!(findings.len(), 1, "{findings:?}");
        let wrong = concat!("// bugs: SL-12 ", "SL-99\n");
        assert_eq!(check(&Tree::of(&[("crates/a/b.rs", wrong)])).len(), 1);
    }
}
