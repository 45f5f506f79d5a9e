//! The processes of a server, as Linux tells of them in `/proc`. PostgreSQL's are a postmaster and its children, one for
//! each connection and each kind of work; others are one process.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Linux tells CPU time in hundredths of a second, whatever the kernel's own tick (proc(5), `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A process that waits for its disk stands still only when the disk has answered.
const STANDS_STILL_WITHIN: Duration = Duration::from_secs(30);

/// How often the sum is tried again when a child ended while it was made.
const SUMS_TRIED: usize = 100;

/// The CPU time of a postmaster and all its children, ended ones included, user's and kernel's together.
///
/// For a process that was given the server's process id only (`CHAT_POSTGRES_PID`). Living threads count to the
/// nanosecond where the kernel tells (`/proc/PID/task/*/schedstat`), ended ones to hundredths of a second.
///
/// # Errors
/// When there is no such process, or no `/proc`.
pub fn cluster_cpu(postmaster: u32) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for _ in 0..SUMS_TRIED {
        let ended = stat(postmaster)?.ended;
        sum = ended + used(postmaster)?;
        for child in children(postmaster)? {
            // One that has ended since is in the postmaster's sum of ended children by now.
            sum += used(child).unwrap_or_default();
        }
        if stat(postmaster)?.ended == ended {
            break;
        }
    }
    Ok(sum)
}

/// Stops the parent, so that no more children come and none that ends is reaped and its id given away; then them.
pub(crate) fn freeze(server: u32) -> io::Result<()> {
    send(server, Signal::SIGSTOP)?;
    let end = Instant::now() + STANDS_STILL_WITHIN;
    wait_until_still(server, end)?;
    for child in children(server)? {
        send(child, Signal::SIGSTOP)?;
        wait_until_still(child, end)?;
    }
    Ok(())
}

/// The children first: the parent would otherwise see them stand.
pub(crate) fn thaw(server: u32) -> io::Result<()> {
    for child in children(server)? {
        send(child, Signal::SIGCONT)?;
    }
    send(server, Signal::SIGCONT)
}

pub(crate) fn send(pid: u32, signal: Signal) -> io::Result<()> {
    Ok(kill(Pid::from_raw(pid.cast_signed()), signal)?)
}

fn wait_until_still(pid: u32, end: Instant) -> io::Result<()> {
    while !matches!(stat(pid)?.state, 'T' | 't' | 'Z' | 'X') {
        if Instant::now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn children(parent: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while the list is read.
        if stat(pid).is_ok_and(|stat| stat.parent == parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// Of all its threads. Of those that have ended the kernel tells in hundredths only.
fn used(pid: u32) -> io::Result<Duration> {
    let mut threads = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let nanoseconds = fs::read_to_string(thread?.path().join("schedstat")).ok();
        let nanoseconds = nanoseconds.and_then(|text| text.split(' ').next()?.parse().ok());
        threads += Duration::from_nanos(nanoseconds.unwrap_or_default());
    }
    Ok(threads.max(stat(pid)?.used))
}

#[derive(Debug, PartialEq)]
struct Stat {
    state: char,
    parent: u32,
    used: Duration,
    ended: Duration,
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&text).ok_or_else(|| io::Error::other("an unknown form of /proc/PID/stat"))
}

/// The second field, a name in parentheses, may hold anything. After it: state, parent, and as the 14th to 17th of all,
/// user's and kernel's time of the process and of its children that were waited for.
fn parse(stat: &str) -> Option<Stat> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        used: TICK * (ticks(11)? + ticks(12)?),
        ended: TICK * (ticks(13)? + ticks(14)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_stat_are_found_whatever_the_program_is_called() {
        let stat = "77 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 40 30 2 20 0 5 0 1";
        let wanted = Stat {
            state: 'S',
            parent: 1,
            used: Duration::from_millis(2900),
            ended: Duration::from_millis(320),
        };
        assert_eq!(parse(stat), Some(wanted));
    }
}
