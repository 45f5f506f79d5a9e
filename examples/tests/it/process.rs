//! Processes that a test started: their output line by line, and their end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Nothing here takes longer, unless it hangs; a client may wait some seconds before it tries to connect again.
pub const SOON: Duration = Duration::from_secs(40);

/// A running process; dropping it kills it.
pub struct Process {
    child: Child,
    pub output: Output,
    pub notes: Output,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        for name in [
            "CHAT_LISTEN",
            "CHAT_JWT_KEY",
            "CHAT_JWT_KEY_FILE",
            "CHAT_JWT_KEY_ID",
            "CHAT_JWT_AUDIENCE",
            "CHAT_JWT_ISSUER",
            "CHAT_JWKS",
            "CHAT_ORIGIN",
            "CHAT_GRACE",
            "CHAT_TLS_CERT",
            "CHAT_TLS_KEY",
            "CHAT_TRUSTED_PROXY",
            "CHAT_STORE",
            "CHAT_NO_MIGRATE",
            "CHAT_ALLOW_DATA_LOSS",
            "CHAT_BACKPLANE",
            "CHAT_SERVER",
            "CHAT_TOKEN",
        ] {
            // What the test itself did not set is not taken from who runs it.
            if !command.get_envs().any(|(set, _)| set == name) {
                command.env_remove(name);
            }
        }
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary was built beside this test");
        let (output, output_reader) = Output::of(child.stdout.take().expect("a pipe"));
        let (notes, notes_reader) = Output::of(child.stderr.take().expect("a pipe"));
        Self {
            child,
            output,
            notes,
            readers: vec![output_reader, notes_reader],
        }
    }

    /// Types lines, each with its end.
    pub fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("the input is open");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .expect("the process reads");
    }

    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// `kill -9`: no goodbye, nothing is written any more.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process was started here");
        self.child.wait().expect("it ends");
    }

    #[cfg(unix)]
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Ctrl-C.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        self.signal("-INT");
    }

    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([name, &id]).status();
        assert!(status.expect("kill is there").success());
    }

    pub fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < end, "it did not end: {:?}", self.notes.lines());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Process {
    /// All that an ended process wrote: its output, and its notes.
    pub fn all(mut self) -> (String, String) {
        self.ended();
        for reader in self.readers.drain(..) {
            reader.join().expect("it only reads");
        }
        (self.output.lines().join("\n"), self.notes.lines().join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has written so far.
#[derive(Clone)]
pub struct Output(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> (Self, JoinHandle<()>) {
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let output = Self(Arc::clone(&shared));
        // Ends with the pipe, which the process holds.
        let reader = thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                shared.0.lock().expect("no panic inside").push(line);
                shared.1.notify_all();
            }
        });
        (output, reader)
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.0.lock().expect("no panic inside").clone()
    }

    /// Waits until the lines are as wanted.
    pub fn wait(&self, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let lines = self.0.0.lock().expect("no panic inside");
        let (lines, late) = self
            .0
            .1
            .wait_timeout_while(lines, SOON, |lines| !wanted(lines))
            .expect("no panic inside");
        assert!(!late.timed_out(), "it did not come; what came: {lines:#?}");
        lines.clone()
    }

    /// Waits for a line with this in it.
    pub fn wait_for(&self, part: &str) -> String {
        let lines = self.wait(|lines| lines.iter().any(|line| line.contains(part)));
        lines
            .into_iter()
            .find(|line| line.contains(part))
            .expect("it was waited for")
    }

    pub fn count(&self, part: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(part)).count()
    }
}

/// A server that leaves nothing behind.
pub fn chat_server(listen: &str) -> Command {
    chat_server_on("memory", listen)
}

pub fn chat_server_on(store: &str, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    command.args(["--listen", listen, "--store", store]);
    command
}

/// Starts a server on memory and waits until it is ready.
pub fn serve(address: SocketAddr) -> Process {
    ready(&mut chat_server(&address.to_string()), address)
}

/// Starts a server that was told nothing about its store, in this folder, and waits until it is ready.
pub fn serve_in(folder: &Path, address: SocketAddr) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    command.args(["--listen", &address.to_string()]).current_dir(folder);
    ready(&mut command, address)
}

pub fn ready(command: &mut Command, address: SocketAddr) -> Process {
    let server = Process::start(command);
    let end = Instant::now() + SOON;
    while server.output.count("Stop:") == 0 {
        assert!(Instant::now() < end, "it does not start: {:?}", server.notes.lines());
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(get(address, "/readyz").0, 200);
    server
}

/// Starts a line client with its outbox in this folder.
pub fn chat(name: &str, server: SocketAddr, folder: &Path) -> Process {
    let mut command = Command::new(example("chat"));
    command.args(["--as", name, "--server", &format!("ws://{server}/chat"), "--outbox"]);
    Process::start(command.arg(folder.join(name)))
}

/// Cargo names binaries to tests, but not examples: they are built beside them.
pub fn example(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_chat-server")).parent().expect("a folder");
    let path = folder
        .join("examples")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "build it first: cargo build --example {name}");
    path
}

/// A port that is free now, below those that the system gives to connections by itself: while a server is stopped, one of
/// them could take its port.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = std::process::id() % 12_000;
    for _ in 0..1_000 {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(20_000 + (own * 37 + step) % 12_000).expect("below 32,000");
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener.local_addr().expect("an address");
        }
    }
    panic!("no loopback port is free");
}

/// Status and whole answer of a plain request.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    exchange(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
}

/// Status and whole answer, until the server closes.
pub fn exchange(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered and closed");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no HTTP: {answer}")), answer)
}
