//! What a compare costs: kilobytes and few rounds where little differs, whatever the set is and wherever the differences lie.

use reconvene_model::compare::CompareKey;

use crate::support::{Objects, Outcome, assert_exact, compare, key, set};

/// A generator of numbers that look random and are the same for ever.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

const OBJECTS: u64 = 1_000_000;

/// Three entities, of which thousand devices have inserted objects in sequence.
fn many_devices() -> Objects {
    let mut numbers = Numbers(1);
    let devices: Vec<u64> = (0..1000).map(|_| numbers.next()).collect();
    (0..OBJECTS)
        .map(|at| {
            (
                key(1 + at % 3, devices[(at / 3 % 1000) as usize], 1 + at / 3000),
                (0, 1 + numbers.next() % 1_000_000),
            )
        })
        .collect()
}

/// One entity, filled by one device.
fn one_device() -> Objects {
    (1..=OBJECTS).map(|at| (key(1, 0x1122_3344_5566_7788, at), (0, at))).collect()
}

/// Every object by a device of its own.
fn strangers() -> Objects {
    let mut numbers = Numbers(2);
    (0..OBJECTS).map(|at| (key(1, numbers.next(), 1), (0, 1 + at))).collect()
}

/// Makes a client that lacks some objects, has some otherwise, and some that the server lacks: `count` in all, spread evenly.
fn spread(server: &Objects, count: usize) -> Objects {
    let mut numbers = Numbers(3);
    let mut client = server.clone();
    let keys: Vec<CompareKey> = server.keys().copied().collect();
    let mut changed = 0;
    while changed < count {
        let at = keys[(numbers.next() % OBJECTS) as usize];
        if client.get(&at) != server.get(&at) {
            continue;
        }
        match changed % 3 {
            0 => {
                client.remove(&at);
            }
            1 => {
                client.insert(at, (0, 5_000_000 + numbers.next() % 100));
            }
            _ => {
                let counter = OBJECTS * 2 + numbers.next() % OBJECTS;
                client.insert(key(at.entity.0, at.gid.origin.0, counter), (0, 1));
            }
        }
        changed += 1;
    }
    client
}

fn measure(what: &str, client: &Objects, server: &Objects) -> Outcome {
    let outcome = compare(&set(client), &set(server));
    assert_exact(client, server, &outcome);
    let Outcome { rounds, fetches, bytes_up, bytes_down, .. } = outcome;
    println!("{what}: {rounds} rounds and {fetches} fetches, {bytes_up} bytes up, {bytes_down} bytes down");
    outcome
}

#[track_caller]
fn assert_cheap(outcome: &Outcome, bytes: usize, rounds: u64) {
    let total = outcome.bytes_up + outcome.bytes_down;
    assert!(total <= bytes, "{total} bytes instead of at most {bytes}");
    assert!(outcome.rounds <= rounds, "{} rounds instead of at most {rounds}", outcome.rounds);
}

#[test]
fn a_hundred_differences_in_a_million_objects_cost_kilobytes() {
    for (what, server) in
        [("many devices", many_devices()), ("one device", one_device()), ("strangers", strangers())]
    {
        let client = spread(&server, 100);
        assert_cheap(&measure(what, &client, &server), 100_000, 9);
    }
}

#[test]
fn differences_that_lie_together_cost_less() {
    let server = one_device();
    let mut client = server.clone();
    for at in 500_000..500_100 {
        client.remove(&key(1, 0x1122_3344_5566_7788, at));
    }
    assert_cheap(&measure("a hundred in a row", &client, &server), 20_000, 9);
    assert_cheap(&measure("nothing", &server, &server), 10_000, 1);
    let newest: Objects = server.iter().take(999_000).map(|(key, state)| (*key, *state)).collect();
    assert_cheap(&measure("the newest thousand", &newest, &server), 20_000, 9);
}

#[test]
fn a_side_without_objects_costs_one_round() {
    let server = strangers();
    assert_cheap(&measure("an empty client", &Objects::new(), &server), 10_000, 1);
    assert_cheap(&measure("an empty server", &server, &Objects::new()), 100, 1);
}

/// Less than the objects themselves, whose stamps and ids alone take more than an item.
#[test]
fn where_everything_differs_each_object_costs_an_item() {
    let server = one_device();
    let client: Objects = server.keys().map(|key| (*key, (0, 7_000_000))).collect();
    let outcome = measure("everything", &client, &server);
    assert_cheap(&outcome, 40_000_000, 600);
    assert!(outcome.fetch.len() < 1000, "{} ranges", outcome.fetch.len());
}
