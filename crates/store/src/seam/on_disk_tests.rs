//! What only the LMDB form has: files, other processes, a map that fills up, and disks that fail.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::suite_tests::{fill, keys, on_disk};
use super::*;

const MIB: u64 = 1024 * 1024;

fn small() -> EngineOptions {
    EngineOptions { map_bytes: MIB, map_bytes_max: 16 * MIB, ..EngineOptions::default() }
}

fn read_only() -> EngineOptions {
    EngineOptions { read_only: true, ..EngineOptions::default() }
}

fn open(directory: &Path, options: EngineOptions) -> Engine {
    Engine::open_lmdb(directory, options).unwrap()
}

/// Puts 200 values of 4 KiB, about 1.6 MiB with their pages.
fn put_much(engine: &Engine, table: TableId, round: u8) -> Result<()> {
    let mut tx = engine.write()?;
    for number in 0..200_u8 {
        tx.put(table, &[round, number], &[number; 4096])?;
    }
    tx.commit()
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    for durability in [Durability::Full, Durability::Relaxed] {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("made/when/missing");
        let options = EngineOptions { durability, ..EngineOptions::default() };
        let engine = open(&inner, options.clone());
        let table = engine.table("words").unwrap();
        fill(&engine, table, &["a", "b"]);
        engine.flush().unwrap();
        let mut tx = engine.write().unwrap();
        tx.put(table, b"c", b"lost").unwrap();
        drop(tx);
        drop(engine);
        let engine = open(&inner, options);
        assert!(
            matches!(engine.read().unwrap().count(table), Err(SeamError::UnknownTable)),
            "ids end with the engine"
        );
        let table = engine.table_if_exists("words").unwrap().unwrap();
        assert_eq!(
            keys(engine.read().unwrap().range(table, KeyRange::all(), Direction::Forward)),
            ["a", "b"]
        );
        assert_eq!(engine.disk_bytes().unwrap(), fs::metadata(inner.join("data.mdb")).unwrap().len());
    }
}

#[test]
fn a_full_map_grows_beside_readers_and_takes_the_transaction_then() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), small());
    let table = engine.table("big").unwrap();
    let done = AtomicBool::new(false);
    let grown = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let tx = engine.read().unwrap();
                    assert_eq!(tx.count(table).unwrap() % 200, 0, "half a transaction shows");
                    if let Some((key, value)) = tx.last(table).unwrap() {
                        assert_eq!(value, [key[1]; 4096]);
                    }
                }
            });
        }
        let mut grown = 0;
        for round in 0..4 {
            loop {
                match put_much(&engine, table, round) {
                    Ok(()) => break,
                    Err(SeamError::MapFull { map_bytes }) => {
                        assert_eq!(engine.grow().unwrap(), 2 * map_bytes)
                    }
                    Err(error) => panic!("{error}"),
                }
                grown += 1;
            }
        }
        done.store(true, Ordering::SeqCst);
        grown
    });
    assert_eq!(grown, 3, "from 1 MiB to 8 MiB");
    let usage = engine.map_usage().unwrap().unwrap();
    assert_eq!(usage.map_bytes, 8 * MIB);
    assert!((6 * MIB..8 * MIB).contains(&usage.used_bytes), "{usage:?}");
    assert_eq!(engine.read().unwrap().count(table).unwrap(), 800);
    drop(engine);
    // A map too small for the data is raised to what the data needs.
    let engine = open(directory.path(), EngineOptions { map_bytes_max: MIB, ..small() });
    let table = engine.table_if_exists("big").unwrap().unwrap();
    assert_eq!(engine.read().unwrap().get(table, &[3, 77]).unwrap(), Some(&[77; 4096][..]));
}

#[test]
fn a_kept_snapshot_shows_what_was_committed_last_and_keeps_no_pages() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), small());
    let table = engine.table("big").unwrap();
    for round in 0..50_u8 {
        for _ in 0..2 {
            let (one, other) = (engine.read().unwrap(), engine.read().unwrap());
            assert_eq!(one.count(table).unwrap(), u64::from(round > 0));
            assert_eq!(other.get(table, b"key").unwrap().map(|value| value[0]), round.checked_sub(1));
        }
        let mut tx = engine.write().unwrap();
        tx.put(table, b"key", &vec![round; 256 * 1024]).unwrap();
        assert!(engine.read().unwrap().count(table).unwrap() <= 1);
        tx.commit().unwrap();
    }
    // Two versions of the value, and one more that the next write could not use again yet.
    let used = engine.map_usage().unwrap().unwrap().used_bytes;
    assert!(used < 4 * 256 * 1024, "{used} bytes are in use");
}

#[test]
fn a_kept_snapshot_is_not_used_for_a_table_that_it_does_not_know() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), small());
    let table = engine.table("words").unwrap();
    fill(&engine, table, &["a"]);
    drop(engine);
    let engine = open(directory.path(), small());
    engine.read().unwrap();
    let table = engine.table_if_exists("words").unwrap().unwrap();
    assert_eq!(engine.read().unwrap().count(table).unwrap(), 1);
    let other = engine.table("others").unwrap();
    assert_eq!(engine.read().unwrap().count(other).unwrap(), 0);
    engine.drop_table(other).unwrap();
    assert!(engine.read().unwrap().count(other).is_err());
}

#[test]
fn the_map_does_not_grow_past_its_maximum() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), EngineOptions { map_bytes_max: MIB + 100_000, ..small() });
    let table = engine.table("big").unwrap();
    assert!(matches!(put_much(&engine, table, 0), Err(SeamError::MapFull { .. })));
    assert_eq!(engine.grow().unwrap(), MIB + 65_536, "whole steps of 64 KiB only");
    let full = MIB + 65_536;
    assert!(
        matches!(put_much(&engine, table, 0), Err(SeamError::MapFull { map_bytes }) if map_bytes == full)
    );
    assert!(matches!(engine.grow(), Err(SeamError::MapFull { map_bytes }) if map_bytes == full));
    // What fits is still welcome.
    fill(&engine, table, &["a"]);
    assert_eq!(engine.read().unwrap().count(table).unwrap(), 1);
}

#[test]
fn an_operation_after_a_full_map_says_that_the_transaction_failed() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), small());
    let table = engine.table("big").unwrap();
    let mut tx = engine.write().unwrap();
    let full = (0..=255_u8)
        .chain(0..=255)
        .enumerate()
        .find_map(|(number, byte)| tx.put(table, &number.to_be_bytes(), &[byte; 4096]).err());
    assert!(matches!(full, Some(SeamError::MapFull { map_bytes: MIB })), "{full:?}");
    assert!(matches!(tx.put(table, b"k", b"v"), Err(SeamError::TxFailed)));
    assert!(matches!(tx.commit(), Err(SeamError::TxFailed)));
    fill(&engine, table, &["a"]);
}

#[test]
fn an_address_space_that_is_refused_is_halved_until_it_fits() {
    let directory = tempfile::tempdir().unwrap();
    let engine =
        open(directory.path(), EngineOptions { map_bytes: 1 << 60, map_bytes_max: 1 << 60, ..small() });
    let table = engine.table("t").unwrap();
    fill(&engine, table, &["a"]);
    assert!(engine.disk_bytes().unwrap() < MIB, "the map must not become a file of its size");
}

#[test]
fn a_read_only_engine_reads_and_refuses_to_write() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Engine::open_lmdb(&directory.path().join("absent"), read_only());
    assert!(matches!(missing, Err(SeamError::Missing { .. })));
    assert!(!directory.path().join("absent").exists());
    let engine = open(directory.path(), small());
    let table = engine.table("words").unwrap();
    fill(&engine, table, &["a", "b"]);
    drop(engine);
    let engine = open(directory.path(), read_only());
    assert!(engine.is_read_only());
    assert_eq!(engine.table_if_exists("absent").unwrap(), None);
    let table = engine.table_if_exists("words").unwrap().unwrap();
    assert_eq!(engine.table_if_exists("words").unwrap(), Some(table));
    assert_eq!(keys(engine.read().unwrap().range(table, KeyRange::all(), Direction::Backward)), ["b", "a"]);
    for refused in [
        engine.write().map(drop),
        engine.table("new").map(drop),
        engine.grow().map(drop),
        engine.drop_table(table),
        engine.flush(),
    ] {
        assert!(matches!(refused, Err(SeamError::ReadOnly)), "{refused:?}");
    }
}

#[test]
fn a_directory_is_opened_once_in_a_process() {
    let (directory, engine) = on_disk();
    let second = Engine::open_lmdb(directory.path(), small());
    assert!(matches!(second, Err(SeamError::AlreadyOpen { .. })), "{second:?}");
    drop(engine);
    open(directory.path(), small());
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    for content in [&b"not a database"[..], &[0; 8192], &[255; 100_000]] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("data.mdb");
        fs::write(&file, content).unwrap();
        for options in [small(), read_only()] {
            let opened = Engine::open_lmdb(directory.path(), options);
            assert!(matches!(opened, Err(SeamError::NotOurs { .. })), "{opened:?}");
        }
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}

#[test]
fn a_file_cut_short_is_damage_and_not_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), small());
    let table = engine.table("big").unwrap();
    for number in 0..10_000_u32 {
        let mut tx = engine.write().unwrap();
        tx.append(table, &number.to_be_bytes(), b"some value").unwrap();
        if number % 5_000 == 4_999 {
            tx.commit().unwrap();
        }
    }
    let mut tx = engine.write().unwrap();
    for number in 0..10_000_u32 {
        tx.append(table, &number.to_be_bytes(), b"some value").unwrap();
    }
    tx.commit().unwrap();
    drop(engine);
    let file = fs::OpenOptions::new().write(true).open(directory.path().join("data.mdb")).unwrap();
    file.set_len(3 * 4096).unwrap();
    drop(file);
    let read_all = || -> Result<usize> {
        let engine = Engine::open_lmdb(directory.path(), small())?;
        let Some(table) = engine.table_if_exists("big")? else { return Ok(0) };
        let tx = engine.read()?;
        let mut len = 0;
        for entry in tx.range(table, KeyRange::all(), Direction::Forward)? {
            entry?;
            len += 1;
        }
        Ok(len)
    };
    let read = read_all();
    assert!(matches!(read, Err(SeamError::Corrupted { .. })), "{read:?}");
}

#[test]
fn tables_and_readers_have_limits_that_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), EngineOptions { tables_max: 2, readers_max: 3, ..small() });
    engine.tables(&["a", "b"]).unwrap();
    assert!(matches!(engine.table("c"), Err(SeamError::TooManyTables { max: 2 })));
    let readers: Vec<_> = (0..3).map(|_| engine.read().unwrap()).collect();
    assert!(matches!(engine.read(), Err(SeamError::TooManyReaders { max: 3 })));
    drop(readers);
    engine.read().unwrap();
    // An aborted table gives its place back.
    let other = tempfile::tempdir().unwrap();
    let engine = open(other.path(), EngineOptions { tables_max: 2, ..small() });
    for _ in 0..5 {
        let mut tx = engine.write().unwrap();
        tx.create_tables(&["x", "y"]).unwrap();
    }
    engine.tables(&["a", "b"]).unwrap();
}

#[test]
fn a_copy_is_a_store_of_one_snapshot() {
    let (directory, engine) = on_disk();
    let table = engine.table("words").unwrap();
    fill(&engine, table, &["a", "b"]);
    let copy = directory.path().join("copy");
    fs::create_dir(&copy).unwrap();
    assert!(engine.copy_to(&copy.join("data.mdb")).unwrap());
    fill(&engine, table, &["c"]);
    assert!(
        matches!(engine.copy_to(&copy.join("data.mdb")), Err(SeamError::Io { .. })),
        "copies replace nothing"
    );
    let copied = open(&copy, read_only());
    let table = copied.table_if_exists("words").unwrap().unwrap();
    assert_eq!(keys(copied.read().unwrap().range(table, KeyRange::all(), Direction::Forward)), ["a", "b"]);
    assert!(!Engine::memory().copy_to(&directory.path().join("nothing")).unwrap());
}

/// What a child process of these tests is to do, and in which directory.
const CHILD_ROLE: &str = "RECONVENE_TEST_SEAM_ROLE";
const CHILD_DIRECTORY: &str = "RECONVENE_TEST_SEAM_DIRECTORY";

/// The directory, if this process is the child for `role`.
fn child_directory(role: &str) -> Option<PathBuf> {
    (std::env::var(CHILD_ROLE).ok()? == role).then(|| std::env::var_os(CHILD_DIRECTORY).map(PathBuf::from))?
}

/// Says a word to the parent. The test harness writes to the same stream, so the word gets a line of its own.
fn say(word: &str) {
    println!("\n{word}");
    std::io::stdout().flush().unwrap();
}

/// Waits for a line of the parent; without one the parent is gone.
fn hear() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// This test program again, running only the named test of this module.
fn child(mut command: Command, test: &str, role: &str, directory: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = command
        .args(["--exact", &format!("seam::on_disk_tests::{test}"), "--nocapture"])
        .env(CHILD_ROLE, role)
        .env(CHILD_DIRECTORY, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

fn expect(output: &mut BufReader<ChildStdout>, word: &str) {
    let found = output.lines().any(|line| line.unwrap() == word);
    assert!(found, "the child ended without saying {word:?}");
}

#[test]
fn a_reading_process_follows_the_writer_and_its_map() {
    const TEST: &str = "a_reading_process_follows_the_writer_and_its_map";
    if let Some(directory) = child_directory("follower") {
        let engine = open(&directory, EngineOptions { read_only: true, ..small() });
        let table = engine.table_if_exists("big").unwrap().unwrap();
        assert_eq!(engine.read().unwrap().count(table).unwrap(), 1);
        say("opened");
        assert_eq!(hear(), "look");
        let tx = engine.read().unwrap();
        assert_eq!(tx.count(table).unwrap(), 401);
        assert_eq!(tx.get(table, &[1, 199]).unwrap(), Some(&[199; 4096][..]));
        drop(tx);
        assert!(engine.table_if_exists("born later").unwrap().is_some());
        say("seen");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let engine = open(directory.path(), small());
    let table = engine.table("big").unwrap();
    fill(&engine, table, &["a"]);
    let (mut child, mut output) = child(this_program(), TEST, "follower", directory.path());
    expect(&mut output, "opened");
    engine.grow().unwrap();
    engine.grow().unwrap();
    put_much(&engine, table, 0).unwrap();
    put_much(&engine, table, 1).unwrap();
    engine.table("born later").unwrap();
    child.stdin.take().unwrap().write_all(b"look\n").unwrap();
    expect(&mut output, "seen");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_killed_writer_loses_nothing_it_committed_and_leaves_no_reader_behind() {
    const TEST: &str = "a_killed_writer_loses_nothing_it_committed_and_leaves_no_reader_behind";
    let options = || EngineOptions { readers_max: 1, ..small() };
    if let Some(directory) = child_directory("victim") {
        let engine = open(&directory, options());
        let table = engine.table("words").unwrap();
        fill(&engine, table, &["committed"]);
        let _reader = engine.read().unwrap();
        let mut tx = engine.write().unwrap();
        tx.put(table, b"pending", b"").unwrap();
        say("ready");
        hear();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (mut child, mut output) = child(this_program(), TEST, "victim", directory.path());
    expect(&mut output, "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    let engine = open(directory.path(), options());
    let table = engine.table_if_exists("words").unwrap().unwrap();
    assert_eq!(keys(engine.read().unwrap().range(table, KeyRange::all(), Direction::Forward)), ["committed"]);
    fill(&engine, table, &["more"]);
}

#[test]
fn a_file_that_may_not_grow_costs_a_transaction_and_nothing_else() {
    const TEST: &str = "a_file_that_may_not_grow_costs_a_transaction_and_nothing_else";
    if let Some(directory) = child_directory("limited") {
        let engine = open(&directory, EngineOptions::default());
        let table = engine.table("words").unwrap();
        fill(&engine, table, &["kept"]);
        let reader = engine.read().unwrap();
        let mut tx = engine.write().unwrap();
        for number in 0..200_u8 {
            tx.put(table, &[number], &[number; 4096]).unwrap();
        }
        let failed = tx.commit();
        assert!(matches!(failed, Err(SeamError::FileTooLarge)), "{failed:?}");
        assert_eq!(reader.count(table).unwrap(), 1);
        assert_eq!(engine.read().unwrap().get(table, b"kept").unwrap(), Some(&b"KEPT"[..]));
        fill(&engine, table, &["small"]);
        say("refused");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // The shell limits the size of files to some 256 KiB or 512 KiB, by its unit, and keeps the signal of the limit off.
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#"trap '' XFSZ; ulimit -f 512; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap());
    let (mut child, mut output) = child(shell, TEST, "limited", directory.path());
    expect(&mut output, "refused");
    assert!(child.wait().unwrap().success());
    let engine = open(directory.path(), small());
    let table = engine.table_if_exists("words").unwrap().unwrap();
    assert_eq!(
        keys(engine.read().unwrap().range(table, KeyRange::all(), Direction::Forward)),
        ["kept", "small"]
    );
    put_much(&engine, table, 0).unwrap_err();
    engine.grow().unwrap();
    put_much(&engine, table, 0).unwrap();
}
