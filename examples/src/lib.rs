//! The parts of `chat-server`, one idea per file, made to be read and copied into a host of your own.
//!
//! * [`backplane`]: what carries bells between several servers
//! * [`jwt`]: who somebody is, by a signed token
//! * [`keys`]: where the server's keys come from, also when they change
//! * [`lobby`]: a conversation that the host makes by itself, under an id that clients know
//! * [`site`]: page, socket, health and metrics on one port
//! * [`settings`]: flags and environment
//! * [`store`]: where everything is kept, and what to do when that cannot be
//! * [`tls`]: a certificate and its key from files
//! * [`server`]: all of it together, from the first line to the last
#![forbid(unsafe_code)]

pub mod backplane;
pub mod jwt;
pub mod keys;
pub mod lobby;
pub mod server;
pub mod settings;
pub mod site;
pub mod store;
pub mod tls;

/// The code on the front page compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct FrontPage;

/// And the code on that of chat-core, which knows no store.
#[cfg(doctest)]
#[doc = include_str!("../../chat-core/README.md")]
struct EngineFrontPage;

/// And in the guides.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../docs/quickstart.md")]
    struct Quickstart;
    #[doc = include_str!("../../docs/tutorial.md")]
    struct Tutorial;
    #[doc = include_str!("../../docs/hooks.md")]
    struct Deciding;
    #[doc = include_str!("../../docs/own-auth.md")]
    struct OwnAuth;
    #[doc = include_str!("../../docs/own-store.md")]
    struct OwnStore;
    #[doc = include_str!("../../docs/testing.md")]
    struct Testing;
}
