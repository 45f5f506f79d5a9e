//! How many connections a node takes: counted before anything is allocated for one.

use crate::limits::Limits;
use crate::transport::counted_as;
use chat_protocol::budget::Budget;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bursts of handshakes are so many seconds' worth of their rate.
const BURST_SECONDS: u32 = 5;
/// When a limit that is no rate is reached, come back after this.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Admission {
    bounds: Bounds,
    state: Mutex<State>,
    emptied: Notify,
}

#[derive(Debug)]
struct Bounds {
    connections: usize,
    per_address: usize,
    unauthenticated: usize,
    address_rate: u32,
}

#[derive(Debug)]
struct State {
    connections: usize,
    unauthenticated: usize,
    handshakes: Budget,
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Debug)]
struct Address {
    connections: usize,
    handshakes: Budget,
}

/// A place for one connection; dropping it gives the place back.
#[derive(Debug)]
#[must_use]
pub(crate) struct Place {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
    unauthenticated: bool,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            bounds: Bounds {
                connections: limits.connections_max,
                per_address: limits.connections_per_address_max,
                unauthenticated: limits.unauthenticated_max,
                address_rate: limits.handshakes_per_address,
            },
            state: Mutex::new(State {
                connections: 0,
                unauthenticated: 0,
                handshakes: Budget::new(
                    limits.handshakes_per_second,
                    limits.handshakes_per_second * BURST_SECONDS,
                ),
                addresses: HashMap::new(),
            }),
            emptied: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, or says when to try again.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Duration> {
        let now = Instant::now().into_std();
        let address = address.map(counted_as);
        let mut state = self.state();
        let state = &mut *state;
        if state.connections >= self.bounds.connections || state.unauthenticated >= self.bounds.unauthenticated {
            return Err(RETRY);
        }
        state.handshakes.take(1, now)?;
        if let Some(address) = address {
            let rate = self.bounds.address_rate;
            let known = state.addresses.entry(address).or_insert_with(|| Address {
                connections: 0,
                handshakes: Budget::new(rate, rate * BURST_SECONDS),
            });
            if known.connections >= self.bounds.per_address {
                return Err(RETRY);
            }
            known.handshakes.take(1, now)?;
            known.connections += 1;
        }
        state.connections += 1;
        state.unauthenticated += 1;
        metrics::gauge!("chat_connections").set(state.connections as f64);
        Ok(Place {
            admission: self.clone(),
            address,
            unauthenticated: true,
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.state().connections
    }

    pub(crate) fn addresses(&self) -> usize {
        self.state().addresses.len()
    }

    /// Forgets addresses without connections whose rate has recovered.
    pub(crate) fn sweep(&self) {
        let now = Instant::now().into_std();
        self.state()
            .addresses
            .retain(|_, address| address.connections > 0 || !address.handshakes.is_whole(now));
    }

    /// Resolves once no connection is open.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.connections() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Place {
    /// Hello was judged.
    pub(crate) fn authenticated(&mut self) {
        if std::mem::take(&mut self.unauthenticated) {
            self.admission.state().unauthenticated -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.authenticated();
        let mut state = self.admission.state();
        state.connections -= 1;
        metrics::gauge!("chat_connections").set(state.connections as f64);
        if let Some(known) = self.address.and_then(|address| state.addresses.get_mut(&address)) {
            known.connections -= 1;
        }
        if state.connections == 0 {
            self.admission.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_addresses_of_one_ipv6_network_count_as_one() {
        let limits = Limits {
            connections_per_address_max: 1,
            ..Limits::default()
        };
        let admission = Arc::new(Admission::new(&limits));
        let admit = |address: &str| admission.admit(Some(address.parse().unwrap()));
        let _place = admit("2001:db8:0:1::1").unwrap();
        assert!(admit("2001:db8:0:1:ffff::2").is_err());
        assert!(admit("2001:db8:0:2::1").is_ok());
    }
}
