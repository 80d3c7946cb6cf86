//! One connection: moves frames between the socket and the driver, and passes on what came of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::SplitStream;
use futures_util::{FutureExt, StreamExt};
use reconvene_protocol::{Backoff, Closed, ClosedBy, Code};
use reconvene_socket::{FRAMES_OUT_MAX, Meter, Socket};
use reconvene_store::StoreError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use crate::driver::{APPLY_BYTES, APPLY_FRAMES, Driver, Progress};
use crate::engine::Shared;
use crate::event::SyncEvent;
use crate::status::State;

/// How long the server may take to accept a frame before the connection counts as lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the farewell may take to leave.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Drives a session until it ends; returns how. Times are counted from `start`.
pub(crate) async fn drive(
    shared: &Arc<Shared>,
    socket: Socket,
    backoff: &mut Backoff,
    start: Instant,
) -> Closed {
    let driver =
        Driver::new(&shared.store, shared.protocol.clone(), shared.credentials.clone(), start.elapsed());
    let driver = match driver {
        Ok(driver) => driver,
        Err(error) => return failed(&error),
    };
    let meter = socket.get_ref().meter().clone();
    let (sink, stream) = socket.split();
    let (frames, queue) = mpsc::channel(FRAMES_OUT_MAX);
    let mut connection = Connection {
        shared,
        driver,
        start,
        stream,
        signs_of_life: meter.signs_of_life(),
        meter,
        frames: Some(frames),
        backoff,
    };
    let writer = tokio::spawn(reconvene_socket::write(sink, queue, SEND_TIMEOUT));
    connection.run().await;
    let closed = connection.driver.closed().cloned();
    connection.say_goodbye(writer).await;
    closed.unwrap_or_else(|| Closed {
        by: ClosedBy::Link,
        code: Code::LinkLost,
        reason: "the connection ended".to_owned(),
    })
}

fn failed(error: &StoreError) -> Closed {
    Closed { by: ClosedBy::Us, code: Code::ClientFailed, reason: error.to_string() }
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    driver: Driver,
    start: Instant,
    stream: SplitStream<Socket>,
    meter: Arc<Meter>,
    /// What the meter showed when it was last looked at.
    signs_of_life: u64,
    /// `None` once the farewell is on its way.
    frames: Option<mpsc::Sender<Bytes>>,
    backoff: &'a mut Backoff,
}

impl Connection<'_> {
    async fn run(&mut self) {
        while self.driver.closed().is_none() {
            if self.shared.is_stopping() {
                self.driver.session().close(Code::Done, "the client was stopped");
            }
            if self.shared.take_outbox_grew() {
                self.driver.session().handle_local_commit();
            }
            self.carry_out();
            if self.driver.closed().is_some() {
                return;
            }
            let Some(frames) = self.frames.clone() else { return };
            while frames.capacity() > 0 {
                let Some(frame) = self.driver.poll_message() else { break };
                self.shared.status.update(|status| status.bytes_sent += frame.len() as u64);
                if frames.try_send(frame).is_err() {
                    self.driver.session().handle_disconnected("the connection was lost while sending");
                }
            }
            if self.driver.session().is_closed() {
                continue;
            }
            // With the queue full, the session may have more to say as soon as there is room.
            let full = frames.capacity() == 0;
            let timeout = self.driver.poll_timeout().map(|at| self.start + at);
            tokio::select! {
                message = self.stream.next() => self.receive(message),
                () = self.shared.wake.notified() => {}
                _ = frames.reserve(), if full => {}
                () = frames.closed() => self.driver.session().handle_disconnected("the server takes nothing more"),
                () = sleep_until(timeout) => self.time_is_up(),
            }
        }
    }

    /// Acts on deadlines; a connection on which bytes still move is slow, not dead.
    fn time_is_up(&mut self) {
        let signs = self.meter.signs_of_life();
        if std::mem::replace(&mut self.signs_of_life, signs) != signs {
            self.driver.session().handle_progress(self.start.elapsed());
        }
        self.driver.session().handle_timeout(self.start.elapsed());
    }

    /// Takes one message and those that are already here, so that they share one commit.
    fn receive(&mut self, first: Option<Result<Message, SocketError>>) {
        let mut next = Some(first);
        let mut frames = 0;
        let mut bytes = 0;
        while let Some(message) = next.take() {
            match message {
                Some(Ok(Message::Binary(frame))) => {
                    frames += 1;
                    bytes += frame.len();
                    self.driver.session().handle_frame(frame, self.start.elapsed());
                }
                Some(Ok(Message::Close(_))) | None => {
                    self.driver.session().handle_disconnected("the server closed the connection")
                }
                Some(Ok(Message::Text(_))) => {
                    self.driver.session().close(Code::FrameInvalid, "messages of this protocol are binary");
                }
                Some(Ok(_)) => {}
                Some(Err(SocketError::Capacity(error))) => {
                    self.driver.session().close(Code::FrameTooLong, &error.to_string());
                }
                Some(Err(error)) => self.driver.session().handle_disconnected(&error.to_string()),
            }
            if self.driver.session().is_closed() || bytes >= APPLY_BYTES || frames >= APPLY_FRAMES {
                break;
            }
            next = self.stream.next().now_or_never();
        }
        self.shared.status.update(|status| status.bytes_received += bytes as u64);
    }

    /// Carries out what the session asks for and passes on what came of it.
    fn carry_out(&mut self) {
        let (shared, backoff, now) = (self.shared, &mut *self.backoff, self.start.elapsed());
        self.driver.carry_out(now, &mut |progress| match progress {
            Progress::LoggedIn => {
                backoff.handle_login(now);
                shared.status.update(|status| status.state = State::CatchingUp);
                shared.tell(&SyncEvent::LoggedIn);
            }
            Progress::Renewed(renewed) => {
                let (former, peer, reissued) = (renewed.former, renewed.peer, renewed.reissued);
                shared.tell(&SyncEvent::Renamed { former, peer, reissued });
            }
            Progress::Comparing(progress) => {
                shared.tell(&SyncEvent::Comparing { objects: progress.objects, missing: progress.missing });
            }
            Progress::Diverged(_) => {
                shared.status.update(|status| status.divergences += 1);
                shared.tell(&SyncEvent::Diverged { times: shared.store.sync().divergences() });
            }
            Progress::Advanced => backoff.handle_progress(),
            Progress::CaughtUp(seq) => {
                shared.status.update(|status| status.state = State::Live);
                shared.tell(&SyncEvent::CaughtUp { seq });
            }
            Progress::Applied { objects, rejected, conflicts } => {
                // Also wakes those who wait for the outbox to be empty.
                shared.status.update(|status| status.objects_applied += objects);
                if !rejected.is_empty() {
                    shared.tell(&SyncEvent::Rejected { numbers: rejected });
                }
                shared.tell_conflicts(&conflicts);
                if objects > 0 {
                    match shared.store.sync().cursor() {
                        Ok(cursor) => shared.tell(&SyncEvent::Applied { objects, seq: cursor.seq }),
                        Err(error) => tracing::error!(%error, "the cursor could not be read after a commit"),
                    }
                }
            }
        });
    }

    /// Sends what the session still has to say and closes the connection.
    async fn say_goodbye(&mut self, writer: JoinHandle<Result<(), SocketError>>) {
        let abort = writer.abort_handle();
        if let Some(frames) = self.frames.take() {
            while let Some(frame) = self.driver.poll_message() {
                if tokio::time::timeout(FAREWELL_TIMEOUT, frames.send(frame)).await.is_err() {
                    break;
                }
            }
        }
        if tokio::time::timeout(FAREWELL_TIMEOUT, writer).await.is_err() {
            abort.abort();
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
