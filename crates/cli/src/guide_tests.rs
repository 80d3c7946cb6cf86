//! The guides say what is declared: options in `docs/guide/server.md`, exit codes there and in `docs/guide/commands.md`.

use std::fmt::Write;

use crate::exit;
use crate::options::SERVE;

const GUIDE: &str = include_str!("../../../docs/guide/server.md");
const COMMANDS: &str = include_str!("../../../docs/guide/commands.md");

fn cell(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| format!("`{text}`"))
}

fn table() -> String {
    let mut table = "| Option | Key in the file | In the environment | Takes | Default | |\n\
                     | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for option in SERVE {
        let long = option.long.map(|long| format!("--{long}"));
        let keys: Vec<_> = option.keys().map(|key| format!("`{key}`")).collect();
        let keys = if keys.is_empty() { "-".to_owned() } else { keys.join(" or ") };
        writeln!(
            table,
            "| {} | {keys} | `{}` | {} | {} | {} |",
            cell(long.as_deref()),
            option.environment,
            option.kind.expected(),
            cell(option.default),
            option.help,
        )
        .unwrap();
    }
    table
}

fn details() -> String {
    let mut details = String::new();
    for option in SERVE {
        let name = option.long.map(|long| format!("--{long}")).or(option.key.map(str::to_owned)).unwrap();
        writeln!(details, "- `{name}`: {}", option.long_help).unwrap();
    }
    details
}

fn check(guide: &str, what: &str, expected: &str) {
    let (begin, end) = (format!("<!-- {what}: begin -->\n\n"), format!("\n<!-- {what}: end -->"));
    let (_, rest) = guide.split_once(&begin).unwrap_or_else(|| panic!("the guide has no {begin:?}"));
    let (written, _) = rest.split_once(&end).unwrap_or_else(|| panic!("the guide has no {end:?}"));
    assert!(written == expected, "the guide should say between its marks for {what}:\n\n{expected}");
}

#[test]
fn the_table_of_options_is_what_is_declared() {
    check(GUIDE, "options", &table());
}

#[test]
fn the_details_are_what_help_says() {
    check(GUIDE, "details", &details());
}

#[test]
fn the_exit_codes_are_what_help_says() {
    for (guide, codes) in [(GUIDE, exit::HELP), (COMMANDS, exit::COMMAND_HELP)] {
        check(guide, "exit codes", &format!("```text\n{codes}\n```\n"));
    }
}
