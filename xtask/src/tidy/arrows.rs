//! Dependencies between our crates point one way. A crate that is not in the table must be added with its reason.

use anyhow::{Context, Result};
use toml::Table;

use super::Finding;
use super::tree::Tree;

/// No clock, socket, thread, file, environment or random-order map.
pub const PURE_CRATES: &[&str] = &["data", "wire", "protocol", "commands", "node"];

/// Which of our crates a crate may see.
const ARROWS: &[(&str, &[&str])] = &[
    ("data", &[]),
    ("wire", &["data"]),
    ("protocol", &["data"]),
    ("control", &["data"]),
    // Replies are written straight into their wire form.
    ("commands", &["data", "wire"]),
    // Engine of merge functions; `node` knows the trait, and only its tests the engine.
    ("merging", &["data"]),
    ("node", &["data", "wire", "commands", "protocol", "control", "merging"]),
    ("storage", &["data"]),
    ("server", &["data", "wire", "commands", "protocol", "control", "merging", "node", "storage"]),
    ("client", &["wire"]),
    // Never `server`: the simulator is the other driver of the same machines.
    (
        "simulator",
        &["data", "wire", "commands", "protocol", "control", "merging", "node", "storage", "checker"],
    ),
    // Judges histories; knows nothing of the system.
    ("checker", &[]),
    ("bench", &["checker"]),
    ("tercet", EVERYTHING),
    // For the list of planted bugs.
    ("xtask", &["bench", "checker", "data"]),
];

const EVERYTHING: &[&str] = &[
    "data",
    "wire",
    "protocol",
    "control",
    "commands",
    "merging",
    "node",
    "storage",
    "server",
    "client",
    "simulator",
    "checker",
    "bench",
];

pub fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending("Cargo.toml") {
        let is_member =
            path.split('/').count() == 3 && path.starts_with("crates/") || path == "xtask/Cargo.toml";
        if !is_member {
            continue;
        }
        let manifest: Table = text.parse().with_context(|| path.to_owned())?;
        let folder = path.rsplit('/').nth(1).unwrap_or_default();
        let name =
            manifest.get("package").and_then(|p| p.get("name")).and_then(|n| n.as_str()).unwrap_or_default();
        if name != folder {
            findings.push(Finding::error(path, format!("crate `{name}` lives in folder `{folder}`")));
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            findings.push(Finding::error(path, "a crate without a place in the table of arrows"));
            continue;
        };
        // Tests of a crate may only look where the crate may: dev-dependencies are held to the same arrows.
        for seen in dependencies(&manifest, &["dependencies", "dev-dependencies", "build-dependencies"]) {
            let is_ours = ARROWS.iter().any(|(known, _)| *known == seen);
            if is_ours && seen != name && !allowed.contains(&seen.as_str()) {
                findings.push(Finding::error(path, format!("`{name}` must not depend on `{seen}`")));
            }
        }
    }
    Ok(findings)
}

/// Names in the given sections, those of single targets included.
pub fn dependencies(manifest: &Table, sections: &[&str]) -> Vec<String> {
    let targets = manifest.get("target").and_then(|t| t.as_table()).into_iter().flat_map(|t| t.values());
    let places = std::iter::once(manifest).chain(targets.filter_map(|target| target.as_table()));
    let tables =
        places.flat_map(|place| sections.iter().filter_map(|section| place.get(*section)?.as_table()));
    tables.flat_map(|table| table.keys().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, dependency: &str) -> String {
        format!("[package]\nname = \"{name}\"\n[dependencies]\n{dependency}.workspace = true\n")
    }

    #[test]
    fn an_arrow_against_the_stream_is_found() {
        let bad = manifest("simulator", "server");
        let tree = Tree::of(&[("crates/simulator/Cargo.toml", &bad)]);
        let findings = check(&tree).unwrap();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].text.contains("`server`"));

        let good = manifest("simulator", "node");
        assert!(check(&Tree::of(&[("crates/simulator/Cargo.toml", &good)])).unwrap().is_empty());
    }

    #[test]
    fn a_test_dependency_counts_too() {
        let text = "[package]\nname = \"checker\"\n[dev-dependencies]\nnode.workspace = true\n";
        assert_eq!(check(&Tree::of(&[("crates/checker/Cargo.toml", text)])).unwrap().len(), 1);
    }
}
