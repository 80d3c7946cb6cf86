//! Real processes: a server and devices over loopback through the faulty proxy, killed, paused, without room on their disks and with
//! clocks that are wrong; the auditor of the simulator judges what they leave behind.
//!
//! `child` is a process, and `user` what its user does; `words` are what passes between it and the one who directs. `actor` is a process
//! from outside, `scene` all of them with what the auditor knows, `history` what the server decided; `mishaps` go wrong.

mod actor;
mod child;
mod history;
mod mishaps;
mod scene;
mod user;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use child::child;

use crate::chance::{Chance, mix};
use crate::finding::{Finding, Outcome};
use scene::{Scene, broken};

/// How long a world lives before another one begins, in which everything is otherwise.
const WORLD: Duration = Duration::from_secs(120);

/// How long things go wrong before everybody comes together.
const TROUBLE: Duration = Duration::from_secs(20);

/// How many devices there are.
const DEVICES: usize = 4;

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program that this one belongs to: it is started anew for the server and for each device.
    pub program: PathBuf,
    /// What goes wrong follows from it; when exactly the processes meet it does not.
    pub seed: u64,
    /// For how long.
    pub time: Duration,
    /// The mistake that the processes make on purpose, if the program has the feature `planted-faults`.
    pub planted: Option<String>,
}

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Worlds that were begun.
    pub worlds: u64,
    /// Transactions that devices committed.
    pub transactions: u64,
    /// Transactions that servers accepted.
    pub accepted: u64,
    /// How often a server was killed.
    pub server_kills: u64,
    /// How often a device was killed, but for the kills at the end of meetings.
    pub device_kills: u64,
    /// How often a process was paused.
    pub pauses: u64,
    /// How often a network was cut, silenced, stalled, throttled, delayed or refused.
    pub network_faults: u64,
    /// How often a disk had no room.
    pub full_disks: u64,
    /// Writes of users that found no room.
    pub writes_without_room: u64,
    /// Devices that were started anew because a full disk had left their stores spent.
    pub spent: u64,
    /// How often a clock was set.
    pub clocks: u64,
    /// Transactions that were dated anew.
    pub redated: u64,
    /// Transactions in whose place their authors committed others before they were sent.
    pub left_out: u64,
    /// How often the auditor looked into what a device had left behind.
    pub looks: u64,
    /// How often everybody came together.
    pub meetings: u64,
    /// Where the history of the present world ends.
    decided: u64,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.worlds += 1;
        self.transactions += other.transactions;
        self.accepted += other.decided;
        self.server_kills += other.server_kills;
        self.device_kills += other.device_kills;
        self.pauses += other.pauses;
        self.network_faults += other.network_faults;
        self.full_disks += other.full_disks;
        self.writes_without_room += other.writes_without_room;
        self.spent += other.spent;
        self.clocks += other.clocks;
        self.redated += other.redated;
        self.left_out += other.left_out;
        self.looks += other.looks;
        self.meetings += other.meetings;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} transactions in {} worlds, {} of them accepted; {} kills of devices and {} of servers, {} pauses, {} network faults, \
             {} disks without room for {} writes and {} spent stores, {} clocks set and {} transactions dated anew; {} transactions left out, {} looks into what was left behind, \
             {} meetings",
            self.transactions,
            self.worlds,
            self.accepted,
            self.device_kills,
            self.server_kills,
            self.pauses,
            self.network_faults,
            self.full_disks,
            self.writes_without_room,
            self.spent,
            self.clocks,
            self.redated,
            self.left_out,
            self.looks,
            self.meetings
        )
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// What happened.
    pub counts: Counts,
    /// What did not hold, if anything, and where everything lies as it was then.
    pub finding: Option<(Finding, PathBuf)>,
}

/// Runs one world after the other until the time is up or something does not hold; `tell` hears how far it is.
pub fn run(options: &Options, tell: &mut dyn FnMut(&str)) -> Report {
    let end = Instant::now() + options.time;
    let mut counts = Counts::default();
    while Instant::now() < end {
        let time = WORLD.min(end.saturating_duration_since(Instant::now()));
        let directory = match tempfile::tempdir() {
            Ok(directory) => directory,
            Err(error) => {
                let finding = broken("there is no temporary directory", &error);
                return Report { counts, finding: Some((finding, PathBuf::new())) };
            }
        };
        let mut chance = Chance::new(mix(&[options.seed, counts.worlds]));
        let (ran, happened) = world(options, directory.path(), &mut chance, time);
        counts.add(&happened);
        if let Err(finding) = ran {
            return Report { counts, finding: Some((finding, directory.keep())) };
        }
        tell(&counts.to_string());
    }
    Report { counts, finding: None }
}

/// One world from beginning to end, and what happened in it.
fn world(options: &Options, directory: &Path, chance: &mut Chance, time: Duration) -> (Outcome<()>, Counts) {
    let planted = options.planted.as_deref();
    let mut scene = match Scene::start(&options.program, directory, DEVICES, planted, chance) {
        Ok(scene) => scene,
        Err(finding) => return (Err(finding), Counts::default()),
    };
    let end = Instant::now() + time;
    let mut live = || loop {
        let left = end.saturating_duration_since(Instant::now());
        mishaps::trouble(&mut scene, chance, TROUBLE.min(left))?;
        let goes_on = Instant::now() < end;
        scene.meet(goes_on, chance)?;
        if !goes_on {
            return Ok(());
        }
    };
    let ran = live();
    (ran, scene.counts)
}
