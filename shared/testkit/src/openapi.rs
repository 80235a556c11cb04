//! Holds answers against the `OpenAPI` document.

use serde_json::Value;

/// The schema of a JSON response of `GET path`.
///
/// # Panics
/// Where the document does not describe it.
pub fn response_schema<'a>(document: &'a Value, path: &str, status: u16) -> &'a Value {
    let mut response = &document["paths"][path]["get"]["responses"][status.to_string()];
    if let Some(reference) = response["$ref"].as_str() {
        response = resolve(document, reference);
    }
    let schema = &response["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "GET {path} {status} is not described");
    schema
}

fn resolve<'a>(document: &'a Value, reference: &str) -> &'a Value {
    let found = document.pointer(reference.trim_start_matches('#'));
    found.unwrap_or_else(|| panic!("{reference} is not there"))
}

/// Holds a value against the part of JSON Schema that the document uses for answers. An object without `properties` is
/// any object.
///
/// # Errors
/// The place at fault, and what was expected there.
///
/// # Panics
/// Where the schema says less than it should: no type, or an object that takes any member.
pub fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return check(document, resolve(document, reference), value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = |schema| check(document, schema, value, at).is_ok();
        let fits = any.iter().any(fits);
        return fits
            .then_some(())
            .ok_or(format!("{at}: fits none of anyOf"));
    }
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    assert!(!types.is_empty(), "{at}: the schema has no type");
    if !types.contains(&found) {
        return Err(format!("{at}: found {found}, expected {types:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("{at}: {value} is none of {allowed:?}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{at}: {value} is not {}", schema["const"]));
    }
    for item in value.as_array().into_iter().flatten() {
        check(document, &schema["items"], item, &format!("{at}[]"))?;
    }
    let (Some(members), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    else {
        return Ok(());
    };
    assert_eq!(schema["additionalProperties"], false, "{at}");
    for (name, member) in members {
        let described = properties.get(name);
        let described = described.ok_or(format!("{at}.{name} is not described"))?;
        check(document, described, member, &format!("{at}.{name}"))?;
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if name.as_str().is_none_or(|name| !members.contains_key(name)) {
            return Err(format!("{at}.{name} is required and not there"));
        }
    }
    Ok(())
}
