//! Reading rows from CSV, JSON and NDJSON, one after the other, each with its place in the file.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, bail};
use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use crate::commands::format::Format;
use crate::commands::table;
use crate::exit::Mistake;

/// The longest line of an NDJSON file, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A file of rows, read as often as need be; standard input is kept in a temporary file for that.
pub(super) struct Input {
    name: String,
    file: File,
    format: Format,
    delimiter: u8,
}

/// Where in the file a row stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// The line, counted from 1.
    Line(u64),
    /// The element of the array, counted from 1.
    Element(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Element(element) => write!(f, "object {element}"),
        }
    }
}

/// What a row says under one name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell<'r> {
    /// The text of a CSV cell.
    Text(&'r str),
    /// A member of a JSON object.
    Json(&'r Json),
}

/// One row: names and what stands under them.
pub(super) enum Row<'r> {
    Csv { names: &'r csv::StringRecord, cells: &'r csv::StringRecord },
    Json(&'r Map<String, Json>),
}

impl<'r> Row<'r> {
    /// All of it, in the order of the file.
    pub(super) fn cells(&self) -> Box<dyn Iterator<Item = (&'r str, Cell<'r>)> + 'r> {
        match *self {
            Row::Csv { names, cells } => Box::new(names.iter().zip(cells.iter().map(Cell::Text))),
            Row::Json(members) => {
                Box::new(members.iter().map(|(name, json)| (name.as_str(), Cell::Json(json))))
            }
        }
    }
}

/// Takes a row; an error ends the reading.
type Take<'t> = &'t mut dyn FnMut(Place, Row<'_>) -> anyhow::Result<()>;

impl Input {
    /// Opens a file, or `-` for standard input, which is read to its end here.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or nothing says which format it has.
    pub(super) fn open(path: &Path, format: Option<Format>, delimiter: u8) -> anyhow::Result<Input> {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let Some(format) = format.or_else(|| Format::of_name(path)) else {
            return Err(Mistake(format!(
                "{name} does not tell its format by its name; give --format csv, json or ndjson"
            ))
            .into());
        };
        let file = if is_stdin {
            let mut file = tempfile::tempfile().context("no temporary file can be made")?;
            io::copy(&mut io::stdin().lock(), &mut file).context("cannot read standard input")?;
            file
        } else {
            File::open(path).map_err(|error| Mistake(format!("cannot read {name}: {error}")))?
        };
        Ok(Input { name, file, format, delimiter })
    }

    /// The name for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Reads all rows from the beginning.
    ///
    /// # Errors
    ///
    /// The first row that cannot be read, with its place, and what `take` returns.
    pub(super) fn each(&mut self, take: Take<'_>) -> anyhow::Result<()> {
        self.file.seek(SeekFrom::Start(0)).with_context(|| format!("cannot read {}", self.name))?;
        let mut text = BufReader::with_capacity(1 << 18, &self.file);
        // Editors on Windows begin files with this mark, which is no part of the first name.
        if text.fill_buf().with_context(|| format!("cannot read {}", self.name))?.starts_with(b"\xef\xbb\xbf")
        {
            text.consume(3);
        }
        match self.format {
            Format::Csv => each_csv(&self.name, self.delimiter, text, take),
            Format::Ndjson => each_line(&self.name, text, take),
            _ => each_element(&self.name, text, take),
        }
    }
}

fn each_csv(name: &str, delimiter: u8, text: impl Read, take: Take<'_>) -> anyhow::Result<()> {
    let mut csv = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text);
    let wrong = |error: csv::Error| match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            anyhow::anyhow!(
                "{name}, line {line}: {} instead of {expected_len}; a cell with a delimiter or a line break in it \
                 stands in quotes",
                table::counted(*len, "cell")
            )
        }
        csv::ErrorKind::Utf8 { pos, err } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            let column = err.field() + 1;
            anyhow::anyhow!(
                "{name}, line {line}, column {column}: this is not UTF-8; save the file as UTF-8 text"
            )
        }
        _ => anyhow::Error::from(error).context(format!("cannot read {name}")),
    };
    let names = csv.headers().map_err(wrong)?.clone();
    for (at, column) in names.iter().enumerate() {
        if names.iter().take(at).any(|other| other == column) {
            bail!(Mistake(format!("{name}, line 1: two columns are called {column:?}; rename one")));
        }
    }
    let mut cells = csv::StringRecord::new();
    while csv.read_record(&mut cells).map_err(wrong)? {
        let line = cells.position().map_or(0, csv::Position::line);
        take(Place::Line(line), Row::Csv { names: &names, cells: &cells })?;
    }
    Ok(())
}

fn each_line(name: &str, mut text: impl BufRead, take: Take<'_>) -> anyhow::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = text.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        if read.with_context(|| format!("cannot read {name}"))? == 0 {
            break;
        }
        if line.len() as u64 > LINE_BYTES_MAX {
            bail!(
                "{name}, line {number}: longer than {LINE_BYTES_MAX} bytes; is every object on a line of its own?"
            );
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let json: Json = serde_json::from_slice(&line).map_err(|error| {
            anyhow::anyhow!("{name}, line {number}, column {}: {}", error.column(), reason(&error))
        })?;
        let Json::Object(members) = json else {
            bail!("{name}, line {number}: an object is expected, like {{\"id\": 1}}");
        };
        take(Place::Line(number), Row::Json(&members))?;
    }
    Ok(())
}

fn each_element(name: &str, text: impl Read, take: Take<'_>) -> anyhow::Result<()> {
    let mut failed = None;
    let mut json = serde_json::Deserializer::from_reader(text);
    let read = Elements { take, failed: &mut failed }.deserialize(&mut json).and_then(|()| json.end());
    if let Some(error) = failed {
        return Err(error);
    }
    read.map_err(|error| {
        anyhow::anyhow!("{name}, line {}, column {}: {}", error.line(), error.column(), reason(&error))
    })
}

/// The message without the place, which is told in our own words.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
}

/// Takes the elements of an array while it is being read.
struct Elements<'t> {
    take: Take<'t>,
    failed: &'t mut Option<anyhow::Error>,
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects (for an object on each line, give --format ndjson)")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut number = 0;
        while let Some(members) = elements.next_element::<Map<String, Json>>()? {
            number += 1;
            if let Err(error) = (self.take)(Place::Element(number), Row::Json(&members)) {
                *self.failed = Some(error);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}
