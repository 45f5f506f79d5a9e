//! How groups of appends are committed.
//!
//! Most groups are messages, which go without a lock, by what `messages.rs` says. All other commands are judged under
//! the locks of their conversations, in the order of G7: the conversation, the id in it, the membership, in statements
//! of their own. A batch whose group failed, whose conversation is held elsewhere for too long, or that ends its
//! conversation, goes alone, beside the groups, so that it delays nobody.

use super::Shared;
use super::held::Hold;
use super::messages::write_messages;
use super::session::Session;
use crate::database::{Answer, Database};
use crate::desk::{judge_all, judge_messages};
use crate::group::{self, Job, ROUNDS_MAX, is_messages};
use crate::known::Known;
use crate::rows::conversation;
use crate::statements::ids;
use crate::writes::{is_stale, stale};
use chat_core::command::Command;
use chat_core::store::{Append, Appended, StoreError};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Batches of all lanes that go alone at the same time, each on a connection of the pool: it has others for readers.
pub(super) const ALONE_MAX: usize = 4;

/// A batch that goes alone is tried so often when it waited too long for a lock or met another's commit.
const ATTEMPTS: u32 = 3;

/// And so often when it was the victim of a deadlock, which ends as soon as the other one goes on.
const ATTEMPTS_AS_VICTIM: u32 = 10;

/// Before the first, the second, … other attempt.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Commit {
    shared: Arc<Shared>,
    /// A connection of its own, made when it is needed.
    connection: Option<PgConnection>,
    known: Known,
    alone: Arc<Semaphore>,
}

impl Commit {
    pub fn new(shared: Arc<Shared>, alone: Arc<Semaphore>) -> Self {
        Self {
            shared,
            connection: None,
            known: Known::default(),
            alone,
        }
    }
}

impl group::Commit for Commit {
    async fn commit(&mut self, group: Vec<Job>) -> Vec<Job> {
        let (ends, group): (Vec<_>, Vec<_>) = group.into_iter().partition(|job| ends_a_conversation(&job.batch));
        ends.into_iter().for_each(|job| self.go_alone(job));
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

/// Then it ends every membership in it, of which a channel has up to 100,000: that takes seconds.
fn ends_a_conversation(batch: &Append) -> bool {
    batch
        .items
        .iter()
        .any(|item| matches!(item.command, Command::ConversationDelete(_)))
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
            Way::Messages => {
                for batch in &batches {
                    if let Some(stretch) = self.shared.news.take(batch.conversation) {
                        self.known.go_on(batch.conversation, stretch);
                    }
                }
                without_locks(&mut session, &batches, &mut self.known).await
            }
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
            Err(error) if is_rolled_back(&error) => {
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
        tokio::spawn(alone(self.shared.clone(), self.alone.clone(), job));
    }

    /// Settles a group of which nobody knows: judged once more under its locks, what is stored answers again.
    fn settle(&self, group: Vec<Job>) {
        let (shared, turns) = (self.shared.clone(), self.alone.clone());
        tokio::spawn(async move {
            let turn = turns.acquire().await;
            let batches: Vec<_> = group.iter().map(|job| &job.batch).collect();
            let settled =
                async { with_locks(&shared, &mut shared.read_once().await?, &batches, Elsewhere::Wait).await };
            let settled = settled.await;
            drop(turn);
            match settled {
                Ok(answers) => {
                    for (job, answer) in group.into_iter().zip(answers) {
                        job.answer(answer.ok_or_else(group::no_answer));
                    }
                }
                Err(error) if is_rolled_back(&error) => {
                    tracing::warn!(%error, batches = group.len(), "a group was not settled: each batch goes alone");
                    for job in group {
                        tokio::spawn(alone(shared.clone(), turns.clone(), job));
                    }
                }
                Err(error) => answer_all(group, &error),
            }
        });
    }
}

async fn alone(shared: Arc<Shared>, turns: Arc<Semaphore>, job: Job) {
    let alone = async {
        let _turn = turns.acquire().await;
        alone_in(&shared, &job.batch).await
    };
    let answer = timeout(job.patience().unwrap_or_default(), alone).await;
    job.answer(answer.unwrap_or_else(|_| Err(group::late())));
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
            Err(error) if attempt < attempts(&error) => {
                tracing::debug!(%error, "a batch alone met another transaction");
                drop(session);
                sleep(attempt * ATTEMPT_PAUSE).await;
                attempt += 1;
            }
            Err(error) if batch.items.len() > 1 && is_rolled_back(&error) => {
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

/// By the server, which is there, or by us: nothing of it is stored.
fn is_rolled_back(error: &StoreError) -> bool {
    refusal_of_server(error).is_some() || is_stale(error)
}

/// How often it is tried after a deadlock, or somebody who made the same, went on in between, or holds the conversation for long.
fn attempts(error: &StoreError) -> u32 {
    match refusal_of_server(error).as_deref() {
        Some("40P01") => ATTEMPTS_AS_VICTIM,
        Some("40001" | "23505" | "55P03") => ATTEMPTS,
        _ if is_stale(error) => ATTEMPTS,
        _ => 1,
    }
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

/// On a lane's own connection, which has what our sessions have.
const BEGIN_IN_LANE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

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
    let begin = match elsewhere {
        Elsewhere::Skip => BEGIN_IN_LANE,
        Elsewhere::Wait => &shared.begin_writing,
    };
    session.run(begin).await?;
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
             ORDER BY c.id FOR NO KEY UPDATE OF c SKIP LOCKED"
        }
        Elsewhere::Wait => {
            "SELECT c.id AS conversation FROM chat_conversations c WHERE c.id IN (SELECT id FROM LIST(id uuid) j) \
             ORDER BY c.id FOR NO KEY UPDATE OF c"
        }
    };
    let rows = session.fetch(statement, &[asked]).await?;
    let locked = rows.iter().map(conversation).collect::<Answer<BTreeSet<_>>>()?;
    let asked = ids(&conversations);
    let statement = "SELECT c.id AS conversation FROM LIST(id uuid) j JOIN chat_conversations c ON c.id = j.id";
    let rows = session.fetch(statement, &[asked]).await?;
    let there = rows.iter().map(conversation).collect::<Answer<BTreeSet<_>>>()?;

    if matches!(elsewhere, Elsewhere::Wait) && locked != there {
        // One was made while another was waited for.
        return Err(stale());
    }
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

#[cfg(all(test, feature = "postgres-tests"))]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;
    use crate::group::Queue;
    use crate::postgres::{PostgresOptions, PostgresStore};
    use chat_core::Store;
    use chat_core::command::{ConversationCreate, MessageSend};
    use chat_core::conversation::{ConversationKind, RuleLimits};
    use chat_core::dedup::fingerprint;
    use chat_core::id::{CommandId, ConversationId, MessageId};
    use chat_core::message::Content;
    use chat_core::store::{Actor, AppendItem, Secret};
    use sqlx::{AssertSqlSafe, Executor};
    use tokio::time::sleep;
    use uuid::Uuid;

    async fn fresh_store(name: &str) -> (PostgresStore, String) {
        let url = chat_testkit::postgres::shared_postgres_url();
        let schema = format!("{name}_{}", std::process::id());
        let store = PostgresOptions::new().schema(&schema).connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        (store, schema)
    }

    fn batch(conversation: ConversationId, command: impl Into<Command>) -> Append {
        let command = command.into();
        Append {
            conversation,
            items: vec![AppendItem {
                actor: Actor::System,
                fingerprint: fingerprint(&Secret([0; 32]), &command),
                command,
            }],
            limits: RuleLimits::default(),
        }
    }

    fn creation(conversation: ConversationId) -> Append {
        let create = ConversationCreate {
            conversation,
            id: CommandId::new(Uuid::now_v7()).unwrap(),
            kind: ConversationKind::Group,
            title: None,
            public: false,
            history: None,
            members: Vec::new(),
            meta: None,
        };
        batch(conversation, create)
    }

    fn message(conversation: ConversationId, text: &str) -> Append {
        let send = MessageSend {
            conversation,
            id: MessageId::new(Uuid::now_v7()).unwrap(),
            content: Content::text(text),
            reply_to: None,
        };
        batch(conversation, send)
    }

    fn a_conversation() -> ConversationId {
        ConversationId::new(Uuid::now_v7()).unwrap()
    }

    #[tokio::test]
    async fn a_conversation_that_is_made_while_another_is_waited_for_is_asked_for_once_more() {
        let (store, _) = fresh_store("made_meanwhile").await;
        let (held, made) = (a_conversation(), a_conversation());
        store.append(creation(held)).await.unwrap();
        let mut host = store.shared.write().await.unwrap();
        host.lock_conversation(held).await.unwrap();

        let (asked, missing) = (message(held, "waits"), message(made, "too early"));
        let mut session = store.shared.read_once().await.unwrap();
        let me: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut *session.connection)
            .await
            .unwrap();
        let together = [&asked, &missing];
        let waiting = with_locks(&store.shared, &mut session, &together, Elsewhere::Wait);
        let meanwhile = async {
            let waits = "SELECT cardinality(pg_blocking_pids($1)) > 0";
            for _ in 0..400 {
                let waits = sqlx::query_scalar(waits).bind(me);
                if waits.fetch_one(&store.shared.pool).await.unwrap() {
                    break;
                }
                sleep(Duration::from_millis(5)).await;
            }
            store.append(creation(made)).await.unwrap();
            drop(host);
        };
        let (refused, ()) = tokio::join!(waiting, meanwhile);
        assert_eq!(
            attempts(&refused.unwrap_err()),
            ATTEMPTS,
            "and everything was rolled back"
        );
        let again = with_locks(&store.shared, &mut session, &together, Elsewhere::Wait).await;
        assert!(again.unwrap().iter().flatten().all(|answer| answer.outcomes[0].is_ok()));
    }

    #[tokio::test]
    async fn what_was_judged_of_a_conversation_that_has_gone_on_is_not_written_and_may_be_tried_again() {
        let (store, _) = fresh_store("gone_on").await;
        let group = a_conversation();
        store.append(creation(group)).await.unwrap();
        let mut session = store.shared.write().await.unwrap();
        let judged = judge_all(&mut session, &[&message(group, "late")]).await.unwrap();
        store.append(message(group, "meanwhile")).await.unwrap();
        let error = judged.writes.write(&mut session).await.unwrap_err();
        assert!(attempts(&error) > 1, "{error}");
    }

    /// Settles every group, as if nobody knew what became of it.
    struct Settling(Commit);

    impl group::Commit for Settling {
        async fn commit(&mut self, group: Vec<Job>) -> Vec<Job> {
            assert_eq!(group.len(), 3, "all that wait go together");
            self.0.settle(group);
            Vec::new()
        }
    }

    #[tokio::test]
    async fn a_message_that_cannot_be_stored_spoils_no_others_when_its_group_is_settled() {
        let (store, schema) = fresh_store("settled").await;
        let groups = [a_conversation(), a_conversation(), a_conversation()];
        for group in groups {
            store.append(creation(group)).await.unwrap();
        }
        let check = format!("ALTER TABLE {schema}.chat_messages ADD CONSTRAINT x CHECK (content NOT LIKE '%poison%')");
        store.shared.pool.execute(AssertSqlSafe(check)).await.unwrap();
        let alone = Arc::new(Semaphore::new(ALONE_MAX));
        let queue = Queue::start(Settling(Commit::new(store.shared.clone(), alone)));
        let (one, poison, another) = tokio::join!(
            queue.append(message(groups[0], "food")),
            queue.append(message(groups[1], "poison")),
            queue.append(message(groups[2], "food")),
        );
        assert!(one.unwrap().outcomes[0].is_ok() && another.unwrap().outcomes[0].is_ok());
        poison.unwrap_err();
    }
}
