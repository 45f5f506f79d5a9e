//! A server program that belongs to one test: in a temporary directory, on a free loopback port, ended with its owner.
//!
//! The programs are the machine's own ([`ServerError::Missing`] says where they are looked for); nothing is ever
//! downloaded here. All calls block for moments: in asynchronous code they stand between two steps of a test that may
//! wait.

use crate::home::{Home, Launch, NotStarted, end_child, processes};
use nix::sys::signal::Signal;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard};

/// Why a private server is not to be had, or did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The program is not on this machine.
    #[error("`{program}` is neither named by {variable} nor on PATH; the Debian package `{package}` brings it")]
    Missing {
        /// Its name.
        program: &'static str,
        /// The variable of the environment that names it.
        variable: &'static str,
        /// Whose it is.
        package: &'static str,
    },
    /// The server ended, or did not answer in time; with the last lines of its log.
    #[error("`{program}` does not start: {reason}; the last lines of its log:\n{log}")]
    DoesNotStart {
        /// Its name.
        program: &'static str,
        /// What was seen.
        reason: String,
        /// What it said.
        log: String,
    },
    /// The server is stopped, and had to run for this.
    #[error("this server is stopped")]
    Stopped,
    /// The server runs, and had to be stopped for this.
    #[error("this server is already running")]
    Running,
    /// The server answered with an error, or not as it should.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// The operating system refused.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// A server process that may be killed, started again and frozen. Dropping it ends the process and removes its directory.
///
/// It is a direct child in our process group. When this process is killed outright, a guard of its own ends the server
/// and removes the directory.
pub struct Server {
    program: &'static Program,
    path: PathBuf,
    /// What its configuration says, by its port.
    configuration: Box<dyn Fn(u16) -> String + Send + Sync>,
    port: u16,
    child: Mutex<Option<Child>>,
    home: Home,
}

/// What there is to know of a program to run it; it must write its process id into `pid`.
pub(crate) struct Program {
    pub name: &'static str,
    /// What it may be called on PATH.
    pub files: &'static [&'static str],
    pub variable: &'static str,
    pub package: &'static str,
    /// What stands before the file of its configuration.
    pub flags: &'static [&'static str],
    /// What it writes to its log when it answers.
    pub ready: &'static str,
}

impl Server {
    pub(crate) fn start(
        program: &'static Program,
        configuration: impl Fn(u16) -> String + Send + Sync + 'static,
    ) -> Result<Self, ServerError> {
        let named = std::env::var_os(program.variable).filter(|value| !value.is_empty());
        let path = named.map(PathBuf::from);
        let path = path.or_else(|| program.files.iter().find_map(|file| on_path(file)));
        let path = path.ok_or(ServerError::Missing {
            program: program.name,
            variable: program.variable,
            package: program.package,
        })?;
        let mut server = Self {
            home: Home::new(&format!("private-{}-", program.name), "pid").map_err(system("no temporary directory"))?,
            program,
            path,
            configuration: Box::new(configuration),
            port: 0,
            child: Mutex::new(None),
        };
        let (port, child) = server.home.start(&server).map_err(server.does_not_start())?;
        server.port = port;
        *server.child() = Some(child);
        Ok(server)
    }

    /// The process id; none while the server is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// The loopback port, the same for the whole life of this value.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory that holds the server's configuration and its log.
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// Ends the server by SIGKILL. Returns when it has ended.
    ///
    /// # Errors
    /// When it was stopped already.
    pub fn kill(&self) -> Result<(), ServerError> {
        let child = self.child().take().ok_or(ServerError::Stopped)?;
        end_child(child, Signal::SIGKILL);
        Ok(())
    }

    /// Starts a killed server on the same port, and waits until it answers.
    ///
    /// # Errors
    /// When it runs, or does not start.
    pub fn start_again(&self) -> Result<(), ServerError> {
        let mut child = self.child();
        if child.is_some() {
            return Err(ServerError::Running);
        }
        let started = self.home.start_again(self, self.port);
        *child = Some(started.map_err(self.does_not_start())?);
        Ok(())
    }

    /// Stops the process where it stands, as a machine does that hangs: connections stay open and nothing answers,
    /// until [`thaw`](Self::thaw). Returns when it stands still. Linux only.
    ///
    /// # Errors
    /// When the server is stopped.
    pub fn freeze(&self) -> Result<(), ServerError> {
        let pid = self.pid().ok_or(ServerError::Stopped)?;
        processes::freeze(pid).map_err(system("the server does not stand still"))
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// When the server is stopped.
    pub fn thaw(&self) -> Result<(), ServerError> {
        let pid = self.pid().ok_or(ServerError::Stopped)?;
        processes::thaw(pid).map_err(system("the server does not go on"))
    }

    /// The CPU time of the server since it was started last. Linux only.
    ///
    /// # Errors
    /// When the server is stopped.
    pub fn cpu(&self) -> Result<std::time::Duration, ServerError> {
        let pid = self.pid().ok_or(ServerError::Stopped)?;
        processes::cluster_cpu(pid).map_err(system("the CPU time of the server"))
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child
            .lock()
            .expect("the lock is never poisoned: nothing panics under it")
    }

    fn does_not_start(&self) -> impl FnOnce(NotStarted) -> ServerError + use<> {
        let program = self.program.name;
        move |NotStarted { reason, log }| ServerError::DoesNotStart { program, reason, log }
    }
}

impl Launch for Server {
    fn command(&self, port: u16) -> io::Result<Command> {
        fs::write(self.home.path().join("configuration"), (self.configuration)(port))?;
        let mut command = Command::new(&self.path);
        command.args(self.program.flags).arg("configuration");
        // Redis is several programs in one file, told apart by their name.
        std::os::unix::process::CommandExt::arg0(&mut command, self.program.name);
        Ok(command)
    }

    fn is_ready(&self, _pid: u32, log: &str) -> bool {
        log.contains(self.program.ready)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("program", &self.program.name)
            .field("port", &self.port)
            .field("directory", &self.home.path())
            .finish_non_exhaustive()
    }
}

/// A file of PATH, or of where Debian has programs that are root's.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

pub(crate) fn system(doing: &'static str) -> impl FnOnce(io::Error) -> ServerError {
    move |source| ServerError::System { doing, source }
}
