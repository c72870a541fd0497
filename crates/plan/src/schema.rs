//! The shape of the plan file → its JSON schema (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use crate::shape::{Key, Kind, ROOT, Shape};

/// The JSON schema of the plan file.
pub fn json_schema() -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("anyarch.toml"));
    schema.insert("description".to_owned(), json!("A family of container images."));
    schema.extend(table(&ROOT));
    Value::Object(schema)
}

fn table(shape: &Shape) -> Map<String, Value> {
    let properties: Map<String, Value> =
        shape.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> =
        shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = Map::new();
    schema.insert("description".to_owned(), json!(key.doc));
    schema.extend(value(&key.kind));
    Value::Object(schema)
}

fn value(kind: &Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::AnyText => json!({ "type": "string" }),
        Kind::Count => json!({ "type": "integer", "minimum": 0 }),
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::List(item) => json!({ "type": "array", "items": value(item) }),
        Kind::Map(item) => json!({ "type": "object", "additionalProperties": value(item) }),
        Kind::Table(shape) => Value::Object(table(shape)),
        Kind::AnyOf(kinds) => json!({ "anyOf": kinds.iter().map(value).collect::<Vec<_>>() }),
    };
    match schema {
        Value::Object(map) => map,
        other => Map::from_iter([("const".to_owned(), other)]),
    }
}
