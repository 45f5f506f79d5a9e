//! A server in a process of its own, and what it costs.

use super::Kind;
use crate::cpu;
use crate::load::Shape;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    /// Starts this program again as a server, with these arguments more, and waits until it listens.
    pub fn start(kind: Kind, shape: Shape, more: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", kind.name()])
            .args(["--conversations", &shape.conversations.to_string()])
            .args(["--members", &shape.members.to_string()])
            .args(more)
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
        Ok(cpu::of(self.child.id())?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
