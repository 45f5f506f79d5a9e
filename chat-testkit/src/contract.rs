//! The promises of each door, declared once and run by name for every implementation.
//!
//! A promise is an async function over a fixture: what an implementation has to bring so that it can be tried. One
//! macro a door makes a test of every promise, so that a report names the promise that does not hold. An author
//! writes the fixture and one line:
//!
//! ```text
//! mod contract {
//!     chat_testkit::backplane_contract!(#[tokio::test] super::RedisFixture::start().await);
//! }
//! ```

/// Declares the promises of a door: a function for each, and the macro that makes the tests.
///
/// The first token is a `$`, which the macro that is made needs and cannot be written otherwise.
macro_rules! promises {
    (
        $d:tt
        $(#[$about:meta])*
        macro $contract:ident($fixture:ident) in $module:ident;
        $($(#[$promise:meta])* async fn $name:ident($argument:ident) $body:block)+
    ) => {
        $($(#[$promise])* pub async fn $name($argument: &dyn $fixture) $body)+

        $(#[$about])*
        #[macro_export]
        macro_rules! $contract {
            ($d(#[$d attribute:meta])+ $d made:expr) => {
                $($d(#[$d attribute])+ async fn $name() {
                    $crate::contract::$module::$name(&$d made).await;
                })+
            };
        }
    };
}

pub mod backplane;
pub mod store;
pub mod transport;
