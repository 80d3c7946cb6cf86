//! Property queries: one property of a query's results, as values or taken together.

use std::fmt;

use reconvene_model::{ObjectId, PropertyDef};

use super::access::{ReadAccess, sealed::Snapshot};
use super::aggregate::{self, End, Total};
use super::{Query, Selection, order_property};
use crate::entity::Entity;
use crate::error::{Result, StoreError};
use crate::field::FieldReader;
use crate::property::{Comparable, Ordered, Property};
use crate::property_value::PropertyValue;
use crate::seam::View;

/// One property of the results of a query; made by [`Query::property`].
///
/// Objects without a value are left out everywhere. The query's condition counts, and if it has an offset or a limit, so do
/// they and the order. In floats, NaN is the largest value, as everywhere; a sum or a mean with a NaN is NaN.
///
/// ```
/// # use reconvene_store::{Condition, Entity, Store};
/// #[derive(Entity, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Sale {
///     id: u64,
///     #[index]
///     city: String,
///     cents: u32,
///     rating: Option<f64>,
/// }
///
/// # let store = Store::builder("memory:").entity::<Sale>().open()?;
/// let sales = store.boxed::<Sale>()?;
/// for (city, cents, rating) in [("Vila", 250, Some(4.0)), ("Ordino", 100, None), ("Vila", 400, Some(5.0))] {
///     sales.put(&mut Sale { id: 0, city: city.into(), cents, rating })?;
/// }
/// let vila = sales.query(Sale::city().eq("Vila"));
/// assert_eq!(vila.property(Sale::cents()).sum()?, 650);
/// assert_eq!(vila.property(Sale::cents()).min()?, Some(250));
///
/// let all = sales.query(Condition::all());
/// assert_eq!(all.property(Sale::city()).distinct()?, ["Ordino", "Vila"]);
/// assert_eq!(all.property(Sale::rating()).avg()?, Some(4.5));
/// assert_eq!(all.property(Sale::rating()).count()?, 2);
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
#[must_use = "a query looks for nothing before it is asked"]
pub struct PropertyQuery<'q, T, V, A = crate::Store> {
    query: &'q Query<T, A>,
    property: Property<T, V>,
}

/// A type of property whose values can be added up: integers and floats.
#[diagnostic::on_unimplemented(
    message = "values of type `{Self}` cannot be added up",
    note = "integers and floats can, and `Option`s of them"
)]
pub trait Number: Ordered {
    /// What their sum is: `i64` of signed integers, `u64` of unsigned ones, `f64` of floats.
    type Sum;

    /// The sum, if it can be expressed.
    #[doc(hidden)]
    fn sum_of(total: Total) -> Option<Self::Sum>;
}

macro_rules! numbers {
    ($($($number:ty),+ => $sum:ty, |$total:ident| $of:expr;)+) => {$($(
        impl Number for $number {
            type Sum = $sum;

            fn sum_of($total: Total) -> Option<$sum> {
                $of
            }
        }

        impl Number for Option<$number> {
            type Sum = $sum;

            fn sum_of($total: Total) -> Option<$sum> {
                $of
            }
        }
    )+)+};
}

numbers! {
    i8, i16, i32, i64 => i64, |total| i64::try_from(total.whole).ok();
    u8, u16, u32, u64 => u64, |total| u64::try_from(total.whole).ok();
    f32, f64 => f64, |total| Some(total.float);
}

impl<T: Entity, A: ReadAccess> Query<T, A> {
    /// One property of the results; see [`PropertyQuery`].
    pub fn property<V>(&self, property: Property<T, V>) -> PropertyQuery<'_, T, V, A> {
        PropertyQuery { query: self, property }
    }
}

impl<T: Entity, V: Comparable, A: ReadAccess> PropertyQuery<'_, T, V, A> {
    /// How many of the results have a value.
    ///
    /// # Errors
    ///
    /// As [`Query::find`].
    pub fn count(&self) -> Result<u64> {
        self.read(|selection, snapshot, property| selection.count_values(snapshot, property))
    }

    /// The values, in the order of the results, or by ascending id of the objects if the query has no offset and no limit.
    ///
    /// # Errors
    ///
    /// As [`Query::find`].
    pub fn values(&self) -> Result<Vec<V::Plain>> {
        self.read(|selection, snapshot, property| {
            let mut ids = Vec::new();
            selection.each_value(snapshot, property, |id, _| {
                ids.push(id);
                Ok(())
            })?;
            ids.into_iter().map(|id| self.value(selection, &snapshot.0, property, id)).collect()
        })
    }

    /// The values that occur, each once, in ascending order.
    ///
    /// It holds all of them at once. An index of the property, where the query has no condition, leaves out the rest of the
    /// objects.
    ///
    /// # Errors
    ///
    /// As [`Query::find`].
    pub fn distinct(&self) -> Result<Vec<V::Plain>> {
        self.read(|selection, snapshot, property| {
            let ids = selection.distinct(snapshot, property)?;
            ids.into_iter().map(|id| self.value(selection, &snapshot.0, property, id)).collect()
        })
    }

    fn read<R>(&self, read: impl FnOnce(&Selection, &Snapshot<'_>, &PropertyDef) -> Result<R>) -> Result<R> {
        let selection = self.query.selection();
        let property = order_property(&selection.entity().def, self.property.name())?;
        self.query.access().read(|snapshot| read(selection, &snapshot, property))
    }

    /// The value of an object that has one.
    fn value(
        &self,
        selection: &Selection,
        view: &View<'_>,
        property: &PropertyDef,
        id: ObjectId,
    ) -> Result<V::Plain> {
        let absent = || StoreError::internal("a typed property is one of its struct");
        if property.is_id() {
            return V::Plain::of_scalar(&id.to_le_bytes()).ok_or_else(absent);
        }
        let fields = &self.query.of().fields;
        let ordinal = fields.ordinal(&T::description(), &property.name).ok_or_else(absent)?;
        let table = selection.table(view, id)?;
        V::Plain::read(ordinal, &FieldReader::new(table, fields))
            .map_err(|error| self.query.of().unreadable(id, error))
    }
}

impl<T: Entity, V: Ordered, A: ReadAccess> PropertyQuery<'_, T, V, A> {
    /// The least value; `None` if no result has one.
    ///
    /// An index of the property, where the query has no condition, answers at once.
    ///
    /// # Errors
    ///
    /// As [`Query::find`].
    pub fn min(&self) -> Result<Option<V::Plain>> {
        self.extreme(End::Least)
    }

    /// The largest value; `None` if no result has one.
    ///
    /// # Errors
    ///
    /// As [`Query::find`].
    pub fn max(&self) -> Result<Option<V::Plain>> {
        self.extreme(End::Most)
    }

    fn extreme(&self, end: End) -> Result<Option<V::Plain>> {
        self.read(|selection, snapshot, property| {
            let id = selection.extreme(snapshot, property, end)?;
            id.map(|id| self.value(selection, &snapshot.0, property, id)).transpose()
        })
    }
}

impl<T: Entity, V: Number, A: ReadAccess> PropertyQuery<'_, T, V, A> {
    /// The sum of the values; 0 if no result has one.
    ///
    /// # Errors
    ///
    /// [`StoreError::SumTooLarge`] if it does not fit, and those of [`Query::find`]. Sums of floats become infinite instead.
    pub fn sum(&self) -> Result<V::Sum> {
        self.read(|selection, snapshot, property| {
            let total = selection.total(snapshot, property)?;
            let too_large =
                || aggregate::too_large(&selection.entity().def.name, &property.name, total.whole);
            V::sum_of(total).ok_or_else(too_large)
        })
    }

    /// The mean of the values; `None` if no result has one. The sum that it is made of may be as large as it likes.
    ///
    /// # Errors
    ///
    /// As [`Query::find`].
    pub fn avg(&self) -> Result<Option<f64>> {
        self.read(|selection, snapshot, property| Ok(selection.total(snapshot, property)?.mean()))
    }
}

impl<T: Entity, V, A: ReadAccess> fmt::Debug for PropertyQuery<'_, T, V, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.property, self.query)
    }
}
