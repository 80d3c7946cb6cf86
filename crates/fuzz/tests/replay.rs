//! Every input that is kept, and changed copies of it, through every target.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::fs;
use std::path::{Path, PathBuf};

use reconvene_fuzz::mutate::{Random, changed};
use reconvene_fuzz::{TARGETS, Target, memory, record};

fn inputs(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().nth(2).expect("this crate lies in <workspace>/crates/fuzz");
    let folders =
        [Some(package.join("corpus").join(target.name)), target.fixtures.map(|path| root.join(path))];
    let mut files: Vec<PathBuf> = folders
        .into_iter()
        .flatten()
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Runs a body and names the input if it panics.
fn run(target: &Target, from: &Path, bytes: &[u8]) {
    let result = std::panic::catch_unwind(|| (target.body)(bytes));
    if result.is_err() {
        let path = std::env::temp_dir().join(format!("reconvene-fuzz-{}", target.name));
        fs::write(&path, bytes).unwrap();
        panic!("{} fails on {} or a copy of it, which is in {}", target.name, from.display(), path.display());
    }
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("there is such a target");
    let inputs = inputs(target);
    assert!(inputs.len() >= 3, "{name} has seeds");
    let _alone = memory::alone();
    run(target, Path::new("nothing"), &[]);
    for (path, bytes) in &inputs {
        run(target, path, bytes);
        // Cut short at some places, at every one if it is short.
        let cuts = target.changed / 100;
        for end in (0..bytes.len()).step_by(bytes.len().div_ceil(cuts).max(1)) {
            run(target, path, &bytes[..end]);
        }
    }
    let mut random = Random::new(7);
    for _ in 0..target.changed {
        let (path, bytes) = &inputs[random.below(inputs.len())];
        let (_, other) = &inputs[random.below(inputs.len())];
        run(target, path, &changed(bytes, other, &mut random));
    }
}

macro_rules! replayed {
    ($($name:ident),+ $(,)?) => {
        $(#[test] fn $name() { replay(stringify!($name)); })+

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

replayed!(
    frame,
    message,
    ranges,
    tx,
    states,
    record,
    flex,
    expression,
    model_file,
    client_session,
    server_session,
    ledger,
    delivery,
);

#[test]
fn values_that_share_their_bytes_are_not_multiplied() {
    let _alone = memory::alone();
    record::record(&record::shared_text(301, 100_000));
    record::record(&record::shared_strings(2_000, 60_000));
    record::record(&record::long_header(100_000));
}
