//! The everyday commands: looking into databases, moving data, keeping it safe. One module each.
//!
//! What they share: `directory` opens databases, `guard` survives damaged ones, `format` turns values into text and back, `rows` writes objects out,
//! `table` is what people see, `file` creates files, `progress` tells how far it is.

mod backup;
mod backup_file;
mod check;
mod compact;
mod completions;
mod directory;
mod export;
mod file;
mod format;
mod guard;
mod import;
mod man;
mod model;
mod progress;
mod query;
mod restore;
mod rows;
mod stats;
mod table;

use clap::{Arg, ArgMatches, Command, value_parser};
use std::path::PathBuf;

use crate::exit::{self, Exit};
use crate::{command, config, messages, options};

/// The argument that names the database.
const DIR: &str = "dir";

/// Where an option stands that belongs to no command in particular.
const LAST: usize = 900;

/// The argument that names the entity.
const ENTITY: &str = "entity";

/// The subcommands, in the order in which help lists them.
pub(crate) fn all() -> Vec<Command> {
    let commands = [
        query::command(),
        stats::command(),
        model::command(),
        import::command(),
        export::command(),
        backup::command(),
        restore::command(),
        check::command(),
        compact::command(),
        completions::command(),
        man::command(),
    ];
    let format = command::argument(&options::MESSAGE_FORMAT).expect("it is for the command line");
    let format = format.global(true).display_order(LAST);
    let explained = |command: Command| command.after_long_help(exit::COMMAND_HELP);
    let complete = |command: Command| explained(command.arg(format.clone()).mut_subcommands(explained));
    commands.into_iter().map(complete).collect()
}

/// Runs the subcommand of this name.
///
/// # Errors
///
/// Whatever keeps it from doing what was asked.
pub(crate) fn run(name: &str, matches: &ArgMatches) -> anyhow::Result<Exit> {
    messages::set_format(config::message_format(matches, &config::environment())?);
    match name {
        query::NAME => guard::run(required::<PathBuf>(matches, DIR), || query::run(matches)),
        stats::NAME => guard::run(required::<PathBuf>(matches, DIR), || stats::run(matches)),
        model::NAME => match model::database(matches) {
            Some(directory) => guard::run(directory, || model::run(matches)),
            None => model::run(matches),
        },
        import::NAME => import::run(matches),
        export::NAME => guard::run(required::<PathBuf>(matches, DIR), || export::run(matches)),
        backup::NAME => guard::run(required::<PathBuf>(matches, DIR), || backup::run(matches)),
        restore::NAME => restore::run(matches),
        check::NAME => guard::run(required::<PathBuf>(matches, DIR), || check::run(matches)),
        compact::NAME => compact::run(matches),
        completions::NAME => completions::run(matches),
        man::NAME => man::run(),
        _ => unreachable!("the command line knows no other subcommand"),
    }
}

fn path(id: &'static str, value_name: &'static str) -> Arg {
    Arg::new(id).value_name(value_name).value_parser(value_parser!(PathBuf)).required(true)
}

fn dir() -> Arg {
    path(DIR, "DIR").help("The directory of the database")
}

fn entity() -> Arg {
    Arg::new(ENTITY).value_name("ENTITY").required(true).help("The entity, by its name in the model")
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(clap::ArgAction::SetTrue)
}

/// The value of a required argument.
fn required<'m, T: Clone + Send + Sync + 'static>(matches: &'m ArgMatches, id: &str) -> &'m T {
    matches.get_one(id).expect("the command line makes sure of required arguments")
}
