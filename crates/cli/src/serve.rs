//! `reconvene serve`: opens the store, runs the server, and ends both in good order when a signal says so.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use reconvene::model::model_file::{MODEL_FILE_BYTES_MAX, ModelFile};
use reconvene::{Role, Store};
use reconvene_server::{Authentication, Secret, Server, ServerConfig, ServerLimits};

use crate::config::{AuthenticationChoice, ServeSettings};
use crate::error::ConfigError;
use crate::exit::Exit;
use crate::messages;

/// How long a server that was told to end may take to finish what devices have sent: shorter than what supervisors of
/// containers commonly wait before they kill, so that the server says its own last words.
const DRAIN_MAX: Duration = Duration::from_secs(8);

/// Serves until SIGTERM or SIGINT; a second one ends the process at once.
///
/// # Errors
///
/// If the model is unusable, the directory is held by another server or not a server's, the address is taken, or draining
/// took longer than [`DRAIN_MAX`]. Nothing that was acknowledged is lost in any case.
pub(crate) fn run(settings: &ServeSettings) -> anyhow::Result<Exit> {
    // Watched first, so that a signal during a long opening is not lost and a second one need not wait for it.
    let signals = watch_signals().context("signals cannot be received")?;
    let store = open_store(settings)?;
    let server = Server::builder(&store)
        .bind(settings.bind)
        .authentication(authentication(&settings.authentication))
        .take_over_devices(settings.takes_over)
        .removals_kept(removals_kept(settings))
        .limits(limits(settings))
        .protocol(protocol(settings))
        .start()?;
    tracing::info!(address = %format_args!("ws://{}", server.local_addr()), "ready");

    let signal = signals.recv().context("the thread that watches signals has ended")?;
    tracing::info!(
        signal,
        drain_seconds_max = DRAIN_MAX.as_secs(),
        "ending: devices are told, a second signal ends at once"
    );
    server.shutdown(DRAIN_MAX)?;
    drop(store);
    tracing::info!("ended");
    Ok(Exit::Success)
}

fn open_store(settings: &ServeSettings) -> anyhow::Result<Store> {
    // An absolute path, because the store takes a name like `memory:` for a database that is gone with the process.
    let directory = std::path::absolute(&settings.db_directory)
        .with_context(|| format!("the directory {} cannot be found", settings.db_directory.display()))?;
    let mut builder = Store::builder(&directory).role(Role::Server);
    if let Some((path, place)) = &settings.model {
        let model = read_model(path).map_err(|error| ConfigError::NamedFileUnreadable {
            place: place.clone(),
            path: path.clone(),
            error,
        })?;
        builder = builder.model(model);
    }
    let store = builder.open()?;
    tracing::info!(directory = %directory.display(), "the database is open");
    Ok(store)
}

/// Reads a model file within its bound; what is wrong with the content is [`io::ErrorKind::InvalidData`].
fn read_model(path: &Path) -> io::Result<ModelFile> {
    let mut text = String::new();
    File::open(path)?.take(MODEL_FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    ModelFile::parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn authentication(choice: &AuthenticationChoice) -> Authentication {
    match choice {
        AuthenticationChoice::Unsecured => Authentication::None,
        AuthenticationChoice::SharedSecret(secret) => {
            Authentication::SharedSecret(Secret::new(secret.expose()))
        }
    }
}

fn removals_kept(settings: &ServeSettings) -> Option<Duration> {
    let days = u64::try_from(settings.removals_kept_days).unwrap_or(u64::MAX);
    (days > 0).then(|| Duration::from_secs(days.saturating_mul(24 * 60 * 60)))
}

fn limits(settings: &ServeSettings) -> ServerLimits {
    let mut limits = ServerLimits::default();
    limits.sessions_max = settings.sessions_max;
    limits
}

fn protocol(settings: &ServeSettings) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.limits.message_bytes_max = settings.message_bytes_max;
    config
}

/// Gives the name of the first signal that asks to end; the second one ends the process.
fn watch_signals() -> io::Result<mpsc::Receiver<&'static str>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _context = runtime.enter();
        Signals::new()?
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let first = runtime.block_on(signals.next());
        // Without a receiver the process is ending already.
        let _ = sender.send(first);
        let second = runtime.block_on(signals.next());
        messages::error(&format!(
            "{second} came before everything was finished; what was acknowledged is safe"
        ));
        std::process::exit(i32::from(Exit::Failure as u8));
    })?;
    Ok(receiver)
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Takes the signals over from the system's own handling; must be called within a runtime.
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    /// Takes Ctrl+C over from the system's own handling; must be called within a runtime.
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Signals)
    }

    async fn next(&mut self) -> &'static str {
        self.0.recv().await;
        "Ctrl+C"
    }
}

#[cfg(test)]
mod tests {
    use reconvene_server::ServerError;

    use super::*;
    use crate::options::{MESSAGE_BYTES_MAX, OptionSpec, REMOVALS_KEPT_DAYS, SESSIONS_MAX};
    use crate::value::{Found, Kind, Value};

    fn default_number(option: &OptionSpec) -> usize {
        let text = option.default.unwrap().to_owned();
        let Value::Number(number) = option.kind.read(Found::Text(text)).unwrap() else {
            panic!("not a number")
        };
        usize::try_from(number).unwrap()
    }

    #[test]
    fn defaults_are_those_of_the_libraries() {
        assert_eq!(default_number(&MESSAGE_BYTES_MAX), ServerConfig::default().limits.message_bytes_max);
        assert_eq!(default_number(&SESSIONS_MAX), ServerLimits::default().sessions_max);
        let days = u64::try_from(default_number(&REMOVALS_KEPT_DAYS)).unwrap();
        assert_eq!(Duration::from_secs(days * 24 * 60 * 60), reconvene_server::REMOVALS_KEPT);
    }

    #[test]
    fn a_server_takes_the_lowest_limit_that_may_be_set() {
        let Kind::Size { min, .. } = MESSAGE_BYTES_MAX.kind else { panic!("not a size") };
        let start = |bytes: u64| {
            let mut config = ServerConfig::default();
            config.limits.message_bytes_max = usize::try_from(bytes).unwrap();
            let store = Store::builder("memory:").role(Role::Server).open().unwrap();
            let server = Server::builder(&store).authentication(Authentication::None).protocol(config);
            server.bind("127.0.0.1:0".parse().unwrap()).start()
        };
        start(min).map(drop).unwrap();
        // Nor is it far above what the server needs.
        let error = start(min - (1 << 20)).err().unwrap();
        assert!(matches!(error, ServerError::MessagesTooShort { .. }), "{error}");
    }

    #[test]
    fn a_model_that_is_none_is_told_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.json");
        for content in [&b"{}"[..], b"", b"\xFF", b"[[[[["] {
            std::fs::write(&path, content).unwrap();
            let error = read_model(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
            assert!(!error.to_string().is_empty());
        }
        assert_eq!(read_model(&folder.path().join("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
