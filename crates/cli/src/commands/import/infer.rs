//! A schema from the rows themselves, for a database that is new and has no model.

use reconvene::model::evolve::{EntityDescription, PropertyDescription};
use reconvene::model::{ConflictPolicy, EntityFlags, PropertyFlags, PropertyType};
use serde_json::Value as Json;

use super::columns::Names;
use super::input::{Cell, Input};
use crate::exit::Mistake;

/// The name of the id, in files and in the new entity.
const ID: &str = "id";

/// What all values of a column so far have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nothing,
    Bool,
    Int,
    Float,
    Text,
    Ints,
    Floats,
    Texts,
}

impl Kind {
    /// The narrowest kind that holds both; `None` if there is none.
    fn and(self, other: Kind) -> Option<Kind> {
        use Kind::*;
        Some(match (self, other) {
            (same, other) if same == other => same,
            (Nothing, kind) | (kind, Nothing) => kind,
            (Int, Float) | (Float, Int) => Float,
            (Ints, Floats) | (Floats, Ints) => Floats,
            _ => return None,
        })
    }

    fn ty(self) -> PropertyType {
        match self {
            Kind::Bool => PropertyType::Bool,
            Kind::Int => PropertyType::Long,
            Kind::Float => PropertyType::Double,
            // A column without any value is text, the type that anything can be written as later.
            Kind::Text | Kind::Nothing => PropertyType::String,
            Kind::Ints => PropertyType::LongVector,
            Kind::Floats => PropertyType::DoubleVector,
            Kind::Texts => PropertyType::StringVector,
        }
    }

    fn of_text(text: &str) -> Kind {
        if matches!(text, "true" | "false") {
            return Kind::Bool;
        }
        // Only what is written back the same way: postal codes and telephone numbers keep their zeros and signs.
        if text.parse::<i64>().is_ok_and(|number| number.to_string() == text) {
            return Kind::Int;
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
        let zeros = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        if plain
            && !zeros
            && digits.starts_with(|first: char| first.is_ascii_digit())
            && text.parse::<f64>().is_ok()
        {
            // A whole number beyond 64 bits is a name for something, not a quantity to be rounded.
            return if digits.bytes().all(|byte| byte.is_ascii_digit()) { Kind::Text } else { Kind::Float };
        }
        Kind::Text
    }

    fn of_json(json: &Json) -> Option<Kind> {
        Some(match json {
            Json::Null => Kind::Nothing,
            Json::Bool(_) => Kind::Bool,
            Json::Number(number) if number.is_i64() => Kind::Int,
            Json::Number(_) => Kind::Float,
            Json::String(_) => Kind::Text,
            Json::Array(elements) => {
                let mut all = Kind::Nothing;
                for element in elements {
                    all = all.and(Kind::of_json(element)?)?;
                }
                match all {
                    Kind::Int => Kind::Ints,
                    Kind::Float => Kind::Floats,
                    Kind::Text => Kind::Texts,
                    Kind::Nothing => Kind::Nothing,
                    _ => return None,
                }
            }
            Json::Object(_) => return None,
        })
    }
}

/// Reads all rows and describes an entity that holds them.
///
/// # Errors
///
/// If the rows cannot be read, or values of a column have no type in common.
pub(super) fn describe(input: &mut Input, entity: &str, names: &Names) -> anyhow::Result<EntityDescription> {
    let mut columns: Vec<(String, Kind)> = Vec::new();
    let name = input.name().to_owned();
    input.each(&mut |place, row| {
        for (at, (column, cell)) in row.cells().enumerate() {
            let Some(property) = names.property_of(column) else { continue };
            let (kind, is_text) = match cell {
                Cell::Text(text) if text == names.null() => (Some(Kind::Nothing), true),
                Cell::Text(text) => (Some(Kind::of_text(text)), true),
                Cell::Json(json) => (Kind::of_json(json), false),
            };
            // Rows mostly have their columns in one order.
            let known = match columns.get(at) {
                Some((known, _)) if known == property => Some(at),
                _ => columns.iter().position(|(known, _)| known == property),
            };
            let known = known.unwrap_or_else(|| {
                columns.push((property.to_owned(), Kind::Nothing));
                columns.len() - 1
            });
            let before = columns[known].1;
            columns[known].1 = match kind.and_then(|kind| before.and(kind)) {
                Some(both) => both,
                // In CSV everything is text after all.
                None if is_text => Kind::Text,
                None => anyhow::bail!(Mistake(format!(
                    "{name}, {place}, {column}: the values of this column have no type in common; give a model with \
                     --model, or leave the column out with --ignore {column}"
                ))),
            };
        }
        Ok(())
    })?;
    let mut id_flags = PropertyFlags::ID;
    if let Some(at) = columns.iter().position(|(column, _)| column == ID) {
        let (_, kind) = columns.remove(at);
        if !matches!(kind, Kind::Int | Kind::Nothing) {
            anyhow::bail!(Mistake(format!(
                "{name}: the column {ID} does not hold whole numbers, as ids are; give it another name with --map \
                 {ID}=PROPERTY"
            )));
        }
        id_flags = id_flags.with(PropertyFlags::ID_SELF_ASSIGNABLE);
    }
    let property = |name: String, ty, flags| PropertyDescription {
        name,
        uid: None,
        was: None,
        ty,
        flags,
        relation_target: None,
        merge: Default::default(),
    };
    let mut properties = vec![property(ID.to_owned(), PropertyType::Long, id_flags)];
    properties.extend(columns.into_iter().map(|(name, kind)| property(name, kind.ty(), PropertyFlags::NONE)));
    Ok(EntityDescription {
        name: entity.to_owned(),
        uid: None,
        was: None,
        flags: EntityFlags::NONE,
        conflict: ConflictPolicy::default(),
        properties,
        relations: Vec::new(),
        backlinks: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_number_only_if_nothing_is_lost() {
        for (text, expected) in [
            ("12", Kind::Int),
            ("-12", Kind::Int),
            ("9223372036854775807", Kind::Int),
            ("9223372036854775808", Kind::Text),
            ("007", Kind::Text),
            ("+49", Kind::Text),
            ("1.50", Kind::Float),
            ("-0.5", Kind::Float),
            ("1e3", Kind::Float),
            ("1.2.3", Kind::Text),
            ("01.02", Kind::Text),
            ("nan", Kind::Text),
            ("true", Kind::Bool),
            ("True", Kind::Text),
            ("", Kind::Text),
        ] {
            assert_eq!(Kind::of_text(text), expected, "{text}");
        }
    }
}
