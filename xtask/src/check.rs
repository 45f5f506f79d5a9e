//! `cargo xtask check`: what needs no test run. Every part runs, whatever became of the one before it.

use std::process::{Command, Stdio};

use crate::api;
use crate::child;
use crate::report::{Kind, Outcome, Report, Stop};
use crate::tidy;
use crate::workspace::Workspace;

/// Runs all checks.
pub fn run(workspace: &Workspace) -> Report {
    let mut report = Report::default();
    report.part("tidy", Kind::Run, || tidy::check(workspace));
    report.part("format", Kind::Run, || cargo(workspace, &["fmt", "--all", "--check"]));
    report.part("clippy", Kind::Compile, || {
        cargo(
            workspace,
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--",
                "-D",
                "warnings",
            ],
        )
    });
    report.part("rustdoc", Kind::Compile, || rustdoc(workspace));
    report.part("public API", Kind::Compile, || api::check(workspace));
    report.part("book", Kind::Run, || book(workspace));
    report.part("dependencies", Kind::Run, || {
        deny(workspace, &["bans", "licenses", "sources"])
    });
    report.part("advisories", Kind::Run, || advisories(workspace));
    report
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Outcome {
    child::run(&mut workspace.cargo(arguments), None)
}

fn rustdoc(workspace: &Workspace) -> Outcome {
    let mut command = workspace.cargo(&["doc", "--workspace", "--all-features", "--no-deps"]);
    child::run(command.env("RUSTDOCFLAGS", "-D warnings"), None)
}

fn book(workspace: &Workspace) -> Outcome {
    if !child::succeeds(Command::new("mdbook").arg("--version")) {
        let how = "mdbook is not on PATH; `cargo install --locked mdbook` brings it";
        return Err(Stop::NotRun(how.into()));
    }
    let mut command = Command::new("mdbook");
    child::run(command.current_dir(&workspace.root).args(["build", "docs"]), None)
}

fn deny(workspace: &Workspace, checks: &[&str]) -> Outcome {
    need_cargo_deny()?;
    child::run(workspace.cargo(&["deny", "check"]).args(checks), None)
}

/// Advisories need a database from the network; out of reach is not the same as in danger.
fn advisories(workspace: &Workspace) -> Outcome {
    need_cargo_deny()?;
    let log = workspace.temporary("deny")?.join("advisories.log");
    let mut command = workspace.cargo(&["deny", "check", "advisories"]);
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
    let outcome = child::run(&mut command, None);
    let said = std::fs::read_to_string(&log)?;
    if outcome.is_err() && said.contains("failed to fetch advisory database") {
        return Err(Stop::NotRun("the advisory database cannot be fetched from here".into()));
    }
    eprint!("{said}");
    outcome
}

fn need_cargo_deny() -> Outcome {
    if child::succeeds(Command::new("cargo-deny").arg("--version")) {
        return Ok(());
    }
    Err(Stop::NotRun(
        "cargo-deny is not on PATH; `cargo install --locked cargo-deny` brings it".into(),
    ))
}
