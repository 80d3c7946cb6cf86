//! What paths are compared with: values, and parameters that get theirs later.

use crate::order::order_doubles;

/// What a path is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// This value.
    Literal(Literal),
    /// A value that is given later.
    Parameter(Parameter),
}

impl From<Literal> for Operand {
    fn from(literal: Literal) -> Self {
        Operand::Literal(literal)
    }
}

/// A value that is given later, by name: `$name`, or `${name ?? default}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The name, of which dots are part.
    pub name: String,
    /// What it stands for until it is given a value.
    pub default: Option<Literal>,
}

/// A value as it stands in an expression; which type it becomes is decided by the property that it is compared with.
///
/// Literals are equal if they mean the same value: [`Literal::Int`] and [`Literal::UInt`] of one number, -0 and 0, and
/// any two NaN.
#[derive(Clone, Debug)]
pub enum Literal {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number; the parser makes one only where [`Literal::Int`] is too narrow.
    UInt(u64),
    /// A number with a fraction or an exponent.
    Double(f64),
    /// Text.
    String(String),
}

impl Literal {
    /// The number, if it is a whole one and was written as such.
    pub(crate) fn integer(&self) -> Option<i128> {
        match *self {
            Literal::Int(number) => Some(number.into()),
            Literal::UInt(number) => Some(number.into()),
            _ => None,
        }
    }

    /// What kind of value this is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Literal::Null => "null",
            Literal::Bool(_) => "a boolean",
            Literal::Int(_) | Literal::UInt(_) => "a whole number",
            Literal::Double(_) => "a number with a fraction or an exponent",
            Literal::String(_) => "text",
        }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Literal::Null, Literal::Null) => true,
            (Literal::Bool(one), Literal::Bool(other)) => one == other,
            (Literal::Double(one), Literal::Double(other)) => order_doubles(*one, *other).is_eq(),
            (Literal::String(one), Literal::String(other)) => one == other,
            _ => self.integer().is_some() && self.integer() == other.integer(),
        }
    }
}

/// What a [`Parameter`] is given: a value, or a list where a list may stand.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// One value.
    One(Literal),
    /// A list, for `IN`.
    List(Vec<Literal>),
}

macro_rules! literals {
    ($($rust:ty => |$value:ident| $literal:expr;)+) => {$(
        impl From<$rust> for Literal {
            fn from($value: $rust) -> Self {
                $literal
            }
        }

        impl From<$rust> for Operand {
            fn from(value: $rust) -> Self {
                Operand::Literal(value.into())
            }
        }

        impl From<$rust> for Argument {
            fn from(value: $rust) -> Self {
                Argument::One(value.into())
            }
        }
    )+};
}

literals! {
    bool => |value| Literal::Bool(value);
    i8 => |value| Literal::Int(value.into());
    i16 => |value| Literal::Int(value.into());
    i32 => |value| Literal::Int(value.into());
    i64 => |value| Literal::Int(value);
    u8 => |value| Literal::Int(value.into());
    u16 => |value| Literal::Int(value.into());
    u32 => |value| Literal::Int(value.into());
    // What the parser makes of the same digits.
    u64 => |value| i64::try_from(value).map_or(Literal::UInt(value), Literal::Int);
    f32 => |value| Literal::Double(value.into());
    f64 => |value| Literal::Double(value);
    String => |value| Literal::String(value);
    &String => |value| Literal::String(value.clone());
    &str => |value| Literal::String(value.to_owned());
}

impl<L: Into<Literal>> From<Option<L>> for Literal {
    /// Nothing is null.
    fn from(value: Option<L>) -> Self {
        value.map_or(Literal::Null, Into::into)
    }
}

impl From<Literal> for Argument {
    fn from(value: Literal) -> Self {
        Argument::One(value)
    }
}

impl<L: Into<Literal>> From<Option<L>> for Argument {
    /// Nothing is null.
    fn from(value: Option<L>) -> Self {
        Argument::One(value.into())
    }
}

impl<L: Into<Literal>> From<Vec<L>> for Argument {
    fn from(values: Vec<L>) -> Self {
        Argument::List(values.into_iter().map(Into::into).collect())
    }
}

impl<L: Into<Literal>, const N: usize> From<[L; N]> for Argument {
    fn from(values: [L; N]) -> Self {
        Argument::List(values.into_iter().map(Into::into).collect())
    }
}

impl<L: Into<Literal> + Clone> From<&[L]> for Argument {
    fn from(values: &[L]) -> Self {
        Argument::List(values.iter().cloned().map(Into::into).collect())
    }
}
