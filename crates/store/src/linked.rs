//! Conditions on other objects, along links.

use std::marker::PhantomData;

use reconvene_expr::{Aspect, Expr, Path, Quantifier};

use crate::condition::Condition;
use crate::entity::Entity;
use crate::links::ToOne;
use crate::property::{Property, Steps};

/// Along a link, to the object linked to. A link to an object that does not exist leads to nothing, as an empty one does.
impl<E, T: Entity, P: Steps> Property<E, ToOne<T>, P> {
    /// A property of the object linked to; null if the link leads to none.
    pub fn then<V, Q: Steps>(self, property: Property<T, V, Q>) -> Property<E, V, Path> {
        Property::at_path(self.into_path().join(property.into_path()))
    }

    /// Objects that link to one which meets this condition.
    ///
    /// ```
    /// # use reconvene_store::{Entity, ToOne};
    /// # #[derive(Entity)] #[entity(crate = "reconvene_store")] struct Project { id: u64, name: String, done: bool }
    /// # #[derive(Entity)] #[entity(crate = "reconvene_store")] struct Task { id: u64, project: ToOne<Project> }
    /// let condition = Task::project().has(Project::done().eq(false) & Project::name().starts_with("Tax"));
    /// assert_eq!(condition.to_string(), r#"ANY project (done == false AND name ^= "Tax")"#);
    /// ```
    pub fn has(self, condition: Condition<T>) -> Condition<E> {
        linked(Quantifier::Any, self.into_path(), condition)
    }
}

impl<E: Entity, T: Entity> Property<E, ToOne<T>> {
    /// The other direction of the link: the objects of `E` that link to an object of `T`.
    ///
    /// ```
    /// # use reconvene_store::{Entity, ToOne};
    /// # #[derive(Entity)] #[entity(crate = "reconvene_store")] struct Project { id: u64 }
    /// # #[derive(Entity)] #[entity(crate = "reconvene_store")] struct Task { id: u64, done: bool, project: ToOne<Project> }
    /// let tasks = Task::project().backwards();
    /// let condition = tasks.none(Task::done().eq(false)) & tasks.count().gt(0_u64);
    /// assert_eq!(condition.to_string(), "NONE Task.project (done == false) AND COUNT Task.project > 0");
    /// ```
    pub fn backwards(self) -> Backwards<E, T> {
        Backwards { link: self.name(), of: PhantomData }
    }
}

/// The objects of `E` that link to an object of `T`, in conditions on `T`; made by [`Property::backwards`].
#[derive(Debug)]
pub struct Backwards<E, T> {
    link: &'static str,
    of: PhantomData<fn() -> (E, T)>,
}

impl<E: Entity, T> Backwards<E, T> {
    fn path(self) -> Path {
        Path::property(E::NAME).then(self.link)
    }

    /// Objects that at least one links to which meets this condition.
    pub fn any(self, condition: Condition<E>) -> Condition<T> {
        linked(Quantifier::Any, self.path(), condition)
    }

    /// Objects that none links to which meets this condition.
    pub fn none(self, condition: Condition<E>) -> Condition<T> {
        linked(Quantifier::None, self.path(), condition)
    }

    /// Objects of which all that link to them meet this condition.
    pub fn all(self, condition: Condition<E>) -> Condition<T> {
        linked(Quantifier::All, self.path(), condition)
    }

    /// The number of objects that link to an object.
    pub fn count(self) -> Property<T, u64, Path> {
        Property::at_path(self.path().with_aspect(Aspect::Count))
    }
}

// Written out because a derive would ask the same of `E` and `T`, which are only named here.
impl<E, T> Clone for Backwards<E, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E, T> Copy for Backwards<E, T> {}

fn linked<E, T>(which: Quantifier, path: Path, condition: Condition<T>) -> Condition<E> {
    Condition::new(Expr::Linked { which, path, condition: Box::new(condition.into_expr()) })
}
