//! `reconvene model`: looking at schemas, comparing them, taking them out of databases.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use reconvene::StoreError;
use reconvene::model::evolve::{Condition, conditions, obstacles};
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
                    "Tells how a second model differs from a first one, and whether a database of the first can be opened \
                     with the second. Entities and properties are matched by their uids, so that a new name is seen as \
                     such.\n\n\
                     A line begins with \"+\" for what is new, \"-\" for what is gone, and \"~\" for what is otherwise. One \
                     that begins with \"!\" keeps the database from being opened, and is what the opening would say. Some \
                     changes depend on the objects: if the first is a database, it is asked and they are judged; if it is \
                     a model file, a line that begins with \"?\" says what it depends on.\n\n\
                     The exit code is 0 if the two are the same and 1 if they differ.",
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

/// The database that a command line names, if it names one.
pub(crate) fn database(matches: &ArgMatches) -> Option<&PathBuf> {
    let (_, matches) = matches.subcommand()?;
    let named = |id| matches.try_get_one::<PathBuf>(id).ok().flatten();
    [DIR, MODEL, OTHER].into_iter().filter_map(named).find(|path| path.is_dir())
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
            let lines = diff(required::<PathBuf>(matches, MODEL), required::<PathBuf>(matches, OTHER))?;
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

/// A line for each difference, and then for each reason why an opening would fail or might.
fn diff(first: &Path, second: &Path) -> anyhow::Result<Vec<String>> {
    let second = directory::read_model(second)?;
    if first.is_dir() {
        let store = directory::open_to_read(first)?;
        let mut lines = differences(store.schema(), second.schema());
        lines.extend(store.obstacles_to(&second)?.into_iter().map(refusal));
        return Ok(lines);
    }
    let first = directory::read_model(first)?;
    let removes = |uid| second.has_retired_entity(uid);
    let (first, second) = (first.schema(), second.schema());
    let mut lines = differences(first, second);
    let refusals = obstacles(first, second, removes);
    if refusals.is_empty() {
        lines.extend(conditions(first, second).into_iter().filter_map(depends));
    }
    lines.extend(refusals.into_iter().map(|obstacle| format!("! {obstacle}")));
    Ok(lines)
}

fn refusal(error: StoreError) -> String {
    match error {
        StoreError::OtherModel { what } => format!("! {what}"),
        other => format!("! {other}"),
    }
}

fn depends(condition: Condition<'_>) -> Option<String> {
    Some(match condition {
        Condition::SharingChanges { stored, .. } => {
            format!(
                "? {}: a database that has or had objects of it refuses to share ids otherwise",
                stored.name
            )
        }
        Condition::BecomesLocal { stored, link: Some(link) } => {
            format!("? {}: every database refuses to make it local while {link} links to it", stored.name)
        }
        Condition::BecomesLocal { stored, .. } | Condition::Removed { stored } => {
            format!("? {}: the database of a server refuses it if there are or were objects", stored.name)
        }
        Condition::BecomesSynced { stored } => {
            format!(
                "? {}: the database of a server refuses to sync it if there are objects of it",
                stored.name
            )
        }
        Condition::BecomesUnique { stored, property, .. } => {
            format!(
                "? {}.{}: a database in which two objects share a value refuses it",
                stored.name, property.name
            )
        }
        _ => return None,
    })
}

/// A line for each difference: `+` what is new, `-` what is gone, `~` what is otherwise.
fn differences(first: &Schema, second: &Schema) -> Vec<String> {
    let mut lines = Vec::new();
    for entity in first.entities() {
        let name = &entity.name;
        match second.entity_by_uid(entity.uid) {
            None => lines.push(format!("- {name}: gone")),
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
        lines.push(format!("~ {name}: id {} instead of {}", after.id, before.id));
    }
    if (before.is_synced(), before.has_shared_ids()) != (after.is_synced(), after.has_shared_ids()) {
        lines.push(format!("~ {name}: {} instead of {}", sync_of(after), sync_of(before)));
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
        lines.push(format!("+ {name}.{}: new, {}", property.name, type_of(property)));
    }
}

fn compare_properties(entity: &str, before: &PropertyDef, after: &PropertyDef, lines: &mut Vec<String>) {
    let name = format!("{entity}.{}", before.name);
    if before.name != after.name {
        lines.push(format!("~ {name}: called {}", after.name));
    }
    if before.id != after.id {
        lines.push(format!("~ {name}: id {} instead of {}", after.id, before.id));
    }
    if before.ty != after.ty {
        lines.push(format!("~ {name}: {} instead of {}", after.ty, before.ty));
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
