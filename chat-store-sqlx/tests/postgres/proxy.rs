//! A network between a store and its server, which a test may cut.

use sqlx::postgres::PgConnectOptions;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Forwards what comes to a loopback port of its own, until it is told otherwise.
pub struct Proxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Faults {
    server: Mutex<String>,
    /// Every so many questions the answer is taken away and the connection cut; zero: never.
    cut_every: AtomicU32,
    questions: AtomicU32,
    cut: AtomicU32,
    /// Connections that are open say nothing any more, in either direction; new ones are as always.
    deaf: AtomicU32,
}

impl Proxy {
    /// In front of the server of this URL.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Arc::<Faults>::default();
        *faults.server.lock().unwrap() = server_of(url);
        let shared = faults.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = shared.server.lock().unwrap().clone();
                if let Ok(server) = TcpStream::connect(&server).await {
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    tokio::spawn(forward(client, server, shared.clone()));
                }
            }
        });
        Self { address, faults, task }
    }

    /// The URL that goes through here.
    pub fn url(&self, of: &str) -> String {
        of.replace(&server_of(of), &self.address.to_string())
    }

    /// From now on new connections go to the server of this URL.
    pub fn lead_to(&self, url: &str) {
        *self.faults.server.lock().unwrap() = server_of(url);
    }

    /// Takes the answer to every so many questions away, and the connection with it; zero: never again.
    pub fn cut_every(&self, questions: u32) {
        self.faults.cut_every.store(questions, Ordering::Relaxed);
    }

    /// How often something was asked, over all connections.
    pub fn questions(&self) -> u32 {
        self.faults.questions.load(Ordering::Relaxed)
    }

    /// How often it was cut.
    pub fn cut(&self) -> u32 {
        self.faults.cut.load(Ordering::Relaxed)
    }

    /// Whatever is open now stays open and is silent for ever.
    pub fn deafen(&self) {
        self.faults.deaf.fetch_add(1, Ordering::Relaxed);
    }
}

fn server_of(url: &str) -> String {
    let options = PgConnectOptions::from_str(url).unwrap();
    format!("{}:{}", options.get_host(), options.get_port())
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(client: TcpStream, server: TcpStream, faults: Arc<Faults>) {
    let deaf = faults.deaf.load(Ordering::Relaxed);
    let is_deaf = || faults.deaf.load(Ordering::Relaxed) != deaf;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let cut = AtomicBool::new(false);
    let up = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = match from_client.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            while is_deaf() {
                sleep(Duration::from_millis(50)).await;
            }
            let every = faults.cut_every.load(Ordering::Relaxed);
            let question = faults.questions.fetch_add(1, Ordering::Relaxed);
            if every > 0 && question % every == every - 1 {
                cut.store(true, Ordering::Relaxed);
            }
            if to_server.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = match from_server.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            while is_deaf() {
                sleep(Duration::from_millis(50)).await;
            }
            if cut.load(Ordering::Relaxed) {
                faults.cut.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    // The first of them to end ends both ways.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
