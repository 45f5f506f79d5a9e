//! What a store can be asked, as a value: so that two stores can be asked the same.

use chat_core::Store;
use chat_core::command::PageToken;
use chat_core::conversation::InboxEntry;
use chat_core::frame::{ConversationView, HistoryPage};
use chat_core::id::{CommandId, ConversationId, MessageId, Revision, UserId};
use chat_core::store::{
    Append, Appended, HistoryQuery, InboxChange, InboxChanged, ListQuery, LogQuery, LogRead, Memberships,
};
use serde_json::Value;
use std::fmt::Debug;

/// What is asked of a store.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Append(Append),
    Set(UserId, ConversationId, InboxChange),
    Display(UserId, Value),
    Lookup(ConversationId, CommandId),
    Log(LogQuery),
    History(HistoryQuery),
    /// All of them, or those that changed after the revision that was seen so many revisions ago.
    Memberships(UserId, Option<usize>),
    Entries(UserId, Vec<ConversationId>),
    /// Every page of so many entries and bytes.
    Inbox(UserId, usize, usize),
    Conversation(ConversationId, Option<UserId>),
    Members(ListQuery),
    Marks(ListQuery),
    Reactions(ListQuery, MessageId, String),
    Heads(Vec<ConversationId>),
    Sharing(UserId, Vec<UserId>),
}

/// What it answered; of lists all pages in one.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time")]
pub(super) enum Answer {
    Appended(Appended),
    Changed(InboxChanged),
    Log(LogRead),
    History(Option<HistoryPage>),
    Memberships(Memberships),
    Entries(Vec<InboxEntry>),
    Conversation(Option<ConversationView>),
    /// Something that is only compared with what another store says.
    #[expect(dead_code, reason = "it is read in its printed form")]
    Told(Box<dyn Debug + Send>),
}

fn told(what: impl Debug + Send + 'static) -> Answer {
    Answer::Told(Box::new(what))
}

impl Ask {
    /// Asks a store; `after` is its revision where memberships are asked for that changed.
    pub async fn of(&self, store: &dyn Store, after: Option<Revision>) -> Answer {
        match self.clone() {
            Self::Append(batch) => Answer::Appended(store.append(batch).await.unwrap()),
            Self::Set(user, conversation, change) => {
                Answer::Changed(store.set_inbox(&user, conversation, change).await.unwrap())
            }
            Self::Display(user, display) => told(store.put_display(&user, &display).await.unwrap()),
            Self::Lookup(conversation, id) => told(store.lookup(conversation, id).await.unwrap().value),
            Self::Log(query) => Answer::Log(store.log(query).await.unwrap().value),
            Self::History(query) => Answer::History(store.history(query).await.unwrap().value),
            Self::Memberships(user, _) => Answer::Memberships(store.memberships(&user, after).await.unwrap().value),
            Self::Entries(user, conversations) => {
                let mut entries = store.entries(&user, &conversations).await.unwrap().value;
                entries.sort_unstable_by_key(|entry| entry.conversation.id);
                Answer::Entries(entries)
            }
            Self::Inbox(user, limit, bytes) => Answer::Entries(inbox(store, &user, (limit, bytes)).await),
            Self::Conversation(conversation, viewer) => {
                Answer::Conversation(store.conversation(conversation, viewer.as_ref()).await.unwrap().value)
            }
            Self::Members(mut query) => {
                let mut list = Pages::new(query.limit);
                while let Some(page) = store.members(query.clone()).await.unwrap().value {
                    query.page = page.next;
                    if list.ends_with(page.members, query.page.as_ref()) {
                        return told(Some(list.items));
                    }
                }
                told(list.was_never_there())
            }
            Self::Marks(mut query) => {
                let mut list = Pages::new(query.limit);
                while let Some(page) = store.marks(query.clone()).await.unwrap().value {
                    query.page = page.next;
                    if list.ends_with(page.marks, query.page.as_ref()) {
                        return told(Some((list.items, page.revision)));
                    }
                }
                told(list.was_never_there())
            }
            Self::Reactions(mut query, message, emoji) => {
                let mut list = Pages::new(query.limit);
                while let Some(page) = store.reactions(query.clone(), message, &emoji).await.unwrap().value {
                    query.page = page.next;
                    if list.ends_with(page.users, query.page.as_ref()) {
                        return told(Some(list.items));
                    }
                }
                told(list.was_never_there())
            }
            Self::Heads(conversations) => {
                let mut heads = store.heads(&conversations).await.unwrap().value;
                heads.sort_unstable_by_key(|head| head.conversation);
                told(heads)
            }
            Self::Sharing(user, others) => {
                let mut sharing = store.sharing(&user, &others).await.unwrap();
                sharing.sort_unstable();
                told(sharing)
            }
        }
    }
}

async fn inbox(store: &dyn Store, user: &UserId, (limit, bytes): (usize, usize)) -> Vec<InboxEntry> {
    let (mut list, mut token) = (Pages::new(limit), None);
    loop {
        let page = store.inbox(user, token.as_ref(), limit, bytes).await.unwrap().value;
        token = page.next;
        if list.ends_with(page.entries, token.as_ref()) {
            return list.items;
        }
    }
}

/// Pages that are put together.
struct Pages<T> {
    limit: usize,
    items: Vec<T>,
}

impl<T> Pages<T> {
    fn new(limit: usize) -> Self {
        let items = Vec::new();
        Self { limit, items }
    }

    /// Takes a page; whether it was the last.
    fn ends_with(&mut self, page: Vec<T>, next: Option<&PageToken>) -> bool {
        assert!(page.len() <= self.limit, "{} on a page of {}", page.len(), self.limit);
        assert!(!page.is_empty() || next.is_none(), "a page holds at least one");
        self.items.extend(page);
        assert!(self.items.len() < 1_000, "the pages never end");
        next.is_none()
    }

    /// A list that is not for the viewer is so from its first page on.
    fn was_never_there(self) -> Option<Vec<T>> {
        assert!(self.items.is_empty(), "a list ended before its last page");
        None
    }
}
