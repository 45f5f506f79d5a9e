//! The programs of PostgreSQL on this machine, and the user that its server runs as.

use super::{PostgresError, system};
use nix::unistd::{Uid, User};
use std::env;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian keeps one directory for each major version; none of them is on PATH.
const DEBIAN: &str = "/usr/lib/postgresql";

const NEEDED: [&str; 6] = ["postgres", "initdb", "psql", "pg_basebackup", "pg_dump", "pg_restore"];

/// One installation of PostgreSQL.
#[derive(Clone)]
pub(super) struct Programs {
    directory: PathBuf,
    /// Whom the server runs as when we are root, which it refuses to be.
    user: Option<User>,
}

impl Programs {
    /// `CHAT_POSTGRES_BIN`, then Debian's newest version, then wherever PATH has `postgres`.
    pub fn find() -> Result<Self, PostgresError> {
        let named = env::var_os("CHAT_POSTGRES_BIN").filter(|value| !value.is_empty());
        let found = match named {
            Some(named) => Some(PathBuf::from(named)),
            None => newest(Path::new(DEBIAN)).or_else(|| env::var_os("PATH").and_then(|path| on_path(&path))),
        };
        let directory = found.ok_or_else(|| PostgresError::Missing {
            program: NEEDED[0],
            looked: format!("CHAT_POSTGRES_BIN, {DEBIAN}/*/bin or PATH"),
        })?;
        if let Some(program) = NEEDED.into_iter().find(|program| !directory.join(program).is_file()) {
            return Err(PostgresError::Missing {
                program,
                looked: directory.display().to_string(),
            });
        }
        let user = Uid::effective().is_root().then(not_root).transpose()?;
        Ok(Self { directory, user })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A program that talks to a server.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.directory.join(program));
        // What the caller's environment says of its own databases must not reach ours.
        for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        // Messages are read here, and by people who search for them.
        command.env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// A program that touches the cluster's files, as the user who owns them.
    pub fn as_server(&self, program: &str) -> Command {
        let mut command = self.command(program);
        if let Some(user) = &self.user {
            // Without the groups of root, too: the standard library drops them together with the user.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Makes the server's user the owner of a path.
    pub fn give(&self, path: &Path) -> Result<(), PostgresError> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        let owner = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        chown(path, owner.0, owner.1).map_err(system("the cluster's directory changes no owner"))
    }
}

/// Runs a program to its end and returns what it wrote.
pub(super) fn output(command: &mut Command) -> Result<String, PostgresError> {
    let program = Path::new(command.get_program());
    let program = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    let output = command
        .output()
        .map_err(system(&format!("`{program}` does not start")))?;
    if !output.status.success() {
        return Err(PostgresError::Failed {
            program,
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The `bin` of the greatest version that has a server; a directory may hold a version's clients alone.
fn newest(versions: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(versions).ok()?.filter_map(Result::ok);
    let numbered = entries.filter_map(|entry| {
        let version: f32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let servers = numbered.filter(|(_, bin)| bin.join(NEEDED[0]).is_file());
    let newest = servers.max_by(|(one, _), (other, _)| one.total_cmp(other));
    newest.map(|(_, bin)| bin)
}

/// Where `postgres` of PATH really lies: its neighbours need not be on PATH.
fn on_path(path: &std::ffi::OsStr) -> Option<PathBuf> {
    let found = env::split_paths(path)
        .map(|directory| directory.join(NEEDED[0]))
        .find(|file| file.is_file())?;
    found.canonicalize().ok()?.parent().map(Path::to_path_buf)
}

fn not_root() -> Result<User, PostgresError> {
    let mut users = ["postgres", "nobody"].into_iter();
    let found = users.find_map(|name| User::from_name(name).ok().flatten());
    found.ok_or(PostgresError::NoUser)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(directory: &Path, program: &str) {
        fs::create_dir_all(directory).expect("the folder is ours");
        fs::write(directory.join(program), "").expect("the folder is ours");
    }

    #[test]
    fn the_newest_version_that_has_a_server_is_found() {
        let home = tempfile::tempdir().expect("a temporary directory");
        for (version, program) in [
            ("9.6", "postgres"),
            ("15", "postgres"),
            ("17", "psql"),
            ("old", "postgres"),
        ] {
            install(&home.path().join(version).join("bin"), program);
        }
        assert_eq!(newest(home.path()), Some(home.path().join("15/bin")));
        assert_eq!(newest(&home.path().join("none")), None);
    }

    #[test]
    fn a_link_on_path_leads_to_where_the_programs_are() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let home = home.path().canonicalize().expect("it exists");
        let (real, linked) = (home.join("real"), home.join("linked"));
        install(&real, "postgres");
        fs::create_dir(&linked).expect("the folder is ours");
        std::os::unix::fs::symlink(real.join("postgres"), linked.join("postgres")).expect("the folder is ours");
        let path = env::join_paths([home.join("none"), linked]).expect("no colon in it");
        assert_eq!(on_path(&path), Some(real));
    }
}
