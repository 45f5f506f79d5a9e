//! The transport itself: takes calls from a connector.

use super::connector::Place;
use super::server::{Wires, halves};
use async_trait::async_trait;
use chat_core::engine::{Acceptor, Refusal};
use chat_core::transport::{Connection, Handshake, Stop, Transport, TransportError};
use std::io;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// One client that wants in.
#[derive(Debug)]
pub(super) struct Call {
    pub handshake: Handshake,
    pub wires: Arc<Wires>,
    pub answer: oneshot::Sender<Result<(), Refusal>>,
}

/// The in-process way in.
#[derive(Debug)]
pub struct InProcessTransport {
    place: Place,
    calls: Option<mpsc::Receiver<Call>>,
}

impl InProcessTransport {
    pub(super) fn new(place: Place) -> Self {
        Self { place, calls: None }
    }
}

#[async_trait]
impl Transport for InProcessTransport {
    async fn bind(&mut self) -> Result<String, TransportError> {
        let Some(calls) = self.place.occupy() else {
            return Err(TransportError::Bind {
                address: "in-process".to_owned(),
                source: io::ErrorKind::AddrInUse.into(),
            });
        };
        self.calls = Some(calls);
        Ok("in-process".to_owned())
    }

    async fn serve(mut self: Box<Self>, acceptor: Acceptor, stop: Stop) {
        let Some(calls) = &mut self.calls else {
            return;
        };
        loop {
            let call = tokio::select! {
                biased;
                () = stop.stopped() => return,
                call = calls.recv() => call,
            };
            let Some(call) = call else {
                return;
            };
            let permit = match acceptor.admit(call.handshake.address) {
                Ok(permit) => permit,
                Err(refusal) => {
                    let _ = call.answer.send(Err(refusal));
                    continue;
                }
            };
            if call.answer.send(Ok(())).is_err() {
                continue;
            }
            let (incoming, outlet) = halves(call.wires, call.handshake.codec);
            let connection = Connection {
                handshake: call.handshake,
                incoming,
                outlet,
            };
            let acceptor = acceptor.clone();
            // Ends with the session, which the engine ends.
            tokio::spawn(async move { acceptor.accept(connection, permit).await });
        }
    }
}
