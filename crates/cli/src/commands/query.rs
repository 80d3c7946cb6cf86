//! `reconvene query`: the objects that meet a condition.

use std::io::{self, BufWriter, Write};

use clap::{Arg, ArgMatches, Command, value_parser};
use reconvene::expr::parse_sort;
use reconvene::{ObjectQuery, Sort, StoreError};
use std::path::PathBuf;

use super::format::{self, Format};
use super::rows::RowWriter;
use super::{DIR, ENTITY, dir, directory, entity, flag, required};
use crate::exit::{Exit, Mistake};

pub(crate) const NAME: &str = "query";

const EXPRESSION: &str = "expression";
const ORDER: &str = "order";
const DESC: &str = "desc";
const LIMIT: &str = "limit";
const OFFSET: &str = "offset";
const COUNT: &str = "count";
const EXPLAIN: &str = "explain";

/// After how many objects progress is told.
const PROGRESS_ROWS: u64 = 256;

const FORMATS: &[Format] = &[Format::Table, Format::Json, Format::Ndjson, Format::Csv];

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Shows the objects that meet a condition")
        .long_about(
            "Shows the objects that meet a condition, as they are at one moment. A server or an application may have the \
             database open meanwhile.\n\n\
             Examples:\n  \
             reconvene query data City 'country == \"IT\" AND population > 500000' --order population --desc --limit 10\n  \
             reconvene query data City --count\n  \
             reconvene query data City 'name ^= \"San \"' --format ndjson\n  \
             reconvene query data Task 'project.owner.name == \"Ann\" AND ANY tags == \"garden\"' --order 'due nulls last'\n\n\
             Names and text are compared as the guide on expressions says; in the shell, a condition stands in single \
             quotes.",
        )
        .arg(dir())
        .arg(entity())
        .arg(Arg::new(EXPRESSION).value_name("EXPRESSION").help("The condition [default: every object]"))
        .arg(
            Arg::new(ORDER)
                .long(ORDER)
                .value_name("ORDER")
                .help("Orders by a property, or by several as in \"country, population desc nulls last, name nocase\"; at last by id"),
        )
        .arg(flag(DESC).requires(ORDER).help("Orders from the largest value to the smallest"))
        .arg(number(LIMIT).help("Shows no more objects than this [default: all]"))
        .arg(number(OFFSET).help("Leaves out as many objects at the beginning [default: 0]"))
        .arg(
            format::argument(FORMATS)
                .default_value("table")
                .help("How objects are shown")
                .long_help(
                    "How objects are shown, one after the other. A table cuts long text, and is as wide as its first 256 \
                     objects ask for.",
                ),
        )
        .arg(flag(COUNT).conflicts_with(EXPLAIN).help("Shows only how many objects there are"))
        .arg(flag(EXPLAIN).help("Shows how the objects are found: by which index, and how many are looked at"))
}

fn number(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("NUMBER").value_parser(value_parser!(u64))
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let store = directory::open_to_read(required::<PathBuf>(matches, DIR))?;
    let objects = directory::objects(&store, required::<String>(matches, ENTITY))?;
    let text = matches.get_one::<String>(EXPRESSION).map_or("true", String::as_str);
    let mut query = objects.query_text(text).map_err(|error| at_place(text, error))?.with_links();
    if let Some(order) = matches.get_one::<String>(ORDER) {
        let sorts = parse_sort(order).map_err(|error| Mistake(format!("the order `{order}`: {error}")))?;
        for sort in sorts {
            let descending = sort.descending || matches.get_flag(DESC);
            query = query.sorted(Sort { descending, ..sort })?;
        }
    }
    if let Some(&limit) = matches.get_one::<u64>(LIMIT) {
        query = query.limit(limit);
    }
    if let Some(&offset) = matches.get_one::<u64>(OFFSET) {
        query = query.offset(offset);
    }
    if matches.get_flag(COUNT) {
        return crate::print(&format!("{}\n", query.count()?));
    }
    if matches.get_flag(EXPLAIN) {
        return crate::print(&format!("{}\n", query.explain()?));
    }
    let format = format::chosen(matches).unwrap_or(Format::Table);
    let output = BufWriter::new(io::stdout().lock());
    let writer = RowWriter::new(output, format, objects.entity(), "");
    let written = writer.and_then(|writer| match write_all(&query, writer, |_| {}) {
        Ok((_, mut output)) => output.flush().map(Ok),
        Err(Failure::Write(error)) => Err(error),
        Err(Failure::Read(error)) => Ok(Err(error)),
    });
    match written {
        Ok(read) => read?,
        Err(error) => crate::forgive_closed_pipe(error)?,
    }
    Ok(Exit::Success)
}

/// Why not all results were written.
pub(crate) enum Failure {
    /// The database.
    Read(StoreError),
    /// The destination.
    Write(io::Error),
}

/// Writes all results, and tells from time to time how many there were so far.
pub(crate) fn write_all<W: Write>(
    query: &ObjectQuery<'_>,
    mut writer: RowWriter<W>,
    progress: impl Fn(u64),
) -> Result<(u64, W), Failure> {
    let mut failed = None;
    let mut rows = 0_u64;
    let read = query.for_each(|object| {
        rows += 1;
        if rows.is_multiple_of(PROGRESS_ROWS) {
            progress(rows);
        }
        writer.push(&object).map_err(|error| {
            let told = StoreError::application("the destination does not take more");
            failed = Some(error);
            told
        })
    });
    match (failed, read) {
        (Some(error), _) => Err(Failure::Write(error)),
        (None, Err(error)) => Err(Failure::Read(error)),
        (None, Ok(())) => writer.finish().map_err(Failure::Write),
    }
}

/// Shows the place in the condition that an error is about.
pub(crate) fn at_place(text: &str, error: StoreError) -> anyhow::Error {
    let message = error.to_string();
    match error {
        StoreError::ConditionText(_) | StoreError::Condition(_) => {
            Mistake(format!("the condition `{text}`: {message}")).into()
        }
        other => other.into(),
    }
}
