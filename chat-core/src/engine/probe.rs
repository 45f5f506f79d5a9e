//! An acceptor without an engine, so that a transport is tested by itself.

use super::{Acceptor, Refusal};
use crate::transport::Connection;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What stands in for the engine.
#[derive(Clone)]
pub(super) enum Probe {
    /// Runs this for each connection.
    Run(Arc<dyn Fn(Connection) -> Running + Send + Sync>),
    /// Takes nobody.
    Refuse(Duration),
}

impl Probe {
    pub(super) fn admit(&self, _address: Option<IpAddr>) -> Result<(), Refusal> {
        match self {
            Self::Run(_) => Ok(()),
            Self::Refuse(retry_after) => Err(Refusal {
                retry_after: *retry_after,
            }),
        }
    }

    pub(super) async fn accept(&self, connection: Connection) {
        match self {
            Self::Run(run) => run(connection).await,
            Self::Refuse(_) => {}
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(_) => f.write_str("Run"),
            Self::Refuse(retry_after) => f.debug_tuple("Refuse").field(retry_after).finish(),
        }
    }
}

impl Acceptor {
    /// An acceptor without an engine, for testing a transport: admits everybody and runs `run` for each connection.
    pub fn probe<Run, Done>(run: Run) -> Self
    where
        Run: Fn(Connection) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        Self::of_probe(Probe::Run(Arc::new(move |connection| Box::pin(run(connection)))))
    }

    /// An acceptor without an engine, for testing a transport: refuses everybody.
    pub fn refusing(retry_after: Duration) -> Self {
        Self::of_probe(Probe::Refuse(retry_after))
    }
}
