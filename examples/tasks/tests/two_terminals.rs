//! The program itself, as two people use it: each with a directory, both with one server.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reconvene::model::model_file::ModelFile;
use reconvene::{Role, Store};
use reconvene_server::{Authentication, Secret, Server};

fn server(authentication: Authentication) -> Server {
    let model = ModelFile::parse(include_str!("../reconvene-model.json")).unwrap();
    let store = Store::builder("memory:").role(Role::Server).model(model).open().unwrap();
    let bind = "127.0.0.1:0".parse().unwrap();
    Server::builder(&store).bind(bind).authentication(authentication).start().unwrap()
}

fn tasks(directory: &Path, server: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tasks"));
    command.arg("--directory").arg(directory).args(["--server", server]).args(arguments);
    command
}

fn run(directory: &Path, server: &str, arguments: &[&str]) -> String {
    let output = tasks(directory, server, arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Ends the process when the test ends, however that may be.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_change_in_one_terminal_shows_in_the_other() {
    let server = server(Authentication::None);
    let url = format!("ws://{}", server.local_addr());
    let (ann, ben) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());

    let mut watch = Running(tasks(ann.path(), &url, &["watch"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(watch.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "nothing to do");

    let added = run(ben.path(), &url, &["add", "Call the bank"]);
    assert_eq!(added, "added 1\nin sync, 1 change sent\n");
    assert!(lines.any(|line| line == "   1 [ ] Call the bank"), "the program ended");

    assert_eq!(run(ben.path(), &url, &["done", "1"]), "1 is done\nin sync, 1 change sent\n");
    assert!(lines.any(|line| line == "   1 [x] Call the bank"), "the program ended");

    assert_eq!(run(ben.path(), &url, &["remove", "1"]), "removed 1\nin sync, 1 change sent\n");
    assert!(lines.any(|line| line == "nothing to do"), "the program ended");
}

#[test]
fn changes_made_offline_wait_for_the_server() {
    let server = server(Authentication::None);
    let url = format!("ws://{}", server.local_addr());
    let (ann, ben) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());

    assert_eq!(run(ann.path(), &url, &["add", "Water", "--offline"]), "added 1\noffline: 1 change waiting\n");
    let unreachable = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(ann.path(), &format!("ws://{unreachable}"), &["add", "Prune"]);
    assert!(output.starts_with("added 2\nnot in sync, 2 changes waiting: "), "{output}");

    assert_eq!(run(ben.path(), &url, &["list"]), "nothing to do\nin sync, 0 changes sent\n");
    assert_eq!(run(ann.path(), &url, &["done", "1"]), "1 is done\nin sync, 3 changes sent\n");
    // Ids are each device's own, the order is everyone's.
    let list = |arguments: &[&str]| -> Vec<String> {
        let list = run(ben.path(), &url, arguments);
        list.lines().filter_map(|line| Some(line.split_once('[')?.1.to_owned())).collect()
    };
    assert_eq!(list(&["list"]), [" ] Prune"]);
    assert_eq!(list(&["list", "--all"]), ["x] Water", " ] Prune"]);
}

#[test]
fn a_secret_opens_the_server() {
    let server = server(Authentication::SharedSecret(Secret::new("open sesame")));
    let url = format!("ws://{}", server.local_addr());
    let directory = tempfile::tempdir().unwrap();
    let (secret, wrong) = (directory.path().join("secret"), directory.path().join("wrong"));
    std::fs::write(&secret, "open sesame\n").unwrap();
    std::fs::write(&wrong, "open barley\n").unwrap();
    let data = directory.path().join("data");

    let with = |file: &Path| run(&data, &url, &["list", "--shared-secret-file", file.to_str().unwrap()]);
    assert!(with(&wrong).contains("auth.secret-wrong"), "{}", with(&wrong));
    assert!(run(&data, &url, &["list"]).contains("auth.credentials-missing"));
    assert_eq!(with(&secret), "nothing to do\nin sync, 0 changes sent\n");
}

#[test]
fn mistakes_are_told_in_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let fail = |arguments: &[&str]| {
        let output = tasks(directory.path(), "ws://127.0.0.1:1", arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(fail(&["done", "7", "--offline"]).contains("task 7 cannot be marked as done"));
    assert!(fail(&["remove", "7", "--offline"]).contains("there is no task 7"));

    let mut watch = tasks(directory.path(), "ws://127.0.0.1:1", &["watch", "--offline"]);
    let mut watch = Running(watch.stdout(Stdio::piped()).spawn().unwrap());
    let mut first = [0; 1];
    watch.0.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let held = fail(&["list", "--offline"]);
    assert!(held.contains(&watch.0.id().to_string()), "the message names the process: {held}");
}
