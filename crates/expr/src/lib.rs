//! Conditions as text and as values: parsed, checked against an entity, evaluated on its objects, printed.
//!
#![doc = include_str!("../../../docs/guide/expressions.md")]

mod ast;
mod check;
mod lexer;
mod nearest;
mod order;
mod parse;
mod predicate;
mod print;
mod span;

pub use ast::{CompareOp, Expr, Literal, Path};
pub use check::{CheckError, CheckErrorKind, DEPTH_MAX, check};
pub use nearest::nearest;
pub use parse::{ParseError, ParseErrorKind, TEXT_BYTES_MAX, parse};
pub use predicate::{Conjunct, Place, Predicate, Test};
pub use span::Span;
