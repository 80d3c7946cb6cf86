//! Running the program, and databases to run it on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use reconvene::{Entity, Role, Store};
use tempfile::TempDir;

/// What a run left behind, as text.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The standard output of a run that did what it was asked to.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The complaint of a run that ended with this code and printed nothing else.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        self.stderr
            .strip_prefix("reconvene: error: ")
            .unwrap_or_else(|| panic!("{:?}", self.stderr))
            .to_owned()
    }
}

/// A folder to work in.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Everything in the folder, by name.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs the program here, with no environment.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        run_with(self.0.path(), arguments, Stdio::null())
    }

    /// Runs the program here with a file as its standard input.
    pub(crate) fn run_reading(&self, arguments: &[&str], input: &str) -> Run {
        run_with(self.0.path(), arguments, std::fs::File::open(self.path(input)).unwrap().into())
    }
}

fn run_with(folder: &Path, arguments: &[&str], input: Stdio) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reconvene"));
    let Output { status, stdout, stderr } =
        command.current_dir(folder).env_clear().args(arguments).stdin(input).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Local to its device.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
pub(crate) struct Note {
    pub(crate) id: u64,
    pub(crate) text: String,
    #[index]
    pub(crate) stars: Option<u8>,
    pub(crate) weight: f32,
    pub(crate) tags: Vec<String>,
}

/// Synced, with ids from the store.
#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync)]
pub(crate) struct City {
    pub(crate) id: u64,
    pub(crate) name: String,
    #[unique]
    pub(crate) code: Option<String>,
    pub(crate) population: Option<u32>,
}

/// Opens the database `data` of the folder.
pub(crate) fn open(folder: &Folder, role: Role) -> Store {
    Store::builder(folder.path("data")).entity::<Note>().entity::<City>().role(role).open().unwrap()
}

/// A database with this many notes.
pub(crate) fn with_notes(folder: &Folder, notes: usize) -> Store {
    let store = open(folder, Role::Device);
    let note = |at: usize| Note {
        id: 0,
        text: format!("note number {at:06} in the book"),
        stars: (!at.is_multiple_of(3)).then_some((at % 200) as u8),
        weight: at as f32 / 10.0,
        tags: vec!["a, b".to_owned(), format!("\"{at}\"")],
    };
    store.boxed::<Note>().unwrap().put_many(&mut (0..notes).map(note).collect::<Vec<_>>()).unwrap();
    store
}
