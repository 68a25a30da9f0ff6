//! The pure crates stay pure: the compiler is told so in each of them.

use anyhow::{Context, Result};
use toml::Table;

use super::Finding;
use super::arrows::{PURE_CRATES, dependencies};
use super::tree::Tree;

/// Crates from outside that a pure crate may use: no I/O, no clock, no random order, usable without `std`.
const ALLOWED: &[&str] = &[
    "bytes",
    "crc32c",
    "hashbrown",
    "hmac",
    "indexmap",
    "libm",
    "memchr",
    "ryu",
    "sha2",
    "siphasher",
    "smallvec",
    "subtle",
    "zerocopy",
];

/// Ours that need not be pure themselves but are allowed in a pure crate, with the reason.
const ALLOWED_OURS: &[&str] = &[
    // The consensus library wants the standard library; `control` draws no time and no randomness from it.
    "control",
];

pub fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for name in PURE_CRATES {
        let root = format!("crates/{name}/src/lib.rs");
        let Some(source) = tree.text(&root) else { continue };
        if !source.lines().any(|line| line.trim() == "#![no_std]") {
            findings.push(Finding::error(&root, "a pure crate begins with `#![no_std]`"));
        }
        for (number, line) in source.lines().enumerate() {
            let is_std = line.trim().starts_with("extern crate std");
            let is_test_only =
                number > 0 && source.lines().nth(number - 1).is_some_and(|l| l.contains("cfg(test)"));
            if is_std && !is_test_only {
                findings.push(Finding::error(format!("{root}:{}", number + 1), "`std` in a pure crate"));
            }
        }
        let lints = format!("crates/{name}/clippy.toml");
        match tree.text(&lints) {
            None => findings.push(Finding::error(&lints, "a pure crate names what it must not use")),
            Some(text) if !text.contains("disallowed-") => {
                findings.push(Finding::error(&lints, "names no disallowed type or method"));
            }
            Some(_) => {}
        }
        let path = format!("crates/{name}/Cargo.toml");
        let manifest: Table = tree.text(&path).unwrap_or_default().parse().with_context(|| path.clone())?;
        for dependency in dependencies(&manifest, &["dependencies"]) {
            let names = [PURE_CRATES, ALLOWED, ALLOWED_OURS].concat();
            if !names.contains(&dependency.as_str()) {
                let text = format!("`{dependency}` is not on the list of what a pure crate may use");
                findings.push(Finding::error(&path, text));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(lib: &str, clippy: &str, dependency: &str) -> usize {
        let manifest = format!("[dependencies]\n{dependency} = \"1\"\n");
        let tree = Tree::of(&[
            ("crates/data/src/lib.rs", lib),
            ("crates/data/clippy.toml", clippy),
            ("crates/data/Cargo.toml", &manifest),
        ]);
        check(&tree).unwrap().len()
    }

    #[test]
    fn each_way_to_be_impure_is_found() {
        const CLIPPY: &str = "disallowed-types = []";
        assert_eq!(findings("#![no_std]\n", CLIPPY, "bytes"), 0);
        assert_eq!(findings("//! Doc.\n", CLIPPY, "bytes"), 1);
        assert_eq!(findings("#![no_std]\nextern crate std;\n", CLIPPY, "bytes"), 1);
        assert_eq!(findings("#![no_std]\n#[cfg(test)]\nextern crate std;\n", CLIPPY, "bytes"), 0);
        assert_eq!(findings("#![no_std]\n", "", "bytes"), 1);
        assert_eq!(findings("#![no_std]\n", CLIPPY, "tokio"), 1);
    }
}
