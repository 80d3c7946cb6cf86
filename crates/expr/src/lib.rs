//! Conditions as text and as values: parsed, checked against an entity, evaluated on its objects, printed.
//!
#![doc = include_str!("../../../docs/guide/expressions.md")]

mod ast;
mod check;
mod check_error;
mod flex;
mod leaf;
mod lexer;
mod links;
mod nearest;
mod operand;
mod order;
mod parse;
mod path;
mod predicate;
mod prepared;
mod print;
mod site;
mod sort;
mod span;

pub use ast::{CompareOp, Expr, Quantifier};
pub use check::{DEPTH_MAX, LINKS_MAX, check, prepare};
pub use check_error::{CheckError, CheckErrorKind};
pub use links::{Links, NoLinks, Relation, Way};
pub use nearest::nearest;
pub use operand::{Argument, Literal, Operand, Parameter};
pub use order::fold as fold_case;
pub use parse::{ParseError, ParseErrorKind, TEXT_BYTES_MAX, parse};
pub use path::{Aspect, Path, Step, StepKey};
pub use predicate::{Conjunct, Part, PartKind, Parts, Place, Predicate, Test};
pub use prepared::{ParameterError, Prepared};
pub use sort::{Nulls, Sort, parse_sort};
pub use span::Span;
