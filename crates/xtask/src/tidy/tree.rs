//! The files that belong to the project, with their texts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::SourceFile;

/// Files beyond this length are data, not text that a person wrote, and are not read.
const TEXT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// All files of the project: those that Git knows and new ones that it does not ignore.
#[derive(Debug)]
pub(super) struct Tree {
    files: Vec<SourceFile>,
    /// Every file, text or not, and every folder above one.
    paths: BTreeSet<String>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        // The tree may belong to another user than the one who runs this, as in containers; listing is harmless.
        let listing = Command::new("git")
            .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("git could not be started: tidy asks it which files belong to the project")?;
        ensure!(
            listing.status.success(),
            "git could not list the files: {}",
            String::from_utf8_lossy(&listing.stderr).trim()
        );
        let listing = String::from_utf8(listing.stdout).context("a file name is not UTF-8: rename it")?;
        let names = listing.split('\0').filter(|name| !name.is_empty());
        let mut tree = Self { files: Vec::new(), paths: BTreeSet::new() };
        for name in BTreeSet::from_iter(names) {
            let path = root.join(name);
            // Git still lists files that were deleted and not yet committed.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            tree.add_path(name);
            if metadata.is_file() && metadata.len() <= TEXT_BYTES_MAX {
                let bytes = fs::read(&path).with_context(|| format!("{name} could not be read"))?;
                if let Ok(text) = String::from_utf8(bytes) {
                    tree.files.push(SourceFile { path: name.to_owned(), text });
                }
            }
        }
        Ok(tree)
    }

    pub(super) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Whether a file or folder of this path, relative to the root, belongs to the project.
    pub(super) fn contains(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    fn add_path(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.paths.insert(path[..at].to_owned());
        }
        self.paths.insert(path.to_owned());
    }

    /// A tree of these paths, without texts.
    #[cfg(test)]
    pub(super) fn of_paths(paths: &[&str]) -> Self {
        let mut tree = Self { files: Vec::new(), paths: BTreeSet::new() };
        paths.iter().for_each(|path| tree.add_path(path));
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_belong_to_the_tree_as_their_files_do() {
        let tree = Tree::of_paths(&["a/b/c.rs", "d.md"]);
        for path in ["", "a", "a/b", "a/b/c.rs", "d.md"] {
            assert!(tree.contains(path), "{path}");
        }
        for path in ["b", "a/b/c", "c.rs", "d"] {
            assert!(!tree.contains(path), "{path}");
        }
    }

    #[test]
    fn reads_the_project_itself() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let tree = Tree::read(root).unwrap();
        assert!(tree.contains("crates/xtask/src"));
        let own = tree.files().iter().find(|file| file.path == "crates/xtask/src/tidy/tree.rs").unwrap();
        assert!(own.text.contains("fn reads_the_project_itself"));
        assert!(!tree.paths.iter().any(|path| path.starts_with("target/") || path.starts_with(".git/")));
    }
}
