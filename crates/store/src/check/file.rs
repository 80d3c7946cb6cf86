//! Reading the data file below the tables, so that damage to its structure is named instead of met.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use reconvene_model::model_file::{MODEL_FILE_BYTES_MAX, ModelFile};
use reconvene_model::record::TableLayout;
use reconvene_model::{EntityDef, Schema};

use super::{FINDINGS_MAX, Finding, whole_record};
use crate::error::Result;
use crate::index;
use crate::keys;
use crate::seam::pages::{self, Area, Damage, Inspection, Keys, Source, Value, Visit};
use crate::seam::{DATA_FILE, Engine, EngineOptions, SeamError};
use crate::store::Store;

/// How often a state is looked for that a process which writes has not replaced meanwhile.
const STATES_TRIED_MAX: usize = 100;

/// After how many bytes it is told how far the reading is.
const TOLD_AFTER_BYTES: u64 = 1 << 20;

/// How long nothing is tried after a state was replaced.
const BETWEEN_STATES: Duration = Duration::from_millis(2);

/// The longest record that is read from a damaged file.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// What [`Store::check_file`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileReport {
    /// What is damaged: page, byte, table, and the objects concerned where they are known.
    pub findings: Vec<Finding>,
    /// What could not be looked at because of it, as sentences; nothing where nothing is damaged.
    pub unseen: Vec<String>,
    /// The pages of the file.
    pub pages: u64,
    /// Those of them that hold nothing and will be used again.
    pub free_pages: u64,
    /// Those of them that hold nothing and will never be used again: no damage, and [`Store::compact`] gives them back.
    pub lost_pages: u64,
}

impl Store {
    /// Reads the structure of a store's data file and names what is damaged; at most [`FINDINGS_MAX`] findings.
    ///
    /// The file is read page by page and never mapped into memory, so that no damage can end the process. Every page is
    /// visited once. If the structure is damaged, the records that can still be reached are read as well; if it is
    /// sound, [`Store::check`] on the opened store tells the rest. Other processes may have the store open.
    ///
    /// # Errors
    ///
    /// If the directory holds no data, the file cannot be read, or this process has the store open. Damage is what it
    /// returns, not an error.
    pub fn check_file(directory: impl AsRef<Path>) -> Result<FileReport> {
        Store::check_file_watched(directory, &|_, _| {})
    }

    /// As [`Store::check_file`], and tells now and then how many bytes were read, and of about how many.
    ///
    /// # Errors
    ///
    /// As [`Store::check_file`].
    pub fn check_file_watched(directory: impl AsRef<Path>, watch: &dyn Fn(u64, u64)) -> Result<FileReport> {
        let directory = directory.as_ref();
        let file = open(directory)?;
        let failed = |error| SeamError::io("reading the data file", error);
        let mut report = FileReport::default();
        let names = Names::read(&file).map_err(failed)?;
        let found = in_one_state(directory, &Watched::new(&file, watch).map_err(failed)?, &mut |_, _, _| {})?;
        report.pages = found.pages;
        report.free_pages = found.free;
        report.lost_pages = found.lost;
        report.findings = found.damages.iter().map(|damage| names.finding(damage)).collect();
        if !report.findings.is_empty() {
            names.records(directory, &Watched::new(&file, watch).map_err(failed)?, &mut report)?;
        }
        Ok(report)
    }

    /// Looks at the head and the length of a store's data file only, which is cheap whatever its size.
    ///
    /// It names what would end a process that maps the file, as far as that can be told without reading all of it.
    ///
    /// # Errors
    ///
    /// If the directory holds no data, or the file cannot be read.
    pub fn check_head(directory: impl AsRef<Path>) -> Result<Vec<Finding>> {
        let file = open(directory.as_ref())?;
        let damages = pages::quick(&file).map_err(|error| SeamError::io("reading the data file", error))?;
        let names = Names::default();
        Ok(damages.iter().map(|damage| names.finding(damage)).collect())
    }
}

fn open(directory: &Path) -> Result<File> {
    File::open(directory.join(DATA_FILE)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => SeamError::Missing { path: directory.to_owned() }.into(),
        _ => SeamError::io("opening the data file", error).into(),
    })
}

/// Inspects a state that stays as it is meanwhile: a snapshot keeps other processes from using its pages again.
fn in_one_state(directory: &Path, file: &Watched<'_>, visit: &mut Visit<'_>) -> Result<Inspection> {
    let failed = |error| SeamError::io("reading the data file", error);
    if !pages::quick(file.file).map_err(failed)?.is_empty() {
        // Nobody can open such a file, so nobody changes it.
        return Ok(pages::inspect(file, None, FINDINGS_MAX, visit).map_err(failed)?.unwrap_or_default());
    }
    // Taking a snapshot reads nothing of the map but the meta pages, which are sound.
    let engine = Engine::open_lmdb(directory, EngineOptions { read_only: true, ..EngineOptions::default() })?;
    for _ in 0..STATES_TRIED_MAX {
        let snapshot = engine.read()?;
        let found = pages::inspect(file, snapshot.transaction(), FINDINGS_MAX, visit).map_err(failed)?;
        if let Some(found) = found {
            return Ok(found);
        }
        drop(snapshot);
        // Where many want to run, the next attempt shall find this process fresh rather than at the end of its turn.
        std::thread::sleep(BETWEEN_STATES);
    }
    Err(failed(io::Error::other("another process replaces its states too quickly")).into())
}

/// A data file of which is told how much was read.
struct Watched<'f> {
    file: &'f File,
    watch: &'f dyn Fn(u64, u64),
    read: Cell<u64>,
    /// About how much there is to read.
    total: u64,
}

impl<'f> Watched<'f> {
    fn new(file: &'f File, watch: &'f dyn Fn(u64, u64)) -> io::Result<Watched<'f>> {
        Ok(Watched { file, watch, read: Cell::new(0), total: pages::used_bytes(file)? })
    }
}

impl Source for &Watched<'_> {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let before = self.read.get();
        let filled = self.file.read_at(offset, buffer)?;
        self.read.set(before + filled as u64);
        if before / TOLD_AFTER_BYTES != self.read.get() / TOLD_AFTER_BYTES {
            (self.watch)(self.read.get().min(self.total), self.total);
        }
        Ok(filled)
    }
}

/// What people call the parts of the file.
#[derive(Default)]
struct Names {
    schema: Schema,
}

impl Names {
    /// The names of the model, where that can be read.
    fn read(file: &File) -> io::Result<Names> {
        let model = pages::lookup(file, keys::META.as_bytes(), keys::MODEL_KEY, MODEL_FILE_BYTES_MAX)?;
        let text = model.and_then(|model| String::from_utf8(model).ok());
        let schema = text.and_then(|text| ModelFile::parse(&text).ok()).map(|model| model.schema().clone());
        Ok(Names { schema: schema.unwrap_or_default() })
    }

    fn finding(&self, damage: &Damage) -> Finding {
        let place = format!("page {}, byte {}, {}", damage.page, damage.offset, self.area(&damage.area));
        match self.concerned(&damage.area, &damage.keys) {
            Some(concerned) => Finding { place, what: format!("{}; it concerns {concerned}", damage.what) },
            None => Finding { place, what: damage.what.clone() },
        }
    }

    fn area(&self, area: &Area) -> String {
        match area {
            Area::Head => "meta pages".to_owned(),
            Area::Free => "list of free pages".to_owned(),
            Area::Names => "list of tables".to_owned(),
            Area::Table(table) => self.table(table),
        }
    }

    fn table(&self, table: &[u8]) -> String {
        let text = String::from_utf8_lossy(table);
        for entity in self.schema.entities() {
            for (name, words) in [
                (keys::objects_table(entity.id), entity.name.clone()),
                (keys::absent_table(entity.id), format!("remembered absent objects of {}", entity.name)),
                (keys::global_ids_table(entity.id), format!("global ids of {}", entity.name)),
            ] {
                if text == name {
                    return words;
                }
            }
            for relation in &entity.relations {
                if [keys::relation_table(relation.id), keys::relation_back_table(relation.id)]
                    .iter()
                    .any(|name| text == *name)
                {
                    return format!("links of {}.{}", entity.name, relation.name);
                }
            }
            for property in index::indexed(entity) {
                if property.index.as_ref().is_some_and(|index| text == keys::index_table(index.id)) {
                    return format!("index of {}.{}", entity.name, property.name);
                }
            }
        }
        format!("table {text:?}")
    }

    /// The entries of a table that a damage may concern, in words.
    fn concerned(&self, area: &Area, concerned: &Keys) -> Option<String> {
        let Area::Table(table) = area else { return None };
        let name = self.table(table);
        let number = |key: &Option<Vec<u8>>| key.as_deref().map(|key| keys::number(key).ok());
        Some(match (number(&concerned.from), number(&concerned.to)) {
            (None, None) => format!("all of {name}"),
            (Some(Some(from)), Some(Some(to))) if to <= from.saturating_add(1) => format!("{name} {from}"),
            (Some(Some(from)), Some(Some(to))) => format!("{name} {from} to {}", to - 1),
            (Some(Some(from)), None) => format!("{name} {from} and all behind it"),
            (None, Some(Some(to))) => format!("all of {name} before {to}"),
            // A key of another kind means nothing to people.
            _ => format!("a part of {name}"),
        })
    }

    /// Reads the records that can still be reached, and says what cannot.
    fn records(&self, directory: &Path, file: &Watched<'_>, report: &mut FileReport) -> Result<()> {
        let entities: Vec<_> = self
            .schema
            .entities()
            .iter()
            .map(|entity| (keys::objects_table(entity.id), entity, TableLayout::new(entity)))
            .collect();
        let mut reached = vec![0_u64; entities.len()];
        let mut findings = Vec::new();
        let found = in_one_state(directory, file, &mut |table, key, value| {
            let Some(at) = entities.iter().position(|(name, ..)| name.as_bytes() == table) else { return };
            let (_, entity, layout) = &entities[at];
            match record(entity, layout, key, value) {
                Ok(()) => reached[at] += 1,
                Err(finding) if findings.len() < FINDINGS_MAX => findings.push(finding),
                Err(_) => {}
            }
        })?;
        let room = FINDINGS_MAX.saturating_sub(report.findings.len());
        report.findings.extend(findings.into_iter().take(room));
        if self.schema.entities().is_empty() {
            report.unseen.push("the model cannot be read, so that no object could be looked at".to_owned());
        }
        for ((name, entity, _), reached) in entities.iter().zip(reached) {
            let said =
                found.tables.iter().find(|(table, _)| table == name.as_bytes()).map(|(_, entries)| *entries);
            report.unseen.push(match said {
                Some(said) if said == reached => {
                    format!("{}: all {reached} objects can be read", entity.name)
                }
                Some(said) => format!("{}: {reached} of {said} objects can be read", entity.name),
                None => format!("{}: its objects cannot be reached", entity.name),
            });
        }
        report.unseen.push(
            "indexes, links and the tables of sync were not compared with the objects; that needs a sound file".to_owned(),
        );
        Ok(())
    }
}

/// Reads one record of a damaged file down to its last property.
fn record(
    entity: &EntityDef,
    layout: &TableLayout,
    key: &[u8],
    value: Value<'_>,
) -> std::result::Result<(), Finding> {
    let finding = |what: String| {
        let id = keys::object_id(key)
            .map_or_else(|_| "an object".to_owned(), |id| format!("{} {id}", entity.name));
        Finding { place: id, what }
    };
    let bytes =
        value.read(RECORD_BYTES_MAX).map_err(|error| finding(format!("it cannot be read: {error}")))?;
    let Some(bytes) = bytes else {
        return Err(finding(format!("its record of {} bytes is too long to be looked at", value.bytes())));
    };
    whole_record(layout, &bytes).map(drop).map_err(finding)
}

#[cfg(test)]
mod tests;
