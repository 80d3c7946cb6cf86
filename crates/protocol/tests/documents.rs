//! The documents say what the code does.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use reconvene_protocol::client::{HEARTBEAT_MAX, HEARTBEAT_MIN};
use reconvene_protocol::limits::*;
use reconvene_protocol::{ClientConfig, Code, PROTOCOL_VERSION, SUBPROTOCOL, ServerConfig, backoff};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn protocol() -> String {
    read("../../docs/protocol.md")
}

/// The cells of every row of every table.
fn rows(document: &str) -> impl Iterator<Item = Vec<&str>> {
    document
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").map(str::trim).collect())
}

#[test]
fn every_code_is_explained_with_cause_and_remedy() {
    let document = read("../../docs/errors.md");
    let rows: Vec<Vec<&str>> = rows(&document).filter(|row| row[0].parse::<u32>().is_ok()).collect();
    let codes: Vec<u32> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    let expected: Vec<u32> = Code::ALL.iter().map(|code| code.number()).collect();
    assert_eq!(codes, expected, "one row for each code, by number");
    for (row, code) in rows.iter().zip(Code::ALL) {
        let [_, name, retry, cause, remedy] = row.as_slice() else {
            panic!("{code} has {} columns", row.len())
        };
        assert_eq!(*name, format!("`{}`", code.name()));
        assert_eq!(*retry, if code.retry_helps() { "yes" } else { "no" }, "{code}");
        assert!(cause.starts_with(code.meaning()), "the cause of {code} begins with: {}", code.meaning());
        assert!(remedy.len() > 10 && remedy.ends_with('.'), "{code} has a remedy");
    }
}

#[test]
fn the_codes_that_the_protocol_names_exist() {
    let document = protocol();
    let known: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    let families: BTreeSet<&str> = known.iter().map(|name| name.split_once('.').unwrap().0).collect();
    let mut named = 0;
    for word in document.split('`').skip(1).step_by(2) {
        if word.split_once('.').is_some_and(|(family, _)| families.contains(family)) {
            assert!(known.contains(word), "{word} is no code");
            named += 1;
        }
    }
    assert!(named > 30, "{named} codes are named");
}

/// Number, name and type of a field.
type Field = (u32, String, String);

/// The fields of every message in the definition.
fn definition() -> BTreeMap<String, BTreeSet<Field>> {
    let mut messages: BTreeMap<String, BTreeSet<Field>> = BTreeMap::new();
    let mut message = String::new();
    for line in read("proto/reconvene.proto").lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("message ") {
            message = rest.split_whitespace().next().unwrap().to_owned();
            messages.entry(message.clone()).or_default();
        } else if let Some((declaration, number)) = line.split_once(" = ")
            && !line.starts_with("//")
            && !line.starts_with("syntax")
        {
            let (kind, name) = declaration.rsplit_once(' ').unwrap();
            let number = number.split(';').next().unwrap().parse().unwrap();
            messages.get_mut(&message).unwrap().insert((number, name.to_owned(), kind.to_owned()));
        }
    }
    messages
}

/// The fields that stand under the heading of each message.
fn documented() -> BTreeMap<String, BTreeSet<Field>> {
    let document = protocol();
    let mut messages = BTreeMap::new();
    for section in document.split("\n### ").skip(1) {
        let name = section.lines().next().unwrap().to_owned();
        let section = section.split("\n## ").next().unwrap();
        let fields = rows(section)
            .filter_map(|row| {
                let name = row.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
                Some((row[0].parse().ok()?, name.to_owned(), row[2].to_owned()))
            })
            .collect();
        messages.insert(name, fields);
    }
    messages
}

#[test]
fn every_field_of_every_message_is_documented() {
    let (mut definition, mut documented) = (definition(), documented());
    let envelope = definition.remove("Envelope").unwrap();
    assert_eq!(envelope.len(), 20);
    let kinds = documented.remove("Envelope").unwrap();
    let numbers_and_names =
        |fields: &BTreeSet<Field>| fields.iter().map(|(number, name, _)| (*number, name.clone())).collect();
    let (defined, described): (Vec<_>, Vec<_>) = (numbers_and_names(&envelope), numbers_and_names(&kinds));
    assert_eq!(described, defined, "the kinds");
    for (_, name, kind) in &envelope {
        assert!(documented.contains_key(kind), "{name} has no section {kind}");
    }
    for (message, fields) in &definition {
        let described = documented.get(message).unwrap_or_else(|| panic!("{message} has no section"));
        assert_eq!(described, fields, "the fields of {message}");
    }
    assert_eq!(documented.len(), definition.len(), "a section is about nothing");
}

#[test]
fn every_limit_is_documented_with_its_value() {
    macro_rules! values {
        ($($name:ident),+ $(,)?) => { BTreeMap::from([$((stringify!($name).to_owned(), ($name as u64).to_string())),+]) };
    }
    let expected = values![
        MESSAGE_BYTES_MAX,
        MESSAGE_BYTES_MIN,
        LOGIN_BYTES_MAX,
        UPLOAD_MESSAGE_BYTES,
        UPLOAD_TXS_MAX,
        PUSH_TXS_MAX,
        VERDICTS_MAX,
        LOST_OPS_MAX,
        PARTS_MAX,
        VERSIONS_MAX,
        CREDENTIALS_MAX,
        RESUME_BYTES_MAX,
        CAPABILITIES_MAX,
        CAPABILITY_BYTES_MAX,
        TEXT_BYTES_MAX,
        NUMBER_MAX,
        CHAIN_HASHES_MAX,
        ENVELOPE_BYTES_MAX,
        COMPARE_RANGES_MAX,
        COMPARE_ITEMS_MAX,
        COMPARE_RANGE_PARTS_MAX,
        COMPARE_PARTS_MAX,
        COMPARE_ANSWERS_BYTES,
        COMPARE_DEPTH_MAX,
        COMPARE_RANGES_SLACK,
    ];
    let source = read("src/limits.rs");
    let constants: BTreeSet<String> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(':'))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(expected.keys().cloned().collect::<BTreeSet<_>>(), constants, "this test knows every limit");
    let document = protocol();
    let documented: BTreeMap<String, String> = rows(&document)
        .filter_map(|row| {
            let name = row[0].strip_prefix('`')?.strip_suffix('`')?;
            let constant = name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
            constant.then(|| (name.to_owned(), row[1].to_owned()))
        })
        .collect();
    assert_eq!(documented, expected);
    let Limits { upload_window_txs, upload_window_bytes, .. } = Limits::default();
    let window =
        format!("The window is {upload_window_txs} transactions and {upload_window_bytes} bytes unless");
    assert!(document.contains(&window), "missing: {window}");
    let queue = format!("at most about {} bytes of pushes", ServerConfig::default().queue_bytes_max);
    assert!(document.contains(&queue), "missing: {queue}");
}

#[test]
fn every_timer_is_documented_with_its_default() {
    let document = protocol();
    let (client, server) = (ClientConfig::default(), ServerConfig::default());
    assert_eq!(client.pong_timeout, server.pong_timeout, "the document names one value for both");
    let expected = [
        ("login", "client", client.login_timeout),
        ("login", "server", server.login_timeout),
        ("idle", "client", server.heartbeat),
        ("idle", "server", server.heartbeat * 3 / 2),
        ("pong", "both", server.pong_timeout),
    ];
    for (timer, whose, default) in expected {
        let row = rows(&document)
            .find(|row| row[0] == timer && row.get(1) == Some(&whose))
            .unwrap_or_else(|| panic!("{timer} of {whose} is missing"));
        let seconds = format!("{} s", default.as_secs());
        assert!(
            row[3] == seconds || row[3].ends_with(&format!(": {seconds}")),
            "{timer} of {whose}: {}",
            row[3]
        );
    }
    assert_eq!((HEARTBEAT_MIN.as_millis(), HEARTBEAT_MAX.as_secs()), (50, 3600));
    assert!(document.contains("heartbeats from 50 ms to one hour"));
    let steps: Vec<String> = backoff::STEPS.iter().map(|step| step.as_secs_f64().to_string()).collect();
    assert!(document.contains(&steps.join(", ")), "the pauses are {}", steps.join(", "));
}

#[test]
fn the_version_and_the_words_that_are_signed_are_documented() {
    let document = protocol();
    assert!(document.contains(&format!("`{SUBPROTOCOL}`")));
    assert!(document.contains(&format!("this page is version {PROTOCOL_VERSION}")));
    for words in ["reconvene login 1", "reconvene secret 1"] {
        assert!(document.contains(&format!("the {} ASCII bytes `{words}`", words.len())), "{words}");
        assert!(read("src/login.rs").contains(&format!("b\"{words}\"")), "{words}");
    }
}
