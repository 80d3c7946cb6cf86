//! What can be wrong with a configuration, in words that say what to change.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::file::CONFIG_FILE_BYTES_MAX;
use crate::value::{Mismatch, Size, shown_path};

/// Why nothing was begun. No message holds the content of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {}: {error}", shown_path(path))]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The configuration file is too long to be one.
    #[error(
        "the configuration file {} holds more than {}; was another file meant?",
        shown_path(path),
        Size(CONFIG_FILE_BYTES_MAX)
    )]
    FileTooLong {
        /// The file.
        path: PathBuf,
    },
    /// The configuration file is not text.
    #[error("{position}: this is not UTF-8; save the file as UTF-8 text")]
    FileNotUtf8 {
        /// Where the text ends.
        position: Position,
    },
    /// The configuration file is not one JSON object.
    #[error(
        "{position}: {reason}; the file must hold one JSON object, like {{ \"bind\": \"ws://127.0.0.1:9999\" }}"
    )]
    FileNotJson {
        /// Where it went wrong.
        position: Position,
        /// What is wrong there.
        reason: String,
    },
    /// A key that no option has.
    #[error("{position}: nothing is called {key}{suggestion}; only keys that begin with _ may be anything")]
    KeyUnknown {
        /// Where the key stands.
        position: Position,
        /// The key, fit to be shown.
        key: String,
        /// What may have been meant, or nothing.
        suggestion: String,
    },
    /// A key that was there before, or a second name of the same option.
    #[error("{position}: `{key}` says again what `{first}` has said; keep one of them")]
    KeyRepeated {
        /// Where the second one stands.
        position: Position,
        /// The second one.
        key: &'static str,
        /// The first one.
        first: &'static str,
    },
    /// A value that its option does not take.
    #[error("{place} is {}; expected {}", mismatch.found, mismatch.expected)]
    ValueUnfit {
        /// Where it was given.
        place: Place,
        /// What was found and what would fit.
        mismatch: Mismatch,
    },
    /// A file that an option names cannot be used.
    #[error("{place} names {}, which cannot be read: {error}", shown_path(path))]
    NamedFileUnreadable {
        /// Where it was named.
        place: Place,
        /// The file.
        path: PathBuf,
        /// What the operating system said, or what is wrong with the content.
        error: io::Error,
    },
    /// A new database was asked for, and nobody said what it is to hold.
    #[error(
        "{} holds no database yet, and a new one needs a model: name the model file of your application with --model FILE, \
         or another directory with --db-directory",
        shown_path(directory)
    )]
    ModelMissing {
        /// The directory, which is missing or empty.
        directory: PathBuf,
    },
    /// Nobody said who may log in.
    #[error(
        "who may log in? Give a shared secret, with --shared-secret-file FILE or with RECONVENE_SHARED_SECRET in the \
         environment; or let every device in that reaches the server, with --unsecured-no-authentication, for tests and \
         closed networks only"
    )]
    AuthenticationMissing,
    /// Two answers to the question who may log in.
    #[error("{first} and {second} contradict each other: each says who may log in; keep one of them")]
    AuthenticationAmbiguous {
        /// One answer.
        first: Place,
        /// Another one.
        second: Place,
    },
}

/// A place in the configuration file, both numbers counted from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    path: PathBuf,
    line: usize,
    column: usize,
}

impl Position {
    /// The place of the byte at `offset`.
    pub(crate) fn new(path: PathBuf, text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        Position { path, line, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}, column {}", shown_path(&self.path), self.line, self.column)
    }
}

/// Where a value comes from, by the name that it was given there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nobody gave it; it is the default.
    Default,
    /// The configuration file.
    File {
        /// Where in the file.
        position: Position,
        /// The key.
        key: &'static str,
    },
    /// An environment variable.
    Environment(&'static str),
    /// The command line, by the name of the option.
    CommandLine(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Default => f.write_str("the default"),
            Place::File { position, key } => write!(f, "{position}: `{key}`"),
            Place::Environment(variable) => write!(f, "{variable} in the environment"),
            Place::CommandLine(long) => write!(f, "--{long}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_counted_as_editors_count() {
        let text = "{\n  \"ä\": \"ö\",\n}";
        for (offset, expected) in
            [(0, "1, column 1"), (2, "2, column 1"), (7, "2, column 5"), (99, "3, column 2")]
        {
            let position = Position::new("a.json".into(), text, offset).to_string();
            assert_eq!(position, format!("a.json, line {expected}"), "{offset}");
        }
        assert_eq!(Position::new("a".into(), text, 6).column, 4, "within the bytes of a character");
    }
}
