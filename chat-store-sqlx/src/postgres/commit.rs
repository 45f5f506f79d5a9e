//! How groups of appends are committed.
//!
//! Most groups are messages, which go without a lock, by what `messages.rs` says. All other commands are judged under
//! the locks of their conversations, in the order of G7: the conversation, the id in it, the membership, in statements
//! of their own. A batch whose group failed, or whose conversation is held elsewhere for too long, goes alone, beside
//! the groups, so that it delays nobody.

use super::Shared;
use super::held::Hold;
use super::messages::write_messages;
use super::session::Session;
use crate::database::{Answer, Database};
use crate::desk::judge_all;
use crate::group::{self, Job, ROUNDS_MAX};
use crate::rows::conversation;
use crate::statements::ids;
use chat_core::command::Command;
use chat_core::id::ConversationId;
use chat_core::store::{Append, Appended};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Batches that go alone at the same time, each on a connection of the pool.
const ALONE_MAX: usize = 4;

/// A batch that goes alone is tried so often when it was the victim of a deadlock or of another's commit.
const ATTEMPTS: u32 = 3;

/// When everything that waits is held elsewhere.
const HELD_PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Commit {
    shared: Arc<Shared>,
    /// A connection of its own, made when it is needed.
    connection: Option<PgConnection>,
    alone: Arc<Semaphore>,
}

impl Commit {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            connection: None,
            alone: Arc::new(Semaphore::new(ALONE_MAX)),
        }
    }
}

impl group::Commit for Commit {
    async fn commit(&mut self, group: Vec<Job>) -> Vec<Job> {
        let (messages, others): (Vec<_>, Vec<_>) = group.into_iter().partition(|job| is_messages(&job.batch));
        let mut held = Vec::new();
        for (group, way) in [(messages, Way::Messages), (others, Way::Locked)] {
            if !group.is_empty() {
                held.extend(self.commit_group(group, way).await);
            }
        }
        let (alone, mut next): (Vec<_>, Vec<_>) = held.into_iter().partition(|job| job.rounds >= ROUNDS_MAX);
        for job in alone {
            self.go_alone(job);
        }
        if !next.is_empty() {
            sleep(HELD_PAUSE).await;
        }
        next.iter_mut().for_each(|job| job.rounds += 1);
        next
    }
}

#[derive(Clone, Copy)]
enum Way {
    Messages,
    Locked,
}

fn is_messages(batch: &Append) -> bool {
    batch
        .items
        .iter()
        .all(|item| matches!(item.command, Command::MessageSend(_)))
}

impl Commit {
    /// Answers the group; gives back what is held elsewhere.
    async fn commit_group(&mut self, group: Vec<Job>, way: Way) -> Vec<Job> {
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.shared.connect().await,
        };
        let committed = match connection {
            Ok(mut connection) => {
                let mut session = self.shared.session(&mut connection);
                let batches: Vec<_> = group.iter().map(|job| &job.batch).collect();
                let committed = match way {
                    Way::Messages => without_locks(&mut session, &batches).await,
                    Way::Locked => with_locks(&mut session, &batches, Elsewhere::Skip).await,
                };
                if committed.is_ok() {
                    self.connection = Some(connection);
                }
                committed
            }
            Err(error) => Err(error),
        };
        match committed {
            Ok(answers) => {
                let mut held = Vec::new();
                for (job, answer) in group.into_iter().zip(answers) {
                    match answer {
                        Some(answer) => job.answer(Ok(answer)),
                        None => held.push(job),
                    }
                }
                held
            }
            // Rolled back, or nobody knows. Each goes once more alone: what is stored answers again.
            Err(error) => {
                tracing::warn!(%error, batches = group.len(), "a group was not committed: each batch is tried alone");
                for job in group {
                    self.go_alone(job);
                }
                Vec::new()
            }
        }
    }

    /// Commits one batch beside the groups.
    fn go_alone(&self, job: Job) {
        let (shared, alone) = (self.shared.clone(), self.alone.clone());
        tokio::spawn(async move {
            let alone = async {
                let _turn = alone.acquire().await;
                alone_in(&shared, &job.batch).await
            };
            let answer = timeout(job.patience().unwrap_or_default(), alone).await;
            job.answer(answer.unwrap_or_else(|_| Err(group::late())));
        });
    }
}

async fn alone_in(shared: &Shared, batch: &Append) -> Answer<Appended> {
    let mut attempt = 1;
    loop {
        let mut session = shared.read_once().await?;
        match with_locks(&mut session, &[batch], Elsewhere::Wait).await {
            Ok(mut answers) => return answers.pop().flatten().ok_or_else(group::no_answer),
            Err(error) if attempt < ATTEMPTS => tracing::debug!(%error, "a batch alone was not committed"),
            Err(error) => return Err(error),
        }
        attempt += 1;
    }
}

/// Judges messages by one look, and writes what is still true; `None` for a batch that has to look again.
async fn without_locks<C: Hold>(session: &mut Session<C>, batches: &[&Append]) -> Answer<Vec<Option<Appended>>> {
    let judged = judge_all(session, batches).await?;
    let written = match judged.writes.is_empty() {
        true => BTreeSet::new(),
        false => write_messages(session, &judged.writes).await?,
    };
    let is_settled = |id: &ConversationId| !judged.writes.places.contains_key(id) || written.contains(id);
    let answers = batches.iter().zip(judged.answers);
    Ok(answers
        .map(|(batch, answer)| is_settled(&batch.conversation).then_some(answer))
        .collect())
}

/// What to do with a conversation that somebody else holds.
#[derive(Clone, Copy)]
enum Elsewhere {
    Skip,
    Wait,
}

/// Judges and writes under the locks of the conversations; `None` for a batch whose conversation is held elsewhere.
async fn with_locks<C: Hold>(
    session: &mut Session<C>,
    batches: &[&Append],
    elsewhere: Elsewhere,
) -> Answer<Vec<Option<Appended>>> {
    session.run("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let done = judge_under_locks(session, batches, elsewhere).await;
    match &done {
        Ok(_) => session.run("COMMIT").await?,
        // Of no use on a connection that is gone; then the server does it.
        Err(_) => drop(session.run("ROLLBACK").await),
    }
    done
}

async fn judge_under_locks<C: Hold>(
    session: &mut Session<C>,
    batches: &[&Append],
    elsewhere: Elsewhere,
) -> Answer<Vec<Option<Appended>>> {
    let conversations: BTreeSet<_> = batches.iter().map(|batch| batch.conversation).collect();
    let asked = ids(&conversations);
    let statement = match elsewhere {
        Elsewhere::Skip => {
            "SELECT c.id AS conversation FROM chat_conversations c WHERE c.id IN (SELECT id FROM LIST(id uuid) j) \
             ORDER BY c.id FOR UPDATE OF c SKIP LOCKED"
        }
        Elsewhere::Wait => {
            "SELECT c.id AS conversation FROM chat_conversations c WHERE c.id IN (SELECT id FROM LIST(id uuid) j) \
             ORDER BY c.id FOR UPDATE OF c"
        }
    };
    let rows = session.fetch(statement, &[asked]).await?;
    let locked = rows.iter().map(conversation).collect::<Answer<BTreeSet<_>>>()?;
    let asked = ids(&conversations);
    let statement = "SELECT c.id AS conversation FROM LIST(id uuid) j JOIN chat_conversations c ON c.id = j.id";
    let rows = session.fetch(statement, &[asked]).await?;
    let there = rows.iter().map(conversation).collect::<Answer<BTreeSet<_>>>()?;

    // One that is not there is about to be made, or asked for in vain.
    let is_ours = |batch: &&Append| locked.contains(&batch.conversation) || !there.contains(&batch.conversation);
    let ours: Vec<&Append> = batches.iter().copied().filter(is_ours).collect();
    if ours.is_empty() {
        return Ok(batches.iter().map(|_| None).collect());
    }
    let judged = judge_all(session, &ours).await?;
    if !judged.writes.is_empty() {
        judged.writes.write(session).await?;
    }
    let mut answers = judged.answers.into_iter();
    Ok(batches
        .iter()
        .map(|batch| is_ours(batch).then(|| answers.next()).flatten())
        .collect())
}
