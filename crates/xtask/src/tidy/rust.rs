//! What Rust sources of the house must and must not hold.

use super::code::{code_only, test_modules, without_tests, words};
use super::{Finding, SourceFile};

/// The only files that may hold unsafe code, each with its reason in `ARCHITECTURE.md`.
const UNSAFE_HOMES: [&str; 2] = ["crates/store/src/seam/lmdb.rs", "crates/store/src/seam/lmdb_append.rs"];

/// Longer files are an error.
const LINES_MAX: usize = 800;

/// Longer files are worth a look.
const LINES_GOOD: usize = 500;

/// Macros that stand for work not done.
const UNFINISHED: [&str; 2] = ["todo", "unimplemented"];

/// A generated file says so within this many lines.
const GENERATED_MARK_LINES: usize = 5;

/// The modules that are compiled for tests only, as paths without `.rs`.
#[derive(Debug, Default)]
pub(super) struct TestModules(Vec<String>);

impl TestModules {
    /// Finds the modules that a file of `files` declares under `#[cfg(test)]`.
    pub(super) fn find(files: &[SourceFile]) -> Self {
        let mut found = Vec::new();
        for SourceFile { path, text } in files {
            let Some(stem) = path.strip_suffix(".rs") else { continue };
            let folder = match stem.rsplit_once('/') {
                Some((folder, "lib" | "main" | "mod")) => folder,
                _ => stem,
            };
            found.extend(test_modules(&code_only(text)).iter().map(|name| format!("{folder}/{name}")));
        }
        Self(found)
    }

    fn contain(&self, path: &str) -> bool {
        self.0
            .iter()
            .any(|stem| path.strip_prefix(stem).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
    }
}

pub(super) fn check(file: &SourceFile, test_modules: &TestModules) -> Vec<Finding> {
    let path = &file.path;
    let mut findings = Vec::new();

    // The inputs of compile-fail tests are kept as their authors' users would write them.
    if !path.contains("/tests/ui/") && !file.text.starts_with("//!") {
        findings.push(Finding::error(path, 1, "a file opens with a `//!` line that says what it is for"));
    }
    findings.extend(check_length(file));

    let code = code_only(&file.text);
    for (line, text) in numbered(&code) {
        if text.contains("#[ignore") {
            findings.push(Finding::error(path, line, "no test is ignored: make it run or take it out"));
        }
        for (word, rest) in words(text) {
            if UNFINISHED.contains(&word) && rest.starts_with('!') {
                findings.push(Finding::error(path, line, format!("`{word}!`: finish it or take it out")));
            }
            if word == "unsafe" && !UNSAFE_HOMES.contains(&path.as_str()) {
                let message = format!("unsafe code may only stand in {}", UNSAFE_HOMES.join(", "));
                findings.push(Finding::error(path, line, message));
            }
        }
    }
    if is_shipped(path) && !test_modules.contain(path) {
        for (line, text) in numbered(&without_tests(&code)) {
            if text.contains(".unwrap()") {
                let message = "`.unwrap()` outside tests: return an error, or say why it holds with `expect`";
                findings.push(Finding::error(path, line, message));
            }
        }
    }
    findings
}

fn check_length(file: &SourceFile) -> Option<Finding> {
    if file.text.lines().take(GENERATED_MARK_LINES).any(|line| line.contains("@generated")) {
        return None;
    }
    match file.text.lines().count() {
        0..=LINES_GOOD => None,
        lines @ ..=LINES_MAX => Some(Finding::warning(
            &file.path,
            0,
            format!("{lines} lines: does it hold more than one thought?"),
        )),
        lines => {
            let message = format!("{lines} lines are more than {LINES_MAX}: split it by meaning");
            Some(Finding::error(&file.path, 0, message))
        }
    }
}

/// Whether the file becomes part of a library or program, rather than of a test.
fn is_shipped(path: &str) -> bool {
    let test =
        path.ends_with("/tests.rs") || path.split('/').any(|part| part == "tests" || part == "benches");
    path.contains("src/") && !test
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    const NONE: [usize; 0] = [];

    fn source(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    fn lines_found(path: &str, text: &str) -> Vec<usize> {
        check(&source(path, text), &TestModules::default())
            .into_iter()
            .map(|finding| {
                assert_eq!((finding.severity, finding.path.as_str()), (Severity::Error, path));
                finding.line
            })
            .collect()
    }

    #[test]
    fn a_clean_file_is_clean() {
        let text = "//! Clean.\n#![deny(unsafe_code)]\n// unsafe todo!() .unwrap()\nfn f() { g(\"unsafe todo!()\") }\n";
        assert_eq!(lines_found("crates/a/src/lib.rs", text), NONE);
    }

    #[test]
    fn files_open_with_a_sentence() {
        for text in ["", "fn main() {}", "\n//! Late.", "// Not a doc."] {
            assert_eq!(lines_found("crates/a/src/lib.rs", text), [1], "{text}");
        }
        assert_eq!(lines_found("crates/a/tests/ui/wrong.rs", "fn main() {}"), NONE);
    }

    #[test]
    fn unsafe_has_its_homes() {
        let text = "//! A.\nfn f() {\n    unsafe { g() }\n}\n#[unsafe(no_mangle)]\nfn h() {}\n";
        assert_eq!(lines_found("crates/store/src/seam/memory.rs", text), [3, 5]);
        assert_eq!(lines_found("crates/store/tests/a.rs", text), [3, 5]);
        assert_eq!(lines_found(UNSAFE_HOMES[0], text), NONE);
    }

    #[test]
    fn unwrap_is_for_tests() {
        let text = "//! A.\nfn f() { g().unwrap(); g().unwrap_or(1); }\n#[cfg(test)]\nmod tests {\n    fn t() {\n        \
                    g().unwrap();\n    }\n}\nfn h() {\n    g()\n        .unwrap();\n}\n";
        assert_eq!(lines_found("crates/a/src/b.rs", text), [2, 11]);
        for path in [
            "crates/a/tests/b.rs",
            "crates/a/src/b/tests.rs",
            "crates/a/src/tests/b.rs",
            "crates/a/benches/b.rs",
        ] {
            assert_eq!(lines_found(path, text), NONE, "{path}");
        }
    }

    #[test]
    fn modules_for_tests_may_have_files_of_their_own() {
        let test = "//! A.\nfn f() { g().unwrap(); }\n";
        let files = [
            source("crates/a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod c;\n"),
            source("crates/a/src/b.rs", "#[cfg(test)]\nmod d;\n"),
            source("crates/a/src/e/mod.rs", "#[cfg(test)]\nmod f;\n"),
        ];
        let modules = TestModules::find(&files);
        for path in ["c.rs", "c/mod.rs", "c/more.rs", "b/d.rs", "e/f.rs"] {
            assert_eq!(check(&source(&format!("crates/a/src/{path}"), test), &modules), [], "{path}");
        }
        for path in ["b.rs", "d.rs", "f.rs", "cc.rs", "b/c.rs", "e/mod.rs"] {
            assert_eq!(check(&source(&format!("crates/a/src/{path}"), test), &modules).len(), 1, "{path}");
        }
    }

    #[test]
    fn nothing_is_left_undone_or_ignored() {
        let text = "//! A.\nfn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\nfn todo() {}\n#[ignore]\nfn t() {}\n\
                    #[ignore = \"slow\"]\nfn u() {}\n";
        assert_eq!(lines_found("crates/a/src/b.rs", text), [2, 3, 5, 7]);
        assert_eq!(lines_found("crates/a/tests/b.rs", text), [2, 3, 5, 7]);
    }

    #[test]
    fn long_files_are_noticed() {
        let length = |lines: usize, first: &str| {
            let text = format!("{first}\n{}", "\n".repeat(lines - 1));
            check_length(&SourceFile { path: "a.rs".to_owned(), text }).map(|finding| finding.severity)
        };
        assert_eq!(length(500, "//! A."), None);
        assert_eq!(length(501, "//! A."), Some(Severity::Warning));
        assert_eq!(length(800, "//! A."), Some(Severity::Warning));
        assert_eq!(length(801, "//! A."), Some(Severity::Error));
        assert_eq!(length(801, "//! @generated"), None);
    }
}
