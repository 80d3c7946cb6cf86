//! What the shim recorded, as events in the order in which they happened.

use std::path::{Path, PathBuf};

/// One recorded event. Files are named by numbers that are never used twice.
#[derive(Debug)]
pub(crate) enum Event {
    /// A new, empty file under this name.
    Create {
        path: PathBuf,
        file: u64,
    },
    MakeDirectory {
        path: PathBuf,
    },
    Write {
        file: u64,
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        file: u64,
        length: u64,
    },
    /// Everything written to the file so far is durable, and so is its length.
    Flush {
        file: u64,
    },
    /// The names in the directory are durable.
    FlushDirectory {
        path: PathBuf,
    },
    /// These bytes, and the length of the file, are durable.
    FlushWrite {
        file: u64,
        offset: u64,
        length: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    /// What the program said of itself.
    Mark(Mark),
}

/// What the workload says while it runs. Steps of a store are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A step that changes the store begins; from here on the store is to be opened with this version of the schema.
    Begin { store: usize, step: usize, version: u32 },
    /// It returned, and left this content; whether all of it must be durable even in the relaxed mode.
    Done { store: usize, step: usize, flushed: bool, content: String },
}

impl Mark {
    pub(crate) fn to_text(&self) -> String {
        match self {
            Mark::Begin { store, step, version } => format!("begin {store} {step} {version}\n"),
            Mark::Done { store, step, flushed, content } => {
                format!("done {store} {step} {}\n{content}", u8::from(*flushed))
            }
        }
    }

    fn parse(text: &str) -> Mark {
        let (line, content) = text.split_once('\n').unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        match words[0] {
            "begin" => Mark::Begin { store: number(1), step: number(2), version: number(3) as u32 },
            "done" => Mark::Done {
                store: number(1),
                step: number(2),
                flushed: number(3) == 1,
                content: content.to_owned(),
            },
            other => panic!("a mark of kind {other:?}"),
        }
    }
}

/// Reads the shim's log; see `shim.c` for its layout.
pub(crate) fn read(log: &Path) -> Vec<Event> {
    let bytes = std::fs::read(log).unwrap();
    let mut rest = &bytes[..];
    let mut events = Vec::new();
    // The system gives a file's number to another one when the first is gone.
    let mut files: Vec<(u64, u64)> = Vec::new();
    let find = |files: &[(u64, u64)], inode: u64| {
        files.iter().rev().find(|(known, _)| *known == inode).expect("a file is created before it is used").1
    };
    while !rest.is_empty() {
        let number = |at: usize| u64::from_le_bytes(rest[at..at + 8].try_into().unwrap());
        let length = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let (kind, path_bytes, data_bytes) = (length(0), length(4), length(8));
        let (inode, offset) = (number(16), number(24));
        let (path, data) = rest[32..32 + path_bytes + data_bytes].split_at(path_bytes);
        let path = PathBuf::from(std::str::from_utf8(path).unwrap());
        events.push(match kind {
            1 => {
                let file = files.len() as u64;
                files.push((inode, file));
                Event::Create { path, file }
            }
            2 => Event::MakeDirectory { path },
            3 => Event::Write { file: find(&files, inode), offset, data: data.to_vec() },
            4 => Event::Truncate { file: find(&files, inode), length: offset },
            5 => Event::Flush { file: find(&files, inode) },
            6 => Event::FlushDirectory { path },
            7 => {
                let length = u64::from_le_bytes(data.try_into().unwrap());
                Event::FlushWrite { file: find(&files, inode), offset, length }
            }
            8 => Event::Rename { from: path, to: std::str::from_utf8(data).unwrap().into() },
            9 => Event::Unlink { path },
            10 => Event::Mark(Mark::parse(std::str::from_utf8(data).unwrap())),
            _ => panic!("the store used a call that the harness has no picture of: {}", path.display()),
        });
        rest = &rest[32 + path_bytes + data_bytes..];
    }
    events
}
