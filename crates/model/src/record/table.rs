//! Reading a FlatBuffers table in place, every access checked.

use std::borrow::Cow;

use super::layout::{TABLE_HEAD_BYTES, VTABLE_HEAD_BYTES};
use super::{RecordError, StringVector, TableLayout};
use crate::flex::check_flex;
use crate::types::PropertyType;
use crate::value::ValueRef;

/// A table whose frame was checked: root, vtable and inline part lie within the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    pub(super) bytes: &'a [u8],
    /// The entries of the vtable.
    pub(crate) vtable: &'a [u8],
    /// Where the table begins.
    pub(super) start: usize,
    pub(super) inline: usize,
}

impl<'a> Table<'a> {
    /// Checks the frame of a table; its properties are checked as they are read.
    ///
    /// # Errors
    ///
    /// [`RecordError::Table`] if root, vtable or inline part lie outside the bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let damaged = |what| RecordError::Table { what };
        let start = u32_at(bytes, 0).ok_or(damaged("no root"))? as usize;
        let back = u32_at(bytes, start).ok_or(damaged("the root lies outside"))?.cast_signed();
        let vtable = usize::try_from(start as i64 - i64::from(back))
            .map_err(|_| damaged("the vtable lies outside"))?;
        let vtable_bytes = u16_at(bytes, vtable).ok_or(damaged("the vtable lies outside"))? as usize;
        let inline = u16_at(bytes, vtable + 2).ok_or(damaged("the vtable lies outside"))? as usize;
        if vtable_bytes < VTABLE_HEAD_BYTES || !vtable_bytes.is_multiple_of(2) || inline < TABLE_HEAD_BYTES {
            return Err(damaged("the vtable has impossible lengths"));
        }
        let entries = bytes.get(vtable + VTABLE_HEAD_BYTES..vtable + vtable_bytes);
        if start.checked_add(inline).is_none_or(|end| end > bytes.len()) {
            return Err(damaged("the inline part lies outside"));
        }
        Ok(Table { bytes, vtable: entries.ok_or(damaged("the vtable lies outside"))?, start, inline })
    }

    /// The number of slots that the writer knew.
    #[inline]
    pub fn slots(&self) -> usize {
        self.vtable.len() / 2
    }

    /// All bytes of the table.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the property in this slot is null, or was not known to the writer.
    #[inline]
    pub fn is_null(&self, slot: usize) -> bool {
        self.entry(slot) == 0
    }

    /// The value in this slot, read as this type.
    ///
    /// # Errors
    ///
    /// [`RecordError::Slot`] if the bytes are damaged or of another type.
    pub fn get(&self, slot: usize, ty: PropertyType) -> Result<ValueRef<'a>, RecordError> {
        use PropertyType as T;
        let value = match ty {
            T::Bool => self.fixed::<1>(slot, ty)?.map(|[byte]| ValueRef::Bool(byte != 0)),
            T::Byte | T::Short | T::Char | T::Int | T::Long | T::Date | T::DateNano => {
                self.int(slot, ty)?.map(ValueRef::Int)
            }
            T::Relation => self.int(slot, ty)?.map(|id| ValueRef::Relation(id.cast_unsigned())),
            T::Float => self.float(slot)?.map(ValueRef::Float),
            T::Double => self.double(slot)?.map(ValueRef::Double),
            T::String => self.str(slot)?.map(ValueRef::String),
            T::Flex => self.bytes(slot, ty)?.map(ValueRef::Flex),
            T::StringVector => self.strings(slot)?.map(ValueRef::StringVector),
            _ => self.bytes(slot, ty)?.map(ValueRef::Elements),
        };
        Ok(value.unwrap_or(ValueRef::Null))
    }

    /// An integer, date, boolean or link; characters are zero-extended, all others sign-extended.
    ///
    /// # Errors
    ///
    /// [`RecordError::Slot`] if the bytes are damaged or the type is none of these.
    #[inline]
    pub fn int(&self, slot: usize, ty: PropertyType) -> Result<Option<i64>, RecordError> {
        use PropertyType as T;
        Ok(match ty {
            T::Bool => self.fixed(slot, ty)?.map(|[byte]| i64::from(byte != 0)),
            T::Byte => self.fixed(slot, ty)?.map(|bytes| i8::from_le_bytes(bytes).into()),
            T::Short => self.fixed(slot, ty)?.map(|bytes| i16::from_le_bytes(bytes).into()),
            T::Char => self.fixed(slot, ty)?.map(|bytes| u16::from_le_bytes(bytes).into()),
            T::Int => self.fixed(slot, ty)?.map(|bytes| i32::from_le_bytes(bytes).into()),
            T::Long | T::Date | T::DateNano | T::Relation => self.fixed(slot, ty)?.map(i64::from_le_bytes),
            _ => return Err(RecordError::Slot { slot, ty, what: "this type is no integer" }),
        })
    }

    /// A 32-bit float.
    ///
    /// # Errors
    ///
    /// [`RecordError::Slot`] if the bytes are damaged.
    #[inline]
    pub fn float(&self, slot: usize) -> Result<Option<f32>, RecordError> {
        Ok(self.fixed(slot, PropertyType::Float)?.map(f32::from_le_bytes))
    }

    /// A 64-bit float.
    ///
    /// # Errors
    ///
    /// [`RecordError::Slot`] if the bytes are damaged.
    #[inline]
    pub fn double(&self, slot: usize) -> Result<Option<f64>, RecordError> {
        Ok(self.fixed(slot, PropertyType::Double)?.map(f64::from_le_bytes))
    }

    /// Text.
    ///
    /// # Errors
    ///
    /// [`RecordError::Slot`] if the bytes are damaged or not UTF-8.
    #[inline]
    pub fn str(&self, slot: usize) -> Result<Option<&'a str>, RecordError> {
        let ty = PropertyType::String;
        let Some(bytes) = self.bytes(slot, ty)? else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::Slot {
            slot,
            ty,
            what: "it is not UTF-8",
        })?;
        Ok(Some(text))
    }

    /// The raw bytes of a string, a Flex value or a vector of fixed-width elements.
    ///
    /// # Errors
    ///
    /// [`RecordError::Slot`] if the bytes are damaged.
    #[inline]
    pub fn bytes(&self, slot: usize, ty: PropertyType) -> Result<Option<&'a [u8]>, RecordError> {
        let Some(place) = self.place(slot, 4, ty)? else { return Ok(None) };
        let damaged = RecordError::Slot { slot, ty, what: "it lies outside" };
        let width = ty.element_bytes().unwrap_or(1);
        let (start, len) = vector(self.bytes, place).ok_or(damaged)?;
        let end = len.checked_mul(width).and_then(|bytes| start.checked_add(bytes)).ok_or(damaged)?;
        self.bytes.get(start..end).map(Some).ok_or(damaged)
    }

    /// A vector of strings.
    ///
    /// # Errors
    ///
    /// [`RecordError::Slot`] if the bytes are damaged; its strings are checked as they are read.
    pub fn strings(&self, slot: usize) -> Result<Option<StringVector<'a>>, RecordError> {
        let ty = PropertyType::StringVector;
        let Some(place) = self.place(slot, 4, ty)? else { return Ok(None) };
        let damaged = RecordError::Slot { slot, ty, what: "it lies outside" };
        let (start, len) = vector(self.bytes, place).ok_or(damaged)?;
        let end = len.checked_mul(4).and_then(|bytes| start.checked_add(bytes)).ok_or(damaged)?;
        if end > self.bytes.len() {
            return Err(damaged);
        }
        Ok(Some(StringVector { bytes: self.bytes, start, len, slot }))
    }

    /// The value in its canonical bytes, as cells carry it, but for links, which are local ids of 8 bytes here.
    ///
    /// # Errors
    ///
    /// [`RecordError::Slot`] if the bytes are damaged.
    #[inline]
    pub fn stored(&self, slot: usize, ty: PropertyType) -> Result<Option<Cow<'a, [u8]>>, RecordError> {
        if let Some(width) = ty.scalar_bytes() {
            let place = self.place(slot, width, ty)?;
            return Ok(place.map(|place| Cow::Borrowed(&self.bytes[place..place + width])));
        }
        if ty == PropertyType::StringVector {
            let Some(strings) = self.strings(slot)? else { return Ok(None) };
            let mut bytes = Vec::new();
            for string in strings.iter() {
                let string = string?;
                let length =
                    u32::try_from(string.len()).expect("a string within a record has a 32-bit length");
                bytes.extend_from_slice(&length.to_le_bytes());
                bytes.extend_from_slice(string.as_bytes());
            }
            return Ok(Some(Cow::Owned(bytes)));
        }
        Ok(self.bytes(slot, ty)?.map(Cow::Borrowed))
    }

    /// Reads every property of this layout, text included.
    ///
    /// # Errors
    ///
    /// The first [`RecordError`] that is met.
    pub fn check(&self, layout: &TableLayout) -> Result<(), RecordError> {
        for slot in 0..layout.slots() {
            match layout.slot_type(slot) {
                Some(PropertyType::StringVector) => {
                    if let Some(strings) = self.strings(slot)? {
                        strings.iter().try_for_each(|string| string.map(|_| ()))?;
                    }
                }
                Some(ty) => {
                    if let ValueRef::Flex(bytes) = self.get(slot, ty)? {
                        check_flex(bytes).map_err(|error| RecordError::Slot {
                            slot,
                            ty,
                            what: error.what(),
                        })?;
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    /// How many bytes the inline part has.
    #[inline]
    pub(crate) fn inline_bytes(&self) -> usize {
        self.inline
    }

    /// The inline part, and all that stands after it.
    #[inline]
    pub(crate) fn inline_and_after(&self) -> &'a [u8] {
        &self.bytes[self.start..]
    }

    #[inline]
    fn entry(&self, slot: usize) -> usize {
        u16_at(self.vtable, 2 * slot).unwrap_or(0) as usize
    }

    /// Where the inline bytes of a slot are; `None` if it is null.
    #[inline]
    fn place(&self, slot: usize, width: usize, ty: PropertyType) -> Result<Option<usize>, RecordError> {
        match self.entry(slot) {
            0 => Ok(None),
            offset if offset >= TABLE_HEAD_BYTES && offset + width <= self.inline => {
                Ok(Some(self.start + offset))
            }
            _ => Err(RecordError::Slot { slot, ty, what: "it lies outside the table" }),
        }
    }

    /// The bytes of a scalar that has `N` of them.
    ///
    /// # Errors
    ///
    /// [`RecordError::Slot`], which names the type, if the bytes are damaged.
    #[inline]
    pub fn fixed<const N: usize>(
        &self,
        slot: usize,
        ty: PropertyType,
    ) -> Result<Option<[u8; N]>, RecordError> {
        let place = self.place(slot, N, ty)?;
        // The frame was checked to hold the inline part.
        Ok(place.and_then(|place| self.bytes.get(place..)?.first_chunk().copied()))
    }
}

/// Follows the offset at `place` to a vector: where its elements begin, and how many there are.
#[inline]
fn vector(bytes: &[u8], place: usize) -> Option<(usize, usize)> {
    let target = place.checked_add(u32_at(bytes, place)? as usize)?;
    Some((target.checked_add(4)?, u32_at(bytes, target)? as usize))
}

/// Follows the offset at `place` to a string's bytes.
#[inline]
pub(super) fn follow(bytes: &[u8], place: usize) -> Option<&[u8]> {
    let (start, len) = vector(bytes, place)?;
    bytes.get(start..start.checked_add(len)?)
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}
