//! A client that says exactly what it is told, frame by frame: for tests of what the engine answers.
//!
//! It never mends anything, and is strict where a real client is lenient: an event that comes twice, out of order, or
//! of a conversation that was never announced is a panic.

mod memory;

use crate::transport::{Dial, Heard, InProcessConnector, InProcessPipe};
use chat_core::code::CloseCode;
use chat_core::codec::Codec;
use chat_core::command::Command;
use chat_core::event::Event;
use chat_core::frame::{ClientFrame, ErrorFrame, Hello, LogItem, Outcome, Resume, ServerFrame, Stored, Welcome};
pub use memory::Memory;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long an expected frame may take, in the runtime's time.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client that says exactly what it is told.
#[derive(Debug)]
pub struct Wire {
    pipe: InProcessPipe,
    codec: Codec,
    next_req: u64,
    heard: VecDeque<ServerFrame>,
    memory: Memory,
}

/// The answer to a command.
pub type Answer = Result<Outcome, ErrorFrame>;

/// How a connection ended: with a close code and its reason, or without a word.
pub type Ending = Option<(CloseCode, String)>;

impl Wire {
    /// Connects and says nothing.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn dial(connector: &InProcessConnector, dial: Dial) -> Self {
        let codec = dial.handshake.codec;
        let pipe = connector.connect(dial).await.expect("the engine listens");
        Self {
            pipe,
            codec,
            next_req: 0,
            heard: VecDeque::new(),
            memory: Memory::default(),
        }
    }

    /// Connects as a guest, resumes with nothing, and hears everything up to `synced`.
    pub async fn guest(connector: &InProcessConnector, name: &str) -> Self {
        let mut wire = Self::dial(connector, Dial::default()).await;
        wire.hello(Memory::hello_of(name)).await;
        wire.resume(Resume::default()).await;
        wire
    }

    /// Connects again with what an earlier connection left, and hears everything up to `synced`.
    pub async fn come_back(connector: &InProcessConnector, memory: Memory) -> (Self, Vec<ServerFrame>) {
        let mut wire = Self::dial(connector, Dial::default()).await;
        let frames = wire.go_on(memory).await;
        (wire, frames)
    }

    /// Says hello and resumes with what an earlier connection left; hears everything up to `synced`.
    pub async fn go_on(&mut self, memory: Memory) -> Vec<ServerFrame> {
        self.start(memory).await;
        self.synced().await
    }

    /// Says hello and resumes with what an earlier connection left; hears the welcome and nothing more.
    pub async fn start(&mut self, memory: Memory) -> Welcome {
        let (hello, resume) = (memory.hello(), memory.resume());
        self.memory = memory;
        let welcome = self.hello(hello).await;
        self.say(&ClientFrame::Resume(resume)).await;
        welcome
    }

    /// Says hello and hears the welcome.
    ///
    /// # Panics
    /// When the answer is anything else.
    pub async fn hello(&mut self, hello: Hello) -> Welcome {
        self.memory.attempt = hello.attempt;
        self.say(&ClientFrame::Hello(hello)).await;
        match self.next().await {
            ServerFrame::Welcome(welcome) => welcome,
            other => panic!("expected a welcome, heard {other:?}"),
        }
    }

    /// Resumes and hears everything up to `synced`.
    pub async fn resume(&mut self, resume: Resume) -> Vec<ServerFrame> {
        self.say(&ClientFrame::Resume(Resume { last: true, ..resume })).await;
        self.synced().await
    }

    /// Hears everything up to `synced`.
    pub async fn synced(&mut self) -> Vec<ServerFrame> {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                ServerFrame::Synced(_) => return frames,
                frame => frames.push(frame),
            }
        }
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn say(&mut self, frame: &ClientFrame) {
        self.say_bytes(&self.codec.encode(frame)).await;
    }

    /// Sends a payload that may be no frame of the protocol.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn say_bytes(&mut self, payload: &[u8]) {
        self.pipe.send(payload).await.expect("the connection is open");
    }

    /// Sends a command without waiting for its answer; gives its number.
    pub async fn begin(&mut self, command: impl Into<Command>) -> u64 {
        self.next_req += 1;
        let req = self.next_req;
        let command = command.into();
        self.say(&ClientFrame::Command { req, command }).await;
        req
    }

    /// Hears the answer to a command; whatever else comes meanwhile is kept for [`next`](Self::next).
    pub async fn answer(&mut self, req: u64) -> Answer {
        let mut kept = VecDeque::new();
        let answer = loop {
            match self.next().await {
                ServerFrame::Reply(reply) if reply.req == req => break Ok(reply.result),
                ServerFrame::Error(error) if error.req == Some(req) => break Err(error),
                other => kept.push_back(other),
            }
        };
        kept.append(&mut self.heard);
        self.heard = kept;
        answer
    }

    /// Asks and hears the answer; whatever else comes meanwhile is kept for [`next`](Self::next).
    pub async fn ask(&mut self, command: impl Into<Command>) -> Answer {
        let req = self.begin(command).await;
        self.answer(req).await
    }

    /// Asks for something that is stored.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn stored(&mut self, command: impl Into<Command>) -> Stored {
        match self.ask(command).await {
            Ok(Outcome::Stored(stored)) => stored,
            other => panic!("expected it stored, heard {other:?}"),
        }
    }

    /// Asks for something that is done.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn done(&mut self, command: impl Into<Command>) {
        match self.ask(command).await {
            Ok(Outcome::Done {}) => {}
            other => panic!("expected it done, heard {other:?}"),
        }
    }

    /// Asks for something that is refused.
    ///
    /// # Panics
    /// When it is granted.
    pub async fn refused(&mut self, command: impl Into<Command>) -> ErrorFrame {
        match self.ask(command).await {
            Err(error) => error,
            Ok(outcome) => panic!("expected a refusal, heard {outcome:?}"),
        }
    }

    /// The next frame but pings.
    ///
    /// # Panics
    /// When none comes, or the connection ends.
    pub async fn next(&mut self) -> ServerFrame {
        match self.hear().await {
            Ok(frame) => frame,
            Err(ended) => panic!("expected a frame, but the connection ended: {ended:?}"),
        }
    }

    /// The next frame but pings, or how the connection ended.
    ///
    /// # Errors
    /// How the connection ended.
    ///
    /// # Panics
    /// When nothing comes for a long time, or what comes is out of order.
    pub async fn hear(&mut self) -> Result<ServerFrame, Ending> {
        if let Some(frame) = self.heard.pop_front() {
            return Ok(frame);
        }
        // One deadline for all: a peer that only pings says nothing.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let heard = timeout_at(deadline, self.pipe.recv());
            match heard.await.expect("something is heard in time") {
                Heard::Frame(bytes) => match self
                    .codec
                    .decode_server(&bytes)
                    .expect("the engine speaks the protocol")
                {
                    // A connection that closes may not take the answer any more.
                    ServerFrame::Ping => _ = self.pipe.send(self.codec.encode(&ClientFrame::Pong)).await,
                    frame => {
                        self.memory.take(&frame);
                        return Ok(frame);
                    }
                },
                Heard::Pong(_) => {}
                Heard::Closed(code, reason) => return Err(Some((code, reason))),
                Heard::Lost => return Err(None),
            }
        }
    }

    /// Hears everything up to the end of the connection, and how it ended.
    pub async fn ending(&mut self) -> (Vec<ServerFrame>, Ending) {
        let mut frames = Vec::new();
        loop {
            match self.hear().await {
                Ok(frame) => frames.push(frame),
                Err(ending) => return (frames, ending),
            }
        }
    }

    /// Hears everything up to the end of the connection; the code with which it was closed.
    ///
    /// # Panics
    /// When it ended without a word.
    pub async fn closed(&mut self) -> CloseCode {
        let (_, ending) = self.ending().await;
        ending.expect("the engine says why it closes").0
    }

    /// The next event, whether it comes alone or in a page; what else comes before it is dropped.
    pub async fn event(&mut self) -> Event {
        loop {
            match self.next().await {
                ServerFrame::Event(event) => return event,
                ServerFrame::Page(page) => {
                    for item in page.items.into_iter().rev() {
                        self.heard.push_front(match item {
                            LogItem::Event(event) => ServerFrame::Event(event),
                            LogItem::Skip(skip) => ServerFrame::Skip(skip),
                        });
                    }
                }
                _ => {}
            }
        }
    }

    /// The frames that come while nothing else happens.
    pub async fn drain(&mut self) -> Vec<ServerFrame> {
        self.drain_for(Duration::from_millis(50)).await
    }

    /// The frames that come until it has been quiet for so long.
    pub async fn drain_for(&mut self, quiet: Duration) -> Vec<ServerFrame> {
        let mut frames: Vec<_> = self.heard.drain(..).collect();
        while let Ok(Ok(frame)) = timeout(quiet, self.hear()).await {
            frames.push(frame);
        }
        frames
    }

    /// What a client keeps beyond its connection.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Goes away without a word; what is kept raises the attempt for the next connection.
    pub fn leave(self) -> Memory {
        self.memory
    }

    /// The connection itself and the network under it.
    pub fn pipe(&mut self) -> &mut InProcessPipe {
        &mut self.pipe
    }
}

/// The events in frames, those in pages included, in the order in which they came.
pub fn events(frames: &[ServerFrame]) -> Vec<&Event> {
    let mut events = Vec::new();
    for frame in frames {
        match frame {
            ServerFrame::Event(event) => events.push(event),
            ServerFrame::Page(page) => events.extend(page.items.iter().filter_map(|item| match item {
                LogItem::Event(event) => Some(event),
                LogItem::Skip(_) => None,
            })),
            _ => {}
        }
    }
    events
}
