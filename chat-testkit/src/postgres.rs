//! A PostgreSQL server of a test's own, which may be killed, frozen, measured, copied and put back.
//!
//! Nothing is shared with the machine's databases: a new cluster in a temporary directory, a free loopback port, a random
//! password, no socket in the file system. The programs are the machine's own ([`PostgresError::Missing`] says where they
//! are looked for); nothing is ever downloaded here. All calls block: in asynchronous code they belong into
//! `spawn_blocking`, or between two steps of a test that may wait.
//!
//! Copies of a cluster, as a streaming standby or as a file, are in `copies`; who starts, watches and ends the process, in
//! the module `home`.

mod copies;
mod programs;

use crate::home::{Home, Launch, NotStarted, end_child, processes, random_password};
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use nix::sys::signal::Signal;
use programs::Programs;

pub use crate::home::processes::cluster_cpu;

/// Settings under every server; what a test gives comes after them and wins. Durability is left at its defaults.
const SETTINGS: [(&str, &str); 4] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("shared_buffers", "128MB"),
    ("max_connections", "200"),
];

/// Why a private PostgreSQL is not to be had, or did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// A program of PostgreSQL is not on this machine.
    #[error(
        "PostgreSQL's program `{program}` is not in {looked}; the Debian package `postgresql` brings it, and \
         CHAT_POSTGRES_BIN names a directory that has it"
    )]
    Missing {
        /// Its name.
        program: &'static str,
        /// Where it was looked for.
        looked: String,
    },
    /// We are root, PostgreSQL refuses to be, and there is nobody else.
    #[error("PostgreSQL does not run as root, and this machine has neither a user `postgres` nor `nobody`")]
    NoUser,
    /// The server ended, or did not answer in time; with the last lines of its log.
    #[error("PostgreSQL does not start: {reason}; the last lines of its log:\n{log}")]
    DoesNotStart {
        /// What was seen.
        reason: String,
        /// What it said.
        log: String,
    },
    /// A program of PostgreSQL failed; with what it said.
    #[error("`{program}` failed: {said}")]
    Failed {
        /// Its name.
        program: String,
        /// Its standard error.
        said: String,
    },
    /// The server is stopped, and had to run for this.
    #[error("this PostgreSQL is stopped")]
    Stopped,
    /// The server runs, and had to be stopped for this.
    #[error("this PostgreSQL is already running")]
    Running,
    /// The operating system refused.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: String,
        /// What it said.
        source: io::Error,
    },
}

/// A PostgreSQL server that belongs to whoever holds this value. Dropping it ends the server and removes its directory.
///
/// ```no_run
/// # fn main() -> Result<(), chat_testkit::postgres::PostgresError> {
/// use chat_testkit::postgres::PrivatePostgres;
///
/// let postgres = PrivatePostgres::start()?;
/// let url = postgres.new_database("orders")?; // for any client
/// postgres.stop_immediately()?; // as if the power had gone
/// postgres.start_again()?; // the same port, the same data
/// # drop(url);
/// # Ok(())
/// # }
/// ```
///
/// The server is a direct child in our process group. When this process is killed outright, a guard of its
/// own ends the server and removes the directory.
pub struct PrivatePostgres {
    programs: Programs,
    port: u16,
    /// Random, because whoever may connect as the superuser may run programs as its user: trusting every process that
    /// reaches the port would give this to everybody on the machine.
    password: String,
    settings: Vec<(String, String)>,
    /// The postmaster, while it runs.
    server: Mutex<Option<Child>>,
    home: Home,
}

impl PrivatePostgres {
    /// Makes a cluster and starts its server.
    ///
    /// # Errors
    /// When a program is missing, or the server does not start.
    pub fn start() -> Result<Self, PostgresError> {
        Self::start_with(Vec::new())
    }

    /// The same, with further settings as in `postgresql.conf`; they win over those of this type.
    ///
    /// # Errors
    /// Those of [`start`](Self::start); a setting that PostgreSQL does not know is one.
    pub fn start_with(settings: Vec<(String, String)>) -> Result<Self, PostgresError> {
        let mut postgres = Self::empty(Programs::find()?, new_password()?, settings)?;
        postgres.make_cluster()?;
        postgres.start_on_a_free_port()?;
        Ok(postgres)
    }

    /// The URL of the database `postgres`, as its superuser, password included.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of another database of this server.
    pub fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://postgres:{}@127.0.0.1:{}/{database}",
            self.password, self.port
        )
    }

    /// Makes a database and returns its URL.
    ///
    /// # Errors
    /// When it exists already, or the server does not answer.
    ///
    /// # Panics
    /// When the name is anything but ASCII letters, digits and underscores, so that it stands in a URL as it is.
    pub fn new_database(&self, name: &str) -> Result<String, PostgresError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!(name.bytes().all(is_plain), "`{name}` is no plain name of a database");
        self.psql("postgres", &format!("create database \"{name}\""))?;
        Ok(self.url_of(name))
    }

    /// Runs SQL with `psql` and returns its rows: a line each, fields divided by `|`.
    ///
    /// # Errors
    /// The first error of a statement, in PostgreSQL's words.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String, PostgresError> {
        let mut psql = self.client("psql");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
            "-c",
            sql,
        ]);
        Ok(programs::output(&mut psql)?.trim_end().to_owned())
    }

    /// The process id of the postmaster; none while the server is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server().as_ref().map(Child::id)
    }

    /// The loopback port, the same for the whole life of this value.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory that holds the cluster in `data`, and the server's log.
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// Where the programs of this PostgreSQL are.
    pub fn programs(&self) -> &Path {
        self.programs.directory()
    }

    /// Ends the server as the power would (`pg_ctl stop -m immediate`): no checkpoint, no goodbye to clients, recovery at
    /// the next start. Returns when every process has ended.
    ///
    /// # Errors
    /// When it was stopped already.
    pub fn stop_immediately(&self) -> Result<(), PostgresError> {
        self.end(Signal::SIGQUIT)
    }

    /// Ends the server in order (`pg_ctl stop -m fast`): transactions are rolled back, and everything is written.
    ///
    /// # Errors
    /// When it was stopped already.
    pub fn stop(&self) -> Result<(), PostgresError> {
        self.end(Signal::SIGINT)
    }

    /// Starts a stopped server on the same port and data, and waits until it answers.
    ///
    /// # Errors
    /// When it runs, or does not start.
    pub fn start_again(&self) -> Result<(), PostgresError> {
        let mut server = self.server();
        if server.is_some() {
            return Err(PostgresError::Running);
        }
        *server = Some(self.home.start_again(self, self.port)?);
        Ok(())
    }

    /// Stops every process of the server where it stands, as a machine does that hangs: connections stay open and
    /// nothing answers, until [`thaw`](Self::thaw). Returns when all stand still. Linux only.
    ///
    /// # Errors
    /// When the server is stopped.
    pub fn freeze(&self) -> Result<(), PostgresError> {
        let server = self.server();
        let pid = server.as_ref().ok_or(PostgresError::Stopped)?.id();
        processes::freeze(pid).map_err(system("the server's processes do not stand still"))
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// When the server is stopped.
    pub fn thaw(&self) -> Result<(), PostgresError> {
        let server = self.server();
        let pid = server.as_ref().ok_or(PostgresError::Stopped)?.id();
        processes::thaw(pid).map_err(system("the server's processes do not go on"))
    }

    /// The CPU time of all processes of this server since it was started last, ended ones included; see [`cluster_cpu`].
    ///
    /// # Errors
    /// When the server is stopped, and where there is no `/proc`.
    pub fn cpu(&self) -> Result<Duration, PostgresError> {
        let server = self.server();
        let pid = server.as_ref().ok_or(PostgresError::Stopped)?.id();
        cluster_cpu(pid).map_err(system("the CPU time of the server"))
    }

    /// A home without a cluster, and its guard.
    fn empty(programs: Programs, password: String, settings: Vec<(String, String)>) -> Result<Self, PostgresError> {
        let home = Home::new("private-postgres-", "data/postmaster.pid").map_err(system("no temporary directory"))?;
        programs.give(home.path())?;
        Ok(Self {
            programs,
            port: 0,
            password,
            settings,
            server: Mutex::new(None),
            home,
        })
    }

    fn make_cluster(&self) -> Result<(), PostgresError> {
        let password = self.home.path().join("password");
        fs::write(&password, &self.password).map_err(system("the password cannot be written"))?;
        fs::set_permissions(&password, Permissions::from_mode(0o600)).map_err(system("the password's file"))?;
        self.programs.give(&password)?;
        let mut initdb = self.programs.as_server("initdb");
        initdb.current_dir(self.home.path());
        initdb.args([
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "--auth=scram-sha-256",
        ]);
        // Not synchronised to disk: a cluster that a crash of the machine interrupts here is of no use to anybody.
        initdb.args(["--pwfile=password", "--no-sync", "--pgdata=data"]);
        programs::output(&mut initdb)?;
        fs::remove_file(&password).map_err(system("the password's file"))
    }

    fn start_on_a_free_port(&mut self) -> Result<(), PostgresError> {
        let (port, child) = self.home.start(self)?;
        self.port = port;
        *self.server() = Some(child);
        Ok(())
    }

    fn end(&self, signal: Signal) -> Result<(), PostgresError> {
        let child = self.server().take().ok_or(PostgresError::Stopped)?;
        end_child(child, signal);
        Ok(())
    }

    /// A client program, with this server's address and password.
    fn client(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        self.connect(&mut command);
        command
    }

    fn connect(&self, command: &mut Command) {
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGPASSWORD", &self.password)
            .env("PGSSLMODE", "disable");
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server
            .lock()
            .expect("the lock is never poisoned: nothing panics under it")
    }
}

impl Launch for PrivatePostgres {
    fn command(&self, port: u16) -> io::Result<Command> {
        let mut command = self.programs.as_server("postgres");
        command.arg("-D").arg(self.data());
        command.args(["-c", &format!("port={port}")]);
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (name, value) in settings.iter().chain(&self.settings) {
            command.args(["-c", &format!("{name}={value}")]);
        }
        Ok(command)
    }

    /// What `pg_ctl` waits for: the last line of the lock file, if it is of this postmaster and not of one before it.
    fn is_ready(&self, pid: u32, _log: &str) -> bool {
        let lock = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = lock.lines().map(str::trim);
        lines.next() == Some(pid.to_string().as_str()) && lines.next_back() == Some("ready")
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Some(child) = self.server().take() {
            end_child(child, Signal::SIGQUIT);
        }
    }
}

impl fmt::Debug for PrivatePostgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivatePostgres")
            .field("port", &self.port)
            .field("directory", &self.home.path())
            .finish_non_exhaustive()
    }
}

impl From<NotStarted> for PostgresError {
    fn from(NotStarted { reason, log }: NotStarted) -> Self {
        Self::DoesNotStart { reason, log }
    }
}

/// The PostgreSQL that the tests of one run share, each in a schema or database of its own.
///
/// # Panics
/// When the environment names none.
pub fn shared_postgres_url() -> String {
    std::env::var("CHAT_POSTGRES_URL").unwrap_or_else(|_| {
        panic!(
            "this test needs a PostgreSQL: run `cargo xtask test`, which starts one, or set CHAT_POSTGRES_URL to the \
             URL of a superuser's database"
        )
    })
}

fn new_password() -> Result<String, PostgresError> {
    random_password().map_err(system("no random numbers"))
}

fn system(doing: &str) -> impl FnOnce(io::Error) -> PostgresError {
    let doing = doing.to_owned();
    move |source| PostgresError::System { doing, source }
}
