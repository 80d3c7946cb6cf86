//! What an expression says, before any schema is asked.

use crate::operand::Operand;
use crate::path::Path;

/// A condition on the objects of one entity.
///
/// Built by [`parse`](crate::parse), by typed builders, or by hand; [`check`](crate::check) and
/// [`prepare`](crate::prepare) decide whether it fits an entity. It prints as text that parses to the same expression again.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Every object meets this; its text is `true`.
    All,
    /// What is at the end of a path, compared with a value.
    Compare {
        /// What is compared.
        path: Path,
        /// How.
        op: CompareOp,
        /// With what.
        value: Operand,
    },
    /// What equals one of the values; nothing equals one of an empty list.
    In {
        /// What is compared.
        path: Path,
        /// The values; a parameter among them may stand for a list.
        values: Vec<Operand>,
        /// Whether upper and lower case count as equal.
        no_case: bool,
    },
    /// What is at least one value and at most another.
    Between {
        /// What is compared.
        path: Path,
        /// The smallest value.
        low: Operand,
        /// The largest value.
        high: Operand,
    },
    /// A condition on the objects that a link or a relation leads to.
    Linked {
        /// How many of them must meet it.
        which: Quantifier,
        /// The path to them.
        path: Path,
        /// The condition, in terms of their entity.
        condition: Box<Expr>,
    },
    /// All of these hold; of an empty list, that is so.
    And(Vec<Expr>),
    /// At least one of these holds; of an empty list, that is never so.
    Or(Vec<Expr>),
    /// This does not hold.
    Not(Box<Expr>),
}

/// How many of several things must meet a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantifier {
    /// At least one; of nothing, that is never so.
    Any,
    /// Not one; of nothing, that is so.
    None,
    /// Every one; of nothing, that is so.
    All,
}

impl Quantifier {
    /// Every quantifier.
    pub const ALL: &'static [Quantifier] = &[Quantifier::Any, Quantifier::None, Quantifier::All];

    /// How the quantifier is written.
    pub fn word(self) -> &'static str {
        match self {
            Quantifier::Any => "ANY",
            Quantifier::None => "NONE",
            Quantifier::All => "ALL",
        }
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
