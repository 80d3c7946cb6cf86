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

/// How often the server is put back to a backup, unless the environment names another number.
const RESTORES: usize = 5;

/// The environment variable that names it.
const RESTORES_VARIABLE: &str = "RECONVENE_RESTORES";

/// The longest time after which a restore is killed, and after which a process dies that compares with a restored server: about
/// how long either takes.
const RESTORE_MICROSECONDS_MAX: u64 = 60_000;
const COMPARE_MICROSECONDS_MAX: u64 = 300_000;

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
    println!("after {} kills: {}", 3 * kills, audit::check(&ended, kills, 0));
}

#[test]
fn restores_amid_kills_lose_nothing_unsent_and_devices_keep_what_the_server_lost() {
    let restores = std::env::var(RESTORES_VARIABLE).map_or(RESTORES, |number| number.parse().unwrap());
    let mut random = Random::new(0x0D0_0BAC);
    let devices = [Actor::Device(0), Actor::Device(1)];
    // Each device dies with this probability, so that there are rounds in which one, both or none does.
    let some = |random: &mut Random| {
        let chosen = devices.into_iter().filter(|_| random.below(3) == 0);
        chosen.collect::<Vec<_>>()
    };
    let mut scene = Scene::start();
    let mut kills = 0;
    for round in 1..=restores {
        scene.wait_for_commits(1 + random.below(COMMITS_MAX[1]));
        let mut victims = some(&mut random);
        kills += victims.len();
        scene.back_up(&victims);
        let commits_max = COMMITS_MAX[random.below(2) as usize];
        scene.wait_for_commits(1 + random.below(commits_max));
        victims = some(&mut random);
        kills += victims.len() + 1;
        let killed_after =
            (random.below(2) == 0).then(|| Duration::from_micros(random.below(RESTORE_MICROSECONDS_MAX)));
        scene.restore(&victims, killed_after);
        // Into the compares that follow.
        for _ in 0..random.below(3) {
            std::thread::sleep(Duration::from_micros(random.below(COMPARE_MICROSECONDS_MAX)));
            let victim = random.shuffled(devices.into_iter().chain([Actor::Server]).collect())[0];
            kills += 1;
            scene.kill(&[victim]);
        }
        if round.is_multiple_of(10) {
            println!("{} restores to come, {} commits so far", restores - round, scene.commits());
        }
    }
    let ended = scene.finish();
    println!("after {kills} kills: {}", audit::check(&ended, kills, restores));
}
