//! A stream that counts its bytes, so that a slow message is told from a dead connection, and an uninvited flood is cut.
//!
//! A byte that the system takes from us proves nothing: it may lie in a buffer for ever. Only when that buffer was full, and
//! then has room again, has the other side taken something.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes that went through a stream, and how many may come in.
#[derive(Debug)]
pub struct Meter {
    received: AtomicU64,
    sent: AtomicU64,
    /// How often the system took bytes again after it had taken none.
    drained: AtomicU64,
    /// Whether the last attempt to write had to wait.
    is_full: AtomicBool,
    received_max: AtomicU64,
    /// The longest WebSocket frame that may begin; looked at once there are frames.
    frame_max: AtomicU64,
}

impl Meter {
    /// A meter of a stream that may bring any number of bytes.
    pub fn new() -> Arc<Self> {
        Self::with_limit(u64::MAX)
    }

    /// A meter of a stream that ends with an error once it has brought more than this many bytes.
    pub fn with_limit(received_max: u64) -> Arc<Self> {
        Arc::new(Meter {
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            drained: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            received_max: AtomicU64::new(received_max),
            frame_max: AtomicU64::new(u64::MAX),
        })
    }

    /// From here on the stream brings WebSocket frames, and ends with an error before one that announces more than this many
    /// bytes: the WebSocket library makes room for all that a frame announces as soon as it has read its head.
    pub fn limit_frames(&self, frame_max: u64) {
        self.frame_max.store(frame_max, Ordering::Relaxed);
    }

    /// Lets the stream bring any number of bytes, in frames of any length, from here on.
    pub fn lift_limit(&self) {
        self.received_max.store(u64::MAX, Ordering::Relaxed);
        self.frame_max.store(u64::MAX, Ordering::Relaxed);
    }

    /// The bytes that came in.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The bytes that went out.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// A number that grows with every sign of life of the other side: bytes that came from it, and bytes that it took.
    pub fn signs_of_life(&self) -> u64 {
        self.received().wrapping_add(self.drained.load(Ordering::Relaxed))
    }

    /// Notes that the system takes no bytes at this moment.
    fn note_full(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }

    fn note_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.is_full.swap(false, Ordering::Relaxed) {
            self.drained.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A stream whose bytes a [`Meter`] counts.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
    frames: FrameHeads,
}

impl<S> Metered<S> {
    /// Counts the bytes of `stream` on `meter`.
    pub fn new(stream: S, meter: Arc<Meter>) -> Self {
        Metered { stream, meter, frames: FrameHeads::default() }
    }

    /// The meter.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.received() > self.meter.received_max.load(Ordering::Relaxed) {
            return Poll::Ready(Err(refused("too many bytes before a login")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len().saturating_sub(before);
        self.meter.received.fetch_add(read as u64, Ordering::Relaxed);
        let frame_max = self.meter.frame_max.load(Ordering::Relaxed);
        if frame_max < u64::MAX && self.frames.longest(&buf.filled()[before..]) > frame_max {
            buf.set_filled(before);
            return Poll::Ready(Err(refused("too long a message before a login")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, buf) else {
            self.meter.note_full();
            return Poll::Pending;
        };
        let written = written?;
        self.meter.note_sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The error by which a stream ends that brings more than it may.
fn refused(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Follows WebSocket frames through a stream by their heads.
#[derive(Debug, Default)]
struct FrameHeads {
    /// The head as far as it has come.
    head: Vec<u8>,
    /// What is left of the frame after it, its mask included.
    rest: u64,
}

impl FrameHeads {
    /// The bytes of a head without its mask: flags and length, then a longer length.
    const BYTES_MAX: usize = 2 + 8;

    /// The longest frame that begins in these bytes, which follow those of the call before; 0 if none does.
    fn longest(&mut self, mut bytes: &[u8]) -> u64 {
        let mut longest = 0;
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
            self.rest -= skipped as u64;
            bytes = &bytes[skipped..];
            let Some((&byte, others)) = bytes.split_first() else { break };
            bytes = others;
            self.head.push(byte);
            if let Some(announced) = self.announced() {
                let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
                self.head.clear();
                self.rest = announced.saturating_add(mask);
                longest = longest.max(announced);
            }
        }
        longest
    }

    /// The length that the head names, once it is whole.
    fn announced(&self) -> Option<u64> {
        debug_assert!(self.head.len() <= Self::BYTES_MAX);
        match self.head.get(1)? & 0x7f {
            126 => Some(u16::from_be_bytes(*self.head[2..].first_chunk()?).into()),
            127 => Some(u64::from_be_bytes(*self.head[2..].first_chunk()?)),
            short => Some(short.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_are_counted_in_both_directions() {
        let (near, mut far) = tokio::io::duplex(64);
        let meter = Meter::new();
        let mut metered = Metered::new(near, meter.clone());
        metered.write_all(b"hello").await.unwrap();
        far.write_all(b"hi").await.unwrap();
        metered.read_exact(&mut [0; 2]).await.unwrap();
        assert_eq!((meter.sent(), meter.received()), (5, 2));
    }

    #[tokio::test]
    async fn bytes_that_only_fill_a_buffer_are_no_sign_of_life() {
        let (near, mut far) = tokio::io::duplex(64);
        let meter = Meter::new();
        let mut metered = Metered::new(near, meter.clone());
        metered.write_all(&[0; 64]).await.unwrap();
        assert_eq!(meter.signs_of_life(), 0);
        let blocked = tokio::time::timeout(std::time::Duration::ZERO, metered.write_all(&[0; 64]));
        blocked.await.unwrap_err();
        assert_eq!(meter.signs_of_life(), 0, "nobody has read");
        far.read_exact(&mut [0; 32]).await.unwrap();
        metered.write_all(&[0; 32]).await.unwrap();
        assert_eq!(meter.signs_of_life(), 1, "what was read made room");
        far.write_all(b"hi").await.unwrap();
        metered.read_exact(&mut [0; 2]).await.unwrap();
        assert_eq!(meter.signs_of_life(), 3);
    }

    #[tokio::test]
    async fn a_frame_that_announces_too_much_ends_the_stream_before_its_head_is_whole() {
        let (near, mut far) = tokio::io::duplex(64);
        let meter = Meter::new();
        let mut metered = Metered::new(near, meter.clone());
        far.write_all(b"\xff\xff\xff no frame yet").await.unwrap();
        metered.read_exact(&mut [0; 16]).await.unwrap();
        meter.limit_frames(300);
        far.write_all(&[0x82, 0x83, 1, 2, 3, 4, 7, 7, 7]).await.unwrap();
        far.write_all(&[0x82, 126, 1, 0]).await.unwrap();
        let mut read = [0; 13];
        metered.read_exact(&mut read).await.unwrap();
        assert_eq!(read[6..9], [7; 3]);
        let body = tokio::spawn(async move {
            far.write_all(&[9; 256]).await.unwrap();
            far.write_all(&[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0]).await.unwrap();
            far
        });
        metered.read_exact(&mut [0; 256]).await.unwrap();
        let error = metered.read_exact(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(body.await.unwrap());
    }

    #[test]
    fn heads_are_found_wherever_the_bytes_are_cut() {
        let mut stream = vec![0x82, 0x81, 1, 2, 3, 4, 9];
        stream.extend([0x02, 126, 0x02, 0x00].iter().chain(&[5; 512]));
        stream.extend([0x80, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        for cut in 1..30 {
            let mut heads = FrameHeads::default();
            let longest = stream.chunks(cut).map(|bytes| heads.longest(bytes)).max();
            assert_eq!(longest, Some(1 << 16), "in pieces of {cut}");
            assert_eq!(heads.rest, (1 << 16) + 4);
        }
    }

    #[tokio::test]
    async fn a_flood_is_cut_until_the_limit_is_lifted() {
        let (near, mut far) = tokio::io::duplex(64);
        let meter = Meter::with_limit(8);
        let mut metered = Metered::new(near, meter.clone());
        far.write_all(&[0; 32]).await.unwrap();
        metered.read_exact(&mut [0; 16]).await.unwrap();
        let error = metered.read_exact(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        meter.lift_limit();
        metered.read_exact(&mut [0; 16]).await.unwrap();
    }
}
