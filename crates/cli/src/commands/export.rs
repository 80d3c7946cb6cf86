//! `reconvene export`: all objects of an entity, or those that meet a condition, to a file or to standard output.

use std::cell::Cell;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Arg, ArgMatches, Command, value_parser};

use super::file::{self, NewFile};
use super::format::{self, Format};
use super::progress::Progress;
use super::query::{self, Failure, at_place};
use super::rows::RowWriter;
use super::{DIR, ENTITY, dir, directory, entity, required, table};
use crate::exit::Exit;
use crate::messages;

pub(crate) const NAME: &str = "export";

const OUTPUT: &str = "output";
const WHERE: &str = "where";
pub(crate) const NULL: &str = "null";

const FORMATS: &[Format] = &[Format::Json, Format::Ndjson, Format::Csv];

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Writes the objects of an entity as NDJSON, JSON or CSV")
        .long_about(
            "Writes the objects of an entity as NDJSON, JSON or CSV, as they are at one moment, in order of id. A server or \
             an application may have the database open meanwhile; the space of what they replace is free again when the \
             export is done.\n\n\
             Examples:\n  \
             reconvene export data City --output cities.csv\n  \
             reconvene export data City --where 'country == \"IT\"' > italy.ndjson\n\n\
             Dates are numbers, as the database has them; bytes are hexadecimal text; vectors are JSON arrays, in CSV as \
             the text of a cell. JSON has no number for NaN and infinity, which are text there.",
        )
        .arg(dir())
        .arg(entity())
        .arg(
            Arg::new(OUTPUT)
                .long(OUTPUT)
                .short('o')
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("The file to write, which appears when it is whole [default: standard output]"),
        )
        .arg(
            format::argument(FORMATS).help("The format [default: what the name of the file says, else ndjson]"),
        )
        .arg(
            Arg::new(WHERE)
                .long(WHERE)
                .value_name("EXPRESSION")
                .help("Writes only the objects that meet this condition"),
        )
        .arg(
            Arg::new(NULL)
                .long(NULL)
                .value_name("TEXT")
                .default_value("")
                .hide_default_value(true)
                .help("What a CSV cell without a value says [default: nothing]")
                .long_help(
                    "What a CSV cell without a value says. By default it is empty, which looks the same as empty text; a \
                     text that occurs nowhere else, such as \\N, keeps the two apart.",
                ),
        )
        .arg(file::force("Replaces the file if it exists"))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let output = matches.get_one::<PathBuf>(OUTPUT);
    let of_name = output.and_then(|path| Format::of_name(path));
    let format = format::chosen(matches).or(of_name).unwrap_or(Format::Ndjson);
    let store = directory::open_to_read(required::<PathBuf>(matches, DIR))?;
    let objects = directory::objects(&store, required::<String>(matches, ENTITY))?;
    let text = matches.get_one::<String>(WHERE).map_or("true", String::as_str);
    let selected = objects.query_text(text).map_err(|error| at_place(text, error))?.with_links();
    let null = required::<String>(matches, NULL);
    let file = output.map(|path| NewFile::new(path, matches.get_flag(file::FORCE))).transpose()?;

    let to: Box<dyn Write> = match &file {
        Some(file) => Box::new(file.create()?),
        None => Box::new(io::stdout().lock()),
    };
    let counted = matches.get_one::<String>(WHERE).is_none().then(|| objects.count()).transpose()?;
    let done = Cell::new(0);
    let progress = Progress::new("Exporting", counted);
    let to = BufWriter::new(to);
    let writer = RowWriter::new(to, format, objects.entity(), null);
    let written = writer.map_err(Failure::Write).and_then(|writer| {
        query::write_all(&selected, writer, |rows| {
            done.set(rows);
            progress.set(rows);
        })
    });
    progress.finish(written.as_ref().map_or(done.get(), |(count, _)| *count));
    let count = match written {
        Ok((count, mut to)) => to.flush().map(|()| count).map_err(Failure::Write),
        Err(failure) => Err(failure),
    };
    match (count, file) {
        (Ok(count), Some(file)) => {
            file.keep()?;
            messages::note(&format!("{} written", table::counted(count, "object")));
        }
        (Ok(_), None) => {}
        (Err(Failure::Read(error)), _) => return Err(error.into()),
        (Err(Failure::Write(error)), Some(_)) => return Err(error).context("cannot write the file"),
        (Err(Failure::Write(error)), None) => crate::forgive_closed_pipe(error)?,
    }
    Ok(Exit::Success)
}
