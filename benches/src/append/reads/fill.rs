//! A store with something to read: written by the store's own appends, a batch at a time.

use crate::append::ours::Ours;
use crate::append::{Failure, Options, StoreKind};
use crate::{figures, load};
use chat_core::command::{Command, ConversationCreate, MessageSend};
use chat_core::conversation::{ConversationKind, RuleLimits};
use chat_core::dedup::fingerprint;
use chat_core::id::{CommandId, ConversationId, MessageId, UserId};
use chat_core::message::Content;
use chat_core::store::{Actor, Append, AppendItem, Secret, Store};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Conversations of the reader: the first ones of all.
pub(super) const OF_READER: usize = 500;
/// Those of them that have very many unread messages: the first ones of the inbox.
pub(super) const LARGE: usize = 10;
/// The one of them whose history is read.
pub(super) const HISTORY: usize = 0;
/// Conversations of others.
const OF_OTHERS: usize = 4_500;

/// Messages in one append.
const BATCH: u64 = 500;
/// Appends under way at once where conversations are small.
const AT_ONCE: usize = 64;
/// The memory of this machine is small.
const UNREAD_IN_MEMORY: u64 = 20_000;

/// How far filling came.
pub(super) struct Filled {
    pub conversations: usize,
    /// Messages in the conversation whose history is read.
    pub history: u64,
    /// Messages in each other large one, at least.
    pub unread: u64,
}

/// Who reads.
pub(super) fn reader() -> UserId {
    load::user(0, 0)
}

/// Who writes what the reader has not read.
fn writer() -> UserId {
    load::user(0, 1)
}

/// Creates all conversations and fills the large ones.
pub(super) async fn fill(ours: &Ours, options: &Options) -> Result<Filled, Failure> {
    let began = Instant::now();
    let conversations = OF_READER + OF_OTHERS;
    figures::progress(&format!("reads: creating {conversations} conversations"));
    for_each(0..conversations, AT_ONCE, |index| create(&ours.store, index)).await?;
    // One message everywhere, so that every inbox entry has something to show.
    for_each(LARGE..conversations, AT_ONCE, |index| {
        write(&ours.store, index, 0..1, Duration::MAX)
    })
    .await?;
    let unread = match options.store {
        StoreKind::Memory => options.unread().min(UNREAD_IN_MEMORY),
        StoreKind::Sqlite | StoreKind::Postgres => options.unread(),
    };
    let (messages, time) = (options.messages(), options.fill_time());
    figures::progress(&format!("reads: filling, {messages} messages in one conversation"));
    let history = write(&ours.store, HISTORY, 0..messages, time.saturating_sub(began.elapsed())).await?;
    figures::progress(&format!("reads: filling, {unread} messages in nine conversations each"));
    let left = time.saturating_sub(began.elapsed());
    let written = for_each((0..LARGE).filter(|index| *index != HISTORY), LARGE, |index| {
        write(&ours.store, index, 0..unread, left)
    });
    let unread = written.await?.into_iter().min().unwrap_or(0);
    Ok(Filled {
        conversations,
        history,
        unread,
    })
}

/// Writes one message into so many conversations of the reader, and says which.
pub(super) async fn touch(ours: &Ours, count: usize) -> Result<Vec<ConversationId>, Failure> {
    let conversations = LARGE..LARGE + count;
    for_each(conversations.clone(), AT_ONCE, |index| {
        write(&ours.store, index, 1..2, Duration::MAX)
    })
    .await?;
    Ok(conversations.map(load::conversation).collect())
}

async fn for_each<T, F: Future<Output = Result<T, Failure>>>(
    indexes: impl IntoIterator<Item = usize>,
    at_once: usize,
    act: impl FnMut(usize) -> F,
) -> Result<Vec<T>, Failure> {
    stream::iter(indexes)
        .map(act)
        .buffer_unordered(at_once)
        .try_collect()
        .await
}

async fn create(store: &Arc<dyn Store>, index: usize) -> Result<(), Failure> {
    let members = match index {
        0..OF_READER => vec![reader(), writer()],
        _ => vec![load::user(index, 0), load::user(index, 1)],
    };
    let create = ConversationCreate {
        conversation: load::conversation(index),
        id: CommandId::from_parts(1, id_bytes(index, 0)),
        kind: ConversationKind::Channel,
        title: Some(format!("conversation {index}")),
        public: false,
        history: None,
        members,
        meta: None,
    };
    append(store, index, Actor::System, [create.into()]).await
}

/// Writes the messages of these numbers, or as many of them as there is time for; answers how many.
async fn write(
    store: &Arc<dyn Store>,
    index: usize,
    numbers: std::ops::Range<u64>,
    time: Duration,
) -> Result<u64, Failure> {
    let began = Instant::now();
    let author = match index {
        0..OF_READER => writer(),
        _ => load::user(index, 1),
    };
    let mut next = numbers.start;
    while next < numbers.end && began.elapsed() < time {
        let end = numbers.end.min(next + BATCH);
        let messages = (next..end).map(|number| {
            Command::from(MessageSend {
                conversation: load::conversation(index),
                id: MessageId::from_parts(2, id_bytes(index, number)),
                content: Content::text(load::text(number as usize)),
                reply_to: None,
            })
        });
        append(store, index, Actor::User(author.clone()), messages).await?;
        next = end;
    }
    Ok(next - numbers.start)
}

async fn append(
    store: &Arc<dyn Store>,
    index: usize,
    actor: Actor,
    commands: impl IntoIterator<Item = Command>,
) -> Result<(), Failure> {
    // Nobody sends these again through an engine, so any key does.
    let key = Secret([7; 32]);
    let items = commands.into_iter().map(|command| AppendItem {
        actor: actor.clone(),
        fingerprint: fingerprint(&key, &command),
        command,
    });
    let appended = store
        .append(Append {
            conversation: load::conversation(index),
            items: items.collect(),
            limits: RuleLimits::default(),
        })
        .await?;
    for outcome in appended.outcomes {
        outcome?;
    }
    Ok(())
}

/// Unlike any other of the same conversation, and later ones higher.
fn id_bytes(index: usize, number: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&(index as u16).to_be_bytes());
    bytes[2..].copy_from_slice(&number.to_be_bytes());
    bytes
}
