//! Property queries on objects without structs.

use reconvene_model::{ObjectId, PropertyDef, PropertyType, Value};

use super::access::ReadAccess;
use super::aggregate::{self, End, Total};
use super::{Selection, order_property};
use crate::error::Result;
use crate::object_box::{ObjectQuery, read_value};
use crate::seam::View;

/// One property of the results of an [`ObjectQuery`], by its name; made by [`ObjectQuery::property`].
///
/// It is like [`PropertyQuery`](crate::PropertyQuery), with values as [`Value`]s: the bits of a [`Value::Int`] are those of the
/// unsigned number where the property is unsigned.
///
/// ```
/// # use reconvene_store::{Entity, Object, Store};
/// # use reconvene_model::Value;
/// # #[derive(Entity, Default)] #[entity(crate = "reconvene_store")]
/// # struct Sale { id: u64, city: String, cents: u32 }
/// # let store = Store::builder("memory:").entity::<Sale>().open()?;
/// let sales = store.objects("Sale")?;
/// for cents in [250, 400] {
///     sales.put(&mut Object::new().with("cents", Value::Int(cents)))?;
/// }
/// let cents = sales.query_text("cents > 0")?;
/// let cents = cents.property("cents")?;
/// assert_eq!((cents.max()?, cents.sum()?, cents.avg()?), (Value::Int(400), Value::Int(650), Some(325.0)));
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
#[must_use = "a query looks for nothing before it is asked"]
pub struct ObjectPropertyQuery<'q, A = crate::Store> {
    selection: &'q Selection,
    property: &'q PropertyDef,
    access: &'q A,
}

impl<A: ReadAccess> ObjectQuery<'_, A> {
    /// One property of the results.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownProperty`](crate::StoreError::UnknownProperty), and [`StoreError::NotOrdered`](crate::StoreError::NotOrdered) for vectors and Flex values.
    pub fn property(&self, name: &str) -> Result<ObjectPropertyQuery<'_, A>> {
        let selection = self.selection();
        let property = order_property(&selection.entity().def, name)?;
        Ok(ObjectPropertyQuery { selection, property, access: self.access() })
    }
}

impl<A: ReadAccess> ObjectPropertyQuery<'_, A> {
    /// How many of the results have a value.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`].
    pub fn count(&self) -> Result<u64> {
        self.access.read(|snapshot| self.selection.count_values(&snapshot, self.property))
    }

    /// The least value; [`Value::Null`] if no result has one.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`].
    pub fn min(&self) -> Result<Value> {
        self.extreme(End::Least)
    }

    /// The largest value; [`Value::Null`] if no result has one.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`].
    pub fn max(&self) -> Result<Value> {
        self.extreme(End::Most)
    }

    /// The values that occur, each once, in ascending order.
    ///
    /// # Errors
    ///
    /// As [`ObjectQuery::find`].
    pub fn distinct(&self) -> Result<Vec<Value>> {
        self.access.read(|snapshot| {
            let ids = self.selection.distinct(&snapshot, self.property)?;
            ids.into_iter().map(|id| self.value(&snapshot.0, id)).collect()
        })
    }

    /// The sum of the values: a [`Value::Int`] of integers, a [`Value::Double`] of floats.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotANumber`](crate::StoreError::NotANumber), [`StoreError::SumTooLarge`](crate::StoreError::SumTooLarge), and those of [`ObjectQuery::find`].
    pub fn sum(&self) -> Result<Value> {
        let total = self.total()?;
        let (entity, property) = (&self.selection.entity().def.name, self.property);
        let too_large = || aggregate::too_large(entity, &property.name, total.whole);
        Ok(match property.ty {
            PropertyType::Float | PropertyType::Double => Value::Double(total.float),
            _ if property.is_unsigned() => {
                Value::Int(u64::try_from(total.whole).map_err(|_| too_large())?.cast_signed())
            }
            _ => Value::Int(i64::try_from(total.whole).map_err(|_| too_large())?),
        })
    }

    /// The mean of the values; `None` if no result has one.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotANumber`](crate::StoreError::NotANumber), and those of [`ObjectQuery::find`].
    pub fn avg(&self) -> Result<Option<f64>> {
        Ok(self.total()?.mean())
    }

    fn total(&self) -> Result<Total> {
        let property = aggregate::number(&self.selection.entity().def, &self.property.name)?;
        self.access.read(|snapshot| self.selection.total(&snapshot, property))
    }

    fn extreme(&self, end: End) -> Result<Value> {
        self.access.read(|snapshot| {
            let id = self.selection.extreme(&snapshot, self.property, end)?;
            id.map_or(Ok(Value::Null), |id| self.value(&snapshot.0, id))
        })
    }

    fn value(&self, view: &View<'_>, id: ObjectId) -> Result<Value> {
        if self.property.is_id() {
            return Ok(Value::Int(id.cast_signed()));
        }
        read_value(self.property, &self.selection.table(view, id)?)
    }
}
