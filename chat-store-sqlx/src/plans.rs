//! Hot statements use their indexes: each is explained as it runs, in a store with a million messages.

use crate::database::{Answer, Argument, Database};
use crate::desk::judge_all;
use crate::rows::Columns;
use crate::statements::{self, Seats};
use crate::{keep, read};
use chat_core::command::{Command, MessageSend};
use chat_core::conversation::RuleLimits;
use chat_core::dedup::fingerprint;
use chat_core::id::{ConversationId, MessageId, Revision, Seq, Timestamp, UserId};
use chat_core::message::Content;
use chat_core::store::{Actor, Append, AppendItem, HistoryQuery, LogQuery, Secret, Window};

/// Messages of the one large conversation.
pub(crate) const MESSAGES: u64 = 1_000_000;
/// Conversations of the one user.
pub(crate) const CONVERSATIONS: u64 = 500;

/// Conversations in all.
pub(crate) const ALL_CONVERSATIONS: u64 = 200_000;

pub(crate) const USER: &str = "user-1";

/// The conversation of this number; the first one is the large one.
pub(crate) fn conversation(number: u64) -> ConversationId {
    format!("00000000-0000-7000-8000-{number:012}").parse().unwrap()
}

/// A database that notes how each statement is going to run.
pub(crate) struct Explaining<'a, D> {
    pub inner: &'a mut D,
    pub explain: &'static str,
    /// Lines of all plans.
    pub plans: Vec<String>,
}

impl<D: Database> Explaining<'_, D> {
    async fn explain(&mut self, statement: &'static str, arguments: &[Argument<'_>]) -> Answer<()> {
        let explained: &'static str = format!("{} {statement}", self.explain).leak();
        for row in self.inner.fetch(explained, arguments).await? {
            self.plans.push(row.plan());
        }
        Ok(())
    }
}

impl<D: Database> Database for Explaining<'_, D> {
    type Row = D::Row;

    async fn fetch(&mut self, statement: &'static str, arguments: &[Argument<'_>]) -> Answer<Vec<D::Row>> {
        self.explain(statement, arguments).await?;
        self.inner.fetch(statement, arguments).await
    }

    async fn execute(&mut self, statement: &'static str, arguments: &[Argument<'_>]) -> Answer<u64> {
        self.explain(statement, arguments).await?;
        self.inner.execute(statement, arguments).await
    }

    fn at(&self) -> Option<Timestamp> {
        self.inner.at()
    }

    async fn now(&mut self) -> Answer<Timestamp> {
        self.inner.now().await
    }

    async fn lock_conversation(&mut self, conversation: ConversationId) -> Answer<()> {
        self.inner.lock_conversation(conversation).await
    }

    async fn begin_change(&mut self) -> Answer<()> {
        self.inner.begin_change().await
    }
}

fn user() -> UserId {
    UserId::new(USER).unwrap()
}

/// Messages into the large conversation, which answer one of it.
pub(crate) fn batch() -> Append {
    let item = |number: u64| {
        let command = Command::MessageSend(MessageSend {
            conversation: conversation(1),
            id: MessageId::from_parts(number, [9; 10]),
            content: Content::text("hi"),
            reply_to: Some("10000000-0000-7000-8000-000000000500".parse().unwrap()),
        });
        AppendItem {
            actor: Actor::User(user()),
            fingerprint: fingerprint(&Secret([0; 32]), &command),
            command,
        }
    };
    Append {
        conversation: conversation(1),
        items: (1..=3).map(item).collect(),
        limits: RuleLimits::default(),
    }
}

/// Runs what is hot, and answers with the plans of each kind.
pub(crate) async fn hot<D: Database>(database: &mut D, explain: &'static str) -> Vec<(&'static str, Vec<String>)> {
    let mut found = Vec::new();
    let mut explaining = Explaining {
        inner: database,
        explain,
        plans: Vec::new(),
    };
    let d = &mut explaining;

    for window in [
        Window::Newest,
        Window::Before(Seq(500_000)),
        Window::After(Seq(500_000)),
        Window::Around(Seq(500_000)),
    ] {
        let query = HistoryQuery {
            conversation: conversation(1),
            viewer: Some(user()),
            window,
            limit: 50,
            bytes: 48 * 1024,
        };
        let page = read::history(d, &query).await.unwrap().value.unwrap();
        assert_eq!(page.messages.len(), 50);
    }
    found.push(("history", std::mem::take(&mut d.plans)));

    let query = LogQuery {
        conversation: conversation(1),
        viewer: Some(user()),
        after: Seq(500_000),
        limit: 200,
        bytes: 48 * 1024,
    };
    read::log(d, &query).await.unwrap();
    found.push(("log", std::mem::take(&mut d.plans)));

    let many: Vec<_> = (1..=CONVERSATIONS).map(conversation).collect();
    assert_eq!(statements::heads(d, &many).await.unwrap().value.len(), many.len());
    found.push(("heads", std::mem::take(&mut d.plans)));

    let inbox = read::inbox(d, &user(), None, (50, 1 << 20)).await.unwrap();
    assert_eq!((inbox.entries.len(), inbox.entries[0].unread), (50, 1_000));
    read::entries(d, &user(), Seats::Of(&many[..50])).await.unwrap();
    found.push(("inbox and unread", std::mem::take(&mut d.plans)));

    let all = statements::memberships(d, &user(), None).await.unwrap().value;
    assert_eq!(all.memberships.len() as u64, CONVERSATIONS);
    statements::memberships(d, &user(), Some(Revision(1))).await.unwrap();
    found.push(("resume", std::mem::take(&mut d.plans)));

    let now = keep::heads_changed_since(d, None, 100).await.unwrap().value.horizon;
    keep::heads_changed_since(d, Some(&now), 100).await.unwrap();
    found.push(("reconcile", std::mem::take(&mut d.plans)));

    let batch = batch();
    let judged = judge_all(d, &[&batch]).await.unwrap();
    assert!(
        judged.answers[0].outcomes.iter().all(Result::is_ok),
        "{:?}",
        judged.answers
    );
    judged.writes.write(d).await.unwrap();
    found.push(("append", std::mem::take(&mut d.plans)));
    found
}
