//! Fields whose type is no type of property: how they become one, and back.

use std::fmt::Display;
use std::marker::PhantomData;

use reconvene_model::evolve::PropertyDescription;
use reconvene_model::{PropertyFlags, PropertyType};

use crate::field::{FieldReader, FieldWriter, ReadError};
use crate::property_value::{NeverNull, PropertyValue};

/// How fields of the type `V` are stored, where `V` is not yours to derive [`PropertyValue`] for; a field names it by
/// `#[property(with = "...")]`.
///
/// ```
/// use std::time::Duration;
/// use reconvene_store::{Conversion, Entity, Store};
///
/// struct Seconds;
///
/// impl Conversion<Duration> for Seconds {
///     type Stored = u64;
///
///     fn store(value: &Duration) -> u64 {
///         value.as_secs()
///     }
///
///     fn load(stored: u64) -> Result<Duration, String> {
///         Ok(Duration::from_secs(stored))
///     }
/// }
///
/// #[derive(Entity, Debug, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Timer {
///     id: u64,
///     #[property(with = "Seconds")]
///     rings_after: Duration,
/// }
///
/// let store = Store::builder("memory:").entity::<Timer>().open()?;
/// let timers = store.boxed::<Timer>()?;
/// timers.put(&mut Timer { rings_after: Duration::from_secs(90), ..Timer::default() })?;
/// let long = timers.query(Timer::rings_after().gt(60)).first()?.expect("it was put");
/// assert_eq!(long.rings_after, Duration::from_secs(90));
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
///
/// A field of type `Option<V>` takes the same conversion. Conditions compare what is stored.
#[diagnostic::on_unimplemented(
    message = "`{V}` cannot be stored in this way",
    label = "no conversion of this type",
    note = "`convert = \"S\"` needs `From<{V}> for S` and `TryFrom<S> for {V}`, and that `{V}` is `Clone`; `with = \"C\"` needs `Conversion<{V}> for C`"
)]
pub trait Conversion<V> {
    /// What is stored.
    type Stored: PropertyValue;

    /// What to store for a value.
    fn store(value: &V) -> Self::Stored;

    /// The value of what was stored.
    ///
    /// # Errors
    ///
    /// Why it stands for none; reading the object fails with that reason, and the object stays as it is.
    fn load(stored: Self::Stored) -> Result<V, String>;
}

/// The conversion by `From` and `TryFrom`; written by the derive for `#[property(convert = "S")]`.
pub struct ByInto<S>(PhantomData<S>);

#[diagnostic::do_not_recommend]
impl<V, S> Conversion<V> for ByInto<S>
where
    V: Clone + TryFrom<S>,
    V::Error: Display,
    S: From<V> + PropertyValue,
{
    type Stored = S;

    fn store(value: &V) -> S {
        S::from(value.clone())
    }

    fn load(stored: S) -> Result<V, String> {
        V::try_from(stored).map_err(|error| error.to_string())
    }
}

/// The same conversion for fields that may be empty; written by the derive.
pub struct Optional<C>(PhantomData<C>);

impl<V, C: Conversion<V>> Conversion<Option<V>> for Optional<C>
where
    C::Stored: NeverNull,
{
    type Stored = Option<C::Stored>;

    fn store(value: &Option<V>) -> Self::Stored {
        value.as_ref().map(C::store)
    }

    fn load(stored: Self::Stored) -> Result<Option<V>, String> {
        stored.map(C::load).transpose()
    }
}

/// What [`PropertyValue`] is for other fields; called by generated code.
pub struct Converted<V, C>(PhantomData<(V, C)>);

impl<V, C> Converted<V, C> {
    /// As [`PropertyValue::describe`].
    pub fn describe(
        name: &str,
        was: Option<&str>,
        uid: Option<u64>,
        ty: Option<PropertyType>,
        flags: PropertyFlags,
    ) -> PropertyDescription
    where
        C: Conversion<V>,
    {
        C::Stored::describe(name, was, uid, ty, flags)
    }

    /// As [`PropertyValue::write`].
    pub fn write(value: &V, ordinal: usize, out: &mut FieldWriter<'_, '_>)
    where
        C: Conversion<V>,
    {
        C::store(value).write(ordinal, out);
    }

    /// As [`PropertyValue::read`].
    ///
    /// # Errors
    ///
    /// If the record is damaged, or the conversion refuses what it holds.
    pub fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<V, ReadError>
    where
        C: Conversion<V>,
    {
        C::load(C::Stored::read(ordinal, fields)?).map_err(|reason| ReadError::Value { ordinal, reason })
    }
}

/// A number that no variant of an enum has; called by generated code.
#[cold]
pub fn unknown_number(ordinal: usize, number: i128, name: &str) -> ReadError {
    ReadError::Value { ordinal, reason: format!("{number} is the number of no variant of `{name}`") }
}
