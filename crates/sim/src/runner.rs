//! Runs scenarios, one or many, and makes failing ones shorter.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::finding::Finding;
use crate::scenario::Scenario;
use crate::world::World;

/// How often a failing scenario is tried again to make it shorter.
const SHRINK_RUNS_MAX: usize = 4_000;

/// For how long.
const SHRINK_TIME_MAX: Duration = Duration::from_secs(60);

/// What came of a run.
pub struct Report {
    /// What it came across; of a run that failed, up to there.
    pub coverage: Coverage,
    /// What did not hold, if anything.
    pub finding: Option<Finding>,
    /// The story, if it was asked for.
    pub story: String,
}

/// Runs one scenario to its end.
pub fn run(scenario: &Scenario, with_story: bool) -> Report {
    let mut coverage = Coverage::default();
    let mut story = String::new();
    let ran = panic::catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(scenario.clone(), with_story)?;
        let outcome = world.run();
        coverage = std::mem::take(&mut world.coverage);
        story = world.story();
        outcome
    }));
    let finding = match ran {
        Ok(Ok(())) => None,
        Ok(Err(finding)) => Some(finding),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(Finding::new("nothing panics", text.unwrap_or_default()))
        }
    };
    Report { coverage, finding, story }
}

/// Makes a failing scenario shorter while the same law does not hold.
pub fn shrink(scenario: &Scenario, finding: &Finding) -> (Scenario, Finding) {
    let start = Instant::now();
    let mut runs = 0;
    let mut best = (scenario.clone(), finding.clone());
    let mut attempt = |candidate: Scenario, best: &mut (Scenario, Finding)| {
        runs += 1;
        if runs > SHRINK_RUNS_MAX || start.elapsed() > SHRINK_TIME_MAX {
            return None;
        }
        let found = run(&candidate, false).finding.filter(|found| found.law == finding.law);
        let fails = found.is_some();
        if let Some(found) = found {
            *best = (candidate, found);
        }
        Some(fails)
    };
    let mut size = best.0.steps.len().div_ceil(2);
    'all: while size > 0 {
        let mut from = 0;
        let before = best.0.steps.len();
        while from < best.0.steps.len() {
            let mut candidate = best.0.clone();
            let to = (from + size).min(candidate.steps.len());
            candidate.steps.drain(from..to);
            match attempt(candidate, &mut best) {
                Some(true) => {}
                Some(false) => from += size,
                None => break 'all,
            }
        }
        // At the smallest size, going on pays as long as anything was dropped.
        if size > 1 || best.0.steps.len() == before {
            size /= 2;
        }
    }
    simplify(&mut best, &mut attempt);
    best
}

/// Tries a candidate: whether it fails as well, in which case it becomes the best; `None` when no more may be tried.
type Attempt<'a> = dyn FnMut(Scenario, &mut (Scenario, Finding)) -> Option<bool> + 'a;

/// Drops writes within transactions, devices' versions and what the network does by itself.
fn simplify(best: &mut (Scenario, Finding), attempt: &mut Attempt<'_>) {
    use crate::scenario::Step;
    for step in (0..best.0.steps.len()).rev() {
        let mut at = 0;
        loop {
            let mut candidate = best.0.clone();
            let Step::Write { writes, .. } = &mut candidate.steps[step].step else { break };
            if writes.len() < 2 || at >= writes.len() {
                break;
            }
            writes.remove(at);
            match attempt(candidate, best) {
                Some(true) => {}
                Some(false) => at += 1,
                None => return,
            }
        }
    }
    let plainer: [fn(&mut Scenario); 8] = [
        |s| (s.settings.twice_up, s.settings.twice_down) = (0, 0),
        |s| (s.settings.server_version, s.settings.versions) = (2, vec![2; s.settings.devices]),
        |s| s.settings.skews = vec![0; s.settings.devices],
        |s| s.settings.jitter = 0,
        |s| (s.settings.ring_bytes, s.settings.queue_bytes) = (1 << 20, 1 << 20),
        |s| s.settings.chunk_bytes = 1 << 16,
        |s| (s.settings.window_txs, s.settings.frames_in_flight) = (256, 64),
        |s| s.settings.on_disk = false,
    ];
    for change in plainer {
        let mut candidate = best.0.clone();
        change(&mut candidate);
        if candidate != best.0 && attempt(candidate, best).is_none() {
            return;
        }
    }
}
