#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod connection;
mod layout;
mod nodes;

use async_trait::async_trait;
use bytes::Bytes;
use chat_core::backplane::{Backplane, BackplaneError, Rung, Topic};
use nodes::Nodes;
use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisResult};
use std::fmt;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Bells by Redis pub/sub; one connection to a server, or one to each primary of a cluster.
///
/// A connection that ends or does not answer within three seconds is given up and made anew, for as long as it takes;
/// everything that was listened to comes back with it, and then [`Rung::Resync`].
///
/// ```no_run
/// # async fn doc(store: impl chat_core::store::Store) -> Result<(), Box<dyn std::error::Error>> {
/// use chat_backplane_redis::RedisBackplane;
///
/// let backplane = RedisBackplane::connect("redis://:password@redis.internal:6379").await?;
/// let engine = chat_core::Engine::builder().store(store).backplane(backplane);
/// # Ok(())
/// # }
/// ```
pub struct RedisBackplane {
    nodes: Arc<Nodes>,
    keeper: JoinHandle<()>,
}

impl RedisBackplane {
    /// Connects to `redis://[user][:password@]host[:port]`, or by TLS to `rediss://…` (feature `tls`). A server of a cluster
    /// is spoken to as such; of a cluster, several URLs may be given, divided by commas, and any that answers does.
    ///
    /// A server that cannot be reached is no error: bells only save time, and a node must start without them. It is looked
    /// for until it is there, the log says so, and meanwhile [`is_alive`](Backplane::is_alive) is false.
    ///
    /// # Errors
    /// When waiting does not help: the URL is none, or the server refuses the password, or does not know RESP3 (Redis 6, in
    /// a cluster 7). No text ever holds the password.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(url: &str) -> Result<Self, BackplaneError> {
        Self::connect_with_prefix(url, "chat").await
    }

    /// The same for one of several chats on one server: channels are called `PREFIX:TOPIC`, otherwise `chat:TOPIC`.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect_with_prefix(url: &str, prefix: &str) -> Result<Self, BackplaneError> {
        let servers: RedisResult<Vec<ConnectionInfo>> = url.split(',').map(server).collect();
        let nodes = Arc::new(Nodes::new(servers.map_err(unavailable)?, prefix));
        nodes.find().await.map_err(unavailable)?;
        let keeper = tokio::spawn(nodes::keep(nodes.clone()));
        Ok(Self { nodes, keeper })
    }
}

#[async_trait]
impl Backplane for RedisBackplane {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn publish(&self, bells: &[(Topic, Bytes)]) -> Result<(), BackplaneError> {
        self.nodes.publish(bells).await.map_err(unavailable)
    }

    async fn listen(&self, topic: Topic) -> Result<(), BackplaneError> {
        self.nodes.listen(topic).await.map_err(unavailable)
    }

    async fn unlisten(&self, topic: Topic) -> Result<(), BackplaneError> {
        self.nodes.unlisten(topic).await.map_err(unavailable)
    }

    async fn recv(&self) -> Rung {
        self.nodes.ear.inbox.recv().await
    }

    fn is_alive(&self) -> bool {
        self.nodes.is_alive()
    }
}

impl Drop for RedisBackplane {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl fmt::Debug for RedisBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackplane")
            .field("servers", &self.nodes.addresses())
            .field("is_alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

/// What is pushed needs RESP3, whatever the URL says.
fn server(url: &str) -> RedisResult<ConnectionInfo> {
    let server = url.trim().into_connection_info()?;
    let settings = server.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(server.set_redis_settings(settings))
}

fn unavailable(error: redis::RedisError) -> BackplaneError {
    BackplaneError(error.to_string())
}
