//! Real processes for a short while. `cargo xtask soak` and `reconvene-sim real` run them for longer.

#![cfg(target_os = "linux")]

use std::time::Duration;

use reconvene_sim::real::{Options, Report, run};

fn run_for(seconds: u64, planted: Option<&str>) -> Report {
    let options = Options {
        program: env!("CARGO_BIN_EXE_reconvene-sim").into(),
        seed: 1,
        time: Duration::from_secs(seconds),
        planted: planted.map(str::to_owned),
    };
    run(&options, &mut |_| {})
}

#[test]
fn all_holds_for_real_processes() {
    let Report { counts, finding } = run_for(15, None);
    if let Some((finding, directory)) = finding {
        panic!("{finding}\neverything lies in {}", directory.display());
    }
    let happened =
        [counts.device_kills, counts.server_kills, counts.pauses, counts.network_faults, counts.looks];
    assert!(happened.iter().all(|&count| count > 0) && counts.accepted > 100, "{counts}");
}

#[cfg(feature = "planted-faults")]
#[test]
fn mistakes_of_real_processes_are_found() {
    for mistake in ["HalfTransaction", "RefusedWriteKept", "OutboxDroppedAtLogin"] {
        let report = run_for(60, Some(mistake));
        let (_, directory) = report.finding.unwrap_or_else(|| panic!("nobody noticed {mistake}"));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
