//! `reconvene` as people and scripts meet it: what it prints where, and with which exit code, before a server runs.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// What a run left behind, as text.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the program in a folder, with an environment of nothing but `variables`.
fn run(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reconvene"));
    command.current_dir(folder).env_clear().envs(variables.iter().copied()).args(arguments);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.json"), "{}").unwrap();
    folder
}

/// A text without the line breaks that the width of the terminal makes.
fn flowing(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn without_authentication_it_refuses_to_serve() {
    let folder = folder();
    let run = run(folder.path(), &[], &["serve", "--model", "model.json"]);
    assert_eq!(run.code, Some(2));
    assert_eq!(run.stdout, "");
    assert_eq!(
        run.stderr,
        "reconvene: error: who may log in? Give a shared secret, with --shared-secret-file FILE or with \
         RECONVENE_SHARED_SECRET in the environment; or let every device in that reaches the server, with \
         --unsecured-no-authentication, for tests and closed networks only\n"
    );
    assert!(!folder.path().join("reconvene-data").exists(), "nothing was begun");
}

#[test]
fn a_new_database_needs_a_model() {
    let folder = folder();
    let run = run(folder.path(), &[], &["serve", "--unsecured-no-authentication"]);
    assert_eq!(run.code, Some(2));
    assert_eq!(
        run.stderr,
        "reconvene: error: reconvene-data holds no database yet, and a new one needs a model: name the model file of your \
         application with --model FILE, or another directory with --db-directory\n"
    );
    assert!(!folder.path().join("reconvene-data").exists(), "nothing was begun");
}

#[test]
fn mistakes_in_the_file_are_told_with_their_place() {
    let folder = folder();
    std::fs::write(folder.path().join("reconvene.json"), "{\n  \"bindd\": \"ws://127.0.0.1:0\"\n}\n")
        .unwrap();
    let run = run(folder.path(), &[], &["serve", "--unsecured-no-authentication"]);
    assert_eq!(run.code, Some(2));
    assert_eq!(
        run.stderr,
        "reconvene: error: reconvene.json, line 2, column 3: nothing is called \"bindd\"; did you mean bind?; only keys \
         that begin with _ may be anything\n"
    );
}

#[test]
fn mistakes_on_the_command_line_are_told() {
    let folder = folder();
    for (arguments, expected) in [
        (&["serv"][..], "unrecognized subcommand 'serv'"),
        (&["serve", "--bnid", "x"], "a similar argument exists: '--bind'"),
        (&["serve", "model.json"], "unexpected argument 'model.json'"),
        (&["serve", "--bind"], "a value is required for '--bind <URL>'"),
        (&["serve", "--bind=ws://[::1]:1", "--bind=ws://[::1]:1"], "cannot be used multiple times"),
        (&["serve", "--bind", "9999"], "--bind is \"9999\"; expected ws://"),
    ] {
        let run = run(folder.path(), &[], arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}");
        assert!(run.stderr.contains(expected), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
}

#[test]
fn a_secret_is_not_taken_from_the_command_line_and_never_printed() {
    const SECRET: &str = "hunter2hunter2hunter2";
    let folder = folder();
    std::fs::write(folder.path().join("by-file.json"), format!("{{\"sharedSecret\": \"{SECRET}\"}}"))
        .unwrap();
    std::fs::write(
        folder.path().join("wrong.json"),
        format!("{{\"sharedSecret\": {{\"a\": \"{SECRET}\"}}}}"),
    )
    .unwrap();
    std::fs::write(folder.path().join("broken.json"), format!("{{\"sharedSecret\": \"{SECRET}\" ")).unwrap();
    let by_argument = format!("--shared-secret={SECRET}");
    let known = &[("RECONVENE_SHARED_SECRET", SECRET)][..];
    let misspelt = &[("RECONVENE_SHARED_SECRT", SECRET)][..];
    for (variables, arguments, code) in [
        (&[][..], &[&by_argument[..]][..], 2),
        (&[], &["--shared-secret", SECRET], 2),
        (&[], &["--check-config", "--config=by-file.json"], 0),
        (&[], &["--check-config", "--config=wrong.json"], 2),
        (&[], &["--check-config", "--config=broken.json"], 2),
        (known, &["--check-config", "--log-level=trace"], 0),
        (known, &["--check-config", "--unsecured-no-authentication"], 2),
        (misspelt, &["--check-config", "--unsecured-no-authentication"], 0),
        (known, &["--print-config-schema"], 0),
        (known, &["--help"], 0),
    ] {
        let arguments = [&["serve", "--model=model.json"], arguments].concat();
        let run = run(folder.path(), variables, &arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.stderr);
        assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"), "{arguments:?}");
    }
}

#[test]
fn the_checked_configuration_names_values_and_their_sources() {
    let folder = folder();
    std::fs::write(
        folder.path().join("reconvene.json"),
        "{\n  \"sessionsMax\": 5,\n  \"logLevel\": \"warn\",\n  \"logFormat\": \"json\"\n}",
    )
    .unwrap();
    let variables = [("RECONVENE_LOG_LEVEL", "debug"), ("RECONVENE_LOG_FORMAT", "json")];
    let arguments = [
        "serve",
        "--check-config",
        "--unsecured-no-authentication",
        "--log-format=text",
        "--model=model.json",
    ];
    let run = run(folder.path(), &variables, &arguments);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let line = |name: &str| {
        let line = run.stdout.lines().find(|line| line.split(' ').next() == Some(name));
        flowing(line.unwrap_or_else(|| panic!("no {name} in {}", run.stdout)))
    };
    assert_eq!(line("bind"), "bind ws://127.0.0.1:9999 the default");
    assert_eq!(line("sessionsMax"), "sessionsMax 5 reconvene.json, line 2, column 3: `sessionsMax`");
    assert_eq!(line("logLevel"), "logLevel debug RECONVENE_LOG_LEVEL in the environment");
    assert_eq!(line("logFormat"), "logFormat text --log-format");
    assert!(run.stderr.starts_with("reconvene: warning: there is no authentication"), "{}", run.stderr);
    assert!(!folder.path().join("reconvene-data").exists(), "nothing was begun");
}

#[test]
fn the_schema_is_json_on_standard_output() {
    let folder = folder();
    // Neither a configuration nor an authentication is needed to ask for it.
    std::fs::write(folder.path().join("reconvene.json"), "broken").unwrap();
    let run = run(folder.path(), &[], &["serve", "--print-config-schema"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let schema: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(schema["properties"]["sessionsMax"]["type"], "integer");
}

#[test]
fn help_goes_to_standard_output_and_names_what_matters() {
    let folder = folder();
    let short = run(folder.path(), &[], &[]);
    assert_eq!((short.code, short.stderr.as_str()), (Some(0), ""));
    for expected in
        ["serve Runs a sync server until it is told to end", "demo ", "Usage: reconvene [COMMAND]"]
    {
        assert!(flowing(&short.stdout).contains(expected), "{}", short.stdout);
    }
    for (arguments, expected) in [
        (
            &["--help"][..],
            &["Exit codes: 0 done as asked", "1 it failed on the way", "2 nothing was begun"][..],
        ),
        (
            &["serve", "--help"],
            &[
                "In the environment: RECONVENE_DB_DIRECTORY; in the file: dbDirectory",
                "--unsecured-no-authentication[=<BOOL>]",
                "Everyone who can connect may then read, change and remove all data.",
                "The command line goes before the environment, the environment before the file.",
                "Exit codes: 0 done as asked",
                "A second signal ends it at once",
            ],
        ),
        (&["serve", "-h"], &["--bind <URL> Where devices connect [default: ws://127.0.0.1:9999]"]),
    ] {
        let run = run(folder.path(), &[], arguments);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        for expected in expected {
            assert!(flowing(&run.stdout).contains(expected), "{arguments:?}: {expected}\n{}", run.stdout);
        }
    }
    let version = run(folder.path(), &[], &["--version"]);
    assert_eq!(version.stdout, format!("reconvene {}\n", env!("CARGO_PKG_VERSION")));
}

#[cfg(unix)]
#[test]
fn files_that_may_not_be_read_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let file = folder.path().join("closed");
    std::fs::write(&file, "{}").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o000)).unwrap();
    if std::fs::File::open(&file).is_ok() {
        // The superuser may read everything; a file that leads to itself is one that nobody can read.
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("closed", &file).unwrap();
    }
    let reason = std::fs::File::open(&file).unwrap_err();
    for (argument, expected) in [
        ("--config=closed", format!("cannot read the configuration file closed: {reason}")),
        ("--model=closed", format!("--model names closed, which cannot be read: {reason}")),
        (
            "--shared-secret-file=closed",
            format!("--shared-secret-file names closed, which cannot be read: {reason}"),
        ),
    ] {
        let authentication =
            if argument.contains("secret") { &[][..] } else { &["--unsecured-no-authentication"] };
        let run = run(folder.path(), &[], &[&["serve", argument], authentication].concat());
        assert_eq!(run.code, Some(2), "{argument}");
        assert_eq!(run.stderr, format!("reconvene: error: {expected}\n"));
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_reconvene"));
    command.args(["serve", "--print-config-schema"]).env_clear().stdout(writer);
    let output = command.stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
}
