//! A NATS server of a test's own, which may be killed and frozen.

use crate::home::random_password;
use crate::server::{Program, Server, ServerError, system};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

static PROGRAM: Program = Program {
    name: "nats-server",
    files: &["nats-server"],
    variable: "CHAT_NATS_SERVER",
    package: "nats-server",
    flags: &["-c"],
    ready: "Server is ready",
};

/// A NATS server that belongs to whoever holds this value; what may be done to its process is that of [`Server`].
///
/// ```no_run
/// # fn main() -> Result<(), chat_testkit::server::ServerError> {
/// use chat_testkit::nats::PrivateNats;
///
/// let nats = PrivateNats::start()?;
/// let url = nats.url(); // for any client
/// nats.kill()?;
/// nats.start_again()?; // the same port
/// # drop(url);
/// # Ok(())
/// # }
/// ```
pub struct PrivateNats {
    server: Server,
    password: String,
}

impl PrivateNats {
    /// Starts a server that one user may use, with a password.
    ///
    /// # Errors
    /// When the program is missing, or does not start.
    pub fn start() -> Result<Self, ServerError> {
        let password = random_password().map_err(system("no random numbers"))?;
        let user = format!("authorization {{ user: chat, password: \"{password}\" }}");
        let server = Server::start(&PROGRAM, move |port| {
            format!("listen: \"127.0.0.1:{port}\"\npid_file: pid\n{user}\n")
        })?;
        Ok(Self { server, password })
    }

    /// The URL, password included.
    pub fn url(&self) -> String {
        self.url_through(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port())))
    }

    /// The URL for a client that comes through something else, such as a link that a test cuts.
    pub fn url_through(&self, address: SocketAddr) -> String {
        format!("nats://chat:{}@{address}", self.password)
    }
}

impl Deref for PrivateNats {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl std::fmt::Debug for PrivateNats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.server.fmt(f)
    }
}
