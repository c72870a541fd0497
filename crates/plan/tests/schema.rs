//! The JSON schema and the checks come from the same shape.

use anyarch_plan::{json_schema, read};

#[test]
fn every_key_of_the_specification_is_there() {
    let schema = json_schema();
    for pointer in [
        "/properties/project/properties/source-date-epoch",
        "/properties/sources/properties/debian/anyOf/1/properties/signed-by",
        "/properties/base/additionalProperties/properties/packages/items",
        "/properties/flavor/additionalProperties/properties/platforms",
        "/properties/flavor/additionalProperties/properties/tiers/items/properties/build-args",
        "/properties/flavor/additionalProperties/properties/on/additionalProperties/properties/tier",
        "/properties/tags/properties/publish-tier",
        "/properties/index/additionalProperties/properties/members",
    ] {
        assert!(schema.pointer(pointer).is_some(), "{pointer}");
    }
    assert_eq!(schema["required"], serde_json::json!(["project", "flavor"]));
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
}

#[test]
fn keys_of_the_schema_are_the_known_keys() {
    let schema = json_schema();
    let keys = |pointer: &str| -> Vec<String> {
        let table = schema.pointer(pointer).and_then(|value| value.as_object());
        table.expect("a table").keys().map(|key| format!("`{key}`")).collect()
    };
    for (text, pointer) in [
        ("nonsense = 1\n", "/properties"),
        ("[project]\nnonsense = 1\n", "/properties/project/properties"),
        ("[base.x]\nnonsense = 1\n", "/properties/base/additionalProperties/properties"),
        ("[flavor.x]\nnonsense = 1\n", "/properties/flavor/additionalProperties/properties"),
        ("[tags]\nnonsense = 1\n", "/properties/tags/properties"),
    ] {
        let found = read(text).expect_err("an unknown key");
        let unknown = found.iter().find(|finding| finding.code == "unknown-key");
        let hint = unknown.and_then(|finding| finding.hint.clone()).unwrap_or_default();
        for key in keys(pointer) {
            assert!(hint.contains(&key), "{hint} lacks {key}");
        }
    }
}
