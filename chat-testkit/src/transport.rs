//! A transport in this process: for tests without sockets, with knobs for everything that a network may do wrong.
//!
//! Bytes travel through two bounded pipes, framed by a kind and a length, so that half frames and full buffers happen
//! as they do on a socket. On one thread under paused time it is deterministic: it starts no task but one a
//! connection, and draws no numbers.

mod client;
mod connector;
mod framing;
mod listener;
mod pipe;
mod sdk;
mod server;

pub use client::{Heard, InProcessPipe, InProcessReceiver, InProcessSender};
pub use connector::{Dial, DialError, InProcessConnector, Link};
pub use framing::FRAMING;
pub use listener::InProcessTransport;
pub use sdk::Dialing;

/// Makes a transport for the builder of an engine and the connector that reaches it.
///
/// ```
/// # use chat_core::{engine::Acceptor, transport::{Received, Stop, Transport}};
/// # use chat_testkit::transport::{Dial, in_process};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut transport, connector) = in_process();
/// # transport.bind().await?;
/// # let acceptor = Acceptor::probe(|mut connection| async move {
/// #     assert_eq!(connection.incoming.recv().await, Received::Frame("hello".into()));
/// # });
/// # let stop = Stop::default();
/// # tokio::spawn(Box::new(transport).serve(acceptor, stop));
/// let mut pipe = connector.connect(Dial::default()).await?;
/// pipe.send(b"hello").await?;
/// pipe.link().cut();
/// # Ok(())
/// # }
/// ```
pub fn in_process() -> (InProcessTransport, InProcessConnector) {
    let connector = InProcessConnector::new();
    (connector.transport(), connector)
}
