//! `reconvene model`: looking at schemas, comparing them, taking them out of databases.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use reconvene::model::{EntityDef, PropertyDef, PropertyFlags, Schema};

use super::file::{self, NewFile};
use super::{DIR, dir, directory, path, required, table};
use crate::exit::Exit;
use crate::messages;
use anyhow::Context;
use std::io::Write;

pub(crate) const NAME: &str = "model";

const SHOW: &str = "show";
const CHECK: &str = "check";
const DIFF: &str = "diff";
const EXPORT: &str = "export";
const MODEL: &str = "model-of";
const OTHER: &str = "other";
const OUTPUT: &str = "output";

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Shows, checks, compares and exports models")
        .long_about(
            "Shows, checks, compares and exports models: the entities with their properties, as a model file or a database \
             directory has them.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new(SHOW)
                .about("Shows a model as tables")
                .arg(path(MODEL, "FILE|DIR").help("A model file or a database directory")),
        )
        .subcommand(
            Command::new(CHECK)
                .about("Tells whether a model file can be used, and if not, what to change where")
                .arg(path(MODEL, "FILE").help("The model file")),
        )
        .subcommand(
            Command::new(DIFF)
                .about("Tells how a second model differs from a first one; the exit code is 1 if it does")
                .long_about(
                    "Tells how a second model differs from a first one. Entities and properties are matched by their uids, \
                     so that a new name is seen as such. The exit code is 0 if they are the same and 1 if they differ; \
                     lines that begin with \"!\" keep a database of the first from being opened with the second.",
                )
                .arg(path(MODEL, "FILE|DIR").help("The first: a model file or a database directory"))
                .arg(path(OTHER, "FILE|DIR").help("The second")),
        )
        .subcommand(
            Command::new(EXPORT)
                .about("Writes the model of a database as a model file")
                .arg(dir())
                .arg(
                    Arg::new(OUTPUT)
                        .long(OUTPUT)
                        .short('o')
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("The file to write [default: standard output]"),
                )
                .arg(file::force("Replaces the file if it exists")),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    match matches.subcommand() {
        Some((SHOW, matches)) => {
            let model = directory::read_model(required::<PathBuf>(matches, MODEL))?;
            crate::print(&shown(model.schema()))
        }
        Some((CHECK, matches)) => {
            let path = required::<PathBuf>(matches, MODEL);
            let model = directory::read_model(path)?;
            let entities = model.schema().entities();
            let synced = entities.iter().filter(|entity| entity.is_synced()).count();
            crate::print(&format!(
                "{}: {}, {synced} of them synced; the model can be used\n",
                path.display(),
                match entities.len() {
                    1 => "1 entity".to_owned(),
                    number => format!("{number} entities"),
                }
            ))
        }
        Some((DIFF, matches)) => {
            let first = directory::read_model(required::<PathBuf>(matches, MODEL))?;
            let second = directory::read_model(required::<PathBuf>(matches, OTHER))?;
            let lines = differences(first.schema(), second.schema());
            if lines.is_empty() {
                return crate::print("the same\n");
            }
            crate::print(&(lines.join("\n") + "\n"))?;
            Ok(Exit::Failure)
        }
        Some((EXPORT, matches)) => {
            let store = directory::open_to_read(required::<PathBuf>(matches, DIR))?;
            let json = store.model().to_json();
            let Some(path) = matches.get_one::<PathBuf>(OUTPUT) else { return crate::print(&json) };
            let file = NewFile::new(path, matches.get_flag(file::FORCE))?;
            let written = file.create()?.write_all(json.as_bytes());
            written.with_context(|| format!("cannot write {}", path.display()))?;
            file.keep()?;
            messages::note(&format!("the model is in {}", path.display()));
            Ok(Exit::Success)
        }
        _ => unreachable!("the command line asks for a subcommand"),
    }
}

fn shown(schema: &Schema) -> String {
    if schema.entities().is_empty() {
        return "no entities\n".to_owned();
    }
    let mut text = String::new();
    for entity in schema.entities() {
        text += &format!("{} (id {}, uid {}){}\n", entity.name, entity.id, entity.uid, about(entity));
        let mut table = table::new(["id", "property", "type", "uid", ""]);
        table::right(&mut table, 0);
        table::right(&mut table, 3);
        for property in &entity.properties {
            table.add_row([
                property.id.to_string(),
                table::plain(&property.name),
                type_of(property),
                property.uid.to_string(),
                specialties(property).join(", "),
            ]);
        }
        text += &format!("{table}\n");
        for relation in &entity.relations {
            let target = schema.entity_by_uid(relation.target).map_or("?", |entity| &entity.name);
            text += &format!("to many {}: {target}\n", relation.name);
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn about(entity: &EntityDef) -> String {
    if !entity.is_synced() {
        return ", local only".to_owned();
    }
    let shared = if entity.has_shared_ids() { ", ids shared by all devices" } else { "" };
    format!(", synced, conflicts by {}{shared}", format!("{:?}", entity.conflict).to_lowercase())
}

fn type_of(property: &PropertyDef) -> String {
    match &property.relation_target {
        Some(target) => format!("{} to {}", property.ty, table::plain(target)),
        None => property.ty.to_string(),
    }
}

fn specialties(property: &PropertyDef) -> Vec<&'static str> {
    [
        (PropertyFlags::ID, "id"),
        (PropertyFlags::ID_SELF_ASSIGNABLE, "chosen by the application"),
        (PropertyFlags::UNIQUE, "unique"),
        (PropertyFlags::INDEXED, "indexed"),
        (PropertyFlags::UNSIGNED, "unsigned"),
        (PropertyFlags::NOT_NULL, "not null"),
    ]
    .into_iter()
    .filter(|(flag, _)| property.flags.has(*flag))
    .map(|(_, word)| word)
    .collect()
}

/// A line for each difference: `+` what is new, `-` what is gone, `~` what is otherwise, `!` what must not be.
fn differences(first: &Schema, second: &Schema) -> Vec<String> {
    let mut lines = Vec::new();
    for entity in first.entities() {
        let name = &entity.name;
        match second.entity_by_uid(entity.uid) {
            None => lines.push(format!("! {name}: gone; a database that has it needs it in its model")),
            Some(next) => compare_entities(entity, next, &mut lines),
        }
    }
    for entity in second.entities() {
        if first.entity_by_uid(entity.uid).is_none() {
            lines.push(format!("+ {}: new, with {} properties", entity.name, entity.properties.len()));
        }
    }
    lines
}

fn compare_entities(before: &EntityDef, after: &EntityDef, lines: &mut Vec<String>) {
    let name = &before.name;
    if before.name != after.name {
        lines.push(format!("~ {name}: called {}", after.name));
    }
    if before.id != after.id {
        lines.push(format!("! {name}: id {} instead of {}", after.id, before.id));
    }
    if (before.is_synced(), before.has_shared_ids()) != (after.is_synced(), after.has_shared_ids()) {
        // Only a database with synced objects refuses this; to begin to sync is always possible.
        let mark = if before.is_synced() { '!' } else { '~' };
        lines.push(format!("{mark} {name}: {} instead of {}", sync_of(after), sync_of(before)));
    }
    if before.conflict != after.conflict {
        lines.push(format!("~ {name}: conflicts by {:?} instead of {:?}", after.conflict, before.conflict));
    }
    for property in &before.properties {
        match after.property_by_uid(property.uid) {
            None => lines.push(format!("- {name}.{}: gone, its values will not be seen", property.name)),
            Some(next) => compare_properties(name, property, next, lines),
        }
    }
    for property in &after.properties {
        if before.property_by_uid(property.uid).is_some() {
            continue;
        }
        let (mark, remark) = match property.id <= before.last_property_id {
            true => ('!', format!(", with id {} that was used before", property.id)),
            false => ('+', String::new()),
        };
        lines.push(format!("{mark} {name}.{}: new, {}{remark}", property.name, type_of(property)));
    }
}

fn compare_properties(entity: &str, before: &PropertyDef, after: &PropertyDef, lines: &mut Vec<String>) {
    let name = format!("{entity}.{}", before.name);
    if before.name != after.name {
        lines.push(format!("~ {name}: called {}", after.name));
    }
    if before.id != after.id {
        lines.push(format!("! {name}: id {} instead of {}", after.id, before.id));
    }
    if before.ty != after.ty {
        lines.push(format!("! {name}: {} instead of {}", after.ty, before.ty));
    } else if before.relation_target != after.relation_target {
        lines.push(format!("~ {name}: {} instead of {}", type_of(after), type_of(before)));
    }
    let (had, has) = (specialties(before), specialties(after));
    let gone = had.iter().filter(|word| !has.contains(word)).map(|word| format!("no longer {word}"));
    let new = has.iter().filter(|word| !had.contains(word)).map(|word| (*word).to_owned());
    let changed: Vec<_> = gone.chain(new).collect();
    if !changed.is_empty() {
        lines.push(format!("~ {name}: {}", changed.join(", ")));
    }
    if before.index.is_some() != after.index.is_some() && changed.is_empty() {
        let word = if after.index.is_some() { "indexed" } else { "no longer indexed" };
        lines.push(format!("~ {name}: {word}"));
    }
}

fn sync_of(entity: &EntityDef) -> &'static str {
    match (entity.is_synced(), entity.has_shared_ids()) {
        (false, _) => "local only",
        (true, false) => "synced",
        (true, true) => "synced with shared ids",
    }
}
