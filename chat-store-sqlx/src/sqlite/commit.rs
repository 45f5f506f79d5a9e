//! How a group of appends is committed: one transaction, which is the only one that writes.

use super::Shared;
use super::messages::write_messages;
use crate::database::Answer;
use crate::desk::{judge_all, judge_messages};
use crate::group::{self, Job, is_messages};
use crate::known::Known;
use crate::writes::Written;
use chat_core::store::{Append, Appended};
use std::collections::HashSet;
use std::sync::Arc;

pub(super) struct Commit {
    shared: Arc<Shared>,
    known: Known,
}

impl Commit {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            known: Known::default(),
        }
    }
}

impl group::Commit for Commit {
    async fn commit(&mut self, group: Vec<Job>) -> Vec<Job> {
        let batches: Vec<_> = group.iter().map(|job| &job.batch).collect();
        match self.try_commit(&batches).await {
            Ok(answers) => {
                for (job, answer) in group.into_iter().zip(answers) {
                    job.answer(Ok(answer));
                }
            }
            // Rolled back, or nobody knows. Each goes once more alone: what is stored answers again.
            Err(error) => {
                tracing::warn!(%error, batches = group.len(), "a group was not committed: each batch is tried alone");
                for job in group {
                    if job.patience().is_none() {
                        job.answer(Err(group::late()));
                        continue;
                    }
                    let answer = self.by_look(&[&job.batch]).await;
                    job.answer(answer.and_then(|mut answers| answers.pop().ok_or_else(group::no_answer)));
                }
            }
        }
        Vec::new()
    }
}

impl Commit {
    async fn try_commit(&mut self, batches: &[&Append]) -> Answer<Vec<Appended>> {
        if batches.iter().all(|batch| is_messages(batch)) {
            match self.by_guess(batches).await {
                Ok(Some(answers)) => return Ok(answers),
                // Something was not as it was known.
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "a group is looked at");
                    self.known = Known::default();
                }
            }
        }
        self.by_look(batches).await
    }

    /// By what is known, and by a look where that is not enough; nothing is written when something was not so any more.
    async fn by_guess(&mut self, batches: &[&Append]) -> Answer<Option<Vec<Appended>>> {
        let mut session = self.shared.write().await?;
        let judged = judge_messages(&mut session, batches, &mut self.known).await?;
        let writes = &judged.writes;
        let conversations: HashSet<_> = writes.places.keys().copied().collect();
        // A refusal for which nobody has looked.
        let is_guess =
            |batch: &&Append| self.known.is_guessed(batch.conversation) && !conversations.contains(&batch.conversation);
        let said = judged.answers.first().map(|answer| (answer.epoch, session.at));
        let is_true = !batches.iter().any(is_guess)
            && match said {
                Some((epoch, _)) if !writes.is_empty() => write_messages(&mut session, epoch, writes).await?,
                _ => true,
            };
        let mut written = Written::default();
        if is_true && !writes.is_empty() {
            session.commit().await?;
            self.shared.check_file()?;
            written = Written { conversations, said };
        }
        self.known.learn(judged.writes, judged.members, &written);
        Ok(is_true.then_some(judged.answers))
    }

    async fn by_look(&mut self, batches: &[&Append]) -> Answer<Vec<Appended>> {
        self.known.forget(batches.iter().map(|batch| batch.conversation));
        let mut session = self.shared.write().await?;
        let judged = judge_all(&mut session, batches).await?;
        if !judged.writes.is_empty() {
            judged.writes.write(&mut session).await?;
            session.commit().await?;
            self.shared.check_file()?;
        }
        Ok(judged.answers)
    }
}
