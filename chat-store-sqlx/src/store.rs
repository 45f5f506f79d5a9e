//! The [`Store`](chat_core::Store) of both databases, by what their sessions give.

use crate::database::Database;
use crate::desk::judge_all;
use crate::identity::identity;
use crate::rows::corrupt;
use chat_core::check::{self, check};
use chat_core::command::Command;
use chat_core::conversation::RuleLimits;
use chat_core::dedup::fingerprint;
use chat_core::frame::Stored;
use chat_core::store::{Actor, Append, AppendItem, ItemOutcome, Refusal, StoreError};
use thiserror::Error;

/// A command in a host's own transaction made no event.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The command breaks a limit; definite, and the transaction may go on.
    #[error(transparent)]
    Invalid(#[from] check::Refusal),
    /// By the rules; definite, and the transaction may go on.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database; roll back.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Judges one command and writes what the judge says, in a transaction that somebody else ends.
pub(crate) async fn append_in(
    database: &mut impl Database,
    actor: &Actor,
    command: Command,
) -> Result<Stored, AppendError> {
    let Some(conversation) = command.conversation().filter(|_| command.id().is_some()) else {
        return Err(Refusal::InvalidArgument("only a durable command goes into a log").into());
    };
    check(&command)?;
    let identity = identity(database).await?;
    let batch = Append {
        conversation,
        items: vec![AppendItem {
            actor: actor.clone(),
            fingerprint: fingerprint(&identity.fingerprint_key, &command),
            command,
        }],
        limits: RuleLimits::default(),
    };
    database.lock_conversation(conversation).await?;
    let mut judged = judge_all(database, &[&batch]).await?;
    if !judged.writes.is_empty() {
        judged.writes.write(database).await?;
    }
    let outcomes = judged.answers.pop().map(|appended| appended.outcomes);
    match outcomes.and_then(|mut outcomes| outcomes.pop()) {
        Some(Ok(ItemOutcome::First(event))) => Ok(Stored {
            conversation,
            id: event.id,
            seq: event.seq,
            tag: event.tag,
            at: event.at,
            duplicate: false,
        }),
        Some(Ok(ItemOutcome::Duplicate(stored))) => Ok(stored),
        Some(Err(refusal)) => Err(refusal.into()),
        None => Err(corrupt("a batch without an answer").into()),
    }
}

/// Implements the door, with what only this store says of itself; the type brings `shared` with `read`, `look` and `write`,
/// `queued`, and `begin_use`.
macro_rules! implement {
    ($store:ty, $name:literal $(, $own:item)?) => {
        #[async_trait::async_trait]
        impl chat_core::Store for $store {
            fn name(&self) -> &'static str {
                $name
            }

            $($own)?

            async fn identity(&self) -> Result<StoreIdentity, StoreError> {
                self.begin_use().await.map_err($crate::error::unusable)?;
                $crate::identity::identity(&mut self.shared.look().await?).await
            }

            async fn append(&self, batch: Append) -> Result<Appended, StoreError> {
                self.queued(batch).await
            }

            async fn lookup(
                &self,
                conversation: ConversationId,
                id: CommandId,
            ) -> Result<Read<Option<Prior>>, StoreError> {
                statements::prior(&mut self.shared.look().await?, conversation, id).await
            }

            async fn log(&self, query: LogQuery) -> Result<Read<LogRead>, StoreError> {
                read::log(&mut self.shared.read().await?, &query).await
            }

            async fn history(&self, query: HistoryQuery) -> Result<Read<Option<HistoryPage>>, StoreError> {
                read::history(&mut self.shared.read().await?, &query).await
            }

            async fn memberships(
                &self,
                user: &UserId,
                changed_after: Option<Revision>,
            ) -> Result<Read<Memberships>, StoreError> {
                statements::memberships(&mut self.shared.look().await?, user, changed_after).await
            }

            async fn entries(
                &self,
                user: &UserId,
                conversations: &[ConversationId],
            ) -> Result<Read<Vec<InboxEntry>>, StoreError> {
                let mut session = self.shared.read().await?;
                let epoch = statements::the_epoch(&mut session).await?;
                let value = read::entries(&mut session, user, Seats::Of(conversations)).await?;
                Ok(Read { epoch, value })
            }

            async fn inbox(
                &self,
                user: &UserId,
                page: Option<&PageToken>,
                limit: usize,
                bytes: usize,
            ) -> Result<Read<InboxPage>, StoreError> {
                let mut session = self.shared.read().await?;
                let epoch = statements::the_epoch(&mut session).await?;
                let value = read::inbox(&mut session, user, page, (limit, bytes)).await?;
                Ok(Read { epoch, value })
            }

            async fn set_inbox(
                &self,
                user: &UserId,
                conversation: ConversationId,
                change: InboxChange,
            ) -> Result<InboxChanged, StoreError> {
                let mut session = self.shared.write().await?;
                let changed = keep::set_inbox(&mut session, user, conversation, change).await?;
                if matches!(changed, InboxChanged::Changed { .. }) {
                    session.commit().await?;
                }
                Ok(changed)
            }

            async fn conversation(
                &self,
                conversation: ConversationId,
                viewer: Option<&UserId>,
            ) -> Result<Read<Option<ConversationView>>, StoreError> {
                read::conversation(&mut self.shared.read().await?, conversation, viewer).await
            }

            async fn members(&self, query: ListQuery) -> Result<Read<Option<MemberPage>>, StoreError> {
                read::members(&mut self.shared.read().await?, &query).await
            }

            async fn marks(&self, query: ListQuery) -> Result<Read<Option<MarkPage>>, StoreError> {
                read::marks(&mut self.shared.read().await?, &query).await
            }

            async fn reactions(
                &self,
                query: ListQuery,
                message: MessageId,
                emoji: &str,
            ) -> Result<Read<Option<ReactionPage>>, StoreError> {
                read::reactions(&mut self.shared.read().await?, &query, message, emoji).await
            }

            async fn heads(&self, conversations: &[ConversationId]) -> Result<Read<Vec<Head>>, StoreError> {
                statements::heads(&mut self.shared.look().await?, conversations).await
            }

            async fn heads_changed_since(
                &self,
                horizon: Option<&Horizon>,
                limit: usize,
            ) -> Result<Read<Changes>, StoreError> {
                keep::heads_changed_since(&mut self.shared.read().await?, horizon, limit).await
            }

            async fn renew_lease(&self, node: NodeId, ttl: Duration) -> Result<Vec<Lease>, StoreError> {
                let mut session = self.shared.write().await?;
                let leases = keep::renew_lease(&mut session, node, ttl).await?;
                session.commit().await?;
                Ok(leases)
            }

            async fn release_lease(&self, node: NodeId) -> Result<(), StoreError> {
                let mut session = self.shared.write().await?;
                keep::release_lease(&mut session, node).await?;
                session.commit().await
            }

            async fn put_display(&self, user: &UserId, display: &Value) -> Result<bool, StoreError> {
                // Who comes back has shown it before, and a write that changes nothing waits for others all the same.
                if keep::is_shown(&mut self.shared.look().await?, user, display).await? {
                    return Ok(false);
                }
                let mut session = self.shared.write().await?;
                let changed = keep::put_display(&mut session, user, display).await?;
                if changed {
                    session.commit().await?;
                }
                Ok(changed)
            }

            async fn sharing(&self, user: &UserId, others: &[UserId]) -> Result<Vec<UserId>, StoreError> {
                statements::sharing(&mut self.shared.look().await?, user, others).await
            }
        }
    };
}
pub(crate) use implement;
