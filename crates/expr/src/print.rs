//! Expressions as text that parses to the same expression again.

use std::fmt;

use crate::ast::{CompareOp, Expr};
use crate::lexer::{is_keyword, is_name};
use crate::operand::{Literal, Operand, Parameter};
use crate::parse::is_between;
use crate::path::{Aspect, Path, StepKey};

impl fmt::Display for Expr {
    /// With parentheses only where they are needed. AND and OR of one part print as that part, and of none as what they
    /// mean.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::All => f.write_str("true"),
            Expr::Compare { path, op, value } => write!(f, "{path} {op} {value}"),
            Expr::In { path, values, no_case } => {
                write!(f, "{path} IN{} (", if *no_case { "~" } else { "" })?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            Expr::Between { path, low, high } => write!(f, "{path} BETWEEN {low} AND {high}"),
            Expr::Linked { which, path, condition } => write!(f, "{} {path} ({condition})", which.word()),
            Expr::And(parts) => joined(f, parts, " AND ", "true"),
            Expr::Or(parts) => joined(f, parts, " OR ", "false"),
            // One word, so that the text nests no deeper than what it was read from.
            Expr::Not(part) if prints_true(part) => f.write_str("false"),
            Expr::Not(part) => {
                f.write_str("NOT ")?;
                grouped(f, part, binding(part) <= Binding::And)
            }
        }
    }
}

/// How tightly the outermost part of an expression binds, loosest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Tight,
}

fn binding(expr: &Expr) -> Binding {
    match expr {
        Expr::And(parts) | Expr::Or(parts) if parts.len() == 1 => binding(&parts[0]),
        Expr::Or(parts) if parts.len() > 1 => Binding::Or,
        Expr::And(parts) if parts.len() > 1 => Binding::And,
        _ => Binding::Tight,
    }
}

fn prints_true(expr: &Expr) -> bool {
    match expr {
        Expr::All => true,
        Expr::And(parts) if parts.is_empty() => true,
        Expr::And(parts) | Expr::Or(parts) if parts.len() == 1 => prints_true(&parts[0]),
        _ => false,
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[Expr], word: &str, empty: &str) -> fmt::Result {
    match parts {
        [] => f.write_str(empty),
        [one] => write!(f, "{one}"),
        parts => parts.iter().enumerate().try_for_each(|(at, part)| {
            f.write_str(if at > 0 { word } else { "" })?;
            // Parts of the same kind keep their parentheses, so that they are read back as parts.
            let loosest = if word == " OR " { Binding::Or } else { Binding::And };
            grouped(f, part, binding(part) <= loosest)
        }),
    }
}

fn grouped(f: &mut fmt::Formatter<'_>, expr: &Expr, parentheses: bool) -> fmt::Result {
    if parentheses { write!(f, "({expr})") } else { write!(f, "{expr}") }
}

impl fmt::Display for CompareOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

impl fmt::Display for Path {
    /// Names stand in backticks if they are words of the language or have characters that names in text do not have.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.aspect() {
            Aspect::Value => {}
            Aspect::Elements(which) => write!(f, "{} ", which.word())?,
            Aspect::Count => f.write_str("COUNT ")?,
        }
        for (at, step) in self.steps().iter().enumerate() {
            match step.key() {
                StepKey::Name(step_name) => {
                    f.write_str(if at > 0 { "." } else { "" })?;
                    name(f, step_name)?;
                }
                StepKey::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

fn name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let is_plain = is_name(name) && !is_keyword(name) && !is_between(name);
    if is_plain { f.write_str(name) } else { quoted(f, name, '`') }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Literal(literal) => literal.fmt(f),
            Operand::Parameter(parameter) => parameter.fmt(f),
        }
    }
}

impl fmt::Display for Parameter {
    /// In braces only if it has a default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.default.is_some() { "${" } else { "$" })?;
        for (at, part) in self.name.split('.').enumerate() {
            f.write_str(if at > 0 { "." } else { "" })?;
            name(f, part)?;
        }
        match &self.default {
            Some(default) => write!(f, " ?? {default}}}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Null => f.write_str("null"),
            Literal::Bool(bit) => bit.fmt(f),
            Literal::Int(number) => number.fmt(f),
            Literal::UInt(number) => number.fmt(f),
            // Unlike the display form, this one always has a fraction or an exponent, and so stays a double.
            Literal::Double(number) => write!(f, "{number:?}"),
            Literal::String(text) => quoted(f, text, '"'),
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str, quote: char) -> fmt::Result {
    use fmt::Write;
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\\' => f.write_str("\\\\")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}
