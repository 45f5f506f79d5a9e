//! What a backend does in somebody's name.

use super::Inner;
use crate::error::CommandError;
use crate::execute::Caller;
use crate::store::Actor;
use chat_protocol::check;
use chat_protocol::code::ErrorCode;
use chat_protocol::command::{Command, MessageSend};
use chat_protocol::frame::{Outcome, Stored};
use chat_protocol::id::{CommandId, ConversationId, MessageId};
use chat_protocol::message::Content;
use std::sync::Arc;

/// Acts as a user, or as the host itself.
#[derive(Clone)]
pub struct Act {
    inner: Arc<Inner>,
    actor: Actor,
}

impl Act {
    pub(super) fn new(inner: Arc<Inner>, actor: Actor) -> Self {
        Self { inner, actor }
    }

    /// Carries out a command, by the same rules as a client's.
    ///
    /// # Errors
    /// [`CommandError`]; every code but `unavailable` is definite, and the same id settles that one.
    ///
    /// # Cancel safety
    /// Dropped early, the command may still take effect: the same id settles it.
    pub async fn execute(&self, command: impl Into<Command>) -> Result<Outcome, CommandError> {
        let command = command.into();
        check::check(&command).map_err(|refusal| CommandError::new(refusal.code, refusal.message))?;
        self.inner
            .execute(
                Caller {
                    actor: self.actor.clone(),
                    session: None,
                },
                command,
            )
            .await
    }

    /// Carries out a command that makes an event.
    ///
    /// # Errors
    /// As [`execute`](Act::execute); `invalid_argument` when the command makes no event.
    pub async fn store(&self, command: impl Into<Command>) -> Result<Stored, CommandError> {
        match self.execute(command).await? {
            Outcome::Stored(stored) => Ok(stored),
            _ => Err(CommandError::new(
                ErrorCode::InvalidArgument,
                "this command makes no event: use `execute`",
            )),
        }
    }

    /// Writes a message; acting as the host it is a system message, which nobody sent.
    ///
    /// # Errors
    /// As [`execute`](Act::execute).
    pub async fn send(
        &self,
        conversation: ConversationId,
        id: MessageId,
        content: Content,
    ) -> Result<Stored, CommandError> {
        self.store(MessageSend {
            conversation,
            id,
            content,
            reply_to: None,
        })
        .await
    }

    /// A fresh id for a command; keep it and use it again to retry.
    pub fn mint(&self) -> CommandId {
        CommandId::from_parts(self.inner.clock.now().0, self.inner.entropy.for_id())
    }
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Act")
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}
