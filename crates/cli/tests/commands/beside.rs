//! Every command beside a server that runs in a process of its own, with a device that keeps writing.

#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use reconvene::{Store, SyncClient};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{City, Folder, Note};

/// How many cities each transaction of the device puts.
const WHOLE: u64 = 20;

/// How many transactions may wait on the device before it writes no more.
const BACKLOG_MAX: u64 = 16;

/// How long anything may take on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

const BREATH: Duration = Duration::from_millis(1);

/// A server on the directory `data` of a folder; killed when dropped.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    fn start(folder: &Folder) -> Serving {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reconvene"))
            .args(["serve", "--model=model.json", "--db-directory=data", "--bind=ws://127.0.0.1:0"])
            .args(["--unsecured-no-authentication", "--log-format=json"])
            .current_dir(folder.path(""))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = loop {
            let line = log.next().expect("the server says when it is ready").unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["message"].as_str().is_some_and(|message| message.starts_with("ready")) {
                break event["address"].as_str().unwrap().to_owned();
            }
        };
        // Whoever does not read a pipe stops the one who writes to it.
        thread::spawn(move || log.for_each(drop));
        Serving { child, url }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn ends_in_good_order(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_model() -> Folder {
    let folder = Folder::new();
    let model = Store::builder("memory:").entity::<Note>().entity::<City>().open().unwrap();
    folder.write("model.json", model.model().to_json());
    folder
}

/// Ends the device also when the test fails, which would otherwise wait for it.
struct Ends<'d>(&'d AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Puts cities, whole transaction after whole transaction, until `done`, and waits until the server has them.
fn write_until(done: &AtomicBool, folder: &Folder, url: &str) -> u64 {
    let store = Store::builder(folder.path("device")).entity::<Note>().entity::<City>().open().unwrap();
    let client = SyncClient::builder(&store, url).start().unwrap();
    let cities = store.boxed::<City>().unwrap();
    while !done.load(Ordering::SeqCst) {
        if store.sync().undecided().unwrap() >= BACKLOG_MAX {
            thread::sleep(BREATH);
            continue;
        }
        let city = City { name: "x".repeat(300), ..City::default() };
        cities.put_many(&mut vec![city; WHOLE as usize]).unwrap();
    }
    client.wait_uploaded(PATIENCE).unwrap();
    client.stop();
    cities.count().unwrap()
}

#[test]
fn commands_beside_a_server_go_through_or_say_who_has_the_database() {
    let folder = with_model();
    let server = Serving::start(&folder);
    let done = AtomicBool::new(false);
    let count = |directory: &str| -> u64 {
        let printed = folder.run(&["query", directory, "City", "--count"]).ok();
        let count = printed.trim().parse().unwrap();
        assert_eq!(count % WHOLE, 0, "a transaction is seen whole or not at all");
        count
    };
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&done, &folder, &server.url));
        let ends = Ends(&done);
        while count("data") == 0 {
            assert!(!writer.is_finished(), "the device writes");
        }
        what_reads_goes_through(&folder, &count);
        what_writes_says_who_has_it(&folder, server.pid());
        let before = count("data");
        while count("data") == before {
            assert!(!writer.is_finished(), "the server goes on");
        }
        drop(ends);
        writer.join().unwrap()
    });
    assert_eq!(count("data"), written);
    server.ends_in_good_order();
    assert_eq!(folder.run(&["check", "data"]).ok(), format!("no damage: {} read\n", objects(written)));
    folder.run(&["compact", "data"]).ok();
    assert_eq!(count("data"), written);
}

fn objects(number: u64) -> String {
    let digits = number.to_string();
    let (thousands, rest) = digits.split_at(digits.len().saturating_sub(3));
    format!("{thousands}{}{rest} objects", if thousands.is_empty() { "" } else { "," })
}

fn what_reads_goes_through(folder: &Folder, count: &impl Fn(&str) -> u64) {
    let rows = folder.run(&["query", "data", "City", "name != null", "--format", "ndjson"]).ok();
    assert_eq!(rows.lines().count() as u64 % WHOLE, 0);
    assert!(folder.run(&["query", "data", "City", "--limit", "2"]).ok().ends_with("\n2 objects\n"));
    let stats = folder.run(&["stats", "data", "--format", "json"]).ok();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["role"], "server");
    assert!(stats["head"].as_u64() > Some(0), "{stats}");
    let rows = folder.run(&["export", "data", "City", "--format", "csv"]).ok();
    assert_eq!((rows.lines().count() as u64 - 1) % WHOLE, 0);

    for round in 0..3 {
        let (file, copy) = (format!("backup{round}"), format!("copy{round}"));
        let before = count("data");
        folder.run(&["backup", "data", &file]).ok();
        let after = count("data");
        folder.run(&["restore", &file, &copy]).ok();
        assert!(folder.run(&["check", &copy]).ok().starts_with("no damage: "));
        assert!((before..=after).contains(&count(&copy)), "the copy is of one moment in between");
        assert!(folder.run(&["check", "data"]).ok().starts_with("no damage: "));
    }

    let model = folder.run(&["model", "export", "data"]).ok();
    assert_eq!(model, folder.read("model.json"));
    folder.run(&["model", "export", "data", "--output", "exported.json"]).ok();
    assert_eq!(folder.read("exported.json"), model);
    assert!(folder.run(&["model", "show", "data"]).ok().starts_with("Note (id 1, "));
    assert_eq!(folder.run(&["model", "diff", "data", "model.json"]).ok(), "the same\n");
    let address = folder.run(&["model", "export", "ws://127.0.0.1:9999"]).fails(2);
    assert!(address.starts_with("ws://127.0.0.1:9999 is the address of a server; name the dir"), "{address}");
}

fn what_writes_says_who_has_it(folder: &Folder, server: u32) {
    folder.write("cities.csv", "name\nRoma\n");
    let before = folder.names();
    let held = format!("data is open in another process ({server}); end that process first");
    for command in [
        &["import", "data", "City", "cities.csv"][..],
        &["import", "data", "Note", "cities.csv", "--map", "name=text"],
        &["restore", "backup0", "data", "--force"],
        &["compact", "data"],
    ] {
        let complaint = folder.run(command).fails(1);
        assert!(complaint.starts_with(&held), "{command:?}: {complaint}");
    }
    let said = folder.run(&["import", "data", "City", "cities.csv", "--dry-run"]).ok();
    assert_eq!(said, "1 object can be read; nothing was written\n");
    let complaint = folder.run(&["restore", "backup0", "data"]).fails(2);
    assert!(complaint.starts_with("data is not empty; "), "{complaint}");
    let complaint = folder.run(&["import", "data", "City", "cities.csv", "--create"]).fails(2);
    assert!(complaint.starts_with("data has a database already; "), "{complaint}");
    assert_eq!(folder.names(), before, "nothing half made lies about");
}

#[test]
fn a_server_starts_beside_whoever_reads() {
    let folder = with_model();
    Serving::start(&folder).ends_in_good_order();
    let reader =
        Store::builder(folder.path("data")).read_only().role(reconvene::Role::Server).open().unwrap();
    let server = Serving::start(&folder);
    let done = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&done, &folder, &server.url));
        let ends = Ends(&done);
        while reader.objects("City").unwrap().count().unwrap() == 0 {
            assert!(!writer.is_finished(), "the device writes");
        }
        drop(ends);
        writer.join().unwrap()
    });
    assert_eq!(reader.objects("City").unwrap().count().unwrap(), written);
    server.ends_in_good_order();
    // The reader is a process as well, and compacting would take the file from under it.
    let complaint = folder.run(&["compact", "data"]).fails(1);
    assert!(complaint.contains("is being read by another process"), "{complaint}");
}
