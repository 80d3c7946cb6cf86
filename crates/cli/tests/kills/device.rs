//! The process that is a device: this test again, told by its environment what it is.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use reconvene::sync::{Secret, State};
use reconvene::{Durability, Store, SyncClient};
use serde::{Deserialize, Serialize};

use crate::processes::PATIENCE;
use crate::workload::{Item, Note, Receipt, transact};

/// What a device is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    /// 0 or 1.
    pub(crate) device: usize,
    pub(crate) directory: PathBuf,
    /// Where its notes go.
    pub(crate) notes: PathBuf,
    pub(crate) url: String,
    pub(crate) secret: String,
}

/// Holds the [`Orders`] as JSON in the process of a device.
const ORDERS_VARIABLE: &str = "RECONVENE_TEST_KILLS_ORDERS";

/// What is written to a device's standard input to make it finish, and then once more to make it compare and end.
pub(crate) const GO_ON: &[u8] = b"go on\n";

/// How many transactions may wait for the server before a device writes no more: a backlog that never ends would only show
/// how fast the disk is.
const BACKLOG_MAX: u64 = 64;

const BREATH: Duration = Duration::from_millis(1);

/// How to start the process of a device.
pub(crate) fn command(orders: &Orders) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kills_lose_double_and_halve_nothing", "--nocapture"]);
    command.env(ORDERS_VARIABLE, serde_json::to_string(orders).unwrap());
    command
}

/// Whether this process was started to be a device.
pub(crate) fn is_this_process() -> bool {
    std::env::var_os(ORDERS_VARIABLE).is_some()
}

/// Opens the store of a device.
pub(crate) fn open(directory: &Path) -> Store {
    let builder = Store::builder(directory).entity::<Item>().entity::<Receipt>();
    builder.durability(Durability::Full).open().unwrap()
}

/// Writes until told to finish, finishes, and ends when told so.
pub(crate) fn run() {
    let orders: Orders = serde_json::from_str(&std::env::var(ORDERS_VARIABLE).unwrap()).unwrap();
    let told = listen();
    let mut notes = OpenOptions::new().append(true).create(true).open(&orders.notes).unwrap();
    let store = open(&orders.directory);
    let client = connect(&store, &orders);
    while told.try_recv() == Err(TryRecvError::Empty) {
        step(&store, &client, &orders, &mut notes);
    }
    client.network_is_back();
    client.wait_uploaded(PATIENCE).unwrap();
    note(&mut notes, &Note::Uploaded);
    told.recv().unwrap();
    client.stop();
    // Whoever logs in now gets everything that both devices have uploaded.
    let client = connect(&store, &orders);
    client.wait_downloaded(PATIENCE).unwrap();
    client.stop();
    drop(store);
    note(&mut notes, &Note::Ended);
}

fn step(store: &Store, client: &SyncClient, orders: &Orders, notes: &mut File) {
    let status = client.status();
    match status.state {
        State::GaveUp | State::Stopped => panic!("the client has ended: {:?}", status.last_closed),
        // Real pauses would leave the server idle for most of the run.
        State::Waiting => client.network_is_back(),
        _ => {}
    }
    let sync = store.sync();
    if sync.undecided().unwrap() >= BACKLOG_MAX {
        std::thread::sleep(BREATH);
        return;
    }
    let number = sync.login_state().unwrap().last_number + 1;
    let fact = transact(store, orders.device, number).unwrap();
    note(notes, &Note::Committed(fact));
    assert_eq!(sync.login_state().unwrap().last_number, number, "a commit takes the next number");
}

/// Adds a line. It survives this process once written, and a kill does not part one short write to a file.
fn note(notes: &mut File, note: &Note) {
    let line = serde_json::to_string(note).unwrap() + "\n";
    assert_eq!(notes.write(line.as_bytes()).unwrap(), line.len());
}

fn connect(store: &Store, orders: &Orders) -> SyncClient {
    let builder = SyncClient::builder(store, &orders.url);
    builder.shared_secret(Secret::new(orders.secret.as_str())).start().unwrap()
}

/// A message for each line that is read; ends the process when the one that started it has gone.
fn listen() -> Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            line.unwrap();
            sender.send(()).unwrap();
        }
        std::process::exit(1);
    });
    receiver
}
