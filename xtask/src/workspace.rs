//! Where things are: the checkout, cargo, the target directory and the packages.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::child;
use crate::report::Stop;

/// The checkout that xtask works on.
pub struct Workspace {
    /// Its top folder.
    pub root: PathBuf,
    /// Where cargo builds, `CARGO_TARGET_DIR` respected.
    pub target: PathBuf,
    /// What `cargo metadata` says of our own packages.
    pub metadata: Value,
}

impl Workspace {
    /// Asks cargo.
    pub fn find() -> Result<Self, Stop> {
        // From the environment first: checkouts that share a target directory also share the built xtask.
        let xtask = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = xtask.parent().expect("xtask is a folder of the checkout").to_path_buf();
        let mut command = cargo_in(&root);
        command.args(["metadata", "--format-version", "1", "--no-deps"]);
        let metadata: Value = serde_json::from_slice(&child::output(&mut command)?)
            .map_err(|error| Stop::failed(format!("cargo metadata is unreadable: {error}")))?;
        let target = metadata["target_directory"]
            .as_str()
            .ok_or_else(|| Stop::failed("no target_directory"))?;
        Ok(Workspace {
            target: target.into(),
            root,
            metadata,
        })
    }

    /// The cargo that runs xtask, in the checkout.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo_in(&self.root);
        command.args(arguments);
        command
    }

    /// A folder of xtask's own for temporary things, made when missing.
    pub fn temporary(&self, name: &str) -> Result<PathBuf, Stop> {
        let folder = self.target.join("xtask").join(name);
        fs::create_dir_all(&folder)
            .map_err(|error| Stop::failed(format!("{} cannot be made: {error}", folder.display())))?;
        Ok(folder)
    }

    /// Every file that git tracks or would track, relative to the root.
    pub fn files(&self) -> Result<Vec<PathBuf>, Stop> {
        let mut git = Command::new("git");
        git.current_dir(&self.root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let listed = child::output(&mut git)?;
        let names = listed.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let mut files: Vec<PathBuf> = names
            .map(|name| String::from_utf8_lossy(name).into_owned().into())
            .collect();
        // A tracked file may be deleted in the working tree.
        files.retain(|file| self.root.join(file).is_file());
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// The workspace's own packages, as cargo describes them.
    pub fn packages(&self) -> impl Iterator<Item = &Value> {
        array(&self.metadata["packages"])
            .iter()
            .filter(|package| package["source"].is_null())
    }
}

impl Workspace {
    /// Every feature of every package, as cargo takes them, but those of tests that need more than cargo: their names end
    /// in `-tests`.
    pub fn embedded_features(&self) -> String {
        let of_package = |package: &Value| {
            let name = text(&package["name"]).to_owned();
            let features = package["features"].as_object().into_iter().flat_map(|all| all.keys());
            let kept = features.filter(|feature| !feature.ends_with("-tests"));
            kept.map(|feature| format!("{name}/{feature}")).collect::<Vec<_>>()
        };
        self.packages().flat_map(of_package).collect::<Vec<_>>().join(",")
    }
}

/// The elements of a JSON array; none when it is something else.
pub fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text of a JSON string; empty when it is something else.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn cargo_in(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root);
    // What cargo told xtask about xtask: inherited, it would make build scripts that watch it run again.
    for (name, _) in env::vars_os() {
        let about_xtask = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"];
        if name
            .to_str()
            .is_some_and(|name| about_xtask.iter().any(|prefix| name.starts_with(prefix)))
        {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_but_those_of_tests_that_need_more_is_embedded() {
        let packages = serde_json::json!({"packages": [
            {"name": "store", "source": null, "features": {"sqlite": [], "postgres": [], "postgres-tests": ["postgres"]}},
            {"name": "core", "source": null, "features": {}},
            {"name": "kit", "source": null, "features": {"sim": [], "proxy-tests": []}},
        ]});
        let workspace = Workspace {
            root: PathBuf::new(),
            target: PathBuf::new(),
            metadata: packages,
        };
        assert_eq!(workspace.embedded_features(), "store/postgres,store/sqlite,kit/sim");
    }
}
