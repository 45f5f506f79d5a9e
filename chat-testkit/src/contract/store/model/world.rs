//! A random world: its users and conversations, and what is known of them from what a store acknowledged.
//!
//! What is done in it is in `deed.rs`, what is looked at in `look.rs`.

use super::ask::{Answer, Ask};
use super::fold::Fold;
use crate::random::Random;
use chat_core::command::*;
use chat_core::conversation::{ConversationKind, HistoryVisibility, Role, RuleLimits};
use chat_core::event::{Event, EventKind};
use chat_core::frame::Stored;
use chat_core::id::{CommandId, ConversationId, MessageId, Seq, UserId};
use chat_core::store::{AppendItem, InboxChange, InboxChanged, ItemOutcome};
use std::collections::{BTreeMap, BTreeSet};

/// Names whose order and sameness are those of their bytes only.
const NAMES: [&str; 6] = ["ann", "Ann", "\u{e4}nn", "zo\u{eb}'s", "%_\"\\", "\u{1f600} b"];

/// Everything in it follows from its seed and from what the store acknowledged.
pub(super) struct World {
    pub random: Random,
    pub users: Vec<UserId>,
    pub places: Vec<Place>,
    /// The places where most happens.
    hot: [usize; 2],
    /// What every acknowledged id was answered first.
    pub acknowledged: BTreeMap<(ConversationId, CommandId), Stored>,
    /// Users of whom something changed that raises their revision.
    pub stirred: BTreeSet<UserId>,
    pub limits: RuleLimits,
    /// Everything that was tried, to be tried again.
    pub tried: Vec<AppendItem>,
    /// Whether a message was edited since time was let pass.
    pub edited: bool,
    /// Of ids and texts.
    pub count: u64,
}

/// A conversation that comes to be, some time, or not.
pub(super) struct Place {
    pub id: ConversationId,
    pub kind: ConversationKind,
    pub history: Option<HistoryVisibility>,
    pub public: bool,
    pub fold: Fold,
    /// What is each member's own in it.
    pub own: BTreeMap<UserId, Own>,
    /// Every message that somebody tried to send.
    pub messages: Vec<MessageId>,
    /// Which text each message has now.
    pub texts: BTreeMap<MessageId, String>,
}

/// Who is meant to do something, or to look.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whom {
    Member,
    Above,
    Outsider,
    Former,
}

/// What is a member's own, from the rules and not from a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Own {
    pub read: Seq,
    pub delivered: Seq,
    pub muted: bool,
    pub archived: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut limits = RuleLimits::default();
        if seed.is_multiple_of(4) {
            (limits.group_members_max, limits.channel_members_max) = (4, 3);
            (limits.inbox_max, limits.reactions_max) = (3, 1);
        }
        let mut world = Self {
            random: Random::new(seed),
            users: NAMES
                .iter()
                .map(|name| UserId::new(format!("{name} {seed}")).unwrap())
                .collect(),
            places: Vec::new(),
            hot: [0, 0],
            acknowledged: BTreeMap::new(),
            stirred: BTreeSet::new(),
            limits,
            tried: Vec::new(),
            edited: false,
            count: 0,
        };
        let (all, none) = (Some(HistoryVisibility::All), None);
        for (kind, history, public) in [
            (ConversationKind::Direct, none.clone(), false),
            (ConversationKind::Direct, all.clone(), false),
            (ConversationKind::Group, none.clone(), false),
            (ConversationKind::Group, all, false),
            (ConversationKind::Channel, none.clone(), true),
            (ConversationKind::Channel, none, false),
        ] {
            world.open(kind, history, public);
        }
        world.hot = [world.pick(&[0, 0, 1, 1, 2, 3, 4, 5]), 2 + world.index(4)];
        world
    }

    fn open(&mut self, kind: ConversationKind, history: Option<HistoryVisibility>, public: bool) {
        let id = self.unknown_conversation();
        self.places.push(Place {
            id,
            kind,
            history,
            public,
            fold: Fold::default(),
            own: BTreeMap::new(),
            messages: Vec::new(),
            texts: BTreeMap::new(),
        });
    }

    /// Ids in no order, over all of their bits.
    pub fn unknown_conversation(&mut self) -> ConversationId {
        ConversationId::from_parts(self.random.bits() >> 16, self.random.bytes())
    }

    /// One of those who are meant, most of the time; else anybody.
    pub fn somebody(&mut self, place: usize, whom: Whom) -> UserId {
        let fold = &self.places[place].fold;
        let is_meant = |user: &&UserId| match (whom, fold.members.get(*user)) {
            (Whom::Member, member) => member.is_some(),
            (Whom::Above, member) => member.is_some_and(|(role, _)| *role != Role::Member),
            (Whom::Outsider, member) => member.is_none(),
            (Whom::Former, _) => fold.former.contains_key(*user),
        };
        let meant: Vec<UserId> = self.users.iter().filter(is_meant).cloned().collect();
        if meant.is_empty() || self.random.chance(0.06) {
            return self.pick(&self.users.clone());
        }
        self.pick(&meant)
    }

    /// Somebody who looks at it: a member, or one who was, or anybody.
    pub fn viewer(&mut self, place: usize) -> UserId {
        let whom = if self.random.chance(0.3) {
            Whom::Former
        } else {
            Whom::Member
        };
        self.somebody(place, whom)
    }

    /// Mostly one where much happens.
    pub fn some_place(&mut self) -> usize {
        if self.random.chance(0.8) {
            self.pick(&self.hot.clone())
        } else {
            self.any_place()
        }
    }

    pub fn any_place(&mut self) -> usize {
        self.index(self.places.len())
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())].clone()
    }

    pub fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.random.below(0..count as u64)).unwrap()
    }

    pub fn conversations(&self) -> Vec<ConversationId> {
        self.places.iter().map(|place| place.id).collect()
    }

    /// The names of all texts that some message has now.
    pub fn texts(&self) -> BTreeSet<&str> {
        let texts = self.places.iter().flat_map(|place| place.texts.values());
        texts
            .filter_map(|text| text.strip_prefix("text<")?.split('>').next())
            .collect()
    }

    /// Takes in what a store answered.
    pub fn learn(&mut self, ask: &Ask, answer: &Answer) {
        match (ask, answer) {
            (Ask::Append(batch), Answer::Appended(appended)) => {
                for (item, outcome) in batch.items.iter().zip(&appended.outcomes) {
                    if let Ok(ItemOutcome::First(event)) = outcome {
                        self.learn_event(item, event);
                    }
                }
            }
            (Ask::Set(user, conversation, change), Answer::Changed(InboxChanged::Changed { .. })) => {
                self.stirred.insert(user.clone());
                let place = self.places.iter_mut().find(|place| place.id == *conversation);
                let own = place.and_then(|place| place.own.get_mut(user)).unwrap();
                match *change {
                    InboxChange::Read(seq) => (own.read, own.delivered) = (seq, own.delivered.max(seq)),
                    InboxChange::Delivered(seq) => own.delivered = seq,
                    InboxChange::Muted(muted) => own.muted = muted,
                    InboxChange::Archived(archived) => own.archived = archived,
                }
            }
            _ => {}
        }
    }

    fn learn_event(&mut self, item: &AppendItem, event: &Event) {
        let stored = Stored {
            conversation: event.conversation,
            id: event.id,
            seq: event.seq,
            tag: event.tag,
            at: event.at,
            duplicate: false,
        };
        let before = self.acknowledged.insert((event.conversation, event.id), stored);
        assert!(before.is_none(), "{} was stored before", event.id);
        let index = self
            .places
            .iter()
            .position(|place| place.id == event.conversation)
            .unwrap();
        let place = &mut self.places[index];
        let members: BTreeMap<UserId, (Role, Seq)> = place.fold.members.clone();
        place.fold.add(event);
        let now = &place.fold.members;
        let seat =
            |members: &BTreeMap<UserId, (Role, Seq)>, user: &UserId| members.get(user).map(|(_, joined)| *joined);
        for user in self.users.iter().filter(|user| seat(&members, user) != seat(now, user)) {
            self.stirred.insert(user.clone());
            let own = Own {
                read: event.seq,
                delivered: event.seq,
                ..Own::default()
            };
            place.own.insert(user.clone(), own);
        }
        match (&event.kind, &item.command) {
            (EventKind::MessageNew(new), Command::MessageSend(send)) => {
                place
                    .texts
                    .insert(new.message.id, send.content.text.clone().unwrap_or_default());
                if let Some(own) = event.actor.as_ref().and_then(|user| place.own.get_mut(user)) {
                    (own.read, own.delivered) = (event.seq, event.seq);
                }
            }
            (EventKind::MessageUpdated(updated), Command::MessageEdit(edit)) => {
                place
                    .texts
                    .insert(updated.message.id, edit.content.text.clone().unwrap_or_default());
            }
            (EventKind::MessageDeleted(deleted), _) => {
                place.texts.remove(&deleted.message.id);
            }
            (EventKind::ConversationDeleted(_), _) => {
                let (kind, history, public) = (place.kind.clone(), place.history.clone(), place.public);
                self.open(kind, history, public);
                let new = self.places.len() - 1;
                self.hot
                    .iter_mut()
                    .filter(|hot| **hot == index)
                    .for_each(|hot| *hot = new);
            }
            _ => {}
        }
    }
}
