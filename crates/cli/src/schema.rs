//! The JSON schema of the configuration file, so that editors can complete and check it.

use serde_json::{Map, Value as Json, json};

use crate::options::{OptionSpec, SERVE};
use crate::value::{Found, Kind, Value};

/// The schema, as `reconvene serve --print-config-schema` prints it.
pub(crate) fn config_schema() -> Json {
    let mut properties = Map::new();
    properties.insert(
        "$schema".to_owned(),
        json!({ "type": "string", "description": "Where editors find this schema; the server leaves it alone." }),
    );
    for option in SERVE {
        for key in option.keys() {
            properties.insert(key.to_owned(), property(option));
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of a Reconvene server",
        "type": "object",
        "properties": properties,
        "patternProperties": { "^_": { "description": "A comment." } },
        "additionalProperties": false,
    })
}

fn property(option: &OptionSpec) -> Json {
    let mut property = Map::new();
    let mut set = |name: &str, value: Json| property.insert(name.to_owned(), value);
    set("description", json!(format!("{}. {}", option.help, option.long_help)));
    match option.kind {
        Kind::Path { .. } | Kind::Secret => {
            set("type", json!("string"));
            set("minLength", json!(1));
        }
        Kind::Address => {
            set("type", json!("string"));
            set("pattern", json!("^ws://.+:[0-9]{1,5}/?$"));
        }
        Kind::Switch => {
            set("type", json!("boolean"));
        }
        Kind::Count { min, max } => {
            set("type", json!("integer"));
            set("minimum", json!(min));
            set("maximum", json!(max));
        }
        Kind::Size { min, max } => {
            set("type", json!(["integer", "string"]));
            set("minimum", json!(min));
            set("maximum", json!(max));
            set("pattern", json!("^[0-9]+( ?[KkMmGg][Ii][Bb])?$"));
        }
        Kind::Choice(words) => {
            set("enum", json!(words));
        }
    }
    if option.kind == Kind::Secret {
        set("writeOnly", json!(true));
    }
    if let Some(default) = option.default {
        set("default", default_value(option, default));
    }
    Json::Object(property)
}

/// The default with the type that the file gives it.
fn default_value(option: &OptionSpec, default: &str) -> Json {
    match option.kind.read(Found::Text(default.to_owned())) {
        Ok(Value::Switch(on)) => json!(on),
        Ok(Value::Number(number)) if matches!(option.kind, Kind::Count { .. }) => json!(number),
        _ => json!(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_file_is_described_and_nothing_else() {
        let schema = config_schema();
        let described: Vec<_> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let keys: Vec<_> =
            ["$schema"].into_iter().chain(SERVE.iter().flat_map(|option| option.keys())).collect();
        assert_eq!(described, keys);
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn properties_have_the_types_and_bounds_of_their_options() {
        let properties = config_schema()["properties"].take();
        assert_eq!(properties["unsecuredNoAuthentication"]["type"], "boolean");
        assert_eq!(properties["unsecuredNoAuthentication"]["default"], false);
        assert_eq!(properties["sessionsMax"]["minimum"], 1);
        assert_eq!(properties["sessionsMax"]["default"], 10_000);
        assert_eq!(properties["messageBytesMax"]["default"], "32 MiB");
        assert_eq!(properties["logFormat"]["enum"], json!(["text", "json"]));
        assert_eq!(properties["sharedSecret"]["writeOnly"], true);
        assert_eq!(properties["modelFile"], properties["model"]);
        assert!(properties["model"].get("default").is_none());
    }
}
