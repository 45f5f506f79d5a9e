//! A host that decides as a test tells it, and remembers what it was asked.

use super::say::told;
use async_trait::async_trait;
use chat_core::command::{Command, MessageSend};
use chat_core::event::Event;
use chat_core::hooks::{AuthRequest, Authority, Identity, Refused};
use chat_core::id::{Timestamp, UserId};
use chat_core::{Clock, Guests, Hooks};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// What the host does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Says yes, by the engine's own rules where there are some.
    Yes,
    /// Says yes to everything.
    Allows,
    /// Says no, in these words.
    No(&'static str),
    /// Takes so long.
    Takes(Duration),
    /// Fails.
    Panics,
    /// Writes the message anew, in these words.
    Writes(&'static str),
}

/// A host; clones are the same.
#[derive(Clone)]
pub struct Host {
    clock: Arc<dyn Clock>,
    told: Arc<Mutex<Told>>,
}

struct Told {
    authenticate: Does,
    authorize: Does,
    before_send: Does,
    after_commit: Does,
    asked: Vec<String>,
    committed: Vec<String>,
}

impl Host {
    pub fn new(clock: impl Clock) -> Self {
        Self {
            clock: Arc::new(clock),
            told: Arc::new(Mutex::new(Told {
                authenticate: Does::Yes,
                authorize: Does::Allows,
                before_send: Does::Yes,
                after_commit: Does::Yes,
                asked: Vec::new(),
                committed: Vec::new(),
            })),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn authenticate_does(&self, does: Does) {
        self.told().authenticate = does;
    }

    pub fn authorize_does(&self, does: Does) {
        self.told().authorize = does;
    }

    pub fn before_send_does(&self, does: Does) {
        self.told().before_send = does;
    }

    pub fn after_commit_does(&self, does: Does) {
        self.told().after_commit = does;
    }

    /// The commands and messages that it was asked about since it was last looked at.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.told().asked)
    }

    /// The events that it was shown since it was last looked at.
    pub fn committed(&self) -> Vec<String> {
        std::mem::take(&mut self.told().committed)
    }
}

async fn act(does: Does) -> Result<(), Refused> {
    match does {
        Does::Yes | Does::Allows | Does::Writes(_) => Ok(()),
        Does::No(words) => Err(Refused(words.to_owned())),
        Does::Takes(time) => {
            sleep(time).await;
            Ok(())
        }
        Does::Panics => panic!("this host is told to fail"),
    }
}

#[async_trait]
impl Hooks for Host {
    /// A token says who it is of and for how many seconds it is good: `ana 90`.
    async fn authenticate(&self, request: AuthRequest) -> Result<Identity, Refused> {
        let does = self.told().authenticate;
        act(does).await?;
        let Some(token) = &request.token else {
            return Guests.authenticate(request).await;
        };
        let parts = token.0.split_once(' ').and_then(|(name, seconds)| {
            let seconds: i64 = seconds.parse().ok()?;
            Some((name.parse().ok()?, seconds))
        });
        let (user, seconds) = parts.ok_or_else(|| Refused("not a token of ours".to_owned()))?;
        let at = self.clock.now().0.saturating_add_signed(seconds * 1_000);
        Ok(Identity::new(user).with_expiry(Timestamp(at)))
    }

    async fn authorize(&self, user: &UserId, command: &Command) -> Result<Authority, Refused> {
        self.told().asked.push(format!("{user}: {}", command.name()));
        let does = self.told().authorize;
        act(does).await?;
        Ok(match does {
            Does::Allows => Authority::Allow,
            _ => Authority::Rules,
        })
    }

    async fn before_send(&self, _user: &UserId, message: &mut MessageSend) -> Result<(), Refused> {
        let text = message.content.text.clone().unwrap_or_default();
        self.told().asked.push(format!("before {text}"));
        let does = self.told().before_send;
        act(does).await?;
        if let Does::Writes(words) = does {
            message.content.text = Some(words.to_owned());
        }
        Ok(())
    }

    async fn after_commit(&self, event: &Event) {
        self.told().committed.push(told(event));
        let does = self.told().after_commit;
        _ = act(does).await;
    }
}
