//! Random histories of writes, transactions that come to nothing, closings and changes of the schema, played to a store on disk
//! and to one in memory, and to a model made of plain maps; whatever is asked must be answered as a look at every object of the
//! model says.
//!
//! `history` invents what happens, `reference` knows what is right, `stores` does it to real stores and compares. A history
//! that fails is shrunk. `RECONVENE_MODEL_CASES` asks for more of them than an ordinary run has time for.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic in a test is its report")]

mod history;
mod reference;
mod stores;

use std::env;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::history::{History, history};
use crate::stores::{Place, play};

/// How many histories an ordinary run plays.
const CASES: u32 = 12;
const CASES_VARIABLE: &str = "RECONVENE_MODEL_CASES";

fn runner(cases: u32) -> TestRunner {
    let cases = env::var(CASES_VARIABLE).map_or(cases, |number| number.parse().unwrap());
    TestRunner::new(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..ProptestConfig::with_cases(cases)
    })
}

fn plays(place: Place) {
    let played = runner(CASES).run(&history(), |history: History| {
        // Told where somebody waits for many.
        if env::var_os(CASES_VARIABLE).is_some() {
            println!("{place:?}: {} steps", history.steps());
        }
        play(place, &history)
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}

#[test]
fn a_store_on_disk_answers_as_plain_maps_do() {
    plays(Place::Disk);
}

#[test]
fn a_store_in_memory_answers_as_plain_maps_do() {
    plays(Place::Memory);
}
