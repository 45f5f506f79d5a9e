//! What a transport holds of the engine.

use super::Inner;
use super::probe::Probe;
use crate::admission::Place;
use crate::tasks::session;
use crate::transport::Connection;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// At this share of the node's memory, in percent, no further connection is taken.
const FULL_PERCENT: usize = 80;

/// What a transport holds of the engine; a cheap handle.
#[derive(Clone)]
pub struct Acceptor(Target);

#[derive(Clone)]
enum Target {
    Engine(Arc<Inner>),
    Probe(Probe),
}

/// A place for one connection; dropping it gives the place back.
#[derive(Debug)]
#[must_use]
pub struct Permit(Option<Place>);

/// The node takes no further connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// When to try again.
    pub retry_after: Duration,
}

impl Acceptor {
    pub(super) fn of(inner: Arc<Inner>) -> Self {
        Self(Target::Engine(inner))
    }

    pub(super) fn of_probe(probe: Probe) -> Self {
        Self(Target::Probe(probe))
    }

    /// Asks whether the node takes one more connection from this address; ask before allocating for it.
    ///
    /// # Errors
    /// [`Refusal`] when a limit is reached or the node is draining: answer 503 with `Retry-After`.
    pub fn admit(&self, address: Option<IpAddr>) -> Result<Permit, Refusal> {
        let inner = match &self.0 {
            Target::Engine(inner) => inner,
            Target::Probe(probe) => return probe.admit(address).map(|()| Permit(None)),
        };
        let full = inner.memory.used() >= inner.limits.node_queue_bytes_max / 100 * FULL_PERCENT;
        let admitted = if inner.is_draining() || full {
            Err(Duration::from_secs(5))
        } else {
            inner.admission.admit(address)
        };
        match admitted {
            Ok(place) => Ok(Permit(Some(place))),
            Err(retry_after) => {
                metrics::counter!("chat_handshakes_refused_total").increment(1);
                Err(Refusal { retry_after })
            }
        }
    }

    /// Runs the session of a connection until it is over.
    ///
    /// # Cancel safety
    /// Dropping it drops the connection; what was being stored is stored all the same.
    pub async fn accept(&self, connection: Connection, permit: Permit) {
        match &self.0 {
            Target::Engine(inner) => {
                let killed = inner.killed.clone();
                tokio::select! {
                    biased;
                    () = killed.cancelled() => {}
                    () = session::run(inner.clone(), connection, permit.0) => {}
                }
            }
            Target::Probe(probe) => probe.accept(connection).await,
        }
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}
