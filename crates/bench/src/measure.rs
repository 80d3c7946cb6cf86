//! Pairs of ours and the floor, interleaved, and what is made of them.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What one operation took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Processor time of all threads of this process.
    pub(crate) cpu: Duration,
    /// Time on the clock.
    pub(crate) wall: Duration,
}

/// Measures a closure.
pub(crate) fn cost<R>(run: impl FnOnce() -> anyhow::Result<R>) -> anyhow::Result<(Cost, R)> {
    let (wall, cpu) = (Instant::now(), cpu_time());
    let result = run()?;
    Ok((Cost { cpu: cpu_time().saturating_sub(cpu), wall: wall.elapsed() }, result))
}

/// The processor time that this process has used so far.
pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// What a row is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) suite: &'static str,
    pub(crate) name: &'static str,
    /// How many objects one operation covers, or are in the store.
    pub(crate) objects: u64,
    pub(crate) durability: &'static str,
    pub(crate) unit: &'static str,
    /// How many times the floor is allowed; none for rows that only inform.
    pub(crate) target: Option<f64>,
}

/// One line of the result.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    /// The median of ours, in the subject's unit.
    pub(crate) value: f64,
    /// The median of the floor.
    pub(crate) floor: f64,
    /// The ratio of each pair, ascending.
    pub(crate) ratios: Vec<f64>,
}

impl Row {
    /// A row from ours and the floor, pair by pair.
    pub(crate) fn new(subject: Subject, pairs: &[(f64, f64)]) -> Row {
        let sorted = |of: &dyn Fn(&(f64, f64)) -> f64| {
            let mut numbers: Vec<f64> = pairs.iter().map(of).collect();
            numbers.sort_by(f64::total_cmp);
            numbers
        };
        Row {
            subject,
            value: quantile(&sorted(&|pair| pair.0), 0.5),
            floor: quantile(&sorted(&|pair| pair.1), 0.5),
            ratios: sorted(&|pair| pair.0 / pair.1),
        }
    }

    /// The lower quartile of the ratios, which decides: noise only ever makes a ratio worse for one side by chance, and a
    /// single lucky pair does not pass.
    pub(crate) fn ratio(&self) -> f64 {
        quantile(&self.ratios, 0.25)
    }

    /// The median of the ratios.
    pub(crate) fn median_ratio(&self) -> f64 {
        quantile(&self.ratios, 0.5)
    }

    /// Whether the target is met; rows without one always are.
    pub(crate) fn ok(&self) -> bool {
        self.subject.target.is_none_or(|target| self.ratio() <= target)
    }
}

/// The number below which this part of ascending numbers lies, one of the numbers themselves; NaN if there are none.
pub(crate) fn quantile(ascending: &[f64], part: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else { return f64::NAN };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "part is between 0 and 1")]
    let at = (last as f64 * part).floor() as usize;
    ascending[at]
}

/// Measures pairs; the floor goes first in every other one, so that neither always finds the warmer machine.
pub(crate) fn pairs(
    count: usize,
    mut ours: impl FnMut() -> anyhow::Result<f64>,
    mut floor: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<(f64, f64)>> {
    (0..count)
        .map(|at| {
            if at % 2 == 0 {
                let ours = ours()?;
                Ok((ours, floor()?))
            } else {
                let floor = floor()?;
                Ok((ours()?, floor))
            }
        })
        .collect()
}

/// Nanoseconds for each of `count`.
pub(crate) fn nanos_each(time: Duration, count: usize) -> f64 {
    time.as_nanos() as f64 / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(target: f64, pairs: &[(f64, f64)]) -> Row {
        let target = Some(target);
        let subject = Subject { suite: "s", name: "n", objects: 1, durability: "full", unit: "ns", target };
        Row::new(subject, pairs)
    }

    #[test]
    fn the_lower_quartile_of_the_ratios_decides() {
        let pairs = [(30.0, 10.0), (12.0, 10.0), (11.0, 10.0), (20.0, 10.0), (13.0, 10.0)];
        let row_at = |target| row(target, &pairs);
        assert_eq!((row_at(1.2).ratio(), row_at(1.2).median_ratio()), (1.2, 1.3));
        assert!(row_at(1.2).ok() && !row_at(1.19).ok());
        assert_eq!((row_at(1.0).value, row_at(1.0).floor), (13.0, 10.0));
    }

    #[test]
    fn pairs_are_interleaved() {
        let order = std::cell::RefCell::new(String::new());
        let side = |name: char| {
            order.borrow_mut().push(name);
            Ok(1.0)
        };
        assert_eq!(pairs(3, || side('o'), || side('f')).unwrap().len(), 3);
        assert_eq!(*order.borrow(), "offoof");
    }

    #[test]
    fn work_costs_processor_time() {
        let (cost, sum) = cost(|| Ok((0..2_000_000_u64).map(std::hint::black_box).sum::<u64>())).unwrap();
        assert!(sum > 0 && cost.cpu > Duration::ZERO && cost.wall > Duration::ZERO);
    }
}
