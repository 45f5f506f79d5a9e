//! The server's half of a connection: hello, resume, commands, limits, heartbeat and expiry, without a socket or clock.
//!
//! Frames go in, [`Effect`]s come out. It never decides who somebody is or what a command does: that is the caller's,
//! who answers with [`Input::Admitted`], [`Input::Answered`] and [`Input::Refreshed`]. The other half is
//! [`client_session`](crate::client_session).

mod config;
mod expiry;

use crate::budget::Budget;
use crate::code::{CloseCode, ErrorCode, close_reason};
use crate::codec::{Codec, FrameError};
use crate::command::Command;
use crate::frame::{ClientFrame, ErrorFrame, Hello, Resume, ServerFrame};
use crate::heartbeat::{Beat, Heartbeat};
use bytes::Bytes;
pub use config::ServerConfig;
use expiry::{Expiry, Stage};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So long after a doubt what is read may have been sent before it.
const DOUBTED_FOR: Duration = Duration::from_secs(1);

/// What happens to a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The client sent a frame. Bring none while [`ServerSession::wants_frame`] is false.
    Frame(Bytes),
    /// The hello of [`Effect::Judge`] was found good; the caller sends `welcome` itself. One that is not good is
    /// closed by the caller.
    Admitted {
        /// How long the identity is good for.
        expires_in: Option<Duration>,
    },
    /// A command of [`Effect::Run`] has its reply or error, which the caller sends before it says so.
    Answered {
        /// The error's code: errors of the protocol count, whoever finds them.
        refused: Option<ErrorCode>,
    },
    /// A fresh token was taken; beside [`Input::Answered`] of the command that brought it.
    Refreshed {
        /// How long the new one is good for.
        expires_in: Option<Duration>,
    },
    /// Something waits for the peer's socket, or the caller reads nothing, from here on; or neither any longer. Silence
    /// does not count meanwhile: the peer may not have been asked yet, or its answer was not read. A caller that says
    /// so closes by itself when the socket makes no progress.
    Held(bool),
    /// Nothing that was heard of the peer counts any more, as after this process stood still: it is asked in a second, when
    /// what it had sent before has been read.
    Doubted,
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order.
#[expect(
    clippy::large_enum_variant,
    reason = "effects live in one reused list, moved out one by one"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Find out who this is; answer with [`Input::Admitted`] or close.
    Judge(Hello),
    /// Take in what the client has; the one marked `last` starts the catching up.
    Resume(Resume),
    /// Run a command and answer it with this number, then say [`Input::Answered`].
    Run {
        /// Repeated by reply and error.
        req: u64,
        /// What to run.
        command: Command,
    },
    /// Send a frame; it may be dropped by nobody. A caller whose peer takes nothing stops reading before many wait.
    Send(ServerFrame),
    /// Send what waits, close with this code and reason, and forget the session. Nothing comes after it.
    Close(CloseCode, Cow<'static, str>),
}

/// The server's half of one connection.
#[derive(Debug)]
pub struct ServerSession {
    config: ServerConfig,
    codec: Codec,
    phase: Phase,
    heartbeat: Heartbeat,
    expiry: Expiry,
    commands: Budget,
    pings: Budget,
    bytes: Budget,
    /// Until when nothing is read, because more bytes came than there was budget for.
    paused_until: Option<Instant>,
    in_flight: usize,
    /// When the latest protocol errors happened; at most `protocol_errors_max`.
    errors: VecDeque<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing came yet.
    Greeting { deadline: Option<Instant> },
    /// The caller finds out who it is.
    Judging,
    /// Admitted; so many cursors came.
    Resuming { cursors: usize },
    /// The last resume frame came.
    Resumed,
    /// Over.
    Closed,
}

impl ServerSession {
    /// The state right after a connection was made.
    pub fn new(config: ServerConfig, codec: Codec, now: Instant) -> Self {
        Self {
            codec,
            phase: Phase::Greeting {
                deadline: now.checked_add(config.auth_timeout),
            },
            heartbeat: Heartbeat::new(config.heartbeat_interval, config.heartbeat_timeout, now),
            expiry: Expiry::never(),
            commands: Budget::new(config.commands_per_second, config.commands_burst),
            pings: Budget::new(config.pings_per_second, config.pings_burst),
            bytes: Budget::new(config.inbound_bytes_per_second, config.inbound_bytes_burst),
            paused_until: None,
            in_flight: 0,
            errors: VecDeque::new(),
            config,
        }
    }

    /// The only way in and out.
    pub fn handle(&mut self, input: Input, now: Instant, out: &mut Vec<Effect>) {
        if self.phase == Phase::Closed {
            return;
        }
        match input {
            Input::Frame(bytes) => {
                self.heartbeat.hear(now);
                self.frame(&bytes, now, out);
            }
            Input::Admitted { expires_in } => {
                if self.phase == Phase::Judging {
                    self.phase = Phase::Resuming { cursors: 0 };
                    self.heartbeat.hear(now);
                    self.expiry = self.expiry_in(expires_in, now);
                }
            }
            Input::Answered { refused } => {
                if self.in_flight == self.config.commands_in_flight_max {
                    // Nothing was read meanwhile, so the silence was ours.
                    self.heartbeat.hear(now);
                }
                self.in_flight = self.in_flight.saturating_sub(1);
                if refused.is_some_and(|code| code.is_protocol_error()) {
                    self.count_error(now, out);
                }
            }
            Input::Refreshed { expires_in } => self.expiry = self.expiry_in(expires_in, now),
            Input::Held(held) => self.heartbeat.hold(held, now),
            Input::Doubted => {
                if matches!(self.phase, Phase::Resuming { .. } | Phase::Resumed) {
                    self.heartbeat.ask_after(DOUBTED_FOR, now);
                }
            }
            Input::Tick => self.tick(now, out),
        }
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`], or to ask
    /// [`wants_frame`](Self::wants_frame) again; ask anew after every input.
    pub fn deadline(&self) -> Option<Instant> {
        let heartbeat = match self.phase {
            Phase::Closed | Phase::Judging => return None,
            Phase::Greeting { deadline } => return deadline,
            Phase::Resuming { .. } | Phase::Resumed => {
                (!self.is_full() && !self.heartbeat.is_held()).then(|| self.heartbeat.deadline())
            }
        };
        [heartbeat, self.expiry.deadline(), self.paused_until]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the next frame may be read: not while hello is judged, not while as many commands as may be are in
    /// flight, not while the byte budget is overdrawn, and not after the end.
    pub fn wants_frame(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Closed | Phase::Judging => false,
            Phase::Greeting { .. } => true,
            Phase::Resuming { .. } | Phase::Resumed => {
                !self.is_full() && self.paused_until.is_none_or(|until| until <= now)
            }
        }
    }

    fn is_full(&self) -> bool {
        self.in_flight >= self.config.commands_in_flight_max
    }

    fn expiry_in(&self, expires_in: Option<Duration>, now: Instant) -> Expiry {
        match expires_in.and_then(|expires_in| now.checked_add(expires_in)) {
            Some(at) => Expiry::at(at, self.config.expiry_warning, self.config.expiry_grace),
            None => Expiry::never(),
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::Greeting { deadline } => {
                if deadline.is_some_and(|deadline| deadline <= now) {
                    self.close(CloseCode::AuthTimeout, "no hello came in time", out);
                }
                return;
            }
            Phase::Judging | Phase::Closed => return,
            Phase::Resuming { .. } | Phase::Resumed => {}
        }
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        match self.expiry.step(now) {
            Some(Stage::Warn(frame)) => out.push(Effect::Send(ServerFrame::Expiring(frame))),
            Some(Stage::End) => {
                return self.close(CloseCode::TokenExpired, "the token ran out and was not refreshed", out);
            }
            None => {}
        }
        if self.is_full() {
            return;
        }
        match self.heartbeat.beat(now) {
            Some(Beat::Ping) => out.push(Effect::Send(ServerFrame::Ping)),
            Some(Beat::Dead) => self.close(CloseCode::HeartbeatTimeout, "no frame came in time", out),
            None => {}
        }
    }

    fn frame(&mut self, bytes: &Bytes, now: Instant, out: &mut Vec<Effect>) {
        let max = match self.phase {
            Phase::Greeting { .. } | Phase::Judging => self.config.hello_bytes_max,
            Phase::Resuming { .. } | Phase::Resumed | Phase::Closed => self.config.frame_bytes_max,
        };
        if bytes.len() > max {
            return self.close(CloseCode::TooBig, format!("a frame must be at most {max} bytes"), out);
        }
        let frame = self.codec.decode_client(bytes);
        if let Phase::Greeting { .. } | Phase::Judging = self.phase {
            return self.greeting(frame, out);
        }
        // A client's cursors are neither commands nor bytes: however many it has, it comes back at once.
        let is_resume = matches!(
            (&frame, self.phase),
            (Ok(ClientFrame::Resume(_)), Phase::Resuming { .. })
        );
        if !is_resume {
            self.bytes.charge(u32::try_from(bytes.len()).unwrap_or(u32::MAX), now);
            self.paused_until = self.bytes.owes_until(now);
        }
        match frame {
            Ok(ClientFrame::Hello(_)) => self.close(CloseCode::AlreadyAuthenticated, "hello came twice", out),
            Ok(ClientFrame::Resume(resume)) => self.resume(resume, now, out),
            Ok(ClientFrame::Command { req, command }) => self.command(req, command, now, out),
            Ok(ClientFrame::Ping) => {
                if self.allow_ping(now, out) {
                    out.push(Effect::Send(ServerFrame::Pong));
                }
            }
            Ok(ClientFrame::Pong) => {
                self.allow_ping(now, out);
            }
            Err(FrameError::Refused { req, code, message }) => {
                self.protocol_error(ErrorFrame::new(Some(req), code, message), now, out);
            }
            Err(error) => self.close(CloseCode::Malformed, error.to_string(), out),
        }
    }

    fn greeting(&mut self, frame: Result<ClientFrame, FrameError>, out: &mut Vec<Effect>) {
        match (frame, self.phase) {
            (Ok(ClientFrame::Hello(hello)), Phase::Greeting { .. }) => {
                self.phase = Phase::Judging;
                out.push(Effect::Judge(hello));
            }
            (Ok(ClientFrame::Hello(_)), _) => {
                self.close(CloseCode::AlreadyAuthenticated, "hello came twice", out);
            }
            (Ok(_) | Err(FrameError::Refused { .. }), _) => {
                self.close(CloseCode::NotAuthenticated, "the first frame must be hello", out);
            }
            (Err(error), _) => self.close(CloseCode::Malformed, error.to_string(), out),
        }
    }

    fn resume(&mut self, resume: Resume, now: Instant, out: &mut Vec<Effect>) {
        let Phase::Resuming { cursors } = self.phase else {
            let message = "resume: the last one has been sent; connect again to resume";
            return self.protocol_error(ErrorFrame::new(None, ErrorCode::InvalidArgument, message), now, out);
        };
        let cursors = cursors + resume.cursors.len();
        if cursors > self.config.resume_cursors_max {
            let max = self.config.resume_cursors_max;
            return self.close(CloseCode::Malformed, format!("a resume has at most {max} cursors"), out);
        }
        if resume.cursors.is_empty() && !resume.last {
            // Free of charge, so it must bring something.
            return self.close(
                CloseCode::Malformed,
                "a resume frame without cursors must be the last",
                out,
            );
        }
        self.phase = if resume.last {
            Phase::Resumed
        } else {
            Phase::Resuming { cursors }
        };
        out.push(Effect::Resume(resume));
    }

    fn command(&mut self, req: u64, command: Command, now: Instant, out: &mut Vec<Effect>) {
        let refresh = matches!(command, Command::AuthRefresh(_));
        if self.expiry.is_expired(now) && !refresh {
            let message = "the token ran out: send auth:refresh, then this command again";
            let error = ErrorFrame::new(Some(req), ErrorCode::TokenExpired, message);
            return out.push(Effect::Send(ServerFrame::Error(error)));
        }
        let allowed = if self.is_full() {
            Err(Duration::from_secs(1))
        } else {
            self.commands.take(1, now)
        };
        match allowed {
            Ok(()) => {
                self.in_flight += 1;
                out.push(Effect::Run { req, command });
            }
            Err(wait) => {
                let message = "too many commands: wait retry_after_ms, then send it again";
                let error = ErrorFrame::new(Some(req), ErrorCode::RateLimited, message).retry_after(wait);
                out.push(Effect::Send(ServerFrame::Error(error)));
            }
        }
    }

    fn allow_ping(&mut self, now: Instant, out: &mut Vec<Effect>) -> bool {
        let allowed = self.pings.take(1, now).is_ok();
        if !allowed {
            self.close(CloseCode::RateLimited, "too many pings", out);
        }
        allowed
    }

    /// Answers an error of the client's own making; the last of too many ends the connection.
    fn protocol_error(&mut self, error: ErrorFrame, now: Instant, out: &mut Vec<Effect>) {
        out.push(Effect::Send(ServerFrame::Error(error)));
        self.count_error(now, out);
    }

    fn count_error(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let window = self.config.protocol_errors_window;
        self.errors.retain(|at| now.saturating_duration_since(*at) < window);
        self.errors.push_back(now);
        if self.errors.len() >= self.config.protocol_errors_max {
            self.close(CloseCode::TooManyErrors, "too many errors of the protocol", out);
        }
    }

    fn close(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>, out: &mut Vec<Effect>) {
        self.phase = Phase::Closed;
        let reason = match reason.into() {
            Cow::Borrowed(reason) => Cow::Borrowed(reason),
            Cow::Owned(reason) => Cow::Owned(close_reason(&reason)),
        };
        out.push(Effect::Close(code, reason));
    }
}

#[cfg(test)]
mod tests;
