//! Sound files of random histories have no damage; damage done on purpose is named; nothing at all ends the reader.

use std::fs;
use std::path::Path;

use super::*;
use crate::seam::{DATA_FILE, Engine, EngineOptions, TableId};

const PAGE: usize = 4096;

fn nobody(_: &[u8], _: &[u8], _: Value<'_>) {}

fn look(bytes: &[u8]) -> Inspection {
    inspect(bytes, None, 1_000, &mut nobody).unwrap().unwrap()
}

fn told(bytes: &[u8]) -> Vec<String> {
    look(bytes).damages.iter().map(|damage| format!("{:?} {damage}", damage.area)).collect()
}

/// The one thing that is found.
#[track_caller]
fn only(bytes: &[u8]) -> Damage {
    let mut damages = look(bytes).damages;
    assert_eq!(damages.len(), 1, "{damages:?}");
    damages.remove(0)
}

fn open(directory: &Path) -> Engine {
    Engine::open_lmdb(directory, EngineOptions::default()).unwrap()
}

fn data(directory: &Path) -> Vec<u8> {
    fs::read(directory.join(DATA_FILE)).unwrap()
}

fn table(name: &str) -> Area {
    Area::Table(name.as_bytes().to_vec())
}

/// Random numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn put(engine: &Engine, table: TableId, keys: std::ops::Range<u64>, bytes: usize) {
    let mut tx = engine.write().unwrap();
    for key in keys {
        tx.put(table, &key.to_be_bytes(), &vec![key as u8; bytes]).unwrap();
    }
    tx.commit().unwrap();
}

/// A file with a table of two levels, one with large values, and free pages.
fn sample() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path());
    let tables = engine.tables(&["e/1", "large", "gone"]).unwrap();
    put(&engine, tables[0], 1..250, 100);
    put(&engine, tables[1], 1..3, 9_000);
    put(&engine, tables[2], 1..200, 100);
    engine.drop_table(tables[2]).unwrap();
    put(&engine, tables[0], 250..262, 100);
    drop(engine);
    let bytes = data(directory.path());
    assert_eq!(told(&bytes), [] as [String; 0]);
    bytes
}

/// The pages of the newest state that are of this kind and belong to a table, as their numbers.
fn pages_of(bytes: &[u8], kind: u16) -> Vec<usize> {
    let head = Head::read(&bytes).unwrap();
    let state = head.newest().unwrap();
    let file = PageFile::new(bytes, state).unwrap();
    let visit = &mut nobody;
    let mut walk = Walk::new(&file, state, 10, visit);
    walk.everything(state);
    let used = |page: &usize| walk.used.contains(*page as u64);
    (2..bytes.len() / PAGE).filter(used).filter(|page| half(bytes, page * PAGE + 10) == Some(kind)).collect()
}

fn newest_meta(bytes: &[u8]) -> usize {
    let transaction = |page: usize| word(bytes, page * PAGE + 16 + 8 + 16 + 96 + 8).unwrap();
    if transaction(1) > transaction(0) { PAGE } else { 0 }
}

#[test]
fn files_of_random_histories_are_sound_and_no_page_is_lost() {
    for seed in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let mut random = Random(seed);
        let engine = open(directory.path());
        let mut tables = engine.tables(&["a", "b", "c"]).unwrap();
        assert_eq!(told(&data(directory.path())), [] as [String; 0]);
        for round in 0..60 {
            let mut tx = engine.write().unwrap();
            for _ in 0..random.below(120) {
                let table = tables[random.below(3)];
                let mut key =
                    vec![random.below(256) as u8; 1 + random.below(40) * usize::from(round % 7 == 0)];
                key.push(random.below(32) as u8);
                match random.below(8) {
                    0..4 => tx.put(table, &key, &vec![7; random.below(300)]).unwrap(),
                    4 => tx.put(table, &key, &vec![7; random.below(20_000)]).unwrap(),
                    _ => drop(tx.delete(table, &key).unwrap()),
                }
            }
            match random.below(10) {
                0 => drop(tx),
                _ => tx.commit().unwrap(),
            }
            if round == 40 {
                engine.drop_table(tables[2]).unwrap();
                tables[2] = engine.table("c").unwrap();
            }
            if round % 4 == 0 {
                let bytes = data(directory.path());
                assert_eq!(told(&bytes), [] as [String; 0], "seed {seed}, round {round}");
                assert_eq!(look(&bytes).lost, 0, "seed {seed}, round {round}");
                assert_eq!(quick(&bytes[..]).unwrap(), []);
            }
        }
        let copy = directory.path().join("copy");
        engine.copy_to(&copy).unwrap();
        let copied = fs::read(copy).unwrap();
        assert_eq!(told(&copied), [] as [String; 0], "the compacted copy");
        assert_eq!((look(&copied).free, look(&copied).lost), (0, 0));
    }
}

#[test]
fn every_entry_is_shown_with_its_value() {
    let bytes = sample();
    let mut shown = std::collections::BTreeMap::new();
    let mut visit = |table: &[u8], key: &[u8], value: Value<'_>| {
        let last = *key.last().unwrap();
        assert!(value.read(10_000).unwrap().unwrap().iter().all(|&byte| byte == last));
        assert!(value.read(50).unwrap().is_none());
        *shown.entry(String::from_utf8(table.to_vec()).unwrap()).or_insert(0) += 1;
    };
    let found = inspect(&bytes[..], None, 10, &mut visit).unwrap().unwrap();
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), [("e/1".to_owned(), 261), ("large".to_owned(), 2)]);
    assert!(found.free > 2, "{found:?}");
    assert_eq!(lookup(&bytes[..], b"e/1", &199_u64.to_be_bytes(), 100).unwrap(), Some(vec![199; 100]));
    assert_eq!(lookup(&bytes[..], b"large", &2_u64.to_be_bytes(), 9_000).unwrap(), Some(vec![2; 9_000]));
    assert_eq!(lookup(&bytes[..], b"large", &2_u64.to_be_bytes(), 8_999).unwrap(), None);
    assert_eq!(lookup(&bytes[..], b"e/1", b"absent", 100).unwrap(), None);
    assert!(inspect(&bytes[..], Some(99), 10, &mut nobody).unwrap().is_none(), "another transaction");
}

#[test]
fn every_changed_byte_is_survived() {
    let whole = sample();
    let mut noticed = 0_usize;
    let mut bytes = whole.clone();
    for at in 0..whole.len() {
        // Each byte once, with another change from byte to byte; the heads of pages and nodes with all of them.
        let changes: &[u8] = if at % PAGE < 64 { &[0x01, 0x10, 0x80, 0xff] } else { &[0x01, 0x80, 0xff] };
        let changes = if at % PAGE < 64 { changes } else { &changes[at % 3..at % 3 + 1] };
        for change in changes {
            bytes[at] ^= change;
            let mut entries = 0_u32;
            let found = inspect(&bytes[..], None, 1_000, &mut |_, _, value| {
                entries += 1;
                value.read(100_000).unwrap();
            });
            noticed += usize::from(!found.unwrap().unwrap().damages.is_empty());
            assert!(entries <= 263, "byte {at}: {entries} entries");
            quick(&bytes[..]).unwrap();
            lookup(&bytes[..], b"e/1", &7_u64.to_be_bytes(), 1_000).unwrap();
            bytes[at] = whole[at];
        }
    }
    assert!(noticed > 2_000, "only {noticed} changes were noticed");
}

#[test]
fn many_changes_at_once_are_survived() {
    let whole = sample();
    let mut random = Random(5);
    for round in 0..4_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random.below(60) {
            let at = random.below(bytes.len() / PAGE) * PAGE;
            match random.below(4) {
                0 => bytes[at + random.below(24)] = random.below(256) as u8,
                1 => bytes[at + random.below(200)] ^= 1 << random.below(8),
                2 => {
                    let from = random.below(whole.len() / PAGE) * PAGE;
                    bytes.copy_within(from..from + PAGE, at);
                }
                _ => bytes[at + 16 + 2 * random.below(40)] = random.below(256) as u8,
            }
        }
        if random.below(3) == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        let found = look(&bytes);
        assert!(found.damages.len() <= 1_000, "round {round}");
        quick(&bytes[..]).unwrap();
    }
}

#[test]
fn files_cut_anywhere_are_named() {
    let whole = sample();
    for length in (0..whole.len()).step_by(509).chain([1, PAGE, 2 * PAGE, whole.len() - 1]) {
        let bytes = &whole[..length];
        let damages = look(bytes).damages;
        let ends_in_use = pages_of(&whole, 2).into_iter().any(|page| (page + 1) * PAGE > length);
        assert!(!ends_in_use || !damages.is_empty(), "{length} bytes");
        assert_eq!(quick(bytes).unwrap().is_empty(), damages.is_empty(), "{length} bytes: {damages:?}");
        if length >= 2 * PAGE && ends_in_use {
            assert!(damages[0].what.contains("cut short"), "{length} bytes: {damages:?}");
        }
    }
    assert!(look(b"").damages[0].what.starts_with("the file ends within meta page 0"));
}

#[test]
fn another_file_and_another_version_are_named() {
    let text = vec![b'x'; 3 * PAGE];
    assert!(told(&text)[0].contains("meta page 0 does not begin like one of LMDB"), "{:?}", told(&text));
    let mut bytes = sample();
    bytes[20] = 9;
    let damage = only(&bytes);
    assert_eq!((damage.page, damage.offset, &damage.area), (0, 20, &Area::Head));
    assert!(damage.what.starts_with("meta page 0 is of version 9 instead of 1; the other meta page names"));
    bytes[PAGE + 20] = 9;
    assert!(told(&bytes)[1].contains("neither meta page names a state"), "{:?}", told(&bytes));
    let mut bytes = sample();
    bytes[16 + 24] = 7;
    assert!(only(&bytes).what.starts_with("meta page 0 names a page size of 4103 bytes"));
    let mut bytes = sample();
    let newest = newest_meta(&bytes);
    bytes[newest + 16 + 8 + 16 + 96 + 8 + 3] = 1;
    assert!(only(&bytes).what.contains("do not follow each other"));
}

#[test]
fn swapped_pages_are_named_with_their_keys() {
    let mut bytes = sample();
    let leaves: Vec<_> =
        pages_of(&bytes, 2).into_iter().filter(|page| bytes[page * PAGE + 12] > 40).collect();
    let (one, other) = (leaves[2], leaves[4]);
    for at in 0..PAGE {
        bytes.swap(one * PAGE + at, other * PAGE + at);
    }
    let damages = look(&bytes).damages;
    assert_eq!(damages.len(), 2, "{damages:?}");
    for damage in damages {
        assert_eq!(damage.area, table("e/1"));
        let there = if damage.page == one as u64 { other } else { one };
        assert_eq!(damage.what, format!("page {there} stands in its place"));
        assert_eq!(damage.offset, damage.page * PAGE as u64);
        assert!(damage.keys.from.is_some() && damage.keys.to.is_some(), "{damage:?}");
    }
}

/// The place of the entry of so many in a page.
fn node(bytes: &[u8], page: usize, at: usize) -> usize {
    page * PAGE + usize::from(half(bytes, page * PAGE + 16 + 2 * at).unwrap())
}

#[test]
fn cycles_and_pages_used_twice_are_named() {
    let whole = sample();
    let branch = pages_of(&whole, 1)[0];
    let (second, third) = (node(&whole, branch, 1), node(&whole, branch, 2));
    let mut bytes = whole.clone();
    bytes[second..second + 2].copy_from_slice(&(branch as u16).to_le_bytes());
    let damage = only(&bytes);
    assert_eq!(damage.what, format!("it leads back to page {branch}, from which it is reached: a cycle"));
    assert_eq!((damage.page, damage.offset), (branch as u64, second as u64));
    let mut bytes = whole.clone();
    bytes.copy_within(second..second + 2, third);
    let damage = &look(&bytes).damages[0];
    assert!(damage.what.ends_with("which is used in another place as well"), "{damage}");
    let mut bytes = whole;
    bytes[second..second + 4].copy_from_slice(&[0xff; 4]);
    assert!(only(&bytes).what.contains(", and the last page is "));
    bytes[second..second + 4].copy_from_slice(&[1, 0, 0, 0]);
    assert!(only(&bytes).what.ends_with("it leads to page 1, which is a meta page"));
}

#[test]
fn a_free_page_in_use_is_named() {
    let mut bytes = sample();
    // The newest list of free pages is on a leaf whose key is a transaction.
    let leaf = pages_of(&bytes, 2)
        .into_iter()
        .find(|&page| half(&bytes, node(&bytes, page, 0) + 6) == Some(8) && told_free(&bytes, page))
        .unwrap();
    let list = node(&bytes, leaf, 0) + 16;
    let count = word(&bytes, list).unwrap();
    assert!(count >= 1);
    let used = pages_of(&bytes, 1)[0] as u64;
    let last = list + 8 * count as usize;
    let whole = bytes.clone();
    bytes[list..list + 8].copy_from_slice(&1_u64.to_le_bytes());
    bytes[list + 8..list + 16].copy_from_slice(&used.to_le_bytes());
    let damages = told(&bytes);
    assert!(
        damages
            .iter()
            .any(|damage| damage.contains(&format!("page {used}, which is in the list of free pages"))),
        "{damages:?}"
    );
    let mut bytes = whole.clone();
    bytes[list..list + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(only(&bytes).what.contains("is said to name"));
    let mut bytes = whole;
    bytes[last..last + 8].copy_from_slice(&1_u64.to_le_bytes());
    assert!(only(&bytes).what.starts_with("page 1 is listed as free, and the last page is"));
}

/// Whether a leaf belongs to the list of free pages: only there are keys in the machine's order, and small.
fn told_free(bytes: &[u8], page: usize) -> bool {
    word(bytes, node(bytes, page, 0) + 8).is_some_and(|key| key < 1_000)
}

#[test]
fn wrong_counts_and_orders_are_named() {
    let whole = sample();
    let leaf =
        pages_of(&whole, 2).into_iter().find(|page| half(&whole, page * PAGE + 12).unwrap() > 60).unwrap();
    // Two entries change places.
    let mut bytes = whole.clone();
    let at = leaf * PAGE + 16 + 20;
    bytes.swap(at, at + 2);
    bytes.swap(at + 1, at + 3);
    let damage = only(&bytes);
    assert_eq!(
        (damage.page, damage.what.as_str()),
        (leaf as u64, "a key does not come behind the one before it")
    );
    // One is lost.
    let mut bytes = whole.clone();
    bytes[at - 2] = bytes[at];
    bytes[at - 1] = bytes[at + 1];
    assert!(look(&bytes).damages.iter().any(|damage| damage.what == "two of its entries overlap"));
    // The table says another number of entries.
    let names = pages_of(&whole, 2)
        .into_iter()
        .find(|&page| half(&whole, node(&whole, page, 0) + 4) == Some(2))
        .unwrap();
    let mut bytes = whole.clone();
    let entries = node(&whole, names, 0) + 8 + 3 + 8 + 24;
    bytes[entries] ^= 1;
    let damage = only(&bytes);
    assert_eq!(damage.what, "its tree is said to have 260 entries and has 261");
    assert_eq!(damage.area, table("e/1"));
    // A key that belongs on another page.
    let mut bytes = whole;
    let key = node(&bytes, leaf, 20) + 8;
    bytes[key + 3] = 1;
    let damages = look(&bytes).damages;
    assert!(
        damages.iter().any(|damage| damage.what == "a key belongs on a page behind this one"),
        "{damages:?}"
    );
}

#[test]
fn large_values_that_lead_elsewhere_are_named() {
    let whole = sample();
    let first = pages_of(&whole, 4)[0];
    let mut bytes = whole.clone();
    bytes[first * PAGE + 12] = 99;
    assert!(only(&bytes).what.contains("a value of 9000 bytes: it leads to page "), "{:?}", told(&bytes));
    bytes[first * PAGE + 12] = 2;
    let damage = only(&bytes);
    assert_eq!(damage.what, format!("page {first} is said to begin 2 pages of a value that takes 3"));
    assert_eq!((damage.area, damage.keys.from.clone()), (table("large"), damage.keys.to));
    let leaf = pages_of(&whole, 2)
        .into_iter()
        .find(|&page| half(&whole, node(&whole, page, 0) + 4) == Some(1))
        .unwrap();
    let page_of_value = node(&whole, leaf, 0) + 16;
    let mut bytes = whole;
    bytes[page_of_value] ^= 1;
    assert!(only(&bytes).what.contains("should hold a value of 9000 bytes"), "{:?}", told(&bytes));
    bytes[page_of_value + 5] = 1;
    assert!(only(&bytes).what.contains(", and the last page is "), "{:?}", told(&bytes));
}
