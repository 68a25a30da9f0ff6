//! The files of the workspace that are, or will be, under version control.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::shell;

/// Text files by their path in the workspace.
#[derive(Default)]
pub struct Tree {
    pub files: BTreeMap<String, String>,
    /// Paths of all files, text or not.
    pub paths: Vec<String>,
}

impl Tree {
    /// Reads what git knows, and what it would add.
    pub fn read(root: &Path) -> Result<Tree> {
        let args = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
        let listing = shell::capture(shell::command("git", &args))?;
        let mut tree = Tree::default();
        for path in listing.split('\0').filter(|path| !path.is_empty()) {
            // A file that was removed but not yet committed is still listed.
            let Ok(bytes) = fs::read(root.join(path)) else { continue };
            tree.paths.push(path.to_owned());
            if let Ok(text) = String::from_utf8(bytes) {
                tree.files.insert(path.to_owned(), text);
            }
        }
        Ok(tree)
    }

    /// Files whose path ends so.
    pub fn ending(&self, end: &str) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter(move |(path, _)| path.ends_with(end)).map(|(p, t)| (p.as_str(), t.as_str()))
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether a file or a folder of this path exists.
    pub fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.paths.iter().any(|known| known == path || known.starts_with(&folder))
    }

    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Tree {
        let files: BTreeMap<String, String> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Tree { paths: files.keys().cloned().collect(), files }
    }
}
