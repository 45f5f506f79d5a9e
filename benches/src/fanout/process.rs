//! A server in a process of its own, and what it costs.

use super::Kind;
use crate::load::Shape;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Linux tells CPU time in hundredths of a second, whatever the kernel's own tick (proc(5), `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A running server; it ends when this is dropped.
pub(super) struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    /// Starts this program again as a server, and waits until it listens.
    pub fn start(kind: Kind, shape: Shape) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", kind.name()])
            .args(["--conversations", &shape.conversations.to_string()])
            .args(["--members", &shape.members.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or("the server has no standard output")?;
        let mut server = Self { child, port: 0 };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let port = line.trim().strip_prefix("ready ").ok_or("the server did not start")?;
        server.port = port.parse()?;
        Ok(server)
    }

    /// The CPU time that it has used so far, its own and the kernel's in its name.
    pub fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}; this bench needs Linux"))?;
        Ok(cpu_in(&stat).ok_or("an unknown form of /proc/PID/stat")?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `utime` and `stime`, the 14th and 15th field; the second, a name in parentheses, may hold anything.
fn cpu_in(stat: &str) -> Option<Duration> {
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
        assert_eq!(cpu_in(stat), Some(Duration::from_millis(2900)));
    }
}
