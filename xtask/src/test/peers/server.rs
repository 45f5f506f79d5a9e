//! A chat-server in release, on a free loopback port, for the time of one script.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::child::{self, Running};
use crate::report::{Outcome, Stop};

const READY_WITHIN: Duration = Duration::from_secs(20);
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// A server that is ready; dropping it kills it, [`Server::end`] ends it as an operator would.
pub struct Server {
    running: Running,
    /// Where a script connects to.
    pub socket_url: String,
}

impl Server {
    /// Starts the binary and waits until it says that it is ready.
    pub fn start(binary: &Path, log: &Path) -> Result<Self, Stop> {
        let address = free_address()?;
        let file = File::create(log)?;
        let mut command = Command::new(binary);
        command
            .args(["--listen", &address.to_string(), "--store", "memory"])
            .stdout(file.try_clone()?)
            .stderr(file);
        let mut server = Server {
            running: child::start(&mut command)?,
            socket_url: format!("ws://{address}/chat"),
        };
        let end = Instant::now() + READY_WITHIN;
        while !is_ready(address) {
            if let Some(status) = server.running.wait_at_most(Some(Duration::ZERO))? {
                return Err(Stop::failed(format!("chat-server ended before it was ready: {status}")));
            }
            if Instant::now() >= end {
                return Err(Stop::failed(format!(
                    "chat-server was not ready within {} s",
                    READY_WITHIN.as_secs()
                )));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Sends SIGTERM to exactly this process and wants exit code 0.
    pub fn end(mut self) -> Outcome {
        self.running.ask_to_end();
        match self.running.wait_at_most(Some(ENDS_WITHIN))? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Stop::failed(format!(
                "chat-server after SIGTERM: {status}, 0 was wanted"
            ))),
            None => Err(Stop::failed(format!(
                "chat-server did not end within {} s of SIGTERM",
                ENDS_WITHIN.as_secs()
            ))),
        }
    }
}

/// A port that is free now. Another process may take it before the server does; the server then says so.
fn free_address() -> Result<SocketAddr, Stop> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Whether `GET /readyz` answers 200.
fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let patience = Duration::from_secs(2);
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        // In one write: an answer to a request that is half read would come with a reset.
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each status once, in order, then closes.
    fn answers(statuses: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        thread::spawn(move || {
            for status in statuses {
                let (mut stream, _) = listener.accept().expect("the test connects");
                let mut request = [0; 512];
                let _ = stream.read(&mut request);
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            }
        });
        address
    }

    #[test]
    fn ready_is_status_200_and_nothing_else() {
        let address = answers(&["503 Service Unavailable", "200 OK"]);
        assert!(!is_ready(address));
        assert!(is_ready(address));
        assert!(!is_ready(address), "nobody listens any more");
    }
}
