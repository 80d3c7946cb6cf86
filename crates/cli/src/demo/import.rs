//! The bulk: device A imports the cities, and device B watches them arrive.

use std::fmt::Write;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::cities::City;
use super::interrupt::Interrupt;
use super::report::{Screen, grouped};
use super::stage::Stage;

/// The cities of one transaction: enough that flushing the disk does not count, and few enough to see B catch up.
const BATCH: usize = 2_000;

/// How the import went.
pub(crate) struct Import {
    pub(crate) objects: u64,
    /// Until A had committed them all.
    pub(crate) committed: Duration,
    /// Until B had committed them all.
    pub(crate) arrived: Duration,
    /// All that went over A's network, in both directions: what is sent, and what is answered.
    pub(crate) bytes_from_a: u64,
    /// All that went over B's network, in both directions.
    pub(crate) bytes_to_b: u64,
}

impl Import {
    pub(crate) fn per_second(&self, time: Duration) -> u64 {
        (self.objects as f64 / time.as_secs_f64()) as u64
    }

    pub(crate) fn bytes_per_object(&self, bytes: u64) -> f64 {
        bytes as f64 / self.objects as f64
    }
}

/// Puts the cities into A, where they get their ids, and waits until everyone has them.
pub(crate) fn run(
    stage: &Stage,
    cities: &mut [City],
    screen: &Screen,
    interrupt: &Interrupt,
) -> anyhow::Result<Import> {
    let objects = cities.len() as u64;
    let (on_a, on_b) = (stage.a.store.boxed::<City>()?, stage.b.store.boxed::<City>()?);
    let bytes_before = [bytes(stage).0, bytes(stage).1];
    let progress = Progress::new(screen, objects)?;

    let start = Instant::now();
    for batch in cities.chunks_mut(BATCH) {
        interrupt.check()?;
        on_a.put_many(batch)?;
        progress.a.inc(batch.len() as u64);
        progress.b.set_position(on_b.count()?);
    }
    let committed = start.elapsed();
    interrupt.wait_until("B has all cities", || {
        let arrived = on_b.count()?;
        progress.b.set_position(arrived);
        Ok((arrived == objects, arrived))
    })?;
    let arrived = start.elapsed();
    stage.settle(interrupt)?;
    progress.end();

    let (from_a, to_b) = bytes(stage);
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    screen.say(&format!("A has imported {} cities in {}.", grouped(objects), seconds(committed)));
    screen.say(&format!("B has them all after {}.", seconds(arrived)));
    Ok(Import {
        objects,
        committed,
        arrived,
        bytes_from_a: from_a - bytes_before[0],
        bytes_to_b: to_b - bytes_before[1],
    })
}

/// What went over A's and over B's network.
fn bytes(stage: &Stage) -> (u64, u64) {
    let [a, b] = [&stage.a, &stage.b].map(|device| {
        let counters = device.network.handle().counters();
        counters.bytes_up + counters.bytes_down
    });
    (a, b)
}

/// Two bars on standard error; they are only drawn on a terminal.
struct Progress {
    a: ProgressBar,
    b: ProgressBar,
}

impl Progress {
    fn new(screen: &Screen, objects: u64) -> anyhow::Result<Progress> {
        let target =
            if screen.is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bars = MultiProgress::with_draw_target(target);
        let rate = |state: &ProgressState, out: &mut dyn Write| {
            // A bar has nobody to tell that it cannot be drawn.
            let _ = write!(out, "{}/s", grouped(state.per_sec() as u64));
        };
        let style =
            ProgressStyle::with_template("{prefix:<10} [{bar:50}] {human_pos:>7} of {human_len}  {rate}")?
                .with_key("rate", rate)
                .progress_chars("=> ");
        let bar = |prefix: &'static str| {
            let bar = ProgressBar::new(objects).with_style(style.clone()).with_prefix(prefix);
            bars.add(bar)
        };
        Ok(Progress { a: bar("A imports"), b: bar("B receives") })
    }

    fn end(&self) {
        self.a.finish_and_clear();
        self.b.finish_and_clear();
    }
}
