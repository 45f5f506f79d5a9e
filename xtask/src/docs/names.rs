//! Names of items, tests above all, that Markdown pages write in backticks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::links::prose;

/// The names that the sources define.
pub struct Defined {
    functions: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl Defined {
    /// Reads every `fn NAME`, and every other `KEYWORD NAME` that a path may end in.
    pub fn in_sources(sources: &[String]) -> Self {
        let mut defined = Defined {
            functions: BTreeSet::new(),
            others: BTreeSet::new(),
        };
        for line in sources.iter().flat_map(|source| source.lines()) {
            let mut words = line.split_whitespace().peekable();
            while let Some(word) = words.next() {
                let Some(next) = words.peek() else { break };
                let name: String = next.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                match word {
                    "fn" => _ = defined.functions.insert(name),
                    "mod" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "macro_rules!" => {
                        _ = defined.others.insert(name);
                    }
                    _ => {}
                }
            }
        }
        defined
    }

    fn has(&self, name: &str) -> bool {
        self.functions.contains(name) || self.others.contains(name)
    }
}

/// Paths into our crates (`chat_core::engine::name`) whose last part no source defines.
pub fn missing_paths(page: &Path, text: &str, defined: &Defined) -> Vec<String> {
    let mut missing = Vec::new();
    for (line, code) in prose(text).flat_map(|(line, text)| spans(text).map(move |code| (line, code))) {
        let is_ours = code.starts_with("chat_") || code.starts_with("xtask::");
        if is_ours && code.contains("::") && is_path(code) && !defined.has(last_part(code)) {
            missing.push(format!("{}:{line}: `{code}`", page.display()));
        }
    }
    missing
}

/// The names of all metrics, from where they are counted.
pub fn metrics(sources: &[String]) -> BTreeSet<&str> {
    let counted = sources.iter().flat_map(|source| source.split("metrics::").skip(1));
    let names = counted.filter_map(|rest| rest.split_once("!(\"")?.1.split('"').next());
    names.filter(|name| name.starts_with("chat_")).collect()
}

/// Names and descriptions in the list of all metrics: a string that is a name, and the string behind it.
pub fn described_metrics(list: &str) -> BTreeMap<&str, &str> {
    let strings: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let pairs = strings.windows(2).filter(|pair| pair[0].starts_with("chat_"));
    pairs.map(|pair| (pair[0], pair[1])).collect()
}

/// Rows of the page's tables whose last cell names no test, or one that no source defines. A page without a row is
/// itself a finding.
pub fn unproven_rows(page: &Path, text: &str, defined: &Defined) -> Vec<String> {
    let mut unproven = Vec::new();
    let mut rows = 0;
    let lines: Vec<(usize, &str)> = prose(text).collect();
    for (index, (line, row)) in lines.iter().enumerate() {
        let is_head = lines.get(index + 1).is_some_and(|(_, next)| is_rule(next));
        if !row.starts_with('|') || is_head || is_rule(row) {
            continue;
        }
        rows += 1;
        let cell = row.trim().trim_end_matches('|').rsplit('|').next().unwrap_or("");
        let tests: Vec<&str> = spans(cell).filter(|code| is_path(code)).collect();
        if tests.is_empty() {
            unproven.push(format!("{}:{line}: names no test", page.display()));
        }
        let absent = tests.iter().filter(|test| !defined.functions.contains(last_part(test)));
        unproven.extend(absent.map(|test| format!("{}:{line}: there is no `fn {test}`", page.display())));
    }
    if rows == 0 {
        unproven.push(format!("{}: has no table of guarantees", page.display()));
    }
    unproven
}

/// The line under a table's head.
fn is_rule(line: &str) -> bool {
    line.starts_with('|') && line.contains('-') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

/// The code spans of one line.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn is_path(code: &str) -> bool {
    !code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn last_part(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defined() -> Defined {
        Defined::in_sources(&["    async fn acked_means_stored() {\npub struct Engine;".to_owned()])
    }

    #[test]
    fn a_guarantee_without_a_test_that_exists_is_found() {
        let page = "| promise | test |\n|---|---|\n| kept | `it::acked_means_stored` |\n| bare | none |\n\
                    | gone | `lost_and_gone`, `acked_means_stored` |\n";
        let found = unproven_rows(Path::new("page.md"), page, &defined());
        assert_eq!(
            found,
            ["page.md:4: names no test", "page.md:5: there is no `fn lost_and_gone`"]
        );
        assert_eq!(unproven_rows(Path::new("page.md"), "prose", &defined()).len(), 1);
    }

    #[test]
    fn a_path_into_our_crates_must_end_in_something_defined() {
        let page = "`chat_core::Engine` `chat_core::Gone` `std::fs::gone` `chat_testkit::acked_means_stored`";
        assert_eq!(
            missing_paths(Path::new("page.md"), page, &defined()),
            ["page.md:1: `chat_core::Gone`"]
        );
    }
}
