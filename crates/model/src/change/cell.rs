//! Cells: the canonical bytes of a property's value, and how they stand in blocks.

use std::borrow::Cow;

use crate::codec::{DecodeError, Reader, put_varint};
use crate::flex::check_flex;
use crate::ids::{GlobalId, PeerId};
use crate::kinds::Kind;
use crate::types::PropertyType;

/// Checks that `bytes` are the canonical bytes of a value of this type number.
///
/// Scalars are little-endian and as wide as [`PropertyType::scalar_bytes`]; a Bool is 0 or 1. A Relation is
/// [`GlobalId::to_bytes`]. A String is UTF-8. Vectors are their elements, one after the other; each string of a
/// StringVector follows its length in bytes as u32 LE. A Flex is a FlexBuffers value. Types that this release does not know
/// are any bytes. What counters and sets hold, [`Kind`] checks.
///
/// # Errors
///
/// [`DecodeError`] if they are not.
pub fn check_cell(ty: u8, bytes: &[u8]) -> Result<(), DecodeError> {
    let Some(ty) = PropertyType::from_number(ty) else { return Ok(()) };
    match width(ty) {
        Some(width) if bytes.len() != width => {
            return Err(DecodeError::Invalid { what: "a value is not as wide as its type" });
        }
        _ => {}
    }
    match ty {
        PropertyType::Bool | PropertyType::BoolVector if bytes.iter().any(|&byte| byte > 1) => {
            Err(DecodeError::Invalid { what: "a boolean is neither 0 nor 1" })
        }
        PropertyType::String => check_utf8(bytes),
        PropertyType::Flex => check_flex(bytes).map_err(|error| DecodeError::Invalid { what: error.what() }),
        PropertyType::StringVector => {
            let mut reader = Reader::new(bytes);
            while !reader.is_empty() {
                let length = usize::try_from(reader.u32()?).map_err(|_| DecodeError::Truncated)?;
                check_utf8(reader.bytes(length)?)?;
            }
            Ok(())
        }
        _ if ty.element_bytes().is_some_and(|width| !bytes.len().is_multiple_of(width)) => {
            Err(DecodeError::Invalid { what: "a vector ends within an element" })
        }
        _ => Ok(()),
    }
}

/// The bytes of a cell of fixed width.
pub(crate) fn width(ty: PropertyType) -> Option<usize> {
    match ty {
        PropertyType::Relation => Some(GlobalId::BYTES),
        _ => ty.scalar_bytes(),
    }
}

/// Appends a non-null cell: fixed width for scalars, a reference for links, length and bytes for all others.
///
/// # Panics
///
/// If the bytes are not as wide as the type: whoever encodes made the cell.
#[inline]
pub(crate) fn put_cell(ty: u8, bytes: &[u8], mut reference: impl FnMut(PeerId) -> u64, out: &mut Vec<u8>) {
    match PropertyType::from_number(ty) {
        Some(PropertyType::Relation) => {
            let bytes =
                bytes.try_into().expect("a cell of a link is a global id: it was made by GlobalId::to_bytes");
            let gid = GlobalId::from_bytes(bytes);
            put_varint(out, reference(gid.origin));
            put_varint(out, gid.counter);
        }
        Some(ty) if let Some(width) = width(ty) => {
            assert_eq!(bytes.len(), width, "a {ty} cell is {width} bytes wide");
            // A width that is known when this is compiled makes a store of what would be a call.
            match *bytes {
                [a] => out.push(a),
                [a, b] => out.extend_from_slice(&[a, b]),
                [a, b, c, d] => out.extend_from_slice(&[a, b, c, d]),
                [a, b, c, d, e, f, g, h] => out.extend_from_slice(&[a, b, c, d, e, f, g, h]),
                _ => out.extend_from_slice(bytes),
            }
        }
        _ => {
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }
}

/// What the cells of counters and sets hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A change, as in ops.
    Change,
    /// All that tells how changes merge, as in states.
    State,
}

/// Reads a non-null cell and checks it; `peers` is what references point to.
///
/// A link has to be put together from its parts. The room for it is taken from `old`, the cell that the caller is about to
/// replace, so that reading into the same op again allocates nothing.
pub(crate) fn read_cell<'a>(
    ty: u8,
    reader: &mut Reader<'a>,
    peers: &[PeerId],
    old: Option<Cow<'a, [u8]>>,
    form: Form,
) -> Result<Cow<'a, [u8]>, DecodeError> {
    let bytes = match PropertyType::from_number(ty) {
        Some(PropertyType::Relation) => {
            let origin = read_peer(reader, peers)?;
            let gid = GlobalId::new(origin, reader.varint()?).to_bytes();
            let mut room = match old {
                Some(Cow::Owned(room)) => room,
                _ => Vec::new(),
            };
            room.clear();
            room.extend_from_slice(&gid);
            return Ok(Cow::Owned(room));
        }
        Some(ty) if let Some(width) = width(ty) => reader.bytes(width)?,
        Some(_) => reader.prefixed()?,
        None => {
            let bytes = reader.prefixed()?;
            if let Some(kind) = Kind::of_type(ty) {
                match form {
                    Form::Change => kind.check_change(bytes)?,
                    Form::State => kind.check_state(bytes)?,
                }
            }
            return Ok(Cow::Borrowed(bytes));
        }
    };
    check_cell(ty, bytes)?;
    Ok(Cow::Borrowed(bytes))
}

/// Reads a reference to one of `peers`.
pub(crate) fn read_peer(reader: &mut Reader<'_>, peers: &[PeerId]) -> Result<PeerId, DecodeError> {
    let reference = reader.varint()?;
    usize::try_from(reference)
        .ok()
        .and_then(|at| peers.get(at).copied())
        .ok_or(DecodeError::Invalid { what: "a reference to a peer that the table does not hold" })
}

fn check_utf8(bytes: &[u8]) -> Result<(), DecodeError> {
    std::str::from_utf8(bytes).map(|_| ()).map_err(|_| DecodeError::Invalid { what: "a string is not UTF-8" })
}
