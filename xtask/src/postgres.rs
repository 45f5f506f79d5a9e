//! A PostgreSQL for the time of a run: chat-testkit's `private-postgres`, as a child that is ended like every other.
//!
//! The programs are the machine's own. Where they are missing and we may, Debian's package is installed; otherwise the
//! part that needs them fails with a sentence that names them.

use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::{self, Running};
use crate::programs;
use crate::report::{Outcome, Stop};
use crate::workspace::Workspace;

/// What `private-postgres` and `chaos` end with when programs are missing.
pub const MISSING: i32 = 3;
/// How long `pg_test_fsync` is listened to: five ways of a second each.
const FSYNC_AT_MOST: Duration = Duration::from_secs(60);

/// A server that answers; dropping it ends it.
pub struct Postgres {
    _running: Running,
    /// What tests and benches are told, by the names that `private-postgres` prints.
    environment: Vec<(String, String)>,
}

impl Postgres {
    /// Starts a server, after installing PostgreSQL where that is needed and possible.
    pub fn start(workspace: &Workspace, profile: &str) -> Result<Self, Stop> {
        let name = format!("private-postgres{}", std::env::consts::EXE_SUFFIX);
        let program = workspace.target.join(profile).join(name);
        match Self::try_start(&program)? {
            Started::Answers(postgres) => Ok(postgres),
            Started::Ended(Some(MISSING), said) => {
                install(&format!("{said}; or run with --embedded"))?;
                match Self::try_start(&program)? {
                    Started::Answers(postgres) => Ok(postgres),
                    Started::Ended(_, said) => Err(Stop::failed(said)),
                }
            }
            Started::Ended(_, said) => Err(Stop::failed(said)),
        }
    }

    /// Makes the server known to a command.
    pub fn tell(&self, command: &mut Command) {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// Prints what one write to the disk under this server costs: no commit can be faster.
    pub fn print_fsync(&self) -> Outcome {
        let scratch = self.path("CHAT_POSTGRES_DIRECTORY").join("pg_test_fsync");
        let mut command = Command::new(self.path("CHAT_POSTGRES_BIN").join("pg_test_fsync"));
        command.args(["-s", "1", "-f"]).arg(scratch);
        let (reader, writer) = io::pipe()?;
        let mut running = child::start(command.stdout(writer))?;
        drop(command);
        // The first comparison only: the others are of writes that the database does not make.
        let lines = BufReader::new(reader).lines().map_while(Result::ok);
        let block = lines.skip_while(|line| !line.starts_with("Compare file sync methods using one"));
        block
            .take_while(|line| !line.trim().is_empty())
            .for_each(|line| eprintln!("pg_test_fsync: {line}"));
        running.ask_to_end();
        running.wait_at_most(Some(FSYNC_AT_MOST))?;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.into()).unwrap_or_default()
    }

    fn try_start(program: &Path) -> Result<Started, Stop> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(program);
        command.stdout(writer.try_clone()?).stderr(writer);
        let mut running = child::start(&mut command)?;
        // The command holds the writing end, too; with it the pipe would never end.
        drop(command);
        let mut said = Vec::new();
        if let Some(environment) = read(reader, &mut said)? {
            return Ok(Started::Answers(Postgres {
                _running: running,
                environment,
            }));
        }
        let status = running.wait_at_most(None)?;
        Ok(Started::Ended(status.and_then(|status| status.code()), said.join("\n")))
    }
}

enum Started {
    Answers(Postgres),
    /// Its exit code, and what it said.
    Ended(Option<i32>, String),
}

/// Reads up to the line with the URL, which is the last; none when the child ended before it.
fn read(reader: PipeReader, said: &mut Vec<String>) -> io::Result<Option<Vec<(String, String)>>> {
    let mut environment = Vec::new();
    for line in BufReader::new(reader).lines() {
        let line = line?;
        match line.split_once('=') {
            Some((name, value)) if name.starts_with("CHAT_POSTGRES_") => {
                environment.push((name.to_owned(), value.to_owned()));
                if name == "CHAT_POSTGRES_URL" {
                    return Ok(Some(environment));
                }
            }
            _ => said.push(line),
        }
    }
    Ok(None)
}

/// Installs Debian's package, without a cluster of the machine's own; `missing` is the sentence when that cannot be.
pub fn install(missing: &str) -> Outcome {
    if !programs::may_install() {
        return Err(Stop::failed(missing));
    }
    make_no_cluster()?;
    programs::install("postgresql")
}

/// Debian's package makes and starts a cluster of the machine's own unless this file says otherwise. Where it exists, its
/// words stand.
fn make_no_cluster() -> Outcome {
    let file = Path::new("/etc/postgresql-common/createcluster.conf");
    if file.exists() {
        return Ok(());
    }
    let why = "# Written by `cargo xtask` before it installed PostgreSQL for its tests, which need programs only.\n";
    fs::create_dir_all("/etc/postgresql-common")?;
    Ok(fs::write(file, format!("{why}create_main_cluster = false\n"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_ends_with_the_url_and_everything_else_was_said() {
        let read_text = |text: &str, said: &mut Vec<String>| {
            let (reader, mut writer) = io::pipe().expect("a pipe");
            io::Write::write_all(&mut writer, text.as_bytes()).expect("it fits the pipe");
            drop(writer);
            read(reader, said).expect("a pipe that ended in order")
        };
        let mut said = Vec::new();
        let text = "a note\nCHAT_POSTGRES_PID=7\nCHAT_POSTGRES_URL=postgres://u:p@h/d?a=b\nlater\n";
        let environment = read_text(text, &mut said).expect("a URL came");
        let names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["CHAT_POSTGRES_PID", "CHAT_POSTGRES_URL"]);
        assert_eq!(environment[1].1, "postgres://u:p@h/d?a=b");
        assert_eq!(said, ["a note"]);
        assert_eq!(read_text("no program\n", &mut said), None);
        assert_eq!(said, ["a note", "no program"]);
    }
}
