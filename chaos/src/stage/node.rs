//! One `chat-server`, and the links around it.

use super::{Broker, Problem, Setting};
use chat_testkit::link::Link;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long a node may take to serve.
const SERVES_WITHIN: Duration = Duration::from_secs(60);

/// How long a node may take to end after it was asked, beyond its grace.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// How long its clients have when it is asked to end.
const GRACE: &str = "6";

/// A server; dropping it kills it.
pub struct Node {
    /// Where it listens, without a link.
    pub address: SocketAddr,
    /// From clients to it.
    pub clients: Arc<Link>,
    /// From it to the database.
    pub database: Arc<Link>,
    /// From it to the broker.
    pub broker: Option<Arc<Link>>,
    program: PathBuf,
    store: String,
    backplane: Option<String>,
    allows_loss: bool,
    log: PathBuf,
    child: Option<Child>,
}

impl Node {
    pub(super) async fn new(
        number: usize,
        setting: &Setting,
        database: Link,
        store: String,
        broker: &Broker,
    ) -> Result<Self, Problem> {
        let address = free_address(number)?;
        let broker_link = match broker.address() {
            Some(address) => Some(Arc::new(Link::start(address).await?)),
            None => None,
        };
        Ok(Self {
            address,
            clients: Arc::new(Link::start(address).await?),
            database: Arc::new(database),
            backplane: broker.url_through(broker_link.as_ref().map(|link| link.address())),
            broker: broker_link,
            program: setting.server.clone(),
            store,
            allows_loss: setting.loses_acked,
            log: setting.folder.join(format!("node-{number}.log")),
            child: None,
        })
    }

    /// Starts it, and does not wait.
    ///
    /// # Errors
    /// When the program does not start.
    pub fn launch(&mut self) -> Result<(), Problem> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            // What is not set here is not taken from who runs this.
            if name.to_str().is_some_and(|name| name.starts_with("CHAT_")) {
                command.env_remove(name);
            }
        }
        command.env("CHAT_STORE", &self.store);
        if let Some(backplane) = &self.backplane {
            command.env("CHAT_BACKPLANE", backplane);
        }
        if self.allows_loss {
            command.env("CHAT_ALLOW_DATA_LOSS", "true");
        }
        command.args(["--listen", &self.address.to_string(), "--grace", GRACE]);
        // All clients come from one address, and a few users stand for many.
        command.args([
            "--connections-per-address",
            "10000",
            "--handshakes-per-address",
            "10000",
        ]);
        command.args(["--sends-per-user", "200:1000", "--sends-per-conversation", "1000:4000"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.kill_on_drop(true).spawn()?);
        Ok(())
    }

    /// Waits until it serves. One that ended, because it found no database, is started again, as an init system does.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn serves(&mut self) -> Result<(), Problem> {
        let end = Instant::now() + SERVES_WITHIN;
        while !self.is_ready().await {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if Instant::now() >= end {
                return Err(format!("a node does not serve ({ended:?}); see {}", self.log.display()).into());
            }
            if ended.is_some() {
                self.launch()?;
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Starts it, and waits until it serves.
    ///
    /// # Errors
    /// Those of [`launch`](Self::launch) and of [`serves`](Self::serves).
    pub async fn start(&mut self) -> Result<(), Problem> {
        self.launch()?;
        self.serves().await
    }

    /// Kills it: no goodbye.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> Result<(), Problem> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not.
    pub async fn drain(&mut self) -> Result<(), Problem> {
        self.signal(Signal::SIGTERM)?;
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        match timeout(ENDS_WITHIN, child.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
            Ok(status) => Err(format!("a node that was asked to end: {status:?}").into()),
            Err(_) => Err("a node that was asked to end does not".into()),
        }
    }

    /// Stops it where it stands.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn freeze(&self) -> Result<(), Problem> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn thaw(&self) -> Result<(), Problem> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), Problem> {
        // A child that was not waited for keeps its id, so this is no other process.
        let pid = self
            .child
            .as_ref()
            .and_then(Child::id)
            .ok_or("a node that does not run")?;
        Ok(kill(Pid::from_raw(pid.cast_signed()), signal)?)
    }

    async fn is_ready(&self) -> bool {
        let ask = async {
            let mut stream = TcpStream::connect(self.address).await.ok()?;
            let request = format!(
                "GET /readyz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                self.address
            );
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        };
        matches!(timeout(Duration::from_secs(2), ask).await, Ok(Some(())))
    }
}

/// A port that is free now, below those that the system gives to connections by itself: while a node is down, one of them
/// could take its port.
fn free_address(number: usize) -> Result<SocketAddr, Problem> {
    let own = usize::try_from(std::process::id())? * 37 + number * 101;
    for step in 0..1_000 {
        let port = u16::try_from(20_000 + (own + step) % 12_000)?;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
    Err("no loopback port is free".into())
}
