//! Opening databases of either role, and reading model files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use reconvene::model::Schema;
use reconvene::model::model_file::{MODEL_FILE_BYTES_MAX, ModelFile};
use reconvene::{ObjectBox, Role, Store, StoreBuilder, StoreError};

use crate::exit::Mistake;

/// Opens a database to look at it, beside whoever has it open.
///
/// # Errors
///
/// If there is none, or it cannot be read.
pub(crate) fn open_to_read(directory: &Path) -> anyhow::Result<Store> {
    open(directory, StoreBuilder::read_only)
}

/// Opens an existing database to write to it.
///
/// # Errors
///
/// If there is none, or a process has it open.
pub(crate) fn open_to_write(directory: &Path) -> anyhow::Result<Store> {
    open(directory, |builder| builder).map_err(|error| not_beside(directory, error))
}

/// Says what a user can do about a database that is open, if that is the error.
pub(crate) fn not_beside(directory: &Path, error: anyhow::Error) -> anyhow::Error {
    let Some(StoreError::InUse { pid, .. }) = error.downcast_ref() else { return error };
    let pid = pid.map(|pid| format!(" ({pid})")).unwrap_or_default();
    anyhow!(
        "{} is open in another process{pid}; end that process first, or stop the server, and run this again",
        directory.display()
    )
}

fn open(directory: &Path, prepare: impl Fn(StoreBuilder) -> StoreBuilder) -> anyhow::Result<Store> {
    let path = existing(directory)?;
    // What would end the process that maps the file, as far as a look at its head can tell.
    if let Some(damage) = Store::check_head(&path)?.first() {
        anyhow::bail!(
            "{} is damaged: {damage}; run \"reconvene check {}\" to see what else is, and restore a backup",
            path.join(Store::DATA_FILE).display(),
            directory.display()
        );
    }
    // The directory knows its role and tells it only by refusing the other one.
    match prepare(Store::builder(&path)).open() {
        Err(StoreError::WrongRole { .. }) => Ok(prepare(Store::builder(&path)).role(Role::Server).open()?),
        opened => Ok(opened?),
    }
}

/// The objects of an entity.
///
/// # Errors
///
/// If the database does not have it, with those that it has.
pub(crate) fn objects(store: &Store, entity: &str) -> anyhow::Result<ObjectBox> {
    store.objects(entity).map_err(|error| match error {
        StoreError::UnknownEntity { .. } => unknown_entity(store.schema(), entity).into(),
        error => error.into(),
    })
}

/// The complaint about an entity that a schema does not have.
pub(crate) fn unknown_entity(schema: &Schema, entity: &str) -> Mistake {
    let known: Vec<_> = schema.entities().iter().map(|entity| entity.name.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Mistake(format!("there is no entity {entity:?}; the model has {known}"))
}

/// An absolute path, because the store takes a name like `memory:` for a database that is gone with the process.
///
/// # Errors
///
/// If the current directory is gone, and for the address of a server.
pub(crate) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    refuse_address(path)?;
    std::path::absolute(path).with_context(|| format!("{} cannot be found", path.display()))
}

/// Commands work on the files of a server, whose address leads to none of them.
fn refuse_address(path: &Path) -> Result<(), Mistake> {
    let is_address =
        path.to_str().is_some_and(|text| text.starts_with("ws://") || text.starts_with("wss://"));
    if !is_address {
        return Ok(());
    }
    Err(Mistake(format!(
        "{} is the address of a server; name the directory of its database, on the machine that it runs on (it may go on \
         running)",
        path.display()
    )))
}

/// Whether a directory has a database in it.
pub(crate) fn holds_data(directory: &Path) -> bool {
    directory.join(Store::DATA_FILE).exists()
}

/// The absolute path of a directory with a database in it.
///
/// # Errors
///
/// If there is none.
pub(crate) fn existing(directory: &Path) -> anyhow::Result<PathBuf> {
    let path = absolute(directory)?;
    if holds_data(&path) { Ok(path) } else { Err(missing(directory).into()) }
}

fn missing(directory: &Path) -> Mistake {
    Mistake(format!("there is no database in {}; is it another directory?", directory.display()))
}

/// Reads a model file, or the model of a database.
///
/// # Errors
///
/// If it cannot be read, with its name.
pub(crate) fn read_model(path: &Path) -> anyhow::Result<ModelFile> {
    refuse_address(path)?;
    if path.is_dir() {
        return Ok(open_to_read(path)?.model().clone());
    }
    read_model_file(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a model file within its bound.
fn read_model_file(path: &Path) -> anyhow::Result<ModelFile> {
    let mut text = String::new();
    let file = File::open(path).map_err(mistake)?;
    file.take(MODEL_FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(ModelFile::parse(&text)?)
}

/// A file that is not there is a name that was misspelt.
pub(crate) fn mistake(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => Mistake(error.to_string()).into(),
        _ => error.into(),
    }
}
