//! Cuts the power at many moments and looks at what is left with the real store.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use reconvene_store::{Durability, Store};

use crate::disk::{Disk, Fate, Random};
use crate::log::{Event, Mark};
use crate::peers::{ALIKE, Peers, SERVER, STORES, content, object};

/// What is known of a store at the moment of a cut.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The contents after the steps that returned, and whether they were flushed; equal neighbours count once.
    returned: Vec<(String, bool)>,
    /// The version of the schema with the newest step that has begun.
    version: Option<u32>,
    /// The step that has begun and not returned.
    in_flight: Option<usize>,
}

impl Known {
    fn take_in(&mut self, mark: &Mark) {
        match mark {
            Mark::Begin { step, version, .. } => {
                (self.in_flight, self.version) = (Some(*step), Some(*version));
            }
            Mark::Done { flushed, content, .. } => {
                self.in_flight = None;
                match self.returned.last_mut() {
                    Some((last, was_flushed)) if last == content => *was_flushed |= flushed,
                    _ => self.returned.push((content.clone(), *flushed)),
                }
            }
        }
    }

    /// The contents that a cut may leave.
    fn allowed<'k>(&'k self, later: &'k HashMap<usize, String>, durability: Durability) -> Vec<&'k String> {
        let mut allowed: Vec<&String> =
            self.returned.last().map(|(content, _)| content).into_iter().collect();
        if durability == Durability::Relaxed
            && let [.., (before, _), (_, false)] = &self.returned[..]
        {
            allowed.push(before);
        }
        allowed.extend(self.in_flight.and_then(|step| later.get(&step)));
        allowed
    }
}

/// Cuts the power `images` times; the first thing that is wrong ends it.
pub(crate) fn run(
    root: &Path,
    events: &[Event],
    durability: Durability,
    seed: u64,
    images: usize,
) -> Result<(), String> {
    let mut later: [HashMap<usize, String>; STORES] = Default::default();
    let mut returns = Vec::new();
    for (at, event) in events.iter().enumerate() {
        if let Event::Mark(Mark::Done { store, step, content, .. }) = event {
            later[*store].insert(*step, content.clone());
            returns.push(at);
        }
    }
    let mut disk = Disk::new(root);
    let mut known: [Known; STORES] = Default::default();
    let mut random = Random::new(seed);
    let mut cuts = cuts(events.len(), returns, images, &mut random).into_iter().peekable();
    for (at, event) in events.iter().enumerate() {
        disk.apply(event);
        if let Event::Mark(mark) = event {
            let (Mark::Begin { store, .. } | Mark::Done { store, .. }) = mark;
            known[*store].take_in(mark);
        }
        while let Some((_, fate)) = cuts.next_if(|(cut, _)| *cut == at) {
            let what: String = format!("{event:?}").chars().take(70).collect();
            println!("\nafter event {at} of {}, {what}: {fate:?}", events.len());
            let folder = folder();
            disk.write_image(folder.path(), fate, &mut random);
            look(folder.path(), &known, &later, durability)?;
        }
    }
    Ok(())
}

/// When to cut, and what is left then: after each return as often as elsewhere.
fn cuts(events: usize, mut returns: Vec<usize>, images: usize, random: &mut Random) -> Vec<(usize, Fate)> {
    const FATES: [Fate; 7] = [
        Fate::Sectors,
        Fate::Nothing,
        Fate::Writes(50),
        Fate::Sectors,
        Fate::Writes(90),
        Fate::Everything,
        Fate::Writes(10),
    ];
    for at in (1..returns.len()).rev() {
        returns.swap(at, random.below(at + 1));
    }
    let mut cuts: Vec<_> = (0..images)
        .map(|image| {
            let at = match image % 2 {
                0 => returns[image / 2 % returns.len()],
                _ => random.below(events),
            };
            (at, FATES[random.below(FATES.len())])
        })
        .collect();
    cuts.sort_by_key(|(at, _)| *at);
    cuts
}

/// A folder in memory, where there is one: what these tests flush need not survive anything.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn look(
    folder: &Path,
    known: &[Known; STORES],
    later: &[HashMap<usize, String>; STORES],
    durability: Durability,
) -> Result<(), String> {
    let mut peers = Peers::new(folder, durability, None);
    for (store, known) in known.iter().enumerate() {
        let Some(version) = known.version else { continue };
        peers.open(store, version).map_err(|error| format!("store {store} does not open: {error}"))?;
        let allowed = known.allowed(&later[store], durability);
        let found = content(peers.store(store));
        if !known.returned.is_empty() && !allowed.contains(&&found) {
            let expected = allowed.iter().map(|content| difference(content, &found)).collect::<Vec<_>>();
            return Err(format!("store {store} lost or changed something: {}", expected.join(" or ")));
        }
        sound(peers.store(store)).map_err(|finding| format!("store {store}: {finding}"))?;
    }
    if known.iter().any(|known| known.version.is_none()) {
        return Ok(());
    }
    // Work goes on: what is put now stays, and what everyone has still fits together.
    for (device, known) in known.iter().enumerate().skip(1) {
        let store = peers.store(device);
        let mut task = object(0, "after the cut", 1, "Task");
        let id = store.objects("Task").and_then(|tasks| tasks.put(&mut task)).map_err(|e| e.to_string())?;
        let version = known.version.unwrap();
        peers.close(device);
        peers.open(device, version).map_err(|error| error.to_string())?;
        let found = peers.store(device).objects("Task").unwrap().contains(id).unwrap();
        assert!(found, "what was put after the cut is gone");
    }
    let same_version = known.iter().all(|other| other.version == known[SERVER].version);
    let is_alike = known[SERVER].version.is_some_and(|version| version <= ALIKE);
    if durability == Durability::Full && same_version && is_alike {
        peers.agree().map_err(|error| format!("after a sync: {error}"))?;
    }
    (0..STORES).try_for_each(|store| sound(peers.store(store)))
}

fn sound(store: &Store) -> Result<(), String> {
    let findings = store.check().map_err(|error| error.to_string())?;
    findings.first().map_or(Ok(()), |finding| Err(format!("{finding} ({} findings)", findings.len())))
}

/// The first line in which two contents differ.
fn difference(expected: &str, found: &str) -> String {
    let lines = expected.lines().map(Some).chain(std::iter::repeat(None));
    let found = found.lines().map(Some).chain([None]);
    let differs = lines.zip(found).find(|(expected, found)| expected != found);
    format!("{:.200?}", differs)
}

/// Checks that the shim has seen everything: with all of it the disk is what the folder is.
pub(crate) fn check_complete(root: &Path, events: &[Event]) {
    let mut disk = Disk::new(root);
    events.iter().for_each(|event| disk.apply(event));
    let folder = folder();
    disk.write_image(folder.path(), Fate::Everything, &mut Random::new(0));
    let (real, drawn) = (files(root, root), files(folder.path(), folder.path()));
    let names = |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&real), names(&drawn));
    for ((name, real), (_, drawn)) in real.iter().zip(&drawn) {
        // LMDB writes to its lock file through a memory map, and makes it anew where it is not in use.
        assert!(name.ends_with("lock.mdb") || real == drawn, "the shim has missed a write to {name:?}");
    }
}

fn files(root: &Path, folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(root, &path));
        } else {
            found.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}
