//! Typed handles on properties, from which conditions are built.

use std::fmt;
use std::marker::PhantomData;

use reconvene_expr::{Aspect, CompareOp, Expr, Literal, Path, Quantifier};
use reconvene_model::ObjectId;

use crate::condition::Condition;
use crate::entity::Entity;
use crate::links::ToOne;
use crate::param::Param;
use crate::property_value::{Date, DateNano, NeverNull, PropertyValue};

/// A property of the entity `E` whose Rust type is `V`: the start of conditions, and what results are ordered by.
///
/// The derive generates a function per field that returns one. From there, [`then`](Property::then) leads along a link to
/// a property of the object linked to, and [`any`](Property::any) to the elements of a vector. `P` is the path there.
///
/// ```
/// # use reconvene_store::{Entity, Property, ToOne};
/// # #[derive(Entity)] #[entity(crate = "reconvene_store")]
/// # struct Country { id: u64, name: String }
/// # #[derive(Entity)] #[entity(crate = "reconvene_store")]
/// # struct City { id: u64, name: String, population: u32, mayor: Option<String>, country: ToOne<Country>, tags: Vec<String> }
/// let condition = City::population().ge(1_000_000).and(City::mayor().not_null());
/// assert_eq!(condition.to_string(), "population >= 1000000 AND mayor != null");
///
/// let condition = City::country().then(Country::name()).eq("Italy") & City::tags().any().starts_with("sea");
/// assert_eq!(condition.to_string(), r#"country.name == "Italy" AND ANY tags ^= "sea""#);
/// ```
pub struct Property<E, V, P = &'static str> {
    path: P,
    of: PhantomData<fn() -> (E, V)>,
}

/// The path of a [`Property`]: the name of one of the object's own, or the [`Path`] to one behind links.
pub trait Steps: sealed::Steps {}

impl<P: sealed::Steps> Steps for P {}

mod sealed {
    use super::*;

    pub trait Steps {
        fn into_path(self) -> Path;
    }

    impl Steps for &'static str {
        fn into_path(self) -> Path {
            Path::property(self)
        }
    }

    impl Steps for Path {
        fn into_path(self) -> Path {
            self
        }
    }
}

impl<E, V> Property<E, V> {
    /// The property of this name; called by generated code, which knows that it exists and has this type.
    pub const fn new(name: &'static str) -> Self {
        Property { path: name, of: PhantomData }
    }

    /// The property's name in the schema and in expressions.
    pub const fn name(&self) -> &'static str {
        self.path
    }
}

impl<E, V> Property<E, V, Path> {
    pub(crate) fn at_path(path: Path) -> Self {
        Property { path, of: PhantomData }
    }
}

impl<E, V, P: Steps> Property<E, V, P> {
    /// The path, as expressions have it.
    pub fn into_path(self) -> Path {
        sealed::Steps::into_path(self.path)
    }

    /// Objects without a value.
    pub fn is_null(self) -> Condition<E> {
        self.compare(CompareOp::Eq, Literal::Null)
    }

    /// Objects with a value.
    pub fn not_null(self) -> Condition<E> {
        self.compare(CompareOp::Ne, Literal::Null)
    }

    fn compare(self, op: CompareOp, value: impl Into<reconvene_expr::Operand>) -> Condition<E> {
        Condition::new(Expr::Compare { path: self.into_path(), op, value: value.into() })
    }

    fn among<W>(self, values: impl IntoIterator<Item = impl Operand<W>>, no_case: bool) -> Condition<E> {
        let values = values.into_iter().map(Operand::into_operand).collect();
        Condition::new(Expr::In { path: self.into_path(), values, no_case })
    }
}

/// Comparisons with one value.
impl<E, V: Comparable, P: Steps> Property<E, V, P> {
    /// Objects whose value equals this one.
    pub fn eq(self, value: impl Operand<V::Plain>) -> Condition<E> {
        self.compare(CompareOp::Eq, value.into_operand())
    }

    /// Objects whose value differs from this one, those without a value among them.
    pub fn ne(self, value: impl Operand<V::Plain>) -> Condition<E> {
        self.compare(CompareOp::Ne, value.into_operand())
    }

    /// Objects whose value equals one of these; none, if there are none. A parameter among them may stand for a list.
    pub fn one_of<O: Operand<V::Plain>>(self, values: impl IntoIterator<Item = O>) -> Condition<E> {
        self.among(values, false)
    }

    /// Objects whose value equals none of these, those without a value among them.
    pub fn not_one_of<O: Operand<V::Plain>>(self, values: impl IntoIterator<Item = O>) -> Condition<E> {
        !self.among(values, false)
    }
}

/// Comparisons by order: numbers by size, strings by code point, dates by time; a null is in no range. In floats, NaN
/// sorts last and -0 equals 0.
impl<E, V: Ordered, P: Steps> Property<E, V, P> {
    /// Objects whose value is less than this one.
    pub fn lt(self, value: impl Operand<V::Plain>) -> Condition<E> {
        self.compare(CompareOp::Lt, value.into_operand())
    }

    /// Objects whose value is at most this one.
    pub fn le(self, value: impl Operand<V::Plain>) -> Condition<E> {
        self.compare(CompareOp::Le, value.into_operand())
    }

    /// Objects whose value is greater than this one.
    pub fn gt(self, value: impl Operand<V::Plain>) -> Condition<E> {
        self.compare(CompareOp::Gt, value.into_operand())
    }

    /// Objects whose value is at least this one.
    pub fn ge(self, value: impl Operand<V::Plain>) -> Condition<E> {
        self.compare(CompareOp::Ge, value.into_operand())
    }

    /// Objects whose value is at least `low` and at most `high`.
    pub fn between(self, low: impl Operand<V::Plain>, high: impl Operand<V::Plain>) -> Condition<E> {
        let (low, high) = (low.into_operand(), high.into_operand());
        Condition::new(Expr::Between { path: self.into_path(), low, high })
    }
}

/// Comparisons of text, by code points unless the name says `no_case`, which compares by Unicode folding.
impl<E, V: Text, P: Steps> Property<E, V, P> {
    /// Objects whose text begins with this.
    pub fn starts_with(self, text: impl Operand<String>) -> Condition<E> {
        self.compare(CompareOp::StartsWith, text.into_operand())
    }

    /// Objects whose text ends with this.
    pub fn ends_with(self, text: impl Operand<String>) -> Condition<E> {
        self.compare(CompareOp::EndsWith, text.into_operand())
    }

    /// Objects whose text contains this.
    pub fn contains(self, text: impl Operand<String>) -> Condition<E> {
        self.compare(CompareOp::Contains, text.into_operand())
    }

    /// Objects whose text equals this but for upper and lower case.
    pub fn eq_no_case(self, text: impl Operand<String>) -> Condition<E> {
        self.compare(CompareOp::EqNoCase, text.into_operand())
    }

    /// Objects whose text begins with this but for upper and lower case.
    pub fn starts_with_no_case(self, text: impl Operand<String>) -> Condition<E> {
        self.compare(CompareOp::StartsWithNoCase, text.into_operand())
    }

    /// Objects whose text ends with this but for upper and lower case.
    pub fn ends_with_no_case(self, text: impl Operand<String>) -> Condition<E> {
        self.compare(CompareOp::EndsWithNoCase, text.into_operand())
    }

    /// Objects whose text contains this but for upper and lower case.
    pub fn contains_no_case(self, text: impl Operand<String>) -> Condition<E> {
        self.compare(CompareOp::ContainsNoCase, text.into_operand())
    }

    /// Objects whose text equals one of these but for upper and lower case.
    pub fn one_of_no_case<O: Operand<String>>(self, texts: impl IntoIterator<Item = O>) -> Condition<E> {
        self.among(texts, true)
    }
}

/// Comparisons of the elements of a vector; one that is null has none.
impl<E, V: Elements, P: Steps> Property<E, V, P> {
    /// The elements, of which one must compare as asked.
    pub fn any(self) -> Property<E, V::Element, Path> {
        self.elements(Quantifier::Any)
    }

    /// The elements, of which none may compare as asked.
    pub fn none(self) -> Property<E, V::Element, Path> {
        self.elements(Quantifier::None)
    }

    /// The elements, which must all compare as asked.
    pub fn all(self) -> Property<E, V::Element, Path> {
        self.elements(Quantifier::All)
    }

    /// The number of elements.
    pub fn count(self) -> Property<E, u64, Path> {
        Property::at_path(self.into_path().with_aspect(Aspect::Count))
    }

    fn elements(self, which: Quantifier) -> Property<E, V::Element, Path> {
        Property::at_path(self.into_path().with_aspect(Aspect::Elements(which)))
    }
}

// Written out because a derive would ask the same of `E` and `V`, which are only named here.
impl<E, V, P: Clone> Clone for Property<E, V, P> {
    fn clone(&self) -> Self {
        Property { path: self.path.clone(), of: PhantomData }
    }
}

impl<E, V, P: Copy> Copy for Property<E, V, P> {}

impl<E: Entity, V, P: Steps + Clone> fmt::Debug for Property<E, V, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", E::NAME, self.clone().into_path())
    }
}

/// A type of property whose values can be compared with one value: all but Flex and the vectors.
#[diagnostic::on_unimplemented(
    message = "a property of type `{Self}` cannot be compared with a value",
    note = "test it with `is_null` or `not_null`; compare the elements of a vector with `any`, `none` or `all`"
)]
pub trait Comparable: PropertyValue {
    /// The type without its `Option`.
    type Plain: PropertyValue;
}

/// A type of property whose values have an order; booleans and links have none.
#[diagnostic::on_unimplemented(
    message = "properties of type `{Self}` have no order",
    note = "booleans and links can be compared with `eq`, `ne` and `one_of`"
)]
pub trait Ordered: Comparable {}

/// A type of property that results can be ordered by: what has an order, and booleans, `false` before `true`.
#[diagnostic::on_unimplemented(message = "results cannot be ordered by a property of type `{Self}`")]
pub trait Sortable: Comparable {}

impl<V: Ordered> Sortable for V {}

impl Sortable for bool {}

impl Sortable for Option<bool> {}

/// A type of property that holds text.
#[diagnostic::on_unimplemented(
    message = "a property of type `{Self}` holds no text",
    note = "compare parts of text in properties of type `String` and `Option<String>`"
)]
pub trait Text: Comparable {}

/// What a property of type `V` can be compared with.
#[diagnostic::on_unimplemented(
    message = "a property of type `{V}` cannot be compared with `{Self}`",
    note = "compare with a value of the property's own type; text also with `&str`, a date with its `i64`, a link with the target's id or with another link; test for null with `is_null`"
)]
pub trait Operand<V> {
    /// The value as an expression holds it.
    fn into_operand(self) -> reconvene_expr::Operand;
}

impl<V> Operand<V> for Param {
    fn into_operand(self) -> reconvene_expr::Operand {
        reconvene_expr::Operand::Parameter(self.into_parameter())
    }
}

macro_rules! comparable {
    ($($plain:ty: [$($order:ident)?] $(, $operand:ty => |$value:ident| $literal:expr)+;)+) => {$(
        impl Comparable for $plain {
            type Plain = $plain;
        }

        $(impl $order for $plain {})?

        $(impl Operand<$plain> for $operand {
            fn into_operand(self) -> reconvene_expr::Operand {
                let $value = self;
                $literal.into()
            }
        })+
    )+};
}

comparable! {
    bool: [], bool => |value| Literal::Bool(value);
    i8: [Ordered], i8 => |value| Literal::Int(value.into());
    i16: [Ordered], i16 => |value| Literal::Int(value.into());
    i32: [Ordered], i32 => |value| Literal::Int(value.into());
    i64: [Ordered], i64 => |value| Literal::Int(value);
    u8: [Ordered], u8 => |value| Literal::Int(value.into());
    u16: [Ordered], u16 => |value| Literal::Int(value.into());
    u32: [Ordered], u32 => |value| Literal::Int(value.into());
    u64: [Ordered], u64 => |value| unsigned(value);
    f32: [Ordered], f32 => |value| Literal::Double(value.into());
    f64: [Ordered], f64 => |value| Literal::Double(value);
    Date: [Ordered], Date => |value| Literal::Int(value.0), i64 => |value| Literal::Int(value);
    DateNano: [Ordered], DateNano => |value| Literal::Int(value.0), i64 => |value| Literal::Int(value);
    String: [Ordered],
        String => |value| Literal::String(value),
        &String => |value| Literal::String(value.clone()),
        &str => |value| Literal::String(value.to_owned());
}

impl<V: Comparable + NeverNull> Comparable for Option<V> {
    type Plain = V::Plain;
}

impl<V: Ordered + NeverNull> Ordered for Option<V> {}

impl Text for String {}

impl Text for Option<String> {}

impl<T: Entity> Comparable for ToOne<T> {
    type Plain = ToOne<T>;
}

impl<T> Operand<ToOne<T>> for ToOne<T> {
    fn into_operand(self) -> reconvene_expr::Operand {
        link(self.id()).into()
    }
}

impl<T> Operand<ToOne<T>> for &ToOne<T> {
    fn into_operand(self) -> reconvene_expr::Operand {
        link(self.id()).into()
    }
}

impl<T> Operand<ToOne<T>> for ObjectId {
    fn into_operand(self) -> reconvene_expr::Operand {
        link(self).into()
    }
}

// An empty link is stored as null, so comparing with it is the test for null.
fn link(id: ObjectId) -> Literal {
    if id == 0 { Literal::Null } else { unsigned(id) }
}

// What the parser makes of the same digits, so that a condition reads back as itself.
fn unsigned(value: u64) -> Literal {
    i64::try_from(value).map_or(Literal::UInt(value), Literal::Int)
}

/// A type of property that holds any number of elements.
#[diagnostic::on_unimplemented(
    message = "a property of type `{Self}` has no elements",
    note = "vectors have elements; compare other properties themselves"
)]
pub trait Elements: PropertyValue {
    /// The type of the elements.
    type Element: Comparable;
}

macro_rules! elements {
    ($($element:ty),+) => {$(
        impl Elements for Vec<$element> {
            type Element = $element;
        }
    )+};
}

elements!(bool, u8, i16, i32, i64, f32, f64, String, Date, DateNano);

impl<V: Elements + NeverNull> Elements for Option<V> {
    type Element = V::Element;
}
