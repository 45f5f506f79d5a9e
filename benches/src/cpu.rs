//! CPU time of processes, as Linux tells it in `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// Linux tells CPU time in hundredths of a second, whatever the kernel's own tick (proc(5), `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// What a process has used so far, its own and the kernel's in its name.
///
/// # Errors
/// When there is no such process, or no `/proc`.
pub fn of(process: u32) -> io::Result<Duration> {
    read(&process.to_string())
}

/// What this process has used so far.
///
/// # Errors
/// When there is no `/proc`.
pub fn own() -> io::Result<Duration> {
    read("self")
}

/// What a PostgreSQL has used so far: the postmaster of this id and its children, ended ones included.
///
/// # Errors
/// As [`of`].
#[cfg(unix)]
pub fn of_cluster(postmaster: u32) -> io::Result<Duration> {
    chat_testkit::postgres::cluster_cpu(postmaster)
}

/// There is no `/proc` to read.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn of_cluster(_: u32) -> io::Result<Duration> {
    Err(io::ErrorKind::Unsupported.into())
}

fn read(process: &str) -> io::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}; CPU is read on Linux only")))?;
    used_in(&stat).ok_or_else(|| io::Error::other(format!("an unknown form of {path}")))
}

/// `utime` and `stime`, the 14th and 15th field; the second, a name in parentheses, may hold anything.
fn used_in(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(TICK * (user + system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_the_14th_and_15th_field_whatever_the_program_is_called() {
        let stat = "77 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 40 0 0 20 0 5 0 1";
        assert_eq!(used_in(stat), Some(Duration::from_millis(2900)));
    }
}
