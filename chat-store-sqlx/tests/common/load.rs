//! Writers who know what they were told, and what must hold of the logs afterwards.
#![allow(dead_code)] // the tests of each database use what they need

use chat_core::Store;
use chat_core::command::{Command, ConversationCreate, MemberRemove, MessageSend};
use chat_core::conversation::{ConversationKind, RuleLimits, chain};
use chat_core::dedup::fingerprint;
use chat_core::event::Event;
use chat_core::frame::{LogItem, Stored};
use chat_core::id::{CommandId, ConversationId, MessageId, Position, Seq, UserId};
use chat_core::message::Content;
use chat_core::store::{
    Actor, Append, AppendItem, Appended, Changes, Horizon, ItemOutcome, LogQuery, LogRead, Refusal, Secret, StoreError,
};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use uuid::Uuid;

/// Everything that a test waits for comes long before.
pub const AT_MOST: Duration = Duration::from_secs(60);

const AGAIN_AFTER: Duration = Duration::from_millis(20);

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub fn by(name: &str) -> Actor {
    Actor::User(user(name))
}

pub fn id() -> CommandId {
    CommandId::new(Uuid::now_v7()).unwrap()
}

pub fn message(conversation: ConversationId, text: &str) -> MessageSend {
    MessageSend {
        conversation,
        id: MessageId::from(id()),
        content: Content::text(text),
        reply_to: None,
    }
}

pub fn removal(conversation: ConversationId, name: &str) -> MemberRemove {
    MemberRemove {
        conversation,
        id: id(),
        user: user(name),
    }
}

/// A store and the words to speak to it.
#[derive(Clone)]
pub struct Words {
    pub store: Arc<dyn Store>,
    key: Secret,
}

impl Words {
    pub async fn on(store: &(impl Store + Clone)) -> Self {
        let key = store.identity().await.unwrap().fingerprint_key;
        let store: Arc<dyn Store> = Arc::new(store.clone());
        Self { store, key }
    }

    pub fn item(&self, actor: Actor, command: impl Into<Command>) -> AppendItem {
        let command = command.into();
        AppendItem {
            actor,
            fingerprint: fingerprint(&self.key, &command),
            command,
        }
    }

    pub async fn append_all(
        &self,
        conversation: ConversationId,
        items: Vec<AppendItem>,
    ) -> Result<Appended, StoreError> {
        let limits = RuleLimits::default();
        let batch = Append {
            conversation,
            items,
            limits,
        };
        self.store.append(batch).await
    }

    pub async fn append(
        &self,
        actor: Actor,
        command: impl Into<Command>,
    ) -> Result<Result<ItemOutcome, Refusal>, StoreError> {
        let item = self.item(actor, command);
        let conversation = item.command.conversation().unwrap();
        let mut outcomes = self.append_all(conversation, vec![item]).await?.outcomes;
        assert_eq!(outcomes.len(), 1, "one outcome for each item");
        Ok(outcomes.remove(0))
    }

    /// What must be stored, now or before.
    pub async fn stored(&self, actor: Actor, command: impl Into<Command>) -> Stored {
        place(self.append(actor, command).await.unwrap().unwrap())
    }

    /// Asks until it is known.
    pub async fn settle(&self, actor: Actor, command: impl Into<Command>) -> Result<Stored, Refusal> {
        let (command, end) = (command.into(), Instant::now() + AT_MOST);
        loop {
            match self.append(actor.clone(), command.clone()).await {
                Ok(outcome) => return outcome.map(place),
                Err(error) if Instant::now() < end => drop(error),
                Err(error) => panic!("never known: {error}"),
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    /// A group of these users; the first one owns it.
    pub async fn group(&self, members: &[&str]) -> ConversationId {
        let conversation = ConversationId::new(Uuid::now_v7()).unwrap();
        let create = ConversationCreate {
            conversation,
            id: id(),
            kind: ConversationKind::Group,
            title: None,
            public: false,
            history: None,
            members: members[1..].iter().map(|name| user(name)).collect(),
            meta: None,
        };
        self.stored(by(members[0]), create).await;
        conversation
    }

    pub async fn groups(&self, count: usize) -> Vec<ConversationId> {
        let mut groups = Vec::new();
        for _ in 0..count {
            groups.push(self.group(&["ann", "bob"]).await);
        }
        groups
    }

    pub async fn say(&self, conversation: ConversationId, text: &str) -> Stored {
        self.stored(by("ann"), message(conversation, text)).await
    }

    pub async fn try_log(&self, conversation: ConversationId, after: Seq) -> Result<LogRead, StoreError> {
        let query = LogQuery {
            conversation,
            viewer: None,
            after,
            limit: 100_000,
            bytes: usize::MAX,
        };
        Ok(self.store.log(query).await?.value)
    }

    /// Every event of the log, checked for order, gaps and tags.
    pub async fn log(&self, conversation: ConversationId) -> Vec<Event> {
        let page = match self.try_log(conversation, Seq(0)).await.unwrap() {
            LogRead::Page(page) => page,
            other => panic!("no page: {other:?}"),
        };
        let events: Vec<Event> = page
            .items
            .into_iter()
            .map(|item| match item {
                LogItem::Event(event) => event,
                LogItem::Skip(skip) => panic!("an event was expected, not {skip:?}"),
            })
            .collect();
        let mut position = Position::START;
        for event in &events {
            assert_eq!(event.seq, position.seq.next(), "seqs have no gap");
            let tag = chain(position.tag, event.conversation, event.seq, event.kind.name(), event.id);
            assert_eq!(event.tag, tag, "the tag of {} is chained", event.seq);
            position = event.position();
        }
        assert_eq!(position, page.head, "the log ends at its head");
        events
    }

    pub async fn head(&self, conversation: ConversationId) -> Position {
        let heads = self.store.heads(&[conversation]).await.unwrap().value;
        heads.first().map_or(Position::START, |head| head.position)
    }

    pub async fn horizon(&self) -> Horizon {
        self.store.heads_changed_since(None, 100).await.unwrap().value.horizon
    }

    /// All that changed since a horizon, page by page.
    pub async fn changed_since(&self, horizon: &Horizon) -> Changes {
        let mut all = self.store.heads_changed_since(Some(horizon), 3).await.unwrap().value;
        for _ in 0..1_000 {
            if !all.more {
                return all;
            }
            let next = self
                .store
                .heads_changed_since(Some(&all.horizon), 3)
                .await
                .unwrap()
                .value;
            all.heads.extend(next.heads);
            all.users.extend(next.users);
            (all.horizon, all.more) = (next.horizon, next.more);
        }
        panic!("the pages never end");
    }

    /// What was acknowledged is in the logs, where it was said to be; each id once, and nothing that nobody asked for.
    pub async fn holds(&self, conversations: &[ConversationId], told: &Told) {
        let mut acked: HashMap<CommandId, &Stored> = HashMap::new();
        for stored in &told.acked {
            let before = acked.insert(stored.id, stored);
            assert!(
                before.is_none_or(|before| is_same(before, stored)),
                "one id, two places"
            );
        }
        let asked: HashSet<CommandId> = told.asked.iter().copied().collect();
        let mut seen = HashSet::new();
        for conversation in conversations {
            for event in self.log(*conversation).await {
                assert!(seen.insert(event.id), "{} is there twice", event.id);
                if event.seq == Seq(1) {
                    continue;
                }
                assert!(asked.contains(&event.id), "nobody asked for {}", event.id);
                if let Some(stored) = acked.remove(&event.id) {
                    assert_eq!((stored.seq, stored.tag), (event.seq, event.tag), "{}", event.id);
                }
            }
        }
        assert!(
            acked.is_empty(),
            "acknowledged and not there: {:?}",
            acked.into_values()
        );
    }
}

fn is_same(one: &Stored, other: &Stored) -> bool {
    (one.conversation, one.seq, one.tag) == (other.conversation, other.seq, other.tag)
}

pub fn place(outcome: ItemOutcome) -> Stored {
    match outcome {
        ItemOutcome::First(event) => Stored {
            conversation: event.conversation,
            id: event.id,
            seq: event.seq,
            tag: event.tag,
            at: event.at,
            duplicate: false,
        },
        ItemOutcome::Duplicate(stored) => stored,
    }
}

/// Writers who send one message after the other.
pub struct Load {
    words: Words,
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    writers: Vec<JoinHandle<()>>,
}

/// What writers were told.
#[derive(Default, Clone)]
pub struct Told {
    pub acked: Vec<Stored>,
    /// How long each of them waited, and when it was told.
    pub waited: Vec<(Instant, Duration)>,
    /// Everything that was asked for, whatever came of it.
    pub asked: Vec<CommandId>,
    /// Nobody knows yet.
    pub unknown: Vec<MessageSend>,
    /// The answers that told nothing, and how long the writers waited for each.
    pub in_vain: Vec<(Duration, String)>,
}

impl Load {
    /// Each writer goes round the conversations; what is unknown is left to the end.
    pub fn start(words: &Words, conversations: &[ConversationId], writers: usize) -> Self {
        let (stop, told) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Told>>::default());
        let writers = (0..writers).map(|writer| {
            let (words, conversations) = (words.clone(), conversations.to_vec());
            let (stop, told) = (stop.clone(), told.clone());
            tokio::spawn(async move {
                let mut turn = writer;
                while !stop.load(Ordering::Relaxed) {
                    let send = message(conversations[turn % conversations.len()], "said under load");
                    turn += 1;
                    told.lock().unwrap().asked.push(send.id.into());
                    let since = Instant::now();
                    let answer = words.append(by("ann"), send.clone()).await;
                    let waited = since.elapsed();
                    let is_known = answer.is_ok();
                    {
                        let mut told = told.lock().unwrap();
                        match answer {
                            Ok(outcome) => {
                                told.acked.push(place(outcome.unwrap()));
                                told.waited.push((Instant::now(), waited));
                            }
                            Err(error) => {
                                told.unknown.push(send);
                                told.in_vain.push((waited, error.to_string()));
                            }
                        }
                    }
                    if !is_known {
                        sleep(AGAIN_AFTER).await;
                    }
                }
            })
        });
        Self {
            words: words.clone(),
            writers: writers.collect(),
            stop,
            told,
        }
    }

    pub fn acked(&self) -> usize {
        self.told.lock().unwrap().acked.len()
    }

    pub fn acked_since(&self, number: usize) -> Vec<Stored> {
        self.told.lock().unwrap().acked[number..].to_vec()
    }

    pub fn in_vain(&self) -> usize {
        self.told.lock().unwrap().in_vain.len()
    }

    /// Waits until so many more were acknowledged.
    pub async fn goes_on(&self, more: usize) {
        let (enough, end) = (self.acked() + more, Instant::now() + AT_MOST);
        while self.acked() < enough {
            assert!(Instant::now() < end, "nothing is acknowledged any more");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the writers, and asks again for everything that is unknown.
    pub async fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.unwrap();
        }
        let mut told = self.told.lock().unwrap().clone();
        for send in &told.unknown {
            let stored = self.words.settle(by("ann"), send.clone()).await.unwrap();
            told.acked.push(stored);
        }
        told
    }
}
