//! Where a private server lives and how its process is started and ended: the same for every program.
//!
//! Who ends it when the process that started it was killed is in `guard`; what it consists of, in `processes`.

mod guard;
pub(crate) mod processes;

use guard::Guard;
use nix::sys::signal::Signal;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Starting includes recovery after a kill, which takes as long as there is log to replay.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);
/// How long a server may take to end before it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// How often another port is tried when somebody else was faster.
const PORTS_TRIED: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// A temporary directory that only its owner reads, with the server's log in `log`.
pub(crate) struct Home {
    // In the order of their end: first the directory, then the guard, which then has nothing left to do.
    directory: TempDir,
    _guard: Guard,
}

/// Why a server is not there; with the last lines of its log.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub reason: String,
    pub log: String,
}

/// How a server is started, and how one sees that it answers.
pub(crate) trait Launch {
    fn command(&self, port: u16) -> io::Result<Command>;

    /// From its process id and what it has written to its log.
    fn is_ready(&self, pid: u32, log: &str) -> bool;
}

impl Home {
    /// Makes the directory and sets a guard over the server that will write its process id into `pid_file` there.
    pub fn new(prefix: &str, pid_file: &str) -> io::Result<Self> {
        // Without symbolic links, so that the guard can compare it with what the system says of a process.
        let temporary = std::env::temp_dir().canonicalize()?;
        let directory = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(temporary)?;
        Ok(Self {
            _guard: Guard::over(directory.path(), pid_file)?,
            directory,
        })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a server on a free loopback port and waits until it answers.
    pub fn start(&self, launch: &dyn Launch) -> Result<(u16, Child), NotStarted> {
        let mut tries = 1;
        loop {
            let port = free_port()?;
            match self.launch(launch, port) {
                Err(error) if error.is_about_the_port() && tries < PORTS_TRIED => tries += 1,
                launched => return Ok((port, launched?)),
            }
        }
    }

    /// Starts it on its old port. A connection of somebody's may have been given that meanwhile; it will pass.
    pub fn start_again(&self, launch: &dyn Launch, port: u16) -> Result<Child, NotStarted> {
        let end = Instant::now() + ANSWERS_WITHIN;
        loop {
            match self.launch(launch, port) {
                Err(error) if error.is_about_the_port() && Instant::now() < end => thread::sleep(10 * PAUSE),
                launched => return launched,
            }
        }
    }

    fn launch(&self, launch: &dyn Launch, port: u16) -> Result<Child, NotStarted> {
        let log = self.path().join("log");
        let file = File::options().create(true).append(true).open(&log)?;
        let old = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        let mut command = launch.command(port)?;
        command.current_dir(self.path()).stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        let mut child = command.spawn()?;
        let end = Instant::now() + ANSWERS_WITHIN;
        let reason = loop {
            match child.try_wait() {
                Ok(None) if launch.is_ready(child.id(), &written(&log, old)) => return Ok(child),
                Ok(None) if Instant::now() < end => thread::sleep(PAUSE),
                Ok(None) => break format!("no answer within {} s", ANSWERS_WITHIN.as_secs()),
                Ok(Some(status)) => break format!("it ended with {status}"),
                Err(error) => break error.to_string(),
            }
        };
        end_child(child, Signal::SIGQUIT);
        Err(NotStarted {
            reason,
            log: last_lines(&written(&log, old)),
        })
    }
}

impl NotStarted {
    fn is_about_the_port(&self) -> bool {
        self.log.to_ascii_lowercase().contains("address already in use")
    }
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self {
            reason: error.to_string(),
            log: String::new(),
        }
    }
}

/// Sends a signal to exactly this process and waits for its end; after a bound it is killed.
pub(crate) fn end_child(mut child: Child, signal: Signal) {
    let _ = processes::send(child.id(), signal);
    // A frozen process hears nothing but this and SIGKILL.
    let _ = processes::thaw(child.id());
    let end = Instant::now() + ENDS_WITHIN;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= end {
            let _ = child.kill();
        }
        thread::sleep(PAUSE);
    }
}

/// A free port below those that the system gives to connections by itself. One of those could be taken by a connection
/// while the server is stopped; and a client that tries such a port again and again may in the end reach itself.
pub(crate) fn free_port() -> io::Result<u16> {
    let mut last = None;
    for _ in 0..PORTS_TRIED {
        let [high, low, ..] = random_bytes()?;
        let port = 20_000 + u16::from_be_bytes([high, low]) % 12_000;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

pub(crate) fn random_password() -> io::Result<String> {
    Ok(random_bytes()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random_bytes() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// What was written to a log since it was `old` bytes long.
fn written(log: &Path, old: usize) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(bytes.get(old..).unwrap_or_default()).into_owned()
}

fn last_lines(text: &str) -> String {
    const LINES: usize = 20;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
