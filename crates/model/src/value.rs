//! Values of properties, owned and borrowed from record bytes.

use crate::ids::ObjectId;

/// The value of one property, owned.
///
/// All integers, characters and dates are [`Value::Int`]; for a property flagged unsigned the bits are those of the unsigned
/// number. The property's type decides how many bytes are stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// Byte, Short, Char, Int, Long, Date (milliseconds) or DateNano (nanoseconds).
    Int(i64),
    /// A 32-bit float.
    Float(f32),
    /// A 64-bit float.
    Double(f64),
    /// Text.
    String(String),
    /// The local id of the object linked to.
    Relation(ObjectId),
    /// FlexBuffers bytes.
    Flex(Vec<u8>),
    /// Booleans.
    BoolVector(Vec<bool>),
    /// Bytes.
    ByteVector(Vec<u8>),
    /// 16-bit integers; also character codes, as their bits.
    ShortVector(Vec<i16>),
    /// 32-bit integers.
    IntVector(Vec<i32>),
    /// 64-bit integers; also dates.
    LongVector(Vec<i64>),
    /// 32-bit floats.
    FloatVector(Vec<f32>),
    /// 64-bit floats.
    DoubleVector(Vec<f64>),
    /// Strings.
    StringVector(Vec<String>),
}

/// The value of one property, borrowed from the bytes of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ValueRef<'a> {
    /// No value.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// Byte, Short, Char, Int, Long, Date (milliseconds) or DateNano (nanoseconds).
    Int(i64),
    /// A 32-bit float.
    Float(f32),
    /// A 64-bit float.
    Double(f64),
    /// Text.
    String(&'a str),
    /// The local id of the object linked to.
    Relation(ObjectId),
    /// FlexBuffers bytes.
    Flex(&'a [u8]),
    /// The elements of a vector of numbers, bytes or booleans, little-endian, one after the other; the property's type
    /// says how wide each is.
    Elements(&'a [u8]),
    /// A vector of strings, still encoded; see [`crate::record::StringVector`].
    StringVector(crate::record::StringVector<'a>),
}

impl ValueRef<'_> {
    /// Whether there is no value.
    pub fn is_null(self) -> bool {
        matches!(self, ValueRef::Null)
    }
}
