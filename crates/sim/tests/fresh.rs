//! Seeds that nobody has tried, for as long as it is told: `cargo xtask test` runs this after the other tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use reconvene_sim::{runner, workload};

/// How many seeds run at a time.
const THREADS: u64 = 2;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
#[ignore = "which seeds, and for how long, is told by RECONVENE_SEEDS_FROM and RECONVENE_SEEDS_SECONDS"]
fn all_holds_for_fresh_seeds() {
    let first = variable("RECONVENE_SEEDS_FROM").expect("the first seed is told");
    let seconds = variable("RECONVENE_SEEDS_SECONDS").expect("the time is told");
    let (next, start) = (AtomicU64::new(first), Instant::now());
    println!("seeds from {first}, for {seconds} s");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while start.elapsed() < Duration::from_secs(seconds) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if let Some(finding) = runner::run(&workload::scenario(seed), false).finding {
                        let again =
                            format!("cargo run --release -p reconvene-sim -- --start {seed} --seeds 1");
                        panic!(
                            "seed {seed}: {finding}\nthis makes it short and tells it as a story: {again}"
                        );
                    }
                }
            });
        }
    });
    println!("{} seeds held", next.load(Ordering::Relaxed) - first);
}
