//! Appends that wait while a commit is under way go out together, in one transaction.
//!
//! A task commits group after group, with no delay of its own: when nothing is under way, a lone append goes at once.
//! It belongs to the store, and ends when the last handle is gone and everything that waited is answered. A caller
//! who goes away cancels nothing.

use crate::database::Answer;
use chat_core::command::Command;
use chat_core::store::{Append, Appended, StoreError};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// Batches that wait; beyond that callers wait for room.
const WAITING_MAX: usize = 4_096;

/// A group with so many items takes no further batch.
const ITEMS_MAX: usize = 1_000;

/// Between two rounds of which the first came to nothing.
const HELD_PAUSE: Duration = Duration::from_millis(5);

/// After so many rounds in which somebody else held its conversation, a batch goes alone.
pub(crate) const ROUNDS_MAX: u32 = 3;

/// Nobody waits longer for an answer: what has waited so long is not begun any more, so that after an outage those who
/// ask then need not wait for those who have given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(7);

/// A batch that waits for its commit.
pub(crate) struct Job {
    pub batch: Append,
    asked: Instant,
    answer: oneshot::Sender<Answer<Appended>>,
    /// In how many rounds somebody else held its conversation.
    pub rounds: u32,
}

impl Job {
    pub fn answer(self, answer: Answer<Appended>) {
        // Whoever asked may be gone; what was committed stays.
        let _ = self.answer.send(answer);
    }

    /// How long its caller still waits; nothing once that is over.
    pub fn patience(&self) -> Option<Duration> {
        PATIENCE
            .checked_sub(self.asked.elapsed())
            .filter(|left| !left.is_zero())
    }
}

/// Commits groups; the one part that knows the database.
pub(crate) trait Commit: Send + 'static {
    /// Answers each job, or gives it back for the next round.
    fn commit(&mut self, group: Vec<Job>) -> impl Future<Output = Vec<Job>> + Send;
}

/// Where appends wait.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    jobs: mpsc::Sender<Job>,
}

impl Queue {
    /// Starts the task that commits.
    pub fn start(commit: impl Commit) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(commit, waiting));
        Self { jobs }
    }

    /// As [`append`](Queue::append), for a database that may never answer.
    pub async fn append_in_time(&self, batch: Append) -> Answer<Appended> {
        match timeout(PATIENCE, self.append(batch)).await {
            Ok(answer) => answer,
            Err(_) => Err(late()),
        }
    }

    pub async fn append(&self, batch: Append) -> Answer<Appended> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            batch,
            asked: Instant::now(),
            answer,
            rounds: 0,
        };
        let gone = || StoreError::unavailable("the store's task has ended: its runtime was shut down");
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

async fn run(mut commit: impl Commit, mut waiting: mpsc::Receiver<Job>) {
    let mut group: Vec<Job> = Vec::new();
    loop {
        let mut next = match group.is_empty() {
            true => waiting.recv().await,
            false => waiting.try_recv().ok(),
        };
        if group.is_empty() && next.is_none() {
            return;
        }
        let mut items: usize = group.iter().map(|job| job.batch.items.len()).sum();
        while let Some(job) = next {
            if job.patience().is_some() {
                items += job.batch.items.len();
                group.push(job);
            } else {
                job.answer(Err(late()));
            }
            next = (items < ITEMS_MAX).then(|| waiting.try_recv().ok()).flatten();
        }
        let asked = group.len();
        if asked > 0 {
            group = commit.commit(group).await;
        }
        if asked > 0 && group.len() == asked {
            // All of it is held elsewhere.
            sleep(HELD_PAUSE).await;
        }
    }
}

/// Whether nothing but messages is asked for: most batches, which have a way of their own.
pub(crate) fn is_messages(batch: &Append) -> bool {
    let mut commands = batch.items.iter().map(|item| &item.command);
    commands.all(|command| matches!(command, Command::MessageSend(_)))
}

pub(crate) fn late() -> StoreError {
    StoreError::unavailable("the database has not answered in time")
}

pub(crate) fn no_answer() -> StoreError {
    crate::rows::corrupt("a batch without an answer")
}
