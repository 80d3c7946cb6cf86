//! The one binary of Reconvene: the sync server, the demo, and tools for databases.
//!
//! `options` declares every option once. `command` makes the command line of them, `file` reads the configuration file,
//! `config` brings all sources together and checks the result, `schema` describes the file to editors. `value` and
//! `secret` say what options take, `error` and `exit` how mistakes are told and what scripts see of them, `logging`
//! where events go, `messages` how all else is told. `serve` runs the server, `demo` is all of the demo, and `commands` has the tools, one module each.

mod command;
mod commands;
mod config;
mod demo;
mod error;
mod exit;
mod file;
mod logging;
mod messages;
mod options;
mod schema;
mod secret;
mod serve;
mod suggest;
mod value;

#[cfg(test)]
mod guide_tests;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::ArgMatches;

use exit::Exit;

fn main() -> ExitCode {
    run(std::env::args_os()).unwrap_or_else(|error| exit::report(&error)).into()
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Exit> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    messages::set_format(messages::format_asked(&arguments, &config::environment()));
    let matches = match command::command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() && messages::is_json() => {
            let text = error.render().to_string();
            messages::error(text.trim().trim_start_matches("error: "));
            return Ok(Exit::Usage);
        }
        // Help and version come this way as well, and go to standard output.
        Err(error) => {
            error.print().or_else(forgive_closed_pipe)?;
            return Ok(if error.use_stderr() { Exit::Usage } else { Exit::Success });
        }
    };
    match matches.subcommand() {
        Some((command::SERVE_COMMAND, matches)) => serve(matches),
        Some((command::DEMO_COMMAND, matches)) => demo::run(matches),
        Some((name, matches)) => commands::run(name, matches),
        None => print(&command::command().render_help().to_string()),
    }
}

fn serve(matches: &ArgMatches) -> anyhow::Result<Exit> {
    if matches.get_flag(command::PRINT_CONFIG_SCHEMA) {
        return print(&format!("{:#}\n", schema::config_schema()));
    }
    let settings = config::load(matches, &config::environment(), Path::new(""))?;
    if matches.get_flag(command::CHECK_CONFIG) {
        for warning in &settings.warnings {
            messages::warning(warning);
        }
        return print(&settings.overview);
    }
    messages::set_format(settings.log.format);
    logging::start(settings.log).context("the log could not be started")?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    serve::run(&settings)
}

/// Writes to standard output, where people and scripts expect what they asked for.
fn print(text: &str) -> anyhow::Result<Exit> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.or_else(forgive_closed_pipe).context("cannot write to standard output")?;
    Ok(Exit::Success)
}

/// Whoever stops reading has seen enough, which is no failure.
fn forgive_closed_pipe(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}
