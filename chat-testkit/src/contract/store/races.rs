//! At the same time: what holds of a membership that ends while others write and read.
//!
//! A store that asks who is a member first and writes or reads later passes by luck; chat-testkit's own tests run
//! these promises against such stores, one for each wrong order, and want them caught.

use super::StoreFixture;
use super::scene::{Scene, by, list, user};
use chat_core::command::{Command, MessageEdit, ReactionRemove};
use chat_core::conversation::InboxEntry;
use chat_core::event::Event;
use chat_core::frame::{ConversationView, HistoryPage};
use chat_core::id::{ConversationId, Position, Seq};
use chat_core::message::Content;
use chat_core::store::{HistoryQuery, ItemOutcome, LogPage, Refusal, Window};

/// How bob's membership ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    Removed,
    Left,
    WithTheConversation,
}

const ENDINGS: [Ending; 3] = [Ending::Removed, Ending::Left, Ending::WithTheConversation];

impl Ending {
    async fn come(self, scene: &Scene, group: ConversationId) -> Event {
        match self {
            Self::Removed => scene.remove(group, "bob").await,
            Self::Left => scene.leave(group, "bob").await,
            Self::WithTheConversation => scene.end(group).await,
        }
    }
}

/// However bob's commands race with the end of his membership: the log holds nothing of his after it, and all that he
/// was told is stored is before it.
pub async fn nothing_of_a_member_is_stored_after_their_removal(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    for round in 0..6 {
        let ending = ENDINGS[round % 3];
        let group = scene.group(&["ann", "bob"]).await;
        let mut writers = Vec::new();
        for writer in 0..4 {
            let handle = if writer % 2 == 0 { fixture.store() } else { fixture.another() };
            writers.push(tokio::spawn(write_until_refused(scene.through(handle), group, writer)));
        }
        let other = scene.through(fixture.another());
        let other = tokio::spawn(async move {
            for _ in 0..12 {
                let _ = other.append(other.item(by("ann"), other.message(group, "hers"))).await;
                tokio::task::yield_now().await;
            }
        });
        while scene.head(group).await.seq < Seq(8 + round as u64) {
            tokio::task::yield_now().await;
        }
        let end = ending.come(&scene, group).await;
        let mut told = Vec::new();
        for writer in writers {
            told.extend(writer.await.unwrap());
        }
        other.await.unwrap();
        let log = scene.whole_log(group).await;
        let his = log.iter().filter(|event| event.actor == Some(user("bob")));
        let late: Vec<_> = his.clone().filter(|event| event.seq > end.seq).collect();
        assert!(late.is_empty(), "stored after the end at {}: {late:?}", end.seq);
        told.sort_unstable();
        let stored: Vec<Seq> = his.map(|event| event.seq).filter(|seq| *seq != end.seq).collect();
        assert_eq!(told, stored, "what bob was told is stored is his in the log");
        assert!(ending != Ending::WithTheConversation || log.last() == Some(&end));
    }
}

/// Bob writes, edits and reacts until he is no member; answers with where all this was stored.
async fn write_until_refused(scene: Scene, conversation: ConversationId, writer: u32) -> Vec<Seq> {
    let mut told = Vec::new();
    for _ in 0..10_000 {
        let send = scene.message(conversation, "his");
        let message = send.id;
        let edit = MessageEdit {
            conversation,
            id: scene.id(),
            message,
            version: Some(1),
            content: Content::text("mended"),
        };
        let emoji = writer.to_string();
        let remove = ReactionRemove {
            conversation,
            id: scene.id(),
            message,
            emoji: emoji.clone(),
        };
        let add = chat_core::command::ReactionAdd {
            conversation,
            id: scene.id(),
            message,
            emoji,
        };
        for command in [Command::from(send), edit.into(), add.into(), remove.into()] {
            match scene.append(scene.item(by("bob"), command)).await {
                Ok(ItemOutcome::First(event)) => told.push(event.seq),
                Err(Refusal::NotFound) => return told,
                other => panic!("{other:?}"),
            }
            tokio::task::yield_now().await;
        }
    }
    panic!("bob was never refused");
}

/// Page and membership are read in one statement: however they race, nothing after the end of a membership is read, and
/// nobody who was seen to be gone is seen again.
pub async fn what_is_read_at_the_same_time_as_a_removal_ends_there(fixture: impl StoreFixture) {
    let scene = Scene::of(&fixture).await;
    for round in 0..6 {
        let ending = ENDINGS[round % 3];
        let group = scene.group(&["ann", "bob"]).await;
        let writer = scene.through(fixture.another());
        let writer = tokio::spawn(async move {
            for _ in 0..5 {
                writer.send(group, "ann", "before").await;
            }
            let end = ending.come(&writer, group).await;
            for _ in 0..if ending == Ending::WithTheConversation { 0 } else { 5 } {
                writer.send(group, "ann", AFTER).await;
            }
            end.position()
        });
        let mut readers = Vec::new();
        for handle in [fixture.store(), fixture.another()] {
            let (scene, writer) = (scene.through(handle), writer.abort_handle());
            readers.push(tokio::spawn(async move {
                let mut looks = Vec::new();
                loop {
                    let over = writer.is_finished();
                    looks.push(Look::of(&scene, group).await);
                    if over {
                        return looks;
                    }
                    tokio::task::yield_now().await;
                }
            }));
        }
        let end = writer.await.unwrap();
        for reader in readers {
            let looks = reader.await.unwrap();
            looks.iter().for_each(|look| look.ends_at(end));
            let saw_a_member: Vec<bool> = looks.iter().flat_map(Look::saw_a_member).collect();
            assert!(saw_a_member.is_sorted_by(|before, after| before >= after), "bob came back: {saw_a_member:?}");
            assert_eq!(saw_a_member.last(), Some(&false));
        }
    }
}

const AFTER: &str = "written after the end";

/// What bob was shown of the group, one read after the other.
#[derive(Debug)]
struct Look {
    page: LogPage,
    history: Option<HistoryPage>,
    entry: Option<InboxEntry>,
    inbox: Option<InboxEntry>,
    view: Option<ConversationView>,
    /// How many members, and how many marks.
    lists: [Option<usize>; 2],
    membership: Option<Position>,
}

impl Look {
    async fn of(scene: &Scene, group: ConversationId) -> Self {
        let (store, bob) = (&scene.store, user("bob"));
        let history = HistoryQuery {
            conversation: group,
            viewer: Some(bob.clone()),
            window: Window::Newest,
            limit: 100,
            bytes: usize::MAX,
        };
        let members = list(group, Some("bob"));
        Self {
            page: scene.page(group, Some("bob"), 0).await,
            history: store.history(history).await.unwrap().value,
            entry: store.entries(&bob, &[group]).await.unwrap().value.pop(),
            inbox: {
                let page = store.inbox(&bob, None, 50, usize::MAX).await.unwrap().value;
                page.entries.into_iter().find(|entry| entry.conversation.id == group)
            },
            view: store.conversation(group, Some(&bob)).await.unwrap().value,
            lists: [
                store.members(members.clone()).await.unwrap().value.map(|page| page.members.len()),
                store.marks(members).await.unwrap().value.map(|page| page.marks.len()),
            ],
            membership: {
                let told = store.memberships(&bob, None).await.unwrap().value.memberships;
                told.iter().find(|membership| membership.conversation == group).map(|membership| membership.head)
            },
        }
    }

    /// By each read in turn, whether bob was a member at that moment.
    fn saw_a_member(&self) -> [bool; 8] {
        [
            self.page.ended.is_none(),
            self.history.is_some(),
            self.entry.is_some(),
            self.inbox.is_some(),
            self.view.is_some(),
            self.lists[0].is_some(),
            self.lists[1].is_some(),
            self.membership.is_some(),
        ]
    }

    /// Everything is of one moment, and none of it is later than the end; every event after the first is a message.
    fn ends_at(&self, end: Position) {
        let last = self.page.items.last().unwrap().position();
        assert!(last.seq <= end.seq, "the log was read to {} after the end at {}", last.seq, end.seq);
        assert_eq!(self.page.ended, (last == end).then_some(end.seq), "an end is told when it is there");
        assert_eq!(self.page.head, last);
        if let Some(history) = &self.history {
            let (head, messages) = (history.head.seq, history.messages.len() as u64);
            assert!(head < end.seq, "history was read to {head} after the end at {}", end.seq);
            assert_eq!(messages, head.0 - 1, "the messages of a history are those up to its head");
        }
        let of_view = self.view.as_ref().map(|view| view.entry.as_ref().unwrap());
        for entry in [&self.entry, &self.inbox].into_iter().flatten().chain(of_view) {
            let head = entry.head.seq;
            assert!(head < end.seq, "an entry was read at {head} after the end at {}", end.seq);
            assert_eq!((entry.unread, entry.conversation.member_count), (head.0 - 1, 2));
            assert_eq!(entry.last_message.as_ref().map_or(Seq(1), |message| message.seq), head);
        }
        let of_view = self.view.as_ref().map(|view| view.members.len());
        assert!(self.lists.into_iter().chain([of_view]).flatten().all(|members| members == 2), "bob and ann");
        assert!(self.membership.is_none_or(|head| head.seq < end.seq), "a membership was read after the end");
        assert!(!format!("{self:?}").contains(AFTER));
    }
}
