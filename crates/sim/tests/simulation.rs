//! Runs of the simulator: what once went wrong, and a fixed set of seeds. `fresh.rs` tries those that nobody has tried.

use reconvene_sim::{Scenario, runner, workload};

/// The seeds that every run tries.
const FIXED: std::ops::RangeInclusive<u64> = 1..=200;

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
