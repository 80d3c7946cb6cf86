//! What client and server share of WebSockets: a stream that counts and bounds, settings, the writing of frames.
//!
//! No message of the protocol is known here, only frames of bytes.

mod meter;
mod writer;

pub use meter::{Meter, Metered};
pub use writer::{FRAMES_OUT_MAX, write};

use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// A WebSocket over a TCP connection whose bytes are counted.
pub type Socket = WebSocketStream<Metered<TcpStream>>;

/// The settings of a WebSocket: how much is buffered in each direction, and the longest message that is taken.
pub fn config(buffer_bytes: usize, message_bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(buffer_bytes)
        .write_buffer_size(buffer_bytes)
        .max_write_buffer_size(2 * buffer_bytes + message_bytes_max)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
}
