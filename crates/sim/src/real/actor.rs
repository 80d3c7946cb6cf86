//! A process as the one who directs has it: started, told things, listened to, paused, given no room, killed.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::words::{Orders, Said, Told, line};

/// How many lines at the end of what a process wrote to standard error are shown.
const LAST_WORDS: usize = 12;

/// A running process; it is killed when this is dropped.
pub(super) struct Actor {
    child: Child,
    said: Receiver<Said>,
    errors: PathBuf,
    pub(super) is_paused: bool,
}

impl Actor {
    /// Starts a process that is what the orders say. What it writes to standard error is kept in `errors`.
    pub(super) fn start(program: &Path, orders: &Orders, errors: &Path) -> io::Result<Actor> {
        // The system ends a process that writes past its limit, unless the signal is ignored from the beginning.
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(program);
        command.args(["real-child", line(orders).trim_end()]);
        let stderr = OpenOptions::new().append(true).create(true).open(errors)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn()?;
        let out = child.stdout.take().ok_or_else(|| io::Error::other("there is no pipe to the process"))?;
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            // A line that a kill has parted is none, and is the last one.
            for text in BufReader::new(out).lines().map_while(Result::ok) {
                if let Ok(words) = serde_json::from_str(&text)
                    && sender.send(words).is_err()
                {
                    break;
                }
            }
        });
        Ok(Actor { child, said, errors: errors.to_owned(), is_paused: false })
    }

    /// What it says next, waited for so long.
    pub(super) fn hear(&self, patience: Duration) -> Option<Said> {
        self.said.recv_timeout(patience).ok()
    }

    /// All that a process has said which has ended.
    pub(super) fn hear_out(&self) -> Vec<Said> {
        let mut all = Vec::new();
        loop {
            match self.said.recv_timeout(Duration::from_secs(5)) {
                Ok(said) => all.push(said),
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => return all,
            }
        }
    }

    pub(super) fn tell(&mut self, told: Told) {
        if let Some(input) = &mut self.child.stdin {
            // Whether it has ended is seen elsewhere.
            let _ = input.write_all(line(&told).as_bytes());
        }
    }

    pub(super) fn pause(&mut self, on: bool) {
        let signal = if on { Signal::STOP } else { Signal::CONT };
        let _ = kill_process(Pid::from_child(&self.child), signal);
        self.is_paused = on;
    }

    /// Lets no file of the process grow beyond this length, or any length again.
    pub(super) fn limit(&self, bytes: Option<u64>) -> io::Result<()> {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit).map(drop).map_err(io::Error::from)
    }

    /// Ends it as a failing machine does.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it ended, if it did so by itself.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let how = match status.signal() {
            Some(signal) => format!("by signal {signal}"),
            None => format!("with {status}"),
        };
        Some(format!("{how}: {}", self.last_words()))
    }

    fn last_words(&self) -> String {
        let text = std::fs::read(&self.errors).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
    }
}
