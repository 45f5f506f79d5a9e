//! The programs that tests ask for: the machine's own, or Debian's packages. Those that stand alone are fetched and
//! unpacked under `target/`, the others installed, if we may. No service of the machine's own comes of either.

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

/// A program, by the variable that names it to tests.
struct Program {
    variable: &'static str,
    /// What it is called on PATH; also what a report calls it.
    name: &'static str,
    package: &'static str,
    /// Where the package has it.
    inside: &'static str,
    /// Whether it runs without other packages.
    stands_alone: bool,
    version_flag: &'static str,
}

const PROGRAMS: [Program; 4] = [
    Program {
        variable: "CHAT_NGINX",
        name: "nginx",
        package: "nginx",
        inside: "usr/sbin/nginx",
        stands_alone: true,
        version_flag: "-v",
    },
    Program {
        variable: "CHAT_CADDY",
        name: "caddy",
        package: "caddy",
        inside: "usr/bin/caddy",
        stands_alone: true,
        version_flag: "version",
    },
    // One program under several names; the client package has all of it, and the server package adds the service.
    Program {
        variable: "CHAT_REDIS_SERVER",
        name: "redis-server",
        package: "redis-tools",
        inside: "usr/bin/redis-check-rdb",
        stands_alone: false,
        version_flag: "--version",
    },
    Program {
        variable: "CHAT_NATS_SERVER",
        name: "nats-server",
        package: "nats-server",
        inside: "usr/sbin/nats-server",
        stands_alone: true,
        version_flag: "--version",
    },
];

/// Where the programs are.
pub struct Programs(Vec<(&'static str, PathBuf)>);

impl Programs {
    /// Looks for the programs, and fetches those that are not there.
    pub fn find(workspace: &Workspace) -> Result<Self, Stop> {
        Self::find_some(workspace, |_| true)
    }

    /// Looks for one of them.
    pub fn find_one(workspace: &Workspace, name: &str) -> Result<Self, Stop> {
        Self::find_some(workspace, |program| program.name == name)
    }

    fn find_some(workspace: &Workspace, wanted: impl Fn(&Program) -> bool) -> Result<Self, Stop> {
        let found = PROGRAMS.iter().filter(|program| wanted(program)).map(|program| {
            let named = env::var_os(program.variable).map(PathBuf::from);
            let path = named.or_else(|| on_this_machine(program.name));
            let missing = |why: Stop| {
                Stop::failed(format!(
                    "{} is not there, and cannot be fetched: {why}; or run with --embedded",
                    program.name
                ))
            };
            let path = path.map_or_else(|| program.fetch(workspace).map_err(missing), Ok)?;
            Ok((program.variable, path))
        });
        Ok(Self(found.collect::<Result<_, Stop>>()?))
    }

    /// Makes them known to a command.
    pub fn tell(&self, command: &mut Command) {
        command.envs(self.0.iter().map(|(variable, path)| (variable, path)));
    }
}

impl Program {
    /// From Debian's package; once.
    fn fetch(&self, workspace: &Workspace) -> Result<PathBuf, Stop> {
        let root = match self.stands_alone {
            true => workspace.temporary(&format!("programs/{}", self.name))?,
            false => PathBuf::from("/"),
        };
        let program = root.join(self.inside);
        if program.is_file() {
            return Ok(program);
        }
        match self.stands_alone {
            true => unpack(&root, self.package)?,
            false if may_install() => install(self.package)?,
            false => {
                let package = self.package;
                return Err(Stop::failed(format!(
                    "only root of a Debian may install its package {package}"
                )));
            }
        }
        match child::succeeds(Command::new(&program).arg(self.version_flag)) {
            true => Ok(program),
            false => Err(Stop::failed(format!("{} does not run", program.display()))),
        }
    }
}

/// Whether packages of Debian's may be installed.
pub fn may_install() -> bool {
    #[cfg(unix)]
    let is_root = nix::unistd::geteuid().is_root();
    #[cfg(not(unix))]
    let is_root = false;
    is_root && child::succeeds(Command::new("apt-get").arg("--version"))
}

/// Installs a package of Debian's.
pub fn install(package: &str) -> Outcome {
    let install = ["install", "--yes", "--no-install-recommends", package];
    apt(Path::new("/"), &install)
}

/// Puts what is in a package of Debian's into a folder.
fn unpack(root: &Path, package: &str) -> Outcome {
    apt(root, &["download", "--quiet", package])?;
    let files = fs::read_dir(root)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut packages = files.filter(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = packages.next().ok_or_else(|| Stop::failed("no package came"))?;
    child::run(Command::new("dpkg").arg("-x").arg(package).arg(root), None)
}

/// The list of packages may be older than the packages, or not be there at all.
fn apt(folder: &Path, arguments: &[&str]) -> Outcome {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .current_dir(folder)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("UCF_FORCE_CONFFOLD", "1");
        child::run(&mut command, Some(FETCH_AT_MOST))
    };
    apt(arguments).or_else(|_| apt(&["update"]).and_then(|()| apt(arguments)))
}

/// On PATH, or where Debian has programs that are root's.
fn on_this_machine(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}
