//! Conditions on what is within Flex values.

use reconvene_expr::{Aspect, CompareOp, Expr, Operand, Path, Quantifier};
use reconvene_model::flex::Flex;

use crate::condition::Condition;
use crate::param::Param;
use crate::property::{Property, Steps};

/// Places in a Flex value, and comparisons with them. A value may be of any kind there, and is compared with one of the same
/// kind; numbers are compared by size, whether whole or not. A place that is not there is null.
///
/// ```
/// # use reconvene_store::{Entity, Flex};
/// # #[derive(Entity)] #[entity(crate = "reconvene_store")] struct User { id: u64, settings: Flex }
/// let condition = User::settings().key("theme").eq("dark") & User::settings().key("sizes").at(0).ge(12);
/// assert_eq!(condition.to_string(), r#"settings.theme == "dark" AND settings.sizes[0] >= 12"#);
/// let condition = User::settings().key("tags").any().starts_with("a");
/// assert_eq!(condition.to_string(), r#"ANY settings.tags ^= "a""#);
/// ```
impl<E, P: Steps> Property<E, Flex, P> {
    /// The value of this name in a map.
    pub fn key(self, name: impl Into<String>) -> Property<E, Flex, Path> {
        Property::at_path(self.into_path().then(name.into()))
    }

    /// The element of a list, from 0.
    pub fn at(self, index: u32) -> Property<E, Flex, Path> {
        Property::at_path(self.into_path().at(index))
    }

    /// The elements of a list, of which one must compare as asked.
    pub fn any(self) -> Property<E, Flex, Path> {
        self.elements(Quantifier::Any)
    }

    /// The elements of a list, of which none may compare as asked.
    pub fn none(self) -> Property<E, Flex, Path> {
        self.elements(Quantifier::None)
    }

    /// The elements of a list, which must all compare as asked.
    pub fn all(self) -> Property<E, Flex, Path> {
        self.elements(Quantifier::All)
    }

    /// The number of elements of a list or a map; of anything else, 0.
    pub fn count(self) -> Property<E, u64, Path> {
        Property::at_path(self.into_path().with_aspect(Aspect::Count))
    }

    fn elements(self, which: Quantifier) -> Property<E, Flex, Path> {
        Property::at_path(self.into_path().with_aspect(Aspect::Elements(which)))
    }

    /// Objects where the value equals this one.
    pub fn eq(self, value: impl Into<Operand>) -> Condition<E> {
        self.flex(CompareOp::Eq, value)
    }

    /// Objects where the value differs from this one, is of another kind, or is not there.
    pub fn ne(self, value: impl Into<Operand>) -> Condition<E> {
        self.flex(CompareOp::Ne, value)
    }

    /// Objects where the value is less than this one.
    pub fn lt(self, value: impl Into<Operand>) -> Condition<E> {
        self.flex(CompareOp::Lt, value)
    }

    /// Objects where the value is at most this one.
    pub fn le(self, value: impl Into<Operand>) -> Condition<E> {
        self.flex(CompareOp::Le, value)
    }

    /// Objects where the value is greater than this one.
    pub fn gt(self, value: impl Into<Operand>) -> Condition<E> {
        self.flex(CompareOp::Gt, value)
    }

    /// Objects where the value is at least this one.
    pub fn ge(self, value: impl Into<Operand>) -> Condition<E> {
        self.flex(CompareOp::Ge, value)
    }

    /// Objects where the value is at least `low` and at most `high`.
    pub fn between(self, low: impl Into<Operand>, high: impl Into<Operand>) -> Condition<E> {
        Condition::new(Expr::Between { path: self.into_path(), low: low.into(), high: high.into() })
    }

    /// Objects where the value equals one of these.
    pub fn one_of<O: Into<Operand>>(self, values: impl IntoIterator<Item = O>) -> Condition<E> {
        let values = values.into_iter().map(Into::into).collect();
        Condition::new(Expr::In { path: self.into_path(), values, no_case: false })
    }

    /// Objects where text begins with this.
    pub fn starts_with(self, text: impl Into<Operand>) -> Condition<E> {
        self.flex(CompareOp::StartsWith, text)
    }

    /// Objects where text contains this.
    pub fn contains(self, text: impl Into<Operand>) -> Condition<E> {
        self.flex(CompareOp::Contains, text)
    }

    /// Objects where text equals this but for upper and lower case.
    pub fn eq_no_case(self, text: impl Into<Operand>) -> Condition<E> {
        self.flex(CompareOp::EqNoCase, text)
    }

    fn flex(self, op: CompareOp, value: impl Into<Operand>) -> Condition<E> {
        Condition::new(Expr::Compare { path: self.into_path(), op, value: value.into() })
    }
}

impl From<Param> for Operand {
    fn from(param: Param) -> Self {
        Operand::Parameter(param.into_parameter())
    }
}
