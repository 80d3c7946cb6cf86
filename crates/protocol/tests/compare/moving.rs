//! The server's set moves on while a compare runs: together with a catch-up from the Seq at which it began, the outcome is
//! right.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use reconvene_model::compare::{CompareKey, CompareRange};
use reconvene_protocol::compare::{CompareMessage, CompareStep, Initiator, answer, decode_ranges};

use crate::support::{Objects, State, key, set, within};

/// A server: what it has, and where each object or tombstone stands in its history, once.
#[derive(Clone, Debug, Default)]
struct Server {
    objects: Objects,
    generations: BTreeMap<CompareKey, u64>,
    changes: BTreeMap<u64, CompareKey>,
    places: BTreeMap<CompareKey, u64>,
    head: u64,
}

impl Server {
    fn change(&mut self, change: &Change) {
        self.head += 1;
        let key = key(1, u64::from(change.origin), u64::from(change.counter));
        let generation = self.generations.entry(key).or_default();
        if change.remove {
            if self.objects.remove(&key).is_none() {
                return;
            }
            *generation += 1;
        } else {
            self.objects.insert(key, (*generation, self.head));
        }
        if let Some(place) = self.places.insert(key, self.head) {
            self.changes.remove(&place);
        }
        self.changes.insert(self.head, key);
    }

    /// What has changed after a Seq, each object as it is, a tombstone by its generation.
    fn catch_up(&self, after: u64) -> impl Iterator<Item = (CompareKey, Result<State, u64>)> {
        self.changes
            .range(after + 1..)
            .map(|(_, key)| (*key, self.objects.get(key).copied().ok_or_else(|| self.generations[key])))
    }
}

#[derive(Clone, Debug)]
struct Change {
    origin: u8,
    counter: u16,
    remove: bool,
}

fn change() -> impl Strategy<Value = Change> {
    (0..3u8, 1..300u16, 0..4u8).prop_map(|(origin, counter, remove)| Change {
        origin,
        counter,
        remove: remove == 0,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// A compare is worth the moment at which it began, not that of its end, and nothing if it was cut off.
    #[test]
    fn v04_compare_and_catch_up_together_are_right(
        before in vec(change(), 0..1500),
        cut in any::<prop::sample::Index>(),
        lost in vec((any::<prop::sample::Index>(), any::<bool>()), 0..20),
        bursts in vec(vec(change(), 0..40), 1..20),
        stop in proptest::option::of(0..6usize),
    ) {
        // The client followed the history up to some point, and then lost or damaged some of what it had.
        let mut server = Server::default();
        let mut client = Objects::new();
        for (at, change) in before.iter().enumerate() {
            server.change(change);
            if at <= cut.index(before.len()) {
                client = server.objects.clone();
            }
        }
        let keys: Vec<CompareKey> = client.keys().copied().collect();
        for (at, remove) in lost {
            if keys.is_empty() {
                break;
            }
            let key = keys[at.index(keys.len())];
            if remove {
                client.remove(&key);
            } else {
                client.insert(key, (0, 1_000_000));
            }
        }
        let mut bursts = bursts.iter().cycle();
        let mut moves = move |server: &mut Server| bursts.next().unwrap().iter().for_each(|change| server.change(change));
        // One compare may be cut off; the next begins anew with what the first has brought.
        if let Some(stop) = stop {
            run(&mut client, &mut server, &mut moves, Some(stop));
        }
        let worth = run(&mut client, &mut server, &mut moves, None);
        moves(&mut server);
        for (key, state) in server.catch_up(worth.unwrap()) {
            match state {
                // States of one server's history merge to the later one.
                Ok(state) => { client.entry(key).and_modify(|own| *own = (*own).max(state)).or_insert(state); }
                Err(generation) => if client.get(&key).is_some_and(|own| own.0 < generation) { client.remove(&key); },
            }
        }
        prop_assert_eq!(&client, &server.objects);
    }
}

/// Runs a compare, in which the server's set moves on before each answer and each object that is sent; what it is worth. The
/// connection may be cut after some steps.
fn run(
    client: &mut Objects,
    server: &mut Server,
    moves: &mut impl FnMut(&mut Server),
    stop: Option<usize>,
) -> Option<u64> {
    let mut initiator = Initiator::new();
    // Fingerprints are those of what the client had when it began, while the steps are carried out.
    let own = set(client);
    let mut worth = None;
    let mut steps = 0;
    while let Some(step) = initiator.poll() {
        steps += 1;
        if stop.is_some_and(|stop| steps > stop) {
            return None;
        }
        match step {
            CompareStep::Extra(range) => {
                for (key, _) in within(client, &range) {
                    client.remove(&key);
                }
            }
            CompareStep::Send(CompareMessage::Compare(block)) if block.is_empty() => {
                worth = Some(server.head);
                let answers = answer(&set(&server.objects), &[CompareRange::ALL], 1 << 20).unwrap();
                initiator.handle_answers(&answers, &own).unwrap();
            }
            CompareStep::Send(CompareMessage::Compare(block)) => {
                moves(server);
                let answers =
                    answer(&set(&server.objects), &decode_ranges(&block).unwrap(), 1 << 20).unwrap();
                initiator.handle_answers(&answers, &own).unwrap();
            }
            CompareStep::Send(CompareMessage::Fetch(block)) => {
                for range in decode_ranges(&block).unwrap() {
                    moves(server);
                    client.extend(within(&server.objects, &range));
                }
                initiator.handle_fetched();
            }
            CompareStep::Send(CompareMessage::Done) => {}
        }
    }
    worth
}
