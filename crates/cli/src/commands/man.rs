//! `reconvene man`: the manual page, from the same declarations as the help texts.

use clap::{Arg, Command};

use crate::exit::{self, Exit};
use crate::options::{CONFIG_FILE, OptionSpec, SERVE};

pub(crate) const NAME: &str = "man";

/// How far preformatted lines stand in.
const INDENT: &str = ".RS 4\n.nf\n";

pub(crate) fn command() -> Command {
    Command::new(NAME).about("Writes the manual page of this program").long_about(
        "Writes the manual page of this program. It says what \"--help\" says of every command.\n\n\
         To read it:     reconvene man | man -l -\n\
         To install it:  reconvene man > ~/.local/share/man/man1/reconvene.1",
    )
}

pub(crate) fn run() -> anyhow::Result<Exit> {
    crate::print(&page())
}

/// The page in the language of roff.
pub(crate) fn page() -> String {
    let mut program = crate::command::command();
    program.build();
    let mut page =
        format!(".TH RECONVENE 1 \"\" \"reconvene {}\" \"Reconvene\"\n", env!("CARGO_PKG_VERSION"));
    page += ".SH NAME\n";
    page += &format!("reconvene \\- {}\n", escaped(&text(program.get_about())));
    page += ".SH SYNOPSIS\n.B reconvene\n.I COMMAND\n[\\fIOPTION\\fR ...]\n";
    page += ".SH DESCRIPTION\n";
    page += &paragraphs(&text(program.get_long_about()));
    page += ".SH COMMANDS\n";
    for command in program.get_subcommands() {
        page += &format!(".TP\n.B {}\n{}\n", escaped(command.get_name()), line(&text(command.get_about())));
    }
    for command in program.get_subcommands() {
        describe(command, "SH", &mut page);
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            describe(command, "SS", &mut page);
        }
    }
    page += ".SH COMMON OPTIONS\n";
    page += &paragraphs("Every command but serve and demo takes:");
    for argument in
        program.get_subcommands().flat_map(Command::get_arguments).filter(|of| is_common(of)).take(1)
    {
        explain(argument, &mut page);
    }
    page += ".SH EXIT STATUS\n";
    page += &exit_codes(exit::COMMAND_HELP);
    page += ".PP\nOf serve:\n";
    page += &exit_codes(exit::HELP);
    page += ".SH ENVIRONMENT\n";
    page += &paragraphs(
        "A variable that is empty counts as not set. The command line goes before the environment.",
    );
    for option in SERVE {
        page += &format!(".TP\n.B {}\n{}\n", escaped(option.environment), line(&in_environment(option)));
    }
    page += &format!(".TP\n.B NO_COLOR\n{}\n", line("If it is not empty, the log has no colours"));
    page += ".SH FILES\n";
    page += &format!(
        ".TP\n.B {}\n{}\n",
        escaped(CONFIG_FILE),
        line(
            "The configuration file of the server, if the working directory has one and --config names no other"
        )
    );
    page
}

fn exit_codes(help: &str) -> String {
    let codes = help.lines().skip(1).filter_map(|line| line.trim().split_once("  "));
    codes.map(|(code, meaning)| format!(".TP\n.B {code}\n{}\n", line(meaning))).collect()
}

fn in_environment(option: &OptionSpec) -> String {
    match option.long {
        Some(long) => format!("As --{long}"),
        None => option.help.to_owned(),
    }
}

fn describe(command: &Command, heading: &str, page: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let shown = if heading == "SH" { name.to_uppercase() } else { name.to_owned() };
    page.push_str(&format!(".{heading} {}\n", escaped(&shown)));
    let usage = command.clone().render_usage().to_string();
    page.push_str(&format!("{INDENT}{}\n.fi\n.RE\n", escaped(usage.trim_start_matches("Usage: "))));
    let about = command.get_long_about().or(command.get_about());
    page.push_str(".PP\n");
    page.push_str(&paragraphs(&text(about)));
    let (places, options): (Vec<_>, Vec<_>) = command
        .get_arguments()
        .filter(|argument| argument.get_id() != "help" && !is_common(argument))
        .partition(|argument| argument.is_positional());
    for argument in places.into_iter().chain(options) {
        explain(argument, page);
    }
}

/// Whether it is an option of all commands, which is told once.
fn is_common(argument: &Arg) -> bool {
    argument.is_global_set()
}

fn explain(argument: &Arg, page: &mut String) {
    page.push_str(".TP\n");
    page.push_str(&names(argument));
    let help = argument.get_long_help().or(argument.get_help());
    let mut help = text(help);
    let words: Vec<_> =
        argument.get_possible_values().iter().map(|word| word.get_name().to_owned()).collect();
    if !words.is_empty() && !argument.is_hide_possible_values_set() {
        help += &format!(" [one of: {}]", words.join(", "));
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && !argument.is_hide_default_value_set() && takes_value(argument) {
        help += &format!(" [default: {}]", defaults.join(", "));
    }
    page.push_str(&paragraphs(&help).replace(".PP\n", ".IP\n"));
}

/// How an argument is written.
fn names(argument: &Arg) -> String {
    let value = argument.get_value_names().unwrap_or_default().join(" ");
    let value = format!("\\fI{}\\fR", escaped(&value));
    if argument.is_positional() {
        return format!("{value}\n");
    }
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let names: Vec<_> =
        short.into_iter().chain(long).map(|name| format!("\\fB{}\\fR", escaped(&name))).collect();
    let value = match argument.get_num_args() {
        _ if !takes_value(argument) => String::new(),
        Some(number) if number.min_values() == 0 => format!("[={value}]"),
        _ => format!(" {value}"),
    };
    format!("{}{value}\n", names.join(", "))
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

fn text(styled: Option<&clap::builder::StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

/// Text of paragraphs with empty lines between them; lines that stand in stay as they are.
fn paragraphs(text: &str) -> String {
    let mut page = String::new();
    for (at, paragraph) in text.split("\n\n").enumerate() {
        if at > 0 {
            page += ".PP\n";
        }
        let mut within = false;
        let mut lines = paragraph.lines().peekable();
        while let Some(found) = lines.next() {
            let stands_in = found.starts_with("  ");
            if stands_in != within {
                page += if stands_in { INDENT } else { ".fi\n.RE\n" };
                within = stands_in;
            }
            page += &line(found.trim_start());
            page.push('\n');
            if !stands_in && lines.peek().is_some_and(|next| !next.starts_with("  ")) {
                page += ".br\n";
            }
        }
        if within {
            page += ".fi\n.RE\n";
        }
    }
    page
}

/// A line of text that no reader takes for a request.
fn line(text: &str) -> String {
    let text = escaped(text);
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// Text whose characters stay what they are, so that examples can be copied.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = include_str!("../../../../docs/man/reconvene.1");

    #[test]
    fn the_committed_page_is_what_is_declared() {
        assert!(
            page() == COMMITTED,
            "the manual is old: run \"cargo run -p reconvene-cli -- man > docs/man/reconvene.1\""
        );
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(line("'a' -- .b\\n"), "\\(aqa\\(aq \\-\\- .b\\en");
        assert_eq!(line(".nf"), "\\&.nf");
        assert_eq!(
            paragraphs("One.\nTwo:\n  a\n  b\n\nThree."),
            format!("One.\n.br\nTwo:\n{INDENT}a\nb\n.fi\n.RE\n.PP\nThree.\n")
        );
    }
}
