//! How values look as text: in JSON, in cells of CSV files, and back.
//!
//! Numbers are numbers; dates are the numbers that the store has. Bytes are hexadecimal text. What JSON has no number for
//! is text: `NaN`, `inf`, `-inf`. Vectors are arrays and Flex values any JSON, in a cell as text; [`flex`] says how.

use clap::builder::PossibleValue;
use clap::{Arg, ArgMatches, ValueEnum};
use reconvene::model::{EntityDef, MergeKind, PropertyDef, PropertyFlags, PropertyId, PropertyType, Value};
use serde_json::{Number, Value as Json};

mod flex;

/// The form of rows in a file or on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines for people.
    Table,
    /// One array of objects.
    Json,
    /// An object on each line.
    Ndjson,
    /// A line of names, then a line for each object.
    Csv,
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Format::Table, Format::Json, Format::Ndjson, Format::Csv]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Format::Table => PossibleValue::new("table"),
            Format::Json => PossibleValue::new("json"),
            Format::Ndjson => PossibleValue::new("ndjson").alias("jsonl"),
            Format::Csv => PossibleValue::new("csv"),
        })
    }
}

impl Format {
    /// The format that the end of a file's name says.
    pub(crate) fn of_name(path: &std::path::Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Format::Json),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            "csv" => Some(Format::Csv),
            _ => None,
        }
    }
}

/// The standalone relations of an entity as if they were properties: vectors of ids.
pub(crate) fn relations(entity: &EntityDef) -> impl Iterator<Item = PropertyDef> {
    entity.relations.iter().filter(|relation| entity.property(&relation.name).is_none()).map(|relation| {
        PropertyDef {
            // No record has a place for it.
            id: PropertyId(u32::MAX),
            uid: relation.uid,
            name: relation.name.clone(),
            ty: PropertyType::LongVector,
            flags: PropertyFlags::NONE,
            index: None,
            relation_target: None,
            merge: MergeKind::default(),
        }
    })
}

const FORMAT: &str = "format";

/// The option `--format`.
pub(crate) fn argument(formats: &'static [Format]) -> Arg {
    let words = formats.iter().filter_map(Format::to_possible_value);
    Arg::new(FORMAT)
        .long(FORMAT)
        .value_name("FORMAT")
        .value_parser(clap::builder::PossibleValuesParser::new(words))
}

/// What `--format` says.
pub(crate) fn chosen(matches: &ArgMatches) -> Option<Format> {
    Format::from_str(matches.get_one::<String>(FORMAT)?, true).ok()
}

/// A value as JSON.
pub(crate) fn to_json(property: &PropertyDef, value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(number) if property.is_unsigned() => Json::from(number.cast_unsigned()),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) => float(*number),
        Value::Double(number) => double(*number),
        Value::String(text) => Json::from(text.as_str()),
        Value::Relation(id) => Json::from(*id),
        Value::Flex(value) => flex::to_json(value),
        Value::ByteVector(bytes) => Json::from(hexadecimal(bytes)),
        Value::BoolVector(all) => all.iter().copied().map(Json::Bool).collect(),
        Value::ShortVector(all) if property.ty == PropertyType::CharVector || property.is_unsigned() => {
            all.iter().map(|code| Json::from(code.cast_unsigned())).collect()
        }
        Value::IntVector(all) if property.is_unsigned() => {
            all.iter().map(|number| Json::from(number.cast_unsigned())).collect()
        }
        Value::LongVector(all) if property.is_unsigned() => {
            all.iter().map(|number| Json::from(number.cast_unsigned())).collect()
        }
        Value::ShortVector(all) => all.iter().copied().map(Json::from).collect(),
        Value::IntVector(all) => all.iter().copied().map(Json::from).collect(),
        Value::LongVector(all) => all.iter().copied().map(Json::from).collect(),
        Value::FloatVector(all) => all.iter().copied().map(float).collect(),
        Value::DoubleVector(all) => all.iter().copied().map(double).collect(),
        Value::StringVector(all) => all.iter().map(|text| Json::from(text.as_str())).collect(),
    }
}

/// A value as the text of a cell; `None` for no value.
pub(crate) fn to_cell(property: &PropertyDef, value: &Value) -> Option<String> {
    match to_json(property, value) {
        Json::Null => None,
        // Quoted, so that the text "5" is not the number when it is read.
        json if property.ty == PropertyType::Flex => Some(json.to_string()),
        Json::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// The value that JSON stands for.
///
/// # Errors
///
/// What is wrong with it, to be put behind the name of the property.
pub(crate) fn from_json(property: &PropertyDef, json: &Json) -> Result<Value, String> {
    use PropertyType as T;
    let ty = property.ty;
    Ok(match (ty, json) {
        (_, Json::Null) => Value::Null,
        (T::Bool, Json::Bool(value)) => Value::Bool(*value),
        (T::Float, _) => Value::Float(single_of(json).ok_or_else(|| unfit(json, "a number"))?),
        (T::Double, _) => Value::Double(double_of(json).ok_or_else(|| unfit(json, "a number"))?),
        (T::String, Json::String(text)) => Value::String(text.clone()),
        (T::Relation, _) => match unsigned_of(json) {
            Some(0) => Value::Null,
            Some(id) => Value::Relation(id),
            None => return Err(unfit(json, "the id of an object")),
        },
        (T::Flex, _) => Value::Flex(flex::from_json(json)?),
        (T::ByteVector, _) => Value::ByteVector(bytes_of(json)?),
        (T::BoolVector, _) => Value::BoolVector(elements(json, "a boolean", Json::as_bool)?),
        (T::ShortVector, _) if property.is_unsigned() => {
            Value::ShortVector(elements(json, "a whole number of 16 bits, not negative", |json| {
                small_unsigned(json).map(u16::cast_signed)
            })?)
        }
        (T::IntVector, _) if property.is_unsigned() => {
            Value::IntVector(elements(json, "a whole number of 32 bits, not negative", |json| {
                small_unsigned(json).map(u32::cast_signed)
            })?)
        }
        (T::LongVector, _) if property.is_unsigned() => {
            Value::LongVector(elements(json, "a whole number of 64 bits, not negative", |json| {
                unsigned_of(json).map(u64::cast_signed)
            })?)
        }
        (T::ShortVector, _) => Value::ShortVector(elements(json, "a whole number of 16 bits", small_int)?),
        (T::CharVector, _) => Value::ShortVector(elements(json, "a character code", |json| {
            Some(u16::try_from(json.as_u64()?).ok()?.cast_signed())
        })?),
        (T::IntVector, _) => Value::IntVector(elements(json, "a whole number of 32 bits", small_int)?),
        (T::LongVector | T::DateVector | T::DateNanoVector, _) => {
            Value::LongVector(elements(json, "a whole number of 64 bits", Json::as_i64)?)
        }
        (T::FloatVector, _) => Value::FloatVector(elements(json, "a number", single_of)?),
        (T::DoubleVector, _) => Value::DoubleVector(elements(json, "a number", double_of)?),
        (T::StringVector, _) => {
            Value::StringVector(elements(json, "text", |json| json.as_str().map(str::to_owned))?)
        }
        (ty, _) if ty.is_integer() => {
            let bits = 8 * ty.scalar_bytes().expect("integers are scalars");
            if property.is_unsigned() {
                let fits = unsigned_of(json).filter(|number| bits == 64 || number >> bits == 0);
                let expected = || unfit(json, &format!("a whole number of {bits} bits, not negative"));
                Value::Int(fits.ok_or_else(expected)?.cast_signed())
            } else {
                let fits = |number: &i64| *number >> (bits - 1) == 0 || *number >> (bits - 1) == -1;
                let number = json.as_i64().filter(fits);
                Value::Int(number.ok_or_else(|| unfit(json, &format!("a whole number of {bits} bits")))?)
            }
        }
        (T::Bool, _) => return Err(unfit(json, "true or false")),
        _ => return Err(unfit(json, "text")),
    })
}

/// The value that the text of a cell stands for; the caller has sorted out cells without a value.
///
/// # Errors
///
/// As [`from_json`].
pub(crate) fn from_cell(property: &PropertyDef, cell: &str) -> Result<Value, String> {
    use PropertyType as T;
    let json = match property.ty {
        T::String | T::ByteVector => Json::from(cell),
        T::Bool => match cell.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Json::Bool(true),
            "false" | "0" | "no" => Json::Bool(false),
            _ => Json::from(cell),
        },
        T::Float | T::Double => match cell.trim().parse::<f64>() {
            // Read here, so that a 32-bit float is rounded once only.
            Ok(_) if property.ty == T::Float => {
                return cell
                    .trim()
                    .parse()
                    .map(Value::Float)
                    .map_err(|_| unfit(&Json::from(cell), "a number"));
            }
            Ok(number) => return Ok(Value::Double(number)),
            Err(_) => Json::from(cell),
        },
        _ => serde_json::from_str(cell.trim()).unwrap_or_else(|_| Json::from(cell)),
    };
    from_json(property, &json)
}

/// The id in JSON or in a cell.
///
/// # Errors
///
/// As [`from_json`].
pub(crate) fn id_of(json: &Json) -> Result<u64, String> {
    match json {
        Json::Null => Ok(0),
        Json::String(text) => text.trim().parse().map_err(|_| unfit(json, "an id")),
        _ => unsigned_of(json).ok_or_else(|| unfit(json, "an id")),
    }
}

fn float(number: f32) -> Json {
    // The shortest digits that mean this number, and not those of the 64-bit float next to it.
    let shortest = number.to_string().parse().ok().and_then(Number::from_f64);
    shortest.map_or_else(|| Json::from(number.to_string()), Json::Number)
}

fn double(number: f64) -> Json {
    Number::from_f64(number).map_or_else(|| Json::from(number.to_string()), Json::Number)
}

fn double_of(json: &Json) -> Option<f64> {
    match json {
        Json::String(text) if matches!(text.as_str(), "NaN" | "inf" | "-inf") => text.parse().ok(),
        _ => json.as_f64(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a 32-bit float is the nearest to what was written")]
fn single_of(json: &Json) -> Option<f32> {
    double_of(json).map(|number| number as f32)
}

fn unsigned_of(json: &Json) -> Option<u64> {
    json.as_u64()
}

fn small_int<N: TryFrom<i64>>(json: &Json) -> Option<N> {
    json.as_i64().and_then(|number| N::try_from(number).ok())
}

fn small_unsigned<N: TryFrom<u64>>(json: &Json) -> Option<N> {
    unsigned_of(json).and_then(|number| N::try_from(number).ok())
}

fn elements<V>(json: &Json, expected: &str, of: impl Fn(&Json) -> Option<V>) -> Result<Vec<V>, String> {
    let array = json.as_array().ok_or_else(|| unfit(json, "an array"))?;
    array
        .iter()
        .enumerate()
        .map(|(at, element)| {
            of(element).ok_or_else(|| format!("element {}: {}", at + 1, unfit(element, expected)))
        })
        .collect()
}

fn bytes_of(json: &Json) -> Result<Vec<u8>, String> {
    let expected = || unfit(json, "bytes as hexadecimal text");
    let text = json.as_str().ok_or_else(expected)?;
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty()).ok_or_else(expected)
}

/// Bytes as hexadecimal text.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The most characters of a wrong value that a message shows.
const SHOWN_CHARS_MAX: usize = 60;

fn unfit(json: &Json, expected: &str) -> String {
    let mut shown = json.to_string();
    if let Some((end, _)) = shown.char_indices().nth(SHOWN_CHARS_MAX) {
        shown.truncate(end);
        shown.push('…');
    }
    format!("{shown} is not {expected}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reconvene::model::flex::FlexMap;
    use reconvene::model::{Flex, PropertyFlags, PropertyId, Uid};

    use super::*;

    fn property(ty: PropertyType, flags: PropertyFlags) -> PropertyDef {
        let (id, uid, name) = (PropertyId(1), Uid(1), "p".to_owned());
        PropertyDef {
            id,
            uid,
            name,
            ty,
            flags,
            index: None,
            relation_target: None,
            merge: Default::default(),
        }
    }

    fn there_and_back(ty: PropertyType, flags: PropertyFlags, value: &Value) {
        let property = property(ty, flags);
        let json = to_json(&property, value).to_string();
        let back = from_json(&property, &serde_json::from_str(&json).unwrap()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{value:?}"), "by {json}");
        let cell = to_cell(&property, value).unwrap();
        let back = from_cell(&property, &cell).unwrap();
        assert_eq!(format!("{back:?}"), format!("{value:?}"), "by the cell {cell}");
    }

    proptest! {
        #[test]
        fn numbers_come_back(int: i64, float: f32, double: f64) {
            there_and_back(PropertyType::Long, PropertyFlags::NONE, &Value::Int(int));
            there_and_back(PropertyType::Long, PropertyFlags::UNSIGNED, &Value::Int(int));
            if !float.is_nan() {
                there_and_back(PropertyType::Float, PropertyFlags::NONE, &Value::Float(float));
            }
            if !double.is_nan() {
                there_and_back(PropertyType::Double, PropertyFlags::NONE, &Value::Double(double));
            }
        }

        #[test]
        fn text_and_bytes_come_back(text: String, bytes: Vec<u8>, all: Vec<String>) {
            there_and_back(PropertyType::String, PropertyFlags::NONE, &Value::String(text));
            there_and_back(PropertyType::ByteVector, PropertyFlags::NONE, &Value::ByteVector(bytes));
            there_and_back(PropertyType::StringVector, PropertyFlags::NONE, &Value::StringVector(all));
        }
    }

    #[test]
    fn flex_values_come_back() {
        for (flex, json) in [
            (Flex::from("5"), "\"5\""),
            (Flex::from(5), "5"),
            (Flex::from(u64::MAX), "18446744073709551615"),
            (Flex::from(5.0), "5.0"),
            (Flex::from(f64::NAN), "{\"$float\":\"NaN\"}"),
            (Flex::bytes([0xca, 0xfe]), "{\"$bytes\":\"cafe\"}"),
            (Flex::from_iter([("$bytes", "cafe")]), "{\"$map\":{\"$bytes\":\"cafe\"}}"),
            (Flex::from_iter([("$map", Flex::Map(FlexMap::new()))]), "{\"$map\":{\"$map\":{}}}"),
            (
                Flex::from_iter([("a", Flex::from([true, false])), ("b", Flex::Null)]),
                "{\"a\":[true,false],\"b\":null}",
            ),
        ] {
            let property = property(PropertyType::Flex, PropertyFlags::NONE);
            assert_eq!(to_json(&property, &Value::Flex(flex.clone())).to_string(), json);
            assert_eq!(flex.to_string(), json);
            there_and_back(PropertyType::Flex, PropertyFlags::NONE, &Value::Flex(flex));
        }
    }

    #[test]
    fn special_values_come_back() {
        use PropertyType as T;
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
            there_and_back(T::Double, PropertyFlags::NONE, &Value::Double(number));
            there_and_back(T::Float, PropertyFlags::NONE, &Value::Float(number as f32));
        }
        for (ty, value) in [
            (T::Bool, Value::Bool(true)),
            (T::Byte, Value::Int(-128)),
            (T::Char, Value::Int(0xffff)),
            (T::Date, Value::Int(-1)),
            (T::Relation, Value::Relation(u64::MAX)),
            (T::BoolVector, Value::BoolVector(vec![true, false])),
            (T::CharVector, Value::ShortVector(vec![-1])),
            (T::FloatVector, Value::FloatVector(vec![0.1, f32::INFINITY])),
            (T::DateVector, Value::LongVector(vec![i64::MIN])),
        ] {
            there_and_back(ty, PropertyFlags::NONE, &value);
        }
        for (ty, value) in [
            (T::ShortVector, Value::ShortVector(vec![-1, 1])),
            (T::IntVector, Value::IntVector(vec![-1, 1])),
            (T::LongVector, Value::LongVector(vec![-1, 1])),
        ] {
            there_and_back(ty, PropertyFlags::UNSIGNED, &value);
            assert!(!to_json(&property(ty, PropertyFlags::UNSIGNED), &value).to_string().contains('-'));
        }
    }

    #[test]
    fn what_does_not_fit_is_told() {
        use PropertyType as T;
        for (ty, cell, expected) in [
            (T::Byte, "128", "128 is not a whole number of 8 bits"),
            (T::Int, "1.5", "1.5 is not a whole number of 32 bits"),
            (T::Int, "twelve", "\"twelve\" is not a whole number of 32 bits"),
            (T::Char, "-1", "-1 is not a whole number of 16 bits, not negative"),
            (T::Bool, "maybe", "\"maybe\" is not true or false"),
            (T::Double, "1,5", "\"1,5\" is not a number"),
            (T::ByteVector, "abc", "\"abc\" is not bytes as hexadecimal text"),
            (T::IntVector, "[1, \"a\"]", "element 2: \"a\" is not a whole number of 32 bits"),
            (T::Flex, "{\"$bytes\": 5}", "5 is not bytes as hexadecimal text"),
            (T::Relation, "x", "\"x\" is not the id of an object"),
        ] {
            assert_eq!(from_cell(&property(ty, PropertyFlags::NONE), cell).unwrap_err(), expected);
        }
    }
}
