//! The Rust SDK over the in-process transport: what [`chat_client`] drives in tests and in the simulator.

use super::client::{Heard, InProcessReceiver, InProcessSender};
use super::connector::{Dial, DialError, InProcessConnector};
use async_trait::async_trait;
use bytes::Bytes;
use chat_client::{ConnectError, Connector, Pipe, PipeLost, PipeReceiver, PipeSender, Received};
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use std::collections::VecDeque;

/// A connector for one client with a network of its own.
#[derive(Debug, Clone)]
pub struct Dialing {
    connector: InProcessConnector,
    dial: Dial,
}

impl InProcessConnector {
    /// Connects each time as `dial` says, but for the codec, which the client chooses.
    pub fn dialing(&self, dial: Dial) -> Dialing {
        Dialing {
            connector: self.clone(),
            dial,
        }
    }
}

#[async_trait]
impl Connector for InProcessConnector {
    async fn connect(&self, codec: Codec) -> Result<Pipe, ConnectError> {
        self.dialing(Dial::default()).connect(codec).await
    }
}

#[async_trait]
impl Connector for Dialing {
    async fn connect(&self, codec: Codec) -> Result<Pipe, ConnectError> {
        let mut dial = self.dial.clone();
        dial.handshake.codec = codec;
        let pipe = self.connector.connect(dial).await.map_err(|error| match error {
            DialError::Refused(refusal) => ConnectError::Busy {
                message: error.to_string(),
                retry_after: Some(refusal.retry_after),
            },
            DialError::NobodyListens => ConnectError::Unreachable(error.into()),
        })?;
        Ok(Pipe {
            sender: Box::new(pipe.sender),
            receiver: Box::new(pipe.receiver),
        })
    }
}

#[async_trait]
impl PipeSender for InProcessSender {
    async fn send(&mut self, frames: &mut VecDeque<Bytes>) -> Result<(), PipeLost> {
        self.flush().await.map_err(|_| PipeLost)?;
        while let Some(frame) = frames.pop_front() {
            Self::send(self, frame).await.map_err(|_| PipeLost)?;
        }
        Ok(())
    }

    async fn close(&mut self, code: CloseCode) {
        // A connection that is gone needs no goodbye.
        let _ = Self::close(self, code).await;
    }
}

#[async_trait]
impl PipeReceiver for InProcessReceiver {
    async fn recv(&mut self) -> Received {
        loop {
            match Self::recv(self).await {
                Heard::Frame(frame) => return Received::Frame(frame),
                Heard::Pong(_) => {}
                Heard::Closed(code, _) => return Received::Closed(Some(code)),
                Heard::Lost => return Received::Closed(None),
            }
        }
    }
}
