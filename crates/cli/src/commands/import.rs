//! `reconvene import`: objects from CSV, JSON or NDJSON.
//!
//! The file is read twice: once to see whether every row can become an object, then to put them, batch after batch. `input`
//! reads rows, `columns` makes objects of them, `infer` a schema where there is none.

mod columns;
mod infer;
mod input;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use reconvene::model::evolve::evolve;
use reconvene::model::{EntityDef, Schema};
use reconvene::{Object, Store, StoreBuilder, StoreError, TX_OPS_MAX};

use super::export::NULL;
use super::format::{self, Format};
use super::progress::Progress;
use super::{DIR, ENTITY, dir, directory, entity, flag, path, required, table};
use crate::exit::{Exit, Mistake};

use columns::{Columns, Names};
use input::{Input, Place};

pub(crate) const NAME: &str = "import";

const FILE: &str = "file";
const CREATE: &str = "create";
const MODEL: &str = "model";
const MAP: &str = "map";
const IGNORE: &str = "ignore";
const NEW_IDS: &str = "new-ids";
const BATCH: &str = "batch";
const DRY_RUN: &str = "dry-run";
const DELIMITER: &str = "delimiter";

const FORMATS: &[Format] = &[Format::Json, Format::Ndjson, Format::Csv];

/// After how many rows progress is told.
const PROGRESS_ROWS: u64 = 1_000;

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Puts the objects of a CSV, JSON or NDJSON file into an entity")
        .long_about(
            "Puts the objects of a CSV, JSON or NDJSON file into an entity. Columns go into the properties of the same name \
             and are read by their types. First the whole file is read, so that a row that does not fit is told with its \
             line and column before anything is written; then objects are put batch after batch, each batch whole.\n\n\
             Rows without an id become new objects. Rows with one change the object that has it, and leave the properties \
             that they do not name; where the application chooses ids, they also become new objects under that id.\n\n\
             Examples:\n  \
             reconvene import data City cities.csv --map lat=latitude --map lng=longitude --ignore admin2\n  \
             reconvene import data City cities.csv --create\n  \
             reconvene export data City | reconvene import other City - --format ndjson\n\n\
             No process may have the database open. Objects of synced entities are put on devices and reach a server from \
             there; a server's database does not take them.",
        )
        .arg(dir())
        .arg(entity())
        .arg(path(FILE, "FILE").help("The file to read, or - for standard input"))
        .arg(format::argument(FORMATS).help("The format [default: what the name of the file says]"))
        .arg(
            Arg::new(MAP)
                .long(MAP)
                .value_name("COLUMN=PROPERTY")
                .action(ArgAction::Append)
                .help("Puts a column into a property of another name; may be repeated"),
        )
        .arg(
            Arg::new(IGNORE)
                .long(IGNORE)
                .value_name("COLUMN")
                .action(ArgAction::Append)
                .help("Leaves a column out; may be repeated"),
        )
        .arg(flag(NEW_IDS).help("Makes every row a new object, whatever its id; links keep the ids that the file has"))
        .arg(
            Arg::new(NULL)
                .long(NULL)
                .value_name("TEXT")
                .default_value("")
                .hide_default_value(true)
                .help("What a CSV cell without a value says [default: nothing]"),
        )
        .arg(
            Arg::new(DELIMITER)
                .long(DELIMITER)
                .value_name("CHARACTER")
                .default_value(",")
                .value_parser(delimiter)
                .help("What stands between CSV cells; \"tab\" for tabulators"),
        )
        .arg(
            Arg::new(BATCH)
                .long(BATCH)
                .value_name("NUMBER")
                .value_parser(value_parser!(u64).range(1..=TX_OPS_MAX as u64))
                .default_value("5000")
                .help("How many objects one transaction puts")
                .long_help(
                    "How many objects one transaction puts. Larger ones are a little faster; a transaction of a synced \
                     entity must fit one message of 16 MiB.",
                ),
        )
        .arg(flag(DRY_RUN).help("Only tells whether every row can be read; writes nothing"))
        .arg(
            flag(CREATE)
                .help("Makes a new database, with types as the rows suggest unless --model is given")
                .long_help(
                    "Makes a new database. Without --model, types are as the rows suggest: whole numbers, numbers, true \
                     and false, text, and arrays of these; a column \"id\" gives the ids. Such an entity is local; to sync \
                     it, export the model, change it, and import with --model.",
                ),
        )
        .arg(
            Arg::new(MODEL)
                .long(MODEL)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .requires(CREATE)
                .help("The model of the new database"),
        )
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        &[byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(byte),
        _ => Err("give one ASCII character, or \"tab\"".to_owned()),
    }
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let given = required::<PathBuf>(matches, DIR);
    let entity = required::<String>(matches, ENTITY);
    let names = Names::new(
        matches.get_many(MAP).into_iter().flatten(),
        matches.get_many(IGNORE).into_iter().flatten(),
        required::<String>(matches, NULL),
        matches.get_flag(NEW_IDS),
    )?;
    let file = required::<PathBuf>(matches, FILE);
    let mut input = Input::open(file, format::chosen(matches), *required::<u8>(matches, DELIMITER))?;
    let is_dry = matches.get_flag(DRY_RUN);

    let target = match matches.get_flag(CREATE) {
        true => Target::create(given, entity, matches.get_one(MODEL), &mut input, &names)?,
        false if is_dry => Target::Store(directory::open_to_read(given)?),
        false => Target::Store(open(given)?),
    };
    let def = target.entity(entity)?;
    let rows = look_through(&mut input, &def, &names)?;
    if is_dry {
        return crate::print(&format!(
            "{} can be read; nothing was written\n",
            table::counted(rows, "object")
        ));
    }
    let batch = usize::try_from(*required::<u64>(matches, BATCH)).unwrap_or(TX_OPS_MAX);
    let store = target.open()?;
    put_all(&store, &mut input, &def, &names, rows, batch)?;
    crate::print(&format!("{} imported\n", table::counted(rows, "object")))
}

fn open(given: &Path) -> anyhow::Result<Store> {
    if !directory::holds_data(given) {
        return Err(Mistake(format!(
            "there is no database in {}; to make a new one, give --create",
            given.display()
        ))
        .into());
    }
    directory::open_to_write(given)
}

/// Where objects go.
enum Target {
    Store(Store),
    /// A database that is made once every row has been looked at.
    New {
        builder: Box<StoreBuilder>,
        schema: Schema,
    },
}

impl Target {
    fn create(
        given: &Path,
        entity: &str,
        model: Option<&PathBuf>,
        input: &mut Input,
        names: &Names,
    ) -> anyhow::Result<Target> {
        if directory::holds_data(given) {
            return Err(Mistake(format!(
                "{} has a database already; leave --create out to add to it",
                given.display()
            ))
            .into());
        }
        let builder = Store::builder(directory::absolute(given)?);
        let (builder, schema) = match model {
            Some(path) => {
                let model = directory::read_model(path)?;
                let schema = model.schema().clone();
                (builder.model(model), schema)
            }
            None => {
                let description = infer::describe(input, entity, names)?;
                let schema = evolve(&Schema::default(), std::slice::from_ref(&description))
                    .with_context(|| format!("{} makes no entity", input.name()))?;
                (builder.description(description), schema)
            }
        };
        Ok(Target::New { builder: Box::new(builder), schema })
    }

    fn entity(&self, name: &str) -> anyhow::Result<EntityDef> {
        match self {
            Target::Store(store) => Ok(directory::objects(store, name)?.entity().clone()),
            Target::New { schema, .. } => Ok(schema
                .entity_by_name(name)
                .cloned()
                .ok_or_else(|| directory::unknown_entity(schema, name))?),
        }
    }

    fn open(self) -> anyhow::Result<Store> {
        match self {
            Target::Store(store) => Ok(store),
            Target::New { builder, .. } => Ok(builder.open()?),
        }
    }
}

/// Makes an object of every row and forgets it; how many there are.
fn look_through(input: &mut Input, def: &EntityDef, names: &Names) -> anyhow::Result<u64> {
    let file = input.name().to_owned();
    let columns = Columns::new(def, names, &file);
    let progress = Progress::new("Reading", None);
    let mut rows = 0_u64;
    let read = input.each(&mut |place, row| {
        rows += 1;
        if rows.is_multiple_of(PROGRESS_ROWS) {
            progress.set(rows);
        }
        columns.object(place, &row).map(drop)
    });
    progress.finish(rows);
    read.map(|()| rows)
}

fn put_all(
    store: &Store,
    input: &mut Input,
    def: &EntityDef,
    names: &Names,
    rows: u64,
    batch: usize,
) -> anyhow::Result<()> {
    let file = input.name().to_owned();
    let columns = Columns::new(def, names, &file);
    let progress = Progress::new("Importing", Some(rows));
    let mut waiting: Vec<(Place, Object)> = Vec::with_capacity(batch.min(1 << 16));
    let mut done = 0_u64;
    let mut put = |waiting: &mut Vec<(Place, Object)>| {
        put_batch(store, &def.name, waiting).map_err(|(place, error)| told(&file, done, place, &error))?;
        done += waiting.len() as u64;
        progress.set(done);
        waiting.clear();
        Ok::<_, anyhow::Error>(())
    };
    let read = input.each(&mut |place, row| {
        waiting.push((place, columns.object(place, &row)?));
        if waiting.len() >= batch { put(&mut waiting) } else { Ok(()) }
    });
    let written = read.and_then(|()| put(&mut waiting));
    progress.finish(done);
    written
}

/// Puts a batch in one transaction; on an error the row it is about, if it is about one.
fn put_batch(
    store: &Store,
    entity: &str,
    batch: &mut [(Place, Object)],
) -> Result<(), (Option<Place>, Box<StoreError>)> {
    let mut at = None;
    let written = store.write(|tx| {
        let objects = tx.objects(entity)?;
        for (place, object) in batch.iter_mut() {
            at = Some(*place);
            objects.put(object)?;
        }
        at = None;
        Ok(())
    });
    written.map_err(|error| (at, Box::new(error)))
}

/// An error while objects are put, with what became of the rest.
fn told(file: &str, done: u64, place: Option<Place>, error: &StoreError) -> anyhow::Error {
    let hint = match error {
        StoreError::NotFound { .. } => "; --new-ids makes every row a new object",
        StoreError::TransactionTooLarge { .. }
        | StoreError::TooManyOperations { .. }
        | StoreError::TooManyValues { .. } => "; give a smaller --batch",
        _ => "",
    };
    let place = place.map(|place| format!(", {place}")).unwrap_or_default();
    let kept = match done {
        0 => "nothing was imported".to_owned(),
        1 => "the first object was imported, the others were not".to_owned(),
        _ => format!("the first {} were imported, the others were not", table::counted(done, "object")),
    };
    anyhow!("{file}{place}: {error}{hint}; {kept}")
}
