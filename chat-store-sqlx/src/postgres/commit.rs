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
use crate::desk::{judge_all, judge_messages};
use crate::group::{self, Job, ROUNDS_MAX};
use crate::known::Known;
use crate::rows::conversation;
use crate::statements::ids;
use chat_core::command::Command;
use chat_core::store::{Append, Appended, StoreError};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Batches that go alone at the same time, each on a connection of the pool.
const ALONE_MAX: usize = 4;

/// A batch that goes alone is tried so often when it was the victim of a deadlock or of another's commit.
const ATTEMPTS: u32 = 3;

pub(super) struct Commit {
    shared: Arc<Shared>,
    /// A connection of its own, made when it is needed.
    connection: Option<PgConnection>,
    known: Known,
    alone: Arc<Semaphore>,
}

impl Commit {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            connection: None,
            known: Known::default(),
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
        held.iter_mut().for_each(|job| job.rounds += 1);
        let (alone, next): (Vec<_>, Vec<_>) = held.into_iter().partition(|job| job.rounds >= ROUNDS_MAX);
        for job in alone {
            self.go_alone(job);
        }
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
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.shared.connect().await {
                Ok(connection) => connection,
                Err(error) => {
                    answer_all(group, &error);
                    return Vec::new();
                }
            },
        };
        let mut session = self.shared.session(&mut connection);
        let batches: Vec<_> = group.iter().map(|job| &job.batch).collect();
        let committed = match way {
            Way::Messages => without_locks(&mut session, &batches, &mut self.known).await,
            Way::Locked => with_locks(&self.shared, &mut session, &batches, Elsewhere::Skip).await,
        };
        match (way, &committed) {
            (Way::Messages, Ok(_)) => {}
            (Way::Locked, Ok(_)) => self.known.forget(batches.iter().map(|batch| batch.conversation)),
            (_, Err(_)) => self.known = Known::default(),
        }
        match committed {
            Ok(answers) => {
                self.connection = Some(connection);
                let mut held = Vec::new();
                for (job, answer) in group.into_iter().zip(answers) {
                    match answer {
                        Some(answer) => job.answer(Ok(answer)),
                        None => held.push(job),
                    }
                }
                return held;
            }
            // Rolled back by the server, which is there.
            Err(error) if refusal_of_server(&error).is_some() => {
                tracing::warn!(%error, batches = group.len(), "a group was rolled back: each batch goes alone");
                self.connection = Some(connection);
                group.into_iter().for_each(|job| self.go_alone(job));
            }
            // Nobody knows.
            Err(error) => {
                tracing::warn!(%error, batches = group.len(), "the outcome of a group is unknown: it is looked up");
                self.settle(group);
            }
        }
        Vec::new()
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

    /// Settles a group of which nobody knows: judged once more under its locks, what is stored answers again.
    fn settle(&self, group: Vec<Job>) {
        let (shared, alone) = (self.shared.clone(), self.alone.clone());
        tokio::spawn(async move {
            let _turn = alone.acquire().await;
            let batches: Vec<_> = group.iter().map(|job| &job.batch).collect();
            let settled =
                async { with_locks(&shared, &mut shared.read_once().await?, &batches, Elsewhere::Wait).await };
            match settled.await {
                Ok(answers) => {
                    for (job, answer) in group.into_iter().zip(answers) {
                        job.answer(answer.ok_or_else(group::no_answer));
                    }
                }
                Err(error) => answer_all(group, &error),
            }
        });
    }
}

fn answer_all(group: Vec<Job>, error: &StoreError) {
    tracing::warn!(%error, batches = group.len(), "nothing is known of these batches");
    for job in group {
        job.answer(Err(StoreError::unavailable(error.to_string())));
    }
}

async fn alone_in(shared: &Shared, batch: &Append) -> Answer<Appended> {
    let mut attempt = 1;
    loop {
        let mut session = shared.read_once().await?;
        match with_locks(shared, &mut session, &[batch], Elsewhere::Wait).await {
            Ok(mut answers) => return answers.pop().flatten().ok_or_else(group::no_answer),
            Err(error) if attempt < ATTEMPTS && is_race(&error) => {
                tracing::debug!(%error, "a batch alone met another transaction");
                attempt += 1;
            }
            Err(error) if batch.items.len() > 1 && refusal_of_server(&error).is_some() => {
                return one_by_one(shared, batch).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// One item may be what the server refuses; the others shall not suffer for it.
async fn one_by_one(shared: &Shared, batch: &Append) -> Answer<Appended> {
    let mut all: Answer<Option<Appended>> = Ok(None);
    for item in &batch.items {
        let one = Append {
            items: vec![item.clone()],
            ..*batch
        };
        let done = Box::pin(alone_in(shared, &one)).await;
        all = match (all, done) {
            (Ok(Some(mut before)), Ok(done)) => {
                before.outcomes.extend(done.outcomes);
                Ok(Some(Appended {
                    outcomes: before.outcomes,
                    ..done
                }))
            }
            (Ok(None), Ok(done)) => Ok(Some(done)),
            // The rest is tried all the same; a client that asks again finds what is stored.
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
    }
    all?.ok_or_else(group::no_answer)
}

/// The code with which the server rolled back, in the terms of SQLSTATE.
fn refusal_of_server(error: &StoreError) -> Option<String> {
    let StoreError::Unavailable(_, Some(source)) = error else {
        return None;
    };
    match source.downcast_ref::<sqlx::Error>()? {
        sqlx::Error::Database(refusal) => {
            // What says that the server ends is no answer about the statement.
            refusal
                .code()
                .map(|code| code.into_owned())
                .filter(|code| !code.starts_with("57P"))
        }
        _ => None,
    }
}

/// A deadlock, or somebody who made the same, went on in between, or holds the conversation for long.
fn is_race(error: &StoreError) -> bool {
    let code = refusal_of_server(error);
    matches!(code.as_deref(), Some("40P01" | "40001" | "23505" | "55P03")) || crate::writes::is_stale(error)
}

/// Judges messages and writes what is true; `None` for a batch that has to wait for the next round.
async fn without_locks<C: Hold>(
    session: &mut Session<C>,
    batches: &[&Append],
    known: &mut Known,
) -> Answer<Vec<Option<Appended>>> {
    let mut answers = by_what_is_known(session, batches, known).await?;
    // Of what was judged by what is not so any more, it is known by now that it has to be looked at.
    let is_open = |at: &usize| matches!(answers[*at], Outcome::Outdated);
    let open: Vec<_> = (0..batches.len()).filter(is_open).collect();
    if !open.is_empty() {
        let again: Vec<_> = open.iter().map(|at| batches[*at]).collect();
        for (at, answer) in open.into_iter().zip(by_what_is_known(session, &again, known).await?) {
            answers[at] = answer;
        }
    }
    let answer = |outcome| match outcome {
        Outcome::Settled(answer) => Some(answer),
        Outcome::Held | Outcome::Outdated => None,
    };
    Ok(answers.into_iter().map(answer).collect())
}

/// What became of a batch.
enum Outcome {
    Settled(Appended),
    /// Its conversation is held elsewhere, or has gone on since the look.
    Held,
    /// Nobody had looked at its conversation.
    Outdated,
}

async fn by_what_is_known<C: Hold>(
    session: &mut Session<C>,
    batches: &[&Append],
    known: &mut Known,
) -> Answer<Vec<Outcome>> {
    let mut judged = judge_messages(session, batches, known).await?;
    let written = write_messages(session, &judged.writes).await?;
    if let Some((epoch, at)) = written.said {
        judged.date(epoch, at);
    }
    let outcome = |(batch, answer): (&&Append, Appended)| {
        let id = batch.conversation;
        let is_judged = !known.is_guessed(id) && !judged.writes.places.contains_key(&id);
        match written.conversations.contains(&id) || is_judged {
            true => Outcome::Settled(answer),
            false if known.is_guessed(id) => Outcome::Outdated,
            false => Outcome::Held,
        }
    };
    let outcomes = batches.iter().zip(judged.answers).map(outcome).collect();
    known.learn(judged.writes, judged.members, &written);
    Ok(outcomes)
}

/// What to do with a conversation that somebody else holds.
#[derive(Clone, Copy)]
enum Elsewhere {
    Skip,
    Wait,
}

/// Judges and writes under the locks of the conversations; `None` for a batch whose conversation is held elsewhere.
async fn with_locks<C: Hold>(
    shared: &Shared,
    session: &mut Session<C>,
    batches: &[&Append],
    elsewhere: Elsewhere,
) -> Answer<Vec<Option<Appended>>> {
    session.run(&shared.begin_writing).await?;
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
