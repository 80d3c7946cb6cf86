//! What strangers may send: the bodies of the fuzz targets.
//!
//! A body is a plain function that takes any bytes and panics if a promise is broken: nothing panics, what is read is written
//! and read as the same, what a reader hands out keeps its documented bounds, and memory grows with the bytes that are
//! there, not with what they announce. [`TARGETS`] names them all; `tests/replay.rs` feeds them their corpus and changed
//! copies of it, and `cargo xtask fuzz <target>` searches for new inputs, guided by coverage.

pub mod memory;
pub mod mutate;
pub mod script;

pub mod changes;
pub mod entities;
pub mod expression;
pub mod flex;
pub mod frame;
pub mod model_file;
pub mod record;
pub mod session;
pub mod stores;

/// One kind of input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder in `corpus/`.
    pub name: &'static str,
    /// Takes any bytes; panics if a promise is broken.
    pub body: fn(&[u8]),
    /// How many changed copies of its inputs a test run feeds it.
    pub changed: usize,
    /// A folder whose files are inputs as well, from the root of the workspace.
    pub fixtures: Option<&'static str>,
}

/// All kinds of input.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", body: frame::frame, changed: 20_000, fixtures: Some("fixtures/messages") },
    Target { name: "message", body: frame::message, changed: 20_000, fixtures: None },
    Target { name: "ranges", body: frame::ranges, changed: 20_000, fixtures: Some("fixtures/messages") },
    Target { name: "tx", body: changes::tx, changed: 20_000, fixtures: Some("fixtures/changes") },
    Target { name: "states", body: changes::states, changed: 20_000, fixtures: Some("fixtures/changes") },
    Target { name: "record", body: record::record, changed: 20_000, fixtures: Some("fixtures/records") },
    Target { name: "flex", body: flex::flex, changed: 20_000, fixtures: Some("fixtures/flex") },
    Target { name: "expression", body: expression::expression, changed: 20_000, fixtures: None },
    Target {
        name: "model_file",
        body: model_file::model_file,
        changed: 20_000,
        fixtures: Some("fixtures/models"),
    },
    Target { name: "client_session", body: session::client, changed: 5_000, fixtures: None },
    Target { name: "server_session", body: session::server, changed: 5_000, fixtures: None },
    Target { name: "ledger", body: stores::ledger, changed: 400, fixtures: None },
    Target { name: "delivery", body: stores::delivery, changed: 400, fixtures: None },
];
