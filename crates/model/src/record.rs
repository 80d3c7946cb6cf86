//! Records: how an object lies in the store.
//!
//! A record is a flag byte, for synced entities a sync header, and a FlatBuffers table with the properties. The table is written
//! from a template made once per schema version ([`TableLayout`], [`TableWriter`]) and read in place ([`Table`]), every access
//! checked against the bytes that are there, so that one property is read without decoding the others. `docs/record.md` has the
//! layout byte by byte.

mod header;
mod layout;
mod strings;
mod table;
mod writer;

pub use header::{KindState, SyncHeader, SyncHeaderBytes, UnknownRegister};
pub use layout::{ScalarPlace, TableLayout};
pub use strings::StringVector;
pub use table::Table;
pub use writer::{TableWriter, ValueError};

use crate::codec::{DecodeError, Reader};
use crate::types::PropertyType;

/// Record flag: a sync header stands before the table.
const SYNCED: u8 = 1;

/// Record flags that this release has no reader for: a checksum (2) and encryption (4).
const RESERVED: u8 = !SYNCED;

/// What stands before the table in the record of a local-only object.
pub const LOCAL_HEAD: &[u8] = &[0];

/// The table of an object without properties, as tombstones have it.
pub const EMPTY_TABLE: &[u8] = &[8, 0, 0, 0, 4, 0, 4, 0, 4, 0, 0, 0];

/// Why a record's bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The flag byte or the sync header.
    #[error("the record's header does not decode: {0}")]
    Header(#[from] DecodeError),
    /// A newer release wrote it.
    #[error("the record has flags {flags:#04x} that a newer release gave it; update this one")]
    Newer {
        /// All flags.
        flags: u8,
    },
    /// The table has no proper frame.
    #[error("the record's table is damaged: {what}")]
    Table {
        /// What is wrong.
        what: &'static str,
    },
    /// One property.
    #[error("slot {slot} of the record does not hold a {ty}: {what}")]
    Slot {
        /// The property's slot.
        slot: usize,
        /// What was expected there.
        ty: PropertyType,
        /// What is wrong.
        what: &'static str,
    },
}

/// A record, parted but not decoded.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The sync header; records of local-only entities have none.
    pub header: Option<SyncHeaderBytes<'a>>,
    /// The properties.
    pub table: Table<'a>,
}

impl<'a> Record<'a> {
    /// Parts a record and checks the frame of its table.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if the bytes are no record, or one of a newer release.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let (header, table) = Self::part(bytes)?;
        Ok(Record { header, table: Table::parse(table)? })
    }

    /// As [`Record::parse`], of a record whose table most likely has this layout: it then costs less.
    ///
    /// # Errors
    ///
    /// As [`Record::parse`].
    #[inline]
    pub fn parse_as(layout: &TableLayout, bytes: &'a [u8]) -> Result<Self, RecordError> {
        let (header, table) = Self::part(bytes)?;
        Ok(Record { header, table: layout.parse(table)? })
    }

    /// The bytes of a scalar in a record that has this layout and a short header or none, as most have; none where it is not so,
    /// or where the scalar is null: [`Record::parse_as`] tells which.
    #[inline]
    pub fn plain_scalar(layout: &TableLayout, place: ScalarPlace, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let table = match bytes {
            [0, table @ ..] => table,
            [SYNCED, len @ ..0x80, after @ ..] => after.get(usize::from(*len)..)?,
            _ => return None,
        };
        layout.own_scalar(place, table)
    }

    /// The header, and the bytes of the table.
    #[inline]
    fn part(bytes: &'a [u8]) -> Result<(Option<SyncHeaderBytes<'a>>, &'a [u8]), RecordError> {
        if let [0, table @ ..] = bytes {
            return Ok((None, table));
        }
        let mut reader = Reader::new(bytes);
        let flags = reader.u8()?;
        if flags & RESERVED != 0 {
            return Err(RecordError::Newer { flags });
        }
        let header = match flags & SYNCED {
            0 => None,
            _ => Some(SyncHeaderBytes::new(reader.prefixed()?)),
        };
        Ok((header, reader.rest()))
    }

    /// Appends the record of a local-only object.
    #[inline]
    pub fn local(table: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(LOCAL_HEAD);
        out.extend_from_slice(table);
    }
}
