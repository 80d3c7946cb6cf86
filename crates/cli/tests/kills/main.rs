//! A server and two devices are killed over and over while they work, and nothing is lost, doubled or half done.
//!
//! All three are processes of their own, so a kill is what it is in life. Each device notes in a file beside its store
//! what every commit that returned had done (`workload`, `device`); this process kills and restarts (`processes`), lets
//! all finish, and then holds the three directories against the notes (`audit`).

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]
#![allow(clippy::print_stdout, reason = "a long run says how far it is")]

mod audit;
mod device;
mod processes;
mod workload;

use std::time::Duration;

use processes::{Actor, Scene};
use workload::Random;

/// How often each process is killed, unless the environment names another number.
const KILLS: usize = 10;

/// The environment variable that names it.
const KILLS_VARIABLE: &str = "RECONVENE_KILLS";

/// The most commits from one kill to the next: at times few, to meet processes that only just started, at times enough to
/// meet all in the middle of their work.
const COMMITS_MAX: [u64; 2] = [20, 600];

/// Where between two commits a kill falls.
const JITTER_MICROSECONDS_MAX: u64 = 5_000;

#[test]
fn kills_lose_double_and_halve_nothing() {
    if device::is_this_process() {
        device::run();
        return;
    }
    let kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |kills| kills.parse().unwrap());
    let mut random = Random::new(0x5EED);
    let mut victims = random.shuffled([Actor::Server, Actor::Device(0), Actor::Device(1)].repeat(kills));
    let mut scene = Scene::start();
    while let Some(victim) = victims.pop() {
        let commits_max = COMMITS_MAX[random.below(2) as usize];
        scene.wait_for_commits(random.below(commits_max));
        std::thread::sleep(Duration::from_micros(random.below(JITTER_MICROSECONDS_MAX)));
        let mut together = vec![victim];
        // Two that die at the same moment, as when the power fails, cannot help each other's memory.
        if random.below(4) == 0 && victims.last().is_some_and(|second| *second != victim) {
            together.extend(victims.pop());
        }
        scene.kill(&together);
        if victims.len().is_multiple_of(30) {
            println!("{} kills to come, {} commits so far", victims.len(), scene.commits());
        }
    }
    let ended = scene.finish();
    println!("{}", audit::check(&ended, kills));
}
