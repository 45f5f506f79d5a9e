//! A network in between: counts what a client says, and breaks every connection when told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Proxy {
    /// Where clients connect instead.
    pub url: String,
    bytes: Arc<AtomicU64>,
    /// Raised at every cut.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// A network before the server at this address, such as `ws://127.0.0.1:7000/chat`.
    pub async fn before(url: &str) -> Self {
        let server = url.trim_start_matches("ws://").split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let (bytes, (cuts, cut)) = (Arc::new(AtomicU64::new(0)), watch::channel(0));
        let counted = bytes.clone();
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, counted, mut cut) = (server.clone(), counted.clone(), cut.clone());
                tokio::spawn(async move {
                    cut.mark_unchanged();
                    tokio::select! { biased; _ = cut.changed() => {}, () = carry(client, &server, &counted) => {} }
                });
            }
        });
        let url = url.replace(url.trim_start_matches("ws://").split('/').next().unwrap(), &own);
        Self { url, bytes, cuts }
    }

    /// Breaks every connection without a word; answers whether there was one.
    pub fn cut(&self) -> bool {
        self.cuts.send_modify(|cuts| *cuts += 1);
        // One receiver waits beside the listener for the next connection.
        self.cuts.receiver_count() > 1
    }

    /// What clients have said so far.
    pub fn bytes_to_server(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

async fn carry(client: TcpStream, server: &str, counted: &AtomicU64) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let down = async { _ = tokio::io::copy(&mut from_server, &mut to_client).await };
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count) = from_client.read(&mut buffer).await {
            counted.fetch_add(count as u64, Ordering::Relaxed);
            if count == 0 || to_server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { biased; () = up => {}, () = down => {} }
}
