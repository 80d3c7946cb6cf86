//! The tree in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::{FlexError, FlexRef, writer};

/// A map within a [`Flex`] value, in order of its keys.
pub type FlexMap = BTreeMap<String, Flex>;

/// A value without a schema: null, a scalar, or a list or map of such values, nested up to
/// [`FLEX_DEPTH_MAX`](super::FLEX_DEPTH_MAX) levels.
///
/// ```
/// use reconvene_model::Flex;
///
/// let mut settings = Flex::from_iter([("theme", Flex::from("dark")), ("sizes", Flex::from([1, 2]))]);
/// settings.insert("beta", true);
/// assert_eq!(settings.get("sizes").and_then(|sizes| sizes.at(1)).and_then(Flex::as_i64), Some(2));
/// assert_eq!(settings.to_string(), r#"{"beta":true,"sizes":[1,2],"theme":"dark"}"#);
/// assert_eq!(Flex::decode(&settings.encode()?)?, settings);
/// # Ok::<(), reconvene_model::flex::FlexError>(())
/// ```
///
/// Whole numbers are equal if they are the same number, signed or not; they never equal a float. Floats are equal if their bits are,
/// but that every NaN equals every other.
#[derive(Clone, Debug, Default)]
pub enum Flex {
    /// No value.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number, not negative; for those beyond the reach of [`Flex::Int`], as which all others read back.
    UInt(u64),
    /// A 64-bit float.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in their order.
    List(Vec<Flex>),
    /// Values by name. A name must not contain the character U+0000.
    Map(FlexMap),
}

impl Flex {
    /// The canonical FlexBuffers bytes: equal values have equal bytes.
    ///
    /// # Errors
    ///
    /// [`FlexError::TooDeep`] and [`FlexError::ZeroInKey`].
    pub fn encode(&self) -> Result<Vec<u8>, FlexError> {
        writer::encode(self)
    }

    /// The value of FlexBuffers bytes, whoever wrote them.
    ///
    /// # Errors
    ///
    /// [`FlexError::Damaged`] and [`FlexError::TooDeep`].
    pub fn decode(bytes: &[u8]) -> Result<Flex, FlexError> {
        FlexRef::root(bytes)?.to_flex()
    }

    /// Bytes; `From<Vec<u8>>` makes a list of numbers.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Flex {
        Flex::Bytes(bytes.into())
    }

    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Flex::Null => "null",
            Flex::Bool(_) => "a boolean",
            Flex::Int(_) | Flex::UInt(_) => "a whole number",
            Flex::Float(_) => "a float",
            Flex::String(_) => "a string",
            Flex::Bytes(_) => "bytes",
            Flex::List(_) => "a list",
            Flex::Map(_) => "a map",
        }
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Flex::Null)
    }

    /// The boolean, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Flex::Bool(bit) => Some(*bit),
            _ => None,
        }
    }

    /// The whole number, if this is one that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Flex::Int(number) => Some(*number),
            Flex::UInt(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The whole number, if this is one that fits.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Flex::Int(number) => u64::try_from(*number).ok(),
            Flex::UInt(number) => Some(*number),
            _ => None,
        }
    }

    /// The number as a float, rounded if it is a large whole one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Flex::Int(number) => Some(*number as f64),
            Flex::UInt(number) => Some(*number as f64),
            Flex::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Flex::String(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, if these are bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Flex::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The values of the list, if this is one.
    pub fn as_list(&self) -> Option<&[Flex]> {
        match self {
            Flex::List(values) => Some(values),
            _ => None,
        }
    }

    /// The map, if this is one.
    pub fn as_map(&self) -> Option<&FlexMap> {
        match self {
            Flex::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value of this name, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Flex> {
        self.as_map()?.get(key)
    }

    /// The value at this place, counted from 0, if this is a list that long.
    pub fn at(&self, place: usize) -> Option<&Flex> {
        self.as_list()?.get(place)
    }

    /// Sets the value of this name; what is not a map becomes one first. The former value, if there was one.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Flex>) -> Option<Flex> {
        if !matches!(self, Flex::Map(_)) {
            *self = Flex::Map(FlexMap::new());
        }
        match self {
            Flex::Map(map) => map.insert(key.into(), value.into()),
            _ => None,
        }
    }

    /// Takes the value of this name out, if this is a map that has it.
    pub fn remove(&mut self, key: &str) -> Option<Flex> {
        match self {
            Flex::Map(map) => map.remove(key),
            _ => None,
        }
    }

    /// Adds a value to the end; what is not a list becomes one first.
    pub fn push(&mut self, value: impl Into<Flex>) {
        if !matches!(self, Flex::List(_)) {
            *self = Flex::List(Vec::new());
        }
        if let Flex::List(values) = self {
            values.push(value.into());
        }
    }
}

/// As what a number is compared and hashed: its sign and size if it is whole, its bits if it is a float.
#[derive(PartialEq, Eq, Hash)]
enum Scalar {
    Whole(i128),
    Float(u64),
}

impl Flex {
    fn number(&self) -> Option<Scalar> {
        Some(match self {
            Flex::Int(number) => Scalar::Whole((*number).into()),
            Flex::UInt(number) => Scalar::Whole((*number).into()),
            Flex::Float(number) => Scalar::Float(canonical_float(*number).to_bits()),
            _ => return None,
        })
    }
}

/// The number itself; of all that are none the same one.
pub(super) fn canonical_float(number: f64) -> f64 {
    if number.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { number }
}

impl PartialEq for Flex {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Flex::Null, Flex::Null) => true,
            (Flex::Bool(a), Flex::Bool(b)) => a == b,
            (Flex::String(a), Flex::String(b)) => a == b,
            (Flex::Bytes(a), Flex::Bytes(b)) => a == b,
            (Flex::List(a), Flex::List(b)) => a == b,
            (Flex::Map(a), Flex::Map(b)) => a == b,
            _ => self.number().is_some_and(|number| Some(number) == other.number()),
        }
    }
}

impl Eq for Flex {}

impl Hash for Flex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Flex::Null => state.write_u8(0),
            Flex::Bool(bit) => bit.hash(state),
            Flex::Int(_) | Flex::UInt(_) | Flex::Float(_) => self.number().hash(state),
            Flex::String(text) => text.hash(state),
            Flex::Bytes(bytes) => bytes.hash(state),
            Flex::List(values) => values.hash(state),
            Flex::Map(map) => map.hash(state),
        }
    }
}

macro_rules! from {
    ($($rust:ty => |$value:ident| $flex:expr;)+) => {$(
        impl From<$rust> for Flex {
            fn from($value: $rust) -> Flex {
                $flex
            }
        }
    )+};
}

from! {
    bool => |value| Flex::Bool(value);
    i8 => |value| Flex::Int(value.into());
    i16 => |value| Flex::Int(value.into());
    i32 => |value| Flex::Int(value.into());
    i64 => |value| Flex::Int(value);
    u8 => |value| Flex::Int(value.into());
    u16 => |value| Flex::Int(value.into());
    u32 => |value| Flex::Int(value.into());
    u64 => |value| i64::try_from(value).map_or(Flex::UInt(value), Flex::Int);
    f32 => |value| Flex::Float(value.into());
    f64 => |value| Flex::Float(value);
    &str => |value| Flex::String(value.to_owned());
    String => |value| Flex::String(value);
    () => |_value| Flex::Null;
}

impl<T: Into<Flex>> From<Option<T>> for Flex {
    fn from(value: Option<T>) -> Flex {
        value.map_or(Flex::Null, Into::into)
    }
}

impl<T: Into<Flex>> From<Vec<T>> for Flex {
    fn from(values: Vec<T>) -> Flex {
        values.into_iter().collect()
    }
}

impl<T: Into<Flex>, const N: usize> From<[T; N]> for Flex {
    fn from(values: [T; N]) -> Flex {
        values.into_iter().collect()
    }
}

impl<K: Into<String>, T: Into<Flex>> From<BTreeMap<K, T>> for Flex {
    fn from(map: BTreeMap<K, T>) -> Flex {
        map.into_iter().collect()
    }
}

impl<T: Into<Flex>> FromIterator<T> for Flex {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Flex {
        Flex::List(values.into_iter().map(Into::into).collect())
    }
}

impl<K: Into<String>, T: Into<Flex>> FromIterator<(K, T)> for Flex {
    fn from_iter<I: IntoIterator<Item = (K, T)>>(entries: I) -> Flex {
        Flex::Map(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

/// As JSON, on one line; bytes as `{"$bytes":"cafe"}`, floats that JSON has no number for as `{"$float":"NaN"}`, and a map whose only
/// key could be taken for one of these as `{"$map":{...}}`.
impl fmt::Display for Flex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flex::Null => f.write_str("null"),
            Flex::Bool(bit) => write!(f, "{bit}"),
            Flex::Int(number) => write!(f, "{number}"),
            Flex::UInt(number) => write!(f, "{number}"),
            // With a fraction or an exponent even where it is whole, so that it reads as a float.
            Flex::Float(number) if number.is_finite() => write!(f, "{number:?}"),
            Flex::Float(number) => write!(f, "{{\"$float\":\"{number}\"}}"),
            Flex::String(text) => quoted(text, f),
            Flex::Bytes(bytes) => {
                f.write_str("{\"$bytes\":\"")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("\"}")
            }
            Flex::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Flex::Map(map) => {
                let is_marked = map.len() == 1 && map.keys().all(|key| key.starts_with('$'));
                f.write_str(if is_marked { "{\"$map\":{" } else { "{" })?;
                for (at, (key, value)) in map.iter().enumerate() {
                    f.write_str(if at > 0 { "," } else { "" })?;
                    quoted(key, f)?;
                    write!(f, ":{value}")?;
                }
                f.write_str(if is_marked { "}}" } else { "}" })
            }
        }
    }
}

fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\0'..'\u{20}' => write!(f, "\\u{:04x}", c as u32)?,
            _ => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}
