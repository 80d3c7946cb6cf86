//! Query, stats and model.

use reconvene::Role;

use crate::support::{Folder, open, with_notes};

#[test]
fn queries_order_limit_and_count() {
    let folder = Folder::new();
    drop(with_notes(&folder, 10));
    let ids = |arguments: &[&str]| -> Vec<String> {
        let out = folder.run(&[&["query", "data", "Note", "--format=csv"], arguments].concat()).ok();
        out.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["stars >= 5"]), ["6", "8", "9"]);
    assert_eq!(ids(&["stars >= 5", "--order", "stars", "--desc", "--limit", "2"]), ["9", "8"]);
    assert_eq!(ids(&["--order", "weight", "--desc", "--offset", "8"]), ["2", "1"]);
    assert_eq!(ids(&["--order", "stars desc nulls last, text nocase", "--limit", "2"]), ["9", "8"]);
    assert_eq!(ids(&["COUNT tags == 2 AND stars BETWEEN 7 AND 8"]), ["8", "9"]);
    assert_eq!(ids(&["false"]).len(), 0);
    let run = |arguments: &[&str]| folder.run(&[&["query", "data", "Note"], arguments].concat());
    assert_eq!(run(&["id > 3", "--count"]).ok(), "7\n");
    assert!(run(&["stars == 5", "--explain"]).ok().contains("stars"), "an index is named");
    assert_eq!(run(&["false", "--format", "json"]).ok(), "[]\n");
    let table = run(&["id == 2"]).ok();
    assert!(
        table.contains("| note number 000001 in the book |") && table.ends_with("\n1 object\n"),
        "{table}"
    );
}

#[test]
fn mistakes_in_queries_are_told_with_their_place() {
    let folder = Folder::new();
    drop(with_notes(&folder, 1));
    for (arguments, expected) in [
        (&["data", "Note", "stars >"][..], "the condition `stars >`: line 1, column 8: expected a value"),
        (&["data", "Note", "star == 1"], "the condition `star == 1`: "),
        (&["data", "Note", "--order", "tags"], "Note.tags is of type StringVector, which has no order"),
        (
            &["data", "Note", "--order", "stars down"],
            "the order `stars down`: line 1, column 7: expected `,`, ASC",
        ),
        (&["data", "Note", "--order", "star"], "Note has no property \"star\" (did you mean \"stars\"?)"),
        (&["data", "note"], "there is no entity \"note\"; the model has Note, City"),
        (&["nowhere", "Note"], "there is no database in nowhere; is it another directory?"),
    ] {
        let complaint = folder.run(&[&["query"], arguments].concat()).fails(2);
        assert!(complaint.starts_with(expected), "{arguments:?}: {complaint}");
    }
    let run = folder.run(&["query", "data", "Note", "--desc"]);
    assert_eq!(run.code, Some(2));
    assert!(!folder.path("nowhere").exists());
}

#[test]
fn what_is_stored_cannot_act_on_a_terminal() {
    let folder = Folder::new();
    folder.write("a.ndjson", "{\"text\": \"\\u001b[2J\\u0007red\"}\n");
    folder.run(&["import", "data", "Note", "a.ndjson", "--create"]).ok();
    let table = folder.run(&["query", "data", "Note"]).ok();
    assert!(!table.contains('\u{1b}') && !table.contains('\u{7}') && table.contains("red"), "{table:?}");
}

#[test]
fn stats_tell_devices_from_servers() {
    let folder = Folder::new();
    let store = with_notes(&folder, 4);
    let stats = || -> serde_json::Value {
        serde_json::from_str(&folder.run(&["stats", "data", "--format", "json"]).ok()).unwrap()
    };
    let device = stats();
    assert_eq!(device["role"], "device");
    assert_eq!(device["peer"], store.sync().peer().to_string());
    assert_eq!(device["bytes"], std::fs::metadata(folder.path("data/data.mdb")).unwrap().len());
    assert_eq!((&device["outbox"], &device["cursor"]), (&0.into(), &0.into()));
    assert_eq!((&device["rejected"], &device["conflicts"]), (&0.into(), &0.into()));
    assert_eq!(device["entities"][0]["name"], "Note");
    assert_eq!(device["entities"][0]["objects"], 4);
    assert_eq!(device["entities"][1]["synced"], true);
    let table = folder.run(&["stats", "data"]).ok();
    assert!(table.contains("none: it has never synced"), "{table}");

    let folder = Folder::new();
    let server = open(&folder, Role::Server);
    let stats = folder.run(&["stats", "data", "--format", "json"]).ok();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!((&stats["role"], &stats["head"]), (&"server".into(), &0.into()));
    assert_eq!(stats["history"], format!("{:016x}", server.sync().epoch().unwrap()));
    assert!(stats.get("cursor").is_none());
}

#[test]
fn models_are_shown_checked_exported_and_compared() {
    let folder = Folder::new();
    drop(with_notes(&folder, 0));
    folder.run(&["model", "export", "data", "--output", "model.json"]).ok();
    let model = folder.read("model.json");
    assert_eq!(folder.run(&["model", "export", "data"]).ok(), model);
    let said = folder.run(&["model", "check", "model.json"]).ok();
    assert_eq!(said, "model.json: 2 entities, 1 of them synced; the model can be used\n");
    let shown = folder.run(&["model", "show", "data"]).ok();
    assert_eq!(folder.run(&["model", "show", "model.json"]).ok(), shown);
    assert!(
        shown.contains("City (id 2, uid ") && shown.contains("), synced, conflicts by property"),
        "{shown}"
    );
    assert!(shown.contains("| unique, indexed |") || shown.contains("unique"), "{shown}");

    let changed = model
        .replace("\"stars\"", "\"points\"")
        .replacen("\"type\": 7", "\"type\": 8", 1)
        .replace("\"City\"", "\"Town\"");
    assert_ne!(changed, model);
    folder.write("changed.json", &changed);
    let run = folder.run(&["model", "diff", "data", "changed.json"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let expected = "~ Note.stars: called points\n~ Note.weight: Double instead of Float\n~ City: called Town\n\
                    ! Note.weight is number 4 of type Float there and 4 of Double here; keep it, or give it a new uid\n";
    assert_eq!(run.stdout, expected);
    assert_eq!(folder.run(&["model", "diff", "model.json", "changed.json"]).stdout, expected);
    assert_eq!(folder.run(&["model", "diff", "model.json", "data"]).ok(), "the same\n");

    folder.write(
        "wrong.json",
        model.replacen("\"modelVersionParserMinimum\": 5", "\"modelVersionParserMinimum\": 9", 1),
    );
    let complaint = folder.run(&["model", "check", "wrong.json"]).fails(1);
    assert!(complaint.starts_with("cannot read wrong.json: the model file is of version 9"), "{complaint}");
    folder.run(&["model", "check", "missing.json"]).fails(2);
}

#[test]
fn completions_are_scripts_that_know_the_commands() {
    let folder = Folder::new();
    for (shell, beginning) in [("bash", "_reconvene()"), ("zsh", "#compdef reconvene"), ("fish", "# Print")] {
        let script = folder.run(&["completions", shell]).ok();
        assert!(script.starts_with(beginning), "{shell}: {}", &script[..200]);
        for word in ["backup", "compact", "explain", "new-ids", "db-directory"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(folder.run(&["completions", "tcsh"]).code, Some(2));
    // The shell itself says whether it can read the script.
    folder.write("completions.bash", folder.run(&["completions", "bash"]).ok());
    let read = std::process::Command::new("bash").arg("-n").arg(folder.path("completions.bash")).status();
    assert!(read.is_ok_and(|status| status.success()));
}

#[test]
fn the_manual_page_is_one_that_roff_can_read() {
    let folder = Folder::new();
    let page = folder.run(&["man"]).ok();
    assert!(page.starts_with(".TH RECONVENE 1 "), "{page}");
    for said in [
        ".SH RECONVENE SERVE",
        ".SS reconvene model diff",
        "\\fB\\-\\-shared\\-secret\\-file\\fR",
        ".SH EXIT STATUS",
    ] {
        assert!(page.contains(said), "{said}");
    }
    folder.write("reconvene.1", &page);
    // Where groff is installed, it has nothing to complain of.
    let read = std::process::Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-z"])
        .arg(folder.path("reconvene.1"))
        .output();
    assert!(read.is_err() || read.is_ok_and(|read| read.status.success() && read.stderr.is_empty()));
}

#[test]
fn messages_and_progress_are_objects_where_that_is_asked_for() {
    let folder = Folder::new();
    folder.write("notes.csv", "text,stars\na,1\nb,2\n");
    let events = |arguments: &[&str]| -> (Option<i32>, String, Vec<serde_json::Value>) {
        let run = folder.run(&[arguments, &["--log-format", "json"]].concat());
        let events = run.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        (run.code, run.stdout, events)
    };
    let (code, printed, told) = events(&["import", "data", "Note", "notes.csv", "--create"]);
    assert_eq!((code, printed.as_str()), (Some(0), "2 objects imported\n"));
    assert_eq!(told.len(), 2, "{told:?}");
    for (event, what) in told.iter().zip(["Reading", "Importing"]) {
        assert_eq!(
            (&event["message"], &event["what"], &event["done"]),
            (&"progress".into(), &what.into(), &2.into())
        );
        assert!(event["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!((told[0].get("total"), &told[1]["total"]), (None, &2.into()));

    let (code, printed, told) = events(&["export", "data", "Note", "--output", "out.csv"]);
    assert_eq!((code, printed.as_str()), (Some(0), ""));
    assert_eq!(told[0]["done"], 2);
    assert_eq!((&told[1]["level"], &told[1]["message"]), (&"INFO".into(), &"2 objects written".into()));

    for (arguments, whats) in [
        (&["backup", "data", "data.backup"][..], &["Copying", "Checksum"][..]),
        (&["restore", "data.backup", "copy"], &["Verifying", "Copying"]),
        (&["compact", "copy"], &["Copying"]),
    ] {
        let (code, _, told) = events(arguments);
        assert_eq!((code, told.len()), (Some(0), whats.len()), "{arguments:?}: {told:?}");
        for (event, what) in told.iter().zip(whats) {
            let (done, total) = (event["done"].as_u64().unwrap(), event["total"].as_u64().unwrap());
            assert_eq!((&event["message"], &event["what"]), (&"progress".into(), &(*what).into()));
            // What a copy will take is known but for the list of free pages.
            assert!(total >= done && total <= done + 65_536, "{arguments:?}: {event}");
        }
    }

    for (arguments, code, said) in [
        (&["query", "data", "Note", "stars >"][..], 2, "the condition `stars >`: line 1, column 8"),
        (&["query", "data"], 2, "the following required arguments were not provided"),
        (&["model", "show", "missing"], 2, "cannot read missing: "),
        (&["restore", "notes.csv", "new"], 1, "notes.csv cannot be restored: "),
        (&["no-such-command"], 2, "unrecognized subcommand"),
    ] {
        let (ended, printed, told) = events(arguments);
        assert_eq!((ended, printed.as_str(), told.len()), (Some(code), "", 1), "{arguments:?}: {told:?}");
        assert_eq!(told[0]["level"], "ERROR");
        assert!(told[0]["message"].as_str().unwrap().starts_with(said), "{arguments:?}: {told:?}");
    }
    let complaint = folder.run(&["stats", "data", "--log-format", "xml"]).fails(2);
    assert_eq!(complaint, "--log-format is \"xml\"; expected one of text, json\n");
}

#[test]
fn help_of_every_command_tells_what_it_does() {
    let folder = Folder::new();
    let all = folder.run(&["--help"]).ok();
    for command in [
        "query",
        "stats",
        "model",
        "import",
        "export",
        "backup",
        "restore",
        "check",
        "compact",
        "completions",
        "man",
    ] {
        assert!(all.contains(&format!("\n  {command} ")), "{all}");
        let help = folder.run(&[command, "--help"]).ok();
        assert!(
            help.contains("Exit codes:") && help.contains(&format!("Usage: reconvene {command}")),
            "{help}"
        );
    }
}
