//! What must hold: contract suites for every door of chat-core, the in-process transport and backplane, and the seeded
//! simulator.
//!
//! * the promises of the doors: [`contract`]
//! * doors in this process: [`transport`], and those that go wrong as they are told, [`backplane`], [`failing_store`]
//! * a client that says exactly what it is told: [`wire`]
//! * everything together, by seed: `sim` (feature `sim`)
//! * a TCP link that breaks as it is told: `link` (feature `link`)
//! * real servers that a test may kill: `postgres`, `redis`, `nats` (features of these names, Unix)
//! * chance and time that a test decides: [`random`], [`clock`]
#![forbid(unsafe_code)]

pub mod backplane;
pub mod clock;
pub mod contract;
pub mod failing_store;
#[cfg(all(any(feature = "postgres", feature = "redis", feature = "nats"), unix))]
mod home;
#[cfg(feature = "link")]
pub mod link;
#[cfg(all(feature = "nats", unix))]
pub mod nats;
#[cfg(all(feature = "postgres", unix))]
pub mod postgres;
pub mod random;
#[cfg(all(feature = "redis", unix))]
pub mod redis;
#[cfg(all(any(feature = "redis", feature = "nats"), unix))]
pub mod server;
#[cfg(feature = "sim")]
pub mod sim;
pub mod transport;
pub mod wire;

pub use clock::ManualClock;
pub use failing_store::{FailingStore, StoreFaults};
pub use random::Random;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
