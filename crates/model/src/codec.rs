//! Numbers and lengths as bytes: what every layout of this crate is made of.
//!
//! Encoding appends to a `Vec<u8>` and cannot fail; decoding goes through [`Reader`], which checks every length against what
//! is there before anything is made of it.

/// Why bytes could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the bytes end in the middle of something")]
    Truncated,
    /// A number is written with more bytes than it needs, or does not fit 64 bits.
    #[error("a number is longer than it needs to be, or does not fit 64 bits")]
    Overlong,
    /// More is announced than is allowed.
    #[error("{what}: {len} are announced, at most {max} are allowed")]
    TooLong {
        /// What there is too much of.
        what: &'static str,
        /// How much is announced.
        len: u64,
        /// How much is allowed.
        max: u64,
    },
    /// Something that must not be.
    #[error("not valid: {what}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
    },
    /// A newer release wrote this.
    #[error("version {version} of {what} is newer than this release knows; update it")]
    UnknownVersion {
        /// What has a version.
        what: &'static str,
        /// Which one it has.
        version: u64,
    },
}

/// The most bytes of a varint.
pub const VARINT_BYTES_MAX: usize = 10;

/// Appends a number in LEB128: seven bits a byte, the lowest first, the top bit set on all but the last.
///
/// ```
/// let mut out = Vec::new();
/// reconvene_model::codec::put_varint(&mut out, 300);
/// assert_eq!(out, [0xac, 0x02]);
/// ```
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Maps signed numbers to unsigned ones so that small ones of either sign stay small: 0, -1, 1, -2 become 0, 1, 2, 3.
pub fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Takes bytes apart from the front, each step checked.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    ///
    /// As for all steps: [`DecodeError::Truncated`] if there are fewer.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// The next byte.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A 16-bit number, little-endian.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`].
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// A 32-bit number, little-endian.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A 64-bit number, little-endian.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number in LEB128, in its shortest form.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`], or [`DecodeError::Overlong`] if a shorter form says the same or 64 bits do not hold it.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        let mut number = u64::from(first & 0x7f);
        for at in 1..VARINT_BYTES_MAX {
            let byte = self.u8()?;
            let last = byte < 0x80;
            if (last && byte == 0) || (at == VARINT_BYTES_MAX - 1 && byte > 1) {
                return Err(DecodeError::Overlong);
            }
            number |= u64::from(byte & 0x7f) << (7 * at);
            if last {
                return Ok(number);
            }
        }
        Err(DecodeError::Overlong)
    }

    /// A length in LEB128 and as many bytes.
    ///
    /// # Errors
    ///
    /// As [`Reader::varint`], and [`DecodeError::Truncated`] if there are fewer bytes.
    pub fn prefixed(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.varint()?;
        self.bytes(usize::try_from(len).map_err(|_| DecodeError::Truncated)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn overlong_and_oversized_varints_are_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xff, 0x80, 0x00], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(Reader::new(bytes).varint(), Err(DecodeError::Overlong), "{bytes:x?}");
        }
        assert_eq!(Reader::new(&[0x80]).varint(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[]).varint(), Err(DecodeError::Truncated));
    }

    #[test]
    fn lengths_are_checked_before_they_are_believed() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0x03, 1]).prefixed(), Err(DecodeError::Truncated));
        let mut huge = Vec::new();
        put_varint(&mut huge, u64::MAX);
        assert_eq!(Reader::new(&huge).prefixed(), Err(DecodeError::Truncated));
    }

    proptest! {
        #[test]
        fn varints_and_zigzag_return_what_went_in(number: u64, signed: i64, tail: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            prop_assert!(out.len() <= VARINT_BYTES_MAX);
            let length = out.len();
            out.extend_from_slice(&tail);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(number));
            prop_assert_eq!(reader.len(), out.len() - length);
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.varint().is_ok() {}
            let _ = Reader::new(&bytes).prefixed();
        }
    }
}
