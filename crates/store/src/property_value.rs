//! The Rust types that a property may have, and how each stands in a record.

use std::time::{Duration, SystemTime};

use reconvene_model::evolve::PropertyDescription;
use reconvene_model::flex::FlexError;
use reconvene_model::record::RecordError;
use reconvene_model::{Flex, MergeKind, PropertyFlags, PropertyType, Uid};

use crate::entity::Entity;
use crate::field::{FieldReader, FieldWriter, ReadError};
use crate::links::{LinkField, ToOne};

/// A Rust type that can be a property of an entity.
///
/// A null that is read into a type other than `Option` gives the type's zero: 0, `false`, the empty string, no elements; or what
/// `#[property(default = ...)]` at the field says.
///
/// The derive of the same name implements it for enums and for structs around one value:
///
/// ```
/// use reconvene_store::{Entity, PropertyValue};
///
/// #[derive(PropertyValue, Clone, Copy, Debug, Default, PartialEq)]
/// # #[property(crate = "reconvene_store")]
/// #[repr(u8)]
/// enum Priority {
///     #[default]
///     Normal = 0,
///     High = 1,
///     #[property(other)]
///     Other(u8),
/// }
///
/// #[derive(PropertyValue, Clone, Debug, Default, PartialEq)]
/// # #[property(crate = "reconvene_store")]
/// struct Email(String);
///
/// #[derive(Entity, Debug, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Person {
///     id: u64,
///     email: Option<Email>,
///     priority: Priority,
/// }
///
/// let condition = Person::priority().ge(Priority::High).and(Person::email().not_null());
/// assert_eq!(condition.to_string(), "priority >= 1 AND email != null");
/// ```
///
/// An enum is stored as the numbers of its variants, of the type in `#[repr(...)]`, else as `i32`. A number that no variant
/// has, since a newer version of the application wrote it, goes into the variant marked `#[property(other)]`, which writes it back
/// as it was; without such a variant, reading the object is an error, [`StoreError::Unreadable`](crate::StoreError::Unreadable).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored as a property",
    label = "not a type of property",
    note = "a property is a `bool`, `i8` to `i64`, `u8` to `u64`, `f32`, `f64`, `String`, `Date`, `DateNano`, `Flex`, `ToOne<Entity>`, a `Counter`, a `ValueSet`, a `Vec` of `bool`, `u8`, `i8`, `i16` to `i64`, `u16` to `u64`, `f32`, `f64`, `String`, `Date` or `DateNano`, or an `Option` of these",
    note = "derive `PropertyValue` for an enum of yours, or for a struct around one of these; a type of others is stored by `#[property(with = \"...\")]`",
    note = "to leave the field out of the store, mark it `#[transient]`"
)]
pub trait PropertyValue: Sized {
    /// How the property is stored.
    const TYPE: PropertyType;

    /// What the type says about the property beyond [`PropertyValue::TYPE`]: whether integers are unsigned.
    const FLAGS: PropertyFlags;

    /// For links: the entity linked to.
    const TARGET: Option<&'static str> = None;

    /// How concurrent changes come together: one of them stands, unless the type says otherwise.
    const MERGE: MergeKind = MergeKind::Latest;

    /// The description of a property of this type; called by generated code.
    #[doc(hidden)]
    fn describe(
        name: &str,
        was: Option<&str>,
        uid: Option<u64>,
        ty: Option<PropertyType>,
        flags: PropertyFlags,
    ) -> PropertyDescription {
        PropertyDescription {
            name: name.to_owned(),
            uid: uid.map(Uid),
            was: was.map(str::to_owned),
            ty: ty.unwrap_or(Self::TYPE),
            flags: flags.with(Self::FLAGS),
            relation_target: Self::TARGET.map(str::to_owned),
            merge: Self::MERGE,
        }
    }

    /// Writes the value as the property at this ordinal.
    fn write(&self, ordinal: usize, out: &mut FieldWriter<'_, '_>);

    /// Reads the property at this ordinal.
    ///
    /// # Errors
    ///
    /// If the record's bytes are damaged, or its value is none of this type.
    fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<Self, ReadError>;

    /// The value as a field that links to another object, if it is one.
    #[doc(hidden)]
    #[inline]
    fn as_link(&mut self) -> Option<&mut dyn LinkField> {
        None
    }

    /// The value from the bytes of a scalar of exactly [`PropertyValue::TYPE`]; none if it takes more than a copy of them.
    #[doc(hidden)]
    #[inline]
    fn of_scalar(_bytes: &[u8]) -> Option<Self> {
        None
    }
}

/// A [`PropertyValue`] that is never null by itself, so that an `Option` of it loses nothing.
#[diagnostic::on_unimplemented(
    message = "`Option<{Self}>` cannot be stored as a property",
    label = "not a type of property",
    note = "an `Option` may hold any type of property but another `Option`, a `ToOne` or a `Flex`, which can be empty by themselves"
)]
pub trait NeverNull: PropertyValue {}

/// A point in time in milliseconds since the beginning of 1970, UTC; negative before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i64);

/// A point in time in nanoseconds since the beginning of 1970, UTC; negative before. Reaches from 1677 to 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateNano(pub i64);

macro_rules! dates {
    ($($name:ident, $unit:literal, $nanos_per_unit:literal;)+) => {$(
        impl $name {
            #[doc = concat!("The date as system time; `None` if the system cannot express it. Exact to the ", $unit, ".")]
            pub fn to_system_time(self) -> Option<SystemTime> {
                let distance = self.0.unsigned_abs();
                let whole = Duration::from_secs(distance / (1_000_000_000 / $nanos_per_unit));
                let part = Duration::from_nanos(distance % (1_000_000_000 / $nanos_per_unit) * $nanos_per_unit);
                let distance = whole + part;
                match self.0 {
                    0.. => SystemTime::UNIX_EPOCH.checked_add(distance),
                    _ => SystemTime::UNIX_EPOCH.checked_sub(distance),
                }
            }
        }

        impl From<SystemTime> for $name {
            #[doc = concat!("The ", $unit, " that the time falls into; times out of range become the nearest date.")]
            fn from(time: SystemTime) -> Self {
                let units = match time.duration_since(SystemTime::UNIX_EPOCH) {
                    Ok(after) => (after.as_nanos() / $nanos_per_unit) as i128,
                    Err(before) => -(before.duration().as_nanos().div_ceil($nanos_per_unit) as i128),
                };
                $name(units.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
            }
        }
    )+};
}

dates! {
    Date, "millisecond", 1_000_000;
    DateNano, "nanosecond", 1;
}

macro_rules! integers {
    ($($rust:ty as $signed:ty => $ty:ident, $flags:ident;)+) => {$(
        impl PropertyValue for $rust {
            const TYPE: PropertyType = PropertyType::$ty;
            const FLAGS: PropertyFlags = PropertyFlags::$flags;

            // By way of the signed type of the same width: what is written is what `FieldReader::int` gives back.
            #[inline]
            fn write(&self, ordinal: usize, out: &mut FieldWriter<'_, '_>) {
                out.set_scalar(ordinal, PropertyType::$ty, self.to_le_bytes(), i64::from(*self as $signed));
            }

            #[inline]
            fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<Self, ReadError> {
                Ok(<$rust>::from_le_bytes(fields.int_bytes(ordinal)?))
            }

            #[inline]
            fn of_scalar(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(<$rust>::from_le_bytes)
            }
        }

        impl NeverNull for $rust {}
    )+};
}

integers! {
    i8 as i8 => Byte, NONE;
    i16 as i16 => Short, NONE;
    i32 as i32 => Int, NONE;
    i64 as i64 => Long, NONE;
    u8 as i8 => Byte, UNSIGNED;
    u16 as i16 => Short, UNSIGNED;
    u32 as i32 => Int, UNSIGNED;
    u64 as i64 => Long, UNSIGNED;
}

macro_rules! values {
    ($($rust:ty => $ty:ident,
        write |$value:ident, $ordinal:ident, $out:ident| $write:expr,
        read |$fields:ident| $read:expr
        $(, scalar |$bytes:ident| $scalar:expr)?;)+) => {$(
        impl PropertyValue for $rust {
            const TYPE: PropertyType = PropertyType::$ty;
            const FLAGS: PropertyFlags = PropertyFlags::NONE;

            #[inline]
            fn write(&self, $ordinal: usize, $out: &mut FieldWriter<'_, '_>) {
                let $value = self;
                $write
            }

            #[inline]
            fn read($ordinal: usize, $fields: &FieldReader<'_>) -> Result<Self, ReadError> {
                Ok($read)
            }

            $(#[inline]
            fn of_scalar($bytes: &[u8]) -> Option<Self> {
                $scalar
            })?
        }

        impl NeverNull for $rust {}
    )+};
}

values! {
    bool => Bool,
        write |value, ordinal, out| {
            out.set_scalar(ordinal, PropertyType::Bool, [u8::from(*value)], i64::from(*value));
        },
        read |fields| fields.int(ordinal)?.unwrap_or_default() != 0;
    f32 => Float,
        write |value, ordinal, out| out.set_float(ordinal, *value),
        read |fields| fields.float(ordinal)?.unwrap_or_default(),
        scalar |bytes| bytes.try_into().ok().map(f32::from_le_bytes);
    f64 => Double,
        write |value, ordinal, out| out.set_double(ordinal, *value),
        read |fields| fields.double(ordinal)?.unwrap_or_default(),
        scalar |bytes| bytes.try_into().ok().map(f64::from_le_bytes);
    String => String,
        write |value, ordinal, out| out.set_bytes(ordinal, value.as_bytes()),
        read |fields| fields.str(ordinal)?.unwrap_or_default().to_owned();
    Date => Date,
        write |value, ordinal, out| out.set_scalar(ordinal, PropertyType::Date, value.0.to_le_bytes(), value.0),
        read |fields| Date(i64::from_le_bytes(fields.int_bytes(ordinal)?)),
        scalar |bytes| i64::of_scalar(bytes).map(Date);
    DateNano => DateNano,
        write |value, ordinal, out| out.set_scalar(ordinal, PropertyType::DateNano, value.0.to_le_bytes(), value.0),
        read |fields| DateNano(i64::from_le_bytes(fields.int_bytes(ordinal)?)),
        scalar |bytes| i64::of_scalar(bytes).map(DateNano);
    Vec<u8> => ByteVector,
        write |value, ordinal, out| out.set_bytes(ordinal, value),
        read |fields| fields.bytes(ordinal)?.unwrap_or_default().to_owned();
    Vec<bool> => BoolVector,
        write |value, ordinal, out| out.set_elements(ordinal, value.iter().map(|&bit| [u8::from(bit)])),
        read |fields| fields.bytes(ordinal)?.unwrap_or_default().iter().map(|&byte| byte != 0).collect();
    Vec<String> => StringVector,
        write |value, ordinal, out| out.set_strings(ordinal, value.iter().map(String::as_str)),
        read |fields| match fields.strings(ordinal)? {
            Some(strings) => strings.iter().map(|string| string.map(str::to_owned)).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
}

macro_rules! number_vectors {
    ($($element:ty => $ty:ident $(with $flags:ident)?, $to_bytes:expr, $from_bytes:expr;)+) => {$(
        impl PropertyValue for Vec<$element> {
            const TYPE: PropertyType = PropertyType::$ty;
            const FLAGS: PropertyFlags = PropertyFlags::NONE$(.with(PropertyFlags::$flags))?;

            fn write(&self, ordinal: usize, out: &mut FieldWriter<'_, '_>) {
                out.set_elements(ordinal, self.iter().copied().map($to_bytes));
            }

            fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<Self, ReadError> {
                Ok(fields.elements(ordinal)?.map(|elements| elements.map($from_bytes).collect()).unwrap_or_default())
            }
        }

        impl NeverNull for Vec<$element> {}
    )+};
}

number_vectors! {
    i8 => ByteVector, i8::to_le_bytes, i8::from_le_bytes;
    u16 => ShortVector with UNSIGNED, u16::to_le_bytes, u16::from_le_bytes;
    u32 => IntVector with UNSIGNED, u32::to_le_bytes, u32::from_le_bytes;
    u64 => LongVector with UNSIGNED, u64::to_le_bytes, u64::from_le_bytes;
    i16 => ShortVector, i16::to_le_bytes, i16::from_le_bytes;
    i32 => IntVector, i32::to_le_bytes, i32::from_le_bytes;
    i64 => LongVector, i64::to_le_bytes, i64::from_le_bytes;
    f32 => FloatVector, f32::to_le_bytes, f32::from_le_bytes;
    f64 => DoubleVector, f64::to_le_bytes, f64::from_le_bytes;
    Date => DateVector, |date| date.0.to_le_bytes(), |bytes| Date(i64::from_le_bytes(bytes));
    DateNano => DateNanoVector, |date| date.0.to_le_bytes(), |bytes| DateNano(i64::from_le_bytes(bytes));
}

impl<V: NeverNull> PropertyValue for Option<V> {
    const TYPE: PropertyType = V::TYPE;
    const FLAGS: PropertyFlags = V::FLAGS;

    fn write(&self, ordinal: usize, out: &mut FieldWriter<'_, '_>) {
        match self {
            Some(value) => value.write(ordinal, out),
            None => out.set_null(ordinal),
        }
    }

    fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<Self, ReadError> {
        if fields.is_null(ordinal) { Ok(None) } else { V::read(ordinal, fields).map(Some) }
    }

    #[inline]
    fn of_scalar(bytes: &[u8]) -> Option<Self> {
        V::of_scalar(bytes).map(Some)
    }
}

impl<T: Entity> PropertyValue for ToOne<T> {
    const TYPE: PropertyType = PropertyType::Relation;
    const FLAGS: PropertyFlags = PropertyFlags::NONE;
    const TARGET: Option<&'static str> = Some(T::NAME);

    fn write(&self, ordinal: usize, out: &mut FieldWriter<'_, '_>) {
        if self.is_none() {
            out.set_null(ordinal);
        } else {
            out.set_int(ordinal, self.id().cast_signed());
        }
    }

    fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<Self, ReadError> {
        Ok(ToOne::new(fields.int(ordinal)?.unwrap_or_default().cast_unsigned()))
    }

    fn as_link(&mut self) -> Option<&mut dyn LinkField> {
        Some(self)
    }
}

impl PropertyValue for Flex {
    const TYPE: PropertyType = PropertyType::Flex;
    const FLAGS: PropertyFlags = PropertyFlags::NONE;

    fn write(&self, ordinal: usize, out: &mut FieldWriter<'_, '_>) {
        if self.is_null() {
            return out.set_null(ordinal);
        }
        match self.encode() {
            Ok(bytes) => out.set_bytes(ordinal, &bytes),
            Err(error) => out.refuse(ordinal, error),
        }
    }

    fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<Self, ReadError> {
        let Some(bytes) = fields.bytes(ordinal)? else { return Ok(Flex::Null) };
        let damaged = |error: FlexError| RecordError::Slot {
            slot: fields.slot(ordinal),
            ty: PropertyType::Flex,
            what: error.what(),
        };
        Ok(Flex::decode(bytes).map_err(damaged)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_fall_into_the_unit_that_holds_the_time() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!((Date::from(before), DateNano::from(before)), (Date(-1), DateNano(-1)));
        let after = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_999_999);
        assert_eq!((Date::from(after), DateNano::from(after)), (Date(1), DateNano(1_999_999)));
    }

    #[test]
    fn dates_come_back_from_system_time() {
        for units in [0, 1, -1, 1_700_000_000_123, -1_700_000_000_123] {
            assert_eq!(Date(units).to_system_time().map(Date::from), Some(Date(units)));
            assert_eq!(DateNano(units).to_system_time().map(DateNano::from), Some(DateNano(units)));
        }
    }
}
