//! The gate among real threads, and its patience; every order of a few threads is tried in `tests/locks.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::gate::Gate;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn closing_gives_up_while_somebody_is_inside_and_leaves_the_gate_open() {
    let gate = Gate::default();
    let inside = gate.pass();
    assert!(gate.close(Duration::ZERO).is_none());
    let another = gate.pass();
    drop((inside, another));
    assert!(gate.close(Duration::ZERO).is_some());
    drop(gate.pass());
}

#[test]
fn nobody_is_inside_while_it_is_closed() {
    let gate = Gate::default();
    let alone = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let _pass = gate.pass();
                    assert!(!alone.load(Ordering::SeqCst), "a reader is inside a closed gate");
                }
            });
        }
        for _ in 0..200 {
            let closed = gate.close(LONG).unwrap();
            alone.store(true, Ordering::SeqCst);
            thread::yield_now();
            alone.store(false, Ordering::SeqCst);
            drop(closed);
        }
    });
    assert!(gate.close(Duration::ZERO).is_some(), "all have left");
}
