//! nginx and Caddy for the tests of their configurations: the machine's own, or Debian's packages, fetched and unpacked
//! under `target/`. Nothing is installed and nothing of the machine's own is started.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child;
use crate::report::{Outcome, Stop};
use crate::workspace::Workspace;

/// How long Debian's servers may take.
const FETCH_AT_MOST: Duration = Duration::from_secs(300);

/// A program that tests ask for, by the variable that names it to them; where Debian's package of its name has it.
const PROGRAMS: [(&str, &str, &str); 2] = [
    ("CHAT_NGINX", "nginx", "usr/sbin/nginx"),
    ("CHAT_CADDY", "caddy", "usr/bin/caddy"),
];

/// Where the programs are.
pub struct Proxies(Vec<(&'static str, PathBuf)>);

impl Proxies {
    /// Looks for the programs, and fetches those that are not there.
    pub fn find(workspace: &Workspace) -> Result<Self, Stop> {
        let found = PROGRAMS.map(|(variable, name, inside)| {
            let named = env::var_os(variable).map(PathBuf::from);
            let path = named.or_else(|| on_this_machine(name));
            Ok((variable, path.map_or_else(|| fetch(workspace, name, inside), Ok)?))
        });
        Ok(Self(found.into_iter().collect::<Result<_, Stop>>()?))
    }

    /// Makes them known to a command.
    pub fn tell(&self, command: &mut Command) {
        command.envs(self.0.iter().map(|(variable, path)| (variable, path)));
    }
}

/// On PATH, or where Debian has programs that are root's.
fn on_this_machine(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Debian's package, unpacked; once.
fn fetch(workspace: &Workspace, name: &str, inside: &str) -> Result<PathBuf, Stop> {
    let home = workspace.temporary(&format!("proxies/{name}"))?;
    let program = home.join("unpacked").join(inside);
    if program.is_file() {
        return Ok(program);
    }
    let missing = |why: Stop| {
        Stop::failed(format!(
            "{name} is not there, and cannot be fetched: {why}; or run with --embedded"
        ))
    };
    download(&home, name).map_err(missing)?;
    let packages = fs::read_dir(&home)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut packages = packages.filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = packages
        .next()
        .ok_or_else(|| missing(Stop::failed("no package came")))?;
    let mut unpack = Command::new("dpkg");
    child::run(unpack.arg("-x").arg(package).arg(home.join("unpacked")), None).map_err(missing)?;
    match child::succeeds(Command::new(&program).arg(version_flag(name))) {
        true => Ok(program),
        false => Err(missing(Stop::failed(format!("{} does not run", program.display())))),
    }
}

fn version_flag(name: &str) -> &'static str {
    if name == "nginx" { "-v" } else { "version" }
}

fn download(home: &Path, name: &str) -> Outcome {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(home).args(arguments);
        child::run(&mut command, Some(FETCH_AT_MOST))
    };
    let download = ["download", "--quiet", name];
    // The list of packages may be older than the packages, or not be there at all.
    apt(&download).or_else(|_| apt(&["update"]).and_then(|()| apt(&download)))
}
