//! Sources against each other, and the exact words about configurations that cannot be used.

use tempfile::TempDir;

use super::*;
use crate::command::{SERVE_COMMAND, command};

/// A folder with files, an environment and a command line.
struct Situation {
    folder: TempDir,
    environment: Environment,
    arguments: Vec<OsString>,
}

impl Situation {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Situation { folder, environment: Environment::new(), arguments: Vec::new() }
            .database("reconvene-data")
    }

    /// A directory that is not new, so that nobody needs to name a model.
    fn database(self, name: &str) -> Self {
        std::fs::create_dir(self.folder.path().join(name)).unwrap();
        self.file(&format!("{name}/data"), "")
    }

    /// One that starts unless a test spoils it.
    fn sound() -> Self {
        Situation::new().argument("--unsecured-no-authentication")
    }

    fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.folder.path().join(name), content).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    fn load(&self) -> Result<ServeSettings, ConfigError> {
        let line = ["reconvene", SERVE_COMMAND].map(OsString::from);
        let matches = command().get_matches_from(line.iter().chain(&self.arguments));
        let (_, matches) = matches.subcommand().unwrap();
        load(matches, &self.environment, self.folder.path())
    }

    /// What it complains about, with the folder of the test taken out.
    fn complaint(&self) -> String {
        let folder = format!("{}{}", self.folder.path().display(), std::path::MAIN_SEPARATOR);
        self.load().expect_err("it loads").to_string().replace(&folder, "")
    }
}

#[test]
fn defaults_are_safe() {
    let settings = Situation::sound().load().unwrap();
    assert_eq!(settings.bind, "127.0.0.1:9999".parse().unwrap());
    assert_eq!(settings.model, None);
    assert!(settings.db_directory.ends_with("reconvene-data"));
    assert_eq!(settings.message_bytes_max, 32 * 1024 * 1024);
    assert_eq!(settings.sessions_max, 10_000);
    let log = LogSettings { level: tracing::level_filters::LevelFilter::INFO, format: LogFormat::Text };
    assert_eq!(settings.log, log);
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let sessions = |situation: &Situation| situation.load().unwrap().sessions_max;
    let situation = Situation::sound();
    assert_eq!(sessions(&situation), 10_000);
    let situation = situation.file("reconvene.json", r#"{ "sessionsMax": 1 }"#);
    assert_eq!(sessions(&situation), 1);
    let situation = situation.variable("RECONVENE_SESSIONS_MAX", "2");
    assert_eq!(sessions(&situation), 2);
    let situation = situation.argument("--sessions-max=3");
    assert_eq!(sessions(&situation), 3);
}

#[test]
fn every_option_is_taken_from_every_source() {
    let values = [
        ("RECONVENE_BIND", "\"ws://127.0.0.1:1\"", "ws://127.0.0.2:2"),
        ("RECONVENE_DB_DIRECTORY", "\"by-file\"", "by-text"),
        ("RECONVENE_UNSECURED_NO_AUTHENTICATION", "true", "true"),
        ("RECONVENE_TAKE_OVER_DEVICES", "true", "true"),
        ("RECONVENE_REMOVALS_KEPT_DAYS", "30", "0"),
        ("RECONVENE_MESSAGE_BYTES_MAX", "17825792", "128 MiB"),
        ("RECONVENE_SESSIONS_MAX", "5", "6"),
        ("RECONVENE_LOG_LEVEL", "\"warn\"", "error"),
        ("RECONVENE_LOG_FORMAT", "\"json\"", "text"),
        ("RECONVENE_MODEL", "\"model.json\"", "model.json"),
        ("RECONVENE_SHARED_SECRET", "\"a secret of some length\"", "a secret of some length"),
        ("RECONVENE_SHARED_SECRET_FILE", "\"secret.txt\"", "secret.txt"),
    ];
    for option in SERVE.iter().filter(|option| option.environment != "RECONVENE_CONFIG") {
        let (_, json, text) = values.iter().find(|(name, ..)| *name == option.environment).unwrap();
        let situation = || {
            let authentication =
                option.environment.contains("SECRET") || option.environment.contains("AUTHENTICATION");
            let situation = if authentication { Situation::new() } else { Situation::sound() };
            let situation = situation.file("model.json", "{}").file("secret.txt", "a secret of some length");
            situation.database("by-file").database("by-text")
        };
        let line = |situation: Situation| {
            let overview = situation.load().unwrap().overview;
            let name = option.key.unwrap();
            overview.lines().find(|line| line.split(' ').next() == Some(name)).unwrap().to_owned()
        };
        for key in option.keys() {
            let line = line(situation().file("reconvene.json", format!("{{\"{key}\": {json}}}")));
            assert!(line.ends_with(&format!("line 1, column 2: `{key}`")), "{line}");
        }
        let by_environment = line(situation().variable(option.environment, *text));
        assert!(
            by_environment.ends_with(&format!("{} in the environment", option.environment)),
            "{by_environment}"
        );
        if let Some(long) = option.long {
            let by_argument = line(situation().argument(format!("--{long}={text}")));
            assert!(by_argument.ends_with(&format!(" --{long}")), "{by_argument}");
        }
    }
}

#[test]
fn empty_variables_are_not_set() {
    let situation =
        Situation::sound().variable("RECONVENE_SESSIONS_MAX", "").variable("RECONVENE_SHARED_SECRET", "");
    assert_eq!(situation.load().unwrap().sessions_max, 10_000);
}

#[test]
fn the_file_can_be_elsewhere() {
    let folder = |situation: Situation| {
        std::fs::create_dir(situation.folder.path().join("conf")).unwrap();
        situation.file("reconvene.json", r#"{ "sessionsMax": 1 }"#).file(
            "conf/r.json",
            r#"{ "sessionsMax": 2, "dbDirectory": "data", "sharedSecretFile": "secret" }"#,
        )
    };
    let by_argument = folder(Situation::new()).argument("--config=conf/r.json");
    let by_environment = folder(Situation::new()).variable("RECONVENE_CONFIG", "conf/r.json");
    let by_both =
        folder(Situation::new()).argument("--config=conf/r.json").variable("RECONVENE_CONFIG", "absent.json");
    for situation in [by_argument, by_environment, by_both] {
        let situation = situation.file("conf/secret", "a secret of some length\n").database("conf/data");
        let settings = situation.load().unwrap();
        assert_eq!(settings.sessions_max, 2);
        assert_eq!(settings.db_directory, situation.folder.path().join("conf/data"));
        let secret = Secret::new(b"a secret of some length".to_vec()).unwrap();
        assert_eq!(settings.authentication, AuthenticationChoice::SharedSecret(secret));
    }
}

#[test]
fn a_switch_in_the_file_can_be_taken_back() {
    let situation = Situation::new()
        .file("reconvene.json", r#"{ "unsecuredNoAuthentication": true }"#)
        .variable("RECONVENE_SHARED_SECRET", "a secret of some length")
        .argument("--unsecured-no-authentication=false");
    assert!(matches!(situation.load().unwrap().authentication, AuthenticationChoice::SharedSecret(_)));
}

const WHO_MAY_LOG_IN: &str = "who may log in? Give a shared secret, with --shared-secret-file FILE or with \
    RECONVENE_SHARED_SECRET in the environment; or let every device in that reaches the server, with \
    --unsecured-no-authentication, for tests and closed networks only";

#[test]
fn unusable_configurations_are_refused_in_plain_words() {
    let not_found = io::Error::from(io::ErrorKind::NotFound);
    let os_not_found = File::open("an/absent/file").unwrap_err();
    for (situation, expected) in [
        (Situation::new(), WHO_MAY_LOG_IN.to_owned()),
        (Situation::new().argument("--unsecured-no-authentication=false"), WHO_MAY_LOG_IN.to_owned()),
        (
            Situation::sound().variable("RECONVENE_SHARED_SECRET", "hunter2"),
            "RECONVENE_SHARED_SECRET in the environment and --unsecured-no-authentication contradict each other: each \
             says who may log in; keep one of them"
                .to_owned(),
        ),
        (
            Situation::new()
                .file("reconvene.json", r#"{ "sharedSecret": "hunter2" }"#)
                .argument("--shared-secret-file=absent"),
            "--shared-secret-file and reconvene.json, line 1, column 3: `sharedSecret` contradict each other: each says \
             who may log in; keep one of them"
                .to_owned(),
        ),
        (
            Situation::new().argument("--shared-secret-file=absent"),
            format!("--shared-secret-file names absent, which cannot be read: {os_not_found}"),
        ),
        (
            Situation::new().file("blank", "\n").variable("RECONVENE_SHARED_SECRET_FILE", "blank"),
            "RECONVENE_SHARED_SECRET_FILE in the environment names blank, which cannot be read: it is blank".to_owned(),
        ),
        (
            Situation::sound().argument("--model=absent.json"),
            format!("--model names absent.json, which cannot be read: {os_not_found}"),
        ),
        (
            Situation::sound().argument("--db-directory=fresh"),
            "fresh holds no database yet, and a new one needs a model: name the model file of your application with --model \
             FILE, or another directory with --db-directory"
                .to_owned(),
        ),
        (
            Situation::sound().argument("--config=absent.json"),
            format!("cannot read the configuration file absent.json: {not_found}"),
        ),
        (
            Situation::sound().argument("--sessions-max").argument("-5"),
            "--sessions-max is \"-5\"; expected a whole number from 1 to 1000000".to_owned(),
        ),
        (
            Situation::new().argument("--unsecured-no-authentication=yes"),
            "--unsecured-no-authentication is \"yes\"; expected true or false".to_owned(),
        ),
        (
            Situation::sound().variable("RECONVENE_BIND", "everywhere"),
            "RECONVENE_BIND in the environment is \"everywhere\"; expected ws:// with an IP address or localhost, and a \
             port, like ws://127.0.0.1:9999"
                .to_owned(),
        ),
        (
            Situation::sound().argument("--bind=ws://*:9999"),
            "--bind is \"ws://*:9999\"; expected ws:// with an IP address or localhost, and a port, like \
             ws://127.0.0.1:9999"
                .to_owned(),
        ),
        (
            Situation::sound().argument("--message-bytes-max=1KiB"),
            "--message-bytes-max is \"1KiB\"; expected a size from 17 MiB to 1 GiB, as a number of bytes or a text like \
             \"32 MiB\""
                .to_owned(),
        ),
        (
            Situation::sound().argument("--log-level=verbose"),
            "--log-level is \"verbose\"; expected one of off, error, warn, info, debug, trace".to_owned(),
        ),
        (Situation::sound().argument("--model="), "--model is empty; expected a path".to_owned()),
        (
            Situation::sound().file("reconvene.json", "{\n  \"sesionsMax\": 5\n}"),
            "reconvene.json, line 2, column 3: nothing is called \"sesionsMax\"; did you mean sessionsMax?; only keys \
             that begin with _ may be anything"
                .to_owned(),
        ),
    ] {
        assert_eq!(situation.complaint(), expected);
    }
}

#[test]
fn an_empty_directory_is_new_and_a_model_is_enough_for_it() {
    let situation = Situation::sound().argument("--db-directory=fresh");
    std::fs::create_dir(situation.folder.path().join("fresh")).unwrap();
    assert!(matches!(situation.load(), Err(ConfigError::ModelMissing { .. })));
    let situation = situation.file("m.json", "{}").argument("--model=m.json");
    let settings = situation.load().unwrap();
    assert_eq!(settings.model, Some((situation.folder.path().join("m.json"), Place::CommandLine("model"))));
}

#[test]
fn a_value_that_is_overruled_must_be_valid_too() {
    let situation =
        Situation::sound().variable("RECONVENE_SESSIONS_MAX", "many").argument("--sessions-max=5");
    let expected =
        "RECONVENE_SESSIONS_MAX in the environment is \"many\"; expected a whole number from 1 to 1000000";
    assert_eq!(situation.complaint(), expected);
}

#[cfg(unix)]
#[test]
fn what_is_not_unicode_is_refused_or_taken_as_a_path() {
    use std::os::unix::ffi::OsStringExt;
    let strange = OsString::from_vec(b"d\xFF".to_vec());
    let situation = Situation::sound()
        .file("m", "{}")
        .argument("--model=m")
        .variable("RECONVENE_DB_DIRECTORY", strange.clone());
    assert_eq!(situation.load().unwrap().db_directory, situation.folder.path().join(&strange));
    let situation = Situation::sound().variable("RECONVENE_LOG_LEVEL", strange);
    let expected = "RECONVENE_LOG_LEVEL in the environment is a text that is not Unicode; expected one of off, error, \
                    warn, info, debug, trace";
    assert_eq!(situation.complaint(), expected);
}

#[test]
fn a_directory_in_place_of_a_file_is_refused() {
    for argument in ["--model=folder", "--config=folder", "--shared-secret-file=folder"] {
        let situation = if argument.contains("secret") { Situation::new() } else { Situation::sound() };
        std::fs::create_dir(situation.folder.path().join("folder")).unwrap();
        let message = situation.argument(argument).complaint();
        assert!(message.contains("folder") && message.contains("directory"), "{message}");
    }
}

#[test]
fn what_deserves_a_second_look_is_told() {
    let warnings = |situation: Situation| situation.load().unwrap().warnings;
    let [warning] = &warnings(Situation::sound())[..] else { panic!("not one warning") };
    assert!(warning.starts_with("there is no authentication: everyone on this machine can"), "{warning}");
    let [warning] = &warnings(Situation::sound().argument("--bind=ws://0.0.0.0:1"))[..] else { panic!() };
    assert!(
        warning.starts_with("there is no authentication: everyone who reaches this address can"),
        "{warning}"
    );

    let with_secret = |secret: &str| Situation::new().variable("RECONVENE_SHARED_SECRET", secret);
    assert_eq!(warnings(with_secret("sixteen letters!")), [""; 0]);
    let [warning] = &warnings(with_secret("hunter2"))[..] else { panic!("not one warning") };
    assert!(warning.starts_with("the shared secret has fewer than 16 bytes"), "{warning}");

    // What a container is given for a service called `reconvene` is no mistake.
    let situation = with_secret("sixteen letters!")
        .variable("RECONVENE_PORT", "tcp://10.0.0.1:9999")
        .variable("RECONVENE_SERVICE_HOST", "10.0.0.1")
        .variable("RECONVENE_SHARED_SECRETS", "hunter2");
    assert_eq!(
        warnings(situation),
        [
            "\"RECONVENE_SHARED_SECRETS\" in the environment is not an option and was left alone; did you mean \
          RECONVENE_SHARED_SECRET?"
        ]
    );
}

#[test]
fn secrets_are_shown_by_nothing() {
    let by_environment = Situation::new().variable("RECONVENE_SHARED_SECRET", "hunter2");
    let by_file = Situation::new().file("reconvene.json", r#"{ "sharedSecret": "hunter2" }"#);
    let by_own_file =
        Situation::new().file("secret.txt", "hunter2").argument("--shared-secret-file=secret.txt");
    for situation in [by_environment, by_file, by_own_file] {
        let shown = format!("{:?}", situation.load().unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn the_example_is_sound_and_names_every_option() {
    let example = include_str!("../../../../reconvene.example.json");
    let situation = Situation::new()
        .file("reconvene.json", example)
        .file("model.json", "{}")
        .file("shared-secret.txt", "a secret of some length\n");
    let settings = situation.load().unwrap();
    assert_eq!(settings.warnings, [""; 0]);
    assert_eq!(
        settings.model.as_ref().map(|(path, _)| path.clone()),
        Some(situation.folder.path().join("model.json")),
        "{settings:?}"
    );

    // All options that have defaults are shown with them, so that the example changes nothing by being used.
    let plain =
        Situation::new().variable("RECONVENE_SHARED_SECRET", "a secret of some length").load().unwrap();
    assert_eq!(settings.bind, plain.bind);
    assert_eq!(settings.takes_over, plain.takes_over);
    assert_eq!(settings.removals_kept_days, plain.removals_kept_days);
    assert_eq!(settings.message_bytes_max, plain.message_bytes_max);
    assert_eq!(settings.sessions_max, plain.sessions_max);
    assert_eq!(settings.log, plain.log);
    let unnamed: Vec<_> = SERVE
        .iter()
        .filter_map(|option| option.key)
        .filter(|key| {
            !settings
                .overview
                .lines()
                .any(|line| line.starts_with(&format!("{key} ")) && line.ends_with(&format!("`{key}`")))
        })
        .collect();
    assert_eq!(unnamed, ["sharedSecret"], "the example shows the safer way to give a secret");
}
