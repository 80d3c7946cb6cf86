//! Invents scenarios: what users do and what goes wrong meanwhile, from a seed.

use crate::chance::{Chance, mix};
use crate::scenario::{DevicePoint, Scenario, ServerPoint, Settings, Step, Timed, Write};
use crate::schema::Kind;

/// The devices of a run.
const DEVICES: usize = 5;

/// The transactions of a run: with what is in them, more than 500 things that users do.
const TRANSACTIONS: u64 = 470;

/// One run in so many has its stores in directories, and is a short one.
const ON_DISK_ONE_IN: u64 = 200;

/// What kind of trouble a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Hardly any.
    Calm,
    /// Networks that come and go.
    Network,
    /// Crashes everywhere.
    Crashes,
    /// Everything, among it copies and restored backups of devices.
    All,
    /// The server goes back to its backups, with much of the rest.
    Restores,
}

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let mut chance = Chance::new(seed);
    let on_disk = seed % ON_DISK_ONE_IN == ON_DISK_ONE_IN - 1;
    let trouble = chance.weighted(&[
        (2, Trouble::Calm),
        (3, Trouble::Network),
        (3, Trouble::Crashes),
        (2, Trouble::All),
        (2, Trouble::Restores),
    ]);
    let settings = settings(&mut chance, trouble, on_disk);
    let transactions = if on_disk { TRANSACTIONS / 4 } else { TRANSACTIONS };
    let steps = steps(&mut chance, seed, &settings, trouble, transactions);
    Scenario { seed, settings, steps }
}

fn settings(chance: &mut Chance, trouble: Trouble, on_disk: bool) -> Settings {
    let rough = trouble != Trouble::Calm;
    let mixed_versions = chance.percent(40);
    let version = |chance: &mut Chance| if mixed_versions && chance.percent(50) { 1 } else { 2 };
    // What two copies of a directory date anew apart is not told to be the same, so far clocks and copies do not meet.
    let far = chance.percent(3) && trouble != Trouble::All;
    Settings {
        devices: DEVICES,
        on_disk,
        server_version: version(chance),
        versions: (0..DEVICES).map(|_| version(chance)).collect(),
        skews: (0..DEVICES)
            .map(|device| {
                if far && device == 0 {
                    365 * 86_400_000
                } else if far && device == 1 {
                    -1_700_000_000_000
                } else {
                    chance.below(20_000).cast_signed() - 10_000
                }
            })
            .collect(),
        latency: chance.weighted(&[(3, 1), (3, 20), (1, 200)]),
        jitter: chance.weighted(&[(2, 0), (3, 30), (1, 500)]),
        frames_in_flight: chance.weighted(&[(2, 64), (2, 8), (1, 1)]),
        device_pause: chance.weighted(&[(3, 0), (3, 10), (1, 300)]),
        commit_time: chance.weighted(&[(3, 1), (2, 15), (1, 100)]),
        ring_bytes: chance.weighted(&[(3, 1 << 20), (2, 2_000), (1, 1)]),
        queue_bytes: chance.weighted(&[(3, 1 << 20), (2, 2_000), (1, 200)]),
        chunk_bytes: chance.weighted(&[(2, 1 << 16), (2, 1_000), (2, 150)]),
        window_txs: chance.weighted(&[(3, 256), (2, 4), (1, 1)]),
        twice_up: if rough {
            chance.weighted(&[(3, 0), (1, 20)]) + chance.weighted(&[(4, 0), (1, 10)])
        } else {
            0
        },
        // No transport doubles what it delivers. A server bears it; a device would wait for the end of a catch-up that is over.
        twice_down: 0,
    }
}

fn steps(
    chance: &mut Chance,
    seed: u64,
    settings: &Settings,
    trouble: Trouble,
    transactions: u64,
) -> Vec<Timed> {
    // How busy everybody is decides how much of what they do is concurrent.
    let pace = chance.weighted(&[(2, 20), (3, 120), (2, 600)]);
    // With few objects everybody meets on the same ones.
    let crowd = chance.weighted(&[(2, 3), (3, 12), (1, 255)]);
    let mut at = 50;
    let mut steps = Vec::new();
    let mut written = 0;
    // Who repeats himself does so beside what chance has in store for everybody else.
    let mut again = Chance::new(mix(&[seed, 1]));
    while written < transactions {
        at += chance.below(pace * 2);
        let device = chance.index(settings.devices);
        let step = if chance.percent(86) {
            written += 1;
            user_step(chance, device, crowd)
        } else {
            trouble_step(chance, trouble, device, settings.devices)
        };
        let Some(step) = step else { continue };
        let times = if writes_over(&step) && again.percent(15) { 2 + again.below(4) } else { 1 };
        steps.extend((0..times).map(|_| Timed { at, step: step.clone() }));
    }
    steps
}

/// Whether it only changes what is there, so that who does it again writes over it.
fn writes_over(step: &Step) -> bool {
    let changes =
        |write: &Write| matches!(write, Write::Set { .. } | Write::Link { .. } | Write::Stage { .. });
    matches!(step, Step::Write { writes, .. } if writes.iter().all(changes))
}

fn user_step(chance: &mut Chance, device: usize, crowd: u64) -> Option<Step> {
    let pick = |chance: &mut Chance| u8::try_from(chance.below(crowd)).unwrap_or(u8::MAX);
    Some(match chance.below(20) {
        0 => Step::Hold { device, pick: pick(chance) },
        1 => Step::PutHeld { device },
        2 => Step::Look { device },
        _ => {
            let count = chance.weighted(&[(6, 1), (2, 2), (1, 4), (1, 7)]);
            let writes = (0..count).map(|_| write(chance, &pick)).collect();
            Step::Write { device, writes, abort: chance.percent(3) }
        }
    })
}

fn write(chance: &mut Chance, pick: &dyn Fn(&mut Chance) -> u8) -> Write {
    let kind = chance.weighted(&[
        (2, Kind::Folder),
        (5, Kind::Note),
        (3, Kind::Form),
        (4, Kind::Setting),
        (3, Kind::Sale),
        (3, Kind::Report),
    ]);
    let code = |chance: &mut Chance| chance.percent(60).then(|| pick(chance) % 8);
    match chance.below(25) {
        0..=5 => {
            let (pick, code) = (pick(chance), chance.percent(25).then(|| chance.below(8) as u8));
            Write::Insert { kind, pick, code: code.filter(|_| kind == Kind::Note) }
        }
        6..=14 => {
            Write::Set { kind, pick: pick(chance), fields: 1 << chance.below(4) | chance.below(16) as u8 & 5 }
        }
        15..=16 => Write::Code { pick: pick(chance), code: code(chance) },
        17..=18 => {
            let (pick, folder) = (pick(chance), chance.percent(80).then(|| pick(chance)));
            Write::Link { pick, folder }
        }
        19..=20 => {
            let kind =
                chance.weighted(&[(1, Kind::Form), (1, Kind::Setting), (1, Kind::Sale), (1, Kind::Report)]);
            Write::Again { kind, pick: pick(chance) }
        }
        21 => Write::Stage {
            pick: pick(chance),
            stage: chance.percent(90).then(|| u8::try_from(chance.below(6)).unwrap_or(0)),
        },
        _ => Write::Remove { kind, pick: pick(chance) },
    }
}

fn trouble_step(chance: &mut Chance, trouble: Trouble, device: usize, devices: usize) -> Option<Step> {
    let network = |chance: &mut Chance| match chance.below(9) {
        0..=1 => Step::Network { device, on: false },
        2..=4 => Step::Network { device, on: true },
        5 => Step::Cut { device, told_server: chance.percent(50), told_device: chance.percent(50) },
        6 => Step::Silence { device, up: chance.percent(50) },
        7 => Step::Stall { device, up: chance.percent(50), ms: chance.below(20_000) },
        _ => match chance.below(2) {
            0 => Step::Throttle { device, ms: chance.weighted(&[(2, 0), (1, 5), (1, 200)]) },
            _ => Step::Busy { device, ms: chance.below(20_000) },
        },
    };
    let crash = |chance: &mut Chance| {
        let down = chance.weighted(&[(3, 50), (2, 2_000), (1, 40_000)]);
        if chance.percent(70) {
            let at = DevicePoint::ALL[chance.index(DevicePoint::ALL.len())];
            Step::Crash { device, at, down }
        } else {
            let at = ServerPoint::ALL[chance.index(ServerPoint::ALL.len())];
            Step::CrashServer { at, down: down.min(5_000) }
        }
    };
    let other = |chance: &mut Chance| match chance.below(12) {
        0..=1 => Step::Upgrade { device },
        2 => Step::UpgradeServer,
        3..=5 => Step::Clock { device, by: chance.below(40_000).cast_signed() - 20_000 },
        6..=8 => Step::Backup { device },
        9 => Step::Restore { device },
        10 if chance.percent(20) => Step::Copy { device, onto: chance.index(devices) },
        _ => Step::Look { device },
    };
    if trouble != Trouble::Calm && chance.percent(8) {
        return Some(Step::Stranger { dice: chance.below(u64::MAX >> 16) });
    }
    match trouble {
        Trouble::Calm if chance.percent(80) => None,
        Trouble::Calm => Some(network(chance)),
        Trouble::Network => Some(network(chance)),
        // Further than a server takes.
        Trouble::Crashes if chance.percent(6) => {
            Some(Step::Clock { device, by: chance.below(1_200_000).cast_signed() - 600_000 })
        }
        Trouble::Crashes => Some(if chance.percent(60) { crash(chance) } else { network(chance) }),
        Trouble::Restores => Some(match chance.below(10) {
            0..=2 => network(chance),
            3..=5 => crash(chance),
            6..=7 => Step::BackupServer,
            8 => Step::RestoreServer,
            _ => match chance.below(3) {
                0 => Step::Upgrade { device },
                1 => Step::Clock { device, by: chance.below(40_000).cast_signed() - 20_000 },
                _ => Step::Look { device },
            },
        }),
        Trouble::All => Some(match chance.below(3) {
            0 => network(chance),
            1 => crash(chance),
            _ => other(chance),
        }),
    }
}
