//! Seeds that nobody has tried, for as long as RECONVENE_SEEDS_SECONDS says, from RECONVENE_SEEDS_FROM on. Where
//! nothing is said it tries the same few.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use reconvene_sim::{runner, workload};

/// How many seeds run at a time.
const THREADS: u64 = 2;

/// The first seed, and how many there are at least, where nothing else is said.
const FIRST: u64 = 201;
const SEEDS_MIN: u64 = 10;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn all_holds_for_fresh_seeds() {
    let first = variable("RECONVENE_SEEDS_FROM").unwrap_or(FIRST);
    let seconds = variable("RECONVENE_SEEDS_SECONDS").unwrap_or(0);
    let (next, start) = (AtomicU64::new(first), Instant::now());
    println!("seeds from {first}, for {seconds} s");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - first >= SEEDS_MIN && start.elapsed() >= Duration::from_secs(seconds) {
                        break;
                    }
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
    println!("{} seeds held", next.load(Ordering::Relaxed) - first - THREADS);
}
