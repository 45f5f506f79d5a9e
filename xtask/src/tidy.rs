//! Our own rules for the tree: what no compiler and no linter looks at.
//!
//! Each rule is pure, a function from text to findings, and has a test that shows it can fail.

mod arrows;
mod phrases;
mod roots;

use std::fs;
use std::path::Path;

use crate::report::{Outcome, Stop};
use crate::workspace::Workspace;

/// A source file longer than this is worth a look: it may be swallowing its neighbours.
const LONG_FILE: usize = 600;

/// Prints every finding and fails when there is one.
pub fn check(workspace: &Workspace) -> Outcome {
    let mut findings = Vec::new();
    let files = workspace.files()?;
    for file in &files {
        if file.file_name().is_some_and(|name| name == "mod.rs") {
            findings.push(format!(
                "{}: a module is `name.rs` beside `name/`, never mod.rs",
                file.display()
            ));
        }
        // A file that is not text has no lines to judge.
        let Ok(text) = fs::read_to_string(workspace.root.join(file)) else {
            continue;
        };
        let found = phrases::findings(&text, file, &workspace.root);
        findings.extend(
            found
                .into_iter()
                .map(|(line, why)| format!("{}:{line}: {why}", file.display())),
        );
        note_a_long_file(file, &text);
    }
    findings.extend(roots::findings(workspace)?);
    findings.extend(arrows::findings(workspace)?);
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => {
            eprintln!("{} files, nothing found", files.len());
            Ok(())
        }
        count => Err(Stop::failed(format!("{count} findings, listed above"))),
    }
}

fn note_a_long_file(file: &Path, text: &str) {
    let lines = text.lines().count();
    let is_test = file.components().any(|part| part.as_os_str() == "tests");
    if file.extension().is_some_and(|extension| extension == "rs") && !is_test && lines > LONG_FILE {
        eprintln!("note: {} has {lines} lines", file.display());
    }
}
