//! What an expression says, before any schema is asked.

use crate::order::order_doubles;
use crate::span::Span;

/// A condition on the objects of one entity.
///
/// Built by [`parse`](crate::parse), by typed builders, or by hand; [`check`](crate::check) decides whether it fits an
/// entity. It prints as text that parses to the same expression again.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Every object meets this; its text is `true`.
    All,
    /// A property compared with a value.
    Compare {
        /// Which property.
        path: Path,
        /// How.
        op: CompareOp,
        /// With what.
        value: Literal,
    },
    /// A property that equals one of the values; none of an empty list.
    In {
        /// Which property.
        path: Path,
        /// The values.
        values: Vec<Literal>,
        /// Whether upper and lower case count as equal.
        no_case: bool,
    },
    /// All of these hold; of an empty list, that is so.
    And(Vec<Expr>),
    /// At least one of these holds; of an empty list, that is never so.
    Or(Vec<Expr>),
    /// This does not hold.
    Not(Box<Expr>),
}

/// Which property is meant. Paths are equal if they lead to the same property, wherever they stood in a text.
#[derive(Clone, Debug)]
pub struct Path {
    name: String,
    span: Option<Span>,
}

impl Path {
    /// The path to a property of the object itself.
    pub fn property(name: impl Into<String>) -> Self {
        Path { name: name.into(), span: None }
    }

    /// The path to a property that stands at this place in a text.
    pub(crate) fn at(name: String, span: Span) -> Self {
        Path { name, span: Some(span) }
    }

    /// The property's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the path stands in the text it was read from; `None` if it was built.
    pub fn span(&self) -> Option<Span> {
        self.span
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

macro_rules! compare_ops {
    ($($(#[$doc:meta])* $name:ident = $symbol:literal),+ $(,)?) => {
        /// How a property is compared with a value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CompareOp { $($(#[$doc])* $name),+ }

        impl CompareOp {
            /// Every operator.
            pub const ALL: &'static [CompareOp] = &[$(CompareOp::$name),+];

            /// How the operator is written.
            pub fn symbol(self) -> &'static str {
                match self { $(CompareOp::$name => $symbol),+ }
            }
        }
    };
}

compare_ops! {
    /// Equal; with null: without a value.
    Eq = "==",
    /// Not equal, or without a value; with null: with any value.
    Ne = "!=",
    /// Less.
    Lt = "<",
    /// Less or equal.
    Le = "<=",
    /// Greater.
    Gt = ">",
    /// Greater or equal.
    Ge = ">=",
    /// Text that begins with the value.
    StartsWith = "^=",
    /// Text that contains the value.
    Contains = "*=",
    /// Text that ends with the value.
    EndsWith = "$=",
    /// Text that equals the value but for upper and lower case.
    EqNoCase = "==~",
    /// As [`CompareOp::StartsWith`], but for upper and lower case.
    StartsWithNoCase = "^=~",
    /// As [`CompareOp::Contains`], but for upper and lower case.
    ContainsNoCase = "*=~",
    /// As [`CompareOp::EndsWith`], but for upper and lower case.
    EndsWithNoCase = "$=~",
}

impl CompareOp {
    /// Whether the operator asks which of two values comes first: `<`, `<=`, `>` and `>=`.
    pub fn is_order(self) -> bool {
        use CompareOp::*;
        matches!(self, Lt | Le | Gt | Ge)
    }

    /// Whether the operator compares nothing but text.
    pub fn is_text(self) -> bool {
        !matches!(self, CompareOp::Eq | CompareOp::Ne) && !self.is_order()
    }

    /// Whether upper and lower case count as equal.
    pub fn is_no_case(self) -> bool {
        use CompareOp::*;
        matches!(self, EqNoCase | StartsWithNoCase | ContainsNoCase | EndsWithNoCase)
    }
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
