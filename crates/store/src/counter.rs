//! Counters as a struct has them.

use std::fmt;

use reconvene_model::{MergeKind, PropertyFlags, PropertyType};

use crate::field::{FieldReader, FieldWriter, ReadError};
use crate::property::{Comparable, Operand, Ordered};
use crate::property_value::PropertyValue;
use reconvene_expr::Literal;

/// A number to which devices add, each for itself: all that was added counts, whoever was offline.
///
/// It can be read and added to, but not set: what would a device set that does not know what others have added? A put of an
/// object that was [read](crate::Tracked) writes how much was added since; a bare struct that is put over an existing object leaves its
/// counters as they are. A new object begins with what its counter has. The value wraps around at the ends of 64 bits.
///
/// ```
/// # use reconvene_store::{Counter, Entity, Store};
/// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
/// # struct Part { id: u64, name: String, stock: Counter }
/// # let store = Store::builder("memory:").entity::<Part>().open()?;
/// # let parts = store.boxed::<Part>()?;
/// let id = parts.put(&mut Part { name: "Bolt".into(), stock: Counter::new(10), ..Part::default() })?;
/// let mut read = parts.get(id)?.expect("it was just put");
/// parts.add(id, Part::stock(), -2)?;
///
/// read.stock.add(5);
/// parts.put(&mut read)?;
/// assert_eq!(read.stock.value(), 13);
///
/// parts.put(&mut Part { id, name: "Bolts".into(), stock: Counter::new(0) })?;
/// assert_eq!(parts.get(id)?.expect("it is there").stock.value(), 13);
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter(i64);

impl Counter {
    /// A counter that begins with this number.
    pub const fn new(value: i64) -> Self {
        Counter(value)
    }

    /// What it shows.
    pub const fn value(self) -> i64 {
        self.0
    }

    /// Adds to it; a negative number takes away.
    pub fn add(&mut self, by: i64) {
        self.0 = self.0.wrapping_add(by);
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PropertyValue for Counter {
    const TYPE: PropertyType = PropertyType::Long;
    const FLAGS: PropertyFlags = PropertyFlags::NONE;
    const MERGE: MergeKind = MergeKind::Counter;

    #[inline]
    fn write(&self, ordinal: usize, out: &mut FieldWriter<'_, '_>) {
        self.0.write(ordinal, out);
    }

    #[inline]
    fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<Self, ReadError> {
        i64::read(ordinal, fields).map(Counter)
    }

    #[inline]
    fn of_scalar(bytes: &[u8]) -> Option<Self> {
        i64::of_scalar(bytes).map(Counter)
    }
}

impl Comparable for Counter {
    type Plain = Counter;
}

impl Ordered for Counter {}

impl Operand<Counter> for i64 {
    fn into_operand(self) -> reconvene_expr::Operand {
        Literal::Int(self).into()
    }
}
