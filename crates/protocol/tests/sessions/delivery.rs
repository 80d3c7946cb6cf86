//! What arrives, and comes back, whatever happens on the way.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use reconvene_model::{PeerId, Seq};
use reconvene_protocol::{ClosedBy, Code, Limits};

use crate::MINUTE;
use crate::support::{Pair, Wire};

#[test]
fn transactions_of_both_sides_arrive() {
    let mut pair = Pair::new();
    for ops in [&b"one"[..], b"refuse this", b"two", b"gone with its object", b"half of it"] {
        pair.commit(ops);
    }
    pair.hub.write_elsewhere(b"before");
    pair.settle();
    pair.check();
    let codes: Vec<_> = pair.device.rejected.iter().map(|(number, code)| (*number, *code)).collect();
    assert_eq!(codes, [(2, Code::NotPermitted), (4, Code::ObjectRemoved), (5, Code::ObjectRemoved)]);

    // What comes while both are there is pushed whole, the own ones by number.
    pair.hub.write_elsewhere(b"live");
    pair.commit(b"mine");
    pair.settle();
    pair.check();
    assert_eq!(pair.device.wholes, [(PeerId(1), 2, Bytes::from_static(b"live"))]);
    assert_eq!(pair.connects, 1);
}

#[test]
fn verdicts_survive_a_lost_answer() {
    let mut pair = Pair::new();
    pair.commit(b"one");
    pair.commit(b"refuse this");
    // The hub decides, and the link is cut before the device hears of it.
    assert!(pair.drive(MINUTE, |pair| pair.hub.decided == 2));
    assert!(pair.device.rejected.is_empty());
    pair.cut();
    pair.settle();
    pair.check();
    assert_eq!(pair.device.rejected, [(2, Code::NotPermitted)]);
    assert_eq!(pair.hub.duplicates, 0, "the answer to the login told the verdicts; nothing was sent twice");
    assert_eq!(pair.connects, 2);
}

#[test]
fn duplicates_get_their_original_verdicts() {
    let mut pair = Pair::new();
    pair.hub.stalled = true;
    for ops in [&b"one"[..], b"refuse this", b"three"] {
        pair.commit(ops);
    }
    assert!(pair.drive(MINUTE, |pair| pair.hub.queue.len() == 3));
    // The queue outlives the session that filled it, and the next session brings the same transactions again.
    pair.cut();
    assert!(pair.drive(MINUTE, |pair| pair.hub.queue.len() == 6));
    pair.hub.stalled = false;
    pair.settle();
    pair.check();
    assert_eq!(pair.hub.duplicates, 3);
    assert_eq!(pair.device.rejected, [(2, Code::NotPermitted)]);
}

#[test]
fn the_window_holds() {
    let mut pair = Pair::new();
    pair.server_config.limits =
        Limits { upload_window_txs: 4, upload_window_bytes: 1000, ..Limits::default() };
    pair.hub.stalled = true;
    for _ in 0..50 {
        pair.commit(b"small");
    }
    assert!(!pair.drive(MINUTE, |pair| pair.hub.queue.len() > 4));
    assert_eq!(pair.hub.queue.len(), 4, "the count of the window is used up");
    pair.hub.stalled = false;
    pair.settle();
    assert_eq!(pair.most_in_flight, 4);

    pair.hub.stalled = true;
    for _ in 0..3 {
        pair.commit(&[b'x'; 400]);
    }
    pair.commit(&[b'y'; 5000]);
    assert!(!pair.drive(MINUTE, |pair| pair.hub.queue.len() > 2));
    assert_eq!(pair.hub.queue.len(), 2, "the bytes of the window are used up");
    pair.hub.stalled = false;
    pair.settle();
    pair.check();
    assert_eq!(pair.connects, 1, "a transaction longer than the window travelled alone, within the rules");
}

#[test]
fn an_upload_is_cut_into_messages() {
    let mut pair = Pair::new();
    for _ in 0..10 {
        pair.commit(&[b'x'; 100_000]);
    }
    pair.settle();
    pair.check();
    let uploads: Vec<_> =
        pair.recorded.iter().filter(|frame| frame.len() > 10_000).map(|frame| frame.len()).collect();
    assert_eq!(uploads.len(), 5, "two of them fit a message of 256 KiB: {uploads:?}");
}

#[test]
fn a_slow_client_falls_back_to_catch_up() {
    let mut pair = Pair::new();
    pair.settle();
    pair.server_config.queue_bytes_max = 2000;
    pair.cut();
    pair.settle();
    let caught_up = pair.device.caught_up;
    // All of it is written at once, and the queue takes the first part only.
    for _ in 0..20 {
        pair.hub.write_elsewhere(&[b'x'; 600]);
    }
    pair.settle();
    pair.check();
    assert_eq!((pair.device.wholes.len(), pair.device.caught_up - caught_up), (4, 16));
    // From there on it goes on as before.
    pair.hub.write_elsewhere(b"small");
    pair.settle();
    assert_eq!((pair.device.wholes.len(), pair.device.caught_up - caught_up), (5, 16));
}

#[test]
fn a_large_transaction_travels_in_several_chunks() {
    let mut pair = Pair::new();
    pair.hub.write_elsewhere(b"big, and the very first");
    pair.hub.write_elsewhere(b"small");
    pair.hub.write_elsewhere(b"big again");
    pair.settle();
    pair.check();
    assert_eq!(pair.device.caught_up, 3);
    assert!(pair.device.split_chunks >= 4, "{} chunks ended within a Seq", pair.device.split_chunks);
    // Live, the same is one push.
    pair.hub.write_elsewhere(b"big as well");
    pair.settle();
    assert_eq!((pair.device.wholes.len(), pair.device.caught_up), (1, 3));
}

#[test]
fn a_cut_within_a_large_transaction_costs_only_its_repetition() {
    let mut pair = Pair::new();
    pair.hub.write_elsewhere(b"small");
    pair.hub.write_elsewhere(b"big");
    // Hello, LoginAccepted and two chunks: the second one ends within Seq 2.
    assert!(pair.drive(MINUTE, |pair| pair.device.split_chunks == 1));
    assert_eq!((pair.device.cursor.seq, pair.device.live), (Seq(1), false));
    pair.cut();
    pair.settle();
    pair.check();
    assert_eq!((pair.device.cursor.seq, pair.connects), (Seq(2), 2));
}

#[test]
fn a_server_that_drains_says_so() {
    let mut pair = Pair::new();
    pair.commit(b"one");
    pair.settle();
    pair.server.as_mut().unwrap().drain();
    assert!(pair.drive(MINUTE, |pair| !pair.client_closed.is_empty()));
    let closed = &pair.client_closed[0];
    assert_eq!((closed.by, closed.code), (ClosedBy::Peer, Code::GoingAway));
    assert!(closed.code.retry_helps());
    pair.commit(b"two");
    pair.settle();
    pair.check();
    assert_eq!(pair.connects, 2);
}

/// Something that happens to a pair.
#[derive(Clone, Debug)]
enum Happening {
    Commit(&'static [u8]),
    Elsewhere(&'static [u8]),
    Run(u64),
    Cut,
    CutAfter(usize),
    Stall(bool),
    SwallowUp,
    SwallowDown,
    NetworkIsBack,
}

fn happening() -> impl Strategy<Value = Happening> {
    let ops = prop::sample::select(vec![&b"fine"[..], b"big", b"refuse", b"gone", b"half", &[b'x'; 700]]);
    prop_oneof![
        6 => ops.prop_map(Happening::Commit),
        3 => prop::sample::select(vec![&[b'e'; 300][..], b"big"]).prop_map(Happening::Elsewhere),
        6 => (0u64..300).prop_map(Happening::Run),
        2 => Just(Happening::Cut),
        3 => (1usize..12).prop_map(Happening::CutAfter),
        1 => any::<bool>().prop_map(Happening::Stall),
        1 => Just(Happening::SwallowUp),
        1 => Just(Happening::SwallowDown),
        1 => Just(Happening::NetworkIsBack),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens on the way: nothing is decided twice, every refusal comes back once, and nothing is missing.
    #[test]
    fn every_history_settles(happenings in prop::collection::vec(happening(), 0..60), window in 1usize..5) {
        let mut pair = Pair::new();
        pair.server_config.limits = Limits { upload_window_txs: window, upload_window_bytes: 1500, ..Limits::default() };
        pair.server_config.queue_bytes_max = 1500;
        for happening in happenings {
            match happening {
                Happening::Commit(ops) => pair.commit(ops),
                Happening::Elsewhere(ops) => pair.hub.write_elsewhere(ops),
                Happening::Run(millis) => {
                    pair.drive(Duration::from_millis(millis), |_| false);
                }
                Happening::Cut => pair.cut(),
                Happening::CutAfter(frames) => pair.cut_after = Some(frames),
                Happening::Stall(stalled) => pair.hub.stalled = stalled,
                Happening::SwallowUp => pair.up.swallow = true,
                Happening::SwallowDown => pair.down.swallow = true,
                Happening::NetworkIsBack => pair.backoff.network_is_back(pair.now),
            }
            prop_assert!(pair.most_in_flight <= window);
        }
        pair.hub.stalled = false;
        pair.settle();
        pair.check();
    }
}

/// What a device missed comes before what it wrote meanwhile, so that it can tell where the two meet.
#[test]
fn uploads_wait_for_the_catch_up_but_not_for_long() {
    let mut pair = Pair::new();
    for _ in 0..50 {
        pair.hub.write_elsewhere(b"x");
    }
    pair.commit(b"mine");
    assert!(pair.drive(MINUTE, |pair| !pair.hub.outcomes.is_empty()));
    assert!(pair.device.live, "everything was here before");
    pair.settle();

    // A link that brings nothing must not hold writes back.
    let mut pair = Pair::new();
    pair.hub.write_elsewhere(b"x");
    pair.commit(b"mine");
    assert!(pair.drive(MINUTE, |pair| pair.client.as_ref().is_some_and(|client| client.is_logged_in())));
    let login = pair.now;
    pair.down = Wire::default();
    pair.down.swallow = true;
    assert!(pair.drive(MINUTE, |pair| pair.recorded.len() == 2));
    assert!(!pair.device.live);
    let waited = pair.now - login;
    assert!((2..3).contains(&waited.as_secs()), "{waited:?}");
}
