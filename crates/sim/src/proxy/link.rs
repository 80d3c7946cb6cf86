//! One connection through the proxy: two sockets, and a pump for each direction that obeys the faults.
//!
//! Whatever ends the task, the sockets are closed by a reset, unless both directions came to a regular end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Direction;
use super::shared::{AllFaults, CutDue, Faults, Shared};

/// The largest piece, in bytes, in which a connection is read.
pub const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// Pieces that wait in the proxy, for each connection and direction; then it stops reading.
pub const CHUNKS_QUEUED_MAX: usize = 64;

/// The longest delay; a longer one counts as this.
pub const DELAY_MAX: Duration = Duration::from_secs(3600);

/// A throttled direction writes about so many pieces a second: few enough to be cheap, many enough to look even.
const THROTTLED_WRITES_PER_SECOND: u64 = 50;

/// Carries one connection until both sides ended it, one broke it, or the task is aborted by a cut.
pub(super) async fn run(mut client: TcpStream, shared: Arc<Shared>) {
    let _open = CountedOpen::new(&shared);
    let Ok(mut target) = connect(shared.target()).await else { return };
    // Without this, small messages would wait for acknowledgements, which nobody asked for as a fault. A socket that
    // is dead already may refuse the option; the pumps meet the reason when they use it.
    let _ = client.set_nodelay(true);
    let _ = target.set_nodelay(true);

    let (client_read, client_write) = client.split();
    let (target_read, target_write) = target.split();
    let ended = tokio::try_join!(
        pump(Direction::Up, client_read, target_write, &shared),
        pump(Direction::Down, target_read, client_write, &shared),
    );
    if ended.is_ok() {
        end_regularly(&client);
        end_regularly(&target);
    }
}

/// Connects by a socket that ends with a reset from its first moment: a cut may come before the task learns that the
/// connection stands.
async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_zero_linger()?;
    socket.connect(target).await
}

/// Lets the socket deliver what it still holds when it is closed: both directions came to their end.
fn end_regularly(stream: &TcpStream) {
    #[expect(deprecated, reason = "only lingering blocks, and this is the way to switch it off")]
    let switched_off = stream.set_linger(None);
    // A socket that refuses is dead already.
    let _ = switched_off;
}

/// Counts a connection as open for as long as its task lives.
struct CountedOpen<'a>(&'a Shared);

impl<'a> CountedOpen<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.count(|counters| counters.open += 1);
        Self(shared)
    }
}

impl Drop for CountedOpen<'_> {
    fn drop(&mut self) {
        self.0.count(|counters| counters.open -= 1);
    }
}

/// The connection must end with a reset of both sides.
#[derive(Debug)]
struct Broken;

/// What was read, and when.
struct Arrival {
    at: Instant,
    what: Piece,
}

enum Piece {
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// Carries one direction to its end.
async fn pump(
    direction: Direction,
    source: ReadHalf<'_>,
    sink: WriteHalf<'_>,
    shared: &Shared,
) -> Result<(), Broken> {
    let (sender, arrivals) = mpsc::channel(CHUNKS_QUEUED_MAX);
    let mut writer = Writer {
        direction,
        sink,
        shared,
        faults: shared.faults(),
        lost_something: false,
        passed: 0,
        next_write: Instant::now(),
    };
    tokio::select! {
        ended = writer.run(arrivals) => ended,
        () = read(source, sender) => unreachable!("reading never ends before the writer does"),
    }
}

/// Queues what comes in, with its time, and then waits to be dropped together with the writer.
async fn read(mut source: ReadHalf<'_>, arrivals: mpsc::Sender<Arrival>) {
    let mut buffer = vec![0; CHUNK_BYTES_MAX];
    loop {
        let what = match source.read(&mut buffer).await {
            Ok(0) => Piece::End,
            Ok(length) => Piece::Bytes(buffer[..length].to_vec()),
            Err(_) => Piece::Reset,
        };
        let last = !matches!(what, Piece::Bytes(_));
        let queued = arrivals.send(Arrival { at: Instant::now(), what }).await;
        if last || queued.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The end of a direction where the faults apply: bytes count as under way until they pass here.
struct Writer<'a> {
    direction: Direction,
    sink: WriteHalf<'a>,
    shared: &'a Shared,
    faults: watch::Receiver<AllFaults>,
    /// Half-open, this direction swallowed bytes or an end: it can never go on.
    lost_something: bool,
    /// The bytes that this direction has carried.
    passed: u64,
    /// When a throttled direction may write again.
    next_write: Instant,
}

impl Writer<'_> {
    async fn run(&mut self, mut arrivals: mpsc::Receiver<Arrival>) -> Result<(), Broken> {
        loop {
            let arrival = tokio::select! {
                arrival = arrivals.recv() => arrival.expect("the reader keeps its sender until the writer ends"),
                () = healed(&mut self.faults, self.direction), if self.lost_something => return Err(Broken),
            };
            self.wait_until_due(arrival.at).await;
            match arrival.what {
                Piece::Bytes(bytes) => self.pass_on(&bytes).await?,
                Piece::End => return self.pass_end_on().await,
                Piece::Reset => return self.break_off().await,
            }
        }
    }

    async fn wait_until_due(&mut self, arrived: Instant) {
        loop {
            let due = arrived + self.current().delay.min(DELAY_MAX);
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = changed(&mut self.faults) => {}
            }
        }
    }

    async fn pass_on(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            let faults = self.current();
            if faults.half_open {
                self.shared.swallowed(self.direction, bytes.len());
                self.lost_something = true;
                return Ok(());
            }
            if self.lost_something {
                return Err(Broken);
            }
            if faults.stalled {
                changed(&mut self.faults).await;
                continue;
            }
            let throttled = faults.bytes_per_second > 0;
            if throttled && Instant::now() < self.next_write {
                tokio::select! {
                    () = tokio::time::sleep_until(self.next_write) => {}
                    () = changed(&mut self.faults) => {}
                }
                continue;
            }
            tokio::select! {
                writable = self.sink.writable() => if writable.is_err() {
                    return self.break_off().await;
                },
                // A reader that takes nothing must not keep the writer from noticing another fault.
                () = changed(&mut self.faults) => continue,
            }
            let left = match faults.bytes_each_max {
                0 => u64::MAX,
                max => max.saturating_sub(self.passed),
            };
            if left == 0 {
                return Err(Broken);
            }
            let wanted = bytes.len().min(write_bytes_max(faults.bytes_per_second));
            let wanted = usize::try_from(left).map_or(wanted, |left| wanted.min(left));
            match self.shared.pass(self.direction, wanted, |allowed| self.sink.try_write(&bytes[..allowed])) {
                Ok(Ok(written)) => {
                    bytes = &bytes[written..];
                    self.passed += written as u64;
                    self.next_write = Instant::now() + time_for(written, faults.bytes_per_second);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(Err(_)) => return self.break_off().await,
                Err(CutDue) => {
                    // The cut aborts this connection's task; nothing may pass until it does.
                    self.shared.cut_due.notify_one();
                    changed(&mut self.faults).await;
                }
            }
        }
        Ok(())
    }

    async fn pass_end_on(&mut self) -> Result<(), Broken> {
        loop {
            let faults = self.current();
            if faults.half_open {
                self.lost_something = true;
            } else if self.lost_something {
                return Err(Broken);
            } else if !faults.stalled {
                return match self.sink.shutdown().await {
                    Ok(()) => Ok(()),
                    Err(_) => self.break_off().await,
                };
            }
            changed(&mut self.faults).await;
        }
    }

    /// One side is gone. The other is told by a reset, but not while a half-open direction hides it.
    async fn break_off(&mut self) -> Result<(), Broken> {
        healed(&mut self.faults, self.direction).await;
        healed(&mut self.faults, self.direction.opposite()).await;
        Err(Broken)
    }

    fn current(&mut self) -> Faults {
        self.faults.borrow_and_update().of(self.direction)
    }
}

/// Waits for the next change of the faults.
async fn changed(faults: &mut watch::Receiver<AllFaults>) {
    faults.changed().await.expect("the faults live in `Shared`, which outlives every connection");
}

/// Waits until `direction` is not half-open.
async fn healed(faults: &mut watch::Receiver<AllFaults>, direction: Direction) {
    faults
        .wait_for(|faults| !faults.of(direction).half_open)
        .await
        .expect("the faults live in `Shared`, which outlives every connection");
}

/// The bytes that may be written in one go under a rate, at least one; 0 is no limit.
fn write_bytes_max(bytes_per_second: u64) -> usize {
    match bytes_per_second {
        0 => usize::MAX,
        rate => usize::try_from((rate / THROTTLED_WRITES_PER_SECOND).max(1)).unwrap_or(usize::MAX),
    }
}

/// The time that `bytes` take under a rate; 0 is no limit.
fn time_for(bytes: usize, bytes_per_second: u64) -> Duration {
    match bytes_per_second {
        0 => Duration::ZERO,
        rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
    }
}
