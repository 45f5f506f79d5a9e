//! The way to some node, with an ear on it: what a connection brought, before the client's own filter.
//!
//! A client drops what it has already and what it was removed from, and asks for what was left out. An application
//! behind it cannot tell a server that sends everything twice from one that does not; this can.

use crate::history::{Item, Note, Writer};
use async_trait::async_trait;
use bytes::Bytes;
use chat_client::protocol::code::CloseCode;
use chat_client::protocol::frame::{ClientFrame, ErrorFrame, LogItem, ServerFrame};
use chat_client::protocol::id::{CommandId, ConversationId};
use chat_client::{Codec, ConnectError, Connector, Pipe, PipeLost, PipeReceiver, PipeSender, Received, WsConnector};
use chat_testkit::Random;
use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Every connection takes a link by chance: no session sticks to a node. Nor does it stay: after nodes were killed in turn
/// all clients would be with the one that was not.
pub(super) struct Links {
    ways: Vec<SocketAddr>,
    stays_ms: Option<u64>,
    random: Mutex<Random>,
    history: Arc<Writer>,
    connections: AtomicU64,
}

impl Links {
    pub fn new(ways: Vec<SocketAddr>, stays_ms: Option<u64>, random: Random, history: Arc<Writer>) -> Self {
        Self {
            ways,
            stays_ms,
            random: Mutex::new(random),
            history,
            connections: AtomicU64::new(0),
        }
    }
}

#[async_trait]
impl Connector for Links {
    async fn connect(&self, codec: Codec) -> Result<Pipe, ConnectError> {
        let (way, stays) = {
            let mut random = self.random.lock().expect("no panic while the lock is held");
            let stays = self.stays_ms.map(|most| random.below(most / 4..most));
            (self.ways[random.below(0..self.ways.len() as u64) as usize], stays)
        };
        let pipe = WsConnector::new(&format!("ws://{way}/chat"))?.connect(codec).await?;
        let ear = Ear {
            connection: self.connections.fetch_add(1, Ordering::Relaxed),
            codec,
            history: self.history.clone(),
            commands: Arc::default(),
        };
        Ok(Pipe {
            sender: Box::new(Speaking {
                inner: pipe.sender,
                ear: ear.clone(),
            }),
            receiver: Box::new(Listening {
                inner: pipe.receiver,
                until: stays.map(|stays| Instant::now() + Duration::from_millis(stays)),
                ear,
            }),
        })
    }
}

struct Speaking {
    inner: Box<dyn PipeSender>,
    ear: Ear,
}

#[async_trait]
impl PipeSender for Speaking {
    async fn send(&mut self, frames: &mut VecDeque<Bytes>) -> Result<(), PipeLost> {
        // What a dropped call left is looked at again, which changes nothing: it was not sent yet.
        frames.iter().for_each(|frame| self.ear.said(frame));
        self.inner.send(frames).await
    }

    async fn close(&mut self, code: CloseCode) {
        self.inner.close(code).await;
    }
}

struct Listening {
    inner: Box<dyn PipeReceiver>,
    /// Then the client goes elsewhere.
    until: Option<Instant>,
    ear: Ear,
}

#[async_trait]
impl PipeReceiver for Listening {
    async fn recv(&mut self) -> Received {
        let moves = async {
            match self.until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        let received = tokio::select! {
            biased;
            received = self.inner.recv() => received,
            () = moves => Received::Closed(None),
        };
        if let Received::Frame(frame) = &received {
            self.ear.heard(frame);
        }
        received
    }
}

/// Durable commands of one connection that wait for their answer, by their number.
type Waiting = HashMap<u64, (ConversationId, CommandId)>;

#[derive(Clone)]
struct Ear {
    connection: u64,
    codec: Codec,
    history: Arc<Writer>,
    /// Guards what each half has to know of the other; held to add, or to take out.
    commands: Arc<Mutex<Waiting>>,
}

impl Ear {
    fn said(&self, frame: &Bytes) {
        match self.codec.decode_client(frame) {
            Ok(ClientFrame::Resume(resume)) => {
                let cursors = resume.cursors.iter().map(|cursor| (cursor.conversation, cursor.seq));
                self.history.note(Note::Resumed {
                    connection: self.connection,
                    cursors: cursors.collect(),
                });
            }
            Ok(ClientFrame::Command { req, command }) => {
                if let (Some(conversation), Some(id)) = (command.conversation(), command.id()) {
                    self.waiting(|waiting| waiting.insert(req, (conversation, id)));
                }
            }
            _ => {}
        }
    }

    fn heard(&self, frame: &Bytes) {
        let connection = self.connection;
        let heard = |conversation, items: &[LogItem]| Note::Heard {
            connection,
            conversation,
            items: items.iter().map(item).collect(),
        };
        let note = match self.codec.decode_server(frame) {
            Ok(ServerFrame::Event(event)) => heard(event.conversation, &[LogItem::Event(event)]),
            Ok(ServerFrame::Skip(skip)) => heard(skip.conversation, &[LogItem::Skip(skip)]),
            Ok(ServerFrame::Page(page)) => heard(page.conversation, &page.items),
            Ok(ServerFrame::Inbox(push)) => {
                for entry in push.entries {
                    self.history.note(Note::HeardEntry {
                        connection,
                        conversation: entry.conversation.id,
                        head: entry.head.seq,
                        joined: entry.joined,
                    });
                }
                return;
            }
            Ok(ServerFrame::Reset(reset)) => Note::HeardReset {
                connection,
                conversation: reset.conversation,
                head: reset.entry.map(|entry| entry.head.seq),
            },
            Ok(ServerFrame::Reply(reply)) => {
                self.waiting(|waiting| waiting.remove(&reply.req));
                return;
            }
            Ok(ServerFrame::Error(error)) => {
                if let Some(note) = self.refused(&error) {
                    self.history.note(note);
                }
                return;
            }
            // The client closes a connection on which it understands nothing, which leaves it behind.
            _ => return,
        };
        self.history.note(note);
    }

    /// A refusal for good settles a command on disk before the application hears of it: this hears it before both.
    fn refused(&self, error: &ErrorFrame) -> Option<Note> {
        let (conversation, id) = self.waiting(|waiting| waiting.remove(&error.req?))?;
        let is_final = !error.retryable && !error.code.is_retryable();
        is_final.then(|| Note::Refused {
            conversation,
            id,
            code: error.code.to_string(),
        })
    }

    fn waiting<T>(&self, look: impl FnOnce(&mut Waiting) -> T) -> T {
        look(&mut self.commands.lock().expect("no panic while the lock is held"))
    }
}

fn item(item: &LogItem) -> Item {
    Item {
        first: item.first(),
        last: item.position(),
        id: match item {
            LogItem::Event(event) => Some(event.id),
            LogItem::Skip(_) => None,
        },
    }
}
