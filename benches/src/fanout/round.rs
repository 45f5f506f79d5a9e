//! Servers under load: everything sent is counted, at every receiver, in its order.

use super::Kind;
use super::client::{self, Reader, Told};
use super::process::Server;
use crate::load::Shape;
use futures_util::future::try_join_all;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How many connect at once.
const CONNECTING: usize = 64;
/// Load before each measurement, so that caches, buffers and the allocator have seen it.
const WARM_UP: Duration = Duration::from_millis(500);
/// What has not arrived so long after the last message was sent is lost.
const LOST_AFTER: Duration = Duration::from_secs(10);
/// What a client reads at once.
const READ_BYTES: usize = 16 * 1024;

/// How messages are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drive {
    /// At this many a second, evenly, whatever the server does.
    Paced { rate: u32 },
    /// The next in a conversation when one has reached all its members.
    Full { window: usize },
}

/// What came of one measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// The servers' CPU time for one message to one member, in µs.
    pub cpu: f64,
    pub per_second: f64,
    /// From sending to receiving, in ms.
    pub median: f64,
    pub p99: f64,
    /// Bytes of one event on the wire.
    pub bytes: f64,
}

/// Connects every member, each to the next of these servers, and measures each way of sending.
pub(crate) fn measure<const N: usize>(
    kind: Kind,
    shape: Shape,
    servers: &[Server],
    drives: &[Drive; N],
    time: Duration,
) -> Result<[Figures; N], Box<dyn Error>> {
    let ports: Vec<u16> = servers.iter().map(|server| server.port).collect();
    let cpu = || servers.iter().map(Server::cpu).sum::<Result<Duration, _>>();
    // One thread for all clients: the rest of the machine is the server's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = || async {
        let crowd = Crowd::connect(kind, &ports, shape).await?;
        let mut figures = Vec::with_capacity(N);
        for drive in drives {
            crowd.drive(*drive, WARM_UP).await?;
            let before = cpu()?;
            let phase = crowd.drive(*drive, time).await?;
            figures.push(phase.figures(cpu()? - before));
        }
        figures
            .try_into()
            .map_err(|_| Box::<dyn Error>::from("a measurement is missing"))
    };
    LocalSet::new()
        .block_on(&runtime, run())
        .map_err(|error| format!("{}: {error}", kind.name()).into())
}

/// All clients of one server.
#[derive(Clone)]
struct Crowd(Rc<Shared>);

struct Shared {
    kind: Kind,
    shape: Shape,
    clients: Vec<Client>,
    phase: RefCell<Phase>,
    /// Everything sent has arrived, or something went wrong.
    over: Notify,
}

struct Client {
    stream: TcpStream,
    conversation: usize,
    /// The seq of the last event, once there was one.
    last: Cell<Option<u64>>,
}

/// What is counted between two quiet moments.
struct Phase {
    /// The number of its first message: numbers go on from phase to phase.
    first: usize,
    /// For each message when it was sent and how many have yet to get it.
    sent: Vec<(Instant, usize)>,
    /// Messages whose sender has no answer yet.
    unanswered: usize,
    /// Messages that have not reached all.
    under_way: usize,
    /// When full load ends; nothing is sent in answer to a delivery otherwise.
    full_until: Option<Instant>,
    /// Whether nothing more will be sent.
    all_sent: bool,
    began: Instant,
    ended: Instant,
    bytes: u64,
    /// Of each delivery, in µs.
    latencies: Vec<u32>,
    failure: Option<String>,
}

impl Crowd {
    async fn connect(kind: Kind, ports: &[u16], shape: Shape) -> Result<Self, Box<dyn Error>> {
        let mut clients = Vec::with_capacity(shape.connections());
        let members: Vec<_> = (0..shape.conversations)
            .flat_map(|conversation| (0..shape.members).map(move |member| (conversation, member)))
            .collect();
        for some in members.chunks(CONNECTING) {
            let streams = try_join_all(some.iter().map(|(conversation, member)| {
                client::connect(kind, ports[member % ports.len()], *conversation, *member)
            }));
            let streams = timeout(LOST_AFTER, streams)
                .await
                .map_err(|_| "clients do not get in")??;
            clients.extend(streams.into_iter().zip(some).map(|(stream, (conversation, _))| Client {
                stream,
                conversation: *conversation,
                last: Cell::new(None),
            }));
        }
        let crowd = Self(Rc::new(Shared {
            kind,
            shape,
            clients,
            phase: RefCell::new(Phase::new(0)),
            over: Notify::new(),
        }));
        for index in 0..shape.connections() {
            let crowd = crowd.clone();
            tokio::task::spawn_local(async move {
                let Err(error) = crowd.listen(index).await;
                crowd.fail(error.to_string());
            });
        }
        Ok(crowd)
    }

    /// Sends for a while and waits until everything has arrived.
    async fn drive(&self, drive: Drive, time: Duration) -> Result<Phase, Box<dyn Error>> {
        let first = {
            let phase = self.0.phase.borrow();
            phase.first + phase.sent.len()
        };
        *self.0.phase.borrow_mut() = Phase::new(first);
        let began = Instant::now();
        match drive {
            Drive::Paced { rate } => {
                let count = time.as_millis() as u64 * u64::from(rate) / 1000;
                for number in 0..count {
                    sleep_until(began + Duration::from_micros(number * 1_000_000 / u64::from(rate))).await;
                    self.send(number as usize % self.0.shape.conversations)?;
                }
            }
            Drive::Full { window } => {
                self.0.phase.borrow_mut().full_until = Some(began + time);
                for _ in 0..window {
                    for conversation in 0..self.0.shape.conversations {
                        self.send(conversation)?;
                    }
                }
                sleep_until(began + time).await;
            }
        }
        self.0.phase.borrow_mut().all_sent = true;
        let arrived = timeout(LOST_AFTER, async {
            while !self.0.phase.borrow().is_over() {
                self.0.over.notified().await;
            }
        });
        let arrived = arrived.await.is_ok();
        let phase = self.0.phase.replace(Phase::new(0));
        self.0.phase.borrow_mut().first = phase.first + phase.sent.len();
        match &phase.failure {
            Some(failure) => Err(failure.clone().into()),
            None if !arrived => Err(phase.lost().into()),
            None => Ok(phase),
        }
    }

    /// Sends the next message; the members of a conversation take turns.
    fn send(&self, conversation: usize) -> Result<(), Box<dyn Error>> {
        let shape = self.0.shape;
        let number = {
            let mut phase = self.0.phase.borrow_mut();
            phase.sent.push((Instant::now(), shape.members));
            phase.unanswered += 1;
            phase.under_way += 1;
            phase.first + phase.sent.len() - 1
        };
        let member = number / shape.conversations % shape.members;
        let frame = client::send(self.0.kind, conversation, number);
        self.write(&self.0.clients[conversation * shape.members + member], &frame)
    }

    fn write(&self, client: &Client, frame: &[u8]) -> Result<(), Box<dyn Error>> {
        match client.stream.try_write(frame) {
            Ok(written) if written == frame.len() => Ok(()),
            Ok(_) => Err("the server does not read".into()),
            Err(error) => Err(format!("the server does not read: {error}").into()),
        }
    }

    /// Reads one client's socket for as long as it lives.
    async fn listen(&self, index: usize) -> Result<std::convert::Infallible, Box<dyn Error>> {
        let client = &self.0.clients[index];
        let (mut reader, mut told) = (Reader::default(), Vec::new());
        let mut buffer = vec![0; READ_BYTES];
        loop {
            client.stream.readable().await?;
            match client.stream.try_read(&mut buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => reader.read(&buffer[..count], &mut told)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            let now = Instant::now();
            for told in told.drain(..) {
                match told {
                    Told::Message { seq, number, bytes } => self.received(client, (seq, number, bytes), now)?,
                    Told::Taken => self.answered()?,
                    Told::Ping => self.write(client, &client::pong())?,
                }
            }
        }
    }

    fn received(
        &self,
        client: &Client,
        (seq, number, bytes): (u64, usize, usize),
        now: Instant,
    ) -> Result<(), Box<dyn Error>> {
        let before = client.last.replace(Some(seq));
        if before.is_some_and(|before| before + 1 != seq) {
            return Err(format!("out of order: seq {seq} after {before:?}").into());
        }
        let sends_on = {
            let mut phase = self.0.phase.borrow_mut();
            let phase = &mut *phase;
            let message = number.checked_sub(phase.first).and_then(|at| phase.sent.get_mut(at));
            let Some((sent, left @ 1..)) = message else {
                return Err(format!("message {number} came once more than it has receivers").into());
            };
            *left -= 1;
            phase.bytes += bytes as u64;
            phase.latencies.push((now - *sent).as_micros() as u32);
            let is_whole = *left == 0;
            if is_whole {
                phase.under_way -= 1;
                phase.ended = now;
            }
            is_whole && phase.full_until.is_some_and(|until| now < until)
        };
        if sends_on {
            self.send(client.conversation)?;
        }
        self.look_for_the_end();
        Ok(())
    }

    fn answered(&self) -> Result<(), Box<dyn Error>> {
        {
            let mut phase = self.0.phase.borrow_mut();
            phase.unanswered = phase.unanswered.checked_sub(1).ok_or("one answer too many")?;
        }
        self.look_for_the_end();
        Ok(())
    }

    fn look_for_the_end(&self) {
        if self.0.phase.borrow().is_over() {
            self.0.over.notify_one();
        }
    }

    fn fail(&self, why: String) {
        self.0.phase.borrow_mut().failure.get_or_insert(why);
        self.0.over.notify_one();
    }
}

impl Phase {
    fn new(first: usize) -> Self {
        let now = Instant::now();
        Self {
            first,
            sent: Vec::new(),
            unanswered: 0,
            under_way: 0,
            full_until: None,
            all_sent: false,
            began: now,
            ended: now,
            bytes: 0,
            latencies: Vec::new(),
            failure: None,
        }
    }

    fn is_over(&self) -> bool {
        self.failure.is_some() || (self.all_sent && self.unanswered == 0 && self.under_way == 0)
    }

    fn lost(&self) -> String {
        let missing: usize = self.sent.iter().map(|(_, left)| left).sum();
        format!(
            "lost: {missing} deliveries of {} messages and {} answers did not come",
            self.under_way, self.unanswered
        )
    }

    fn figures(mut self, cpu: Duration) -> Figures {
        let count = self.latencies.len().max(1) as f64;
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let index = (self.latencies.len() as f64 * share) as usize;
            self.latencies.get(index).copied().unwrap_or(0) as f64 / 1000.0
        };
        Figures {
            cpu: cpu.as_secs_f64() * 1e6 / count,
            per_second: count / (self.ended - self.began).as_secs_f64(),
            median: at(0.5),
            p99: at(0.99),
            bytes: self.bytes as f64 / count,
        }
    }
}
