//! What carries bells between servers: chosen when the program starts, connected, and given to the engine; or a sentence
//! that says why not.
//!
//! A host that knows its backplane needs none of this: it connects and gives it to the engine's builder.

use crate::store::{Opened, Place, PlaceText, StoreProblem};
use chat_backplane_nats::NatsBackplane;
use chat_backplane_redis::RedisBackplane;
use chat_core::Builder;
use chat_core::backplane::BackplaneError;
use std::fmt;

/// What carries bells. It shows neither user nor password.
#[derive(Clone)]
pub enum Bells {
    /// The database that the store is in; here as the store shows it.
    Postgres(String),
    /// A server of its own, or a cluster.
    Broker {
        /// Which kind.
        kind: Broker,
        /// The whole address, as it was given.
        url: String,
        /// Its hosts.
        shown: String,
    },
}

/// The brokers that it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// NATS.
    Nats,
    /// Redis.
    Redis,
}

impl Bells {
    /// What was asked for, if it makes sense with this store.
    ///
    /// # Errors
    /// [`BellsProblem`].
    pub fn of(text: &PlaceText, place: &Place) -> Result<Self, BellsProblem> {
        let Place::Postgres { shown, .. } = place else {
            return Err(BellsProblem::OneServer);
        };
        let text = text.as_str();
        if text == "postgres" {
            return Ok(Self::Postgres(shown.clone()));
        }
        // Several addresses of one cluster are divided by commas; what a comma in a password leaves is none.
        let mut kinds = text.split(',').map(Broker::of);
        let kind = kinds.next().flatten().ok_or(BellsProblem::NoBackplane)?;
        if kinds.any(|other| other != Some(kind)) {
            return Err(BellsProblem::NoBackplane);
        }
        Ok(Self::Broker {
            kind,
            url: text.to_owned(),
            shown: hosts(text),
        })
    }

    /// Connects it and gives it to the engine. A broker that is away is looked for until it is there: the server starts
    /// without it, since bells only save time.
    ///
    /// # Errors
    /// [`BellsProblem`].
    pub async fn give(&self, store: &Opened, builder: Builder) -> Result<Builder, BellsProblem> {
        match (self, store) {
            (Self::Postgres(shown), Opened::Postgres(store)) => {
                let backplane = store.backplane().await;
                let problem = |error| BellsProblem::Store(StoreProblem::Postgres(shown.clone(), error));
                Ok(builder.backplane(backplane.map_err(problem)?))
            }
            (Self::Broker { kind, url, shown }, Opened::Postgres(_)) => {
                let connected = match kind {
                    Broker::Nats => NatsBackplane::connect(url).await.map(|nats| builder.backplane(nats)),
                    Broker::Redis => RedisBackplane::connect(url).await.map(|redis| builder.backplane(redis)),
                };
                connected.map_err(|error| BellsProblem::Broker(*kind, shown.clone(), error))
            }
            (_, Opened::Memory(_) | Opened::Sqlite(_)) => Err(BellsProblem::OneServer),
        }
    }
}

impl Broker {
    fn of(address: &str) -> Option<Self> {
        match address.split_once("://")?.0 {
            "nats" | "tls" => Some(Self::Nats),
            "redis" | "rediss" => Some(Self::Redis),
            _ => None,
        }
    }
}

/// Of each address what is neither user nor password, whatever they are made of.
fn hosts(addresses: &str) -> String {
    let hosts = addresses.split(',').map(|address| {
        let behind = address.split_once("://").map_or(address, |(_, behind)| behind);
        let behind = behind.rsplit_once('@').map_or(behind, |(_, behind)| behind);
        behind.split(['/', '?', '#']).next().unwrap_or_default()
    });
    hosts.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nats => "nats",
            Self::Redis => "redis",
        })
    }
}

impl fmt::Display for Bells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(shown) => write!(f, "postgres, {shown}"),
            Self::Broker { kind, shown, .. } => write!(f, "{kind}, {shown}"),
        }
    }
}

/// Why a backplane cannot be used, in one sentence; never a password.
#[derive(Debug)]
#[non_exhaustive]
pub enum BellsProblem {
    /// This names no backplane.
    NoBackplane,
    /// The store serves one server.
    OneServer,
    /// The store's database does not ring.
    Store(StoreProblem),
    /// Waiting for the broker at this address would not help.
    Broker(Broker, String, BackplaneError),
}

impl fmt::Display for BellsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackplane => f.write_str(
                "--backplane names no backplane: write `postgres`, for the store's own database, \
                 `redis://:PASSWORD@HOST:PORT`, or `nats://USER:PASSWORD@HOST:PORT`",
            ),
            Self::OneServer => f.write_str(
                "--backplane connects several servers, and this store serves one: leave it out, or keep everything where \
                 many servers can, with `--store postgres://USER:PASSWORD@HOST/DATABASE`",
            ),
            Self::Store(problem) => write!(f, "{problem}"),
            Self::Broker(kind, shown, error) => write!(f, "{kind} at {shown}: {error}; correct --backplane"),
        }
    }
}

impl std::error::Error for BellsProblem {}
