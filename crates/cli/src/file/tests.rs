//! Configuration files, good and hostile: what is read from them, and the exact words about what is wrong.

use super::*;

fn keys(text: &str) -> Vec<(&'static str, String)> {
    let entries = parse(Path::new("r.json"), text.as_bytes()).unwrap();
    entries.into_iter().map(|entry| (entry.option.key.unwrap(), entry.value.to_string())).collect()
}

fn complaint(content: impl AsRef<[u8]>) -> String {
    parse(Path::new("r.json"), content.as_ref()).unwrap_err().to_string()
}

#[test]
fn values_are_read_by_kind() {
    let text = r#"{
        "$schema": "elsewhere.json", "_bind": ["a", {"comment": null}],
        "modelFile": "m.json", "bind": "ws://0.0.0.0:1", "unsecuredNoAuthentication": true,
        "messageBytesMax": 17825792, "sessionsMax": "7", "logLevel": "\u0077arn"
    }"#;
    let expected = [
        ("model", "m.json"),
        ("bind", "ws://0.0.0.0:1"),
        ("unsecuredNoAuthentication", "true"),
        ("messageBytesMax", "17825792"),
        ("sessionsMax", "7"),
        ("logLevel", "warn"),
    ];
    assert_eq!(keys(text), expected.map(|(key, value)| (key, value.to_owned())));
    assert_eq!(keys("{}"), []);
    assert_eq!(keys("\u{FEFF}{ }\n"), []);
    assert_eq!(keys("{\"\\u0062ind\": \"ws://[::1]:1\"}"), [("bind", "ws://[::1]:1".to_owned())]);
}

#[test]
fn relative_paths_count_from_the_folder_of_the_file() {
    for (file, given, expected) in [
        ("r.json", "m.json", "m.json"),
        ("conf/r.json", "m.json", "conf/m.json"),
        ("/conf/r.json", "../m.json", "/conf/../m.json"),
        ("conf/r.json", "/m.json", "/m.json"),
    ] {
        let entries = parse(Path::new(file), format!("{{\"model\": \"{given}\"}}").as_bytes()).unwrap();
        assert_eq!(entries[0].value, Value::Path(expected.into()), "{file}");
    }
}

const NOT_ONE_OBJECT: &str =
    "; the file must hold one JSON object, like { \"bind\": \"ws://127.0.0.1:9999\" }";

#[test]
fn what_is_not_one_object_is_refused_with_its_place() {
    for (text, expected) in [
        ("", "r.json, line 1, column 1: the file is empty"),
        (" \n ", "r.json, line 2, column 2: the file is empty"),
        ("[]", "r.json, line 1, column 1: this does not begin with {"),
        ("\n  \"hunter2\"", "r.json, line 2, column 3: this does not begin with {"),
        ("{\n  bind: 1\n}", "r.json, line 2, column 3: key must be a string"),
        ("{\n  \"bind\": \n}", "r.json, line 3, column 1: expected value"),
        ("{\n  \"_\": 1,\n}", "r.json, line 3, column 1: trailing comma"),
        ("{\n  \"_\": 1\n} {}", "r.json, line 3, column 3: trailing characters"),
        ("{ \"_\": 1", "r.json, line 1, column 8: EOF while parsing an object"),
        ("{ // comment\n}", "r.json, line 1, column 3: key must be a string"),
    ] {
        assert_eq!(complaint(text), format!("{expected}{NOT_ONE_OBJECT}"), "{text:?}");
    }
}

#[test]
fn wrong_keys_and_values_are_refused_with_their_place() {
    for (text, expected) in [
        (
            "{\n  \"_a\": 1,\n  \"bnid\": \"ws://0.0.0.0:9999\"\n}",
            "r.json, line 3, column 3: nothing is called \"bnid\"; did you mean bind?; only keys that begin with _ may be \
             anything",
        ),
        (
            "{\"db-directory\": \"d\"}",
            "r.json, line 1, column 2: nothing is called \"db-directory\"; did you mean dbDirectory?; only keys that \
             begin with _ may be anything",
        ),
        (
            "{\"modelfile\": \"d\"}",
            "r.json, line 1, column 2: nothing is called \"modelfile\"; did you mean modelFile?; only keys that begin \
             with _ may be anything",
        ),
        (
            "{\"colour\": true}",
            "r.json, line 1, column 2: nothing is called \"colour\"; only keys that begin with _ may be anything",
        ),
        (
            "{\"\": true}",
            "r.json, line 1, column 2: nothing is called \"\"; only keys that begin with _ may be anything",
        ),
        (
            "{\"config\": \"other.json\"}",
            "r.json, line 1, column 2: nothing is called \"config\"; only keys that begin with _ may be anything",
        ),
        (
            "{\"\\u001b[2J\": true}",
            "r.json, line 1, column 2: nothing is called \"\\u{1b}[2J\"; only keys that begin with _ may be anything",
        ),
        (
            "{\"bind\": \"ws://[::]:1\",\n \"bind\": \"ws://[::]:2\"}",
            "r.json, line 2, column 2: `bind` says again what `bind` has said; keep one of them",
        ),
        (
            "{\"model\": \"a\", \"modelFile\": \"a\"}",
            "r.json, line 1, column 16: `modelFile` says again what `model` has said; keep one of them",
        ),
        (
            "{\"bind\": 9999}",
            "r.json, line 1, column 2: `bind` is 9999; expected ws:// with an IP address or localhost, and a port, like \
             ws://127.0.0.1:9999",
        ),
        (
            "{\"bind\": \"wss://0.0.0.0:1\"}",
            "r.json, line 1, column 2: `bind` is \"wss://0.0.0.0:1\"; expected ws:// with an IP address or localhost, and \
             a port, like ws://127.0.0.1:9999; for TLS put a proxy in front of the server",
        ),
        (
            "{\"unsecuredNoAuthentication\": 1}",
            "r.json, line 1, column 2: `unsecuredNoAuthentication` is 1; expected true or false",
        ),
        (
            "{\"sessionsMax\": -1}",
            "r.json, line 1, column 2: `sessionsMax` is -1; expected a whole number from 1 to 1000000",
        ),
        (
            "{\"sessionsMax\": 1.5}",
            "r.json, line 1, column 2: `sessionsMax` is 1.5; expected a whole number from 1 to 1000000",
        ),
        (
            "{\"sessionsMax\": 18446744073709551617}",
            "r.json, line 1, column 2: `sessionsMax` is 18446744073709552000; expected a whole number from 1 to 1000000",
        ),
        (
            "{\"sessionsMax\": null}",
            "r.json, line 1, column 2: `sessionsMax` is null; expected a whole number from 1 to 1000000",
        ),
        (
            "{\"messageBytesMax\": \"32 MB\"}",
            "r.json, line 1, column 2: `messageBytesMax` is \"32 MB\"; expected a size from 17 MiB to 1 GiB, as a number \
             of bytes or a text like \"32 MiB\"",
        ),
        (
            "{\"messageBytesMax\": 1024}",
            "r.json, line 1, column 2: `messageBytesMax` is 1024; expected a size from 17 MiB to 1 GiB, as a number of \
             bytes or a text like \"32 MiB\"",
        ),
        (
            "{\"logFormat\": \"xml\"}",
            "r.json, line 1, column 2: `logFormat` is \"xml\"; expected one of text, json",
        ),
        ("{\"dbDirectory\": \"\"}", "r.json, line 1, column 2: `dbDirectory` is empty; expected a path"),
        (
            "{\"dbDirectory\": {\"path\": \"d\"}}",
            "r.json, line 1, column 2: `dbDirectory` is an object; expected a path",
        ),
        (
            "{\"sharedSecret\": [\"hunter2\"]}",
            "r.json, line 1, column 2: `sharedSecret` is a list; expected a text of 1 to 1024 bytes that is not blank",
        ),
        (
            "{\"sharedSecret\": 46001}",
            "r.json, line 1, column 2: `sharedSecret` is a number; expected a text of 1 to 1024 bytes that is not blank",
        ),
        (
            "{\"sharedSecret\": \" \"}",
            "r.json, line 1, column 2: `sharedSecret` is blank; expected a text of 1 to 1024 bytes that is not blank",
        ),
    ] {
        assert_eq!(complaint(text), expected, "{text:?}");
    }
}

#[test]
fn hostile_values_are_refused_in_few_words() {
    let deep = "[".repeat(500_000);
    let long = "x".repeat(1_000_000);
    for (content, expected) in [
        (deep.clone(), "r.json, line 1, column 1: this does not begin with {".to_owned()),
        (format!("{{\"_\": {deep}"), "r.json, line 1, column 500006: EOF while parsing a list".to_owned()),
        ("{\"_\":".repeat(100_000), "r.json, line 1, column 500000: EOF while parsing a value".to_owned()),
        (format!("{{\"{long}\": 1}}"), format!("nothing is called \"{}\"...", "x".repeat(60))),
        (format!("{{\"bind\": \"{long}\"}}"), format!("`bind` is \"{}\"...", "x".repeat(60))),
        (format!("{{\"sessionsMax\": {}}}", "9".repeat(1_000_000)), "number out of range".to_owned()),
        ("{\"sessionsMax\": 1e999}".to_owned(), "column 21: number out of range".to_owned()),
        ("{\"bind\": \"\\ud800\"}".to_owned(), "r.json, line 1, column ".to_owned()),
        ("{\"bind\": \"a\nb\"}".to_owned(), "control character".to_owned()),
        (format!("{{\"sharedSecret\": \"{long}\"}}"), "`sharedSecret` is a text of 1000000 bytes".to_owned()),
    ] {
        let message = complaint(&content);
        assert!(message.contains(&expected), "{message}");
        assert!(message.len() < 300, "{} bytes", message.len());
    }
    // Depth in a comment costs nothing, and in a value it is told by its first character.
    let closed = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
    assert_eq!(keys(&format!("{{\"_\": {closed}}}")), []);
    assert!(complaint(format!("{{\"bind\": {closed}}}")).contains("`bind` is a list"));
}

#[test]
fn what_is_not_utf8_is_refused_with_its_place() {
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content, line, column) in [
        (&b"{\n  \"bind\": \"\xFF\"}"[..], 2, 12),
        (b"\xFF\xFE{\0}\0", 1, 1),
        (b"{\"_\xC3\xA4\": \"\xC3", 1, 9),
    ] {
        let expected =
            format!("r.json, line {line}, column {column}: this is not UTF-8; save the file as UTF-8 text");
        assert_eq!(complaint(content), expected);
    }
    assert!(complaint(utf16).contains("line 1, column 2: key must be a string"));
}

#[test]
fn files_are_read_up_to_their_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    assert!(read(&path).unwrap().is_none());

    let fill = |bytes: u64| format!("{{\"_\": \"{}\"}}", "x".repeat(usize::try_from(bytes).unwrap() - 9));
    std::fs::write(&path, fill(CONFIG_FILE_BYTES_MAX)).unwrap();
    assert!(read(&path).unwrap().unwrap().is_empty());
    std::fs::write(&path, fill(CONFIG_FILE_BYTES_MAX + 1)).unwrap();
    let message = read(&path).unwrap_err().to_string();
    let expected =
        format!("the configuration file {} holds more than 1 MiB; was another file meant?", path.display());
    assert_eq!(message, expected);
}

#[test]
fn what_is_no_file_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let message = read(folder.path()).unwrap_err().to_string();
    assert!(
        message.starts_with(&format!("cannot read the configuration file {}: ", folder.path().display()))
    );
}

#[cfg(target_os = "linux")]
#[test]
fn endless_files_end_at_the_bound() {
    assert!(matches!(read(Path::new("/dev/zero")), Err(ConfigError::FileTooLong { .. })));
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(bytes in proptest::collection::vec(0u8.., 0..200)) {
        let _ = parse(Path::new("r.json"), &bytes);
    }

    #[test]
    fn no_cut_file_makes_it_panic(cut in 0usize..200, byte in 0u8..) {
        let mut bytes = "{\n \"bind\": \"ws://0.0.0.0:1\", \"_ä\": [1, {\"a\": null}],\r\n \"sessionsMax\": 12, \
                         \"logLevel\": \"\\u0077arn\", \"model\": \"ö\\n\" }"
            .as_bytes()
            .to_vec();
        let _ = parse(Path::new("r.json"), &bytes[..cut.min(bytes.len())]);
        let at = cut % bytes.len();
        bytes[at] = byte;
        let _ = parse(Path::new("r.json"), &bytes);
    }
}
