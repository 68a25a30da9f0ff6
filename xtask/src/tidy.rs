//! The project's own rules as a check: what a reviewer should not have to look for.
//!
//! | file | rule |
//! |---|---|
//! | `arrows` | which crate may depend on which |
//! | `pure` | the pure crates have no standard library, no forbidden calls, no other dependencies |
//! | `source` | sizes, names, leftovers, docs, reasons on ignored tests |
//! | `index` | the feature index names files that exist; quoted ids exist |

mod arrows;
mod index;
mod pure;
mod source;
pub mod tree;

use anyhow::{Result, bail};

pub use arrows::PURE_CRATES;
use tree::Tree;

/// What a rule found wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path in the workspace, with a line where there is one.
    pub place: String,
    pub text: String,
    pub is_error: bool,
}

impl Finding {
    pub fn error(place: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding { place: place.into(), text: text.into(), is_error: true }
    }
    pub fn warning(place: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding { is_error: false, ..Finding::error(place, text) }
    }
}

/// Applies every rule to the workspace and prints what it found.
///
/// # Errors
/// When a rule is broken; warnings do not count.
pub fn run() -> Result<()> {
    let tree = Tree::read(&crate::shell::root())?;
    let mut findings = Vec::new();
    findings.extend(arrows::check(&tree)?);
    findings.extend(pure::check(&tree)?);
    findings.extend(source::check(&tree));
    findings.extend(index::check(&tree));
    for finding in &findings {
        let word = if finding.is_error { "error" } else { "warning" };
        println!("{word}: {}: {}", finding.place, finding.text);
    }
    let errors = findings.iter().filter(|finding| finding.is_error).count();
    if errors > 0 {
        bail!("tidy: {errors} rules broken");
    }
    println!("tidy: {} files in order, {} warnings", tree.files.len(), findings.len());
    Ok(())
}
