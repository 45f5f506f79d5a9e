#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod server;

use async_nats::connection::State;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use chat_core::backplane::{Backplane, BackplaneError, Inbox, Rung, Topic};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a server may take for anything.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// The third ping without an answer is the connection's end.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Between two attempts to connect: this, and then twice as much each time, up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Bells of one topic on their way from the socket to the inbox, which takes them at once.
const BELLS_OF_A_TOPIC_MAX: usize = 1024;
const BELL_BYTES_MAX: usize = 64 * 1024;

/// Bells by NATS core subjects, over one connection.
///
/// A connection that ends, or does not answer within three seconds, is made anew, for as long as it takes; everything that
/// was listened to comes back with it, and then [`Rung::Resync`]. NATS acknowledges nothing: what is published while the
/// server hangs is lost without an error, until the connection is given up.
///
/// ```no_run
/// # async fn doc(store: impl chat_core::store::Store) -> Result<(), Box<dyn std::error::Error>> {
/// use chat_backplane_nats::NatsBackplane;
///
/// let backplane = NatsBackplane::connect("nats://user:password@nats.internal:4222").await?;
/// let engine = chat_core::Engine::builder().store(store).backplane(backplane);
/// # Ok(())
/// # }
/// ```
pub struct NatsBackplane {
    client: Client,
    prefix: String,
    servers: Vec<String>,
    inbox: Arc<Inbox>,
    /// A task for each topic, which brings its bells into the inbox.
    listeners: Mutex<BTreeMap<Topic, JoinHandle<()>>>,
}

impl NatsBackplane {
    /// Connects to `nats://[user:password@ or token@]host[:port]`, or by TLS to `tls://…`. Of a cluster, several URLs may be
    /// given, divided by commas; user and password are those of the first.
    ///
    /// A server that cannot be reached is no error: bells only save time, and a node must start without them. It is looked
    /// for until it is there, the log says so, and meanwhile [`is_alive`](Backplane::is_alive) is false.
    ///
    /// # Errors
    /// When waiting does not help: the URL is none, or the server refuses the password. No text ever holds the password.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(url: &str) -> Result<Self, BackplaneError> {
        Self::connect_with_prefix(url, "chat").await
    }

    /// The same for one of several chats on one server: subjects are called `PREFIX.TOPIC`, otherwise `chat.TOPIC`.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect); and when the prefix is anything but ASCII letters, digits, `-` and `_`, with
    /// single dots between them.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect_with_prefix(url: &str, prefix: &str) -> Result<Self, BackplaneError> {
        let is_plain = |part: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            !part.is_empty() && part.bytes().all(is_plain)
        };
        if !prefix.split('.').all(is_plain) {
            return Err(BackplaneError(format!("`{prefix}` is no prefix of subjects")));
        }
        let server::Named { servers, user } = server::read(url)?;
        let inbox = Arc::new(Inbox::default());
        let options = || server::log_in(options(&inbox), user.clone());
        let client = match options().connect(&servers[..]).await {
            Ok(client) => client,
            Err(error) if is_final(error.kind()) => return Err(unavailable(error)),
            Err(error) => {
                tracing::warn!(%error, "nats cannot be reached; bells are silent until it can");
                let later = options().retry_on_initial_connect();
                later.connect(&servers[..]).await.map_err(unavailable)?
            }
        };
        Ok(Self {
            client,
            prefix: prefix.to_owned(),
            servers: servers.iter().map(address).collect(),
            inbox,
            listeners: Mutex::default(),
        })
    }

    fn subject(&self, topic: Topic) -> String {
        format!("{}.{topic}", self.prefix)
    }

    /// Otherwise what is asked of the client waits with it until it is connected again.
    fn connected(&self) -> Result<&Client, BackplaneError> {
        match self.is_alive() {
            true => Ok(&self.client),
            false => Err(BackplaneError("nats is not connected".to_owned())),
        }
    }

    fn listeners(&self) -> MutexGuard<'_, BTreeMap<Topic, JoinHandle<()>>> {
        self.listeners
            .lock()
            .expect("the lock is never poisoned: nothing panics under it")
    }
}

#[async_trait]
impl Backplane for NatsBackplane {
    fn name(&self) -> &'static str {
        "nats"
    }

    async fn publish(&self, bells: &[(Topic, Bytes)]) -> Result<(), BackplaneError> {
        let client = self.connected()?;
        soon(async {
            for (topic, bell) in bells {
                let published = client.publish(self.subject(*topic), bell.clone());
                published.await.map_err(unavailable)?;
            }
            client.flush().await.map_err(unavailable)
        })
        .await
    }

    async fn listen(&self, topic: Topic) -> Result<(), BackplaneError> {
        let client = self.connected()?;
        soon(async {
            let bells = client.subscribe(self.subject(topic)).await.map_err(unavailable)?;
            let listener = tokio::spawn(bring(bells, self.inbox.clone()));
            // Asked again, this node does not hear what it should: the server may have ended the subscription alone.
            let before = self.listeners().insert(topic, listener);
            if let Some(before) = before {
                end(before).await;
            }
            client.flush().await.map_err(unavailable)
        })
        .await
    }

    async fn unlisten(&self, topic: Topic) -> Result<(), BackplaneError> {
        let Some(listener) = self.listeners().remove(&topic) else {
            return Ok(());
        };
        end(listener).await;
        Ok(())
    }

    async fn recv(&self) -> Rung {
        self.inbox.recv().await
    }

    fn is_alive(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    fn bell_bytes_max(&self) -> usize {
        self.client.max_payload().clamp(1024, BELL_BYTES_MAX)
    }
}

impl Drop for NatsBackplane {
    fn drop(&mut self) {
        self.listeners().values().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for NatsBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBackplane")
            .field("servers", &self.servers)
            .field("is_alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

/// With the subscription goes the word to the server.
async fn end(listener: JoinHandle<()>) {
    listener.abort();
    let _ = listener.await;
}

/// Owned by its backplane.
async fn bring(mut bells: Subscriber, inbox: Arc<Inbox>) {
    while let Some(bell) = bells.next().await {
        inbox.push(bell.payload);
    }
}

fn options(inbox: &Arc<Inbox>) -> ConnectOptions {
    let inbox = inbox.clone();
    let is_back = AtomicBool::new(false);
    ConnectOptions::new()
        .name("chat")
        .connection_timeout(ANSWERS_WITHIN)
        .ping_interval(PING_EVERY)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
            let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings));
            pause.min(Duration::from_secs(1))
        })
        .subscription_capacity(BELLS_OF_A_TOPIC_MAX)
        .event_callback(move |event| {
            match event {
                // The first connection of all is none after which something may have been missed; but a second one
                // follows only one that was lost or was never there.
                Event::Connected if is_back.swap(true, Ordering::Relaxed) => {
                    inbox.resync();
                    tracing::info!("nats answers");
                }
                Event::Disconnected => tracing::warn!("nats does not answer; bells are silent until it does"),
                Event::SlowConsumer(_) => inbox.resync(),
                Event::ServerError(error) => tracing::warn!(%error, "nats refuses"),
                _ => {}
            }
            std::future::ready(())
        })
}

fn is_final(kind: ConnectErrorKind) -> bool {
    use ConnectErrorKind::{Authentication, AuthorizationViolation, ServerParse};
    matches!(kind, Authentication | AuthorizationViolation | ServerParse)
}

async fn soon<T>(call: impl Future<Output = Result<T, BackplaneError>>) -> Result<T, BackplaneError> {
    let answer = timeout(ANSWERS_WITHIN, call).await;
    answer.unwrap_or_else(|_| Err(BackplaneError("nats does not answer within three seconds".to_owned())))
}

fn address(server: &ServerAddr) -> String {
    format!("{}:{}", server.host(), server.port())
}

fn unavailable(error: impl fmt::Display) -> BackplaneError {
    BackplaneError(error.to_string())
}
