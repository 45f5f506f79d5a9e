//! The crates as others get them: built by a crate outside the workspace, packed, and with every set of features.

use std::fs;
use std::process::Command;

use crate::child;
use crate::report::{Kind, Outcome, Report, Stop};
use crate::workspace::{Workspace, text};

/// A host of somebody else's, in this folder.
const OUTSIDE: &str = "outside/Cargo.toml";

/// Builds it with its features and without any, and by the least Rust; packs every library; checks the sets of features.
pub fn check(workspace: &Workspace, report: &mut Report) {
    report.part("outside", Kind::Compile, || outside(workspace, &["test", "--quiet"]));
    report.part("outside, bare", Kind::Compile, || {
        outside(workspace, &["check", "--quiet", "--no-default-features"])
    });
    report.part("outside, least Rust", Kind::Compile, || least_rust(workspace));
    report.part("packages", Kind::Compile, || {
        let mut command = workspace.cargo(&["package", "--quiet", "--allow-dirty"]);
        for library in libraries(workspace) {
            command.args(["-p", text(&library["name"])]);
        }
        child::run(&mut command, None)
    });
    report.part("sets of features", Kind::Compile, || {
        libraries(workspace).try_for_each(|library| each_set_of_features(workspace, library))
    });
}

/// With the versions of others' crates that the workspace has.
fn outside(workspace: &Workspace, arguments: &[&str]) -> Outcome {
    fs::copy(
        workspace.root.join("Cargo.lock"),
        workspace.root.join(OUTSIDE).with_file_name("Cargo.lock"),
    )?;
    let mut command = workspace.cargo(arguments);
    command.args(["--manifest-path", OUTSIDE]).arg("--target-dir");
    child::run(command.arg(&workspace.target), None)
}

/// Whatever builds on sqlx needs a newer one, and says so in its own manifest.
fn least_rust(workspace: &Workspace) -> Outcome {
    let packages: Vec<_> = workspace.packages().collect();
    let core = packages.iter().find(|package| package["name"] == "chat-core");
    let least = core.map_or("", |core| text(&core["rust_version"]));
    let toolchains = child::output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    let toolchains = String::from_utf8_lossy(&toolchains).into_owned();
    let is_it = |name: &&str| {
        name.strip_prefix(least)
            .is_some_and(|rest| rest.starts_with(['.', '-']) || rest.is_empty())
    };
    let Some(toolchain) = toolchains.split_whitespace().find(is_it) else {
        return Err(Stop::NotRun(format!(
            "Rust {least} is not on this machine; `rustup toolchain install {least} --profile minimal` brings it"
        )));
    };
    let mut command = Command::new("rustup");
    command.current_dir(&workspace.root).env_remove("RUSTUP_TOOLCHAIN");
    command.args([
        "run",
        toolchain,
        "cargo",
        "check",
        "--quiet",
        "--manifest-path",
        OUTSIDE,
    ]);
    command.args(["--no-default-features", "--features", "client", "--target-dir"]);
    child::run(command.arg(workspace.temporary("least-rust")?), None)
}

/// What is meant for others.
fn libraries(workspace: &Workspace) -> impl Iterator<Item = &serde_json::Value> {
    workspace.packages().filter(|package| package["publish"].is_null())
}

fn each_set_of_features(workspace: &Workspace, library: &serde_json::Value) -> Outcome {
    let features = library["features"].as_object().into_iter().flat_map(|all| all.keys());
    // `default` is a set itself, and the other is of tests only.
    let features: Vec<_> = features
        .map(String::as_str)
        .filter(|name| !matches!(*name, "default" | "postgres-tests"))
        .collect();
    for set in sets(&features) {
        let mut command = workspace.cargo(&["check", "--quiet", "--lib", "--no-default-features", "-p"]);
        command.args([text(&library["name"]), "--features", &set.join(",")]);
        child::run(command.env("RUSTFLAGS", "-D warnings"), None)?;
    }
    Ok(())
}

/// Every set that can be made of these, the empty one first.
fn sets<'a>(features: &[&'a str]) -> Vec<Vec<&'a str>> {
    features.iter().fold(vec![Vec::new()], |sets, feature| {
        let with = sets.iter().map(|set| [set.as_slice(), &[*feature]].concat());
        sets.iter().cloned().chain(with).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_three_features_there_are_eight_sets() {
        let sets = sets(&["a", "b", "c"]);
        assert_eq!(sets.len(), 8);
        assert_eq!(sets[0], Vec::<&str>::new());
        assert_eq!(sets[7], ["a", "b", "c"]);
    }
}
