//! Everything that runs in one simulation, in virtual time: devices, the server, the network between them, and the auditor
//! who watches.

mod committer;
mod corruption;
mod device;
mod engine;
mod expiry;
mod link;
mod mishaps;
mod restores;
mod server;
mod stranger;
mod user;
mod watch;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::audit::device::{Births, Uids, uid_of};
use crate::audit::truth::Truth;
use crate::coverage::Coverage;
use crate::finding::{Outcome, check, found};
use crate::scenario::{DevicePoint, Scenario, ServerPoint, Step};
use crate::schema::Kind;

use device::Device;
use server::Server;

/// The server's clock at the start, in milliseconds since 1970.
const START_MS: u64 = 1_800_000_000_000;

/// How long everybody may take to agree once nothing goes wrong any more, in milliseconds.
const SETTLE_MS: u64 = 600_000;

/// How many events a run may have: far more than any that ends.
const EVENTS_MAX: u64 = 2_000_000;

/// A connection, by a number of its own.
pub(crate) type ConnId = u64;

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    Step(usize),
    /// A device tries to connect.
    Connect {
        device: usize,
        attempt: u64,
    },
    /// The server accepts a connection.
    Accept {
        device: usize,
        conn: ConnId,
    },
    /// A frame arrives.
    Up {
        conn: ConnId,
        frame: Bytes,
    },
    Down {
        device: usize,
        conn: ConnId,
        frame: Bytes,
    },
    /// A side learns that the connection is gone.
    EndAtServer {
        conn: ConnId,
    },
    EndAtDevice {
        device: usize,
        conn: ConnId,
    },
    /// A device looks at what arrived.
    Turn {
        device: usize,
        conn: ConnId,
    },
    DeviceTimer {
        device: usize,
        conn: ConnId,
    },
    ServerTimer {
        conn: ConnId,
    },
    /// The server does something that takes time.
    Judge {
        conn: ConnId,
    },
    Chunk {
        conn: ConnId,
    },
    Set {
        conn: ConnId,
        from: u64,
    },
    Commit {
        boot: u64,
    },
    /// Somebody starts again.
    DeviceUp {
        device: usize,
    },
    ServerUp,
    /// The server looks for removals that are old enough to be forgotten.
    Expire,
}

struct Queued {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One simulation.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) now: u64,
    clock: Arc<AtomicU64>,
    queue: BinaryHeap<Reverse<Queued>>,
    order: u64,
    pub(crate) server: Server,
    pub(crate) devices: Vec<Device>,
    pub(crate) truth: Truth,
    /// The histories that were lost when the server was restored, by their epochs, as they were then.
    pub(crate) former: HashMap<u64, Rc<Truth>>,
    pub(crate) births: Births,
    uids: Uids,
    /// The last number that a user wrote: every one of them is new.
    last_value: i64,
    last_conn: ConnId,
    pub(crate) coverage: Coverage,
    /// Whether some value was changed on purpose, past everybody.
    is_corrupted: bool,
    /// The story so far, if somebody wants to read it.
    story: Option<String>,
    /// Kept until the world ends.
    _directory: Option<tempfile::TempDir>,
}

/// Adds a line to the story; nothing is put into words if nobody reads it.
macro_rules! tell {
    ($world:expr, $($text:tt)*) => {
        if $world.is_told() {
            $world.tell(&format!($($text)*));
        }
    };
}
pub(crate) use tell;

impl World {
    /// The world before the first step.
    pub(crate) fn new(scenario: Scenario, with_story: bool) -> Outcome<World> {
        let clock = Arc::new(AtomicU64::new(START_MS));
        let directory = match scenario.settings.on_disk {
            true => Some(tempfile::tempdir().map_err(|error| {
                crate::finding::Finding::new("directory", format!("there is no temporary directory: {error}"))
            })?),
            false => None,
        };
        let root = directory.as_ref().map(tempfile::TempDir::path);
        let server = Server::new(&scenario, root, clock.clone())?;
        let devices = (0..scenario.settings.devices)
            .map(|index| Device::new(index, &scenario, root, clock.clone()))
            .collect::<Outcome<Vec<_>>>()?;
        Ok(World {
            now: 0,
            clock,
            queue: BinaryHeap::new(),
            order: 0,
            server,
            devices,
            truth: Truth::new(uid_of(Kind::Note, "code")),
            former: HashMap::new(),
            births: Births::new(),
            uids: Uids::new(),
            last_value: 0,
            last_conn: 0,
            coverage: Coverage::default(),
            is_corrupted: false,
            story: with_story.then(String::new),
            _directory: directory,
            scenario,
        })
    }

    /// Takes all steps, then lets everybody come together, and looks at everything.
    pub(crate) fn run(&mut self) -> Outcome<()> {
        for device in 0..self.devices.len() {
            self.after(1 + device as u64, Event::Connect { device, attempt: 0 });
        }
        for step in 0..self.scenario.steps.len() {
            let at = self.scenario.steps[step].at;
            self.at(at, Event::Step(step));
        }
        self.plan_expiry();
        let end = self.scenario.steps.last().map_or(0, |step| step.at) + 1;
        self.run_until(end, false)?;
        self.heal()?;
        if !self.run_until(end + SETTLE_MS, true)? {
            return found("everybody comes together", self.who_is_not_settled());
        }
        self.check_end()?;
        self.corrupt_and_heal()
    }

    pub(crate) fn story(&mut self) -> String {
        self.story.take().unwrap_or_default()
    }

    pub(crate) fn is_told(&self) -> bool {
        self.story.is_some()
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let now = self.now;
        if let Some(story) = &mut self.story {
            // Writing to a string cannot fail.
            let _ = writeln!(story, "{:>7}.{:03}  {line}", now / 1000, now % 1000);
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Queued { at: at.max(self.now), order: self.order, event }));
    }

    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now + ms, event);
    }

    /// The time as the sessions count it.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    /// Whether everybody had come together before the time was up.
    fn run_until(&mut self, end: u64, until_settled: bool) -> Outcome<bool> {
        let mut events = 0;
        loop {
            if until_settled && self.is_settled()? {
                return Ok(true);
            }
            let due = self.queue.peek().map(|Reverse(queued)| queued.at);
            let Some(due) = due.filter(|&due| due <= end) else {
                self.set_time(end);
                return Ok(false);
            };
            self.set_time(due);
            // Asking whether all is settled costs more than most events do.
            while let Some(Reverse(queued)) = self.queue.peek()
                && queued.at == due
            {
                let Some(Reverse(queued)) = self.queue.pop() else { break };
                events += 1;
                if events > EVENTS_MAX {
                    return found("work ends", format!("{EVENTS_MAX} things happened and there is no end"));
                }
                self.happen(queued.event)?;
            }
        }
    }

    fn set_time(&mut self, now: u64) {
        self.now = now;
        self.clock.store(START_MS + now, Ordering::Relaxed);
    }

    fn happen(&mut self, event: Event) -> Outcome<()> {
        match event {
            Event::Step(step) => {
                let step = self.scenario.steps[step].step.clone();
                self.step(step)
            }
            Event::Connect { device, attempt } => self.connect(device, attempt),
            Event::Accept { device, conn } => self.accept(device, conn),
            Event::Up { conn, frame } => self.frame_up(conn, frame),
            Event::Down { device, conn, frame } => self.frame_down(device, conn, frame),
            Event::EndAtServer { conn } => self.end_at_server(conn),
            Event::EndAtDevice { device, conn } => self.end_at_device(device, conn),
            Event::Turn { device, conn } => self.turn(device, conn),
            Event::DeviceTimer { device, conn } => self.device_timer(device, conn),
            Event::ServerTimer { conn } => self.server_timer(conn),
            Event::Judge { conn } => self.judge(conn),
            Event::Chunk { conn } => self.chunk(conn),
            Event::Set { conn, from } => self.find_set(conn, from),
            Event::Commit { boot } => self.commit(boot),
            Event::DeviceUp { device } => self.device_up(device),
            Event::ServerUp => self.server_up(),
            Event::Expire => self.expire(),
        }
    }

    fn step(&mut self, step: Step) -> Outcome<()> {
        if self.is_told() {
            self.tell(&format!("-- {}", serde_json::to_string(&step).unwrap_or_default()));
        }
        match step {
            Step::Write { device, writes, abort } => self.user_writes(device, &writes, abort),
            Step::Hold { device, pick } => self.user_holds(device, pick),
            Step::PutHeld { device } => self.user_puts_held(device),
            Step::Network { device, on } => self.network(device, on),
            Step::Cut { device, told_server, told_device } => {
                self.coverage.fault("network: cut");
                self.cut(device, told_server, told_device);
                Ok(())
            }
            Step::Silence { device, up } => {
                self.coverage.fault(if up {
                    "network: silent to the server"
                } else {
                    "network: silent to the device"
                });
                let link = &mut self.devices[device].link;
                (if up { &mut link.up } else { &mut link.down }).silent = true;
                Ok(())
            }
            Step::Stall { device, up, ms } => {
                self.coverage.fault(if up {
                    "network: stalled to the server"
                } else {
                    "network: stalled to the device"
                });
                let until = self.now + ms;
                let link = &mut self.devices[device].link;
                (if up { &mut link.up } else { &mut link.down }).stalled_until = until;
                Ok(())
            }
            Step::Throttle { device, ms } => {
                self.coverage.fault("network: throttled");
                self.devices[device].link.throttle = ms;
                Ok(())
            }
            Step::Busy { device, ms } => {
                self.coverage.fault("device: slow to look");
                self.devices[device].busy_until = self.now + ms;
                Ok(())
            }
            Step::Crash { device, at: DevicePoint::Idle, down } => {
                if self.devices[device].store.is_some() {
                    self.coverage.fault(DevicePoint::Idle.name());
                    self.crash_device(device, None, down);
                }
                Ok(())
            }
            Step::Crash { device, at, down } => {
                self.devices[device].crash_at = Some((at, down));
                Ok(())
            }
            Step::CrashServer { at: ServerPoint::Idle, down } => {
                if self.server.is_up() {
                    self.coverage.fault(ServerPoint::Idle.name());
                    self.crash_server(down);
                }
                Ok(())
            }
            Step::CrashServer { at, down } => {
                self.server.crash_at = Some((at, down));
                Ok(())
            }
            Step::Backup { device } => self.backup(device),
            Step::BackupServer => self.backup_server(),
            Step::RestoreServer => self.restore_server(),
            Step::Restore { device } => self.restore(device),
            Step::Copy { device, onto } => self.copy(device, onto),
            Step::Clock { device, by } => {
                self.coverage.fault(if by > 0 { "clock: jumps ahead" } else { "clock: is set back" });
                self.devices[device].move_clock(by);
                Ok(())
            }
            Step::Upgrade { device } => self.upgrade(device),
            Step::UpgradeServer => self.upgrade_server(),
            Step::Stranger { dice } => self.stranger(dice),
            Step::Look { device } => self.look(device),
        }
    }

    /// From here on nothing goes wrong any more.
    fn heal(&mut self) -> Outcome<()> {
        tell!(self, "== from here on nothing goes wrong");
        let settings = &mut self.scenario.settings;
        (settings.twice_up, settings.twice_down) = (0, 0);
        self.server.crash_at = None;
        for device in 0..self.devices.len() {
            self.devices[device].crash_at = None;
            self.devices[device].busy_until = 0;
            self.devices[device].link.throttle = 0;
            self.network(device, true)?;
        }
        Ok(())
    }

    /// Whether everybody who can has everything.
    fn is_settled(&self) -> Outcome<bool> {
        if !self.server.is_up() || self.server.has_work() {
            return Ok(false);
        }
        let epoch = self.server.store()?.sync().epoch().map_err(server::unreadable)?;
        for device in &self.devices {
            if !device.is_settled(epoch, self.truth.head)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn who_is_not_settled(&self) -> String {
        let mut text = format!("after {} s, with a history of {}: ", SETTLE_MS / 1000, self.truth.head);
        for device in &self.devices {
            let _ = write!(text, "{}; ", device.describe());
        }
        text
    }

    fn check_end(&mut self) -> Outcome<()> {
        self.check_server()?;
        let expected = self.server.content_hash()?;
        for device in 0..self.devices.len() {
            self.look(device)?;
            let this = &self.devices[device];
            let Some(store) = &this.store else { continue };
            let failed =
                |error| crate::finding::Finding::new("store readable", format!("device {device}: {error}"));
            let problems = store.check().map_err(failed)?;
            check(problems.is_empty(), "stores are sound", || format!("device {device}: {problems:?}"))?;
            if this.gave_up.is_some() {
                continue;
            }
            let undecided = store.sync().undecided().map_err(failed)?;
            check(undecided == 0, "the outbox drains", || {
                format!("device {device} still has {undecided} transactions in its outbox")
            })?;
            let hash = store.sync().content_hash().map_err(failed)?;
            check(hash == expected, "all agree", || {
                format!("device {device} differs from the server although every object looks right")
            })?;
        }
        self.count_pairs();
        Ok(())
    }

    fn count_pairs(&mut self) {
        self.coverage.count_pairs(&self.truth);
        self.coverage.positions += self.truth.head;
    }
}
