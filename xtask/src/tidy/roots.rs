//! Every crate root forbids unsafe code, and every manifest takes lints and versions from the workspace.

use std::fs;
use std::path::Path;

use crate::report::Stop;
use crate::workspace::{Workspace, array, text};

/// The findings of all packages of the workspace.
pub fn findings(workspace: &Workspace) -> Result<Vec<String>, Stop> {
    let mut findings = Vec::new();
    for package in workspace.packages() {
        for target in array(&package["targets"]) {
            // Tests, examples and benches are held by the workspace's lint alone.
            let is_root = array(&target["kind"])
                .iter()
                .any(|kind| matches!(text(kind), "lib" | "bin" | "proc-macro"));
            let source = Path::new(text(&target["src_path"]));
            if is_root && !forbids_unsafe(&fs::read_to_string(source)?) {
                findings.push(format!(
                    "{}: `#![forbid(unsafe_code)]` is missing",
                    shown(source, workspace)
                ));
            }
        }
        let manifest = Path::new(text(&package["manifest_path"]));
        let found = judge_manifest(&fs::read_to_string(manifest)?);
        findings.extend(
            found
                .into_iter()
                .map(|why| format!("{}: {why}", shown(manifest, workspace))),
        );
    }
    Ok(findings)
}

fn forbids_unsafe(source: &str) -> bool {
    source.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]")
}

/// Reads the manifest line by line: inherited entries are written `name.workspace = true` or in one-line tables.
fn judge_manifest(manifest: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut section = "";
    let mut inherits_lints = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            continue;
        }
        inherits_lints |= section == "lints" && line == "workspace = true";
        let names_a_version = line.contains("version = ") || line.contains(" = \"");
        if section.ends_with("dependencies") && !line.starts_with('#') && names_a_version {
            findings.push(format!("`{line}`: versions stand in the workspace's manifest"));
        }
    }
    if !inherits_lints {
        findings.push("`[lints] workspace = true` is missing".into());
    }
    findings
}

fn shown(path: &Path, workspace: &Workspace) -> String {
    path.strip_prefix(&workspace.root).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_the_attribute_is_found() {
        assert!(forbids_unsafe("//! Doc.\n#![forbid(unsafe_code)]\n"));
        assert!(!forbids_unsafe("//! Doc.\n// #![forbid(unsafe_code)]\n"));
    }

    #[test]
    fn a_manifest_inherits_lints_and_versions() {
        let good = "[lints]\nworkspace = true\n[dependencies]\nbytes.workspace = true\n\
                    tokio = { workspace = true, features = [\"rt\"] }\n";
        assert_eq!(judge_manifest(good), [""; 0]);
        let bad = "[dependencies]\nbytes = \"1\"\n[dev-dependencies]\ntokio = { version = \"1\" }\n";
        assert_eq!(judge_manifest(bad).len(), 3, "two versions and no lints");
    }
}
