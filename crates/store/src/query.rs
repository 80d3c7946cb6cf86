//! Queries: objects that meet a condition, in an order, or a part of them.

mod access;
mod aggregate;
mod arrange;
mod by_name;
mod explain;
mod key_set;
mod narrow;
mod planner;
mod property_query;
mod reach;
mod selection;
mod walk;

use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;

use reconvene_expr::{Argument, parse};
use reconvene_model::ObjectId;

pub(crate) use self::access::sealed::Snapshot;
pub use self::access::{InWrite, ReadAccess, WriteAccess};
pub(crate) use self::arrange::{OrderTerm, order_property};
pub use self::by_name::ObjectPropertyQuery;
pub use self::explain::Explanation;
pub use self::property_query::{Number, PropertyQuery};
pub(crate) use self::reach::{Reach, table_of};
pub(crate) use self::selection::{Selection, property};
use crate::boxes::EntityBox;
use crate::condition::Condition;
use crate::entity::Entity;
use crate::error::{Result, StoreError};
use crate::links::{self, Eager, ToOne};
use crate::order::Order;
use crate::property::Property;
use crate::store::{Inner, Store, StructRuntime};
use crate::structs;
use crate::tracked::Tracked;
use crate::txn::{ReadTxn, WriteTxn};

/// The objects of a struct that meet a condition; made by [`EntityBox::query`], or by [`ReadTxn::query`] and
/// [`WriteTxn::query`] as part of a transaction.
///
/// It holds no results: each of [`find`](Query::find), [`first`](Query::first), [`count`](Query::count) and so on looks
/// again, in a transaction of its own, or in that which the query is part of. Results are in the order asked for, and then by
/// ascending id. Indexes are used where they help; results never depend on them. Values that change from run to run are
/// parameters, which [`set`](Query::set) gives without another check of the condition.
///
/// All methods that look fail with [`StoreError::Condition`](crate::StoreError::Condition) if the condition does not fit the
/// entity, which typed conditions always do but for the ranges of literals; with
/// [`StoreError::Parameter`](crate::StoreError::Parameter) if a parameter has no value; and if the store is damaged or cannot
/// be read.
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
/// assert_eq!(urgent.explain()?.plan, "Task by index of due: a range, each checked");
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
    eager: Vec<Eager<T>>,
    objects: PhantomData<fn() -> T>,
}

impl<T: Entity, A: ReadAccess> Query<T, A> {
    fn new(inner: &Inner, of: Arc<StructRuntime>, condition: Condition<T>, access: A) -> Self {
        let selection = Selection::new(inner, of.entity.clone(), condition.into_expr());
        Query { of, selection, access, eager: Vec::new(), objects: PhantomData }
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

    /// Orders by a property, or by an [`Order`] made of one: numbers by size with NaN last, text by code point, `false`
    /// before `true`, and objects without a value first. Another one then orders those that are equal so far, and at last the
    /// id does.
    pub fn order_by(mut self, order: impl Into<Order<T>>) -> Self {
        self.selection.push_order(order.into().into_sort());
        self
    }

    /// As [`Query::order_by`], but against that order: objects without a value come last. Equal ones still come by
    /// ascending id.
    pub fn order_by_desc(self, order: impl Into<Order<T>>) -> Self {
        self.order_by(order.into().descending())
    }

    /// Loads the targets of a link along with the results, in the same moment and each once: [`ToOne::loaded`] has them.
    ///
    /// ```
    /// # use reconvene_store::{Condition, Entity, Store, ToOne};
    /// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
    /// # struct Project { id: u64, name: String }
    /// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
    /// # struct Task { id: u64, project: ToOne<Project> }
    /// # let store = Store::builder("memory:").entity::<Project>().entity::<Task>().open()?;
    /// # let tasks = store.boxed::<Task>()?;
    /// # let garden = Project { name: "Garden".into(), ..Project::default() };
    /// # tasks.put(&mut Task { project: ToOne::target(garden), ..Task::default() })?;
    /// for task in tasks.query(Condition::all()).eager(Task::project()).find()? {
    ///     assert_eq!(task.project.loaded().map(|project| project.name.as_str()), Some("Garden"));
    /// }
    /// # Ok::<(), reconvene_store::StoreError>(())
    /// ```
    pub fn eager<U: Entity>(mut self, link: Property<T, ToOne<U>>) -> Self {
        self.eager.push(links::eager::<T, U>(link.name()));
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

    /// Gives a parameter of the condition its value, until it is set anew; a list, where it stands in `IN`.
    ///
    /// ```
    /// # use reconvene_store::{Entity, Store, param};
    /// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
    /// # struct Task { id: u64, #[index] title: String, stars: i32 }
    /// # let store = Store::builder("memory:").entity::<Task>().open()?;
    /// # let tasks = store.boxed::<Task>()?;
    /// # tasks.put(&mut Task { title: "Read".into(), ..Task::default() })?;
    /// let mut titled = tasks.query(Task::title().eq(param("title")));
    /// for (title, found) in [("Read", 1), ("Write", 0)] {
    ///     assert_eq!(titled.set("title", title)?.count()?, found);
    /// }
    ///
    /// let mistake = titled.set("titel", "Read").unwrap_err();
    /// assert_eq!(mistake.to_string(), "there is no parameter `$titel`; did you mean `$title`?");
    /// # Ok::<(), reconvene_store::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::Parameter`](crate::StoreError::Parameter) if there is no such parameter, or if the value does not fit what
    /// it is compared with; the parameter keeps the value that it had.
    pub fn set(&mut self, parameter: &str, value: impl Into<Argument>) -> Result<&mut Self> {
        self.selection.set(parameter, value.into())?;
        Ok(self)
    }

    /// The results.
    ///
    /// # Errors
    ///
    /// See [`Query`].
    pub fn find(&self) -> Result<Vec<Tracked<T>>> {
        self.access.read(|snapshot| self.collect(&snapshot, None))
    }

    /// The ids of the results; it costs less than the results themselves.
    ///
    /// # Errors
    ///
    /// See [`Query`].
    pub fn find_ids(&self) -> Result<Vec<ObjectId>> {
        self.access.read(|snapshot| self.selection.ids(&snapshot))
    }

    /// The first result.
    ///
    /// # Errors
    ///
    /// See [`Query`].
    pub fn first(&self) -> Result<Option<Tracked<T>>> {
        self.access.read(|snapshot| Ok(self.collect(&snapshot, Some(1))?.pop()))
    }

    /// The only result.
    ///
    /// # Errors
    ///
    /// [`StoreError::SeveralResults`](crate::StoreError::SeveralResults) if there are several; see [`Query`].
    pub fn unique(&self) -> Result<Option<Tracked<T>>> {
        let found = self.access.read(|snapshot| self.collect(&snapshot, Some(2)))?;
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(one), Some(other)) => Err(self.selection.not_unique(one.id(), other.id())),
            (one, _) => Ok(one),
        }
    }

    /// The number of results, as [`Query::find`] would give them: offset and limit count.
    ///
    /// Without a condition, or with one that an index answers whole, no object is read.
    ///
    /// # Errors
    ///
    /// See [`Query`].
    pub fn count(&self) -> Result<u64> {
        self.access.read(|snapshot| self.selection.count(&snapshot))
    }

    /// Hands each result to a closure, in order, without keeping them all; an error that it returns ends it.
    ///
    /// All of it is one read transaction, with what [`Store::read`] says of long ones. Results in an order that no index has
    /// are found first, by their ids.
    ///
    /// # Errors
    ///
    /// See [`Query`], and what the closure returns.
    pub fn for_each(&self, mut take: impl FnMut(Tracked<T>) -> Result<()>) -> Result<()> {
        self.visit(|object| {
            take(object)?;
            Ok(ControlFlow::<()>::Continue(()))
        })
        .map(|_| ())
    }

    /// As [`Query::for_each`], until the closure breaks off; with what it broke off.
    ///
    /// ```
    /// # use std::ops::ControlFlow;
    /// # use reconvene_store::{Condition, Entity, Store};
    /// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")] struct Task { id: u64, minutes: u32 }
    /// # let store = Store::builder("memory:").entity::<Task>().open()?;
    /// # let tasks = store.boxed::<Task>()?;
    /// # tasks.put_many(&mut [30, 20, 40].map(|minutes| Task { id: 0, minutes }))?;
    /// // What fits into an hour, the short ones first:
    /// let mut left = 60_u32;
    /// let too_long = tasks.query(Condition::all()).order_by(Task::minutes()).visit(|task| {
    ///     Ok(match left.checked_sub(task.minutes) {
    ///         Some(rest) => {
    ///             left = rest;
    ///             ControlFlow::Continue(())
    ///         }
    ///         None => ControlFlow::Break(task.id),
    ///     })
    /// })?;
    /// assert_eq!((left, too_long), (10, Some(3)));
    /// # Ok::<(), reconvene_store::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Query::for_each`].
    pub fn visit<B>(&self, mut take: impl FnMut(Tracked<T>) -> Result<ControlFlow<B>>) -> Result<Option<B>> {
        let mut broken_off = None;
        self.access.read(|snapshot| {
            self.selection.each_until(&snapshot, None, |id, record| {
                Ok(match take(structs::tracked(&self.of, id, record)?)? {
                    ControlFlow::Continue(()) => ControlFlow::Continue(()),
                    ControlFlow::Break(with) => {
                        broken_off = Some(with);
                        ControlFlow::Break(())
                    }
                })
            })
        })?;
        Ok(broken_off)
    }

    /// Runs the query for its ids, and tells how they were found: what was walked through, how much of it, whether results were
    /// sorted, and whether each was checked.
    ///
    /// # Errors
    ///
    /// See [`Query`].
    pub fn explain(&self) -> Result<Explanation> {
        self.access.read(|snapshot| self.selection.explain(&snapshot))
    }

    fn collect(&self, snapshot: &Snapshot<'_>, max: Option<u64>) -> Result<Vec<Tracked<T>>> {
        let mut objects = Vec::new();
        self.selection.each_until(snapshot, max, |id, record| {
            objects.push(structs::tracked(&self.of, id, record)?);
            Ok(ControlFlow::Continue(()))
        })?;
        self.eager.iter().try_for_each(|eager| eager.load(snapshot.1, &snapshot.0, &mut objects))?;
        Ok(objects)
    }
}

impl<T: Entity, A: WriteAccess> Query<T, A> {
    /// Removes the results, in one transaction; how many there were.
    ///
    /// # Errors
    ///
    /// See [`Query`], and those of [`Store::write`].
    pub fn remove(&self) -> Result<u64> {
        self.access.write(|tx| self.selection.remove(tx))
    }

    /// Changes each result in place, in one transaction: exactly the properties that the closure changes are written. How many
    /// there were.
    ///
    /// The results are those from before the first change.
    ///
    /// ```
    /// # use reconvene_store::{Entity, Store};
    /// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")] struct Task { id: u64, stars: i32 }
    /// # let store = Store::builder("memory:").entity::<Task>().open()?;
    /// # let tasks = store.boxed::<Task>()?;
    /// # tasks.put_many(&mut [1, 2, 3].map(|stars| Task { id: 0, stars }))?;
    /// assert_eq!(tasks.query(Task::stars().ge(2)).update(|task| task.stars += 1)?, 2);
    /// assert_eq!(tasks.query(Task::stars().gt(2)).count()?, 2);
    /// # Ok::<(), reconvene_store::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`Query`], and those of [`WriteTxn::update`]; then nothing is changed, unless this is part of a transaction that goes
    /// on.
    pub fn update(&self, mut change: impl FnMut(&mut T)) -> Result<u64> {
        self.access.write(|tx| {
            let ids = self.selection.ids_in_write(tx)?;
            for &id in &ids {
                tx.update::<T, ()>(id, &mut change)?;
            }
            Ok(ids.len() as u64)
        })
    }
}

impl Selection {
    /// The ids of the selected objects, with all that the transaction wrote so far.
    pub(crate) fn ids_in_write(&self, tx: &mut WriteTxn<'_>) -> Result<Vec<ObjectId>> {
        use crate::seam::Reader;
        tx.apply_index_changes()?;
        self.ids(&Snapshot(tx.engine_tx().view(), tx.inner()))
    }

    /// Removes the selected objects; how many there were.
    pub(crate) fn remove(&self, tx: &mut WriteTxn<'_>) -> Result<u64> {
        let mut removed = 0;
        for id in self.ids_in_write(tx)? {
            removed += u64::from(tx.remove_object(self.entity(), id)?);
        }
        Ok(removed)
    }

    pub(crate) fn not_unique(&self, one: ObjectId, other: ObjectId) -> StoreError {
        StoreError::SeveralResults { entity: self.entity().def.name.clone(), one, other }
    }
}

impl<T: Entity> EntityBox<T> {
    /// The objects that meet a condition; see [`Query`]. [`Condition::all`] leaves out none.
    pub fn query(&self, condition: Condition<T>) -> Query<T> {
        Query::new(self.store().inner(), self.of().clone(), condition, self.store().clone())
    }

    /// The objects that meet a condition given as text.
    ///
    /// # Errors
    ///
    /// [`StoreError::ConditionText`](crate::StoreError::ConditionText) if the text does not parse, and
    /// [`StoreError::Condition`](crate::StoreError::Condition) if it does not fit the entity.
    pub fn query_text(&self, condition: &str) -> Result<Query<T>> {
        let query = self.query(Condition::new(parse(condition)?));
        query.selection.prepared()?;
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
        Ok(Query::new(self.inner(), self.inner().of_struct::<T>()?, condition, self))
    }
}

impl<'s> ReadTxn<'s> {
    /// The objects that meet a condition given as text, as they are in this transaction.
    ///
    /// # Errors
    ///
    /// As [`EntityBox::query_text`], and if the store lacks the entity.
    pub fn query_text<T: Entity>(&self, condition: &str) -> Result<Query<T, &ReadTxn<'s>>> {
        let query = self.query(Condition::new(parse(condition)?))?;
        query.selection.prepared()?;
        Ok(query)
    }
}

impl<'s> WriteTxn<'s> {
    /// The objects that meet a condition given as text, with all that this transaction wrote so far.
    ///
    /// # Errors
    ///
    /// As [`EntityBox::query_text`], and if the store lacks the entity.
    pub fn query_text<T: Entity>(&mut self, condition: &str) -> Result<Query<T, InWrite<'_, 's>>> {
        let query = self.query(Condition::new(parse(condition)?))?;
        query.selection.prepared()?;
        Ok(query)
    }

    /// The objects that meet a condition, with all that this transaction wrote so far; see [`Query`].
    ///
    /// # Errors
    ///
    /// If the store lacks the entity.
    pub fn query<T: Entity>(&mut self, condition: Condition<T>) -> Result<Query<T, InWrite<'_, 's>>> {
        let inner = self.inner();
        Ok(Query::new(inner, inner.of_struct::<T>()?, condition, InWrite::new(self)))
    }
}

impl<T, A: Clone> Clone for Query<T, A> {
    fn clone(&self) -> Self {
        Query {
            of: self.of.clone(),
            selection: self.selection.clone(),
            access: self.access.clone(),
            eager: self.eager.clone(),
            objects: PhantomData,
        }
    }
}

impl<T, A> fmt::Debug for Query<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({}: {})", self.of.entity.def.name, self.selection.expr())
    }
}
