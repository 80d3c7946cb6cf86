//! Looking into a database in a process of its own.
//!
//! The data file is mapped into memory, so that damage to its structure, or a disk that fails, can end the process that
//! reads it. So a child process reads, and this one tells how that ended.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Context;
use reconvene::Store;

use crate::exit::Exit;
use crate::messages;

/// In the environment of the process that reads, so that it does not start another one.
const READER: &str = "RECONVENE_READER";

/// The code with which a process ends that panicked.
const PANICKED: i32 = 101;

/// The signals by which a system or a C library ends a process that met something impossible: SIGILL, SIGABRT, SIGBUS,
/// SIGFPE and SIGSEGV; SIGBUS has another number on some systems.
const ENDED_BY_DAMAGE: [i32; 6] = [4, 6, 7, 8, 10, 11];

/// Runs `read` in a child process: this program once more, with the same arguments.
///
/// # Errors
///
/// If the child process cannot be started. What `read` has to say, it says itself.
pub(crate) fn run(directory: &Path, read: impl FnOnce() -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    if std::env::var_os(READER).is_some() {
        end_with_parent();
        return read();
    }
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(READER, "1")
        .stdin(Stdio::piped())
        .spawn()
        .context("the process that reads the database cannot be started")?;
    // Held until the child has ended: it sees the pipe closed if this process ends before it.
    let _alive = child.stdin.take();
    let status = child.wait().context("the process that reads the database is lost")?;
    match status.code() {
        Some(0) => return Ok(Exit::Success),
        Some(2) => return Ok(Exit::Usage),
        Some(code) if code != PANICKED => return Ok(Exit::Failure),
        _ => {}
    }
    messages::error(&ended(directory, status));
    Ok(Exit::Failure)
}

fn ended(directory: &Path, status: ExitStatus) -> String {
    if status.signal().is_some_and(|signal| !ENDED_BY_DAMAGE.contains(&signal)) {
        return format!("the process that read the database was ended ({status})");
    }
    format!(
        "the process that read {} was ended ({status}), so the file is damaged; run \"reconvene check {}\" to see \
         where, and restore a backup",
        directory.join(Store::DATA_FILE).display(),
        directory.display()
    )
}

/// Ends this process, which has nobody left to work for, when the one that started it has ended.
fn end_with_parent() {
    std::thread::spawn(|| {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        std::process::exit(Exit::Failure as i32);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_from_being_stopped() {
        let directory = Path::new("data");
        for (signal, damaged) in [(11, true), (7, true), (6, true), (15, false), (9, false), (2, false)] {
            let text = ended(directory, ExitStatus::from_raw(signal));
            assert_eq!(text.contains("run \"reconvene check data\""), damaged, "{text}");
        }
    }
}
