//! What the recorded process does: local and synced writes, sync, closings, new versions of the schema, a compaction.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;

use reconvene_model::Value;
use reconvene_store::{Durability, Object, SeamError, Store, StoreError};

use crate::disk::Random;
use crate::peers::{ALIKE, Peers, SERVER, STORES, VERSIONS, notes, object};

/// How many steps are taken with each version of the schema.
const ROUNDS: usize = 28;

pub(crate) fn run(root: &Path, marks: &Path, durability: Durability, seed: u64) {
    let marks = OpenOptions::new().append(true).create(true).open(marks).unwrap();
    let mut peers = Peers::new(root, durability, Some(marks));
    let mut random = Random::new(seed);
    let mut expected: [BTreeMap<u64, (String, i64)>; STORES] = Default::default();
    for version in 1..=VERSIONS {
        peers.version = version;
        (0..STORES).for_each(|store| peers.reopen(store));
        if version > ALIKE {
            (1..STORES).for_each(|device| expected[device] = notes(peers.store(device)));
        }
        for round in 0..ROUNDS {
            let device = 1 + random.below(STORES - 1);
            match random.below(10) {
                0..=2 => write_notes(&mut peers, device, &mut random, &mut expected[device]),
                3 => queue_notes(&mut peers, device, &mut random, &mut expected[device]),
                4..=5 => write_tasks(&mut peers, device, &mut random),
                6..=7 => peers.exchange(device).unwrap(),
                8 => {
                    let store = random.below(STORES);
                    peers.reopen(store);
                }
                _ => peers.step(device, true, |peers| peers.store(device).flush().unwrap()),
            }
            // While notes travel, those of others come.
            for device in (1..STORES).filter(|_| version != ALIKE) {
                assert_eq!(notes(peers.store(device)), expected[device], "version {version}, round {round}");
            }
        }
        let compacted = random.below(STORES);
        peers.close(compacted);
        Store::compact(peers.directory(compacted)).unwrap();
        peers.reopen(compacted);
        if version == 1 {
            // A copy is a store of its own; here it only has to leave the original alone.
            let copy = peers.directory(SERVER).join("copy");
            peers.store(SERVER).backup(&copy).unwrap();
            std::fs::remove_file(copy).unwrap();
        }
        if version == ALIKE {
            peers.agree().unwrap();
        }
    }
}

/// Puts, changes and removes some notes in one transaction, and does the same to what should be there.
fn write_notes(
    peers: &mut Peers,
    device: usize,
    random: &mut Random,
    expected: &mut BTreeMap<u64, (String, i64)>,
) {
    let mut next = expected.clone();
    peers.step(device, false, |peers| {
        let store = peers.store(device);
        let put = store.write(|tx| {
            for _ in 0..1 + random.below(4) {
                let (rank, known) = (random.below(50) as i64, pick(&next, random));
                // Some texts take pages of their own.
                let text = random.next().to_string().repeat(if random.chance(15) { 400 } else { 2 });
                match (random.below(3), known) {
                    (0, Some(id)) => {
                        tx.objects("Note")?.remove(id)?;
                        next.remove(&id);
                    }
                    (1, Some(id)) => {
                        tx.objects("Note")?.put(&mut object(id, &text, rank, "Note"))?;
                        next.insert(id, (text, rank));
                    }
                    _ => {
                        let id = tx.objects("Note")?.put(&mut object(0, &text, rank, "Note"))?;
                        next.insert(id, (text, rank));
                    }
                }
            }
            Ok(())
        });
        put.unwrap();
    });
    *expected = next;
}

/// Queues a write that puts some notes, and waits until it is said to be durable.
fn queue_notes(
    peers: &mut Peers,
    device: usize,
    random: &mut Random,
    expected: &mut BTreeMap<u64, (String, i64)>,
) {
    let count = 1 + random.below(4);
    let new: Vec<(String, i64)> =
        (0..count).map(|_| (random.next().to_string(), random.below(50) as i64)).collect();
    peers.step(device, false, |peers| {
        let notes = new.clone();
        let pending = peers.store(device).write_async(move |tx| {
            let put =
                |(text, rank): &(String, i64)| tx.objects("Note")?.put(&mut object(0, text, *rank, "Note"));
            notes.iter().map(put).collect::<Result<Vec<u64>, StoreError>>()
        });
        expected.extend(pending.wait().unwrap().into_iter().zip(new));
    });
}

fn write_tasks(peers: &mut Peers, device: usize, random: &mut Random) {
    peers.step(device, false, |peers| {
        let store = peers.store(device);
        let ids: BTreeMap<u64, ()> =
            store.objects("Task").unwrap().all().unwrap().iter().map(|task| (task.id, ())).collect();
        let written = store.write(|tx| {
            for _ in 0..1 + random.below(3) {
                let (rank, known) = (random.below(50) as i64, pick(&ids, random));
                let tasks = tx.objects("Task")?;
                match (random.below(4), known) {
                    (0, Some(id)) => {
                        tasks.remove(id)?;
                    }
                    (1, Some(id)) if tasks.contains(id)? => {
                        tasks.put(&mut Object::with_id(id).with("rank", Value::Int(rank)))?;
                    }
                    _ => {
                        let key = Value::String(format!("{device}-{}", random.next() % 1_000_000));
                        tasks.put(&mut object(0, "a task", rank, "Task").with("key", key))?;
                    }
                }
            }
            Ok(())
        });
        written.unwrap();
    });
}

fn pick<V>(known: &BTreeMap<u64, V>, random: &mut Random) -> Option<u64> {
    (!known.is_empty()).then(|| *known.keys().nth(random.below(known.len())).unwrap())
}

/// Puts notes until a flush fails, which the disk's shim sees to with the second one.
pub(crate) fn meet_a_failing_flush(root: &Path) {
    let mut peers = Peers::new(root, Durability::Full, None);
    peers.open(1, 1).unwrap();
    let put = |peers: &Peers, text: &str| {
        peers.store(1).objects("Note").unwrap().put(&mut object(0, text, 0, "Note"))
    };
    put(&peers, "before").unwrap();
    let error = put(&peers, "lost").unwrap_err();
    assert!(matches!(error, StoreError::Engine(SeamError::Io { .. })), "{error}");
    let error = put(&peers, "after").unwrap_err();
    assert!(matches!(error, StoreError::Engine(SeamError::Spent)), "{error}");
    assert!(error.to_string().contains("reopen it"));
    assert_eq!(notes(peers.store(1)).len(), 1, "what was committed can still be read");
    peers.close(1);
    peers.open(1, 1).unwrap();
    put(&peers, "again").unwrap();
    assert_eq!(notes(peers.store(1)).len(), 2);
}
