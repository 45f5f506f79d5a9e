//! Whose types our public API names: a host that updates a crate of others must not have to wait for us.
//!
//! What rustdoc tells as JSON is read as far as it has not changed for years: that a path to an item has an `id`, under
//! which `paths` says in which crate it is.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::child;
use crate::report::{Outcome, Stop};
use crate::workspace::{Workspace, text};

/// What everybody's API may name.
const EVERYWHERE: [&str; 12] = [
    "alloc",
    "core",
    "std",
    "bytes",
    "chrono",
    "futures_core",
    "http",
    "serde",
    "serde_core",
    "serde_json",
    "tracing",
    "uuid",
];

/// What an edge's API names because it is the edge to just that.
fn of_an_edge(package: &str) -> &'static [&'static str] {
    match package {
        "chat-store-sqlx" => &["sqlx_core", "sqlx_postgres", "sqlx_sqlite"],
        "chat-transport-ws" => &[
            "http_body",
            "http_body_util",
            "hyper",
            "rustls",
            "tokio",
            "tower_service",
        ],
        _ => &[],
    }
}

/// Every library that is meant for others, with all its features.
pub fn check(workspace: &Workspace) -> Outcome {
    let mut findings = Vec::new();
    for package in workspace.packages().filter(|package| package["publish"].is_null()) {
        let name = text(&package["name"]);
        let mut command = workspace.cargo(&["rustdoc", "--quiet", "--all-features", "--lib", "-p", name, "--"]);
        command.args(["-Z", "unstable-options", "--output-format", "json"]);
        // Of the stable toolchain, which otherwise keeps this to itself.
        child::run(command.env("RUSTC_BOOTSTRAP", "1"), None)?;
        let told = workspace
            .target
            .join("doc")
            .join(format!("{}.json", name.replace('-', "_")));
        let told: Value = serde_json::from_slice(&fs::read(&told)?)
            .map_err(|error| Stop::failed(format!("{} is unreadable: {error}", told.display())))?;
        let named = foreign(&told)?;
        let may = |item: &&String| {
            let of = item.split("::").next().unwrap_or_default();
            of.starts_with("chat_") || EVERYWHERE.contains(&of) || of_an_edge(name).contains(&of)
        };
        findings.extend(
            named
                .iter()
                .filter(|item| !may(item))
                .map(|item| format!("{name}: its public API names {item}")),
        );
    }
    findings.iter().for_each(|finding| eprintln!("{finding}"));
    match findings.len() {
        0 => Ok(()),
        count => Err(Stop::failed(format!("{count} findings, listed above"))),
    }
}

/// What of other crates is named, apart from what blanket and automatic implementations bring.
fn foreign(told: &Value) -> Result<BTreeSet<String>, Stop> {
    let items = told["index"].as_object().filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| Stop::failed("rustdoc tells in another way than is read here: no index"))?;
    let mut named = BTreeSet::new();
    for item in items.values().filter(|item| item["crate_id"] == 0) {
        let by = &item["inner"]["impl"];
        let is_brought = by["is_synthetic"] == true || by["blanket_impl"].is_object();
        if !is_brought {
            gather(&item["inner"], told, &mut named);
        }
    }
    match named.is_empty() {
        true => Err(Stop::failed(
            "rustdoc tells in another way than is read here: not even `core` is named",
        )),
        false => Ok(named),
    }
}

fn gather(value: &Value, told: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            // A re-export has no path, but is the only one that says whether it is of everything.
            let is_named = fields.get("path").is_some_and(Value::is_string) || fields.contains_key("is_glob");
            if let (Some(id), true) = (fields.get("id"), is_named) {
                let item = &told["paths"][id.to_string()];
                if item["crate_id"].as_u64().is_some_and(|of| of != 0) {
                    let path = item["path"].as_array().into_iter().flatten();
                    named.insert(path.map(text).collect::<Vec<_>>().join("::"));
                }
            }
            fields.values().for_each(|value| gather(value, told, named));
        }
        Value::Array(values) => values.iter().for_each(|value| gather(value, told, named)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(inner: Value) -> Value {
        json!({
            "index": { "1": { "crate_id": 0, "inner": inner } },
            "paths": { "7": { "crate_id": 5, "path": ["hyper", "body", "Incoming"] } },
        })
    }

    #[test]
    fn a_foreign_type_is_found_however_deep() {
        let input = json!(["request", { "resolved_path": { "id": 7, "path": "Incoming" } }]);
        let told = told(json!({ "function": { "sig": { "inputs": [input] } } }));
        assert_eq!(foreign(&told).unwrap(), ["hyper::body::Incoming".to_owned()].into());
    }

    #[test]
    fn a_foreign_type_that_is_exported_again_is_found() {
        let told =
            told(json!({ "use": { "source": "hyper::body::Incoming", "name": "In", "id": 7, "is_glob": false } }));
        assert_eq!(foreign(&told).unwrap(), ["hyper::body::Incoming".to_owned()].into());
    }

    #[test]
    fn what_tells_nothing_is_no_success() {
        assert!(foreign(&told(json!({}))).is_err());
        assert!(foreign(&json!({ "index": {} })).is_err());
    }
}
