//! Checking an expression against an entity.

use reconvene_model::{EntityDef, PropertyDef, PropertyType, Value};

use crate::ast::{CompareOp, Expr, Literal, Path};
use crate::nearest::nearest;
use crate::order::fold;
use crate::predicate::{Ask, Leaf, Node, Place, Predicate};
use crate::span::Span;

/// How deep AND, OR and NOT may nest: far beyond what a person writes, far below what a stack holds.
pub const DEPTH_MAX: usize = 128;

/// How many properties a message lists.
const LISTED_MAX: usize = 12;

/// Makes an expression ready to be asked about the objects of an entity.
///
/// Names must be properties of the entity, operators must suit their types, and values must fit them. Numbers are
/// rounded to the nearest one that a Float or Double property can hold.
///
/// # Errors
///
/// The first [`CheckError`], in reading order.
///
/// ```
/// # use reconvene_expr::{check, parse};
/// # use reconvene_model::{EntityDef, PropertyDef, PropertyFlags, PropertyId, PropertyType};
/// # let property = |id, name: &str, ty, flags| PropertyDef {
/// #     id: PropertyId(id), uid: Default::default(), name: name.into(), ty, flags, index: None, relation_target: None,
/// # };
/// # let task = EntityDef {
/// #     id: Default::default(), uid: Default::default(), name: "Task".into(), flags: Default::default(),
/// #     conflict: Default::default(), relations: vec![], last_property_id: PropertyId(2),
/// #     properties: vec![
/// #         property(1, "id", PropertyType::Long, PropertyFlags::ID),
/// #         property(2, "done", PropertyType::Bool, PropertyFlags::NONE),
/// #     ],
/// # };
/// let error = check(&parse("doen == true")?, &task).unwrap_err();
/// assert_eq!(error.to_string(), "`Task` has no property `doen`; did you mean `done`?");
/// # Ok::<(), reconvene_expr::ParseError>(())
/// ```
pub fn check(expr: &Expr, entity: &EntityDef) -> Result<Predicate, CheckError> {
    let root = node(expr, entity, DEPTH_MAX)?;
    Ok(Predicate { root })
}

/// Why an expression does not fit an entity.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct CheckError {
    /// What is wrong; boxed so that results stay small where nothing is.
    pub kind: Box<CheckErrorKind>,
    /// Which property it concerns, in the text that the expression was read from; `None` if it was built.
    pub span: Option<Span>,
}

impl CheckError {
    /// The message, and below it the line of `text` with carets under the property; the message alone if the
    /// expression was not read from a text.
    pub fn render(&self, text: &str) -> String {
        let Some(span) = self.span else { return self.to_string() };
        let (line, column) = span.position(text);
        format!("line {line}, column {column}: {self}\n{}", span.carets(text))
    }
}

/// The kinds of [`CheckError`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckErrorKind {
    /// The entity has no such property.
    #[error("`{entity}` has no property `{property}`; {}", known(.near.as_deref(), .properties))]
    UnknownProperty {
        /// The entity.
        entity: String,
        /// The name that is not known.
        property: String,
        /// The name that was most likely meant.
        near: Option<String>,
        /// The properties that the entity has.
        properties: Vec<String>,
    },
    /// The operator does not suit the property's type.
    #[error("`{property}` is of type {ty}, which `{op}` cannot compare; {}", operators(*.ty))]
    Operator {
        /// The property.
        property: String,
        /// What it holds.
        ty: PropertyType,
        /// The operator as it is written.
        op: &'static str,
    },
    /// Null was compared by an operator other than `==`, `!=` and `IN`.
    #[error(
        "`{op}` cannot compare with null; test for null with `{property} == null` or `{property} != null`"
    )]
    Null {
        /// The property.
        property: String,
        /// The operator as it is written.
        op: &'static str,
    },
    /// The value is of another kind than the property.
    #[error("`{property}` is of type {ty} and cannot be compared with {got}; compare it with {}", wanted(*.ty))]
    Kind {
        /// The property.
        property: String,
        /// What it holds.
        ty: PropertyType,
        /// What was given.
        got: &'static str,
    },
    /// The number lies outside what the property can hold.
    #[error("`{property}` cannot be {value}: it holds numbers from {lowest} to {highest}")]
    Range {
        /// The property.
        property: String,
        /// The number that was given.
        value: String,
        /// The smallest number that it holds.
        lowest: String,
        /// The largest number that it holds.
        highest: String,
    },
    /// The expression nests deeper than [`DEPTH_MAX`].
    #[error(
        "the expression nests AND, OR and NOT more than {DEPTH_MAX} deep; write it flatter, or as several queries"
    )]
    TooDeep,
}

fn known(near: Option<&str>, properties: &[String]) -> String {
    if let Some(near) = near {
        return format!("did you mean `{near}`?");
    }
    let names: Vec<String> = properties.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
    let more = if properties.len() > LISTED_MAX { " and others" } else { "" };
    format!("it has {}{more}", names.join(", "))
}

fn operators(ty: PropertyType) -> &'static str {
    use PropertyType as T;
    match ty {
        T::Bool | T::Relation => "use `==`, `!=` or `IN`",
        T::Flex => "Flex values can only be tested with `== null` and `!= null`",
        ty if is_comparable(ty) => "use `==`, `!=`, `<`, `<=`, `>`, `>=` or `IN`",
        _ => "vectors can only be tested with `== null` and `!= null`",
    }
}

fn wanted(ty: PropertyType) -> &'static str {
    use PropertyType as T;
    match ty {
        T::Bool => "true or false",
        T::Char => "a whole number or one character in quotes",
        T::Date => "a whole number: milliseconds since 1970, UTC",
        T::DateNano => "a whole number: nanoseconds since 1970, UTC",
        T::Relation => "the id of the object linked to, or null",
        T::Float | T::Double => "a number",
        T::String => "text in quotes",
        ty if ty.is_integer() => "a whole number",
        _ => "null",
    }
}

fn is_comparable(ty: PropertyType) -> bool {
    ty.scalar_bytes().is_some() || ty == PropertyType::String
}

fn node(expr: &Expr, entity: &EntityDef, depth_left: usize) -> Result<Node, CheckError> {
    let nested = |expr: &Expr| match depth_left.checked_sub(1) {
        Some(depth_left) => node(expr, entity, depth_left),
        None => Err(CheckError { kind: Box::new(CheckErrorKind::TooDeep), span: None }),
    };
    Ok(match expr {
        Expr::All => Node::All(Vec::new()),
        Expr::Compare { path, op, value } => Node::Leaf(Site::find(path, entity)?.compare(*op, value)?),
        Expr::In { path, values, no_case } => Node::Leaf(Site::find(path, entity)?.one_of(values, *no_case)?),
        Expr::And(parts) => {
            let mut nodes = Vec::with_capacity(parts.len());
            for part in parts {
                match nested(part)? {
                    Node::All(more) => nodes.extend(more),
                    node => nodes.push(node),
                }
            }
            Node::All(nodes)
        }
        Expr::Or(parts) => Node::Any(parts.iter().map(nested).collect::<Result<_, _>>()?),
        Expr::Not(part) => Node::Not(Box::new(nested(part)?)),
    })
}

/// A property that was found, and where it was named.
struct Site<'e> {
    property: &'e PropertyDef,
    span: Option<Span>,
}

impl<'e> Site<'e> {
    fn find(path: &Path, entity: &'e EntityDef) -> Result<Self, CheckError> {
        let span = path.span();
        let names = || entity.properties.iter().map(|property| property.name.as_str());
        let property = entity.property(path.name()).ok_or_else(|| CheckError {
            kind: Box::new(CheckErrorKind::UnknownProperty {
                entity: entity.name.clone(),
                property: path.name().to_owned(),
                near: nearest(path.name(), names()).map(str::to_owned),
                properties: names().map(str::to_owned).collect(),
            }),
            span,
        })?;
        Ok(Site { property, span })
    }

    fn compare(&self, op: CompareOp, literal: &Literal) -> Result<Leaf, CheckError> {
        let ty = self.property.ty;
        let value = match literal {
            Literal::Null if op == CompareOp::Eq || op == CompareOp::Ne => Value::Null,
            Literal::Null => return Err(self.null_error(op.symbol())),
            _ => {
                let suits = match ty {
                    PropertyType::String => true,
                    PropertyType::Bool | PropertyType::Relation => !op.is_order() && !op.is_text(),
                    _ => is_comparable(ty) && !op.is_text(),
                };
                if !suits {
                    return Err(self.operator_error(op.symbol()));
                }
                self.value(literal, op.is_no_case())?
            }
        };
        Ok(self.leaf(Ask::Compare { op, value }))
    }

    fn one_of(&self, literals: &[Literal], no_case: bool) -> Result<Leaf, CheckError> {
        let ty = self.property.ty;
        if !is_comparable(ty) || no_case && ty != PropertyType::String {
            return Err(self.operator_error(if no_case { "IN~" } else { "IN" }));
        }
        let mut values = Vec::with_capacity(literals.len());
        let mut null = false;
        for literal in literals {
            match self.value(literal, no_case)? {
                Value::Null => null = true,
                value => values.push(value),
            }
        }
        let mut leaf = self.leaf(Ask::In { values: Vec::new(), null, no_case });
        values.sort_by(|one, other| leaf.order_values(one, other));
        values.dedup_by(|one, other| leaf.order_values(one, other).is_eq());
        leaf.ask = Ask::In { values, null, no_case };
        Ok(leaf)
    }

    fn leaf(&self, ask: Ask) -> Leaf {
        let property = self.property;
        let place = if property.is_id() { Place::Id } else { Place::Slot(property.slot()) };
        Leaf { place, ty: property.ty, unsigned: self.is_unsigned(), ask }
    }

    /// Ids are unsigned whatever the flags say.
    fn is_unsigned(&self) -> bool {
        self.property.is_id() || self.property.is_unsigned()
    }

    /// The literal as a value of the property's type.
    fn value(&self, literal: &Literal, no_case: bool) -> Result<Value, CheckError> {
        use PropertyType as T;
        Ok(match (self.property.ty, literal) {
            (_, Literal::Null) => Value::Null,
            (T::Bool, Literal::Bool(bit)) => Value::Bool(*bit),
            (T::String, Literal::String(text)) if no_case => Value::String(fold(text)),
            (T::String, Literal::String(text)) => Value::String(text.clone()),
            (T::Char, Literal::String(text)) => Value::Int(self.character(text)?),
            (T::Float, literal) => {
                let wide = self.double(literal)?;
                let number = wide as f32;
                if wide.is_finite() && number.is_infinite() {
                    return Err(self.range_error(
                        format!("{wide:?}"),
                        format!("{:?}", f32::MIN),
                        format!("{:?}", f32::MAX),
                    ));
                }
                Value::Float(number)
            }
            (T::Double, literal) => Value::Double(self.double(literal)?),
            (T::Relation, literal) => match self.integer(literal, false, 64)?.cast_unsigned() {
                0 => Value::Null,
                id => Value::Relation(id),
            },
            (ty, literal) if ty.is_integer() => {
                let bits = 8 * ty.scalar_bytes().unwrap_or(8);
                Value::Int(self.integer(literal, !self.is_unsigned(), bits)?)
            }
            _ => return Err(self.kind_error(literal)),
        })
    }

    fn double(&self, literal: &Literal) -> Result<f64, CheckError> {
        match literal {
            Literal::Double(number) => Ok(*number),
            Literal::Int(number) => Ok(*number as f64),
            Literal::UInt(number) => Ok(*number as f64),
            _ => Err(self.kind_error(literal)),
        }
    }

    fn integer(&self, literal: &Literal, signed: bool, bits: usize) -> Result<i64, CheckError> {
        let number = literal.integer().ok_or_else(|| self.kind_error(literal))?;
        let span = 1_i128 << bits;
        let lowest = if signed { -(span / 2) } else { 0 };
        let highest = lowest + span - 1;
        if !(lowest..=highest).contains(&number) {
            return Err(self.range_error(number.to_string(), lowest.to_string(), highest.to_string()));
        }
        // The range leaves the low 64 bits as all there is.
        Ok(number as i64)
    }

    fn character(&self, text: &str) -> Result<i64, CheckError> {
        let mut codes = text.encode_utf16();
        match (codes.next(), codes.next()) {
            (Some(code), None) => Ok(code.into()),
            _ => Err(self.error(CheckErrorKind::Kind {
                property: self.property.name.clone(),
                ty: self.property.ty,
                got: "text that is not one 16-bit character",
            })),
        }
    }

    fn null_error(&self, op: &'static str) -> CheckError {
        self.error(CheckErrorKind::Null { property: self.property.name.clone(), op })
    }

    fn operator_error(&self, op: &'static str) -> CheckError {
        self.error(CheckErrorKind::Operator {
            property: self.property.name.clone(),
            ty: self.property.ty,
            op,
        })
    }

    fn kind_error(&self, literal: &Literal) -> CheckError {
        let property = self.property.name.clone();
        self.error(CheckErrorKind::Kind { property, ty: self.property.ty, got: literal.kind() })
    }

    fn range_error(&self, value: String, lowest: String, highest: String) -> CheckError {
        self.error(CheckErrorKind::Range { property: self.property.name.clone(), value, lowest, highest })
    }

    fn error(&self, kind: CheckErrorKind) -> CheckError {
        CheckError { kind: Box::new(kind), span: self.span }
    }
}
