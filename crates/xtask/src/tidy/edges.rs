//! Which crate may know which: edges only go down the floors of the house.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::Finding;
use crate::steps::cargo;

/// A crate of the workspace and the ones it may name in its manifest.
struct Room {
    name: &'static str,
    may_know: &'static [&'static str],
    /// What its tests may know besides.
    tests_may_know: &'static [&'static str],
}

const fn room(
    name: &'static str,
    may_know: &'static [&'static str],
    tests_may_know: &'static [&'static str],
) -> Room {
    Room { name, may_know, tests_may_know }
}

/// The house from the ground up: each crate may know only crates above it in this list.
///
/// A new edge deserves more thought than a new public item; it changes `ARCHITECTURE.md` first and this table second.
const HOUSE: [Room; 15] = [
    // Words.
    room("reconvene-model", &[], &[]),
    room("reconvene-expr", &["reconvene-model"], &[]),
    room("reconvene-macros", &[], &[]),
    // Mechanisms.
    room("reconvene-store", &["reconvene-model", "reconvene-expr", "reconvene-macros"], &[]),
    room("reconvene-protocol", &["reconvene-model"], &[]),
    room("reconvene-socket", &[], &[]),
    // Engines. They do not know each other, but their tests bring them together.
    room(
        "reconvene-client",
        &["reconvene-model", "reconvene-store", "reconvene-protocol", "reconvene-socket"],
        &["reconvene-server", "reconvene-sim"],
    ),
    room(
        "reconvene-server",
        &["reconvene-model", "reconvene-store", "reconvene-protocol", "reconvene-socket"],
        &["reconvene-client", "reconvene-sim"],
    ),
    // Tools that others build on.
    room(
        "reconvene-sim",
        &[
            "reconvene-model",
            "reconvene-expr",
            "reconvene-store",
            "reconvene-protocol",
            "reconvene-client",
            "reconvene-server",
        ],
        &[],
    ),
    // Doors.
    room(
        "reconvene",
        &["reconvene-model", "reconvene-expr", "reconvene-macros", "reconvene-store", "reconvene-client"],
        &["reconvene-protocol", "reconvene-server", "reconvene-sim"],
    ),
    room(
        "reconvene-cli",
        &[
            "reconvene-model",
            "reconvene-expr",
            "reconvene-store",
            "reconvene-protocol",
            "reconvene-client",
            "reconvene-server",
            "reconvene-sim",
            "reconvene",
        ],
        &[],
    ),
    // Measures what the rooms below the doors do, as an application or an operator meets them.
    room(
        "reconvene-bench",
        &[
            "reconvene-model",
            "reconvene-store",
            "reconvene-protocol",
            "reconvene-socket",
            "reconvene-client",
            "reconvene-server",
            "reconvene-sim",
        ],
        &[],
    ),
    // Feeds whatever reads bytes of strangers or of damaged files.
    room(
        "reconvene-fuzz",
        &["reconvene-model", "reconvene-expr", "reconvene-store", "reconvene-protocol"],
        &[],
    ),
    // An example knows what an application knows.
    room("tasks", &["reconvene"], &["reconvene-server", "reconvene-sim"]),
    room("xtask", &[], &[]),
];

/// What the manifest of a crate says about its place.
#[derive(Debug, PartialEq, Eq)]
struct Manifest {
    name: String,
    folder: String,
    edges: Vec<Edge>,
}

/// An edge that a manifest names.
#[derive(Debug, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
    for_tests: bool,
}

/// Checks the manifests of the workspace at `root`.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let output = cargo(root, &["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo metadata could not be started")?;
    ensure!(output.status.success(), "cargo metadata failed; its own output stands above");
    let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata did not answer in JSON")?;
    let manifests = read(&metadata).context("cargo metadata answered in a form that is not known")?;
    let mut findings = Vec::new();
    for manifest in &manifests {
        findings.extend(objection_to_crate(manifest));
        findings.extend(manifest.edges.iter().filter_map(objection_to_edge));
    }
    Ok(findings)
}

/// The manifests of the workspace; `None` if Cargo's answer lacks what it promises.
fn read(metadata: &Value) -> Option<Vec<Manifest>> {
    metadata["packages"].as_array()?.iter().map(read_package).collect()
}

fn read_package(package: &Value) -> Option<Manifest> {
    let name = package["name"].as_str()?;
    let path = Path::new(package["manifest_path"].as_str()?);
    let mut edges = Vec::new();
    for dependency in package["dependencies"].as_array()? {
        // Only members of the workspace are named by path.
        if dependency["path"].is_string() {
            edges.push(Edge {
                from: name.to_owned(),
                to: dependency["name"].as_str()?.to_owned(),
                for_tests: dependency["kind"] == "dev",
            });
        }
    }
    let folder = path.parent()?.file_name()?.to_str()?.to_owned();
    Some(Manifest { name: name.to_owned(), folder, edges })
}

fn find(name: &str) -> Option<&'static Room> {
    HOUSE.iter().find(|room| room.name == name)
}

fn objection_to_crate(Manifest { name, folder, .. }: &Manifest) -> Option<Finding> {
    if find(name).is_none() {
        let message =
            "this crate has no place in the house: give it one in ARCHITECTURE.md and in tidy/edges.rs";
        return Some(Finding::error(name, 0, message));
    }
    if folder != name.strip_prefix("reconvene-").unwrap_or(name) {
        return Some(Finding::error(name, 0, format!("its folder must be named after it, not `{folder}`")));
    }
    None
}

fn objection_to_edge(edge: &Edge) -> Option<Finding> {
    // A crate without a place is objected to as such.
    let room = find(&edge.from)?;
    let to = edge.to.as_str();
    if room.may_know.contains(&to) || (edge.for_tests && room.tests_may_know.contains(&to)) {
        return None;
    }
    let whom = if edge.for_tests { "its tests may not know" } else { "it may not know" };
    let message = format!("{whom} {to}: edges only go down (ARCHITECTURE.md; the table is in tidy/edges.rs)");
    Some(Finding::error(&edge.from, 0, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, for_tests: bool) -> Edge {
        Edge { from: from.to_owned(), to: to.to_owned(), for_tests }
    }

    #[test]
    fn the_table_itself_only_goes_down() {
        for (at, room) in HOUSE.iter().enumerate() {
            for known in room.may_know {
                assert!(HOUSE[..at].iter().any(|below| below.name == *known), "{} knows {known}", room.name);
            }
            for known in room.tests_may_know {
                assert!(find(known).is_some(), "the tests of {} know {known}", room.name);
            }
        }
    }

    #[test]
    fn edges_down_pass_and_others_do_not() {
        assert_eq!(objection_to_edge(&edge("reconvene-store", "reconvene-model", false)), None);
        assert_eq!(objection_to_edge(&edge("reconvene-store", "reconvene-model", true)), None);
        assert_eq!(objection_to_edge(&edge("reconvene-client", "reconvene-server", true)), None);
        for refused in [
            edge("reconvene-client", "reconvene-server", false),
            edge("reconvene-model", "reconvene-store", false),
            edge("reconvene-model", "reconvene-store", true),
            edge("reconvene-store", "reconvene-protocol", false),
            edge("reconvene-protocol", "reconvene-store", true),
            edge("tasks", "reconvene-store", false),
        ] {
            assert!(objection_to_edge(&refused).is_some(), "{refused:?}");
        }
    }

    #[test]
    fn crates_have_a_place_and_a_folder_of_their_name() {
        let objection = |name: &str, folder: &str| {
            objection_to_crate(&Manifest {
                name: name.to_owned(),
                folder: folder.to_owned(),
                edges: Vec::new(),
            })
        };
        assert_eq!(objection("reconvene-store", "store"), None);
        assert_eq!(objection("reconvene", "reconvene"), None);
        assert!(objection("reconvene-store", "storage").is_some());
        assert!(objection("reconvene-attic", "attic").is_some());
    }

    #[test]
    fn reads_what_cargo_answers() {
        let metadata = serde_json::json!({"packages": [{
            "name": "reconvene-client",
            "manifest_path": "/a/crates/client/Cargo.toml",
            "dependencies": [
                {"name": "bytes", "kind": null},
                {"name": "reconvene-store", "kind": null, "path": "/a/crates/store"},
                {"name": "reconvene-sim", "kind": "dev", "path": "/a/crates/sim"},
                {"name": "reconvene-model", "kind": "build", "path": "/a/crates/model"}
            ]
        }]});
        let expected = Manifest {
            name: "reconvene-client".to_owned(),
            folder: "client".to_owned(),
            edges: vec![
                edge("reconvene-client", "reconvene-store", false),
                edge("reconvene-client", "reconvene-sim", true),
                edge("reconvene-client", "reconvene-model", false),
            ],
        };
        assert_eq!(read(&metadata), Some(vec![expected]));
        assert_eq!(read(&serde_json::json!({})), None);
        assert_eq!(read(&serde_json::json!({"packages": [{"name": "a"}]})), None);
    }
}
