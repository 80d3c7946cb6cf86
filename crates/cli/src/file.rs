//! The configuration file: one JSON object whose keys are options or comments, read within bounds.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::error::{ConfigError, Place, Position};
use crate::options::{OptionSpec, SERVE};
use crate::suggest::{nearest, question};
use crate::value::{Found, Value, shown};

/// The longest configuration file, in bytes.
pub(crate) const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// An option as the file gives it.
#[derive(Debug)]
pub(crate) struct FileEntry {
    /// Which option.
    pub(crate) option: &'static OptionSpec,
    /// Its value; relative paths are already those of the file's folder.
    pub(crate) value: Value,
    /// Where it stands.
    pub(crate) place: Place,
}

/// Reads a configuration file. `Ok(None)` says that it is not there.
///
/// # Errors
///
/// [`ConfigError`], with line and column wherever there is one.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<FileEntry>>, ConfigError> {
    let unreadable = |error| ConfigError::FileUnreadable { path: path.to_owned(), error };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    // The file may hold a secret, so its content is wiped after it was read.
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > CONFIG_FILE_BYTES_MAX {
        return Err(ConfigError::FileTooLong { path: path.to_owned() });
    }
    parse(path, &bytes).map(Some)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<FileEntry>, ConfigError> {
    let text = match str::from_utf8(bytes) {
        // Some editors write a byte order mark, which JSON does not know.
        Ok(text) => text.strip_prefix('\u{FEFF}').unwrap_or(text),
        Err(error) => {
            let (valid, _) = bytes.split_at(error.valid_up_to());
            let text = String::from_utf8_lossy(valid);
            let position = Position::new(path.to_owned(), &text, text.len());
            return Err(ConfigError::FileNotUtf8 { position });
        }
    };
    let source = Source { path, text };
    let mut entries: Vec<FileEntry> = Vec::new();
    for (raw_key, raw_value) in source.pairs()? {
        let key: String = source.decode(raw_key)?;
        // Editors look for the schema of a file under `$schema`.
        if key.starts_with('_') || key == "$schema" {
            continue;
        }
        let Some((option, key)) = find(&key) else {
            return Err(ConfigError::KeyUnknown {
                position: source.position(raw_key),
                key: shown(&key),
                suggestion: question(nearest(&key, SERVE.iter().flat_map(|option| option.keys()))),
            });
        };
        let place = Place::File { position: source.position(raw_key), key };
        let earlier = entries.iter().find(|entry| std::ptr::eq(entry.option, option));
        if let Some(Place::File { key: first, .. }) = earlier.map(|entry| &entry.place) {
            return Err(ConfigError::KeyRepeated { position: source.position(raw_key), key, first });
        }
        let value = match option.kind.read(source.found(raw_value)?) {
            Ok(value) => value,
            Err(mismatch) => return Err(ConfigError::ValueUnfit { place, mismatch }),
        };
        let value = match (value, path.parent()) {
            (Value::Path(relative), Some(folder)) => Value::Path(folder.join(relative)),
            (value, _) => value,
        };
        entries.push(FileEntry { option, value, place });
    }
    Ok(entries)
}

/// The option that a key of the file means, and the key as it is declared.
fn find(key: &str) -> Option<(&'static OptionSpec, &'static str)> {
    SERVE.iter().find_map(|option| option.keys().find(|&known| known == key).map(|known| (*option, known)))
}

/// The text of a file, and where in it things stand.
struct Source<'t> {
    path: &'t Path,
    text: &'t str,
}

impl<'t> Source<'t> {
    /// Keys and values as they are written; what is inside values is checked for syntax and for nothing else.
    fn pairs(&self) -> Result<Vec<(&'t RawValue, &'t RawValue)>, ConfigError> {
        let blank = self.text.len() - self.text.trim_start().len();
        let reason = match self.text[blank..].chars().next() {
            Some('{') => None,
            Some(_) => Some("this does not begin with {"),
            None => Some("the file is empty"),
        };
        if let Some(reason) = reason {
            return Err(self.not_json(blank, reason.to_owned()));
        }
        let mut deserializer = serde_json::Deserializer::from_str(self.text);
        let pairs = deserializer.deserialize_map(Pairs);
        pairs.and_then(|pairs| deserializer.end().map(|()| pairs)).map_err(|error| self.syntax(0, &error))
    }

    /// Reads a JSON string.
    fn decode(&self, raw: &'t RawValue) -> Result<String, ConfigError> {
        serde_json::from_str(raw.get()).map_err(|error| self.syntax(self.offset(raw), &error))
    }

    /// What a value is, told by its first character.
    fn found(&self, raw: &'t RawValue) -> Result<Found, ConfigError> {
        Ok(match raw.get().as_bytes().first() {
            Some(b'"') => Found::Text(self.decode(raw)?),
            Some(b't') => Found::Bool(true),
            Some(b'f') => Found::Bool(false),
            Some(b'n') => Found::Null,
            Some(b'[') => Found::List,
            Some(b'{') => Found::Object,
            _ => match raw.get().parse() {
                Ok(number) => Found::Whole(number),
                Err(_) => serde_json::from_str(raw.get())
                    .map(Found::OtherNumber)
                    .map_err(|error| self.syntax(self.offset(raw), &error))?,
            },
        })
    }

    fn syntax(&self, start: usize, error: &serde_json::Error) -> ConfigError {
        // The error's own place is within the part that was read; it counts bytes from 1, and stands behind what it means.
        let part = &self.text[start..];
        let line_start = match error.line() {
            0 | 1 => 0,
            line => part.match_indices('\n').nth(line - 2).map_or(0, |(at, _)| at + 1),
        };
        let offset = start + line_start + error.column().saturating_sub(1);
        let message = error.to_string();
        let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
        self.not_json(offset, reason.to_owned())
    }

    fn not_json(&self, offset: usize, reason: String) -> ConfigError {
        ConfigError::FileNotJson { position: Position::new(self.path.to_owned(), self.text, offset), reason }
    }

    fn position(&self, raw: &'t RawValue) -> Position {
        Position::new(self.path.to_owned(), self.text, self.offset(raw))
    }

    /// Where a part of the text begins in it.
    fn offset(&self, raw: &'t RawValue) -> usize {
        raw.get().as_ptr().addr() - self.text.as_ptr().addr()
    }
}

/// Takes the pairs of an object in their order, repeated ones included.
struct Pairs;

impl<'t> Visitor<'t> for Pairs {
    type Value = Vec<(&'t RawValue, &'t RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests;
