//! `reconvene completions`: scripts that let a shell complete commands and options.

use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;

use super::required;
use crate::exit::Exit;

pub(crate) const NAME: &str = "completions";

const SHELL: &str = "shell";

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Writes a script that lets a shell complete commands and options")
        .long_about(
            "Writes a script that lets a shell complete commands and options.\n\n\
             bash:  reconvene completions bash > ~/.local/share/bash-completion/completions/reconvene\n\
             zsh:   reconvene completions zsh > DIRECTORY/_reconvene, with a DIRECTORY that $fpath names\n\
             fish:  reconvene completions fish > ~/.config/fish/completions/reconvene.fish",
        )
        .arg(
            Arg::new(SHELL)
                .value_name("SHELL")
                .required(true)
                .value_parser(clap::builder::PossibleValuesParser::new(["bash", "zsh", "fish"]))
                .help("The shell"),
        )
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let shell = match required::<String>(matches, SHELL).as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        _ => Shell::Fish,
    };
    let mut script = Vec::new();
    let mut command = crate::command::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    crate::print(&String::from_utf8(script)?)
}
