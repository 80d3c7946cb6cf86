//! What goes wrong: kills, pauses, networks, full disks, clocks.

use std::time::{Duration, Instant};

use super::scene::{Scene, broken, skew};
use super::words::Told;
use crate::chance::Chance;
use crate::finding::Outcome;
use crate::proxy::Direction;

/// The least and the most time from one mishap to the next, in milliseconds.
const APART_MS: (u64, u64) = (20, 500);

/// How long a fault that passes by itself lasts at most, in milliseconds.
const LASTS_MS: u64 = 4_000;

/// How often the processes are listened to.
const ATTENDED_EVERY: Duration = Duration::from_millis(10);

/// How a fault ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// A paused process goes on; the server's is `None`.
    GoesOn(Option<usize>),
    /// The network of a device is as it should be.
    NetworkIsBack(usize),
    /// There is room on a disk again.
    Room(Option<usize>),
    /// Who was killed is started again.
    Start,
}

/// Lets things go wrong for so long.
pub(super) fn trouble(scene: &mut Scene, chance: &mut Chance, time: Duration) -> Outcome<()> {
    let end = Instant::now() + time;
    let mut endings: Vec<(Instant, Ending)> = Vec::new();
    let mut next = Instant::now();
    while Instant::now() < end {
        scene.attend()?;
        let now = Instant::now();
        let due: Vec<Ending> =
            endings.extract_if(.., |(at, _)| *at <= now).map(|(_, ending)| ending).collect();
        for ending in due {
            finish(scene, chance, ending)?;
        }
        if now >= next {
            let lasts = Duration::from_millis(chance.below(LASTS_MS));
            if let Some(ending) = mishap(scene, chance)? {
                let lasts = if matches!(ending, Ending::Start) { lasts / 4 } else { lasts };
                endings.push((now + lasts, ending));
            }
            next = now + Duration::from_millis(APART_MS.0 + chance.below(APART_MS.1 - APART_MS.0));
        }
        std::thread::sleep(ATTENDED_EVERY);
    }
    Ok(())
}

fn finish(scene: &mut Scene, chance: &mut Chance, ending: Ending) -> Outcome<()> {
    match ending {
        Ending::GoesOn(who) => {
            if let Some(actor) = actor(scene, who) {
                actor.pause(false);
            }
        }
        Ending::NetworkIsBack(index) => {
            let healed = scene.devices[index].proxy.handle().heal();
            healed.map_err(|error| broken("the network", &error))?;
        }
        Ending::Room(who) => {
            if let Some(actor) = actor(scene, who) {
                actor.limit(None).map_err(|error| broken("a limit", &error))?;
            }
        }
        Ending::Start => {
            scene.upgrade(chance);
            scene.start_missing()?;
        }
    }
    Ok(())
}

/// Lets one thing go wrong; how it ends, if it does not end at once.
fn mishap(scene: &mut Scene, chance: &mut Chance) -> Outcome<Option<Ending>> {
    let index = chance.index(scene.devices.len());
    let who = (!chance.percent(25)).then_some(index);
    Ok(match chance.below(20) {
        0..=3 => {
            scene.counts.device_kills += 1;
            scene.kill_device(index)?;
            if chance.percent(60) {
                scene.look(index, false)?;
            }
            Some(Ending::Start)
        }
        4..=5 => {
            scene.counts.server_kills += 1;
            scene.kill_server();
            // Two that die at the same moment, as when the power fails, cannot help each other's memory.
            if chance.percent(30) {
                scene.counts.device_kills += 1;
                scene.kill_device(index)?;
            }
            Some(Ending::Start)
        }
        6..=7 => match actor(scene, who).filter(|actor| !actor.is_paused) {
            None => None,
            Some(actor) => {
                actor.pause(true);
                scene.counts.pauses += 1;
                Some(Ending::GoesOn(who))
            }
        },
        8..=9 => {
            let length = std::fs::metadata(scene.data_file(who)).map_or(0, |metadata| metadata.len());
            let room = chance.weighted(&[(2, 0), (2, 8_192), (1, 100_000)]);
            match actor(scene, who).filter(|_| length > 0) {
                None => None,
                Some(actor) => {
                    actor.limit(Some(length + room)).map_err(|error| broken("a limit", &error))?;
                    scene.counts.full_disks += 1;
                    scene.noted_limit(who);
                    Some(Ending::Room(who))
                }
            }
        }
        10..=11 => {
            let skew_ms = skew(chance);
            let device = &mut scene.devices[index];
            device.orders.skew_ms = skew_ms;
            if let Some(actor) = &mut device.actor {
                actor.tell(Told::Clock(skew_ms));
            }
            scene.counts.clocks += 1;
            None
        }
        _ => Some(network(scene, chance, index)?),
    })
}

fn network(scene: &mut Scene, chance: &mut Chance, index: usize) -> Outcome<Ending> {
    scene.counts.network_faults += 1;
    let handle = scene.devices[index].proxy.handle();
    let direction = if chance.percent(50) { Direction::Up } else { Direction::Down };
    match chance.below(8) {
        0 => handle.cut(),
        1 => handle.cut_after(direction, chance.below(20_000)),
        2 => handle.cut_each_after(direction, 1_500 + chance.below(30_000)),
        3 => handle.half_open(direction, true),
        4 => handle.stall(direction, true),
        5 => handle.throttle(direction, 2_000 + chance.below(50_000)),
        6 => handle.delay(direction, Duration::from_millis(chance.below(400))),
        _ => handle.refuse(true).map_err(|error| broken("the network", &error))?,
    }
    Ok(Ending::NetworkIsBack(index))
}

fn actor(scene: &mut Scene, who: Option<usize>) -> Option<&mut super::actor::Actor> {
    match who {
        Some(index) => scene.devices[index].actor.as_mut(),
        None => scene.server.as_mut(),
    }
}
