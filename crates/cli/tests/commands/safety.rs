//! Backup, restore, check and compact.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use reconvene::{Role, Store};

use crate::support::{City, Folder, Note, open, with_notes};

#[test]
fn a_backup_is_restored_as_it_was() {
    let folder = Folder::new();
    let store = with_notes(&folder, 100);
    let peer = store.sync().peer();
    let said = folder.run(&["backup", "data", "monday.backup"]).ok();
    assert!(said.ends_with(" bytes of data are in monday.backup\n"), "{said}");
    store.boxed::<Note>().unwrap().remove(1).unwrap();
    let said = folder.run(&["restore", "monday.backup", "copy"]).ok();
    assert!(said.contains(&format!("This is a copy of a device's identity ({peer})")), "{said}");
    assert_eq!(folder.run(&["query", "copy", "Note", "--count"]).ok(), "100\n");
    assert_eq!(folder.run(&["check", "copy"]).ok(), "no damage: 100 objects read\n");
    assert_eq!(folder.names(), ["copy", "data", "monday.backup"], "nothing half made lies about");

    let server = Folder::new();
    drop(open(&server, Role::Server));
    server.run(&["backup", "data", "b"]).ok();
    let said = server.run(&["restore", "b", "copy"]).ok();
    assert!(said.contains("A new history of the server begins after position 0"), "{said}");
}

#[test]
fn backups_replace_nothing_unless_told() {
    let folder = Folder::new();
    drop(with_notes(&folder, 1));
    folder.write("b", "precious");
    let complaint = folder.run(&["backup", "data", "b"]).fails(2);
    assert_eq!(complaint, "b exists already; name another file, or give --force to replace it\n");
    assert_eq!(folder.read("b"), "precious");
    folder.run(&["backup", "data", "b", "--force"]).ok();
    folder.run(&["restore", "b", "copy"]).ok();
    folder.run(&["backup", "nowhere", "c"]).fails(2);
    assert_eq!(folder.names(), ["b", "copy", "data"]);
}

#[test]
fn a_damaged_backup_is_refused_before_anything_happens() {
    let folder = Folder::new();
    drop(with_notes(&folder, 10));
    folder.run(&["backup", "data", "b"]).ok();
    let whole = fs::read(folder.path("b")).unwrap();
    let mut flipped = whole.clone();
    flipped[5_000] ^= 1;
    let cut = whole[..whole.len() - 1].to_vec();
    for (content, expected) in [
        (flipped, "b cannot be restored: its checksum is not the one that it was written with"),
        (cut, "b cannot be restored: it does not end like a backup"),
        (b"something else".to_vec(), "b cannot be restored: it does not end like a backup"),
    ] {
        folder.write("b", content);
        for (directory, force) in [("new", &[][..]), ("data", &["--force"])] {
            let complaint = folder.run(&[&["restore", "b", directory], force].concat()).fails(1);
            assert!(complaint.starts_with(expected), "{complaint}");
        }
    }
    assert_eq!(folder.names(), ["b", "data"]);
    assert_eq!(folder.run(&["query", "data", "Note", "--count"]).ok(), "10\n");
}

#[test]
fn what_a_restore_replaces_is_moved_aside_and_never_deleted() {
    let folder = Folder::new();
    let store = with_notes(&folder, 3);
    folder.run(&["backup", "data", "b"]).ok();
    store.boxed::<Note>().unwrap().put(&mut Note::default()).unwrap();
    let complaint = folder.run(&["restore", "b", "data"]).fails(2);
    assert_eq!(complaint, "data is not empty; name another directory, or give --force to move it aside\n");
    let complaint = folder.run(&["restore", "b", "data", "--force"]).fails(1);
    assert!(complaint.contains("is open in another process"), "{complaint}");
    drop(store);
    for number in 1..=2 {
        let said = folder.run(&["restore", "b", "data", "--force"]).ok();
        assert!(said.contains(&format!("data.before-restore-{number}\n")), "{said}");
    }
    let counts = ["data", "data.before-restore-1", "data.before-restore-2"]
        .map(|name| folder.run(&["query", name, "Note", "--count"]).ok());
    assert_eq!(counts, ["3\n", "4\n", "3\n"]);
    fs::create_dir(folder.path("empty")).unwrap();
    folder.run(&["restore", "b", "empty"]).ok();
    folder.run(&["restore", "missing", "other"]).fails(2);
}

#[test]
fn backups_of_a_database_that_is_written_to_hold_whole_transactions() {
    let folder = Folder::new();
    let store = open(&folder, Role::Device);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (notes, cities) = (store.boxed::<Note>().unwrap(), store.boxed::<City>().unwrap());
            while !done.load(Ordering::SeqCst) {
                let text = "x".repeat(300);
                notes.put_many(&mut vec![Note { text, ..Note::default() }; 50]).unwrap();
                cities.put_many(&mut vec![City::default(); 20]).unwrap();
            }
        });
        for round in 0..4 {
            let (file, copy) = (format!("b{round}"), format!("copy{round}"));
            folder.run(&["backup", "data", &file]).ok();
            folder.run(&["restore", &file, &copy]).ok();
            let said = folder.run(&["check", &copy]).ok();
            assert!(said.starts_with("no damage"), "{said}");
            for (entity, whole) in [("Note", 50), ("City", 20)] {
                let count: u64 =
                    folder.run(&["query", &copy, entity, "--count"]).ok().trim().parse().unwrap();
                assert_eq!(count % whole, 0, "{entity}");
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    let said = folder.run(&["check", "data"]).ok();
    assert!(said.starts_with("no damage"), "{said}");
}

#[test]
fn a_damaged_record_is_named() {
    let folder = Folder::new();
    drop(with_notes(&folder, 20));
    let path = folder.path("data/data.mdb");
    let mut bytes = fs::read(&path).unwrap();
    let text = b"note number 000007 in the book";
    let mut damaged = 0;
    for at in 0..bytes.len() - text.len() {
        if bytes[at..].starts_with(text) {
            // The length of the text stands before it.
            assert_eq!(bytes[at - 4..at], [30, 0, 0, 0]);
            bytes[at - 2] = 0x7f;
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    fs::write(&path, bytes).unwrap();
    let run = folder.run(&["check", "data"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.starts_with("Note 8: slot 1 of the record does not hold a String"), "{run:?}");
    assert!(run.stderr.contains("1 finding; restore a backup"), "{run:?}");
    let complaint = folder.run(&["query", "data", "Note", "id == 8"]).fails(1);
    assert!(complaint.starts_with("the store is damaged"), "{complaint}");
}

#[test]
fn no_damage_to_the_file_ends_the_check_without_a_word() {
    let folder = Folder::new();
    drop(with_notes(&folder, 2_000));
    let path = folder.path("data/data.mdb");
    let whole = fs::read(&path).unwrap();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut found = 0;
    for round in 0..40 {
        let mut bytes = whole.clone();
        match round % 4 {
            // The heads of pages, where the structure of the file is.
            0 => (0..20).for_each(|_| {
                let at = next(bytes.len() / 4096) * 4096 + next(24);
                bytes[at] ^= 1 << next(8);
            }),
            1 => (0..200).for_each(|_| {
                let at = 8192 + next(bytes.len() - 8192);
                bytes[at] ^= 1 << next(8);
            }),
            2 => bytes.truncate((2 + next(whole.len() / 4096 - 2)) * 4096),
            _ => {
                let at = (2 + next(bytes.len() / 4096 - 2)) * 4096;
                bytes[at..at + 4096].fill(0xff);
            }
        }
        fs::write(&path, &bytes).unwrap();
        let run = folder.run(&["check", "data"]);
        match run.code {
            Some(0) => {}
            Some(1) => {
                assert!(!run.stderr.is_empty(), "round {round}: {run:?}");
                assert!(!run.stderr.contains(" was ended "), "round {round}: {run:?}");
                found += 1;
            }
            code => panic!("round {round}: {code:?} {run:?}"),
        }
        // Whatever looks into the file ends with a sentence, too.
        let look: &[&str] = match round % 4 {
            0 => &["query", "data", "Note", "stars > 3", "--format", "ndjson"],
            1 => &["stats", "data"],
            2 => &["backup", "data", "copy", "--force"],
            _ => &["export", "data", "Note", "--output", "notes.csv", "--force"],
        };
        let run = folder.run(look);
        match run.code {
            Some(0) => {}
            Some(1) => assert!(run.stderr.contains("reconvene: error: "), "round {round}: {run:?}"),
            code => panic!("round {round}: {code:?} {run:?}"),
        }
    }
    assert!(found >= 20, "only {found} of 40 damaged files were noticed");
}

#[test]
fn a_damaged_page_is_named_with_its_objects() {
    let folder = Folder::new();
    drop(with_notes(&folder, 2_000));
    let path = folder.path("data/data.mdb");
    let mut bytes = fs::read(&path).unwrap();
    let text = b"note number 001000 in the book";
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    let page = at / 4096;
    bytes[page * 4096] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let run = folder.run(&["check", "data"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let place = format!("page {page}, byte {}, Note: page {} stands in its place", page * 4096, page ^ 1);
    assert!(run.stdout.starts_with(&place), "{run:?}");
    assert!(run.stdout.contains("; it concerns Note "), "{run:?}");
    assert!(run.stdout.contains(" of 2000 objects can be read\n"), "{run:?}");
    assert!(run.stderr.starts_with("reconvene: error: 1 finding; restore a backup"), "{run:?}");

    bytes.truncate(page * 4096);
    fs::write(&path, &bytes).unwrap();
    for command in
        [&["query", "data", "Note"][..], &["stats", "data"], &["import", "data", "Note", "none.csv"]]
    {
        folder.write("none.csv", "text\na\n");
        let complaint = folder.run(command).fails(1);
        assert!(complaint.contains("it was cut short; run \"reconvene check data\""), "{complaint}");
    }
    assert!(folder.run(&["check", "data"]).stdout.contains("it was cut short"));
}

#[test]
fn compacting_needs_the_database_closed_and_keeps_everything() {
    let folder = Folder::new();
    let store = with_notes(&folder, 20_000);
    let notes = store.boxed::<Note>().unwrap();
    notes.query(Note::id().gt(10)).remove().unwrap();
    let complaint = folder.run(&["compact", "data"]).fails(1);
    assert!(
        complaint.contains(&format!("is open in another process ({})", std::process::id())),
        "{complaint}"
    );
    drop((store, notes));
    let before = folder.run(&["export", "data", "Note"]).ok();

    let reader = Store::builder(folder.path("data")).read_only().open().unwrap();
    let complaint = folder.run(&["compact", "data"]).fails(1);
    assert!(complaint.contains("is being read by another process"), "{complaint}");
    assert_eq!(reader.objects("Note").unwrap().count().unwrap(), 10);
    drop(reader);

    let bytes = || fs::metadata(folder.path("data/data.mdb")).unwrap().len();
    let large = bytes();
    folder.run(&["compact", "data"]).ok();
    assert!(bytes() * 10 < large, "{} of {large}", bytes());
    assert_eq!(folder.run(&["export", "data", "Note"]).ok(), before);
    folder.run(&["check", "data"]).ok();
    drop(with_notes(&folder, 1));
    folder.run(&["compact", "nowhere"]).fails(2);
}
