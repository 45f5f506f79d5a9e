//! The steps of one message's path, each by itself: reading the command, judging it, storing a batch, writing the event.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use benches::load;
use chat_core::Store;
use chat_core::codec::Codec;
use chat_core::command::{Command, ConversationCreate, MessageSend};
use chat_core::conversation::{
    Conversation, ConversationFacts, ConversationKind, Facts, HistoryVisibility, MemberFacts, Role, RuleLimits, judge,
};
use chat_core::dedup::fingerprint;
use chat_core::frame::{ClientFrame, ServerFrame};
use chat_core::id::{CommandId, Position, Seq, Timestamp};
use chat_core::message::Content;
use chat_core::store::{Actor, Append, AppendItem, Appended, ItemOutcome, Secret};
use chat_store_memory::MemoryStore;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tokio::runtime::Runtime;

/// Messages that the conversation's task found in its mailbox at once.
const BATCH: usize = 16;

criterion_group!(message_path, codecs, rules, store);
criterion_main!(message_path);

fn codecs(criterion: &mut Criterion) {
    let (store, runtime) = store_with_a_conversation();
    let appended = runtime
        .block_on(store.append(batch(0, 1)))
        .expect("memory does not fail");
    let Some(Ok(ItemOutcome::First(event))) = appended.outcomes.into_iter().next() else {
        panic!("the first message of an empty conversation is stored");
    };
    let event = ServerFrame::Event(event);
    for codec in Codec::ALL {
        let name = codec.subprotocol();
        criterion.bench_function(&format!("encode an event, {name}"), |bencher| {
            bencher.iter(|| codec.encode(black_box(&event)));
        });
        let command = codec.encode(&ClientFrame::Command {
            req: 1_000_000,
            command: send(1),
        });
        codec
            .decode_client(&command)
            .expect("what this bench decodes is a frame");
        criterion.bench_function(&format!("decode a command, {name}"), |bencher| {
            bencher.iter(|| codec.decode_client(black_box(&command)));
        });
    }
}

fn rules(criterion: &mut Criterion) {
    let key = Secret([7; 32]);
    let command = send(1);
    criterion.bench_function("fingerprint a message:send", |bencher| {
        bencher.iter(|| fingerprint(&key, black_box(&command)));
    });
    let facts = Facts {
        at: Timestamp(1_790_000_000_000),
        conversation: Some(ConversationFacts {
            conversation: Conversation {
                id: load::conversation(0),
                kind: ConversationKind::Channel,
                title: None,
                public: false,
                history: HistoryVisibility::Joined,
                meta: None,
                created_at: Timestamp(1_790_000_000_000),
                member_count: 50,
            },
            head: Position {
                seq: Seq(41),
                ..Position::START
            },
            deleted: false,
            owner: None,
        }),
        actor: Some(MemberFacts {
            role: Role::Member,
            visible_from: Seq(1),
        }),
        ..Facts::default()
    };
    let (item, limits) = (item(1), RuleLimits::default());
    criterion.bench_function("judge a message:send", |bencher| {
        bencher.iter(|| judge(black_box(&facts), black_box(&item), &limits));
    });
}

fn store(criterion: &mut Criterion) {
    let (store, runtime) = store_with_a_conversation();
    let mut next = 0;
    let mut group = criterion.benchmark_group("memory store");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(format!("append {BATCH} messages"), |bencher| {
        bencher.to_async(&runtime).iter_batched(
            || {
                next += BATCH;
                batch(next, BATCH)
            },
            |batch| async { store.append(batch).await.map(stored) },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// How many were stored; a bench of refusals would be a bench of nothing.
fn stored(appended: Appended) -> usize {
    let stored = appended
        .outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(ItemOutcome::First(_))));
    let count = stored.count();
    assert_eq!(count, BATCH);
    count
}

fn store_with_a_conversation() -> (MemoryStore, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime for this bench");
    let store = MemoryStore::new();
    let create = ConversationCreate {
        conversation: load::conversation(0),
        id: CommandId::from_parts(1, [1; 10]),
        kind: ConversationKind::Channel,
        title: None,
        public: false,
        history: None,
        members: (0..50).map(|member| load::user(0, member)).collect(),
        meta: None,
    };
    let created = Append {
        items: vec![AppendItem {
            actor: Actor::System,
            fingerprint: fingerprint(&Secret([7; 32]), &create.clone().into()),
            command: create.into(),
        }],
        ..batch(0, 0)
    };
    let created = runtime.block_on(store.append(created)).expect("memory does not fail");
    assert!(created.outcomes[0].is_ok());
    (store, runtime)
}

fn batch(first: usize, count: usize) -> Append {
    Append {
        conversation: load::conversation(0),
        items: (first..first + count).map(item).collect(),
        limits: RuleLimits::default(),
    }
}

fn item(number: usize) -> AppendItem {
    let command = send(number);
    AppendItem {
        actor: Actor::User(load::user(0, number % 50)),
        fingerprint: fingerprint(&Secret([7; 32]), &command),
        command,
    }
}

fn send(number: usize) -> Command {
    MessageSend {
        conversation: load::conversation(0),
        id: load::message(number),
        content: Content::text(load::text(number)),
        reply_to: None,
    }
    .into()
}
