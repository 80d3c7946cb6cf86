//! What the structure says is told in the words of the model, beside whoever writes.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::Entity;

#[derive(Entity, Clone, Debug, Default)]
#[entity(crate = "crate", sync)]
struct City {
    id: u64,
    #[index]
    name: String,
}

fn open_store(directory: &Path) -> Store {
    Store::builder(directory).entity::<City>().open().unwrap()
}

fn put(store: &Store, cities: usize) {
    let city = |at: usize| City { id: 0, name: format!("city {at}") };
    store.boxed::<City>().unwrap().put_many(&mut (0..cities).map(city).collect::<Vec<_>>()).unwrap();
}

#[test]
fn a_sound_file_has_no_findings_and_a_damaged_one_names_its_objects() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_store(folder.path());
    put(&store, 2_000);
    drop(store);
    let report = Store::check_file(folder.path()).unwrap();
    assert_eq!((report.findings, report.unseen, report.lost_pages), (vec![], vec![], 0));
    assert!(report.pages > 20);
    assert_eq!(Store::check_head(folder.path()).unwrap(), []);

    let path = folder.path().join(DATA_FILE);
    let whole = fs::read(&path).unwrap();
    // The leaf on which City 1000 stands.
    let file = File::open(&path).unwrap();
    let mut bytes = whole.clone();
    let record = pages::lookup(&file, b"e/1", &1000_u64.to_be_bytes(), 1 << 16).unwrap().unwrap();
    let at = whole.windows(record.len()).position(|window| window == record).unwrap();
    let page = at / 4096;
    bytes[page * 4096 + 10] = 0;
    fs::write(&path, &bytes).unwrap();
    let report = Store::check_file(folder.path()).unwrap();
    let finding = report.findings[0].to_string();
    assert!(
        finding.starts_with(&format!("page {page}, byte {}, City: it is of a kind (0x0)", page * 4096 + 10)),
        "{finding}"
    );
    assert!(finding.contains("; it concerns City "), "{finding}");
    assert_eq!(report.findings.len(), 1);
    assert!(
        report.unseen[0].starts_with("City: 1") && report.unseen[0].ends_with(" of 2000 objects can be read"),
        "{report:?}"
    );

    bytes = whole;
    bytes.truncate(bytes.len() / 4096 / 2 * 4096);
    fs::write(&path, &bytes).unwrap();
    let head = Store::check_head(folder.path()).unwrap();
    assert!(head[0].what.contains("cut short"), "{head:?}");
    assert!(Store::check_file(folder.path()).unwrap().findings[0].what.contains("cut short"));
    fs::remove_file(&path).unwrap();
    assert!(Store::check_file(folder.path()).is_err() && Store::check_head(folder.path()).is_err());
}

/// Ends the other threads of a test that fails, too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_file_that_is_written_to_meanwhile_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    let store = open_store(directory);
    put(&store, 300);
    let file = File::open(directory.join(DATA_FILE)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let cities = store.boxed::<City>().unwrap();
            let mut round = 0;
            while !done.load(Ordering::SeqCst) {
                round += 1;
                let city = |at: u64| City { id: 0, name: format!("{at} {round}").repeat(5) };
                let mut all: Vec<_> = (0..40).map(city).collect();
                cities.put_many(&mut all).unwrap();
                for city in all.iter().take(30) {
                    cities.remove(city.id).unwrap();
                }
            }
        });
        let _ends = Ends(&done);
        for _ in 0..60 {
            assert_eq!(Store::check_head(directory).unwrap(), []);
            // The engine of the open store takes the place of one that another process would open.
            let found = loop {
                let snapshot = store.inner().engine.read().unwrap();
                if let Some(found) =
                    pages::inspect(&file, snapshot.transaction(), 10, &mut |_, _, _| {}).unwrap()
                {
                    break found;
                }
            };
            assert_eq!(found.damages, []);
            assert_eq!(found.lost, 0);
        }
    });
}
