//! The command line: built from the options that are declared, with help that is worth reading.

use std::ffi::{OsStr, OsString};

use clap::builder::{OsStringValueParser, PossibleValue, TypedValueParser};
use clap::{Arg, ArgAction, Command, ValueHint};

use crate::options::{OptionSpec, SERVE};
use crate::value::Kind;
use crate::{commands, demo, exit};

/// Name of the subcommand that serves.
pub(crate) const SERVE_COMMAND: &str = "serve";

/// Name of the subcommand that shows sync at work.
pub(crate) const DEMO_COMMAND: &str = "demo";

/// Flag of [`SERVE_COMMAND`]: print the schema of the configuration file and end.
pub(crate) const PRINT_CONFIG_SCHEMA: &str = "print-config-schema";

/// Flag of [`SERVE_COMMAND`]: check the configuration, print it and end.
pub(crate) const CHECK_CONFIG: &str = "check-config";

/// The whole command line.
pub(crate) fn command() -> Command {
    Command::new("reconvene")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Offline-first objects that sync: the server, a demo, and tools for databases")
        .long_about(
            "Applications keep their objects in a local store and work offline; whenever they can, they sync them through a \
             Reconvene server. This program is that server, and holds the tools for looking into databases and caring for them.",
        )
        .after_help("\"reconvene COMMAND --help\" tells everything about a command.")
        .after_long_help(exit::HELP)
        .disable_help_subcommand(true)
        .subcommand(serve())
        .subcommand(demo::command())
        .subcommands(commands::all())
}

fn serve() -> Command {
    Command::new(SERVE_COMMAND)
        .about("Runs a sync server until it is told to end")
        .long_about(
            "Runs a sync server until it is told to end.\n\n\
             A first server, for this machine only:\n\n  \
             reconvene serve --model model.json --unsecured-no-authentication\n\n\
             One that devices on the network reach and that knows them by a secret:\n\n  \
             reconvene serve --model model.json --bind ws://0.0.0.0:9999 --shared-secret-file secret.txt\n\n\
             The server says \"ready\" with its address in the log. SIGTERM or SIGINT (Ctrl+C) end it in good order: it \
             accepts no more devices, finishes what they have sent, tells them that it goes away, and ends. A second \
             signal ends it at once; what it has acknowledged is safe even then.",
        )
        .after_long_help(format!(
            "Every option can also stand in the configuration file and in the environment. The command line goes before \
             the environment, the environment before the file. An empty variable counts as not set.\n\n{}",
            exit::HELP
        ))
        .args(SERVE.iter().filter_map(|option| argument(option)))
        .arg(
            flag(CHECK_CONFIG)
                .help("Checks the configuration, prints every option and where it comes from, and ends")
                .long_help(
                    "Checks the configuration, prints every option and where it comes from, and ends. Secrets are not \
                     shown. Nothing is opened but the files that the configuration names.",
                ),
        )
        .arg(flag(PRINT_CONFIG_SCHEMA).help("Prints the JSON schema of the configuration file and ends"))
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

/// The argument of an option. Values are taken as they are: what reads the file and the environment reads them as well, so
/// that all are judged alike.
pub(crate) fn argument(option: &'static OptionSpec) -> Option<Arg> {
    let default = match option.kind {
        Kind::Switch => String::new(),
        _ => option.default.map(|default| format!(" [default: {default}]")).unwrap_or_default(),
    };
    let words = match option.kind {
        Kind::Choice(words) => words,
        _ => &[],
    };
    let one_of = match words {
        [] => String::new(),
        words => format!(" [one of: {}]", words.join(", ")),
    };
    let key = option.key.map(|key| format!("; in the file: {key}")).unwrap_or_default();
    let argument = Arg::new(option.environment)
        .long(option.long?)
        .value_name(option.kind.value_name())
        .value_parser(AsItIs(words))
        .hide_possible_values(true)
        .action(ArgAction::Set)
        .help(format!("{}{one_of}{default}", option.help))
        .long_help(format!(
            "{}.{one_of}{default}\n{}\nIn the environment: {}{key}",
            option.help, option.long_help, option.environment
        ));
    Some(match option.kind {
        // The value may be left out, and `=false` takes back what the file says.
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        // A value may begin with a dash, so that it is judged as a value and named in the message.
        Kind::Count { .. } | Kind::Size { .. } => argument.allow_hyphen_values(true),
        Kind::Path { .. } => argument.value_hint(ValueHint::AnyPath),
        _ => argument,
    })
}

/// Takes every value, and names the proper ones to shells that complete them.
#[derive(Clone, Copy)]
struct AsItIs(&'static [&'static str]);

impl TypedValueParser for AsItIs {
    type Value = OsString;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<OsString, clap::Error> {
        OsStringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        (!self.0.is_empty()).then(|| Box::new(self.0.iter().map(PossibleValue::new)) as Box<_>)
    }
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::*;

    fn options_of(command: &Command, all: &mut Vec<(String, String)>) {
        let longs = command.get_arguments().filter_map(Arg::get_long);
        all.extend(longs.map(|long| (command.get_name().to_owned(), long.to_owned())));
        command.get_subcommands().for_each(|command| options_of(command, all));
    }

    #[test]
    fn completions_know_every_option_and_word_of_every_command() {
        let mut all = Vec::new();
        options_of(&command(), &mut all);
        assert!(all.len() > 40, "{all:?}");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "reconvene", &mut script);
            let script = String::from_utf8(script).unwrap();
            for (of, long) in &all {
                let spelt = match shell {
                    Shell::Fish => format!(" -l {long} "),
                    _ => format!("--{long}"),
                };
                assert!(script.contains(&spelt), "{shell}: {of} {long}");
            }
            for word in ["json", "trace", "ndjson"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_option_but_secrets_is_an_argument() {
        let serve = serve();
        let longs: Vec<_> = serve.get_arguments().filter_map(Arg::get_long).collect();
        let declared = SERVE.iter().filter_map(|option| option.long);
        assert_eq!(longs, declared.chain([CHECK_CONFIG, PRINT_CONFIG_SCHEMA]).collect::<Vec<_>>());
        assert!(!longs.contains(&"shared-secret"));
    }

    #[test]
    fn switches_take_a_value_only_after_an_equals_sign() {
        for (arguments, expected) in [
            (&["--unsecured-no-authentication"][..], Some("true")),
            (&["--unsecured-no-authentication=false"], Some("false")),
            (&[], None),
        ] {
            let line = ["serve"].iter().chain(arguments);
            let matches = serve().try_get_matches_from(line).unwrap();
            let value = matches.get_one::<OsString>("RECONVENE_UNSECURED_NO_AUTHENTICATION");
            assert_eq!(value.map(|value| value.to_str().unwrap()), expected, "{arguments:?}");
        }
        assert!(serve().try_get_matches_from(["serve", "--unsecured-no-authentication", "false"]).is_err());
    }
}
