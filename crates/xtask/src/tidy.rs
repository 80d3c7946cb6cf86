//! `cargo xtask tidy`: the rules of the house that no compiler checks.
//!
//! `tree` reads the files, `edges` looks at which crate knows which, `rust` at Rust sources by way of `code`, which
//! takes comments and literals out, `text` at what no file may name, `markdown` at links.

mod code;
mod edges;
mod markdown;
mod rust;
mod text;
mod tree;

use std::fmt;
use std::path::Path;

use anyhow::bail;

use tree::Tree;

/// Checks the whole tree, prints what it finds, and fails if anything is an error.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let tree = Tree::read(root)?;
    let mut findings = edges::check(root)?;
    let test_modules = rust::TestModules::find(tree.files());
    for file in tree.files() {
        findings.extend(text::check(file));
        if file.path.ends_with(".rs") {
            findings.extend(rust::check(file, &test_modules));
        }
        if file.path.ends_with(".md") {
            findings.extend(markdown::check(file, &tree));
        }
    }
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 {
        bail!("tidy found {errors} errors; each stands above with its place and its remedy");
    }
    println!("tidy: {} files, {} warnings", tree.files().len(), findings.len());
    Ok(())
}

/// A file as the checks see it.
#[derive(Debug)]
struct SourceFile {
    /// Relative to the root, with `/` on every system.
    path: String,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

/// Something that a check objects to.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    severity: Severity,
    path: String,
    /// Counted from 1; 0 stands for the file as a whole.
    line: usize,
    message: String,
}

impl Finding {
    fn error(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, path: path.to_owned(), line, message: message.into() }
    }

    fn warning(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, line, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        match self.line {
            0 => write!(f, "{severity}: {}: {}", self.path, self.message),
            line => write!(f, "{severity}: {}:{line}: {}", self.path, self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_name_their_place() {
        assert_eq!(Finding::error("a.rs", 3, "no").to_string(), "error: a.rs:3: no");
        assert_eq!(Finding::warning("a.rs", 0, "hm").to_string(), "warning: a.rs: hm");
    }
}
