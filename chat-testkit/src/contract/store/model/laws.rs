//! The laws of every world, told from its log: no store's code is asked what should be.

use super::ask::{Answer, Ask};
use super::fold::Fold;
use super::world::{Own, World};
use crate::contract::store::scene::event_of;
use chat_core::Store;
use chat_core::conversation::InboxEntry;
use chat_core::event::Event;
use chat_core::frame::{LogItem, Stored};
use chat_core::id::{Position, Revision, Seq, UserId};
use chat_core::message::Message;
use chat_core::store::{HistoryQuery, InboxChange, InboxChanged, ItemOutcome, LogQuery, LogRead, Memberships, Window};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) struct Laws {
    handles: [Arc<dyn Store>; 2],
    turn: usize,
    revisions: BTreeMap<UserId, Revision>,
}

impl Laws {
    pub fn new(handles: [Arc<dyn Store>; 2]) -> Self {
        Self {
            handles,
            turn: 0,
            revisions: BTreeMap::new(),
        }
    }

    /// Through one handle after the other; what is answered shows no text that no message has now.
    async fn ask(&mut self, world: &World, ask: &Ask) -> Answer {
        self.turn += 1;
        let answer = ask.of(&*self.handles[self.turn % 2], None).await;
        if !matches!(ask, Ask::Append(_)) {
            shows_only_what_is_there(world, &answer);
        }
        answer
    }

    /// Does something, and holds the answer to what must come of it.
    pub async fn act(&mut self, world: &mut World, ask: &Ask) {
        let expected = match ask {
            Ask::Set(user, conversation, change) => {
                let place = world.places.iter().find(|place| place.id == *conversation).unwrap();
                let own = place.own.get(user).filter(|_| place.fold.members.contains_key(user));
                Some(comes_of(own, *change, place.fold.head.seq))
            }
            _ => None,
        };
        let answer = self.ask(world, ask).await;
        world.learn(ask, &answer);
        shows_only_what_is_there(world, &answer);
        match (ask, &answer) {
            (Ask::Append(batch), Answer::Appended(appended)) => {
                assert_eq!(appended.outcomes.len(), batch.items.len());
                for outcome in &appended.outcomes {
                    if let Ok(ItemOutcome::Duplicate(stored)) = outcome {
                        let first = world.acknowledged[&(stored.conversation, stored.id)];
                        assert_eq!(
                            *stored,
                            Stored {
                                duplicate: true,
                                ..first
                            },
                            "the first answer again"
                        );
                        let place = world
                            .places
                            .iter()
                            .find(|place| place.id == stored.conversation)
                            .unwrap();
                        let is_elsewhere = place.id != batch.conversation;
                        assert!(
                            !is_elsewhere || !place.fold.is_deleted,
                            "a pair is free once its conversation is gone"
                        );
                    }
                }
                let place = world
                    .places
                    .iter()
                    .find(|place| place.id == batch.conversation)
                    .unwrap();
                assert_eq!(appended.head, place.fold.head);
            }
            (Ask::Set(user, conversation, _), Answer::Changed(changed)) => {
                assert_eq!(Some(kind_of(changed)), expected, "{ask:?}");
                let place = world.places.iter().find(|place| place.id == *conversation).unwrap();
                if let InboxChanged::Changed {
                    marks, member_count, ..
                } = changed
                {
                    let own = place.own[user];
                    assert_eq!((marks.read, marks.delivered), (own.read, own.delivered));
                    assert_eq!(*member_count, place.fold.members.len() as u64);
                }
            }
            _ => {}
        }
    }

    /// Reads everything there is, as the host and as every user.
    pub async fn look_around(&mut self, world: &mut World) {
        let mut logs = Vec::new();
        for index in 0..world.places.len() {
            logs.push(self.log_of(world, index).await);
        }
        for user in world.users.clone() {
            self.look_as(world, &user).await;
            for _ in 0..2 {
                let index = world.place_to_read_as(&user);
                self.read_log_as(world, &user, index, &logs[index]).await;
                self.read_history_as(world, &user, index).await;
            }
        }
        world.stirred.clear();
    }

    /// The log as the host reads it is what was acknowledged, and the conversation is what the log says.
    async fn log_of(&mut self, world: &World, index: usize) -> Vec<Event> {
        let place = &world.places[index];
        let everything = LogQuery {
            conversation: place.id,
            viewer: None,
            after: Seq::ZERO,
            limit: 10_000,
            bytes: usize::MAX,
        };
        let Answer::Log(read) = self.ask(world, &Ask::Log(everything)).await else {
            unreachable!()
        };
        let LogRead::Page(page) = read else {
            assert_eq!(place.fold.head, Position::START, "a log that was written is there");
            return Vec::new();
        };
        let events: Vec<Event> = page.items.into_iter().map(event_of).collect();
        assert_eq!(Fold::of(&events), place.fold, "what is read is what was acknowledged");
        assert_eq!(page.head, place.fold.head);
        place.fold.assert_messages();
        let ids: BTreeSet<_> = events.iter().map(|event| (place.id, event.id)).collect();
        assert_eq!(ids.len(), events.len(), "every id is in a log once");
        for event in &events {
            let acknowledged = world.acknowledged.get(&(place.id, event.id));
            assert_eq!(
                acknowledged.map(|stored| stored.at),
                Some(event.at),
                "{} was acknowledged",
                event.id
            );
        }
        let Answer::Conversation(view) = self.ask(world, &Ask::Conversation(place.id, None)).await else {
            unreachable!()
        };
        assert_eq!(view.is_none(), place.fold.is_deleted);
        if let Some(view) = view {
            let members = view
                .members
                .into_iter()
                .map(|member| (member.user, (member.role, member.joined)));
            assert_eq!(members.collect::<BTreeMap<_, _>>(), place.fold.members);
            assert_eq!(view.conversation.member_count, place.fold.members.len() as u64);
        }
        events
    }

    /// Memberships and entries are what the logs and the user's own marks say.
    async fn look_as(&mut self, world: &World, user: &UserId) {
        let Answer::Memberships(told) = self.ask(world, &Ask::Memberships(user.clone(), None)).await else {
            unreachable!()
        };
        self.revision_of(world, user, &told);
        let all = world.conversations();
        let Answer::Entries(entries) = self.ask(world, &Ask::Entries(user.clone(), all)).await else {
            unreachable!()
        };
        let here = world
            .places
            .iter()
            .filter(|place| place.fold.members.contains_key(user));
        assert_eq!(
            (told.memberships.len(), entries.len()),
            (here.clone().count(), here.clone().count())
        );
        assert!(told.memberships.is_sorted_by_key(|membership| membership.conversation));
        for place in here {
            let fold = &place.fold;
            let (from, _) = fold.sees(user).unwrap();
            let (role, joined) = fold.members[user].clone();
            let membership = told
                .memberships
                .iter()
                .find(|membership| membership.conversation == place.id)
                .unwrap();
            assert_eq!(
                (membership.joined, membership.visible_from, membership.head),
                (joined, from, fold.head)
            );
            let entry = entries.iter().find(|entry| entry.conversation.id == place.id).unwrap();
            assert_eq!(
                (entry.role.clone(), entry.joined, entry.head),
                (role, joined, fold.head)
            );
            assert_eq!(entry.revision, membership.revision);
            assert_eq!(own_of(entry), place.own[user], "marks, mute and archive of {user}");
            assert_eq!(
                entry.unread,
                fold.unread(user, from, entry.read),
                "unread of {user} from {from}: {entry:?}"
            );
            assert_eq!(
                entry.last_message.as_ref(),
                fold.messages.range(from..).last().map(|(_, message)| message)
            );
            assert_eq!(entry.conversation.member_count, fold.members.len() as u64);
        }
    }

    /// It rises with what is the user's own and with nothing else.
    fn revision_of(&mut self, world: &World, user: &UserId, told: &Memberships) {
        let before = self.revisions.insert(user.clone(), told.revision).unwrap_or_default();
        let rose = told.revision > before;
        assert!(
            rose || told.revision == before,
            "the revision of {user} fell from {before} to {}",
            told.revision
        );
        assert_eq!(
            rose,
            world.stirred.contains(user),
            "{before} and {} of {user}",
            told.revision
        );
        assert!(
            told.memberships
                .iter()
                .all(|membership| membership.revision <= told.revision)
        );
    }

    /// Page after page, from anywhere: what one may see is as the host sees it, all else is a skip, and nothing is
    /// missing in between.
    async fn read_log_as(&mut self, world: &mut World, user: &UserId, index: usize, log: &[Event]) {
        let (place, head) = (world.places[index].id, world.places[index].fold.head);
        let mut position = position_in(log, Seq(world.random.below(0..head.seq.0 / 2 + 1)));
        let (limit, bytes) = (world.pick(&[2, 5, 100]), world.pick(&[1_000, usize::MAX]));
        let sees = world.places[index].fold.sees(user);
        let last = sees.and_then(|(_, end)| end).unwrap_or(head.seq);
        let fold = &world.places[index].fold;
        for _ in 0..=2 * log.len() {
            let query = LogQuery {
                conversation: place,
                viewer: Some(user.clone()),
                after: position.seq,
                limit,
                bytes,
            };
            let Answer::Log(read) = self.ask(world, &Ask::Log(query)).await else {
                unreachable!()
            };
            let (page, sees) = match (read, sees) {
                (LogRead::NotFound, None) => return,
                (LogRead::Ahead, Some(_)) if position.seq > last => return,
                (LogRead::Page(page), Some(sees)) => (page, sees),
                (other, _) => panic!("{user} sees {sees:?} after {} and was told {other:?}", position.seq),
            };
            assert!(page.items.len() <= limit);
            assert_eq!(
                (page.after, page.head, page.ended),
                (position.tag, position_in(log, last), sees.1)
            );
            if page.items.is_empty() {
                assert_eq!(position.seq, last);
                return;
            }
            for item in page.items {
                assert_eq!(item.first(), position.seq.next(), "nothing is missing in between");
                position = item.position();
                assert_eq!(position, position_in(log, position.seq));
                let covered = item.first().0..=position.seq.0;
                let mut covered = covered.map(|seq| log.iter().find(|event| event.seq == Seq(seq)).unwrap());
                match &item {
                    LogItem::Event(event) => {
                        assert_eq!(Some(event), covered.next(), "as the host sees it");
                        assert!(!fold.hides(event, sees), "{user} sees {sees:?} and was shown {event:?}");
                    }
                    LogItem::Skip(skip) => {
                        assert!(
                            covered.all(|event| fold.hides(event, sees)),
                            "{user} sees {sees:?}: {skip:?}"
                        );
                    }
                }
            }
        }
        panic!("the pages of {user} never end");
    }

    /// All messages that a member may see, as they are now; nothing for anybody else.
    async fn read_history_as(&mut self, world: &World, user: &UserId, index: usize) {
        let place = &world.places[index];
        let query = HistoryQuery {
            conversation: place.id,
            viewer: Some(user.clone()),
            window: Window::Newest,
            limit: 10_000,
            bytes: usize::MAX,
        };
        let Answer::History(page) = self.ask(world, &Ask::History(query)).await else {
            unreachable!()
        };
        let is_member = place.fold.members.contains_key(user);
        assert_eq!(page.is_some(), is_member);
        if let (Some(page), Some((from, _))) = (page, place.fold.sees(user)) {
            let expected: Vec<Message> = place
                .fold
                .messages
                .range(from..)
                .map(|(_, message)| message.clone())
                .collect();
            assert_eq!(page.messages, expected);
            assert_eq!(
                (page.head, page.more_before, page.more_after),
                (place.fold.head, false, false)
            );
        }
    }
}

fn position_in(log: &[Event], seq: Seq) -> Position {
    log.iter()
        .find(|event| event.seq == seq)
        .map_or(Position::START, Event::position)
}

fn own_of(entry: &InboxEntry) -> Own {
    Own {
        read: entry.read,
        delivered: entry.delivered,
        muted: entry.muted,
        archived: entry.archived,
    }
}

/// What must come of a change: in a word, since what it changed to is seen in the entry.
fn comes_of(own: Option<&Own>, change: InboxChange, head: Seq) -> &'static str {
    let Some(own) = own else { return "not found" };
    let is_new = match change {
        InboxChange::Read(seq) | InboxChange::Delivered(seq) if seq > head => return "ahead",
        InboxChange::Read(seq) => seq > own.read,
        InboxChange::Delivered(seq) => seq > own.delivered,
        InboxChange::Muted(muted) => muted != own.muted,
        InboxChange::Archived(archived) => archived != own.archived,
    };
    if is_new { "changed" } else { "unchanged" }
}

fn kind_of(changed: &InboxChanged) -> &'static str {
    match changed {
        InboxChanged::Changed { .. } => "changed",
        InboxChanged::Unchanged => "unchanged",
        InboxChanged::NotFound => "not found",
        InboxChanged::Ahead => "ahead",
    }
}

/// Every text names itself: what was deleted, replaced or refused is found wherever it is shown.
fn shows_only_what_is_there(world: &World, answer: &Answer) {
    let shown = format!("{answer:?}");
    let there = world.texts();
    for after in shown.split("text<").skip(1) {
        let name = after.split('>').next().unwrap();
        assert!(there.contains(name), "text<{name}> is no message's: {shown}");
    }
}
