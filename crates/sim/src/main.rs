//! The simulator's command line.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks on its standard streams"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use reconvene_sim::{Coverage, Scenario, runner, workload};

const HELP: &str = "\
Simulates devices and a server in virtual time and tries to break the promises of Reconvene.

Usage: reconvene-sim [options]
       reconvene-sim real [--minutes N] [--seed S]

Options:
  --seeds N      How many seeds to run (1000 unless told).
  --start N      The first seed (1 unless told).
  --minutes N    Runs for so long instead of a number of seeds.
  --seed S       Runs this seed alone.
  --replay FILE  Runs the scenario in this file alone.
  --planted      Plants each known mistake and looks for the first seed that finds it; needs the feature
                 `planted-faults`.
  --plant NAME   With `real`: plants this mistake; needs the feature `planted-faults`.
  --trace        With --seed or --replay: tells what happens, step by step.
  --help         This text.

`real` starts a server and devices as processes, over loopback and with everything that befalls real ones; the same auditor
judges. It runs for 1 minute unless told; S says what goes wrong, but not to the moment. What fails stays where it lies.

A seed that fails is made shorter and written to standard output; kept under crates/sim/regressions/, it becomes a test.
Exit codes: 0 all held, 1 something did not, 2 the command was not understood.
";

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Options {
    seeds: Option<u64>,
    start: Option<u64>,
    minutes: Option<u64>,
    seed: Option<u64>,
    replay: Option<String>,
    plant: Option<String>,
    trace: bool,
    planted: bool,
    help: bool,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if let Some(word) = arguments.next_if(|word| word.starts_with("real")) {
        return real(&word, arguments);
    }
    let options = match parse(arguments) {
        Ok(options) => options,
        Err(message) => return mistaken(&message),
    };
    if options.help {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    // A panic of the product is a finding, told once and in its place.
    std::panic::set_hook(Box::new(|_| {}));
    if options.planted {
        return planted(&options);
    }
    let held = match (&options.replay, options.seed) {
        (Some(file), _) => match std::fs::read_to_string(file)
            .map_err(|error| error.to_string())
            .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()))
        {
            Ok(scenario) => one(&scenario, options.trace),
            Err(error) => {
                eprintln!("error: {file}: {error}");
                return ExitCode::from(2);
            }
        },
        (None, Some(seed)) => one(&workload::scenario(seed), options.trace),
        (None, None) => many(&options),
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("`{text}` is not a number"));
        match argument.as_str() {
            "--seeds" => options.seeds = Some(number(value()?)?),
            "--start" => options.start = Some(number(value()?)?),
            "--minutes" => options.minutes = Some(number(value()?)?),
            "--seed" => options.seed = Some(number(value()?)?),
            "--replay" => options.replay = Some(value()?),
            "--plant" => options.plant = Some(value()?),
            "--trace" => options.trace = true,
            "--planted" => options.planted = true,
            "--help" | "-h" => options.help = true,
            other => return Err(format!("there is no option `{other}`")),
        }
    }
    Ok(options)
}

/// Runs real processes, or is one of them.
#[cfg(target_os = "linux")]
fn real(word: &str, mut arguments: impl Iterator<Item = String>) -> ExitCode {
    use reconvene_sim::real;

    if word == "real-child" {
        return match real::child(&arguments.next().unwrap_or_default()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let options = match parse(arguments) {
        Ok(options) if word == "real" => options,
        Ok(_) => return mistaken(&format!("there is no command `{word}`")),
        Err(message) => return mistaken(&message),
    };
    if options.help {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return mistaken(&format!("this program cannot be found: {error}")),
    };
    let seed = options.seed.unwrap_or(1);
    let time = Duration::from_secs(60 * options.minutes.unwrap_or(1));
    println!("seed {seed}, for {} s", time.as_secs());
    let start = Instant::now();
    let report = real::run(&real::Options { program, seed, time, planted: options.plant }, &mut |line| {
        println!("{:.0} s: {line}", start.elapsed().as_secs_f64());
    });
    println!("{}", report.counts);
    match report.finding {
        None => {
            println!("all held");
            ExitCode::SUCCESS
        }
        Some((finding, directory)) => {
            println!("{finding}\neverything lies in {}", directory.display());
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn real(_: &str, _: impl Iterator<Item = String>) -> ExitCode {
    mistaken("real processes are run on Linux only: their disks are filled by its limits")
}

/// Says what was not understood.
fn mistaken(message: &str) -> ExitCode {
    eprintln!("error: {message}\n\n{HELP}");
    ExitCode::from(2)
}

/// Runs one scenario and tells how it went; whether all held.
fn one(scenario: &Scenario, trace: bool) -> bool {
    let report = runner::run(scenario, trace);
    print!("{}", report.story);
    match report.finding {
        None => {
            println!("seed {}: all held", scenario.seed);
            true
        }
        Some(finding) => {
            println!("seed {}: {finding}", scenario.seed);
            false
        }
    }
}

/// Runs many seeds; whether all held.
fn many(options: &Options) -> bool {
    let first = options.start.unwrap_or(1);
    let count = if options.minutes.is_some() { u64::MAX } else { options.seeds.unwrap_or(1000) };
    let end = options.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let (start, mut told) = (Instant::now(), Instant::now());
    let mut coverage = Coverage::default();
    println!("from seed {first}");
    let mut done = 0;
    for seed in (first..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let scenario = workload::scenario(seed);
        let report = runner::run(&scenario, false);
        done += 1;
        if let Some(finding) = report.finding {
            println!("seed {seed}: {finding}");
            fail(&scenario, &finding);
            return false;
        }
        coverage.add(report.coverage);
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            println!("{done} seeds, {:.1} in a second", done as f64 / start.elapsed().as_secs_f64());
        }
        if end.is_some_and(|end| start.elapsed() >= end) {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", coverage.table());
    println!(
        "{done} seeds in {seconds:.1} s: {:.0} in a minute; a seed is {} things that users did in {} transactions, {} of \
         them accepted",
        done as f64 * 60.0 / seconds,
        coverage.deeds / done,
        coverage.txs / done,
        coverage.positions / done
    );
    for point in coverage.points_missed() {
        println!("nothing crashed at: {point}");
    }
    for (one, other, count) in coverage.pairs_below(100) {
        println!("met only {count} times: {} and {}", one.name(), other.name());
    }
    true
}

/// Plants each mistake and tells which seed finds it.
#[cfg(feature = "planted-faults")]
fn planted(options: &Options) -> ExitCode {
    use reconvene_model::planted::{Planted, plant};

    let first = options.start.unwrap_or(1);
    let seeds = options.seeds.unwrap_or(2000);
    let mut missed = 0;
    for mistake in Planted::ALL {
        plant(Some(mistake));
        let start = Instant::now();
        let found = (first..first + seeds).find_map(|seed| {
            runner::run(&workload::scenario(seed), false).finding.map(|finding| (seed, finding))
        });
        plant(None);
        match found {
            Some((seed, finding)) => {
                println!("{mistake:?}: seed {seed}, {:.1} s: {}", start.elapsed().as_secs_f64(), finding.law);
            }
            None => {
                missed += 1;
                println!("{mistake:?}: not found in {seeds} seeds");
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "planted-faults"))]
fn planted(_: &Options) -> ExitCode {
    eprintln!("error: this program was built without the feature `planted-faults`");
    ExitCode::from(2)
}

/// Makes a failing scenario shorter and writes it down.
fn fail(scenario: &Scenario, finding: &reconvene_sim::Finding) {
    println!("making it shorter");
    let (scenario, finding) = runner::shrink(scenario, finding);
    println!("{} steps: {finding}", scenario.steps.len());
    match serde_json::to_string(&scenario) {
        Ok(text) => println!("{text}"),
        Err(error) => println!("the scenario cannot be written down: {error}"),
    }
    println!("{}", runner::run(&scenario, true).story);
}
