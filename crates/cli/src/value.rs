//! What options take: kinds of values, how they are read from text and from JSON, and how people are told what was wrong.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::secret::{SECRET_BYTES_MAX, Secret};

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A path of a file or directory.
    Path {
        /// What help texts call it.
        value_name: &'static str,
    },
    /// `ws://`, an IP address and a port.
    Address,
    /// True or false.
    Switch,
    /// A whole number within bounds, both included.
    Count {
        /// The lowest.
        min: u64,
        /// The highest.
        max: u64,
    },
    /// A number of bytes within bounds, both included.
    Size {
        /// The lowest.
        min: u64,
        /// The highest.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that is never shown.
    Secret,
}

/// A value that was read and is within its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Of [`Kind::Path`].
    Path(PathBuf),
    /// Of [`Kind::Address`].
    Address(SocketAddr),
    /// Of [`Kind::Switch`].
    Switch(bool),
    /// Of [`Kind::Count`] and [`Kind::Size`].
    Number(u64),
    /// Of [`Kind::Choice`].
    Choice(&'static str),
    /// Of [`Kind::Secret`].
    Secret(Secret),
}

/// What somebody wrote for an option, before it is known to fit.
#[derive(Clone, PartialEq)]
pub(crate) enum Found {
    /// From the command line or the environment.
    Os(OsString),
    /// A JSON string, or a default.
    Text(String),
    /// A JSON number without sign and fraction.
    Whole(u64),
    /// Any other JSON number.
    OtherNumber(f64),
    /// A JSON boolean.
    Bool(bool),
    /// JSON's null.
    Null,
    /// A JSON array.
    List,
    /// A JSON object.
    Object,
}

/// Why what was found does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// What was found, as a noun; never the content of a secret.
    pub(crate) found: String,
    /// What would fit.
    pub(crate) expected: String,
}

/// The most characters of a foreign text that a message shows.
const SHOWN_CHARS_MAX: usize = 60;

impl Kind {
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] says what was found and what would fit.
    pub(crate) fn read(&self, found: Found) -> Result<Value, Mismatch> {
        // Paths need not be Unicode, everything else must be.
        let found = match (self, found) {
            (Kind::Path { .. }, Found::Os(text)) if !text.is_empty() => return Ok(Value::Path(text.into())),
            (_, Found::Os(text)) => match text.into_string() {
                Ok(text) => Found::Text(text),
                Err(text) => return Err(self.mismatch(&Found::Os(text), "")),
            },
            (_, found) => found,
        };
        let value = match (self, &found) {
            (Kind::Path { .. }, Found::Text(text)) if !text.is_empty() && !text.contains('\0') => {
                Some(Value::Path(text.into()))
            }
            (Kind::Address, Found::Text(text)) if text.starts_with("wss://") => {
                return Err(self.mismatch(&found, "; for TLS put a proxy in front of the server"));
            }
            (Kind::Address, Found::Text(text)) => read_address(text).map(Value::Address),
            (Kind::Switch, Found::Bool(on)) => Some(Value::Switch(*on)),
            (Kind::Switch, Found::Text(text)) => text.parse().ok().map(Value::Switch),
            (Kind::Count { min, max }, Found::Whole(number)) => within(*number, *min, *max),
            (Kind::Count { min, max }, Found::Text(text)) => {
                read_digits(text).and_then(|number| within(number, *min, *max))
            }
            (Kind::Size { min, max }, Found::Whole(number)) => within(*number, *min, *max),
            (Kind::Size { min, max }, Found::Text(text)) => {
                read_size(text).and_then(|number| within(number, *min, *max))
            }
            (Kind::Choice(words), Found::Text(text)) => {
                words.iter().find(|&word| word == text).map(|&word| Value::Choice(word))
            }
            (Kind::Secret, Found::Text(text)) => Secret::new(text.as_bytes().to_vec()).map(Value::Secret),
            _ => None,
        };
        value.ok_or_else(|| self.mismatch(&found, ""))
    }

    /// What would fit, as it follows "expected".
    pub(crate) fn expected(&self) -> String {
        match self {
            Kind::Path { .. } => "a path".to_owned(),
            Kind::Address => {
                "ws:// with an IP address or localhost, and a port, like ws://127.0.0.1:9999".to_owned()
            }
            Kind::Switch => "true or false".to_owned(),
            Kind::Count { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Size { min, max } => format!(
                "a size from {} to {}, as a number of bytes or a text like \"32 MiB\"",
                Size(*min),
                Size(*max)
            ),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Secret => format!("a text of 1 to {SECRET_BYTES_MAX} bytes that is not blank"),
        }
    }

    /// What help texts show in place of a value.
    pub(crate) fn value_name(&self) -> &'static str {
        match self {
            Kind::Path { value_name } => value_name,
            Kind::Address => "URL",
            Kind::Switch => "BOOL",
            Kind::Count { .. } => "NUMBER",
            Kind::Size { .. } => "SIZE",
            Kind::Choice(_) => "WORD",
            Kind::Secret => "TEXT",
        }
    }

    fn mismatch(&self, found: &Found, hint: &str) -> Mismatch {
        // The content of a secret stays out of messages even if it is unfit to be one.
        let found = match (self, found) {
            (Kind::Secret, Found::Text(text)) if text.trim().is_empty() => "blank".to_owned(),
            (Kind::Secret, Found::Text(text)) => format!("a text of {} bytes", text.len()),
            (Kind::Secret, Found::Whole(_) | Found::OtherNumber(_)) => "a number".to_owned(),
            (Kind::Secret, Found::Bool(_)) => "true or false".to_owned(),
            (_, found) => found.to_string(),
        };
        Mismatch { found, expected: format!("{}{hint}", self.expected()) }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Os(text) if text.is_empty() => f.write_str("empty"),
            Found::Os(_) => f.write_str("a text that is not Unicode"),
            Found::Text(text) if text.is_empty() => f.write_str("empty"),
            Found::Text(text) => f.write_str(&shown(text)),
            Found::Whole(number) => write!(f, "{number}"),
            Found::OtherNumber(number) => write!(f, "{number}"),
            Found::Bool(on) => write!(f, "{on}"),
            Found::Null => f.write_str("null"),
            Found::List => f.write_str("a list"),
            Found::Object => f.write_str("an object"),
        }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may be a secret, and nothing here knows whether it is.
        f.write_str("Found(..)")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Path(path) => write!(f, "{}", shown_path(path)),
            Value::Address(address) => write!(f, "ws://{address}"),
            Value::Switch(on) => write!(f, "{on}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Choice(word) => f.write_str(word),
            Value::Secret(_) => f.write_str("(given, not shown)"),
        }
    }
}

/// A number of bytes in the largest unit that holds it without a fraction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) u64);

/// The units of sizes, the largest first.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes)) {
            Some((unit, bytes)) => write!(f, "{} {unit}", self.0 / bytes),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// A foreign text as messages may show it: quoted, without control characters, and not too long.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{:?}...", &text[..at]),
        None => format!("{text:?}"),
    }
}

/// A path as messages may show it: as it is, unless it holds what a terminal would act on.
pub(crate) fn shown_path(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    if text.chars().any(char::is_control) { format!("{path:?}") } else { text }
}

fn within(number: u64, min: u64, max: u64) -> Option<Value> {
    (min..=max).contains(&number).then_some(Value::Number(number))
}

fn read_address(text: &str) -> Option<SocketAddr> {
    let rest = text.strip_prefix("ws://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // Names other than this one are left to the operator: what a name resolves to may change from start to start.
    match rest.strip_prefix("localhost:") {
        Some(port) => {
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), read_digits(port)?.try_into().ok()?))
        }
        None => rest.parse().ok(),
    }
}

/// Digits and nothing else: Rust's own parser takes a plus sign as well.
fn read_digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn read_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number = read_digits(number)?;
    match unit.strip_prefix(' ').unwrap_or(unit) {
        "" if unit.is_empty() => Some(number),
        unit => {
            let (_, bytes) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
            number.checked_mul(*bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Kind = Kind::Size { min: 1024, max: 1 << 30 };
    const COUNT: Kind = Kind::Count { min: 1, max: 10 };
    const PATH: Kind = Kind::Path { value_name: "FILE" };

    fn text(kind: Kind, text: &str) -> Option<String> {
        let by_text = kind.read(Found::Text(text.to_owned())).ok();
        assert_eq!(kind.read(Found::Os(text.into())).ok(), by_text, "{text:?}");
        by_text.map(|value| value.to_string())
    }

    #[test]
    fn texts_are_read() {
        for (kind, given, expected) in [
            (PATH, "a b", "a b"),
            (Kind::Address, "ws://0.0.0.0:9999", "ws://0.0.0.0:9999"),
            (Kind::Address, "ws://localhost:0/", "ws://127.0.0.1:0"),
            (Kind::Address, "ws://[::1]:80", "ws://[::1]:80"),
            (Kind::Switch, "true", "true"),
            (Kind::Switch, "false", "false"),
            (COUNT, "010", "10"),
            (SIZE, "1024", "1024"),
            (SIZE, "1 KiB", "1024"),
            (SIZE, "3mib", "3145728"),
            (SIZE, "1GiB", "1073741824"),
            (Kind::Choice(&["a", "b"]), "b", "b"),
            (Kind::Secret, "x", "(given, not shown)"),
        ] {
            assert_eq!(text(kind, given).as_deref(), Some(expected), "{given:?}");
        }
    }

    #[test]
    fn texts_that_do_not_fit_are_refused() {
        for (kind, given) in [
            (PATH, ""),
            (Kind::Address, ""),
            (Kind::Address, "0.0.0.0:9999"),
            (Kind::Address, "ws://0.0.0.0"),
            (Kind::Address, "ws://example:9999"),
            (Kind::Address, "ws://127.0.0.1:65536"),
            (Kind::Address, "ws://localhost:+1"),
            (Kind::Address, "ws://localhost:"),
            (Kind::Address, "ws://127.0.0.1:1/path"),
            (Kind::Address, "http://127.0.0.1:1"),
            (Kind::Switch, "yes"),
            (Kind::Switch, "TRUE"),
            (COUNT, "0"),
            (COUNT, "11"),
            (COUNT, "-1"),
            (COUNT, "+1"),
            (COUNT, "1.0"),
            (COUNT, ""),
            (COUNT, "99999999999999999999999999"),
            (SIZE, "1023"),
            (SIZE, "1025 MiB"),
            (SIZE, "32 MB"),
            (SIZE, "32  MiB"),
            (SIZE, "2048 "),
            (SIZE, "MiB"),
            (SIZE, "18446744073709551615 GiB"),
            (Kind::Choice(&["a", "b"]), "A"),
            (Kind::Secret, ""),
            (Kind::Secret, " \t"),
        ] {
            assert_eq!(text(kind, given), None, "{given:?}");
        }
        assert_eq!(PATH.read(Found::Text("a\0b".to_owned())).ok(), None);
    }

    #[cfg(unix)]
    #[test]
    fn only_paths_may_be_other_than_unicode() {
        use std::os::unix::ffi::OsStringExt;
        let strange = OsString::from_vec(vec![b'a', 0xFF]);
        assert_eq!(PATH.read(Found::Os(strange.clone())), Ok(Value::Path(strange.clone().into())));
        let mismatch = COUNT.read(Found::Os(strange)).unwrap_err();
        assert_eq!(mismatch.found, "a text that is not Unicode");
    }

    #[test]
    fn foreign_texts_are_shown_short_and_harmless() {
        assert_eq!(shown("a\u{1b}[31m\n"), r#""a\u{1b}[31m\n""#);
        let long = shown(&"ä".repeat(1_000_000));
        assert_eq!(long, format!("\"{}\"...", "ä".repeat(SHOWN_CHARS_MAX)));
        assert_eq!(shown_path("a\u{1b}b".as_ref()), r#""a\u{1b}b""#);
    }

    #[test]
    fn sizes_are_shown_in_their_unit() {
        for (bytes, expected) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1025, "1025 bytes"), (1 << 30, "1 GiB")]
        {
            assert_eq!(Size(bytes).to_string(), expected);
        }
    }

    #[test]
    fn what_does_not_fit_as_a_secret_is_not_shown_either() {
        for found in [
            Found::Text("hunter2".repeat(1000)),
            Found::Whole(46_001),
            Found::OtherNumber(-46_001.5),
            Found::Bool(true),
        ] {
            let debugged = format!("{found:?}");
            let mismatch = format!("{:?}", Kind::Secret.read(found).unwrap_err());
            for text in [debugged, mismatch] {
                assert!(!text.contains("hunter2") && !text.contains("46001"), "{text}");
            }
        }
    }
}
