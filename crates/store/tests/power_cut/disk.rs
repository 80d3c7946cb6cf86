//! A disk that keeps what was flushed and forgets at will what was not.
//!
//! A sector of 512 bytes is written whole or not at all; of the sectors written since the last flush each may have reached the
//! disk in any of the states it had, in any order. The same holds for the length of a file and for the names in directories,
//! but that a rename happens in one step, and not before what it builds on.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use crate::log::Event;

const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

/// Random numbers that are the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What a power cut leaves of the things that were not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Each write as a whole with this chance in percent.
    Writes(usize),
    /// Each sector for itself, in any of its states.
    Sectors,
}

/// Everything that is known of the disk at one moment.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    files: HashMap<u64, File>,
    /// The names that a cut leaves for sure.
    durable: BTreeMap<PathBuf, Node>,
    /// What happened to names since.
    pending: Vec<NameChange>,
    writes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Default)]
struct File {
    sectors: BTreeMap<u64, States>,
    length: u64,
    /// Lengths that a later one took the place of before a flush.
    former_lengths: Vec<u64>,
}

/// The states of a sector since the last flush, each with the write that made it; the first is durable.
#[derive(Debug)]
struct States(Vec<(u64, Sector)>);

impl States {
    fn last(&self) -> &Sector {
        &self.0.last().expect("a sector has at least its durable state").1
    }

    fn settle(&mut self) {
        self.0.drain(..self.0.len() - 1);
    }
}

impl Default for States {
    fn default() -> Self {
        States(vec![(0, [0; SECTOR])])
    }
}

impl File {
    fn write(&mut self, write: u64, offset: u64, data: &[u8]) {
        let mut at = 0;
        while at < data.len() {
            let position = offset + at as u64;
            let within = (position % SECTOR as u64) as usize;
            let part = (data.len() - at).min(SECTOR - within);
            let states = self.sectors.entry(position / SECTOR as u64).or_default();
            let mut sector = *states.last();
            sector[within..within + part].copy_from_slice(&data[at..at + part]);
            states.0.push((write, sector));
            at += part;
        }
        self.set_length(self.length.max(offset + data.len() as u64));
    }

    fn set_length(&mut self, length: u64) {
        if length != self.length {
            self.former_lengths.push(self.length);
            self.length = length;
        }
    }

    fn truncate(&mut self, write: u64, length: u64) {
        for (number, states) in self.sectors.range_mut(length / SECTOR as u64..) {
            let keep = length.saturating_sub(number * SECTOR as u64).min(SECTOR as u64) as usize;
            let mut sector = *states.last();
            sector[keep..].fill(0);
            if sector != *states.last() {
                states.0.push((write, sector));
            }
        }
        self.set_length(length);
    }

    fn flush(&mut self) {
        self.sectors.values_mut().for_each(States::settle);
        self.former_lengths.clear();
    }

    fn flush_write(&mut self, offset: u64, length: u64) {
        let last = (offset + length).div_ceil(SECTOR as u64);
        self.sectors.range_mut(offset / SECTOR as u64..last).for_each(|(_, states)| states.settle());
        self.former_lengths.clear();
    }

    /// What a cut leaves of the file.
    fn left(&self, fate: Fate, random: &mut Random) -> Vec<u8> {
        let lengths = self.former_lengths.len() + 1;
        let length = match fate {
            Fate::Nothing => *self.former_lengths.first().unwrap_or(&self.length),
            Fate::Everything => self.length,
            Fate::Writes(_) | Fate::Sectors => {
                *self.former_lengths.get(random.below(lengths)).unwrap_or(&self.length)
            }
        };
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        let mut kept_writes: HashMap<u64, bool> = HashMap::new();
        for (number, States(states)) in &self.sectors {
            let start = (*number as usize) * SECTOR;
            if start >= bytes.len() {
                break;
            }
            let state = match fate {
                Fate::Nothing => 0,
                Fate::Everything => states.len() - 1,
                Fate::Sectors => random.below(states.len()),
                Fate::Writes(percent) => {
                    let mut is_kept =
                        |write: u64| *kept_writes.entry(write).or_insert_with(|| random.chance(percent));
                    (1..states.len()).rev().find(|&at| is_kept(states[at].0)).unwrap_or(0)
                }
            };
            let end = bytes.len().min(start + SECTOR);
            bytes[start..end].copy_from_slice(&states[state].1[..end - start]);
        }
        bytes
    }
}

impl Disk {
    /// An empty disk; what is recorded lies below `root`, which is there.
    pub(crate) fn new(root: &Path) -> Disk {
        Disk {
            root: root.to_owned(),
            files: HashMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            writes: 0,
        }
    }

    /// Takes in what happened next.
    pub(crate) fn apply(&mut self, event: &Event) {
        self.writes += 1;
        let write = self.writes;
        match event {
            Event::Create { path, file } => {
                self.files.insert(*file, File::default());
                self.pending.push(NameChange::Add(path.clone(), Node::File(*file)));
            }
            Event::MakeDirectory { path } => {
                self.pending.push(NameChange::Add(path.clone(), Node::Directory));
            }
            Event::Write { file, offset, data } => self.file(*file).write(write, *offset, data),
            Event::Truncate { file, length } => self.file(*file).truncate(write, *length),
            Event::Flush { file } => self.file(*file).flush(),
            Event::FlushWrite { file, offset, length } => self.file(*file).flush_write(*offset, *length),
            Event::FlushDirectory { path } => {
                let (settled, pending) = std::mem::take(&mut self.pending)
                    .into_iter()
                    .partition(|change| change.names().iter().any(|name| name.parent() == Some(path)));
                self.pending = pending;
                for change in &settled {
                    change_names(&mut self.durable, change);
                }
            }
            Event::Rename { from, to } => {
                self.pending.push(NameChange::Rename(from.clone(), to.clone()));
            }
            Event::Unlink { path } => self.pending.push(NameChange::Remove(path.clone())),
            Event::Mark(_) => {}
        }
    }

    fn file(&mut self, file: u64) -> &mut File {
        self.files.get_mut(&file).expect("a file is created before it is used")
    }

    /// Writes what a cut leaves into a folder.
    pub(crate) fn write_image(&self, folder: &Path, fate: Fate, random: &mut Random) {
        let mut names = self.durable.clone();
        let mut lost: Vec<&NameChange> = Vec::new();
        for change in &self.pending {
            let is_kept = match fate {
                Fate::Nothing => false,
                Fate::Everything => true,
                Fate::Writes(_) | Fate::Sectors => random.chance(50),
            };
            let needs_lost = lost.iter().any(|lost| {
                lost.names().iter().any(|name| change.names().iter().any(|own| own.starts_with(name)))
            });
            if is_kept && !needs_lost {
                change_names(&mut names, change);
            } else {
                lost.push(change);
            }
        }
        for (path, node) in names {
            let path = folder.join(path.strip_prefix(&self.root).unwrap());
            // What lies in a directory that is lost is lost with it.
            if !path.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match node {
                Node::Directory => fs::create_dir(path).unwrap(),
                Node::File(file) => fs::write(path, self.files[&file].left(fate, random)).unwrap(),
            }
        }
    }
}

impl NameChange {
    fn names(&self) -> Vec<&Path> {
        match self {
            NameChange::Add(path, _) | NameChange::Remove(path) => vec![path],
            NameChange::Rename(from, to) => vec![from, to],
        }
    }
}

fn change_names(names: &mut BTreeMap<PathBuf, Node>, change: &NameChange) {
    match change {
        NameChange::Add(path, node) => {
            names.insert(path.clone(), *node);
        }
        NameChange::Rename(from, to) => {
            let node = names.remove(from).expect("a file is renamed after its name is there");
            names.insert(to.clone(), node);
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
    }
}
