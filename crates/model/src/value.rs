//! Values of properties, owned and borrowed from record bytes.

use crate::codec::DecodeError;
use crate::flex::Flex;
use crate::ids::ObjectId;
use crate::types::PropertyType;

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
    /// A value without a schema.
    Flex(Flex),
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
    /// FlexBuffers bytes; [`crate::flex::FlexRef`] reads them.
    Flex(&'a [u8]),
    /// The elements of a vector of numbers, bytes or booleans, little-endian, one after the other; the property's type
    /// says how wide each is.
    Elements(&'a [u8]),
    /// A vector of strings, still encoded; see [`crate::record::StringVector`].
    StringVector(crate::record::StringVector<'a>),
}

impl Value {
    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a 32-bit float",
            Value::Double(_) => "a 64-bit float",
            Value::String(_) => "a string",
            Value::Relation(_) => "a link",
            Value::Flex(_) => "a Flex value",
            Value::BoolVector(_) => "a vector of booleans",
            Value::ByteVector(_) => "bytes",
            Value::ShortVector(_) => "a vector of 16-bit integers",
            Value::IntVector(_) => "a vector of 32-bit integers",
            Value::LongVector(_) => "a vector of 64-bit integers",
            Value::FloatVector(_) => "a vector of 32-bit floats",
            Value::DoubleVector(_) => "a vector of 64-bit floats",
            Value::StringVector(_) => "a vector of strings",
        }
    }
}

impl ValueRef<'_> {
    /// Whether there is no value.
    pub fn is_null(self) -> bool {
        matches!(self, ValueRef::Null)
    }
}

/// The value that a cell holds: the canonical bytes of a property, as changes and states carry them.
///
/// # Errors
///
/// If the bytes are not a value of this type: a wrong width, or text that is not UTF-8. Links are not cells with a local
/// meaning and read as [`DecodeError::Invalid`].
pub fn value_of_cell(ty: PropertyType, bytes: &[u8]) -> Result<Value, DecodeError> {
    use PropertyType as T;
    fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
        bytes.try_into().map_err(|_| DecodeError::Invalid { what: "the width of a value" })
    }
    fn elements<const N: usize, V>(bytes: &[u8], of: impl Fn([u8; N]) -> V) -> Result<Vec<V>, DecodeError> {
        let (elements, rest) = bytes.as_chunks::<N>();
        if rest.is_empty() {
            Ok(elements.iter().map(|&element| of(element)).collect())
        } else {
            Err(DecodeError::Invalid { what: "the width of a vector" })
        }
    }
    Ok(match ty {
        T::Bool => Value::Bool(fixed::<1>(bytes)? != [0]),
        T::Byte => Value::Int(i8::from_le_bytes(fixed(bytes)?).into()),
        T::Short => Value::Int(i16::from_le_bytes(fixed(bytes)?).into()),
        T::Char => Value::Int(u16::from_le_bytes(fixed(bytes)?).into()),
        T::Int => Value::Int(i32::from_le_bytes(fixed(bytes)?).into()),
        T::Long | T::Date | T::DateNano => Value::Int(i64::from_le_bytes(fixed(bytes)?)),
        T::Float => Value::Float(f32::from_le_bytes(fixed(bytes)?)),
        T::Double => Value::Double(f64::from_le_bytes(fixed(bytes)?)),
        T::String => Value::String(text(bytes)?.to_owned()),
        T::Relation => return Err(DecodeError::Invalid { what: "a link, which has no local value here" }),
        T::Flex => {
            Value::Flex(Flex::decode(bytes).map_err(|error| DecodeError::Invalid { what: error.what() })?)
        }
        T::BoolVector => Value::BoolVector(bytes.iter().map(|&byte| byte != 0).collect()),
        T::ByteVector => Value::ByteVector(bytes.to_vec()),
        T::ShortVector | T::CharVector => Value::ShortVector(elements(bytes, i16::from_le_bytes)?),
        T::IntVector => Value::IntVector(elements(bytes, i32::from_le_bytes)?),
        T::LongVector | T::DateVector | T::DateNanoVector => {
            Value::LongVector(elements(bytes, i64::from_le_bytes)?)
        }
        T::FloatVector => Value::FloatVector(elements(bytes, f32::from_le_bytes)?),
        T::DoubleVector => Value::DoubleVector(elements(bytes, f64::from_le_bytes)?),
        T::StringVector => Value::StringVector(
            cell_strings(bytes).map(|string| string.map(str::to_owned)).collect::<Result<_, _>>()?,
        ),
    })
}

/// The strings of a cell of [`PropertyType::StringVector`]: per element its length as a 32-bit number, then its text.
pub fn cell_strings(bytes: &[u8]) -> impl Iterator<Item = Result<&str, DecodeError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let element = rest.split_first_chunk::<4>().and_then(|(length, tail)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            tail.split_at_checked(length)
        });
        match element {
            Some((element, tail)) => {
                rest = tail;
                Some(text(element))
            }
            None => {
                rest = &[];
                Some(Err(DecodeError::Truncated))
            }
        }
    })
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid { what: "text that is not UTF-8" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_the_wrong_width_are_refused() {
        for &ty in PropertyType::ALL {
            let odd = [0xff; 3];
            let fits = ty.element_bytes() == Some(1);
            if ty != PropertyType::Relation {
                assert_eq!(value_of_cell(ty, &odd).is_ok(), fits, "{ty}");
            }
        }
    }

    #[test]
    fn strings_of_a_cell_end_where_their_lengths_say() {
        let cell = [2, 0, 0, 0, b'h', b'i', 0, 0, 0, 0];
        assert_eq!(cell_strings(&cell).collect::<Result<Vec<_>, _>>(), Ok(vec!["hi", ""]));
        assert!(cell_strings(&cell[..5]).any(|string| string.is_err()));
        assert!(cell_strings(&[255, 255, 255, 255]).any(|string| string.is_err()));
    }
}
