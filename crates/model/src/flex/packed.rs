//! The numbers of FlexBuffers: types of values, and widths.

/// A type of value, as the upper six bits of a packed type have it.
pub(super) mod ty {
    pub(in crate::flex) const NULL: u8 = 0;
    pub(in crate::flex) const INT: u8 = 1;
    pub(in crate::flex) const UINT: u8 = 2;
    pub(in crate::flex) const FLOAT: u8 = 3;
    pub(in crate::flex) const KEY: u8 = 4;
    pub(in crate::flex) const STRING: u8 = 5;
    pub(in crate::flex) const INDIRECT_INT: u8 = 6;
    pub(in crate::flex) const INDIRECT_UINT: u8 = 7;
    pub(in crate::flex) const INDIRECT_FLOAT: u8 = 8;
    pub(in crate::flex) const MAP: u8 = 9;
    pub(in crate::flex) const VECTOR: u8 = 10;
    /// Vectors of INT, UINT, FLOAT and KEY, in this order from here on.
    pub(in crate::flex) const VECTOR_INT: u8 = 11;
    pub(in crate::flex) const VECTOR_KEY: u8 = 14;
    /// Former vectors of strings, which read as vectors of keys.
    pub(in crate::flex) const VECTOR_STRING: u8 = 15;
    /// Two INT, UINT or FLOAT without a length; then three, then four.
    pub(in crate::flex) const VECTOR_INT2: u8 = 16;
    pub(in crate::flex) const VECTOR_FLOAT4: u8 = 24;
    pub(in crate::flex) const BLOB: u8 = 25;
    pub(in crate::flex) const BOOL: u8 = 26;
    pub(in crate::flex) const VECTOR_BOOL: u8 = 36;
}

/// A width of 1, 2, 4 or 8 bytes, as its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Width(u8);

impl Width {
    pub(super) const ONE: Width = Width(0);
    pub(super) const FOUR: Width = Width(2);
    pub(super) const EIGHT: Width = Width(3);

    pub(super) const ALL: [Width; 4] = [Width(0), Width(1), Width(2), Width(3)];

    /// The width in the lower two bits of a packed type.
    pub(super) fn of_packed(packed: u8) -> Width {
        Width(packed & 3)
    }

    /// A packed type: the type, and this width.
    pub(super) fn packed_with(self, ty: u8) -> u8 {
        ty << 2 | self.0
    }

    /// The width of this many bytes, if it is one.
    pub(super) fn of_bytes(bytes: u64) -> Option<Width> {
        Width::ALL.into_iter().find(|width| width.bytes() as u64 == bytes)
    }

    pub(super) fn bytes(self) -> usize {
        1 << self.0
    }

    /// The smallest width that holds an unsigned number.
    pub(super) fn of_unsigned(number: u64) -> Width {
        match number {
            0..=0xff => Width(0),
            0x100..=0xffff => Width(1),
            0x1_0000..=0xffff_ffff => Width(2),
            _ => Width(3),
        }
    }

    /// The smallest width that holds a signed number.
    pub(super) fn of_signed(number: i64) -> Width {
        if i8::try_from(number).is_ok() {
            Width(0)
        } else if i16::try_from(number).is_ok() {
            Width(1)
        } else if i32::try_from(number).is_ok() {
            Width(2)
        } else {
            Width(3)
        }
    }
}
