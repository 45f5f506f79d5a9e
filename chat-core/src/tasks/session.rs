//! The task of one connection: frames in, commands begun one after the other, what waits written, until the end.

use super::feed;
use crate::admission::Place;
use crate::engine::Inner;
use crate::error::CommandError;
use crate::execute::{Begun, Caller};
use crate::hooks::{self, AuthRequest, Identity};
use crate::hub::Claim;
use crate::presence;
use crate::session::{CAPABILITIES, Session, Who};
use crate::store::Actor;
use crate::transport::{Connection, Handshake, Incoming, Received};
use chat_protocol::code::{CloseCode, ErrorCode, close_reason};
use chat_protocol::command::{AuthRefresh, Command, Token};
use chat_protocol::frame::{
    HeartbeatTimes, Hello, Outcome, Reconnect, Refreshed, Reply, Resume, ServerFrame, SessionGrant, Welcome, WireLimits,
};
use chat_protocol::id::{SessionId, UserId};
use chat_protocol::server_session::{Effect, Input, ServerSession};
use chat_protocol::{check, frame};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a connection that ends has for its last bytes.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a connection ends: with a close frame, or because it is gone.
type Ending = Option<(CloseCode, Cow<'static, str>)>;

type Answer = (u64, Result<Outcome, CommandError>);

/// Runs a connection until it is over.
pub(crate) async fn run(inner: Arc<Inner>, connection: Connection, place: Option<Place>) {
    let Connection {
        handshake,
        mut incoming,
        outlet,
    } = connection;
    let format = inner.formats.intern(handshake.codec, outlet.framing());
    let session = Session::new(inner.next_serial(), format, outlet, &inner.limits, inner.memory.clone());
    let machine = ServerSession::new(
        inner.limits.connection.clone(),
        handshake.codec,
        Instant::now().into_std(),
    );
    let mut task = Task {
        attached: Attached {
            inner: inner.clone(),
            session: session.clone(),
            entered: false,
        },
        inner,
        session,
        machine,
        handshake,
        place,
        effects: Vec::new(),
        judging: None,
        resume: Resume::default(),
        feed: None,
        unshown: None,
        requests: VecDeque::new(),
        beginning: None,
        answers: FuturesUnordered::new(),
        held: false,
    };
    let ending = task.serve(incoming.as_mut()).await;
    task.farewell(incoming.as_mut(), ending).await;
}

struct Task {
    /// Takes the session out of every index when the task is dropped, however it ends.
    attached: Attached,
    inner: Arc<Inner>,
    session: Arc<Session>,
    machine: ServerSession,
    handshake: Handshake,
    place: Option<Place>,
    effects: Vec<Effect>,
    judging: Option<BoxFuture<'static, (Hello, Judged)>>,
    /// Collects the chunks of resume.
    resume: Resume,
    feed: Option<BoxFuture<'static, ()>>,
    /// Whose display data the store did not take in time; the feed goes on.
    unshown: Option<Identity>,
    requests: VecDeque<(u64, Command)>,
    /// The one command that is being begun; the next waits, so that the order sent is the order of effect.
    beginning: Option<BoxFuture<'static, (u64, Begun)>>,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// What the machine was told last about silence.
    held: bool,
}

/// What woke the task.
#[expect(clippy::large_enum_variant, reason = "one lives at a time, on the task's own frame")]
enum Woken {
    Received(Received),
    Judged(Box<(Hello, Judged)>),
    Begun(u64, Begun),
    Answered(Answer),
    Writable,
    Nudged,
    Deadline,
}

/// What the host said of a hello.
enum Judged {
    Admitted(Identity),
    Refused,
    /// Nothing, in time.
    Unknown,
}

impl Task {
    async fn serve(&mut self, incoming: &mut dyn Incoming) -> Ending {
        loop {
            if let Some(ending) = self.carry_out() {
                return ending;
            }
            if let Some(ending) = self.is_over() {
                return ending;
            }
            self.hold_silence();
            let woken = self.wait(incoming).await;
            let now = Instant::now().into_std();
            match woken {
                Woken::Received(Received::Frame(bytes)) => {
                    self.machine.handle(Input::Frame(bytes), now, &mut self.effects);
                }
                Woken::Received(Received::Answer(bytes)) => self.session.reply_wire(bytes),
                Woken::Received(Received::Closed(answer)) => {
                    if let Some(bytes) = answer {
                        self.session.reply_wire(bytes);
                    }
                    return None;
                }
                Woken::Received(Received::Violation(code, reason)) => return Some((code, reason.into())),
                Woken::Received(Received::Lost) => return None,
                Woken::Judged(judged) => {
                    let (hello, judged) = *judged;
                    if let Some(ending) = self.judged(hello, judged).await {
                        return ending;
                    }
                }
                Woken::Begun(req, begun) => self.begun(req, begun),
                Woken::Answered((req, result)) => self.answer(req, result, now),
                Woken::Writable => {
                    if self.session.flush().is_err() {
                        return None;
                    }
                }
                Woken::Nudged => {
                    if self.session.take_verify() {
                        self.machine.handle(Input::Doubted, now, &mut self.effects);
                    }
                }
                Woken::Deadline => self.machine.handle(Input::Tick, now, &mut self.effects),
            }
        }
    }

    /// While something waits for the socket its progress decides, and what is not read cannot be heard: silence is the
    /// peer's only when neither is so.
    fn hold_silence(&mut self) {
        let held = self.session.waiting_since().is_some() || self.session.draining().is_some();
        if held != self.held {
            self.held = held;
            let now = Instant::now().into_std();
            self.machine.handle(Input::Held(held), now, &mut self.effects);
        }
    }

    /// Waits for the next thing; every arm only says what happened.
    async fn wait(&mut self, incoming: &mut dyn Incoming) -> Woken {
        let session = &self.session;
        let waiting_since = session.waiting_since();
        let stalled = waiting_since.map(|since| since + self.inner.limits.write_stall_max);
        let deadline = [self.machine.deadline().map(Instant::from_std), stalled]
            .into_iter()
            .flatten()
            .min();
        // The replies that wait count as commands in flight: a client that does not read is not read from.
        let reads = self.machine.wants_frame(Instant::now().into_std())
            && session.replies_waiting() < self.inner.limits.connection.commands_in_flight_max
            && session.draining().is_none();
        tokio::select! {
            biased;
            () = session.wake.notified() => Woken::Nudged,
            Some((req, begun)) = maybe(&mut self.beginning) => Woken::Begun(req, begun),
            Some(answer) = self.answers.next(), if !self.answers.is_empty() => Woken::Answered(answer),
            Some(judged) = maybe(&mut self.judging) => Woken::Judged(Box::new(judged)),
            () = async { session.outlet.writable().await.unwrap_or(()) }, if waiting_since.is_some() => Woken::Writable,
            received = incoming.recv(), if reads => Woken::Received(received),
            Some(()) = maybe(&mut self.feed) => Woken::Nudged,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Woken::Deadline,
        }
    }

    /// Whether something outside this task ended the session.
    fn is_over(&self) -> Option<Ending> {
        if self.session.is_lost() {
            return Some(None);
        }
        if let Some((code, reason)) = self.session.ending() {
            return Some(Some((code, reason.into())));
        }
        if let Some(since) = self.session.waiting_since()
            && since.elapsed() >= self.inner.limits.write_stall_max
        {
            return Some(Some((CloseCode::SlowConsumer, CloseCode::SlowConsumer.reason().into())));
        }
        let idle = self.requests.is_empty() && self.beginning.is_none() && self.answers.is_empty();
        match self.session.draining() {
            Some(after_ms) if idle => {
                self.session.send(&ServerFrame::Reconnect(Reconnect { after_ms }));
                Some(Some((CloseCode::Restart, CloseCode::Restart.reason().into())))
            }
            _ => None,
        }
    }

    /// Does what the machine says.
    fn carry_out(&mut self) -> Option<Ending> {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Judge(hello) => {
                    self.judging = Some(Box::pin(judge(self.inner.clone(), self.handshake.clone(), hello)))
                }
                Effect::Resume(chunk) => self.take_resume(chunk),
                Effect::Run { req, command } => self.requests.push_back((req, command)),
                Effect::Send(frame) => self.session.reply(&frame),
                Effect::Close(code, reason) => return Some(Some((code, reason))),
            }
        }
        self.begin_next();
        None
    }

    // ---- hello and resume --------------------------------------------------------------------------------------

    async fn judged(&mut self, hello: Hello, judged: Judged) -> Option<Ending> {
        let end = |code: CloseCode| Some(Some((code, Cow::from(code.reason()))));
        let identity = match judged {
            Judged::Admitted(identity) => identity,
            Judged::Refused => return end(CloseCode::AuthFailed),
            Judged::Unknown => return end(CloseCode::Overload),
        };
        if self.inner.is_draining() {
            return end(CloseCode::Restart);
        }
        let now = self.inner.clock.now();
        let expires_in = self.inner.time_left(&identity);
        if expires_in.is_some_and(|left| left.is_zero()) {
            return end(CloseCode::AuthFailed);
        }
        if let Some(place) = &mut self.place {
            place.authenticated();
        }
        let user = identity.user.clone();
        let resumed = hello
            .session
            .filter(|grant| proves(&self.inner, grant, &user))
            .map(|grant| grant.id);
        let id = resumed.unwrap_or_else(|| SessionId::from_parts(now.0, self.inner.entropy.for_id()));
        let wanted = |known: &&str| hello.wants.iter().any(|wanted| wanted == known);
        let capabilities: BTreeSet<&'static str> = CAPABILITIES.into_iter().filter(wanted).collect();
        self.session.identify(Who {
            user: user.clone(),
            session: id,
            attempt: hello.attempt,
            capabilities: capabilities.clone(),
        });
        match self.inner.hub.claim(id, hello.attempt, &self.session) {
            Claim::Stale => return end(CloseCode::Replaced),
            Claim::Taken(older) => {
                if let Some(older) = older {
                    older.end(CloseCode::Replaced, CloseCode::Replaced.reason());
                    // Its place among the user's connections is this one's now.
                    self.inner.hub.leave(&user, &older);
                }
            }
        }
        self.attached.entered = true;
        let connections = self.inner.hub.enter(&user, &self.session);
        self.inner.presence(presence::Input::Connected(user.clone()));
        // Again: a drain that began since the look above told those sessions that had entered by then.
        if self.inner.is_draining() {
            return end(CloseCode::Restart);
        }
        // Neither is a proof good that was brought before a revocation, and is judged behind it.
        if self.inner.was_revoked(&user, self.session.since) {
            return end(CloseCode::SessionRevoked);
        }
        if connections > self.inner.limits.connections_per_user_max {
            return end(CloseCode::ConnectionLimit);
        }
        if resumed.is_some() {
            self.inner.ring_session(id, hello.attempt);
        }
        let kept = self.inner.in_turn(self.inner.keep_display(&identity));
        if !matches!(timeout(self.inner.limits.store_timeout, kept).await, Ok(Ok(()))) {
            // A busy store is no reason to keep a client waiting, who would hang up and come again.
            self.unshown = Some(identity);
        }
        self.machine.handle(
            Input::Admitted { expires_in },
            Instant::now().into_std(),
            &mut self.effects,
        );
        let grant = SessionGrant {
            id,
            secret: secret(&self.inner, id, &user),
        };
        self.session.send(&ServerFrame::Welcome(Welcome {
            session: grant,
            user,
            epoch: self.inner.epoch(),
            limits: self.wire_limits(),
            heartbeat: HeartbeatTimes {
                interval_ms: millis(self.inner.limits.connection.heartbeat_interval),
                timeout_ms: millis(self.inner.limits.connection.heartbeat_timeout),
            },
            capabilities: capabilities.into_iter().map(str::to_owned).collect(),
            at: now,
            expires_in_ms: expires_in.map(millis),
        }));
        None
    }

    fn wire_limits(&self) -> WireLimits {
        WireLimits {
            frame_bytes_max: self.inner.limits.connection.frame_bytes_max as u64,
            text_bytes_max: check::TEXT_BYTES_MAX as u64,
            meta_bytes_max: check::META_BYTES_MAX as u64,
            commands_in_flight_max: self.inner.limits.connection.commands_in_flight_max as u64,
        }
    }

    fn take_resume(&mut self, chunk: Resume) {
        let frame::Resume {
            epoch,
            revision,
            cursors,
            max,
            last,
        } = chunk;
        self.resume.epoch = self.resume.epoch.or(epoch);
        self.resume.revision = self.resume.revision.or(revision);
        self.resume.max = self.resume.max.or(max);
        self.resume.cursors.extend(cursors);
        if last {
            let resume = std::mem::take(&mut self.resume);
            self.feed = Some(Box::pin(feed::run(
                self.inner.clone(),
                self.session.clone(),
                self.unshown.take(),
                resume,
            )));
        }
    }

    // ---- commands ----------------------------------------------------------------------------------------------

    fn begin_next(&mut self) {
        if self.beginning.is_some() {
            return;
        }
        let Some((req, command)) = self.requests.pop_front() else {
            return;
        };
        let Some(who) = self.session.who() else { return };
        let (inner, user) = (self.inner.clone(), who.user.clone());
        if let Command::AuthRefresh(AuthRefresh { token }) = command {
            let handshake = self.handshake.clone();
            self.answers.push(Box::pin(async move {
                (req, refresh(&inner, &handshake, &user, token).await)
            }));
            return self.begin_next();
        }
        let caller = Caller {
            actor: Actor::User(user),
            session: Some(self.session.clone()),
        };
        self.beginning = Some(Box::pin(async move { (req, inner.begin(&caller, command).await) }));
    }

    fn begun(&mut self, req: u64, begun: Begun) {
        match begun {
            Begun::Done(result) => self.answer(req, *result, Instant::now().into_std()),
            Begun::Waiting(answer) => {
                let inner = self.inner.clone();
                self.answers
                    .push(Box::pin(async move { (req, inner.finish(answer).await) }));
            }
        }
    }

    fn answer(&mut self, req: u64, result: Result<Outcome, CommandError>, now: std::time::Instant) {
        if let Ok(Outcome::Refreshed(Refreshed { expires_in_ms })) = &result {
            let expires_in = expires_in_ms.map(Duration::from_millis);
            self.machine
                .handle(Input::Refreshed { expires_in }, now, &mut self.effects);
        }
        let refused = result.as_ref().err().map(|error| error.code().clone());
        self.session.reply(&match result {
            Ok(result) => ServerFrame::Reply(Reply { req, result }),
            Err(error) => ServerFrame::Error(error.frame(req)),
        });
        self.machine.handle(Input::Answered { refused }, now, &mut self.effects);
    }

    // ---- the end -----------------------------------------------------------------------------------------------

    /// Writes what waits and the close frame, as far as the socket takes them in a bounded time.
    async fn farewell(&mut self, incoming: &mut dyn Incoming, ending: Ending) {
        // Nobody asks the store for what this session missed: it would keep a place and a connection, and wait for nobody.
        self.feed = None;
        self.attached.detach();
        if self.session.is_lost() {
            return;
        }
        let closes = ending.is_some();
        if let Some((code, reason)) = ending {
            metrics::counter!("chat_closes_total", "code" => code.number().to_string()).increment(1);
            let framing = self.session.format.framing();
            if let Some(bytes) = (framing.close)(code, &close_reason(&reason)) {
                self.session.reply_wire(bytes);
            }
        }
        let session = &self.session;
        let _ = timeout(FAREWELL, async {
            while session.waiting_since().is_some() {
                if session.outlet.writable().await.is_err() || session.flush().is_err() {
                    return;
                }
            }
        })
        .await;
        if closes || self.session.waiting_since().is_none() {
            let _ = timeout(FAREWELL * 2, incoming.linger()).await;
        }
    }
}

/// What takes a session out of every index.
struct Attached {
    inner: Arc<Inner>,
    session: Arc<Session>,
    entered: bool,
}

impl Attached {
    fn detach(&mut self) {
        let hub = &self.inner.hub;
        self.session.unlisten_all(hub);
        self.session.watch_users(hub, Vec::new());
        self.session.watch_conversations(hub, Vec::new());
        if std::mem::take(&mut self.entered)
            && let Some(who) = self.session.who()
        {
            hub.leave(&who.user, &self.session);
            hub.release(who.session, self.session.serial);
            self.inner.presence(presence::Input::Disconnected(who.user.clone()));
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Finishes what is there, and waits for ever when nothing is.
async fn maybe<T>(slot: &mut Option<BoxFuture<'static, T>>) -> Option<T> {
    let value = slot.as_mut()?.await;
    *slot = None;
    Some(value)
}

/// Asks the host who somebody is.
async fn judge(inner: Arc<Inner>, handshake: Handshake, hello: Hello) -> (Hello, Judged) {
    if hello.token.is_none()
        && hello.guest.is_none()
        && let Some(identity) = handshake.identity.clone()
    {
        return (hello, Judged::Admitted(identity));
    }
    let request = AuthRequest {
        token: hello.token.clone().or_else(|| handshake.token.clone()),
        guest: hello.guest.clone(),
        address: handshake.address,
    };
    let judged = match hooks::ask(inner.limits.hook_timeout, inner.hooks.authenticate(request)).await {
        Some(Ok(identity)) => Judged::Admitted(identity),
        Some(Err(refused)) => {
            tracing::debug!(reason = %refused, "hello refused");
            Judged::Refused
        }
        None => Judged::Unknown,
    };
    (hello, judged)
}

/// Asks the host about a fresh token, which must be of the same user.
async fn refresh(inner: &Inner, handshake: &Handshake, user: &UserId, token: Token) -> Result<Outcome, CommandError> {
    let request = AuthRequest {
        token: Some(token),
        guest: None,
        address: handshake.address,
    };
    let refused = || CommandError::new(ErrorCode::Forbidden, "the token was refused: bring a fresh one");
    let identity = match hooks::ask(inner.limits.hook_timeout, inner.hooks.authenticate(request)).await {
        Some(Ok(identity)) if identity.user == *user => identity,
        Some(_) => return Err(refused()),
        None => return Err(CommandError::unavailable()),
    };
    let expires_in = inner.time_left(&identity);
    if expires_in.is_some_and(|left| left.is_zero()) {
        return Err(refused());
    }
    Ok(Outcome::Refreshed(Refreshed {
        expires_in_ms: expires_in.map(millis),
    }))
}

/// The proof of a session: any node can check it, none has to remember it.
fn proof(inner: &Inner, id: SessionId, user: &UserId) -> Hmac<Sha256> {
    let mut mac =
        <Hmac<Sha256> as Mac>::new_from_slice(&inner.identity.cluster_key.0).expect("HMAC takes a key of any length");
    mac.update(b"chat session 1");
    mac.update(id.as_uuid().as_bytes());
    mac.update(user.as_str().as_bytes());
    mac
}

fn secret(inner: &Inner, id: SessionId, user: &UserId) -> String {
    proof(inner, id, user)
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn proves(inner: &Inner, grant: &SessionGrant, user: &UserId) -> bool {
    let Some(bytes) = unhex(&grant.secret) else {
        return false;
    };
    proof(inner, grant.id, user).verify_slice(&bytes).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() != 64 {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
