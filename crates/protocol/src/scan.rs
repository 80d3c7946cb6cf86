//! A look at the parts of a message before any memory is given to it.
//!
//! The decoder makes a value of every part of a list, and an empty part takes two bytes on the wire but dozens in memory. So
//! the parts are counted first, by walking over the bytes; only then is the message decoded.

use crate::frame::MessageError;
use crate::limits::{
    CAPABILITIES_MAX, CREDENTIALS_MAX, LOST_OPS_MAX, PARTS_MAX, PUSH_TXS_MAX, UPLOAD_TXS_MAX, VERDICTS_MAX,
    VERSIONS_MAX,
};

/// Fields of the envelope from this number upwards are no kinds and may be ignored.
const KINDS_END: u32 = 1000;

/// A field that holds parts to be counted.
struct Part {
    number: u32,
    what: &'static str,
    /// The most of them in one parent.
    max: usize,
    parts: &'static [Part],
}

const LOST: &str = "operations in a verdict";

static VERDICT: [Part; 3] = [
    Part {
        number: 2,
        what: "outcomes of a verdict",
        max: 1,
        parts: &[Part { number: 2, what: LOST, max: LOST_OPS_MAX, parts: &[] }],
    },
    Part { number: 3, what: "outcomes of a verdict", max: 1, parts: &[] },
    Part {
        number: 4,
        what: "outcomes of a verdict",
        max: 1,
        parts: &[Part { number: 1, what: LOST, max: LOST_OPS_MAX, parts: &[] }],
    },
];

/// The kinds that hold lists; all others have no more parts than fields.
static KINDS: [Part; 6] = [
    kind(1, &[Part { number: 1, what: "protocol versions", max: VERSIONS_MAX, parts: &[] }]),
    kind(
        2,
        &[
            Part { number: 4, what: "credentials", max: CREDENTIALS_MAX, parts: &[] },
            Part { number: 11, what: "capabilities", max: CAPABILITIES_MAX, parts: &[] },
        ],
    ),
    kind(
        3,
        &[
            Part { number: 6, what: "refusals", max: VERDICTS_MAX, parts: &VERDICT },
            Part { number: 12, what: "capabilities", max: CAPABILITIES_MAX, parts: &[] },
        ],
    ),
    kind(5, &[Part { number: 1, what: "transactions in an upload", max: UPLOAD_TXS_MAX, parts: &[] }]),
    kind(6, &[Part { number: 1, what: "verdicts", max: VERDICTS_MAX, parts: &VERDICT }]),
    kind(10, &[Part { number: 1, what: "transactions in a push", max: PUSH_TXS_MAX, parts: &[] }]),
];

const fn kind(number: u32, parts: &'static [Part]) -> Part {
    Part { number, what: "kinds of message", max: 1, parts }
}

/// Checks that an envelope holds one kind, and that no list in it is too long; returns the number of the kind.
pub(crate) fn scan(envelope: &[u8]) -> Result<u32, MessageError> {
    let mut kind = None;
    let mut budget = PARTS_MAX;
    let mut fields = Fields(envelope);
    while let Some((number, content)) = fields.next()? {
        if number >= KINDS_END {
            continue;
        }
        if kind.replace(number).is_some() {
            return Err(MessageError::Malformed { reason: "a message must be of one kind".into() });
        }
        let Content::Bytes(bytes) = content else {
            return Err(malformed("the kind of a message is no number"));
        };
        if let Some(part) = KINDS.iter().find(|part| part.number == number) {
            count(bytes, part.parts, &mut budget)?;
        }
    }
    kind.ok_or_else(|| malformed("the message has no kind"))
}

fn count(message: &[u8], parts: &'static [Part], budget: &mut usize) -> Result<(), MessageError> {
    if parts.is_empty() {
        return Ok(());
    }
    let mut counts = [0; 4];
    debug_assert!(parts.len() <= counts.len());
    let mut fields = Fields(message);
    while let Some((number, content)) = fields.next()? {
        let Some(at) = parts.iter().position(|part| part.number == number) else { continue };
        let part = &parts[at];
        counts[at] += 1;
        if counts[at] > part.max {
            return Err(MessageError::TooMany { what: part.what, max: part.max });
        }
        *budget = budget
            .checked_sub(1)
            .ok_or(MessageError::TooMany { what: "parts of a message", max: PARTS_MAX })?;
        if let Content::Bytes(bytes) = content {
            count(bytes, part.parts, budget)?;
        }
    }
    Ok(())
}

enum Content<'a> {
    Bytes(&'a [u8]),
    Number,
}

/// The fields of one protobuf message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u32, Content<'a>)>, MessageError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| malformed("the number of a field is too large"))?;
        let content = match tag & 7 {
            0 => self.varint().map(|_| Content::Number)?,
            1 => self.take(8).map(|_| Content::Number)?,
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Content::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Content::Number)?,
            _ => return Err(malformed("a field has an unknown wire type")),
        };
        Ok(Some((number, content)))
    }

    fn varint(&mut self) -> Result<u64, MessageError> {
        let mut value = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Ok(value);
            }
        }
        Err(malformed("a number does not end"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], MessageError> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| malformed("a field is longer than its message"))?;
        self.0 = rest;
        Ok(taken)
    }
}

fn malformed(reason: &'static str) -> MessageError {
    MessageError::Malformed { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_known_or_unknown_kind_is_found_and_extensions_are_passed_over() {
        assert_eq!(scan(&[0x5a, 0]), Ok(11));
        assert_eq!(scan(&[0xfa, 0x06, 0]), Ok(111));
        // Field 1000 with the number 1, then kind 11.
        assert_eq!(scan(&[0xc0, 0x3e, 1, 0x5a, 0]), Ok(11));
        assert!(matches!(scan(&[0xc0, 0x3e, 1]), Err(MessageError::Malformed { .. })));
        assert!(matches!(scan(&[0x5a, 0, 0x62, 0]), Err(MessageError::Malformed { .. })));
        assert!(matches!(scan(&[0x58, 0]), Err(MessageError::Malformed { .. })));
        assert!(matches!(scan(&[0x5a, 1]), Err(MessageError::Malformed { .. })));
        assert!(matches!(scan(&[]), Err(MessageError::Malformed { .. })));
    }

    #[test]
    fn long_lists_are_found_without_decoding_them() {
        let lists = |kind: u8, field: u8, count: usize| {
            let inner = [field << 3 | 2, 0].repeat(count);
            let mut envelope = vec![kind << 3 | 2];
            prost::encoding::encode_varint(inner.len() as u64, &mut envelope);
            envelope.extend(inner);
            envelope
        };
        assert_eq!(scan(&lists(5, 1, UPLOAD_TXS_MAX)), Ok(5));
        assert_eq!(
            scan(&lists(5, 1, UPLOAD_TXS_MAX + 1)),
            Err(MessageError::TooMany { what: "transactions in an upload", max: UPLOAD_TXS_MAX })
        );
        assert_eq!(
            scan(&lists(6, 1, VERDICTS_MAX + 1)),
            Err(MessageError::TooMany { what: "verdicts", max: VERDICTS_MAX })
        );
    }

    #[test]
    fn long_lists_in_lists_share_one_budget() {
        let verdict = {
            let lost = [2 << 3 | 2, 0].repeat(LOST_OPS_MAX / 2 + VERDICTS_MAX);
            let mut verdict = vec![2 << 3 | 2];
            prost::encoding::encode_varint(lost.len() as u64, &mut verdict);
            verdict.extend(lost);
            verdict
        };
        let mut verdicts = Vec::new();
        for _ in 0..2 {
            verdicts.push(1 << 3 | 2);
            prost::encoding::encode_varint(verdict.len() as u64, &mut verdicts);
            verdicts.extend(&verdict);
        }
        let mut envelope = vec![6 << 3 | 2];
        prost::encoding::encode_varint(verdicts.len() as u64, &mut envelope);
        envelope.extend(verdicts);
        assert_eq!(
            scan(&envelope),
            Err(MessageError::TooMany { what: "parts of a message", max: PARTS_MAX })
        );
    }
}
