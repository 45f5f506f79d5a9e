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
