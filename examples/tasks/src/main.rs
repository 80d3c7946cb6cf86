//! The classic to-do list: works offline, and syncs through a Reconvene server whenever one can be reached.
//!
//! Here are what is stored and the commands; `network` is how it is synced.

mod network;

use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::SystemTime;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use reconvene::{Condition, Date, Entity, EntityBox, Store};

use network::Network;

/// Something to do.
#[derive(Entity, Debug, Default)]
#[entity(sync)]
struct Task {
    /// Given by the store when the task is added; another device may know the same task by another id.
    id: u64,
    title: String,
    #[index]
    done: bool,
    created: Date,
}

/// A to-do list that works offline and syncs when it can.
#[derive(Parser)]
#[command(
    version,
    after_help = "Each device has a directory of its own; one program at a time writes to it."
)]
struct Arguments {
    /// Where this device keeps its tasks.
    #[arg(long, global = true, value_name = "DIR", default_value = "tasks-data", env = "TASKS_DIRECTORY")]
    directory: PathBuf,

    #[command(flatten)]
    network: Network,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Adds a task.
    Add { title: String },
    /// Marks a task as done.
    Done { id: u64 },
    /// Removes a task.
    Remove { id: u64 },
    /// Lists the tasks that are not done.
    List {
        /// Those that are done as well.
        #[arg(long)]
        all: bool,
    },
    /// Lists all tasks, and again whenever one changes here or elsewhere, until Ctrl+C.
    Watch,
    /// Prints the model of the data, which the server needs.
    Model,
}

fn main() -> anyhow::Result<()> {
    let Arguments { directory, network, command } = Arguments::parse();
    if let Command::Model = command {
        return print(&model()?);
    }
    let store = Store::builder(directory).entity::<Task>().open()?;
    let tasks = store.boxed::<Task>()?;
    match command {
        Command::Add { title } => {
            let id = tasks.put(&mut Task { title, created: SystemTime::now().into(), ..Task::default() })?;
            print(&format!("added {id}\n"))?;
        }
        Command::Done { id } => {
            tasks
                .update(id, |task| task.done = true)
                .with_context(|| format!("task {id} cannot be marked as done"))?;
            print(&format!("{id} is done\n"))?;
        }
        Command::Remove { id } => {
            ensure!(tasks.remove(id)?, "there is no task {id}");
            print(&format!("removed {id}\n"))?;
        }
        Command::List { all } => {
            // First what others have changed, then the list.
            let report = network.sync(&store)?;
            return print(&(list(&tasks, all)? + &report));
        }
        Command::Watch => return watch(&network, &store, &tasks),
        Command::Model => {}
    }
    print(&network.sync(&store)?)
}

fn watch(network: &Network, store: &Store, tasks: &EntityBox<Task>) -> anyhow::Result<()> {
    let (changed, changes) = mpsc::channel();
    let _subscription = tasks.observe(move |_| {
        // Nobody listens any more once the program ends.
        changed.send(()).ok();
    });
    // Dropping the client would end the connection.
    let _client = network.connect(store)?;
    print(&list(tasks, true)?)?;
    while changes.recv().is_ok() {
        // Changes that have come together make one list.
        while changes.try_recv().is_ok() {}
        print(&format!("\n{}", list(tasks, true)?))?;
    }
    Ok(())
}

fn list(tasks: &EntityBox<Task>, all: bool) -> anyhow::Result<String> {
    let wanted = if all { Condition::all() } else { Task::done().eq(false) };
    let mut lines = String::new();
    for task in tasks.query(wanted).order_by(Task::created()).find()? {
        let mark = if task.done { 'x' } else { ' ' };
        lines += &format!("{:>4} [{mark}] {}\n", task.id, task.title);
    }
    Ok(if lines.is_empty() { "nothing to do\n".to_owned() } else { lines })
}

/// The model file, in which the server finds what a task is.
fn model() -> anyhow::Result<String> {
    Ok(Store::builder("memory:").entity::<Task>().open()?.model().to_json())
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_model_file_is_the_one_of_the_struct() {
        let file = include_str!("../reconvene-model.json");
        assert_eq!(super::model().unwrap(), file, "write it anew with `tasks model`");
    }
}
