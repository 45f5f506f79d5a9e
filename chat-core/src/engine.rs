//! The engine: a cheap handle to everything.

use crate::transport::Connection;
use std::net::IpAddr;

/// A cheap handle to the engine.
#[derive(Debug, Clone)]
pub struct Engine;

/// What a transport holds of the engine.
#[derive(Debug, Clone)]
pub struct Acceptor;

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
    pub fn admit(&self, _address: Option<IpAddr>) -> Result<Permit, Refusal> {
        Ok(Permit)
    }

    /// Runs the session of a connection until it is over.
    ///
    /// # Cancel safety
    /// Dropping it drops the connection; what was being stored is stored all the same.
    pub async fn accept(&self, _connection: Connection, _permit: Permit) {}
}
