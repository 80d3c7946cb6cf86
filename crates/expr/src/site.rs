//! What is compared at the end of a path: its type, and what values become there.

use std::borrow::Cow;

use reconvene_model::{PropertyDef, PropertyType, Value};

use crate::ast::CompareOp;
use crate::check_error::{CheckError, CheckErrorKind, is_comparable};
use crate::leaf::{Ask, Kind};
use crate::operand::Literal;
use crate::order::fold;
use crate::span::Span;

/// A question with its values, still as they were written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question<V> {
    Compare { op: CompareOp, value: V },
    In { values: V, no_case: bool },
    Between { low: V, high: V },
}

/// What is compared: a property, its elements or their number.
#[derive(Clone, Debug)]
pub(crate) struct Site<'e> {
    entity: Cow<'e, str>,
    property: Cow<'e, str>,
    pub(crate) kind: Kind,
    /// Whether it is within a Flex value, where values of all kinds may be.
    is_within_flex: bool,
    span: Option<Span>,
}

impl<'e> Site<'e> {
    pub(crate) fn new(entity: &'e str, property: &'e str, kind: Kind, span: Option<Span>) -> Self {
        Site { entity: entity.into(), property: property.into(), kind, is_within_flex: false, span }
    }

    /// The site of a property's own value.
    pub(crate) fn of_value(entity: &'e str, property: &'e PropertyDef, span: Option<Span>) -> Self {
        // Ids are unsigned whatever the flags say.
        let unsigned = property.is_id() || property.is_unsigned();
        Site::new(entity, &property.name, Kind { ty: property.ty, unsigned }, span)
    }

    /// The site of something within a Flex property.
    pub(crate) fn within_flex(
        entity: &'e str,
        property: impl Into<Cow<'e, str>>,
        span: Option<Span>,
    ) -> Self {
        let (entity, property) = (entity.into(), property.into());
        Site { entity, property, kind: Kind::FLEX, is_within_flex: true, span }
    }

    pub(crate) fn into_owned(self) -> Site<'static> {
        Site {
            entity: Cow::Owned(self.entity.into_owned()),
            property: Cow::Owned(self.property.into_owned()),
            kind: self.kind,
            is_within_flex: self.is_within_flex,
            span: self.span,
        }
    }

    /// The property with its entity, for messages.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.entity, self.property)
    }

    /// Where it stands in the text.
    pub(crate) fn span(&self) -> Option<Span> {
        self.span
    }

    /// Whether the operator suits the type, whatever the value is.
    pub(crate) fn check_operator(&self, question: &Question<()>) -> Result<(), CheckError> {
        if self.is_within_flex {
            return Ok(());
        }
        let ty = self.kind.ty;
        let (suits, symbol) = match question {
            Question::Compare { op, .. } => {
                let suits = match ty {
                    PropertyType::String => true,
                    PropertyType::Bool | PropertyType::Relation => !op.is_order() && !op.is_text(),
                    _ => is_comparable(ty) && !op.is_text(),
                };
                (suits, op.symbol())
            }
            Question::In { no_case: false, .. } => (is_comparable(ty), "IN"),
            Question::In { no_case: true, .. } => (ty == PropertyType::String, "IN~"),
            Question::Between { .. } => {
                let has_order = !matches!(ty, PropertyType::Bool | PropertyType::Relation);
                (is_comparable(ty) && has_order, "BETWEEN")
            }
        };
        if suits { Ok(()) } else { Err(self.operator_error(symbol)) }
    }

    pub(crate) fn compare(&self, op: CompareOp, literal: &Literal) -> Result<Ask, CheckError> {
        let value = match literal {
            Literal::Null if op == CompareOp::Eq || op == CompareOp::Ne => Value::Null,
            Literal::Null => return Err(self.null_error(op.symbol())),
            _ => {
                self.check_operator(&Question::Compare { op, value: () })?;
                if self.is_within_flex && op.is_text() && !matches!(literal, Literal::String(_)) {
                    return Err(self.text_error(op.symbol(), literal));
                }
                self.value(literal, op.is_no_case())?
            }
        };
        Ok(Ask::Compare { op, value })
    }

    pub(crate) fn one_of<'l>(
        &self,
        literals: impl ExactSizeIterator<Item = &'l Literal>,
        no_case: bool,
    ) -> Result<Ask, CheckError> {
        self.check_operator(&Question::In { values: (), no_case })?;
        let mut values = Vec::with_capacity(literals.len());
        let mut null = false;
        for literal in literals {
            match self.value(literal, no_case)? {
                Value::Null => null = true,
                value => values.push(value),
            }
        }
        values.sort_by(|one, other| self.kind.order_values(one, other));
        values.dedup_by(|one, other| self.kind.order_values(one, other).is_eq());
        Ok(Ask::In { values, null, no_case })
    }

    pub(crate) fn between(&self, low: &Literal, high: &Literal) -> Result<Ask, CheckError> {
        self.check_operator(&Question::Between { low: (), high: () })?;
        let bound = |literal: &Literal| match literal {
            Literal::Null => Err(self.null_error("BETWEEN")),
            literal => self.value(literal, false),
        };
        Ok(Ask::Between { low: bound(low)?, high: bound(high)? })
    }

    /// The literal as a value of the type.
    fn value(&self, literal: &Literal, no_case: bool) -> Result<Value, CheckError> {
        use PropertyType as T;
        Ok(match (self.kind.ty, literal) {
            (_, Literal::Null) => Value::Null,
            (T::Bool, Literal::Bool(bit)) => Value::Bool(*bit),
            (T::Flex, literal) if self.is_within_flex => match literal {
                Literal::String(text) if no_case => Value::String(fold(text)),
                Literal::String(text) => Value::String(text.clone()),
                Literal::Bool(bit) => Value::Bool(*bit),
                Literal::Int(number) => Value::Int(*number),
                // The one value that holds all 64 bits as unsigned.
                Literal::UInt(number) => Value::Relation(*number),
                Literal::Double(number) => Value::Double(*number),
                Literal::Null => Value::Null,
            },
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
                Value::Int(self.integer(literal, !self.kind.unsigned, bits)?)
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
                property: self.name(),
                ty: self.kind.ty,
                got: "text that is not one 16-bit character",
            })),
        }
    }

    fn null_error(&self, op: &'static str) -> CheckError {
        self.error(CheckErrorKind::Null { property: self.name(), op })
    }

    fn operator_error(&self, op: &'static str) -> CheckError {
        self.error(CheckErrorKind::Operator { property: self.name(), ty: self.kind.ty, op })
    }

    fn kind_error(&self, literal: &Literal) -> CheckError {
        self.error(CheckErrorKind::Kind { property: self.name(), ty: self.kind.ty, got: literal.kind() })
    }

    fn range_error(&self, value: String, lowest: String, highest: String) -> CheckError {
        self.error(CheckErrorKind::Range { property: self.name(), value, lowest, highest })
    }

    fn text_error(&self, op: &'static str, literal: &Literal) -> CheckError {
        self.error(CheckErrorKind::NotText { property: self.name(), op, got: literal.kind() })
    }

    pub(crate) fn list_error(&self, op: &'static str) -> CheckError {
        self.error(CheckErrorKind::List { property: self.name(), op })
    }

    fn error(&self, kind: CheckErrorKind) -> CheckError {
        CheckError::new(kind, self.span)
    }
}
