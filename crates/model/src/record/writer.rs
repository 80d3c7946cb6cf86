//! Writing a table from its template.

use super::layout::{LEAD_BYTES, ScalarPlace, Slot, TableLayout, vtable_entry};
use super::{RecordError, Table};
use crate::flex::{Flex, FlexError};
use crate::types::PropertyType;
use crate::value::Value;

/// Builds tables of one layout; the buffers serve one table after the other.
///
/// Zero is written like every other value; only null is left out. A property should be set once per table: setting it again
/// leaves the bytes of a former string or vector behind.
#[derive(Clone, Debug)]
pub struct TableWriter<'l> {
    layout: &'l TableLayout,
    /// The table, after room for what stands before it in a record.
    bytes: Vec<u8>,
    element_places: Vec<usize>,
}

/// Why a value cannot be stored in a property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The value is of another kind.
    #[error("{got} is not a value for a {ty} property")]
    Kind {
        /// What the property holds.
        ty: PropertyType,
        /// What was given.
        got: &'static str,
    },
    /// The number does not fit.
    #[error("{number} does not fit a {ty} property")]
    Range {
        /// What the property holds.
        ty: PropertyType,
        /// What was given.
        number: i64,
    },
    /// The Flex value cannot be written.
    #[error(transparent)]
    Flex(#[from] FlexError),
    /// There is no property in this slot.
    #[error("there is no property in slot {slot}")]
    NoSlot {
        /// The slot.
        slot: usize,
    },
}

impl<'l> TableWriter<'l> {
    /// A writer at the start of a table whose properties are all null.
    pub fn new(layout: &'l TableLayout) -> Self {
        TableWriter { layout, bytes: layout.template.clone(), element_places: Vec::new() }
    }

    /// As [`TableWriter::new`], in this memory; [`TableWriter::into_room`] gives it back.
    pub fn reusing(layout: &'l TableLayout, room: Vec<u8>) -> Self {
        let mut writer = TableWriter { layout, bytes: room, element_places: Vec::new() };
        writer.clear();
        writer
    }

    /// Starts a new table whose properties are all null.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&self.layout.template);
    }

    /// Sets a property to null.
    #[inline]
    pub fn set_null(&mut self, slot: usize) {
        if self.layout.slot(slot).is_some() {
            let entry = LEAD_BYTES + vtable_entry(slot);
            self.bytes[entry..entry + 2].fill(0);
        }
    }

    /// Sets an integer, date, boolean or link; the bits that its type has no room for are cut off.
    ///
    /// # Panics
    ///
    /// As all setters: if there is no property in the slot, or it is of another type.
    #[inline]
    pub fn set_int(&mut self, slot: usize, number: i64) {
        let Slot { ty, offset } = self.slot(slot);
        let place = self.present_at(slot, offset);
        let out = &mut self.bytes[place..];
        let bytes = number.to_le_bytes();
        match ty {
            PropertyType::Bool => out[0] = u8::from(number != 0),
            _ if ty.is_integer() || ty == PropertyType::Relation => match ty.scalar_bytes() {
                Some(8) => out[..8].copy_from_slice(&bytes),
                Some(4) => out[..4].copy_from_slice(&bytes[..4]),
                Some(2) => out[..2].copy_from_slice(&bytes[..2]),
                _ => out[0] = bytes[0],
            },
            _ => panic!("slot {slot} holds a {ty}, not an integer"),
        }
    }

    /// Sets the scalar at a place of this layout, which was looked up before.
    ///
    /// # Panics
    ///
    /// If the property has not as many bytes.
    #[inline]
    pub fn set_at<const N: usize>(&mut self, place: ScalarPlace, bytes: [u8; N]) {
        assert!(place.bytes() == N, "a {} is not {N} bytes wide", place.ty());
        let table = &mut self.bytes[LEAD_BYTES..];
        let (entry, at) = (usize::from(place.entry), usize::from(place.at));
        table[entry..entry + 2].copy_from_slice(&place.offset.to_le_bytes());
        table[at..at + N].copy_from_slice(&bytes);
    }

    /// Sets a 32-bit float.
    #[inline]
    pub fn set_float(&mut self, slot: usize, number: f32) {
        self.set_scalar(slot, PropertyType::Float, &number.to_le_bytes());
    }

    /// Sets a 64-bit float.
    #[inline]
    pub fn set_double(&mut self, slot: usize, number: f64) {
        self.set_scalar(slot, PropertyType::Double, &number.to_le_bytes());
    }

    /// Sets a string, a Flex value, or a vector from its elements in little-endian, one after the other.
    #[inline]
    pub fn set_bytes(&mut self, slot: usize, bytes: &[u8]) {
        let Slot { ty, offset } = self.slot(slot);
        let (width, terminator) = match ty {
            PropertyType::String => (1, 1),
            PropertyType::Flex => (1, 0),
            _ => (ty.element_bytes().unwrap_or_else(|| panic!("slot {slot} holds a {ty}, not bytes")), 0),
        };
        // Widths are powers of two, which the compiler cannot know; it would divide.
        let (whole, elements) = (bytes.len() & (width - 1) == 0, bytes.len() >> width.trailing_zeros());
        assert!(whole, "a vector of {width}-byte elements has {} bytes", bytes.len());
        let place = self.present_at(slot, offset);
        let start = aligned_vector(self.bytes.len(), width);
        self.bytes.reserve(PADDING.len() + VECTOR_LENGTH_BYTES + bytes.len() + terminator);
        self.bytes.extend_from_slice(&PADDING);
        self.bytes.truncate(start);
        self.bytes.extend_from_slice(&to_u32(elements).to_le_bytes());
        self.bytes.extend_from_slice(bytes);
        if terminator > 0 {
            self.bytes.push(0);
        }
        self.bytes[place..place + 4].copy_from_slice(&to_u32(start - place).to_le_bytes());
    }

    /// Sets a vector of strings.
    pub fn set_strings<'s>(&mut self, slot: usize, strings: impl ExactSizeIterator<Item = &'s str>) {
        let ty = self.ty(slot);
        assert!(ty == PropertyType::StringVector, "slot {slot} holds a {ty}, not strings");
        let place = self.present(slot);
        self.align_vector(4);
        self.point(place);
        self.put_len(strings.len());
        let start = self.bytes.len();
        self.bytes.resize(start + 4 * strings.len(), 0);
        self.element_places.clear();
        self.element_places.extend((0..strings.len()).map(|at| start + 4 * at));
        for (at, string) in strings.enumerate() {
            self.align_vector(1);
            self.point(self.element_places[at]);
            self.put_len(string.len());
            self.bytes.extend_from_slice(string.as_bytes());
            self.bytes.push(0);
        }
    }

    /// Sets a property from its canonical bytes, as [`Table::stored`] returns them.
    ///
    /// # Panics
    ///
    /// If the bytes do not have the width of the type; strings of a string vector that do not decode are left out.
    pub fn set_stored(&mut self, slot: usize, bytes: &[u8]) {
        match self.ty(slot) {
            PropertyType::StringVector => {
                let strings: Vec<&str> = crate::value::cell_strings(bytes).map_while(Result::ok).collect();
                self.set_strings(slot, strings.into_iter());
            }
            ty if ty.scalar_bytes().is_some() => self.set_scalar(slot, ty, bytes),
            _ => self.set_bytes(slot, bytes),
        }
    }

    /// Sets a property from a value whose kind and range are checked.
    ///
    /// # Errors
    ///
    /// [`ValueError`] if the value does not fit the property; the property is as it was.
    pub fn set_value(&mut self, slot: usize, value: &Value) -> Result<(), ValueError> {
        use PropertyType as T;
        let ty = self.layout.slot_type(slot).ok_or(ValueError::NoSlot { slot })?;
        match (ty, value) {
            (_, Value::Null) => self.set_null(slot),
            (T::Bool, Value::Bool(bit)) => self.set_int(slot, i64::from(*bit)),
            (_, Value::Int(number)) if ty.is_integer() => {
                if !fits(ty, *number) {
                    return Err(ValueError::Range { ty, number: *number });
                }
                self.set_int(slot, *number);
            }
            (T::Relation, Value::Relation(0)) => self.set_null(slot),
            (T::Relation, Value::Relation(id)) => self.set_int(slot, id.cast_signed()),
            (T::Float, Value::Float(number)) => self.set_float(slot, *number),
            (T::Double, Value::Double(number)) => self.set_double(slot, *number),
            (T::String, Value::String(text)) => self.set_bytes(slot, text.as_bytes()),
            (T::Flex, Value::Flex(Flex::Null)) => self.set_null(slot),
            (T::Flex, Value::Flex(flex)) => self.set_bytes(slot, &flex.encode()?),
            (T::ByteVector, Value::ByteVector(bytes)) => self.set_bytes(slot, bytes),
            (T::BoolVector, Value::BoolVector(bits)) => self.set_elements(slot, bits, |bit| [u8::from(bit)]),
            (T::ShortVector | T::CharVector, Value::ShortVector(of)) => {
                self.set_elements(slot, of, i16::to_le_bytes)
            }
            (T::IntVector, Value::IntVector(of)) => self.set_elements(slot, of, i32::to_le_bytes),
            (T::LongVector | T::DateVector | T::DateNanoVector, Value::LongVector(of)) => {
                self.set_elements(slot, of, i64::to_le_bytes);
            }
            (T::FloatVector, Value::FloatVector(of)) => self.set_elements(slot, of, f32::to_le_bytes),
            (T::DoubleVector, Value::DoubleVector(of)) => self.set_elements(slot, of, f64::to_le_bytes),
            (T::StringVector, Value::StringVector(of)) => {
                self.set_strings(slot, of.iter().map(String::as_str))
            }
            (ty, value) => return Err(ValueError::Kind { ty, got: value.kind() }),
        }
        Ok(())
    }

    /// Sets every property as it is in a table of this or an older schema version.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if that table is damaged; also if its properties share their bytes, of which copies would be far longer.
    pub fn copy_from(&mut self, table: &Table<'_>) -> Result<(), RecordError> {
        let mut left = table.as_bytes().len();
        for slot in 0..self.layout.slots() {
            let Some(ty) = self.layout.slot_type(slot) else { continue };
            match table.stored(slot, ty)? {
                Some(bytes) => {
                    left = left
                        .checked_sub(bytes.len())
                        .ok_or(RecordError::Table { what: "its properties share their bytes" })?;
                    self.set_stored(slot, &bytes);
                }
                None => self.set_null(slot),
            }
        }
        Ok(())
    }

    /// The table as it is; the writer keeps it until [`TableWriter::clear`].
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[LEAD_BYTES..]
    }

    /// The table, to be read as it is.
    #[inline]
    pub fn table(&self) -> Table<'_> {
        self.layout.own(self.as_bytes()).expect("a writer writes tables of its layout")
    }

    /// The record of this table: `head`, and the table after it.
    ///
    /// # Panics
    ///
    /// If the head has more than [`TableWriter::HEAD_BYTES_MAX`] bytes.
    #[inline]
    pub fn as_record(&mut self, head: &[u8]) -> &[u8] {
        let start = LEAD_BYTES - head.len();
        self.bytes[start..LEAD_BYTES].copy_from_slice(head);
        &self.bytes[start..]
    }

    /// The length of a head that [`TableWriter::as_record`] can put before a table.
    pub const HEAD_BYTES_MAX: usize = LEAD_BYTES;

    /// The memory of the table, to be used again.
    pub fn into_room(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends the table; the writer keeps it until [`TableWriter::clear`].
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn set_elements<T: Copy, const N: usize>(
        &mut self,
        slot: usize,
        elements: &[T],
        to_bytes: impl Fn(T) -> [u8; N],
    ) {
        let bytes: Vec<u8> = elements.iter().flat_map(|&element| to_bytes(element)).collect();
        self.set_bytes(slot, &bytes);
    }

    #[inline]
    fn set_scalar(&mut self, slot: usize, expected: PropertyType, bytes: &[u8]) {
        let ty = self.ty(slot);
        assert!(ty == expected, "slot {slot} holds a {ty}, not a {expected}");
        assert!(ty.scalar_bytes() == Some(bytes.len()), "a {ty} is not {} bytes wide", bytes.len());
        let place = self.present(slot);
        self.bytes[place..place + bytes.len()].copy_from_slice(bytes);
    }

    #[inline]
    fn ty(&self, slot: usize) -> PropertyType {
        self.slot(slot).ty
    }

    #[inline]
    fn slot(&self, slot: usize) -> Slot {
        self.layout.slot(slot).unwrap_or_else(|| panic!("there is no property in slot {slot}"))
    }

    /// Marks the property as present; returns the place of its inline bytes.
    #[inline]
    fn present(&mut self, slot: usize) -> usize {
        self.present_at(slot, self.slot(slot).offset)
    }

    #[inline]
    fn present_at(&mut self, slot: usize, offset: u16) -> usize {
        let entry = LEAD_BYTES + vtable_entry(slot);
        self.bytes[entry..entry + 2].copy_from_slice(&offset.to_le_bytes());
        LEAD_BYTES + self.layout.table + offset as usize
    }

    /// Pads up to where a vector may begin.
    #[inline]
    fn align_vector(&mut self, width: usize) {
        let start = aligned_vector(self.bytes.len(), width);
        self.bytes.resize(start, 0);
    }

    /// Lets the offset at `place` point to the end of what is written.
    #[inline]
    fn point(&mut self, place: usize) {
        let offset = to_u32(self.bytes.len() - place);
        self.bytes[place..place + 4].copy_from_slice(&offset.to_le_bytes());
    }

    #[inline]
    fn put_len(&mut self, len: usize) {
        self.bytes.extend_from_slice(&to_u32(len).to_le_bytes());
    }
}

/// The length at the start of a vector.
const VECTOR_LENGTH_BYTES: usize = 4;

/// More than ever stands between what is written and a vector: appended whole and cut off, it costs less than what is needed.
const PADDING: [u8; 8] = [0; 8];

/// Where a vector may begin so that its length is aligned to 4 and its elements to their width, a power of two.
#[inline]
fn aligned_vector(end: usize, width: usize) -> usize {
    let mask = width.max(4) - 1;
    ((end + VECTOR_LENGTH_BYTES + mask) & !mask) - VECTOR_LENGTH_BYTES
}

#[inline]
fn to_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a record is far shorter than 4 GiB")
}

/// Whether a number fits the type, read as signed or as unsigned.
fn fits(ty: PropertyType, number: i64) -> bool {
    let bits = match ty {
        PropertyType::Byte => 8,
        PropertyType::Short | PropertyType::Char => 16,
        PropertyType::Int => 32,
        _ => return true,
    };
    let lowest = if ty == PropertyType::Char { 0 } else { -(1_i64 << (bits - 1)) };
    (lowest..1_i64 << bits).contains(&number)
}
