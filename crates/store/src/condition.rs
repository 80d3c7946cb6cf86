//! Conditions on the objects of one entity.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{BitAnd, BitOr, Not};

use reconvene_expr::{Expr, Operand, Parameter};

/// Which objects of the entity `E` are meant: an expression, known to name only properties of `E`.
///
/// Built from [properties](crate::Property) and joined with [`and`](Condition::and), [`or`](Condition::or) and `!`, or
/// with `&` and `|`. It prints as the text that a query also takes.
///
/// ```
/// # use reconvene_store::{Entity};
/// # #[derive(Entity)] #[entity(crate = "reconvene_store")]
/// # struct Task { id: u64, done: bool, title: String }
/// let condition = !Task::done().eq(true) & (Task::title().contains("tax") | Task::title().contains("bank"));
/// assert_eq!(condition.to_string(), r#"NOT done == true AND (title *= "tax" OR title *= "bank")"#);
/// ```
pub struct Condition<E> {
    expr: Expr,
    of: PhantomData<fn() -> E>,
}

impl<E> Condition<E> {
    /// The condition that this expression states; it is checked against the schema when it is used.
    pub const fn new(expr: Expr) -> Self {
        Condition { expr, of: PhantomData }
    }

    /// The condition that every object meets.
    pub const fn all() -> Self {
        Self::new(Expr::All)
    }

    /// Objects that meet both conditions.
    #[must_use]
    pub fn and(self, other: Condition<E>) -> Self {
        Self::new(match (self.expr, other.expr) {
            (Expr::All, one) | (one, Expr::All) => one,
            (Expr::And(mut all), Expr::And(more)) => {
                all.extend(more);
                Expr::And(all)
            }
            (Expr::And(mut all), one) => {
                all.push(one);
                Expr::And(all)
            }
            (one, Expr::And(mut all)) => {
                all.insert(0, one);
                Expr::And(all)
            }
            (one, other) => Expr::And(vec![one, other]),
        })
    }

    /// Objects that meet at least one of the conditions.
    #[must_use]
    pub fn or(self, other: Condition<E>) -> Self {
        Self::new(match (self.expr, other.expr) {
            (Expr::All, _) | (_, Expr::All) => Expr::All,
            (Expr::Or(mut any), Expr::Or(more)) => {
                any.extend(more);
                Expr::Or(any)
            }
            (Expr::Or(mut any), one) => {
                any.push(one);
                Expr::Or(any)
            }
            (one, Expr::Or(mut any)) => {
                any.insert(0, one);
                Expr::Or(any)
            }
            (one, other) => Expr::Or(vec![one, other]),
        })
    }

    /// The same, in which the value that one property is compared with can be set by this name, as if it were
    /// [`param(name)`](crate::param) with that value as default; lists have no default. A condition of another form stays as it
    /// is.
    ///
    /// ```
    /// # use reconvene_store::Entity;
    /// # #[derive(Entity)] #[entity(crate = "reconvene_store")] struct Task { id: u64, stars: i32 }
    /// assert_eq!(Task::stars().ge(3).alias("least").to_string(), "stars >= ${least ?? 3}");
    /// ```
    #[must_use]
    pub fn alias(self, name: impl Into<String>) -> Self {
        let parameter = |default| Operand::Parameter(Parameter { name: name.into(), default });
        Self::new(match self.expr {
            Expr::Compare { path, op, value: Operand::Literal(value) } => {
                Expr::Compare { path, op, value: parameter(Some(value)) }
            }
            Expr::In { path, no_case, .. } => Expr::In { path, values: vec![parameter(None)], no_case },
            expr => expr,
        })
    }

    /// The expression.
    pub const fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The expression, taken out.
    pub fn into_expr(self) -> Expr {
        self.expr
    }
}

impl<E> BitAnd for Condition<E> {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.and(other)
    }
}

impl<E> BitOr for Condition<E> {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl<E> Not for Condition<E> {
    type Output = Self;

    fn not(self) -> Self {
        Self::new(match self.expr {
            Expr::Not(inner) => *inner,
            expr => Expr::Not(Box::new(expr)),
        })
    }
}

// Written out because a derive would ask the same of `E`, which is only named here.
impl<E> Clone for Condition<E> {
    fn clone(&self) -> Self {
        Self::new(self.expr.clone())
    }
}

impl<E> PartialEq for Condition<E> {
    fn eq(&self, other: &Self) -> bool {
        self.expr == other.expr
    }
}

impl<E> fmt::Debug for Condition<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({})", self.expr)
    }
}

impl<E> fmt::Display for Condition<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}
