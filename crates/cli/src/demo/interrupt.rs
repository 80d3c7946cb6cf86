//! Ctrl+C: the first one ends the demo in good order, a second one at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::exit::Exit;

/// How often what is waited for is looked at: often enough that what is measured is not the waiting.
const LOOK: Duration = Duration::from_millis(2);

/// How long nothing at all may move before the demo gives up.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);

/// Whether somebody has asked to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

/// The error of what was interrupted.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped by Ctrl+C")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupt {
    /// Takes Ctrl+C over from the system's own handling.
    pub(crate) fn watch() -> anyhow::Result<Interrupt> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let interrupt = Interrupt(Arc::new(AtomicBool::new(false)));
        let asked = interrupt.0.clone();
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let watch = move || {
            runtime.block_on(async {
                let mut first = std::pin::pin!(tokio::signal::ctrl_c());
                // The first look is what takes the signal over; only then may the demo begin.
                tokio::select! {
                    biased;
                    _ = &mut first => return,
                    () = std::future::ready(()) => {}
                }
                // The receiver waits for exactly this.
                let _ = ready.send(());
                if first.await.is_ok() {
                    asked.store(true, Ordering::Release);
                    if tokio::signal::ctrl_c().await.is_ok() {
                        std::process::exit(i32::from(Exit::Failure as u8));
                    }
                }
            });
        };
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(watch)?;
        is_ready.recv().context("Ctrl+C cannot be watched for")?;
        Ok(interrupt)
    }

    /// [`Interrupted`] if somebody has asked to end.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.0.load(Ordering::Acquire) { Err(Interrupted) } else { Ok(()) }
    }

    /// Waits until `look` says that it is done; it gives a picture of how things stand, which must not stay the same for
    /// longer than [`STANDSTILL_MAX`].
    pub(crate) fn wait_until<P: PartialEq + fmt::Debug>(
        &self,
        what: &str,
        mut look: impl FnMut() -> anyhow::Result<(bool, P)>,
    ) -> anyhow::Result<()> {
        let mut last = None;
        let mut since = Instant::now();
        loop {
            self.check()?;
            let (done, picture) = look()?;
            if done {
                return Ok(());
            }
            let picture = Some(picture);
            if last != picture {
                last = picture;
                since = Instant::now();
            }
            anyhow::ensure!(
                since.elapsed() < STANDSTILL_MAX,
                "waiting until {what}, nothing moved for {} s: {last:?}",
                STANDSTILL_MAX.as_secs()
            );
            std::thread::sleep(LOOK);
        }
    }
}
