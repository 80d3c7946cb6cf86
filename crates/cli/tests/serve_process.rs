//! `reconvene serve` as a process: it starts, says where, keeps its directory to itself, and ends in good order.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::io::{BufRead, BufReader, Lines};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// One synced entity with an id and a text.
const MODEL: &str = r#"{
  "entities": [
    {
      "id": "1:4711471147114711471",
      "lastPropertyId": "2:815815815815815815",
      "name": "Task",
      "flags": 2,
      "properties": [
        { "id": "1:123123123123123123", "name": "id", "type": 6, "flags": 1 },
        { "id": "2:815815815815815815", "name": "text", "type": 9 }
      ],
      "relations": []
    }
  ],
  "lastEntityId": "1:4711471147114711471",
  "lastIndexId": "0:0",
  "lastRelationId": "0:0",
  "lastSequenceId": "0:0",
  "modelVersion": 5,
  "modelVersionParserMinimum": 5,
  "retiredEntityUids": [],
  "retiredIndexUids": [],
  "retiredPropertyUids": [],
  "retiredRelationUids": [],
  "version": 1
}"#;

/// A server in a process of its own, killed when it is dropped.
struct Process {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Process {
    /// Starts a server on a free port, with its log as JSON.
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reconvene"))
            .args(["serve", "--log-format=json", "--unsecured-no-authentication"])
            .args(arguments)
            .env_clear()
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Process { child, log }
    }

    /// The next event with this message, passing over others.
    fn event(&mut self, message: &str) -> serde_json::Value {
        let mut passed = Vec::new();
        for line in &mut self.log {
            let line = line.unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"].as_str().is_some_and(|found| found.starts_with(message)) {
                return event;
            }
            passed.push(line);
        }
        panic!("the log ended without {message:?}: {passed:#?}");
    }

    /// Where it listens, as soon as it does.
    fn ready(&mut self) -> SocketAddr {
        let event = self.event("ready");
        event["address"].as_str().unwrap().strip_prefix("ws://").unwrap().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; gives the status and what was still in the log.
    fn end(mut self) -> (ExitStatus, String) {
        let rest: Vec<_> = (&mut self.log).map(Result::unwrap).collect();
        (self.child.wait().unwrap(), rest.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.json"), MODEL).unwrap();
    folder
}

const NEW: [&str; 2] = ["--model=model.json", "--bind=ws://127.0.0.1:0"];
const AGAIN: [&str; 1] = ["--bind=ws://127.0.0.1:0"];

#[test]
fn signals_end_it_in_good_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = folder();
        let mut server = Process::start(folder.path(), &NEW);
        let address = server.ready();
        assert_ne!(address.port(), 0);
        TcpStream::connect(address).unwrap();
        server.signal(signal);
        let (status, log) = server.end();
        assert_eq!(status.code(), Some(0), "{signal:?}: {log}");
        assert!(log.lines().last().unwrap().contains("\"ended\""), "{log}");
        TcpListener::bind(address).unwrap();
    }
}

#[test]
fn a_second_signal_leaves_nothing_to_wait_for() {
    let folder = folder();
    let mut server = Process::start(folder.path(), &NEW);
    // A connection that never speaks is what draining might wait for.
    let _silent = TcpStream::connect(server.ready()).unwrap();
    server.signal(Signal::TERM);
    server.event("ending");
    server.signal(Signal::INT);
    let (status, log) = server.end();
    // It may just have finished; else it says that it did not.
    match status.code() {
        Some(0) => assert!(log.contains("\"ended\""), "{log}"),
        Some(1) => assert!(log.contains("SIGINT came before everything was finished"), "{log}"),
        code => panic!("{code:?}: {log}"),
    }
}

#[test]
fn without_authentication_it_warns() {
    let folder = folder();
    let mut server = Process::start(folder.path(), &NEW);
    assert_eq!(server.event("there is no authentication")["level"], "WARN");
    server.ready();
}

/// What the last line of a log of JSON lines complains of.
fn complaint(log: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "ERROR", "{log}");
    line["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_directory_that_is_in_use_is_refused_with_the_process_that_uses_it() {
    let folder = folder();
    let mut first = Process::start(folder.path(), &NEW);
    let address = first.ready();
    let (status, log) = Process::start(folder.path(), &NEW).end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(complaint(&log).contains(&format!("({})", first.child.id())), "{log}");
    TcpStream::connect(address).unwrap();
}

#[test]
fn an_address_that_is_taken_is_named() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let bind = format!("--bind=ws://{address}");
    let (status, log) = Process::start(folder.path(), &["--model=model.json", &bind]).end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.lines().last().unwrap().contains(&address.to_string()), "{log}");
}

#[test]
fn the_directory_remembers_its_model_whatever_way_the_server_ended() {
    let folder = folder();
    let mut server = Process::start(folder.path(), &NEW);
    server.ready();
    server.signal(Signal::KILL);
    let (status, log) = server.end();
    assert_eq!(status.code(), None, "{log}");
    let mut server = Process::start(folder.path(), &AGAIN);
    server.ready();
    server.signal(Signal::TERM);
    assert_eq!(server.end().0.code(), Some(0));
}

#[test]
fn a_model_that_is_none_is_refused_before_anything_begins() {
    let folder = folder();
    std::fs::write(folder.path().join("model.json"), "[]").unwrap();
    let (status, log) = Process::start(folder.path(), &NEW).end();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(complaint(&log).starts_with("--model names model.json, which cannot be read: "), "{log}");
    assert!(!folder.path().join("reconvene-data").exists());
}

#[test]
fn a_path_that_looks_like_memory_is_a_directory() {
    let folder = folder();
    let arguments = [NEW[0], NEW[1], "--db-directory=memory:"];
    Process::start(folder.path(), &arguments).ready();
    assert!(folder.path().join("memory:").is_dir());
}
