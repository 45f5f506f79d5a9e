//! The engine: a cheap handle to everything.

mod probe;

use crate::transport::Connection;
use probe::Probe;
use std::net::IpAddr;

/// A cheap handle to the engine.
#[derive(Debug, Clone)]
pub struct Engine;

/// What a transport holds of the engine.
#[derive(Debug, Clone)]
pub struct Acceptor {
    probe: Option<Probe>,
}

/// Admits one connection; dropping it gives the place back.
#[derive(Debug)]
#[must_use]
pub struct Permit;

/// The node takes no further connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// When to try again.
    pub retry_after: std::time::Duration,
}

impl Acceptor {
    /// Asks whether the node takes one more connection from this address; ask before allocating for it.
    ///
    /// # Errors
    /// [`Refusal`] when a limit is reached or the node is draining: answer 503 with `Retry-After`.
    pub fn admit(&self, address: Option<IpAddr>) -> Result<Permit, Refusal> {
        match &self.probe {
            Some(probe) => probe.admit(address).map(|()| Permit),
            None => Ok(Permit),
        }
    }

    /// Runs the session of a connection until it is over.
    ///
    /// # Cancel safety
    /// Dropping it drops the connection; what was being stored is stored all the same.
    pub async fn accept(&self, connection: Connection, _permit: Permit) {
        if let Some(probe) = &self.probe {
            probe.accept(connection).await;
        }
    }
}
