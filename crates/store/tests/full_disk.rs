//! Full disks, full files and full maps: a write fails with an error that says what to do, what was there before stands, and
//! work goes on in the same process once there is room.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is its report, and a child process talks to its test"
)]

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use reconvene_model::Seq;
use reconvene_store::{
    Delivery, Entity, Incoming, PushedTx, Role, SeamError, Store, StoreBuilder, StoreError,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[derive(Entity, Clone, Debug, Default)]
#[entity(crate = "reconvene_store")]
struct Note {
    id: u64,
    text: String,
}

#[derive(Entity, Clone, Debug, Default)]
#[entity(sync, crate = "reconvene_store")]
struct Task {
    id: u64,
    text: String,
}

fn builder(directory: impl AsRef<Path>) -> StoreBuilder {
    Store::builder(directory).entity::<Note>().entity::<Task>()
}

fn large_text() -> String {
    "large ".repeat(50_000)
}

/// Everything that writes to a store: applications, a server's decisions, a device's deliveries.
#[derive(Clone, Copy, Debug)]
enum Writer {
    LocalPut,
    SyncedPut,
    Decide,
    Apply,
}

const WRITERS: [Writer; 4] = [Writer::LocalPut, Writer::SyncedPut, Writer::Decide, Writer::Apply];

/// The other side of a server or a device, in memory; each transaction of its author is large.
struct Elsewhere {
    author: Store,
    server: Store,
    history: RefCell<Vec<PushedTx>>,
}

impl Elsewhere {
    fn new() -> Elsewhere {
        let author = builder("memory:").open().unwrap();
        let server = builder("memory:").role(Role::Server).open().unwrap();
        server.sync().register(author.sync().peer(), &author.sync().key().public()).unwrap();
        Elsewhere { author, server, history: RefCell::default() }
    }

    /// The author's transaction of this number, which is written if it was not yet.
    fn tx(&self, number: u64) -> Vec<u8> {
        let sync = self.author.sync();
        if sync.login_state().unwrap().last_number < number {
            self.author.boxed().unwrap().put(&mut Task { id: 0, text: large_text() }).unwrap();
        }
        sync.outbox(number - 1, 1, usize::MAX).unwrap().remove(0).bytes
    }

    /// The accepted transaction at a position.
    fn accepted(&self, seq: u64) -> PushedTx {
        let mut history = self.history.borrow_mut();
        while (history.len() as u64) < seq {
            let bytes = self.tx(history.len() as u64 + 1);
            let incoming = Incoming { peer: self.author.sync().peer(), bytes: &bytes };
            history.extend(self.server.sync().decide(&[incoming], &[]).unwrap().remove(0).push);
        }
        history[seq as usize - 1].clone()
    }
}

impl Writer {
    fn open(self, directory: &Path, map_bytes_max: u64, elsewhere: &Elsewhere) -> Result<Store, StoreError> {
        let builder = builder(directory).map_bytes_max(map_bytes_max);
        match self {
            Writer::Decide => {
                let store = builder.role(Role::Server).open()?;
                let author = elsewhere.author.sync();
                store.sync().register(author.peer(), &author.key().public())?;
                Ok(store)
            }
            Writer::Apply => {
                let store = builder.open()?;
                let epoch = elsewhere.server.sync().epoch()?;
                let seq = store.sync().cursor()?.seq;
                let login = Delivery::Login {
                    epoch,
                    view: 1,
                    decided: 0,
                    decided_seq: seq,
                    rebased: None,
                    compare: false,
                };
                store.sync().apply(&[login, Delivery::CatchUpDone { seq }])?;
                Ok(store)
            }
            Writer::LocalPut | Writer::SyncedPut => builder.open(),
        }
    }

    /// Writes something large in one transaction.
    fn write(self, store: &Store, elsewhere: &Elsewhere) -> Result<(), StoreError> {
        match self {
            Writer::LocalPut => store.boxed()?.put(&mut Note { id: 0, text: large_text() }).map(drop),
            Writer::SyncedPut => store.boxed()?.put(&mut Task { id: 0, text: large_text() }).map(drop),
            Writer::Decide => {
                let bytes = elsewhere.tx(store.sync().head()?.0 + 1);
                let incoming = Incoming { peer: elsewhere.author.sync().peer(), bytes: &bytes };
                store.sync().decide(&[incoming], &[]).map(drop)
            }
            Writer::Apply => {
                let tx = elsewhere.accepted(store.sync().cursor()?.seq.0 + 1);
                let push = Delivery::Push { seq: tx.seq, origin: tx.origin, hlc: tx.hlc, ops: &tx.ops };
                store.sync().apply(&[push]).map(drop)
            }
        }
    }
}

/// What a reader sees of a store.
fn seen(store: &Store) -> (u64, u64, u64, Seq, Seq, [u8; 32]) {
    let sync = store.sync();
    let notes = store.boxed::<Note>().unwrap().count().unwrap();
    let tasks = store.boxed::<Task>().unwrap().count().unwrap();
    let head = if sync.role() == Role::Server { sync.head().unwrap() } else { Seq(0) };
    let hash = sync.content_hash().unwrap();
    (notes, tasks, sync.undecided().unwrap(), head, sync.cursor().unwrap().seq, hash)
}

/// Writes until it fails; what was there before must stand.
fn write_until_full(writer: Writer, store: &Store, elsewhere: &Elsewhere) -> StoreError {
    for _ in 0..40 {
        let before = seen(store);
        if let Err(error) = writer.write(store, elsewhere) {
            assert_eq!(seen(store), before, "{writer:?}: something of a failed write shows");
            assert_eq!(store.check().unwrap(), []);
            return error;
        }
    }
    panic!("{writer:?}: 40 large writes fit where there is no room")
}

const CHILD: &str = "RECONVENE_TEST_CHILD";
const CHILD_DIRECTORY: &str = "RECONVENE_TEST_CHILD_DIRECTORY";

fn child_directory() -> Option<PathBuf> {
    env_is_child().then(|| std::env::var_os(CHILD_DIRECTORY).map(PathBuf::from))?
}

fn env_is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs a test of this program again, in a shell that says first what it says here.
fn run_child(test: &str, directory: &Path, shell: &[&str], script: &str) {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["-c", &format!(r#"{script} exec "$0" "$@""#)]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let output = command.env(CHILD, "1").env(CHILD_DIRECTORY, directory).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
}

/// For each writer: a store on a disk that `fill` fills and `free` makes room on again.
fn go_on_after(
    directory: &Path,
    fill: impl Fn(&Path),
    free: impl Fn(),
    is_expected: impl Fn(&StoreError) -> bool,
) {
    let elsewhere = Elsewhere::new();
    for writer in WRITERS {
        let place = directory.join(format!("{writer:?}"));
        let store = writer.open(&place, 1 << 30, &elsewhere).unwrap();
        writer.write(&store, &elsewhere).unwrap();
        for _ in 0..2 {
            fill(&place);
            let error = write_until_full(writer, &store, &elsewhere);
            assert!(is_expected(&error) && error.to_string().contains("run it again"), "{writer:?}: {error}");
            let again = write_until_full(writer, &store, &elsewhere);
            assert!(is_expected(&again), "{writer:?}: {again}");
            free();
            let before = seen(&store);
            writer.write(&store, &elsewhere).unwrap();
            assert_ne!(seen(&store), before);
        }
        let last = seen(&store);
        drop(store);
        let store = writer.open(&place, 1 << 30, &elsewhere).unwrap();
        assert_eq!(seen(&store), last);
        assert_eq!(store.check().unwrap(), []);
        drop(store);
        fs::remove_dir_all(place).unwrap();
    }
}

#[test]
fn a_file_that_reached_its_limit_costs_nothing_but_the_write() {
    const NAME: &str = "a_file_that_reached_its_limit_costs_nothing_but_the_write";
    if let Some(directory) = child_directory() {
        let limit = |current| {
            let maximum = getrlimit(Resource::Fsize).maximum;
            setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
        };
        let fill = |place: &Path| {
            limit(Some(fs::metadata(place.join(Store::DATA_FILE)).unwrap().len() + 100_000));
        };
        return go_on_after(
            &directory,
            fill,
            || limit(None),
            |error| matches!(error, StoreError::Engine(SeamError::FileTooLarge)),
        );
    }
    let directory = tempfile::tempdir().unwrap();
    // Without this, the system ends a process that writes past the limit.
    run_child(NAME, directory.path(), &["sh"], "trap '' XFSZ;");
}

#[test]
fn a_full_disk_costs_nothing_but_the_write() {
    const NAME: &str = "a_full_disk_costs_nothing_but_the_write";
    if let Some(directory) = child_directory() {
        let ballast = directory.join("ballast");
        let fill = |_: &Path| {
            let mut file = File::create(&ballast).unwrap();
            while file.write_all(&[1; 4096]).is_ok() {}
        };
        return go_on_after(
            &directory,
            fill,
            || fs::remove_file(&ballast).unwrap(),
            |error| matches!(error, StoreError::Engine(SeamError::DiskFull)),
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=12m none {:?}", directory.path());
    // A small disk of one's own takes a privilege, for oneself or as the root of a name space of users.
    let own_mounts: [&[&str]; 2] = [&["unshare", "-m"], &["unshare", "-r", "-m"]];
    let may = |how: &&[&str]| {
        let mut command = Command::new(how[0]);
        command
            .args(&how[1..])
            .args(["sh", "-c", &mount])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    match own_mounts.into_iter().find(may) {
        Some(how) => run_child(NAME, directory.path(), &[how, &["sh"]].concat(), &format!("{mount} &&")),
        // The limit of the other test takes the same way through the store.
        None => println!("NOT RUN: this process may not mount a small disk of its own"),
    }
}

#[test]
fn a_full_map_costs_nothing_but_the_write() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::new();
    for writer in WRITERS {
        let place = directory.path().join(format!("{writer:?}"));
        let store = writer.open(&place, 4 << 20, &elsewhere).unwrap();
        let error = write_until_full(writer, &store, &elsewhere);
        assert!(
            matches!(error, StoreError::Engine(SeamError::MapFull { map_bytes: 4_194_304 })),
            "{writer:?}: {error}"
        );
        assert!(error.to_string().contains("larger `map_bytes_max`"), "{error}");
        // What still fits is welcome in the same process.
        if store.sync().role() == Role::Device {
            store.boxed().unwrap().put(&mut Note { id: 0, text: "small".into() }).unwrap();
        }
        let last = seen(&store);
        drop(store);
        let store = writer.open(&place, 1 << 30, &elsewhere).unwrap();
        assert_eq!(seen(&store), last);
        writer.write(&store, &elsewhere).unwrap();
        assert_eq!(store.check().unwrap(), []);
    }
}
