//! The processes: started, watched, killed and restarted, and none outlives the test.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use reconvene::Store;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::device::{self, GO_ON, Orders};
use crate::workload::{Item, Note, Random, Receipt};

/// How long anything may take on the slowest machine; reached only when something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const BREATH: Duration = Duration::from_millis(1);

/// The file that the server is put back to.
const BACKUP: &str = "server.backup";

const SECRET: &str = "known to both devices and the server";

/// One of the three processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Server,
    Device(usize),
}

/// The processes and their files.
pub(crate) struct Scene {
    folder: TempDir,
    address: SocketAddr,
    server: Running,
    devices: [Running; 2],
    notes: [Notes; 2],
}

/// What is left when all processes have ended in good order.
pub(crate) struct Ended {
    pub(crate) server: PathBuf,
    pub(crate) devices: [PathBuf; 2],
    pub(crate) notes: [Vec<Note>; 2],
    _folder: TempDir,
}

impl Scene {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = Store::builder("memory:").entity::<Item>().entity::<Receipt>().open().unwrap();
        std::fs::write(folder.path().join("model.json"), model.model().to_json()).unwrap();
        std::fs::write(folder.path().join("secret.txt"), SECRET).unwrap();
        let address = free_address();
        let server = start_server(&folder, address);
        let devices = [0, 1].map(|device| start_device(&folder, address, device));
        let notes = [0, 1].map(|device| Notes::new(notes_path(&folder, device)));
        Scene { folder, address, server, devices, notes }
    }

    /// Waits until the devices have noted so many commits more.
    pub(crate) fn wait_for_commits(&mut self, more: u64) {
        let enough = self.commits() + more as usize;
        self.wait(|scene| scene.commits() >= enough);
    }

    /// How many commits the devices have noted.
    pub(crate) fn commits(&mut self) -> usize {
        self.notes.iter_mut().map(|notes| notes.read().len()).sum()
    }

    /// Kills all of these before the first of them is started again.
    pub(crate) fn kill(&mut self, actors: &[Actor]) {
        self.check();
        for &actor in actors {
            self.running(actor).child.kill().unwrap();
        }
        for &actor in actors {
            self.running(actor).child.wait().unwrap();
        }
        for &actor in actors {
            self.start_again(actor);
        }
    }

    fn start_again(&mut self, actor: Actor) {
        *self.running(actor) = match actor {
            Actor::Server => start_server(&self.folder, self.address),
            Actor::Device(device) => start_device(&self.folder, self.address, device),
        };
    }

    /// A command of the program under test.
    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reconvene"));
        command.arg(name).env_clear().current_dir(self.folder.path());
        command
    }

    /// Copies the server's database to a file, as `reconvene backup` does it beside a server at work, and kills these meanwhile.
    pub(crate) fn back_up(&mut self, meanwhile: &[Actor]) {
        let mut command = self.tool("backup");
        command.arg(server_directory(&self.folder)).arg(self.folder.path().join(BACKUP)).arg("--force");
        let mut backup = Running::start(command, &self.folder, "backup");
        if !meanwhile.is_empty() {
            self.kill(meanwhile);
        }
        assert!(backup.wait().success(), "{}", backup.last_words());
    }

    /// Kills the server and these, puts the server back to its backup by `reconvene restore`, and starts all again. The restore
    /// itself may be killed first, so long after its start.
    pub(crate) fn restore(&mut self, also: &[Actor], killed_after: Option<Duration>) {
        self.check();
        for &actor in also.iter().chain([&Actor::Server]) {
            self.running(actor).child.kill().unwrap();
            self.running(actor).child.wait().unwrap();
        }
        let start = |scene: &Scene| {
            let mut command = scene.tool("restore");
            command.arg(scene.folder.path().join(BACKUP)).arg(server_directory(&scene.folder)).arg("--force");
            Running::start(command, &scene.folder, "restore")
        };
        if let Some(time) = killed_after {
            let restore = start(self);
            std::thread::sleep(time);
            drop(restore);
        }
        let mut restore = start(self);
        assert!(restore.wait().success(), "{}", restore.last_words());
        for &actor in [Actor::Server].iter().chain(also) {
            self.start_again(actor);
        }
    }

    /// Lets everyone send and receive what there is, and end.
    pub(crate) fn finish(mut self) -> Ended {
        for device in &mut self.devices {
            device.go_on();
        }
        self.wait(|scene| scene.both_noted(|note| matches!(note, Note::Uploaded)));
        for device in &mut self.devices {
            device.go_on();
        }
        self.wait(|scene| scene.both_noted(|note| matches!(note, Note::Ended)));
        for device in &mut self.devices {
            assert!(device.wait().success(), "{}", device.last_words());
        }
        kill_process(Pid::from_child(&self.server.child), Signal::TERM).unwrap();
        assert!(self.server.wait().success(), "{}", self.server.last_words());
        Ended {
            server: server_directory(&self.folder),
            devices: [0, 1].map(|device| device_directory(&self.folder, device)),
            notes: self.notes.map(|mut notes| std::mem::take(notes.read())),
            _folder: self.folder,
        }
    }

    fn running(&mut self, actor: Actor) -> &mut Running {
        match actor {
            Actor::Server => &mut self.server,
            Actor::Device(device) => &mut self.devices[device],
        }
    }

    fn both_noted(&mut self, what: fn(&Note) -> bool) -> bool {
        self.notes.iter_mut().all(|notes| notes.read().last().is_some_and(what))
    }

    /// Nobody may have ended without being killed.
    fn check(&mut self) {
        for running in self.devices.iter_mut().chain([&mut self.server]) {
            // A device that has finished ends by itself, and well.
            if let Some(status) = running.child.try_wait().unwrap().filter(|status| !status.success()) {
                panic!("a process ended by itself with {status}: {}", running.last_words());
            }
        }
    }

    fn wait(&mut self, reached: impl Fn(&mut Scene) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !reached(self) {
            self.check();
            if Instant::now() > deadline {
                let all = self.devices.iter().chain([&self.server]).map(Running::last_words);
                panic!("nothing goes on: {}", all.collect::<Vec<_>>().join("\n"));
            }
            std::thread::sleep(BREATH);
        }
    }
}

fn server_directory(folder: &TempDir) -> PathBuf {
    folder.path().join("server")
}

fn device_directory(folder: &TempDir, device: usize) -> PathBuf {
    folder.path().join(["a", "b"][device])
}

fn notes_path(folder: &TempDir, device: usize) -> PathBuf {
    folder.path().join(["a.notes", "b.notes"][device])
}

fn start_server(folder: &TempDir, address: SocketAddr) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reconvene"));
    command.args(["serve", "--model=model.json", "--shared-secret-file=secret.txt"]);
    command.arg("--db-directory").arg(server_directory(folder)).arg(format!("--bind=ws://{address}"));
    command.env_clear().current_dir(folder.path());
    Running::start(command, folder, "server")
}

fn start_device(folder: &TempDir, address: SocketAddr, device: usize) -> Running {
    let orders = Orders {
        device,
        directory: device_directory(folder, device),
        notes: notes_path(folder, device),
        url: format!("ws://{address}"),
        secret: SECRET.to_owned(),
    };
    Running::start(device::command(&orders), folder, ["a", "b"][device])
}

/// An address on which nothing listens, kept over all restarts of the server, and given to no other scene of this process.
///
/// It lies below the ports that systems give to those who ask for any: otherwise another process could be given it while the
/// server is away, or a device's own attempt to connect could be, and would then meet itself.
fn free_address() -> SocketAddr {
    // One sequence for all scenes: between the probe and the server's start, a second sequence would find the same port free.
    static RANDOM: LazyLock<Mutex<Random>> =
        LazyLock::new(|| Mutex::new(Random::new(std::process::id().into())));
    let mut random = RANDOM.lock().expect("no scene panics while it draws a port");
    let mut addresses =
        std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], 10_000 + random.below(20_000) as u16)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("some port is free")
}

/// A process, killed when it is dropped.
struct Running {
    child: Child,
    /// What it writes to standard error, after what those before it wrote.
    errors: PathBuf,
}

impl Running {
    fn start(mut command: Command, folder: &TempDir, name: &str) -> Self {
        let errors = folder.path().join(format!("{name}.errors"));
        let file = OpenOptions::new().append(true).create(true).open(&errors).unwrap();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Running { child, errors }
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().expect("standard input is a pipe").write_all(GO_ON).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "a process does not end: {}", self.last_words());
            std::thread::sleep(BREATH);
        }
    }

    /// The end of what it wrote to standard error.
    fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&std::fs::read(&self.errors).unwrap()).into_owned();
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The notes of a device, as far as they were read.
struct Notes {
    path: PathBuf,
    bytes_read: u64,
    notes: Vec<Note>,
}

impl Notes {
    fn new(path: PathBuf) -> Self {
        Notes { path, bytes_read: 0, notes: Vec::new() }
    }

    /// Every note so far.
    fn read(&mut self) -> &mut Vec<Note> {
        // The device makes the file when it gets so far.
        if let Ok(mut file) = File::open(&self.path) {
            let mut text = String::new();
            file.seek(SeekFrom::Start(self.bytes_read)).unwrap();
            file.read_to_string(&mut text).unwrap();
            for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                self.notes.push(serde_json::from_str(line).unwrap());
                self.bytes_read += line.len() as u64;
            }
        }
        &mut self.notes
    }
}
