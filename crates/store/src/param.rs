//! Values of conditions that are given later.

use reconvene_expr::{Argument, Literal, Parameter};

use crate::property_value::{Date, DateNano};

/// A value that a condition gets later, by name; made by [`param`].
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    name: String,
    default: Option<Literal>,
}

/// A value that is given later, by [`Query::set`](crate::Query::set); in text, `$name`.
///
/// ```
/// # use reconvene_store::{Entity, param};
/// # #[derive(Entity)] #[entity(crate = "reconvene_store")] struct Task { id: u64, stars: i32 }
/// let condition = Task::stars().ge(param("least").or(3)) & Task::id().not_one_of([param("seen")]);
/// assert_eq!(condition.to_string(), "stars >= ${least ?? 3} AND NOT id IN ($seen)");
/// ```
pub fn param(name: impl Into<String>) -> Param {
    Param { name: name.into(), default: None }
}

impl Param {
    /// The same, with a value that holds until another one is given.
    #[must_use]
    pub fn or(mut self, default: impl Into<Literal>) -> Self {
        self.default = Some(default.into());
        self
    }

    pub(crate) fn into_parameter(self) -> Parameter {
        Parameter { name: self.name, default: self.default }
    }
}

macro_rules! dates {
    ($($date:ty),+) => {$(
        impl From<$date> for Literal {
            fn from(date: $date) -> Self {
                Literal::Int(date.0)
            }
        }

        impl From<$date> for Argument {
            fn from(date: $date) -> Self {
                Argument::One(date.into())
            }
        }
    )+};
}

dates!(Date, DateNano);
