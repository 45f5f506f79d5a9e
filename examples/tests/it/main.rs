//! Stories over the real binaries: chat-server and the line client, started, killed and started again.

#[cfg(feature = "postgres-tests")]
mod bells;
#[cfg(all(feature = "nats-tests", feature = "redis-tests"))]
mod brokers;
mod hosts;
mod jwt;
mod line_clients;
mod mounted;
mod operations;
mod order_service;
#[cfg(feature = "postgres-tests")]
mod postgres;
mod process;
mod server;
mod signer;
mod stores;
/// Its tests are what this example shows. Cargo builds an example to be run or to be tested, and the first is needed too.
#[path = "../../examples/testing_your_host.rs"]
#[expect(dead_code, reason = "nobody calls its main here")]
mod testing_your_host;
mod tls;
mod tokens;
mod wire;
