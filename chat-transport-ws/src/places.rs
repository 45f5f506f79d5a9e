//! Places for sockets that are no WebSocket yet: so many in all, and so many of them for one address.

use chat_core::transport::counted_as;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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
    /// Nobody yet, when a proxy has not said whom it stands for.
    address: OnceLock<IpAddr>,
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

    /// Makes a place that is nobody's yet.
    pub fn lend(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Place {
        Place {
            places: Arc::clone(self),
            address: OnceLock::new(),
            _one_of_all: place,
        }
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Gives the place to an address, unless that has as many as it may have. What is given stays given: then this says
    /// yes again.
    pub fn give(&self, address: IpAddr) -> bool {
        let address = counted_as(address);
        let mut addresses = self.places.addresses();
        if self.address.get().is_some() {
            return true;
        }
        let held = addresses.entry(address).or_insert(0);
        if *held >= self.places.per_address_max {
            return false;
        }
        *held += 1;
        let _ = self.address.set(address);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address.get() else {
            return;
        };
        let mut addresses = self.places.addresses();
        if let Some(held) = addresses.get_mut(address) {
            *held -= 1;
            if *held == 0 {
                addresses.remove(address);
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
        let place = async |address| {
            let place = places.lend(places.free().await);
            place.give(address).then_some(place)
        };
        let first = place(many).await.expect("free");
        let _second = place(many).await.expect("free");
        assert!(place(many).await.is_none());
        let _other = place(other).await.expect("free");
        assert_eq!(places.all.available_permits(), 0);
        drop(first);
        let again = place(many).await;
        assert!(again.is_some(), "what was given back can be had again");
        drop((again, _second, _other));
        assert!(places.addresses().is_empty(), "nobody is remembered");
    }

    #[tokio::test]
    async fn a_place_is_given_once() {
        let places = Arc::new(Places::new(3, 1));
        let place = places.lend(places.free().await);
        let (first, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        assert!(place.give(first) && place.give(first) && place.give(other));
        assert_eq!(places.addresses().len(), 1);
        drop(place);
        assert!(places.addresses().is_empty(), "nobody is remembered");
    }
}
