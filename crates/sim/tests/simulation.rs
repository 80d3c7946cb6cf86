//! Runs of the simulator: what once went wrong, a fixed set of seeds, and some that nobody has tried.

use std::time::{Duration, Instant};

use reconvene_sim::{Scenario, runner, workload};

/// The seeds that every run tries.
const FIXED: std::ops::RangeInclusive<u64> = 1..=12;

/// How long other seeds are tried.
const FRESH: Duration = Duration::from_secs(10);

fn check(name: &str, scenario: &Scenario) {
    if let Some(finding) = runner::run(scenario, false).finding {
        let (shorter, finding) = runner::shrink(scenario, &finding);
        let text = serde_json::to_string(&shorter).expect("scenarios are plain data");
        panic!("{name}: {finding}\nkept under crates/sim/regressions/, this replays it:\n{text}");
    }
}

#[test]
fn what_once_went_wrong_goes_well() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut replayed = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let scenario = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            check(&path.display().to_string(), &scenario);
            replayed += 1;
        }
    }
    assert!(replayed > 0);
}

#[test]
fn all_holds_for_a_fixed_set_of_seeds() {
    for seed in FIXED {
        check(&format!("seed {seed}"), &workload::scenario(seed));
    }
}

/// `RECONVENE_SOAK` says how many times as long a long run takes.
#[test]
fn all_holds_for_seeds_that_nobody_has_tried() {
    let factor = std::env::var("RECONVENE_SOAK").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    let (start, mut seed) = (Instant::now(), fresh_seed());
    eprintln!("from seed {seed}");
    while start.elapsed() < FRESH * factor {
        check(&format!("seed {seed}"), &workload::scenario(seed));
        seed += 1;
    }
}

/// A seed from the time, far from those that people type.
fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_secs() << 20
}

#[test]
fn the_same_scenario_takes_the_same_course() {
    let scenario = workload::scenario(3);
    let (one, other) = (runner::run(&scenario, true), runner::run(&scenario, true));
    assert!(!one.story.is_empty());
    assert_eq!(one.story, other.story);
}

#[test]
fn a_scenario_can_be_written_down() {
    let scenario = workload::scenario(4);
    let text = serde_json::to_string(&scenario).unwrap();
    assert_eq!(serde_json::from_str::<Scenario>(&text).unwrap(), scenario);
}
