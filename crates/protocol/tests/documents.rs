//! The documents say what the code does.

use std::fs;
use std::path::Path;

use reconvene_protocol::limits::{
    LOGIN_BYTES_MAX, LOST_OPS_MAX, MESSAGE_BYTES_MAX, PUSH_TXS_MAX, TEXT_BYTES_MAX, UPLOAD_TXS_MAX,
    VERDICTS_MAX,
};
use reconvene_protocol::{Code, SUBPROTOCOL, backoff};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_code_is_explained_with_cause_and_remedy() {
    let document = document("errors.md");
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").map(str::trim).collect::<Vec<_>>())
        .filter(|row| row[0].parse::<u32>().is_ok())
        .collect();
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
fn the_protocol_document_names_every_kind_and_limit() {
    let document = document("protocol.md");
    let proto =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/reconvene.proto")).unwrap();
    let envelope = proto.split("oneof kind {").nth(1).unwrap().split('}').next().unwrap();
    let mut kinds = 0;
    for line in envelope.lines().filter(|line| line.contains('=')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, number) = (words[0], words[3].trim_end_matches(';'));
        assert!(document.contains(&format!("| {number} | `{name}` |")), "{name} is missing");
        kinds += 1;
    }
    assert_eq!(kinds, 13);
    for limit in [
        MESSAGE_BYTES_MAX,
        LOGIN_BYTES_MAX,
        UPLOAD_TXS_MAX,
        PUSH_TXS_MAX,
        VERDICTS_MAX,
        LOST_OPS_MAX,
        TEXT_BYTES_MAX,
    ] {
        assert!(document.contains(&format!("| {limit} |")), "the limit {limit} is missing");
    }
    assert!(document.contains(SUBPROTOCOL));
    let steps: Vec<String> = backoff::STEPS.iter().map(|step| step.as_secs_f64().to_string()).collect();
    assert!(document.contains(&steps.join(", ")), "the pauses are {}", steps.join(", "));
}
