//! What `docs/limits.toml` says.

use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    pub limits: BTreeMap<String, Vec<Limit>>,
    pub codes: Codes,
    pub may: May,
    pub rules: BTreeMap<String, Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub name: String,
    pub default: String,
    pub unit: String,
    pub reached: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Codes {
    pub close: Vec<Close>,
    pub error: Vec<Error>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    pub number: u16,
    pub reason: String,
    #[serde(default)]
    pub means: String,
    /// Whether a client comes back.
    pub back: bool,
    /// When else it does, or how.
    #[serde(default)]
    pub with: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Error {
    pub code: String,
    #[serde(default)]
    pub retryable: bool,
    pub what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct May {
    pub commands: Vec<Right>,
}

/// Who may send a command: one letter for each standing, the least first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Right {
    pub command: String,
    pub direct: String,
    pub group: String,
    pub channel: String,
    pub public: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub id: String,
    pub input: String,
    /// Each of them is shown by a row.
    pub answer: Vec<String>,
    #[serde(default)]
    pub also: String,
}

pub fn data() -> Data {
    toml::from_str(&read("docs/limits.toml")).unwrap()
}

/// A file of the checkout.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn at(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}
