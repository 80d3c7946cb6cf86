//! Canonical bytes by hand: registers of equal date are told apart by their bytes, so these never change.

use std::path::PathBuf;

use reconvene_model::Flex;
use reconvene_model::flex::FlexMap;

fn is(value: impl Into<Flex>, bytes: &[u8]) {
    let value = value.into();
    assert_eq!(value.encode().unwrap(), bytes, "{value}");
    assert_eq!(Flex::decode(bytes).unwrap(), value);
}

#[test]
fn scalars_stand_at_the_root() {
    is(Flex::Null, &[0, 0, 1]);
    is(true, &[1, 26 << 2, 1]);
    is(-5, &[0xfb, 1 << 2, 1]);
    is(200, &[200, 0, 1 << 2 | 1, 2]);
    is(u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 2 << 2 | 3, 8]);
    is(1.5, &[0, 0, 0xc0, 0x3f, 3 << 2 | 2, 4]);
    is(0.1, &[0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f, 3 << 2 | 3, 8]);
    is(f64::NAN, &[0, 0, 0xc0, 0x7f, 3 << 2 | 2, 4]);
}

#[test]
fn text_and_bytes_follow_their_length() {
    is("hé", &[3, b'h', 0xc3, 0xa9, 0, 4, 5 << 2, 1]);
    is(Flex::bytes([0xca, 0xfe]), &[2, 0xca, 0xfe, 2, 25 << 2, 1]);
}

#[test]
fn lists_are_as_wide_as_their_widest_value() {
    is([Flex::from(1), Flex::Null], &[2, 1, 0, 1 << 2, 0, 4, 10 << 2, 1]);
    is([Flex::from(1), Flex::from(300)], &[2, 0, 1, 0, 0x2c, 1, 1 << 2 | 1, 1 << 2 | 1, 6, 10 << 2 | 1, 1]);
}

#[test]
fn maps_share_their_keys() {
    let map = |number: i64| Flex::from_iter([("b", Flex::from(number)), ("a", Flex::from("x"))]);
    #[rustfmt::skip]
    is([map(1), map(2)], &[
        // The keys and the first text: its length, itself, a zero.
        b'a', 0, 1, b'x', 0, b'b', 0,
        // The keys of both maps: two, at these distances.
        2, 8, 4,
        // The first map: its keys 2 before, each 1 wide; two values, and their types.
        2, 1, 2, 10, 1, 5 << 2, 1 << 2,
        // The second text and the second map.
        1, b'x', 0,
        12, 1, 2, 5, 2, 5 << 2, 1 << 2,
        // The list and the root.
        2, 15, 6, 9 << 2, 9 << 2,
        4, 10 << 2, 1,
    ]);
}

/// A value of every kind, narrow and wide.
fn settings() -> Flex {
    let place = |name: &str, lat: f64, lon: f64| {
        Flex::from_iter([("lat", Flex::from(lat)), ("lon", lon.into()), ("name", name.into())])
    };
    Flex::from_iter([
        ("theme", Flex::from("dark")),
        ("beta", true.into()),
        ("nothing", Flex::Null),
        ("sizes", [1_i64, -200, 70_000, i64::MIN].into()),
        ("largest", u64::MAX.into()),
        ("half", 0.5.into()),
        ("tenth", 0.1.into()),
        ("mixed", Flex::from([Flex::from(1), Flex::from("one"), Flex::Null, Flex::from([2.5])])),
        ("empty", Flex::from([Flex::List(vec![]), Flex::Map(FlexMap::new()), "".into()])),
        ("places", Flex::from([place("Graz", 47.07, 15.44), place("Köln", 50.94, 6.96)])),
        ("long", "x".repeat(300).into()),
    ])
}

fn fixture(name: &str) -> (PathBuf, Vec<u8>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/flex").join(name);
    let bytes = std::fs::read(&path).unwrap_or_default();
    (path, bytes)
}

/// To write the file anew after a change of the canonical form, run the tests with `RECONVENE_WRITE_FIXTURES=1`, and say so in the
/// change log.
#[test]
fn the_canonical_file_is_what_we_write() {
    let (path, bytes) = fixture("canonical.flex");
    let ours = settings().encode().unwrap();
    if std::env::var_os("RECONVENE_WRITE_FIXTURES").is_some() {
        return std::fs::write(path, ours).unwrap();
    }
    assert_eq!(bytes, ours);
    assert_eq!(Flex::decode(&bytes).unwrap(), settings());
}

/// Written by the official library.
#[test]
fn the_official_files_are_read() {
    assert_eq!(Flex::decode(&fixture("official.flex").1).unwrap(), settings());
    let vectors = Flex::from([
        Flex::from([1, -2, 300]),
        Flex::from([1.5, 2.0]),
        Flex::from([1, u64::MAX, 0, 7]),
        Flex::from([1.5, 2.0, 0.1, 7.0, 8.0]),
        Flex::from([true, false, true]),
        Flex::from(0.1),
        Flex::from(-70_000),
        Flex::from(70_000),
        Flex::bytes([0xca, 0xfe]),
    ]);
    assert_eq!(Flex::decode(&fixture("official-vectors.flex").1).unwrap(), vectors);
}
