//! What no file of the project may name, whatever its kind: places on one machine, and hosts of package registries.
//!
//! The names are put together from parts, so that this file passes its own check.

use super::{Finding, SourceFile};

/// Folders at the root of a file system that exist on a builder's machine and on nobody else's.
const MACHINE_FOLDERS: [&str; 3] = ["work", "farm", "root"];

/// Hosts of package registries, as name and ending: which registry serves a package is for each machine to configure.
const REGISTRY_HOSTS: [[&str; 2]; 10] = [
    ["crates", "io"],
    ["npmjs", "org"],
    ["npmjs", "com"],
    ["pypi", "org"],
    ["pythonhosted", "org"],
    ["rubygems", "org"],
    ["proxy.golang", "org"],
    ["repo.maven.apache", "org"],
    ["docker", "io"],
    ["ghcr", "io"],
];

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    // Cargo writes the name of its default registry into the lock file itself.
    if file.path.rsplit('/').next() == Some("Cargo.lock") {
        return Vec::new();
    }
    let folders = MACHINE_FOLDERS.map(|name| format!("/{name}/"));
    let hosts = REGISTRY_HOSTS.map(|parts| parts.join("."));
    let mut findings = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        if let Some(folder) = folders.iter().find(|folder| names_folder(line, folder)) {
            let message =
                format!("a path that begins with {folder} exists on one machine only: make it relative");
            findings.push(Finding::error(&file.path, at + 1, message));
        }
        if let Some(host) = hosts.iter().find(|host| names_host(line, host)) {
            let message = format!(
                "{host} is the host of a package registry, which each machine configures: leave it out"
            );
            findings.push(Finding::error(&file.path, at + 1, message));
        }
    }
    findings
}

/// Whether the line holds an absolute path that begins with `folder`; the middle of a longer path does not count.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "/._-~$})*".contains(c))
    })
}

/// Whether the line holds `host`, by itself or under a subdomain, and not as part of a longer name.
fn names_host(line: &str, host: &str) -> bool {
    line.match_indices(host).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let mut after = line[at + host.len()..].chars();
        let longer = match after.next() {
            Some('.') => after.next().is_some_and(char::is_alphanumeric),
            Some(c) => c.is_alphanumeric() || c == '-' || c == '_',
            None => false,
        };
        !longer && !before.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines_found(path: &str, text: &str) -> Vec<usize> {
        let findings = check(&SourceFile { path: path.to_owned(), text: text.to_owned() });
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn places_on_one_machine_are_found() {
        for name in MACHINE_FOLDERS {
            let path = format!("/{name}/main");
            let text = format!("{path}\nsee `{path}`\nat=\"{path}\"\nfile://{path}\nnothing\n");
            assert_eq!(lines_found("a.toml", &text), [1, 2, 3], "{name}");
            let text = format!(
                "https://example.org{path}\nsrc{path}\n../{name}/main\n{name}/main\n$HOME{path}\n/{name}s/"
            );
            assert_eq!(lines_found("a.md", &text), NONE, "{name}");
        }
    }

    #[test]
    fn registry_hosts_are_found() {
        for parts in REGISTRY_HOSTS {
            let host = parts.join(".");
            let text = format!("https://{host}/a\nat index.{host}.\n{host}");
            assert_eq!(lines_found("a.md", &text), [1, 2, 3], "{host}");
            let text = format!("my{host}\n{host}n\n{host}.example\nx-{host}");
            assert_eq!(lines_found("a.md", &text), NONE, "{host}");
            assert_eq!(lines_found("Cargo.lock", &host), NONE);
            assert_eq!(lines_found("fuzz/Cargo.lock", &host), NONE);
        }
    }

    #[test]
    fn the_checker_passes_its_own_check() {
        assert_eq!(lines_found("text.rs", include_str!("text.rs")), NONE);
    }
}
