//! A store under test beside the reference: asked the same, they must answer the same.
//!
//! The reference is the memory store, the reading example of the contract. What may differ between two stores is left
//! out of the comparison: times and epochs by their value, and revisions by theirs, but never by their order.

use super::ask::{Answer, Ask};
use crate::ManualClock;
use crate::contract::store::StoreFixture;
use chat_core::Store;
use chat_core::id::{ConversationId, Position, Revision, UserId};
use chat_core::store::Horizon;
use chat_store_memory::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Both {
    handles: [Arc<dyn Store>; 2],
    reference: MemoryStore,
    clock: ManualClock,
    /// Of each user and conversation: the reference's revisions, and which of the store's stood beside each.
    revisions: BTreeMap<String, BTreeMap<Revision, Revision>>,
    /// The store's and the reference's.
    horizons: [Horizon; 2],
    turn: usize,
}

impl Both {
    pub async fn new(fixture: &impl StoreFixture) -> Self {
        let clock = ManualClock::default();
        let reference = MemoryStore::builder().with_clock(Arc::new(clock.clone())).build();
        let handles = [fixture.store(), fixture.another()];
        let mut horizons = Vec::new();
        for store in [&*handles[0], &reference] {
            horizons.push(store.heads_changed_since(None, 100).await.unwrap().value.horizon);
        }
        let [ours, reference_s] = [horizons.remove(0), horizons.remove(0)];
        Self {
            handles,
            reference,
            clock,
            revisions: BTreeMap::new(),
            horizons: [ours, reference_s],
            turn: 0,
        }
    }

    pub async fn let_time_pass(&self, fixture: &impl StoreFixture) {
        let by = Duration::from_millis(3);
        self.clock.advance(by);
        fixture.advance(by).await;
    }

    /// Asks both, the store under test through one handle after the other; answers with what it said.
    pub async fn ask(&mut self, ask: &Ask) -> Answer {
        let whose = whose(ask);
        let (after, reference_s) = self.after(ask);
        self.turn += 1;
        let answer = ask.of(&*self.handles[self.turn % 2], after).await;
        let expected = ask.of(&self.reference, reference_s).await;
        let (text, expected_text) = (Text::of(&format!("{answer:?}")), Text::of(&format!("{expected:?}")));
        if text.text != expected_text.text {
            panic!("to {ask:?}\n{}", difference(&answer, &expected));
        }
        let known = self.revisions.entry(whose).or_default();
        for (expected, given) in expected_text.revisions.into_iter().zip(text.revisions) {
            known.insert(expected, given);
        }
        let in_order = known
            .values()
            .zip(known.values().skip(1))
            .all(|(before, after)| before < after);
        assert!(
            in_order,
            "to {ask:?}\nrevisions, the reference's and the store's, rise together: {known:?}"
        );
        answer
    }

    /// The revisions, the store's and the reference's, that are meant in an ask for what changed after one.
    fn after(&self, ask: &Ask) -> (Option<Revision>, Option<Revision>) {
        let Ask::Memberships(_, Some(ago)) = ask else {
            return (None, None);
        };
        let known = self.revisions.get(&whose(ask));
        let meant = known.and_then(|known| known.iter().rev().nth(*ago));
        meant.map_or((None, None), |(expected, given)| (Some(*given), Some(*expected)))
    }

    /// What the reference tells has changed the store tells too; it may tell more, and in other pages.
    pub async fn compare_changes(&mut self, users: &[UserId], conversations: &[ConversationId]) {
        let (handles, turn) = (&self.handles, self.turn);
        let (heads, told) = read_on(&*handles[turn % 2], &mut self.horizons[0]).await;
        let (expected_heads, expected) = read_on(&self.reference, &mut self.horizons[1]).await;
        let now = self.reference.heads(conversations).await.unwrap().value;
        for head in now {
            let position = heads.get(&head.conversation);
            let missed = position.is_none() && expected_heads.contains_key(&head.conversation);
            assert!(!missed, "a change of {} was not told", head.conversation);
            assert!(
                position.is_none_or(|position| *position == head.position),
                "{position:?} was told for {head:?}"
            );
        }
        let missed = users
            .iter()
            .find(|user| expected.contains(user) && !told.contains(user));
        assert_eq!(missed, None, "a change of a user was not told");
    }
}

async fn read_on(store: &dyn Store, horizon: &mut Horizon) -> (BTreeMap<ConversationId, Position>, BTreeSet<UserId>) {
    let (mut heads, mut users) = (BTreeMap::new(), BTreeSet::new());
    for _ in 0..10_000 {
        let changes = store.heads_changed_since(Some(horizon), 3).await.unwrap().value;
        heads.extend(changes.heads.into_iter().map(|head| (head.conversation, head.position)));
        users.extend(changes.users);
        *horizon = changes.horizon;
        if !changes.more {
            return (heads, users);
        }
    }
    panic!("the changes never end");
}

/// Whose revisions an answer tells: those of a user, or those of a conversation's marks.
fn whose(ask: &Ask) -> String {
    match ask {
        Ask::Memberships(user, _) | Ask::Entries(user, _) | Ask::Inbox(user, ..) => user.to_string(),
        Ask::Conversation(_, Some(user)) => user.to_string(),
        Ask::Marks(query) => query.conversation.to_string(),
        _ => String::new(),
    }
}

/// An answer as text, without what may differ between stores; and the revisions in it, in their order.
struct Text {
    text: String,
    revisions: Vec<Revision>,
}

impl Text {
    fn of(answer: &str) -> Self {
        let (mut text, mut revisions, mut rest) = (String::with_capacity(answer.len()), Vec::new(), answer);
        loop {
            let next = ["Timestamp(", "Epoch(", "Revision("].into_iter();
            let Some((at, name)) = next.filter_map(|name| Some((rest.find(name)?, name))).min() else {
                text.push_str(rest);
                return Self { text, revisions };
            };
            let (value, after) = rest[at + name.len()..].split_once(')').unwrap();
            if name == "Revision(" {
                revisions.push(Revision(value.trim_matches([' ', '\n', ',']).parse().unwrap()));
            }
            text.push_str(&rest[..at + name.len()]);
            rest = after;
        }
    }
}

/// The lines from the first that differs on.
fn difference(answer: &Answer, expected: &Answer) -> String {
    let [answer, expected] = [answer, expected].map(|answer| Text::of(&format!("{answer:#?}")).text);
    let same = answer
        .lines()
        .zip(expected.lines())
        .take_while(|(one, other)| one == other)
        .count();
    let from = |text: &str| {
        text.lines()
            .skip(same.saturating_sub(3))
            .take(12)
            .collect::<Vec<_>>()
            .join("\n")
    };
    format!(
        "the store said\n{}\nand the reference\n{}",
        from(&answer),
        from(&expected)
    )
}
