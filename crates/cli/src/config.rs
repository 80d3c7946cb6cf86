//! From four sources to one checked configuration: the command line goes before the environment, that before the file,
//! and that before the defaults.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

use crate::error::{ConfigError, Place};
use crate::file;
use crate::logging::{LogFormat, LogSettings};
use crate::options::{self, ENVIRONMENT_PREFIX, OptionSpec, SERVE};
use crate::secret::{SECRET_BYTES_GOOD, Secret};
use crate::suggest::nearest;
use crate::value::{Found, Value, shown};

/// Everything that `reconvene serve` needs to know, checked as far as it can be without touching the database.
#[derive(Debug)]
pub(crate) struct ServeSettings {
    /// The model file and who named it; there is one if the database directory is new.
    pub(crate) model: Option<(PathBuf, Place)>,
    /// Where to listen.
    pub(crate) bind: SocketAddr,
    /// The directory of the database.
    pub(crate) db_directory: PathBuf,
    /// Who may log in.
    pub(crate) authentication: AuthenticationChoice,
    /// Whether devices may come from a history that the server knows nothing of.
    pub(crate) takes_over: bool,
    /// For how many days devices are told of a removal; 0 for ever.
    pub(crate) removals_kept_days: usize,
    /// The longest message that a device may send, in bytes.
    pub(crate) message_bytes_max: usize,
    /// The most connections at a time.
    pub(crate) sessions_max: usize,
    /// What the log shows, and how.
    pub(crate) log: LogSettings,
    /// What is allowed and yet worth a second look, in whole sentences.
    pub(crate) warnings: Vec<String>,
    /// Every option with its value and where that comes from, for people.
    pub(crate) overview: String,
}

/// Who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthenticationChoice {
    /// Every device that reaches the server; the operator asked for it in so many words.
    Unsecured,
    /// Devices that prove to know this secret.
    SharedSecret(Secret),
}

/// The environment variables that may concern us.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// The part of this process's environment that concerns us.
pub(crate) fn environment() -> Environment {
    let prefix = ENVIRONMENT_PREFIX.as_bytes();
    std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(prefix)).collect()
}

/// Brings the sources together and checks the result.
///
/// `directory` is the working directory; it is empty for the process's own and another one in tests.
///
/// # Errors
///
/// The first thing that is wrong.
pub(crate) fn load(
    arguments: &ArgMatches,
    environment: &Environment,
    directory: &Path,
) -> Result<ServeSettings, ConfigError> {
    let mut options = Options::default();
    for option in SERVE {
        options.take_default(option);
    }
    // The file goes below the environment, but these two say which file it is.
    options.take_environment(&options::CONFIG, environment)?;
    options.take_arguments(&options::CONFIG, arguments)?;
    options.take_file(directory)?;
    for option in SERVE {
        options.take_environment(option, environment)?;
        options.take_arguments(option, arguments)?;
    }
    options.settings(directory, environment)
}

/// How a command other than `serve` writes its messages.
///
/// # Errors
///
/// If the command line or the environment says what is no format.
pub(crate) fn message_format(
    arguments: &ArgMatches,
    environment: &Environment,
) -> Result<LogFormat, ConfigError> {
    let option = &options::MESSAGE_FORMAT;
    let mut options = Options::default();
    options.take_default(option);
    options.take_environment(option, environment)?;
    options.take_arguments(option, arguments)?;
    Ok(options.log_format())
}

/// The options that have a value so far, by environment name, which every option has.
#[derive(Default)]
struct Options(BTreeMap<&'static str, (Value, Place)>);

impl Options {
    fn take_default(&mut self, option: &'static OptionSpec) {
        if let Some(default) = option.default {
            let value = option.kind.read(Found::Text(default.to_owned()));
            let value = value.expect("a test reads every default that is declared");
            self.0.insert(option.environment, (value, Place::Default));
        }
    }

    fn take_file(&mut self, directory: &Path) -> Result<(), ConfigError> {
        let named = self.path(&options::CONFIG);
        let path = directory.join(named.map_or(Path::new(options::CONFIG_FILE), |(path, _)| path));
        let Some(entries) = file::read(&path)? else {
            // A file that was named must be there; the usual one need not.
            return match named {
                Some(_) => Err(ConfigError::FileUnreadable { path, error: io::ErrorKind::NotFound.into() }),
                None => Ok(()),
            };
        };
        for entry in entries {
            self.0.insert(entry.option.environment, (entry.value, entry.place));
        }
        Ok(())
    }

    fn take_environment(
        &mut self,
        option: &'static OptionSpec,
        environment: &Environment,
    ) -> Result<(), ConfigError> {
        match environment.get(OsStr::new(option.environment)) {
            // Scripts and containers pass on what is not set as empty.
            Some(text) if !text.is_empty() => {
                self.take(option, Found::Os(text.clone()), Place::Environment(option.environment))
            }
            _ => Ok(()),
        }
    }

    fn take_arguments(
        &mut self,
        option: &'static OptionSpec,
        arguments: &ArgMatches,
    ) -> Result<(), ConfigError> {
        let Some(long) = option.long else { return Ok(()) };
        match arguments.get_one::<OsString>(option.environment) {
            Some(text) => self.take(option, Found::Os(text.clone()), Place::CommandLine(long)),
            None => Ok(()),
        }
    }

    fn take(&mut self, option: &'static OptionSpec, found: Found, place: Place) -> Result<(), ConfigError> {
        match option.kind.read(found) {
            Ok(value) => {
                self.0.insert(option.environment, (value, place));
                Ok(())
            }
            Err(mismatch) => Err(ConfigError::ValueUnfit { place, mismatch }),
        }
    }

    fn path(&self, option: &OptionSpec) -> Option<(&Path, &Place)> {
        match self.0.get(option.environment) {
            Some((Value::Path(path), place)) => Some((path, place)),
            _ => None,
        }
    }

    fn address(&self, option: &OptionSpec) -> SocketAddr {
        match self.0.get(option.environment) {
            Some((Value::Address(address), _)) => *address,
            _ => unreachable!("an address with a default is always an address"),
        }
    }

    fn number(&self, option: &OptionSpec) -> usize {
        match self.0.get(option.environment) {
            Some((Value::Number(number), _)) => {
                usize::try_from(*number).expect("no option allows more than 32 bits")
            }
            _ => unreachable!("a number with a default is always a number"),
        }
    }

    fn choice(&self, option: &OptionSpec) -> &'static str {
        match self.0.get(option.environment) {
            Some((Value::Choice(word), _)) => word,
            _ => unreachable!("a choice with a default is always a choice"),
        }
    }

    fn log_format(&self) -> LogFormat {
        match self.choice(&options::LOG_FORMAT) {
            "json" => LogFormat::Json,
            _ => LogFormat::Text,
        }
    }

    fn settings(self, directory: &Path, environment: &Environment) -> Result<ServeSettings, ConfigError> {
        let (authentication, mut warnings) = self.authentication(directory)?;
        let bind = self.address(&options::BIND);
        if authentication == AuthenticationChoice::Unsecured {
            warnings.push(unsecured_warning(bind));
        }
        warnings.extend(misspelt(environment));
        let model = self.path(&options::MODEL).map(|(path, place)| (directory.join(path), place.clone()));
        if let Some((path, place)) = &model {
            check_readable(path).map_err(|error| ConfigError::NamedFileUnreadable {
                place: place.clone(),
                path: path.clone(),
                error,
            })?;
        }
        let (db_directory, _) = self.path(&options::DB_DIRECTORY).expect("the directory has a default");
        let db_directory = directory.join(db_directory);
        if model.is_none() && is_new(&db_directory) {
            return Err(ConfigError::ModelMissing { directory: db_directory });
        }
        let level = self.choice(&options::LOG_LEVEL);
        Ok(ServeSettings {
            model,
            bind,
            db_directory,
            authentication,
            takes_over: self
                .0
                .get(options::TAKE_OVER_DEVICES.environment)
                .is_some_and(|(value, _)| *value == Value::Switch(true)),
            removals_kept_days: self.number(&options::REMOVALS_KEPT_DAYS),
            message_bytes_max: self.number(&options::MESSAGE_BYTES_MAX),
            sessions_max: self.number(&options::SESSIONS_MAX),
            log: LogSettings {
                level: level.parse().expect("every word that may be chosen is a level"),
                format: self.log_format(),
            },
            warnings,
            overview: self.overview(),
        })
    }

    /// The one answer to the question who may log in, with what is worth a warning about it.
    fn authentication(&self, directory: &Path) -> Result<(AuthenticationChoice, Vec<String>), ConfigError> {
        let questions =
            [&options::SHARED_SECRET_FILE, &options::SHARED_SECRET, &options::UNSECURED_NO_AUTHENTICATION];
        let mut answers = questions
            .iter()
            .filter_map(|option| self.0.get(option.environment))
            .filter(|(value, _)| *value != Value::Switch(false));
        let (answer, place) = answers.next().ok_or(ConfigError::AuthenticationMissing)?;
        if let Some((_, second)) = answers.next() {
            let (first, second) = (place.clone(), second.clone());
            return Err(ConfigError::AuthenticationAmbiguous { first, second });
        }
        let secret = match answer {
            Value::Secret(secret) => secret.clone(),
            Value::Path(path) => {
                let path = directory.join(path);
                Secret::read(&path).map_err(|error| ConfigError::NamedFileUnreadable {
                    place: place.clone(),
                    path,
                    error,
                })?
            }
            _ => return Ok((AuthenticationChoice::Unsecured, Vec::new())),
        };
        let mut warnings = Vec::new();
        if secret.expose().len() < SECRET_BYTES_GOOD {
            warnings.push(format!(
                "the shared secret has fewer than {SECRET_BYTES_GOOD} bytes: whoever records a login can find it by trying; \
                 take a longer, random one"
            ));
        }
        Ok((AuthenticationChoice::SharedSecret(secret), warnings))
    }

    /// A line for each option.
    fn overview(&self) -> String {
        let mut lines = String::new();
        for option in SERVE {
            let name = option.key.or(option.long).unwrap_or(option.environment);
            let (value, source) = match self.0.get(option.environment) {
                Some((value, place)) => (value.to_string(), place.to_string()),
                None => ("-".to_owned(), "not given".to_owned()),
            };
            writeln!(lines, "{name:<26} {value:<26} {source}").expect("writing to a string does not fail");
        }
        lines
    }
}

fn unsecured_warning(bind: SocketAddr) -> String {
    let who = if bind.ip().is_loopback() { "on this machine" } else { "who reaches this address" };
    format!(
        "there is no authentication: everyone {who} can read, change and remove all data; use a shared secret unless \
         this is a test or a closed network"
    )
}

/// Variables that look like ours and are not. Others with our prefix are no mistake: containers are given some for every
/// service that they may reach.
fn misspelt(environment: &Environment) -> impl Iterator<Item = String> {
    environment.keys().filter_map(|name| {
        let name = name.to_str()?;
        if SERVE.iter().any(|option| option.environment == name) {
            return None;
        }
        // The prefix that all have in common must not make unlike names seem near.
        let word = name.strip_prefix(ENVIRONMENT_PREFIX)?;
        let known = SERVE.iter().filter_map(|option| option.environment.strip_prefix(ENVIRONMENT_PREFIX));
        let near = nearest(word, known)?;
        let name = shown(name);
        Some(format!(
            "{name} in the environment is not an option and was left alone; did you mean {ENVIRONMENT_PREFIX}{near}?"
        ))
    })
}

/// Whether a server would begin a new database there. A directory that cannot be read is left to the store to complain of.
fn is_new(directory: &Path) -> bool {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn check_readable(path: &Path) -> io::Result<()> {
    if File::open(path)?.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
