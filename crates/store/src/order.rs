//! By what results are ordered, and how.

use std::fmt;
use std::marker::PhantomData;

use reconvene_expr::{Nulls, Sort};

use crate::property::{Property, Sortable, Steps};

/// One part of the order of results of the entity `E`: a property, and how it orders.
///
/// A [`Property`] is one by itself; [`asc`](Property::asc) and [`desc`](Property::desc) begin one that says more.
///
/// ```
/// # use reconvene_store::{Condition, Entity, Store};
/// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
/// # struct Task { id: u64, title: String, stars: Option<i32> }
/// # let store = Store::builder("memory:").entity::<Task>().open()?;
/// # let tasks = store.boxed::<Task>()?;
/// for (title, stars) in [("b", Some(1)), ("A", None), ("a", Some(3)), ("B", Some(3))] {
///     tasks.put(&mut Task { title: title.into(), stars, ..Task::default() })?;
/// }
///
/// let best = tasks.query(Condition::all()).order_by(Task::stars().desc()).order_by(Task::title().asc().no_case());
/// assert_eq!(best.find()?.iter().map(|task| task.title.as_str()).collect::<String>(), "aBbA");
/// let unrated = tasks.query(Condition::all()).order_by(Task::stars().desc().nulls_first());
/// assert_eq!(unrated.first()?.expect("there are tasks").title, "A");
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
pub struct Order<E> {
    sort: Sort,
    of: PhantomData<fn() -> E>,
}

impl<E> Order<E> {
    /// The largest value first, and objects without one last.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.sort.descending = true;
        self
    }

    /// Text in which upper and lower case count as equal; other values as before.
    #[must_use]
    pub fn no_case(mut self) -> Self {
        self.sort.no_case = true;
        self
    }

    /// Objects without a value first, whatever the direction.
    #[must_use]
    pub fn nulls_first(mut self) -> Self {
        self.sort.nulls = Nulls::First;
        self
    }

    /// Objects without a value last, whatever the direction.
    #[must_use]
    pub fn nulls_last(mut self) -> Self {
        self.sort.nulls = Nulls::Last;
        self
    }

    pub(crate) fn into_sort(self) -> Sort {
        self.sort
    }
}

impl<E, V: Sortable, P: Steps> From<Property<E, V, P>> for Order<E> {
    fn from(property: Property<E, V, P>) -> Self {
        Order { sort: Sort::by(property.into_path()), of: PhantomData }
    }
}

impl<E, V: Sortable, P: Steps> Property<E, V, P> {
    /// The order by this property, the smallest value first.
    pub fn asc(self) -> Order<E> {
        self.into()
    }

    /// The order by this property, the largest value first.
    pub fn desc(self) -> Order<E> {
        self.asc().descending()
    }
}

// Written out because a derive would ask the same of `E`, which is only named here.
impl<E> Clone for Order<E> {
    fn clone(&self) -> Self {
        Order { sort: self.sort.clone(), of: PhantomData }
    }
}

impl<E> fmt::Debug for Order<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({})", self.sort)
    }
}
