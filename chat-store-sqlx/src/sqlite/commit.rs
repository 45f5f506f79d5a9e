//! How a group of appends is committed: one transaction, which is the only one that writes.

use super::Shared;
use super::messages::write_messages;
use crate::database::Answer;
use crate::desk::judge_all;
use crate::group::{self, Job};
use chat_core::store::Appended;
use std::sync::Arc;

pub(super) struct Commit(pub Arc<Shared>);

impl group::Commit for Commit {
    async fn commit(&mut self, group: Vec<Job>) -> Vec<Job> {
        match self.try_commit(&group).await {
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
                    let answer = self.try_commit(std::slice::from_ref(&job)).await;
                    job.answer(answer.and_then(|mut answers| answers.pop().ok_or_else(group::no_answer)));
                }
            }
        }
        Vec::new()
    }
}

impl Commit {
    async fn try_commit(&self, group: &[Job]) -> Answer<Vec<Appended>> {
        let batches: Vec<_> = group.iter().map(|job| &job.batch).collect();
        let mut session = self.0.write().await?;
        let judged = judge_all(&mut session, &batches).await?;
        if !judged.writes.is_empty() {
            match judged.writes.only_messages() {
                true => write_messages(&mut session, &judged.writes).await?,
                false => judged.writes.write(&mut session).await?,
            }
            session.commit().await?;
            self.0.check_file()?;
        }
        Ok(judged.answers)
    }
}
