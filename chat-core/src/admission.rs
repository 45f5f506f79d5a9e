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
/// Nobody is asked to stay away for longer.
const RETRY_MAX: Duration = Duration::from_secs(30);

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
    /// When those may come who were turned away because the node takes no more: each at a time of their own.
    later: Budget,
    /// As `later` is while nobody waits.
    no_line: Budget,
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Debug)]
struct Address {
    connections: usize,
    handshakes: Budget,
}

impl State {
    /// When somebody may come whom this node cannot take now: so many in each second as it takes, and when the line is as
    /// long as anybody waits, from its beginning again.
    fn turn_away(&mut self, now: std::time::Instant) -> Duration {
        let wait = |later: &Budget| {
            let at = later.owes_until(now);
            at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
        };
        if wait(&self.later) >= RETRY_MAX {
            self.later = self.no_line.clone();
        }
        self.later.charge(1, now);
        wait(&self.later)
    }
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
                later: Budget::new(limits.handshakes_per_second, 0),
                no_line: Budget::new(limits.handshakes_per_second, 0),
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
        // Whoever is refused for their address alone costs the others nothing, and no place in the line either.
        let rate = self.bounds.address_rate;
        let fresh = || Budget::new(rate, rate * BURST_SECONDS);
        let known = address.and_then(|address| state.addresses.get(&address));
        if known.is_some_and(|known| known.connections >= self.bounds.per_address) {
            return Err(RETRY);
        }
        let mut of_address = known.map_or_else(fresh, |known| known.handshakes.clone());
        of_address.take(1, now)?;
        if state.handshakes.take(1, now).is_err() {
            return Err(state.turn_away(now));
        }
        if let Some(address) = address {
            let known = state.addresses.entry(address).or_insert_with(|| Address {
                connections: 0,
                handshakes: fresh(),
            });
            known.handshakes = of_address;
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

    #[tokio::test(start_paused = true)]
    async fn whoever_is_over_the_limit_of_an_address_takes_nothing_from_the_others() {
        let admission = Arc::new(Admission::new(&Limits::default()));
        let mut places = Vec::new();
        for attempt in 0..10_000 {
            if let Ok(place) = admission.admit(Some([192, 0, 2, 1].into())) {
                assert!(attempt < 50, "its own burst");
                places.push(place);
            }
        }
        assert!(admission.admit(Some([192, 0, 2, 2].into())).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_are_turned_away_are_asked_to_come_one_after_the_other() {
        let admission = Arc::new(Admission::new(&Limits {
            unauthenticated_max: 10_000,
            ..Limits::default()
        }));
        let _places: Vec<_> = (0..1_000).map(|_| admission.admit(None).unwrap()).collect();
        let asked: Vec<_> = (0..10_000).map(|_| admission.admit(None).unwrap_err()).collect();
        let within = |from: u64, to: u64| {
            let range = Duration::from_secs(from)..Duration::from_secs(to);
            asked.iter().filter(|after| range.contains(*after)).count()
        };
        // 6,000 fill the line, 4,000 begin it again.
        assert_eq!(
            [within(1, 2), within(10, 11), within(25, 26)],
            [400, 400, 200],
            "as many as a second takes"
        );
        assert!(asked.iter().all(|after| *after <= RETRY_MAX + Duration::from_millis(5)));
    }

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
