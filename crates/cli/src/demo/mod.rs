//! `reconvene demo`: two devices and a server on this machine, real files, real sockets, real data.
//!
//! `cities` is the data, `stage` the server and the devices with the network between them, `import` the bulk of the work,
//! `conflicts` what both devices do while the network is cut, `outcome` what becomes of it, `check` the comparison of the
//! reopened directories, `report` what people see, `interrupt` the way out.

mod check;
mod cities;
mod conflicts;
mod import;
mod interrupt;
mod outcome;
mod report;
mod stage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::command::DEMO_COMMAND;
use crate::exit::{self, Exit};
use crate::messages;

use check::Checked;
use import::Import;
use interrupt::{Interrupt, Interrupted};
use report::Screen;
pub(crate) use report::grouped;
use stage::{Directories, Stage};

/// The fewest cities that leave each scene one of its own.
const OBJECTS_MIN: u64 = 100;

const OBJECTS: &str = "objects";
const KEEP: &str = "keep";
const SEED: &str = "seed";
const QUIET: &str = "quiet";

/// The subcommand with its options.
pub(crate) fn command() -> Command {
    Command::new(DEMO_COMMAND)
        .about("Shows sync at work on this machine: devices go offline and reconvene")
        .long_about(
            "Shows sync at work on this machine: a server and two devices, each with a directory of its own, connected by \
             real sockets.\n\n\
             Device A imports the cities of the world and device B watches them arrive. Then the network is cut, both go on \
             writing and get in each other's way. When the network is back, a table shows what each did, what everyone has \
             and by which law. In the end everything is closed, the three directories are opened again, and their contents \
             are compared by hash.",
        )
        .after_long_help(format!("The cities are from GeoNames (geonames.org), licence CC BY 4.0.\n\n{}", exit::COMMAND_HELP))
        .arg(
            Arg::new(OBJECTS)
                .long(OBJECTS)
                .value_name("NUMBER")
                .value_parser(value_parser!(u64).range(OBJECTS_MIN..=cities::CITIES as u64))
                .help(format!("How many cities device A imports [default: all {}]", grouped(cities::CITIES as u64))),
        )
        .arg(
            Arg::new(KEEP)
                .long(KEEP)
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Keeps the three directories in DIR, which must be new or empty")
                .long_help(
                    "Keeps the three directories in DIR, which must be new or empty. Otherwise they are temporary and removed \
                     in the end. They take some 200 MB with all cities.",
                ),
        )
        .arg(
            Arg::new(SEED)
                .long(SEED)
                .value_name("NUMBER")
                .value_parser(value_parser!(u64))
                .default_value("1")
                .help("Chooses the cities that are edited, and who edits last"),
        )
        .arg(Arg::new(QUIET).long(QUIET).action(ArgAction::SetTrue).help("Prints only the results, in the end"))
}

/// Runs the demo; [`Exit::Failure`] if the devices or the server differ, or something is not as the laws have it.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let directories = match matches.get_one::<PathBuf>(KEEP) {
        None => Directories::temporary()?,
        Some(directory) => match Directories::kept(directory) {
            Ok(directories) => directories,
            Err(error) => {
                messages::error(&format!("{error:#}"));
                return Ok(Exit::Usage);
            }
        },
    };
    let objects = matches.get_one::<u64>(OBJECTS).map_or(cities::CITIES, |&objects| objects as usize);
    let seed = matches.get_one::<u64>(SEED).copied().unwrap_or_default();
    let screen = Screen::new(matches.get_flag(QUIET));
    match play(&screen, &directories, objects, seed) {
        Err(error) if error.is::<Interrupted>() => {
            messages::note(&match &directories {
                Directories::Temporary(_) => "stopped; the temporary directories are removed".to_owned(),
                Directories::Kept(kept) => format!("stopped; what was written is in {}", kept.display()),
            });
            Ok(Exit::Failure)
        }
        result => result,
    }
}

fn play(screen: &Screen, directories: &Directories, objects: usize, seed: u64) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::watch()?;
    screen.say(&format!(
        "A server and two devices, A and B, with real sockets between them, in\n{}",
        directories.root().display()
    ));
    screen.say("The cities are from GeoNames (geonames.org), licence CC BY 4.0.\n");
    let mut cities = cities::read(objects)?;
    let stage = Stage::set(directories, &interrupt)?;

    let import = import::run(&stage, &mut cities, screen, &interrupt)?;
    let scenes = conflicts::Scenes::choose(&stage, &cities, seed)?;
    drop(cities);

    let connections = stage.cut()?;
    screen
        .say(&format!("\nThe network is cut: {connections} connections were reset. A and B go on writing.",));
    let played = scenes.play(&stage)?;
    screen.say(&format!(
        "{} changes wait on A, {} on B. The network is back.\n",
        stage.a.store.sync().undecided()?,
        stage.b.store.sync().undecided()?
    ));
    let back = Instant::now();
    stage.reconnect(&interrupt)?;
    let converged = back.elapsed();

    let outcomes = outcome::judge(&stage, &played)?;
    let refused = outcome::refused(&stage, &played)?;
    screen.say(&report::scenes(&outcomes, screen.is_terminal()));
    screen.say(&report::refused(&refused));
    let as_expected =
        outcomes.iter().all(|outcome| outcome.holds) && refused.iter().all(|refused| refused.expected);

    stage.close()?;
    let checked = check::reopen(directories)?;
    screen.result(results(&import, converged, &checked, as_expected).trim_end());
    let success = as_expected && checked.agree();
    if success {
        screen.say(NEXT);
    }
    Ok(if success { Exit::Success } else { Exit::Failure })
}

fn results(import: &Import, converged: Duration, checked: &Checked, as_expected: bool) -> String {
    let mut lines = format!(
        "import      {} objects/s into A, {} objects/s until B had all {}\n\
         on the wire {:.1} bytes/object from A to the server, {:.1} on to B, all overhead included\n\
         reconvened  {:.2} s after the network was back\n",
        grouped(import.per_second(import.committed)),
        grouped(import.per_second(import.arrived)),
        grouped(import.objects),
        import.bytes_per_object(import.bytes_from_a),
        import.bytes_per_object(import.bytes_to_b),
        converged.as_secs_f64(),
    );
    lines += &checked.lines();
    if !as_expected {
        lines += "FAILED: not everything came out as the laws have it; see the table without --quiet\n";
    }
    lines
}

/// What to try next.
const NEXT: &str = "
Next, a server and two devices in three terminals:
  cargo run --release --bin reconvene -- serve --unsecured-no-authentication \\
      --model examples/tasks/reconvene-model.json
  cargo run --release -p tasks -- watch
  cargo run --release -p tasks -- --directory other-device add \"Call the bank\"";
