//! Places for sockets that are no WebSocket yet: so many in all, and so many of them for one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    per_address_max: usize,
    /// Held for a look and a change; addresses without a place are not in it.
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
#[must_use]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
    _one_of_all: OwnedSemaphorePermit,
}

impl Places {
    pub fn new(max: usize, per_address_max: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(max)),
            per_address_max,
            addresses: Mutex::default(),
        }
    }

    /// Waits until there is a place for anybody.
    pub async fn free(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.all).acquire_owned().await;
        place.expect("the semaphore is never closed")
    }

    /// Gives the place to an address, unless it has as many as it may have.
    pub fn give(self: &Arc<Self>, place: OwnedSemaphorePermit, address: IpAddr) -> Option<Place> {
        let mut addresses = self.addresses();
        let held = addresses.entry(address).or_insert(0);
        if *held >= self.per_address_max {
            return None;
        }
        *held += 1;
        drop(addresses);
        Some(Place {
            places: Arc::clone(self),
            address,
            _one_of_all: place,
        })
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.places.addresses();
        if let Some(held) = addresses.get_mut(&self.address) {
            *held -= 1;
            if *held == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_has_its_share_takes_nothing_from_another() {
        let places = Arc::new(Places::new(3, 2));
        let (many, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = places.give(places.free().await, many).expect("free");
        let _second = places.give(places.free().await, many).expect("free");
        assert!(places.give(places.free().await, many).is_none());
        let _other = places.give(places.free().await, other).expect("free");
        assert_eq!(places.all.available_permits(), 0);
        drop(first);
        let again = places.give(places.free().await, many);
        assert!(again.is_some(), "what was given back can be had again");
        drop((again, _second, _other));
        assert!(places.addresses().is_empty(), "nobody is remembered");
    }
}
