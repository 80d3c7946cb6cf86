//! `reconvene stats`: what a database holds.

use std::path::PathBuf;

use clap::{ArgMatches, Command};
use reconvene::{Role, Store};
use serde_json::{Value as Json, json};

use super::format::{self, Format};
use super::{DIR, dir, directory, required, table};
use crate::demo::grouped;
use crate::exit::Exit;

pub(crate) const NAME: &str = "stats";

const FORMATS: &[Format] = &[Format::Table, Format::Json];

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Tells what a database holds and how its sync stands")
        .long_about(
            "Tells what a database holds and how its sync stands: role and peer id, the size of the data file, the number \
             of objects, what waits in the outbox, what a server refused, and how far a device or a server is. A server or \
             an application may have the database open meanwhile.",
        )
        .arg(dir())
        .arg(format::argument(FORMATS).default_value("table").help("A table for people, or one JSON object"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let store = directory::open_to_read(required::<PathBuf>(matches, DIR))?;
    let stats = stats(&store)?;
    match format::chosen(matches) {
        Some(Format::Json) => crate::print(&format!("{stats:#}\n")),
        _ => crate::print(&shown(&stats)),
    }
}

fn stats(store: &Store) -> anyhow::Result<Json> {
    let sync = store.sync();
    let mut stats = json!({
        "role": match sync.role() { Role::Device => "device", Role::Server => "server" },
        "peer": sync.peer().to_string(),
        "bytes": store.disk_bytes()?,
        "outbox": sync.undecided()?,
        "rejected": sync.rejected()?.len(),
        "conflicts": sync.conflicts()?.len(),
    });
    match sync.role() {
        Role::Device => {
            let cursor = sync.cursor()?;
            stats["history"] = json!(format!("{:016x}", cursor.epoch));
            stats["cursor"] = json!(cursor.seq.0);
            stats["catchingUp"] = json!(sync.catching_up()?);
        }
        Role::Server => {
            stats["history"] = json!(format!("{:016x}", sync.epoch()?));
            stats["head"] = json!(sync.head()?.0);
            let expiry = sync.expiry()?;
            stats["removalsKept"] = json!(expiry.kept);
            stats["removalsForgotten"] = json!(expiry.forgotten);
            stats["horizon"] = json!(expiry.horizon.0);
        }
    }
    let mut entities = Vec::new();
    for entity in store.schema().entities() {
        entities.push(json!({
            "name": entity.name,
            "objects": store.objects(&entity.name)?.count()?,
            "synced": entity.is_synced(),
            "properties": entity.properties.len(),
            "indexes": entity.properties.iter().filter(|property| property.index.is_some()).count(),
        }));
    }
    stats["entities"] = Json::Array(entities);
    Ok(stats)
}

fn shown(stats: &Json) -> String {
    let number = |value: &Json| grouped(value.as_u64().unwrap_or_default());
    let mut facts = table::new(["", ""]);
    let text = |key: &str| stats[key].as_str().unwrap_or_default().to_owned();
    facts.add_row(["role", &text("role")]);
    facts.add_row(["peer", &text("peer")]);
    facts.add_row(["data file", &format!("{} bytes", number(&stats["bytes"]))]);
    match stats["history"].as_str() {
        Some("0000000000000000") => facts.add_row(["history", "none: it has never synced"]),
        history => facts.add_row(["history", history.unwrap_or_default()]),
    };
    if stats["role"] == "server" {
        facts.add_row(["newest position", &number(&stats["head"])]);
        facts.add_row(["removals kept", &number(&stats["removalsKept"])]);
        facts.add_row(["removals forgotten", &number(&stats["removalsForgotten"])]);
        facts.add_row(["removals forgotten up to position", &number(&stats["horizon"])]);
    } else {
        facts.add_row(["has everything up to position", &number(&stats["cursor"])]);
        facts.add_row(["transactions waiting for a server", &number(&stats["outbox"])]);
        facts.add_row(["transactions that a server refused", &number(&stats["rejected"])]);
        facts.add_row(["conflicts with writes of others", &number(&stats["conflicts"])]);
        if stats["catchingUp"] == true {
            facts.add_row(["catching up", "yes: transactions may be half visible"]);
        }
    }
    let mut entities = table::new(["entity", "objects", "synced", "properties", "indexes"]);
    for column in [1, 3, 4] {
        table::right(&mut entities, column);
    }
    for entity in stats["entities"].as_array().into_iter().flatten() {
        entities.add_row([
            table::plain(entity["name"].as_str().unwrap_or_default()),
            number(&entity["objects"]),
            if entity["synced"] == true { "yes" } else { "no" }.to_owned(),
            number(&entity["properties"]),
            number(&entity["indexes"]),
        ]);
    }
    format!("{facts}\n{entities}\n")
}
