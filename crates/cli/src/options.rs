//! Every option of the server, declared once: the command line, the configuration file, the environment, the schema of
//! the file and the table in the guide all follow from here.

use crate::value::Kind;

/// One option: its names, what it takes, and what people should know about it.
#[derive(Debug)]
pub(crate) struct OptionSpec {
    /// The environment variable; every option has one, so it serves as the option's identity too.
    pub(crate) environment: &'static str,
    /// The name on the command line, without dashes. Secrets have none: other users of the machine see command lines.
    pub(crate) long: Option<&'static str>,
    /// The key in the configuration file.
    pub(crate) key: Option<&'static str>,
    /// Other keys that mean the same, so that files written for ObjectBox's server can stay.
    pub(crate) key_aliases: &'static [&'static str],
    /// What it takes.
    pub(crate) kind: Kind,
    /// What holds when nobody says anything, as one would write it on the command line.
    pub(crate) default: Option<&'static str>,
    /// One line.
    pub(crate) help: &'static str,
    /// What a user should know beyond that line: unit, cost, what can go wrong.
    pub(crate) long_help: &'static str,
}

impl OptionSpec {
    /// The keys under which a configuration file may name it, the proper one first.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.key.into_iter().chain(self.key_aliases.iter().copied())
    }
}

/// The configuration file that is read when none is named, if it is there.
pub(crate) const CONFIG_FILE: &str = "reconvene.json";

/// How the names of all environment variables begin.
pub(crate) const ENVIRONMENT_PREFIX: &str = "RECONVENE_";

/// Every option of `reconvene serve`, in the order in which people read them.
pub(crate) static SERVE: [&OptionSpec; 13] = [
    &MODEL,
    &BIND,
    &DB_DIRECTORY,
    &SHARED_SECRET_FILE,
    &SHARED_SECRET,
    &UNSECURED_NO_AUTHENTICATION,
    &TAKE_OVER_DEVICES,
    &REMOVALS_KEPT_DAYS,
    &MESSAGE_BYTES_MAX,
    &SESSIONS_MAX,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &CONFIG,
];

pub(crate) static MODEL: OptionSpec = OptionSpec {
    environment: "RECONVENE_MODEL",
    long: Some("model"),
    key: Some("model"),
    key_aliases: &["modelFile"],
    kind: Kind::Path { value_name: "FILE" },
    default: None,
    help: "The model file: the entities that devices sync",
    long_help: "This is the JSON file that the application's build writes, or one that ObjectBox tools wrote. A new \
                database directory needs it; later the server reads the model from its directory, and a file that is \
                given must continue the model that is there: entities and properties keep their uids.",
};

pub(crate) static BIND: OptionSpec = OptionSpec {
    environment: "RECONVENE_BIND",
    long: Some("bind"),
    key: Some("bind"),
    key_aliases: &[],
    kind: Kind::Address,
    default: Some("ws://127.0.0.1:9999"),
    help: "Where devices connect",
    long_help: "An IP address, or localhost, and a port; IPv6 addresses stand in brackets. The default is reached from \
                this machine only: ws://0.0.0.0:9999 listens on all its IPv4 addresses, ws://[::]:9999 on all IPv6 \
                ones. Port 0 takes a free port, which the log names. Connections are not encrypted: across networks \
                that are not yours, put a proxy with TLS in front.",
};

pub(crate) static DB_DIRECTORY: OptionSpec = OptionSpec {
    environment: "RECONVENE_DB_DIRECTORY",
    long: Some("db-directory"),
    key: Some("dbDirectory"),
    key_aliases: &[],
    kind: Kind::Path { value_name: "DIRECTORY" },
    default: Some("reconvene-data"),
    help: "The directory that holds the server's database",
    long_help: "It is created when it is missing, and one server at a time may use it. It must lie on a local file system: \
                network file systems do not keep what a commit promises. Size grows with the objects, not with their \
                history.",
};

pub(crate) static SHARED_SECRET_FILE: OptionSpec = OptionSpec {
    environment: "RECONVENE_SHARED_SECRET_FILE",
    long: Some("shared-secret-file"),
    key: Some("sharedSecretFile"),
    key_aliases: &[],
    kind: Kind::Path { value_name: "FILE" },
    default: None,
    help: "A file with the secret that devices must know",
    long_help: "Devices prove that they know the secret and never send it. The file holds the secret and nothing else, at \
                most 1024 bytes; a line end after it does not count. Keep it readable by the server's user only, and take \
                at least 16 random characters: whoever records a login can try out short secrets at leisure.",
};

pub(crate) static SHARED_SECRET: OptionSpec = OptionSpec {
    environment: "RECONVENE_SHARED_SECRET",
    long: None,
    key: Some("sharedSecret"),
    key_aliases: &[],
    kind: Kind::Secret,
    default: None,
    help: "The secret itself; a file of its own is safer",
    long_help: "It is not taken from the command line, which other users of the machine can see, and it is never printed \
                or logged. Give it here or as a file, not both.",
};

pub(crate) static UNSECURED_NO_AUTHENTICATION: OptionSpec = OptionSpec {
    environment: "RECONVENE_UNSECURED_NO_AUTHENTICATION",
    long: Some("unsecured-no-authentication"),
    key: Some("unsecuredNoAuthentication"),
    key_aliases: &[],
    kind: Kind::Switch,
    default: Some("false"),
    help: "Lets every device in that reaches the server",
    long_help: "Everyone who can connect may then read, change and remove all data. This is for tests and closed networks \
                only; the log warns at every start.",
};

pub(crate) static TAKE_OVER_DEVICES: OptionSpec = OptionSpec {
    environment: "RECONVENE_TAKE_OVER_DEVICES",
    long: Some("take-over-devices"),
    key: Some("takeOverDevices"),
    key_aliases: &[],
    kind: Kind::Switch,
    default: Some("false"),
    help: "Takes devices from a history that the server knows nothing of",
    long_help: "Such a device was at another server, or this one was replaced, or restored more than once. With this option it \
                is brought to the server's state: what it had not sent is sent, and what it had otherwise is kept in its \
                rejected box. Without it such a device is not let in, and keeps everything as it is.",
};

pub(crate) static REMOVALS_KEPT_DAYS: OptionSpec = OptionSpec {
    environment: "RECONVENE_REMOVALS_KEPT_DAYS",
    long: Some("removals-kept-days"),
    key: Some("removalsKeptDays"),
    key_aliases: &[],
    kind: Kind::Count { min: 0, max: 36_500 },
    default: Some("90"),
    help: "For how many days devices are told of a removal; 0 for ever",
    long_help: "A device that was away for longer compares all it has with what the server has before it sends anything: that \
                takes longer than to catch up, and nothing is lost by it. What is kept of a removal is some dozens of bytes.",
};

pub(crate) static MESSAGE_BYTES_MAX: OptionSpec = OptionSpec {
    environment: "RECONVENE_MESSAGE_BYTES_MAX",
    long: Some("message-bytes-max"),
    key: Some("messageBytesMax"),
    key_aliases: &[],
    kind: Kind::Size { min: 17 * MIB, max: 1024 * MIB },
    default: Some("32 MiB"),
    help: "The longest message that a device may send",
    long_help: "In bytes, or with KiB, MiB or GiB. Each session may take that much memory while it sends. A transaction \
                travels in one message, and devices make transactions of up to 16 MiB: the limit cannot be lower than \
                what holds one of these.",
};

pub(crate) static SESSIONS_MAX: OptionSpec = OptionSpec {
    environment: "RECONVENE_SESSIONS_MAX",
    long: Some("sessions-max"),
    key: Some("sessionsMax"),
    key_aliases: &[],
    kind: Kind::Count { min: 1, max: 1_000_000 },
    default: Some("10000"),
    help: "The most devices that are connected at a time",
    long_help: "Connections count from their first byte, before the login. Further ones are closed at once, which the log \
                tells, and their devices try again after a pause. Each connection takes a file descriptor and some \
                kilobytes of memory: raise the descriptor limit of the process (ulimit -n) along with this number.",
};

pub(crate) static LOG_LEVEL: OptionSpec = OptionSpec {
    environment: "RECONVENE_LOG_LEVEL",
    long: Some("log-level"),
    key: Some("logLevel"),
    key_aliases: &[],
    kind: Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
    default: Some("info"),
    help: "How much the server tells",
    long_help: "\"error\" tells what needs somebody, \"warn\" what may need somebody soon, \"info\" the start, the end \
                and each device that comes or goes, \"debug\" every connection, \"trace\" everything there is. \"debug\" \
                and \"trace\" may show data of users; secrets are shown by none.",
};

pub(crate) static LOG_FORMAT: OptionSpec = OptionSpec {
    environment: "RECONVENE_LOG_FORMAT",
    long: Some("log-format"),
    key: Some("logFormat"),
    key_aliases: &[],
    kind: Kind::Choice(&["text", "json"]),
    default: Some("text"),
    help: "How the log is written: lines for people, or JSON objects for programs",
    long_help: "The log goes to standard error, one event a line, with times in UTC. Colours are used on terminals only, and \
                not if NO_COLOR is set.",
};

/// The [`LOG_FORMAT`] of all other commands, which read no configuration file.
pub(crate) static MESSAGE_FORMAT: OptionSpec = OptionSpec {
    environment: LOG_FORMAT.environment,
    long: LOG_FORMAT.long,
    key: None,
    key_aliases: &[],
    kind: LOG_FORMAT.kind,
    default: LOG_FORMAT.default,
    help: "How messages and progress are written: lines for people, or JSON objects for programs",
    long_help: "They go to standard error; results go to standard output and stay as they are. An object has timestamp, level \
                and message; one whose message is \"progress\" has what, done and, if it is known, total besides.",
};

pub(crate) static CONFIG: OptionSpec = OptionSpec {
    environment: "RECONVENE_CONFIG",
    long: Some("config"),
    key: None,
    key_aliases: &[],
    kind: Kind::Path { value_name: "FILE" },
    default: None,
    help: "The configuration file; without it, reconvene.json of the working directory if there is one",
    long_help: "One JSON object of at most 1 MiB. Keys that begin with an underscore are comments, every other key must be \
                known. Relative paths in it count from the folder that the file lies in.",
};

const MIB: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::value::Found;

    fn camel_case(long: &str) -> String {
        let mut words = long.split('-');
        let first = words.next().unwrap().to_owned();
        words.fold(first, |key, word| key + &word[..1].to_uppercase() + &word[1..])
    }

    #[test]
    fn the_names_of_an_option_are_one_name_in_three_spellings() {
        for option in SERVE {
            if let Some(long) = option.long {
                let environment = format!("{ENVIRONMENT_PREFIX}{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(option.environment, environment);
                assert!(option.key.is_none_or(|key| key == camel_case(long)), "{long}");
            }
            assert!(option.long.is_some() || option.key.is_some(), "{}", option.environment);
        }
    }

    #[test]
    fn no_name_is_used_twice() {
        let keys: Vec<_> = SERVE.iter().flat_map(|option| option.keys()).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{keys:?}");
        let variables: BTreeSet<_> = SERVE.iter().map(|option| option.environment).collect();
        assert_eq!(variables.len(), SERVE.len());
    }

    #[test]
    fn defaults_are_valid() {
        for option in SERVE {
            if let Some(default) = option.default {
                option.kind.read(Found::Text(default.to_owned())).unwrap();
            }
        }
    }

    #[test]
    fn secrets_are_kept_off_the_command_line_and_have_no_default() {
        for option in SERVE.iter().filter(|option| option.kind == Kind::Secret) {
            assert_eq!((option.long, option.default), (None, None), "{}", option.environment);
        }
    }

    #[test]
    fn texts_are_for_people() {
        for option in SERVE.iter().copied().chain([&MESSAGE_FORMAT]) {
            assert!(option.help.len() <= 100 && !option.help.ends_with('.'), "{}", option.help);
            assert!(
                option.long_help.ends_with('.') && !option.long_help.contains("  "),
                "{}",
                option.long_help
            );
        }
    }
}
