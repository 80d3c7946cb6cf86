//! Queries: objects that meet a condition, in an order, or a part of them.

mod access;
mod aggregate;
mod by_name;
mod key_set;
mod narrow;
mod planner;
mod property_query;
mod selection;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use reconvene_expr::parse;
use reconvene_model::ObjectId;

pub use self::access::{InWrite, ReadAccess, WriteAccess};
pub use self::by_name::ObjectPropertyQuery;
pub use self::property_query::{Number, PropertyQuery};
pub(crate) use self::selection::{Selection, order_property, property, table_of};
use crate::boxes::EntityBox;
use crate::condition::Condition;
use crate::entity::Entity;
use crate::error::Result;
use crate::property::{Property, Sortable};
use crate::store::{Store, StructRuntime};
use crate::structs;
use crate::tracked::Tracked;
use crate::txn::{ReadTxn, WriteTxn};

/// The objects of a struct that meet a condition; made by [`EntityBox::query`], or by [`ReadTxn::query`] and
/// [`WriteTxn::query`] as part of a transaction.
///
/// It holds no results: each of [`find`](Query::find), [`first`](Query::first), [`count`](Query::count) and so on looks
/// again, in a transaction of its own, or in that which the query is part of. Results are in the order asked for, and then by
/// ascending id. Indexes are used where they help; results never depend on them.
///
/// ```
/// # use reconvene_store::{Date, Entity, Store};
/// #[derive(Entity, Debug, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Task {
///     id: u64,
///     title: String,
///     #[index]
///     done: bool,
///     #[index]
///     due: Option<Date>,
/// }
///
/// # let store = Store::builder("memory:").entity::<Task>().open()?;
/// let tasks = store.boxed::<Task>()?;
/// for (title, due) in [("Pay the rent", Some(Date(200))), ("Call the bank", Some(Date(100))), ("Read", None)] {
///     tasks.put(&mut Task { title: title.into(), due, ..Task::default() })?;
/// }
///
/// let urgent = tasks.query(Task::done().eq(false) & Task::due().not_null()).order_by(Task::due());
/// assert_eq!(urgent.count()?, 2);
/// assert_eq!(urgent.first()?.expect("two are due").title, "Call the bank");
/// assert_eq!(urgent.explain()?, "Task by index of due: a range, each checked");
///
/// // The same as text, for instance from a search field:
/// let found = tasks.query_text(r#"title *= "bank" OR due == null"#)?.order_by_desc(Task::title()).limit(10).find()?;
/// let titles: Vec<&str> = found.iter().map(|task| task.title.as_str()).collect();
/// assert_eq!(titles, ["Read", "Call the bank"]);
///
/// // In a transaction, it sees what was written so far:
/// store.write(|tx| {
///     for mut task in tx.query(Task::due().lt(Date(150)))?.find()? {
///         task.done = true;
///         tx.put(&mut task)?;
///     }
///     assert_eq!(tx.query(Task::done().eq(true))?.remove()?, 1);
///     Ok(())
/// })?;
/// assert_eq!(tasks.count()?, 2);
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
#[must_use = "a query looks for nothing before it is asked"]
pub struct Query<T, A = Store> {
    of: Arc<StructRuntime>,
    selection: Selection,
    access: A,
    objects: PhantomData<fn() -> T>,
}

impl<T: Entity, A: ReadAccess> Query<T, A> {
    fn new(of: Arc<StructRuntime>, condition: Condition<T>, access: A) -> Self {
        let selection = Selection::new(of.entity.clone(), condition.into_expr());
        Query { of, selection, access, objects: PhantomData }
    }

    pub(crate) fn of(&self) -> &Arc<StructRuntime> {
        &self.of
    }

    pub(crate) fn selection(&self) -> &Selection {
        &self.selection
    }

    pub(crate) fn access(&self) -> &A {
        &self.access
    }

    /// Orders by a property: numbers by size with NaN last, text by code point, `false` before `true`, and objects without a
    /// value first. Another one then orders those that are equal so far, and at last the id does.
    pub fn order_by<V: Sortable>(mut self, property: Property<T, V>) -> Self {
        self.selection.push_order(property.name(), false);
        self
    }

    /// As [`Query::order_by`], but against that order: objects without a value come last. Equal ones still come by
    /// ascending id.
    pub fn order_by_desc<V: Sortable>(mut self, property: Property<T, V>) -> Self {
        self.selection.push_order(property.name(), true);
        self
    }

    /// Leaves out this many of the first results. Default: 0.
    pub fn offset(mut self, results: u64) -> Self {
        self.selection.set_offset(results);
        self
    }

    /// Gives no more than this many results. Default: all.
    pub fn limit(mut self, results: u64) -> Self {
        self.selection.set_limit(results);
        self
    }

    /// The results.
    ///
    /// # Errors
    ///
    /// [`StoreError::Condition`](crate::StoreError::Condition) if the condition does not fit the entity, which typed
    /// conditions always do but for the ranges of literals; and if the store is damaged or cannot be read.
    pub fn find(&self) -> Result<Vec<Tracked<T>>> {
        self.access.read(|snapshot| self.collect(&self.selection, snapshot))
    }

    /// The ids of the results; it costs less than the results themselves.
    ///
    /// # Errors
    ///
    /// As [`Query::find`].
    pub fn find_ids(&self) -> Result<Vec<ObjectId>> {
        self.access.read(|snapshot| self.selection.ids(&snapshot.0))
    }

    /// The first result.
    ///
    /// # Errors
    ///
    /// As [`Query::find`].
    pub fn first(&self) -> Result<Option<Tracked<T>>> {
        let first = self.selection.first();
        self.access.read(|snapshot| Ok(self.collect(&first, snapshot)?.pop()))
    }

    /// The number of results, as [`Query::find`] would give them: offset and limit count.
    ///
    /// Without a condition, or with one that an index answers whole, no object is read.
    ///
    /// # Errors
    ///
    /// As [`Query::find`].
    pub fn count(&self) -> Result<u64> {
        self.access.read(|snapshot| self.selection.count(&snapshot.0))
    }

    /// One line about how the results are found: what is walked through, how much of it, whether results are sorted, and
    /// whether each is checked. For people; the words may change.
    ///
    /// # Errors
    ///
    /// As [`Query::find`].
    pub fn explain(&self) -> Result<String> {
        self.access.read(|snapshot| self.selection.explain(&snapshot.0))
    }

    fn collect(
        &self,
        selection: &Selection,
        snapshot: access::sealed::Snapshot<'_>,
    ) -> Result<Vec<Tracked<T>>> {
        let mut objects = Vec::new();
        selection.each(&snapshot.0, |id, record| {
            objects.push(structs::tracked(&self.of, id, record)?);
            Ok(())
        })?;
        Ok(objects)
    }
}

impl<T: Entity, A: WriteAccess> Query<T, A> {
    /// Removes the results, in one transaction; how many there were.
    ///
    /// # Errors
    ///
    /// As [`Query::find`], and those of [`Store::write`].
    pub fn remove(&self) -> Result<u64> {
        self.access.write(|tx| self.selection.remove(tx))
    }
}

impl Selection {
    /// Removes the selected objects; how many there were.
    pub(crate) fn remove(&self, tx: &mut WriteTxn<'_>) -> Result<u64> {
        use crate::seam::Reader;
        tx.apply_index_changes()?;
        let ids = self.ids(&tx.engine_tx().view())?;
        let mut removed = 0;
        for id in ids {
            removed += u64::from(tx.remove_object(self.entity(), id)?);
        }
        Ok(removed)
    }
}

impl<T: Entity> EntityBox<T> {
    /// The objects that meet a condition; see [`Query`]. [`Condition::all`] leaves out none.
    pub fn query(&self, condition: Condition<T>) -> Query<T> {
        Query::new(self.of().clone(), condition, self.store().clone())
    }

    /// The objects that meet a condition given as text.
    ///
    /// # Errors
    ///
    /// [`StoreError::ConditionText`](crate::StoreError::ConditionText) if the text does not parse, and
    /// [`StoreError::Condition`](crate::StoreError::Condition) if it does not fit the entity.
    pub fn query_text(&self, condition: &str) -> Result<Query<T>> {
        let query = self.query(Condition::new(parse(condition)?));
        query.selection.predicate()?;
        Ok(query)
    }
}

impl<'s> ReadTxn<'s> {
    /// The objects that meet a condition, as they are in this transaction; see [`Query`].
    ///
    /// # Errors
    ///
    /// If the store lacks the entity.
    pub fn query<T: Entity>(&self, condition: Condition<T>) -> Result<Query<T, &ReadTxn<'s>>> {
        Ok(Query::new(self.inner().of_struct::<T>()?, condition, self))
    }
}

impl<'s> WriteTxn<'s> {
    /// The objects that meet a condition, with all that this transaction wrote so far; see [`Query`].
    ///
    /// # Errors
    ///
    /// If the store lacks the entity.
    pub fn query<T: Entity>(&mut self, condition: Condition<T>) -> Result<Query<T, InWrite<'_, 's>>> {
        Ok(Query::new(self.inner().of_struct::<T>()?, condition, InWrite::new(self)))
    }
}

impl<T, A: Clone> Clone for Query<T, A> {
    fn clone(&self) -> Self {
        Query {
            of: self.of.clone(),
            selection: self.selection.clone(),
            access: self.access.clone(),
            objects: PhantomData,
        }
    }
}

impl<T, A> fmt::Debug for Query<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({}: {})", self.of.entity.def.name, self.selection.expr())
    }
}
