//! How fast the disk under the database is: what every commit waits for.

use super::place::Place;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

/// What `pg_test_fsync` says of the database's disk; nothing where there is no disk.
pub(super) async fn notes(place: &Place) -> Vec<(&'static str, String)> {
    let Some(directory) = place.directory().await else {
        return Vec::new();
    };
    vec![(
        "pg_test_fsync",
        match measure(&directory) {
            Ok(lines) => lines,
            Err(error) => format!("not run: {error}"),
        },
    )]
}

/// One second of each method, with one write of 8 KiB, as a database commits.
fn measure(directory: &Path) -> io::Result<String> {
    let file = directory.join("chat_bench_fsync");
    let mut command = Command::new(program());
    command.args(["-s", "1", "-f"]).arg(&file).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let lines = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).lines();
    let said = of_one_write(lines.map_while(Result::ok));
    // It would go on with writes of other sizes, and removes its file itself only in the end.
    child.kill()?;
    child.wait()?;
    let _ = fs::remove_file(&file);
    said.ok_or_else(|| io::Error::other("an answer of an unknown form"))
}

/// Where the server's programs are said to be, or Debian keeps them, or on PATH.
fn program() -> PathBuf {
    let name = "pg_test_fsync";
    let said = std::env::var_os("CHAT_POSTGRES_BIN").map(|programs| Path::new(&programs).join(name));
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = versions.map(|version| version.path().join("bin").join(name));
    let installed = installed.filter(|program| program.is_file()).max();
    said.or(installed).unwrap_or_else(|| name.into())
}

/// The lines on one write of 8 KiB: each method and how many a second.
fn of_one_write(said: impl Iterator<Item = String>) -> Option<String> {
    let block = said.skip_while(|line| !line.contains("using one 8kB write:"));
    let lines = block.take_while(|line| !line.trim().is_empty()).filter_map(|line| {
        let (method, rest) = line.trim().split_once("  ")?;
        let (speed, _) = rest.trim().split_once(" ops/sec")?;
        Some(format!("{method} {}", speed.trim().split('.').next()?))
    });
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| format!("{} a second", lines.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_on_one_write_are_taken_and_no_others() {
        let said = "1 second per test\n\
            Compare file sync methods using one 8kB write:\n\
            (in wal_sync_method preference order)\n\
            \x20       open_datasync                      1234.567 ops/sec     810 usecs/op\n\
            \x20       fdatasync                           987.654 ops/sec    1012 usecs/op\n\
            \x20       fsync_writethrough                              n/a\n\n\
            Compare file sync methods using two 8kB writes:\n\
            \x20       fdatasync                             1.000 ops/sec    1012 usecs/op\n";
        let expected = "open_datasync 1234, fdatasync 987 a second";
        let lines = |said: &str| of_one_write(said.lines().map(str::to_owned));
        assert_eq!(lines(said).as_deref(), Some(expected));
        assert_eq!(lines("something else"), None);
    }
}
