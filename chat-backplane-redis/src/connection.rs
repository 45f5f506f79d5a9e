//! One connection to one server: asked in pipelines, heard by pushes, and given up once it fails to answer.

use bytes::Bytes;
use chat_core::backplane::Inbox;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline, PushInfo,
    PushKind, RedisError, RedisResult, ServerErrorKind, Value,
};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a server may take for anything.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// What all connections of a node of ours report to.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    pub inbox: Inbox,
    /// A connection was lost.
    pub lost: Notify,
}

/// A cheap handle; the connection is closed with the last one.
#[derive(Clone)]
pub(crate) struct Connection {
    pub address: ConnectionAddr,
    requests: MultiplexedConnection,
    state: Arc<State>,
}

struct State {
    ear: Arc<Ear>,
    is_lost: AtomicBool,
    /// How many channels we asked to leave and have not yet left; see [`State::hear`].
    leaving: AtomicUsize,
}

impl Connection {
    pub async fn open(server: ConnectionInfo, ear: Arc<Ear>) -> RedisResult<Self> {
        let state = Arc::new(State {
            ear,
            is_lost: AtomicBool::new(false),
            leaving: AtomicUsize::new(0),
        });
        let hears = state.clone();
        // Waiting is bounded here, once for all of it.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |push| {
                hears.hear(push);
                Ok::<(), Infallible>(())
            });
        let address = server.addr().clone();
        let client = Client::open(server)?;
        let opened = timeout(
            ANSWERS_WITHIN,
            client.get_multiplexed_async_connection_with_config(&config),
        );
        Ok(Self {
            address,
            requests: opened.await.unwrap_or_else(|_| Err(too_late()))?,
            state,
        })
    }

    /// Asks, in one round trip. Anything but an answer, and an answer that the server is not the one for this, is the
    /// connection's end.
    pub async fn ask<T: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<T> {
        let mut requests = self.requests.clone();
        let answer = timeout(ANSWERS_WITHIN, pipeline.query_async(&mut requests)).await;
        let answer = answer.unwrap_or_else(|_| Err(too_late()));
        if answer.as_ref().is_err_and(|error| !is_refusal(error)) {
            self.state.give_up();
        }
        answer
    }

    /// Ends hearing a channel, which looks like being told that its slot moved.
    pub async fn leave(&self, pipeline: &Pipeline) -> RedisResult<()> {
        self.state.leaving.fetch_add(1, Ordering::Relaxed);
        self.ask(pipeline).await
    }

    pub fn give_up(&self) {
        self.state.give_up();
    }

    pub fn is_lost(&self) -> bool {
        self.state.is_lost.load(Ordering::Relaxed)
    }
}

impl State {
    /// Called by whatever reads the connection, which must not wait.
    fn hear(&self, push: PushInfo) {
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                if let Some(Value::BulkString(bell)) = push.data.into_iter().nth(1) {
                    self.ear.inbox.push(Bytes::from(bell));
                }
            }
            PushKind::Disconnection => self.give_up(),
            // The server says so by itself when a slot moves to another. The client takes that for an answer to whatever
            // was asked next: no answer of this connection can be trusted any more.
            PushKind::Unsubscribe | PushKind::SUnsubscribe => {
                let one_less = |leaving: usize| leaving.checked_sub(1);
                let leaving = &self.leaving;
                if leaving
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                    .is_err()
                {
                    self.give_up();
                }
            }
            _ => {}
        }
    }

    fn give_up(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
        self.ear.lost.notify_one();
    }
}

/// Whether the server answered, and another would not answer otherwise.
fn is_refusal(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    let passes = matches!(error.kind(), ErrorKind::Server(BusyLoading | MasterDown | ReadOnly));
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) && !error.is_cluster_error() && !passes
}

fn too_late() -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, "no answer within three seconds").into()
}
