//! How a message becomes the bytes of one WebSocket message and back.
//!
//! A frame is one byte of format and then, in the only format so far, the protobuf envelope. The byte leaves room for
//! compression: a receiver refuses every value that it did not offer to take.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;

use crate::code::Code;
use crate::convert;
use crate::generated::Envelope;
use crate::message::Message;
use crate::scan::scan;

/// The first byte of a frame whose rest is a plain protobuf envelope.
pub const FORMAT_PLAIN: u8 = 0;

/// What can be wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The frame has no bytes.
    #[error(
        "the other side sent an empty message; update the older side or check what answers at this address"
    )]
    Empty,
    /// The first byte names a format that was not agreed upon.
    #[error("the other side sent a message of format {format}, which this release does not know; update it")]
    UnknownFormat {
        /// The first byte.
        format: u8,
    },
    /// The frame is longer than the limit.
    #[error(
        "a message of {length} bytes is longer than the limit of {max}; raise the limit or send less at once"
    )]
    TooLong {
        /// The length of the frame in bytes.
        length: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The bytes are not what the format says.
    #[error("the other side sent bytes that are no message ({reason}); check what answers at this address")]
    Malformed {
        /// What the reader stumbled over.
        reason: String,
    },
    /// The message is of a kind that only a newer release knows.
    #[error("the other side sent a message of kind {kind}, which this release does not know; update it")]
    UnknownKind {
        /// The number of the kind.
        kind: u32,
    },
    /// A list in the message is longer than its limit.
    #[error("the other side sent more {what} in one message than the limit of {max}")]
    TooMany {
        /// What the list holds.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A field is missing or out of its range.
    #[error("the other side sent a message in which {what} is missing or out of range")]
    Invalid {
        /// The field.
        what: &'static str,
    },
}

impl MessageError {
    /// The code by which the session ends.
    pub fn code(&self) -> Code {
        match self {
            MessageError::Empty | MessageError::Malformed { .. } => Code::FrameInvalid,
            MessageError::UnknownFormat { .. } => Code::FrameUnknown,
            MessageError::TooLong { .. } => Code::FrameTooLong,
            MessageError::UnknownKind { .. } => Code::KindUnknown,
            MessageError::TooMany { .. } | MessageError::Invalid { .. } => Code::ContentInvalid,
        }
    }
}

impl Message {
    /// The frame of this message.
    ///
    /// ```
    /// use reconvene_protocol::Message;
    ///
    /// let frame = Message::Ping(5).encode();
    /// assert_eq!(&frame[..], [0, 0x5a, 2, 8, 5]);
    /// assert_eq!(Message::decode(frame, 1024), Ok(Message::Ping(5)));
    /// ```
    pub fn encode(&self) -> Bytes {
        let envelope = Envelope { kind: Some(convert::to_wire(self)) };
        let mut frame = BytesMut::with_capacity(1 + envelope.encoded_len());
        frame.put_u8(FORMAT_PLAIN);
        envelope.encode(&mut frame).expect("the buffer has room for the length that the encoder named");
        frame.freeze()
    }

    /// The message of a frame of at most `bytes_max` bytes; blocks in it are slices of the frame, not copies.
    ///
    /// Fields that this release does not know are ignored; kinds that it does not know are an error.
    pub fn decode(frame: Bytes, bytes_max: usize) -> Result<Message, MessageError> {
        if frame.len() > bytes_max {
            return Err(MessageError::TooLong { length: frame.len(), max: bytes_max });
        }
        match frame.first() {
            None => return Err(MessageError::Empty),
            Some(&FORMAT_PLAIN) => {}
            Some(&format) => return Err(MessageError::UnknownFormat { format }),
        }
        let kind = scan(&frame[1..])?;
        let envelope = Envelope::decode(frame.slice(1..))
            .map_err(|error| MessageError::Malformed { reason: error.to_string() })?;
        convert::from_wire(envelope.kind.ok_or(MessageError::UnknownKind { kind })?)
    }
}
