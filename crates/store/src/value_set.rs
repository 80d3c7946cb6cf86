//! Sets as a struct has them.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::collections::btree_set::Iter;
use std::fmt;

use reconvene_model::{MergeKind, PropertyFlags, PropertyType};

use crate::field::{FieldReader, FieldWriter, ReadError};
use crate::property_value::PropertyValue;

/// A set of strings or of `i64`, whose elements devices add and remove one by one: of each, the latest change stands.
///
/// A put of an object that was [read](crate::Tracked) writes which elements were added and removed since. A bare struct that is put over
/// an existing object makes the set what the struct has: it adds what is missing and removes the rest. A store keeps up to 4 MiB
/// of a set, removed elements included, which other devices may still have to hear of.
///
/// ```
/// # use reconvene_store::{Entity, Store, ValueSet};
/// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
/// # struct Task { id: u64, title: String, tags: ValueSet<String> }
/// # let store = Store::builder("memory:").entity::<Task>().open()?;
/// # let tasks = store.boxed::<Task>()?;
/// let id = tasks.put(&mut Task { title: "Dig".into(), tags: ["garden".into()].into(), ..Task::default() })?;
/// let mut read = tasks.get(id)?.expect("it was just put");
/// tasks.update(id, |task| task.tags.insert("spring".into()))?;
///
/// read.tags.remove("garden");
/// tasks.put(&mut read)?;
/// assert_eq!(read.tags, ["spring".to_owned()].into());
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueSet<V>(BTreeSet<V>);

impl<V: SetElement> ValueSet<V> {
    /// A set without elements.
    pub const fn new() -> Self {
        ValueSet(BTreeSet::new())
    }

    /// Adds an element; whether it was missing.
    pub fn insert(&mut self, element: V) -> bool {
        self.0.insert(element)
    }

    /// Removes an element; whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, element: &Q) -> bool
    where
        V: Borrow<Q>,
    {
        self.0.remove(element)
    }

    /// Whether an element is there.
    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        V: Borrow<Q>,
    {
        self.0.contains(element)
    }

    /// The elements in ascending order, strings by code point.
    pub fn iter(&self) -> Iter<'_, V> {
        self.0.iter()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> Default for ValueSet<V> {
    fn default() -> Self {
        ValueSet(BTreeSet::new())
    }
}

impl<V: fmt::Debug> fmt::Debug for ValueSet<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<V: Ord> FromIterator<V> for ValueSet<V> {
    fn from_iter<I: IntoIterator<Item = V>>(elements: I) -> Self {
        ValueSet(elements.into_iter().collect())
    }
}

impl<V: Ord> Extend<V> for ValueSet<V> {
    fn extend<I: IntoIterator<Item = V>>(&mut self, elements: I) {
        self.0.extend(elements);
    }
}

impl<V: Ord, const N: usize> From<[V; N]> for ValueSet<V> {
    fn from(elements: [V; N]) -> Self {
        elements.into_iter().collect()
    }
}

impl<'s, V> IntoIterator for &'s ValueSet<V> {
    type Item = &'s V;
    type IntoIter = Iter<'s, V>;

    fn into_iter(self) -> Iter<'s, V> {
        self.0.iter()
    }
}

/// What a [`ValueSet`] can hold: `String` and `i64`.
#[diagnostic::on_unimplemented(
    message = "a set cannot hold `{Self}`",
    note = "a `ValueSet` holds `String` or `i64`"
)]
pub trait SetElement: Ord + sealed::SetElement {}

impl SetElement for String {}
impl SetElement for i64 {}

mod sealed {
    use super::*;

    pub trait SetElement: Sized {
        const TYPE: PropertyType;

        fn write(set: &BTreeSet<Self>, ordinal: usize, out: &mut FieldWriter<'_, '_>);

        fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<BTreeSet<Self>, ReadError>;
    }

    impl SetElement for String {
        const TYPE: PropertyType = PropertyType::StringVector;

        fn write(set: &BTreeSet<Self>, ordinal: usize, out: &mut FieldWriter<'_, '_>) {
            out.set_strings(ordinal, set.iter().map(String::as_str));
        }

        fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<BTreeSet<Self>, ReadError> {
            Ok(Vec::<String>::read(ordinal, fields)?.into_iter().collect())
        }
    }

    impl SetElement for i64 {
        const TYPE: PropertyType = PropertyType::LongVector;

        fn write(set: &BTreeSet<Self>, ordinal: usize, out: &mut FieldWriter<'_, '_>) {
            out.set_elements(ordinal, set.iter().map(|element| element.to_le_bytes()));
        }

        fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<BTreeSet<Self>, ReadError> {
            Ok(Vec::<i64>::read(ordinal, fields)?.into_iter().collect())
        }
    }
}

impl<V: SetElement> PropertyValue for ValueSet<V> {
    const TYPE: PropertyType = <V as sealed::SetElement>::TYPE;
    const FLAGS: PropertyFlags = PropertyFlags::NONE;
    const MERGE: MergeKind = MergeKind::Set;

    // A set without elements is null, as it is where its last element was removed.
    fn write(&self, ordinal: usize, out: &mut FieldWriter<'_, '_>) {
        if self.is_empty() {
            out.set_null(ordinal);
        } else {
            V::write(&self.0, ordinal, out);
        }
    }

    fn read(ordinal: usize, fields: &FieldReader<'_>) -> Result<Self, ReadError> {
        V::read(ordinal, fields).map(ValueSet)
    }
}
