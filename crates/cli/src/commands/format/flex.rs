//! Flex values as JSON and back: each as what it is, and what JSON lacks as a map with one key that begins with `$`.

use reconvene::model::Flex;
use serde_json::{Map, Number, Value as Json};

use super::{bytes_of, double_of, hexadecimal};

/// Bytes as hexadecimal text.
const BYTES: &str = "$bytes";

/// A float that is no number, or infinite.
const FLOAT: &str = "$float";

/// A map whose only key begins with `$`.
const MAP: &str = "$map";

/// A Flex value as JSON.
pub(super) fn to_json(value: &Flex) -> Json {
    match value {
        Flex::Null => Json::Null,
        Flex::Bool(bit) => Json::Bool(*bit),
        Flex::Int(number) => Json::from(*number),
        Flex::UInt(number) => Json::from(*number),
        Flex::Float(number) => Number::from_f64(*number)
            .map_or_else(|| marked(FLOAT, Json::from(number.to_string())), Json::Number),
        Flex::String(text) => Json::from(text.as_str()),
        Flex::Bytes(bytes) => marked(BYTES, Json::from(hexadecimal(bytes))),
        Flex::List(values) => values.iter().map(to_json).collect(),
        Flex::Map(map) => {
            let json = Json::Object(map.iter().map(|(key, value)| (key.clone(), to_json(value))).collect());
            if map.len() == 1 && map.keys().all(|key| key.starts_with('$')) {
                marked(MAP, json)
            } else {
                json
            }
        }
    }
}

fn marked(mark: &str, json: Json) -> Json {
    Json::Object(Map::from_iter([(mark.to_owned(), json)]))
}

/// The Flex value that JSON stands for.
///
/// # Errors
///
/// What is wrong with it, where it is marked as bytes or a float and is neither.
pub(super) fn from_json(json: &Json) -> Result<Flex, String> {
    Ok(match json {
        Json::Null => Flex::Null,
        Json::Bool(bit) => Flex::from(*bit),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Flex::from(number),
            (None, Some(number)) => Flex::from(number),
            (None, None) => Flex::from(number.as_f64()),
        },
        Json::String(text) => Flex::from(text.as_str()),
        Json::Array(values) => Flex::List(values.iter().map(from_json).collect::<Result<_, _>>()?),
        Json::Object(map) => {
            let only = map.iter().next().filter(|_| map.len() == 1);
            match only.map(|(key, value)| (key.as_str(), value)) {
                Some((BYTES, json)) => Flex::Bytes(bytes_of(json)?),
                Some((FLOAT, json)) => {
                    Flex::from(double_of(json).ok_or_else(|| super::unfit(json, "a number"))?)
                }
                Some((MAP, Json::Object(map))) => map_of(map)?,
                _ => map_of(map)?,
            }
        }
    })
}

fn map_of(map: &Map<String, Json>) -> Result<Flex, String> {
    let entries = map.iter().map(|(key, value)| Ok((key.clone(), from_json(value)?)));
    Ok(Flex::Map(entries.collect::<Result<_, String>>()?))
}
