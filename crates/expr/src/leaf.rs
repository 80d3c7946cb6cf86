//! Tests of one property, as they are evaluated.

use std::cmp::Ordering;

use reconvene_model::record::{RecordError, Table};
use reconvene_model::{ObjectId, PropertyType, Value};

use crate::ast::CompareOp;
use crate::order::{Scalar, fold, fold_chars};
use crate::predicate::{Conjunct, Place, Test};

/// A test of one property of the object itself.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) place: Place,
    /// What the property holds.
    pub(crate) ty: PropertyType,
    pub(crate) of: Of,
    /// What is compared: the property's value, an element, or their number.
    pub(crate) kind: Kind,
    /// Whether the opposite is asked.
    pub(crate) negated: bool,
    pub(crate) ask: Ask,
    /// The place in the list of questions with parameters, if it is one.
    pub(crate) hole: Option<usize>,
}

/// What of a property is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Its value.
    Value,
    /// Whether any element passes the test, or fails it.
    AnyElement { fails: bool },
    /// The number of its elements.
    Count,
}

/// What kind of values a test compares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) ty: PropertyType,
    /// Whether integers are compared as unsigned.
    pub(crate) unsigned: bool,
}

/// What is asked of a value.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Compare { op: CompareOp, value: Value },
    In { values: Vec<Value>, null: bool, no_case: bool },
    Between { low: Value, high: Value },
}

impl Leaf {
    pub(crate) fn conjunct(&self) -> Option<Conjunct<'_>> {
        let test = match &self.ask {
            Ask::Compare { op, value } => Test::Compare { op: *op, value },
            Ask::In { values, null, no_case } => Test::In { values, null: *null, no_case: *no_case },
            Ask::Between { low, high } => Test::Between { low, high },
        };
        let Kind { ty, unsigned } = self.kind;
        let conjunct = Conjunct { place: self.place, ty, unsigned, negated: self.negated, test };
        (self.of == Of::Value).then_some(conjunct)
    }

    #[inline]
    pub(crate) fn matches(&self, id: ObjectId, table: &Table<'_>) -> Result<bool, RecordError> {
        let holds = match self.of {
            Of::Value => self.value_holds(id, table)?,
            Of::AnyElement { fails } => {
                self.any_element(table, |element| self.ask.holds(self.kind, Some(element)) != fails)?
            }
            Of::Count => self.ask.holds(self.kind, Some(Scalar::UInt(self.count(table)?))),
        };
        Ok(holds != self.negated)
    }

    /// What the test says of an object that does not exist: it has no values and no elements.
    pub(crate) fn matches_nothing(&self) -> bool {
        let holds = match self.of {
            Of::Value => self.ask.holds(self.kind, None),
            Of::AnyElement { .. } => false,
            Of::Count => self.ask.holds(self.kind, Some(Scalar::UInt(0))),
        };
        holds != self.negated
    }

    #[inline]
    fn value_holds(&self, id: ObjectId, table: &Table<'_>) -> Result<bool, RecordError> {
        let Place::Slot(slot) = self.place else {
            return Ok(self.ask.holds(self.kind, Some(Scalar::UInt(id))));
        };
        // Only whether there is a value matters, which is known without a look at it.
        if let Ask::Compare { op, value: Value::Null } = self.ask {
            return Ok(self.is_null(slot, table)? == (op == CompareOp::Eq));
        }
        Ok(self.ask.holds(self.kind, self.read(slot, table)?))
    }

    /// A link to 0 links to nothing, and is null however it was written.
    fn is_null(&self, slot: usize, table: &Table<'_>) -> Result<bool, RecordError> {
        Ok(match self.ty {
            PropertyType::Relation => table.int(slot, self.ty)?.unwrap_or(0) == 0,
            _ => table.is_null(slot),
        })
    }

    /// What is stored; `None` if that is null or of a type that cannot be compared.
    #[inline]
    fn read<'t>(&self, slot: usize, table: &Table<'t>) -> Result<Option<Scalar<'t>>, RecordError> {
        use PropertyType as T;
        Ok(match self.ty {
            T::String => table.str(slot)?.map(Scalar::Text),
            T::Bool => table.int(slot, self.ty)?.map(|number| Scalar::Bool(number != 0)),
            T::Float => table.float(slot)?.map(|number| Scalar::Double(number.into())),
            T::Double => table.double(slot)?.map(Scalar::Double),
            T::Relation => {
                table.int(slot, self.ty)?.filter(|&id| id != 0).map(|id| Scalar::UInt(id.cast_unsigned()))
            }
            ty if ty.is_integer() => table.int(slot, ty)?.map(|number| self.kind.integer(number)),
            _ => None,
        })
    }

    /// Whether an element of the vector passes.
    fn any_element(
        &self,
        table: &Table<'_>,
        passes: impl Fn(Scalar<'_>) -> bool,
    ) -> Result<bool, RecordError> {
        let Place::Slot(slot) = self.place else { return Ok(false) };
        if self.ty == PropertyType::StringVector {
            let Some(strings) = table.strings(slot)? else { return Ok(false) };
            for string in strings.iter() {
                if passes(Scalar::Text(string?)) {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let Some(bytes) = table.bytes(slot, self.ty)? else { return Ok(false) };
        let width = self.ty.element_bytes().unwrap_or(1);
        Ok(bytes.chunks_exact(width).any(|element| passes(self.kind.element(element))))
    }

    fn count(&self, table: &Table<'_>) -> Result<u64, RecordError> {
        let Place::Slot(slot) = self.place else { return Ok(0) };
        let count = match self.ty {
            PropertyType::StringVector => table.strings(slot)?.map_or(0, |strings| strings.len()),
            ty => table.bytes(slot, ty)?.map_or(0, |bytes| bytes.len() / ty.element_bytes().unwrap_or(1)),
        };
        Ok(count as u64)
    }
}

impl Kind {
    /// The number of objects or elements.
    pub(crate) const COUNT: Kind = Kind { ty: PropertyType::Long, unsigned: true };

    /// What is within a Flex value.
    pub(crate) const FLEX: Kind = Kind { ty: PropertyType::Flex, unsigned: false };

    /// The elements of a property of this type; `None` if it has none.
    pub(crate) fn of_elements(ty: PropertyType, unsigned: bool) -> Option<Kind> {
        use PropertyType as T;
        let ty = match ty {
            T::BoolVector => T::Bool,
            T::ByteVector => return Some(Kind { ty: T::Byte, unsigned: true }),
            T::ShortVector => T::Short,
            T::CharVector => T::Char,
            T::IntVector => T::Int,
            T::LongVector => T::Long,
            T::FloatVector => T::Float,
            T::DoubleVector => T::Double,
            T::StringVector => T::String,
            T::DateVector => T::Date,
            T::DateNanoVector => T::DateNano,
            _ => return None,
        };
        Some(Kind { ty, unsigned })
    }

    /// The order of two values of a test.
    pub(crate) fn order_values(self, one: &Value, other: &Value) -> Ordering {
        self.scalar(other).map_or(Ordering::Less, |other| self.order(one, other))
    }

    /// The order of a value of a test and of what is stored.
    fn order(self, value: &Value, stored: Scalar<'_>) -> Ordering {
        self.scalar(value).map_or(Ordering::Less, |value| value.total_order(stored))
    }

    /// A value of a test in the form in which it is compared; `None` for null.
    #[inline]
    fn scalar<'v>(self, value: &'v Value) -> Option<Scalar<'v>> {
        Some(match value {
            Value::Bool(bit) => Scalar::Bool(*bit),
            Value::Int(number) => self.integer(*number),
            Value::Float(number) => Scalar::Double(f64::from(*number)),
            Value::Double(number) => Scalar::Double(*number),
            Value::String(text) => Scalar::Text(text),
            Value::Relation(id) => Scalar::UInt(*id),
            _ => return None,
        })
    }

    #[inline]
    fn integer(self, number: i64) -> Scalar<'static> {
        if !self.unsigned {
            return Scalar::Int(number);
        }
        // Narrow integers are stored sign-extended; the bits above their width are no part of the number.
        let unused_bits = 64 - 8 * self.ty.scalar_bytes().unwrap_or(8);
        Scalar::UInt((number.cast_unsigned() << unused_bits) >> unused_bits)
    }

    /// An element of a vector of numbers or booleans, from its little-endian bytes.
    fn element(self, bytes: &[u8]) -> Scalar<'static> {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let number = i64::from_le_bytes(wide);
        match self.ty {
            PropertyType::Bool => Scalar::Bool(number != 0),
            PropertyType::Float => Scalar::Double(f32::from_bits(number as u32).into()),
            PropertyType::Double => Scalar::Double(f64::from_bits(number.cast_unsigned())),
            // Characters have no sign.
            PropertyType::Char => self.integer(number),
            _ => {
                let unused_bits = 64 - 8 * bytes.len();
                self.integer(number << unused_bits >> unused_bits)
            }
        }
    }
}

impl Ask {
    /// Whether a value passes; `None` is null.
    #[inline]
    pub(crate) fn holds(&self, kind: Kind, stored: Option<Scalar<'_>>) -> bool {
        match self {
            Ask::Compare { op, value } => match (stored, kind.scalar(value)) {
                (Some(stored), Some(wanted)) => holds(stored, *op, wanted),
                (stored, wanted) => {
                    (stored.is_none() == wanted.is_none()) == (*op == CompareOp::Eq)
                        && matches!(op, CompareOp::Eq | CompareOp::Ne)
                }
            },
            Ask::In { values, null, no_case } => {
                let Some(stored) = stored else { return *null };
                let folded;
                let stored = match stored {
                    Scalar::Text(text) if *no_case => {
                        folded = fold(text);
                        Scalar::Text(&folded)
                    }
                    stored => stored,
                };
                values.binary_search_by(|value| kind.order(value, stored)).is_ok()
            }
            Ask::Between { low, high } => stored
                .is_some_and(|stored| kind.order(low, stored).is_le() && kind.order(high, stored).is_ge()),
        }
    }
}

/// Whether a stored value compares like this with the wanted one, which is folded for operators without case.
#[inline]
fn holds(stored: Scalar<'_>, op: CompareOp, wanted: Scalar<'_>) -> bool {
    use CompareOp::*;
    if let (true, Scalar::Text(stored), Scalar::Text(wanted)) = (op.is_text(), stored, wanted) {
        return match op {
            StartsWith => stored.starts_with(wanted),
            Contains => stored.contains(wanted),
            EndsWith => stored.ends_with(wanted),
            EqNoCase => fold_chars(stored).eq(wanted.chars()),
            StartsWithNoCase => {
                let mut stored = fold_chars(stored);
                wanted.chars().all(|wanted| stored.next() == Some(wanted))
            }
            ContainsNoCase => fold(stored).contains(wanted),
            EndsWithNoCase => fold(stored).ends_with(wanted),
            Eq | Ne | Lt | Le | Gt | Ge => false,
        };
    }
    let order = stored.order(wanted);
    match op {
        Eq => order.is_some_and(Ordering::is_eq),
        Ne => !order.is_some_and(Ordering::is_eq),
        Lt => order.is_some_and(Ordering::is_lt),
        Le => order.is_some_and(Ordering::is_le),
        Gt => order.is_some_and(Ordering::is_gt),
        Ge => order.is_some_and(Ordering::is_ge),
        _ => false,
    }
}
