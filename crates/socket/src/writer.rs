//! The writing half of a connection: frames from a short queue to the socket.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::Socket;

/// Frames that wait for the socket; what a session would add stays where it is until there is room.
pub const FRAMES_OUT_MAX: usize = 4;

/// Writes frames one by one, flushes once none is left, and closes the socket when the queue ends.
///
/// # Errors
///
/// If the other side takes nothing for `timeout`, or the connection is lost.
pub async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::Receiver<Bytes>,
    timeout: Duration,
) -> Result<(), Error> {
    let slow = |_| Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the other side reads too slowly"));
    while let Some(frame) = queue.recv().await {
        tokio::time::timeout(timeout, sink.feed(Message::Binary(frame))).await.map_err(slow)??;
        if queue.is_empty() {
            tokio::time::timeout(timeout, sink.flush()).await.map_err(slow)??;
        }
    }
    tokio::time::timeout(timeout, sink.close()).await.map_err(slow)?
}
