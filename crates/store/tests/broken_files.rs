//! Files that are broken, foreign, or not to be touched: opening says so, and changes nothing.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use reconvene_store::{Durability, Entity, Incoming, Role, SeamError, Store, StoreBuilder, StoreError};

#[derive(Entity, Clone, Debug, Default)]
#[entity(sync, crate = "reconvene_store")]
struct Task {
    id: u64,
    #[index]
    text: String,
}

fn builder(directory: &Path) -> StoreBuilder {
    Store::builder(directory).entity::<Task>().durability(Durability::Relaxed)
}

fn task(text: impl Into<String>) -> Task {
    Task { id: 0, text: text.into() }
}

/// Everything below a directory, with its bytes; directories have none.
fn everything(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
            found.insert(path, Vec::new());
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

/// Checks that opening is refused for the expected reason, and that nothing is there that was not.
fn check_refused(directory: &Path, is_expected: impl Fn(&SeamError) -> bool) {
    let before = everything(directory);
    match builder(directory).open() {
        Err(StoreError::Engine(error)) if is_expected(&error) => {}
        other => panic!("{other:?}"),
    }
    assert!(everything(directory) == before, "opening changed something");
    assert!(builder(directory).read_only().open().is_err());
    let data = directory.join(Store::DATA_FILE);
    assert!(fs::read(&data).ok().as_ref() == before.get(&data).filter(|_| data.is_file()));
}

fn is_damaged(error: &SeamError) -> bool {
    matches!(error, SeamError::Corrupted { .. }) && error.to_string().contains("restore a backup")
}

fn is_not_ours(error: &SeamError) -> bool {
    matches!(error, SeamError::NotOurs { .. }) && error.to_string().contains("choose another directory")
}

#[test]
fn a_data_file_of_any_length_is_whole_or_refused() {
    let original = tempfile::tempdir().unwrap();
    let tasks = builder(original.path()).open().unwrap().boxed::<Task>().unwrap();
    tasks.put_many(&mut (0..400).map(|n| task(format!("task {n}"))).collect::<Vec<_>>()).unwrap();
    tasks.put(&mut task("large ".repeat(10_000))).unwrap();
    tasks.remove_many(&(1..100).collect::<Vec<_>>()).unwrap();
    tasks.put(&mut task("last")).unwrap();
    drop(tasks);
    let whole = fs::read(original.path().join(Store::DATA_FILE)).unwrap();
    let pages = (0..=whole.len()).step_by(4096).flat_map(|end| [end.saturating_sub(1), end, end + 1]);
    let mut refused = 0;
    for length in pages.chain([1, 17, 100, 600, 4200]).filter(|&length| length < whole.len()) {
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join(Store::DATA_FILE), &whole[..length]).unwrap();
        match builder(copy.path()).open() {
            Ok(store) => {
                assert_eq!(store.boxed::<Task>().unwrap().count().unwrap(), 303, "{length} bytes");
                assert_eq!(store.check().unwrap(), []);
            }
            Err(_) => {
                check_refused(copy.path(), |error| is_damaged(error) || (length < 200 && is_not_ours(error)));
                refused += 1;
            }
        }
    }
    assert!(refused > 50, "{refused} lengths of {} bytes", whole.len());
}

#[test]
fn a_meta_page_that_makes_no_sense_lets_nobody_change_the_file() {
    /// Where a meta page names the last page, and then its transaction, on machines of 64 bits.
    const LAST_PAGE_AT: usize = 136;
    let original = tempfile::tempdir().unwrap();
    let tasks = builder(original.path()).open().unwrap().boxed::<Task>().unwrap();
    for round in 0..6 {
        tasks.put_many(&mut vec![task("x".repeat(100)); 20 + round]).unwrap();
    }
    drop(tasks);
    let whole = fs::read(original.path().join(Store::DATA_FILE)).unwrap();
    let pages = (whole.len() / 4096) as u64;
    let word = |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().unwrap());
    let last_pages = [LAST_PAGE_AT, 4096 + LAST_PAGE_AT].map(word);
    let newest = usize::from(word(4096 + LAST_PAGE_AT + 8) > word(LAST_PAGE_AT + 8));
    let mut refused = 0;
    for meta in [0, 1] {
        for bit in 0..64 {
            let mut found = last_pages;
            found[meta] ^= 1 << bit;
            let is_nonsense = found[newest] < found[1 - newest] || found[newest] >= pages;
            if !is_nonsense {
                continue;
            }
            let mut bytes = whole.clone();
            bytes[meta * 4096 + LAST_PAGE_AT..][..8].copy_from_slice(&found[meta].to_le_bytes());
            let copy = tempfile::tempdir().unwrap();
            fs::write(copy.path().join(Store::DATA_FILE), &bytes).unwrap();
            check_refused(copy.path(), is_damaged);
            refused += 1;
        }
    }
    assert!(refused > 110, "{refused}");
}

#[test]
fn what_cannot_be_a_data_file_is_refused() {
    type Make = fn(&Path);
    type IsExpected = fn(&SeamError) -> bool;
    let make: [(Make, IsExpected); 5] = [
        (|data| fs::write(data, b"").unwrap(), is_damaged),
        (|data| fs::write(data, b"short").unwrap(), is_not_ours),
        (|data| fs::write(data, b"no database at all".repeat(1000)).unwrap(), is_not_ours),
        (|data| fs::write(data, [0; 20_000]).unwrap(), is_not_ours),
        (|data| fs::create_dir(data).unwrap(), is_not_ours),
    ];
    for (make, is_expected) in make {
        let directory = tempfile::tempdir().unwrap();
        make(&directory.path().join(Store::DATA_FILE));
        check_refused(directory.path(), is_expected);
    }
}

#[test]
fn a_file_where_the_directory_should_be_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("store");
    fs::write(&path, b"a letter").unwrap();
    let error = builder(&path).open().unwrap_err();
    assert!(matches!(error, StoreError::Engine(SeamError::Io { .. })), "{error}");
    assert!(error.to_string().contains("check the disk, the permissions and the path"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"a letter");
}

const CHILD: &str = "RECONVENE_TEST_CHILD_DIRECTORY";

/// Runs a test of this program again as somebody who has to heed permissions, which the superuser does not.
fn run_heeding_permissions(test: &str, directory: &Path) {
    let exe = std::env::current_exe().unwrap();
    let is_superuser = rustix::process::geteuid().is_root();
    let mut command = Command::new(if is_superuser { Path::new("setpriv") } else { exe.as_path() });
    if is_superuser {
        command.arg("--bounding-set=-dac_override,-dac_read_search").arg(&exe);
    }
    let output = command.args(["--exact", test, "--nocapture"]).env(CHILD, directory).output();
    let output =
        output.expect("`setpriv`, with which the superuser gives up the right to pass over permissions");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn what_may_not_be_written_or_read_is_refused_until_it_may() {
    let Some(directory) = std::env::var_os(CHILD).map(PathBuf::from) else {
        let directory = tempfile::tempdir().unwrap();
        const NAME: &str = "what_may_not_be_written_or_read_is_refused_until_it_may";
        return run_heeding_permissions(NAME, directory.path());
    };
    let store = directory.join("store");
    let data = store.join(Store::DATA_FILE);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let denied = |directory: &Path| {
        let error = builder(directory).open().unwrap_err();
        let StoreError::Engine(SeamError::Io { source, .. }) = &error else { panic!("{error}") };
        assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("check the disk, the permissions and the path"), "{error}");
    };
    builder(&store).open().unwrap().boxed().unwrap().put(&mut task("kept")).unwrap();
    let before = fs::read(&data).unwrap();
    // A directory in which nothing may be made, and files that may not be written.
    fs::remove_file(store.join("reconvene.lock")).unwrap();
    mode(&store, 0o555);
    denied(&store);
    denied(&store.join("below"));
    mode(&store, 0o755);
    mode(&data, 0o444);
    denied(&store);
    mode(&data, 0o000);
    denied(&store);
    mode(&data, 0o644);
    assert!(fs::read(&data).unwrap() == before);
    assert!(!store.join("reconvene.lock").exists() && !store.join("below").exists());
    let tasks = builder(&store).open().unwrap().boxed::<Task>().unwrap();
    assert_eq!(tasks.put(&mut task("more")).unwrap(), 2);
    // An open store has its files; what becomes of the permissions later does not matter to it.
    mode(&store, 0o555);
    assert_eq!(tasks.put(&mut task("still more")).unwrap(), 3);
    mode(&store, 0o755);
}

#[test]
fn a_refused_schema_leaves_no_lock_file_in_a_copy() {
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let store = builder(directory.path()).open().unwrap();
    store.backup(copy.path().join(Store::DATA_FILE)).unwrap();
    let before = everything(copy.path());
    let error = builder(copy.path()).role(Role::Server).open().unwrap_err();
    assert!(matches!(error, StoreError::WrongRole { .. }), "{error}");
    assert!(everything(copy.path()) == before);
    drop(Store::hold(copy.path()).unwrap());
    assert!(everything(copy.path()) == before);
    builder(copy.path()).open().unwrap();
}

/// Two copies of one device that go their own ways have one identity and two chains; the server knows one of them.
#[test]
fn a_copied_directory_shows_at_login() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let server = Store::builder("memory:").entity::<Task>().role(Role::Server).open().unwrap();
    let put = |store: &Store, text: &str| store.boxed().unwrap().put(&mut task(text)).unwrap();
    let upload = |store: &Store| {
        let (sync, ledger) = (store.sync(), server.sync());
        let origin = ledger.register(sync.peer(), &sync.key().public()).unwrap();
        // What a login compares: the hash of the newest decided transaction, as the server and as the device have it.
        if origin.decided > 0 && sync.hash_of(origin.decided).unwrap() != Some(origin.hash) {
            return false;
        }
        for tx in sync.outbox(origin.decided, 9, 1 << 20).unwrap() {
            ledger.decide(&[Incoming { peer: sync.peer(), bytes: &tx.bytes }], &[]).unwrap();
        }
        true
    };
    let store = builder(&first).open().unwrap();
    put(&store, "before the copy");
    assert!(upload(&store));
    drop(store);
    fs::create_dir(&second).unwrap();
    fs::copy(first.join(Store::DATA_FILE), second.join(Store::DATA_FILE)).unwrap();
    let (first, second) = (builder(&first).open().unwrap(), builder(&second).open().unwrap());
    assert_eq!(first.sync().peer(), second.sync().peer());
    assert!(upload(&second), "a copy that has written nothing is the same device");
    put(&first, "by the first");
    put(&second, "by the second");
    assert!(upload(&first));
    assert!(!upload(&second), "the server must not take the second's transaction for the first's");
    // Also with more of its own than the server knows of the first, and its data stays.
    put(&second, "more by the second");
    assert!(!upload(&second));
    assert_eq!(second.boxed::<Task>().unwrap().count().unwrap(), 3);
    assert!(upload(&first));
}
