//! The example of `docs/record.md` is the golden record that it says it is, byte for byte.

use std::path::Path;

use crate::golden::read_file;

/// The bytes of the code blocks behind a heading: per line bytes in hex, three spaces or more, and words.
fn example(document: &str, heading: &str) -> Vec<u8> {
    let (_, after) = document.split_once(heading).expect("the heading stands before the example");
    let blocks = after.split("```").skip(1).step_by(2).flat_map(|block| block.lines().skip(1));
    let bytes =
        blocks.flat_map(|line| line.trim_start().split("   ").next().unwrap_or_default().split_whitespace());
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("{byte:?} is no byte"))).collect()
}

#[test]
fn the_example_is_the_golden_record() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/record.md");
    let document = std::fs::read_to_string(path).unwrap();
    assert_eq!(example(&document, "## A record, read aloud"), read_file("dig.record"));
}
