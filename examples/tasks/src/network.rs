//! How the tasks reach other devices.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reconvene::sync::{Secret, SyncClientBuilder};
use reconvene::{Store, SyncClient, SyncEvent};

/// How long a command waits for the server; what is not done by then is done next time.
const SYNC_MAX: Duration = Duration::from_secs(3);

/// Where the server is, and how this device shows that it belongs to it.
#[derive(Args)]
pub(crate) struct Network {
    /// The sync server.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        default_value = "ws://127.0.0.1:9999",
        env = "TASKS_SERVER"
    )]
    server: String,

    /// Works without the server.
    #[arg(long, global = true)]
    offline: bool,

    /// A file with the secret that the server shares with its devices.
    #[arg(long, global = true, value_name = "FILE", env = "TASKS_SHARED_SECRET_FILE")]
    shared_secret_file: Option<PathBuf>,
}

impl Network {
    /// Sends what has changed here and takes what has changed elsewhere; tells what came of it.
    pub(crate) fn sync(&self, store: &Store) -> anyhow::Result<String> {
        let sync = store.sync();
        let (to_send, rejected) = (sync.undecided()?, sync.rejected()?.len());
        if self.offline {
            return Ok(format!("offline: {} waiting\n", changes(to_send)));
        }
        let (events, happened) = mpsc::channel();
        let client = self.builder(store)?.on_event(move |event| {
            // Nobody listens any more once the time is up.
            events.send(event.clone()).ok();
        });
        let client = client.start()?;
        let problem = loop {
            match happened.recv_timeout(SYNC_MAX) {
                Ok(SyncEvent::CaughtUp { .. }) => {
                    break client.wait_uploaded(SYNC_MAX).err().map(|e| e.to_string());
                }
                Ok(SyncEvent::Disconnected { closed, .. } | SyncEvent::GaveUp { closed }) => {
                    break Some(closed.to_string());
                }
                Ok(_) => {}
                Err(_) => break Some("the server takes too long".to_owned()),
            }
        };
        client.stop();

        let waiting = sync.undecided()?;
        let mut report = match problem {
            Some(problem) => format!("not in sync, {} waiting: {problem}\n", changes(waiting)),
            None => format!("in sync, {} sent\n", changes(to_send.saturating_sub(waiting))),
        };
        for rejected in sync.rejected()?.iter().skip(rejected) {
            report += &format!("a change was not taken: {}\n", rejected.message);
        }
        Ok(report)
    }

    /// Keeps the store in sync in the background, until the client is dropped.
    pub(crate) fn connect(&self, store: &Store) -> anyhow::Result<Option<SyncClient>> {
        if self.offline { Ok(None) } else { Ok(Some(self.builder(store)?.start()?)) }
    }

    fn builder(&self, store: &Store) -> anyhow::Result<SyncClientBuilder> {
        let client = SyncClient::builder(store, &self.server);
        let Some(file) = &self.shared_secret_file else { return Ok(client) };
        let secret =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(client.shared_secret(Secret::new(secret.trim_end())))
    }
}

fn changes(count: u64) -> String {
    if count == 1 { "1 change".to_owned() } else { format!("{count} changes") }
}
