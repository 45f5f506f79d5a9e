//! Several devices of one user: what is done on one shows on the others.

use super::house::House;
use super::say::*;
use chat_core::code::ErrorCode;
use chat_core::command::{InboxArchive, InboxList, InboxMute, MarkDelivered, MarkList};
use chat_core::conversation::{InboxEntry, Marks};
use chat_core::frame::{Outcome, ServerFrame};
use chat_core::id::{ConversationId, Revision, Seq};
use chat_testkit::wire::{Wire, events};
use std::collections::BTreeMap;

/// What a device shows: the entries that it was told, the latest of each conversation.
#[derive(Default)]
struct Screen(BTreeMap<ConversationId, InboxEntry>);

impl Screen {
    fn take(&mut self, frames: &[ServerFrame]) {
        for frame in frames {
            match frame {
                ServerFrame::Inbox(inbox) => {
                    let entries = inbox.entries.iter().cloned();
                    self.0.extend(entries.map(|entry| (entry.conversation.id, entry)));
                }
                ServerFrame::Reset(reset) => panic!("{reset:?}"),
                _ => {}
            }
        }
    }
}

fn mute(conversation: ConversationId, muted: bool) -> InboxMute {
    InboxMute { conversation, muted }
}

fn archive(conversation: ConversationId, archived: bool) -> InboxArchive {
    InboxArchive { conversation, archived }
}

#[tokio::test(start_paused = true)]
async fn read_muted_and_archived_on_one_device_and_added_while_both_are_away_shows_on_both() {
    let house = House::open().await;
    let [mut ana, mut phone, mut laptop] = house.guests(["ana", "ben", "ben"]).await;
    let mut groups = Vec::new();
    for _ in 0..4 {
        let group = group(&mut ana, &["ben"]).await;
        house.fill(group, 3).await;
        groups.push(group);
    }
    let [seen, silent, old, plain] = groups[..] else {
        unreachable!()
    };
    let (mut on_phone, mut on_laptop) = (Screen::default(), Screen::default());
    on_phone.take(&phone.drain().await);
    on_laptop.take(&laptop.drain().await);
    let laptop = laptop.leave();

    phone.done(read(seen, Seq(3))).await;
    phone.done(mute(silent, true)).await;
    phone.done(archive(old, true)).await;
    on_phone.take(&phone.drain().await);
    let phone = phone.leave();

    let added = group(&mut ana, &[]).await;
    house.fill(added, 2).await;
    ana.stored(add(added, "ben")).await;
    house.fill(added, 2).await;

    let (mut phone, frames) = Wire::come_back(&house.connector, phone).await;
    on_phone.take(&frames);
    assert!(events(&frames).is_empty(), "the phone has missed nothing but its entry");
    let (_laptop, frames) = Wire::come_back(&house.connector, laptop).await;
    on_laptop.take(&frames);

    let shows = |screen: &Screen| -> Vec<_> {
        let of = |group| {
            let entry = &screen.0[&group];
            (entry.unread, entry.read.0, entry.muted, entry.archived, entry.joined.0)
        };
        [seen, silent, old, plain, added].map(of).to_vec()
    };
    let expected = [
        (1, 3, false, false, 1),
        (3, 1, true, false, 1),
        (3, 1, false, true, 1),
        (3, 1, false, false, 1),
        (2, 4, false, false, 4),
    ];
    assert_eq!(shows(&on_phone)[..3], expected[..3]);
    assert_eq!(shows(&on_laptop)[..3], expected[..3]);
    // Of what nobody touched both were told before the messages; those are counted from the log.
    assert_eq!(shows(&on_phone)[4], expected[4]);
    assert_eq!(on_phone.0[&added], on_laptop.0[&added]);
    for group in [seen, silent, old] {
        assert_eq!(on_phone.0[&group], on_laptop.0[&group]);
    }
    let Ok(Outcome::Inbox(inbox)) = phone
        .ask(InboxList {
            page: None,
            limit: None,
        })
        .await
    else {
        panic!("an inbox")
    };
    let mut listed = Screen::default();
    let entries = inbox.entries.into_iter();
    listed.0.extend(entries.map(|entry| (entry.conversation.id, entry)));
    assert_eq!(shows(&listed), expected);
}

#[tokio::test(start_paused = true)]
async fn what_one_device_sets_shows_at_once_on_another_that_is_online_with_a_higher_revision() {
    let house = House::open().await;
    let [mut ana, mut phone, mut laptop] = house.guests(["ana", "ben", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    house.fill(group, 5).await;
    phone.drain().await;
    laptop.drain().await;
    let mut before = laptop.memory().revision.unwrap();
    let asks: [(chat_core::command::Command, [u64; 3], [bool; 2]); 5] = [
        (
            MarkDelivered {
                conversation: group,
                seq: Seq(4),
            }
            .into(),
            [5, 1, 4],
            [false, false],
        ),
        (read(group, Seq(3)).into(), [3, 3, 4], [false, false]),
        (read(group, Seq(6)).into(), [0, 6, 6], [false, false]),
        (mute(group, true).into(), [0, 6, 6], [true, false]),
        (archive(group, true).into(), [0, 6, 6], [true, true]),
    ];
    for (command, [unread, read, delivered], [muted, archived]) in asks {
        let name = command.name();
        phone.done(command).await;
        for device in [&mut phone, &mut laptop] {
            let frames = device.drain().await;
            let [ServerFrame::Inbox(inbox)] = &frames[..] else {
                panic!("{name}: {frames:?}")
            };
            let [entry] = &inbox.entries[..] else {
                panic!("{name}: {inbox:?}")
            };
            assert_eq!(
                (entry.unread, entry.read.0, entry.delivered.0),
                (unread, read, delivered),
                "{name}"
            );
            assert_eq!((entry.muted, entry.archived), (muted, archived), "{name}");
            assert!(
                inbox.last && inbox.revision > before && entry.revision == inbox.revision,
                "{name}"
            );
        }
        before = laptop.memory().revision.unwrap();
    }
    // What changes nothing raises nothing and tells nobody.
    phone.done(mute(group, true)).await;
    phone.done(read(group, Seq(2))).await;
    assert!(phone.drain().await.is_empty() && laptop.drain().await.is_empty());
    // Neither does a message: the mark that it moves for its sender follows from the log.
    say(&mut phone, group, "mine").await;
    assert_eq!(told_all(events(&laptop.drain().await)), ["new mine"]);
    assert_eq!(laptop.memory().revision, Some(before));
}

async fn marks_of(wire: &mut Wire, conversation: ConversationId) -> (Revision, Vec<Marks>) {
    let list = MarkList {
        conversation,
        page: None,
        limit: None,
    };
    match wire.ask(list).await {
        Ok(Outcome::Marks(page)) => (page.revision, page.marks),
        other => panic!("expected marks, heard {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_members_marks_are_listed_with_a_revision_that_counts_their_changes() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    house.fill(group, 4).await;
    let (first, marks) = marks_of(&mut ana, group).await;
    let of = |marks: &[Marks]| -> Vec<_> {
        marks
            .iter()
            .map(|m| (m.user.to_string(), m.read.0, m.delivered.0))
            .collect()
    };
    assert_eq!(of(&marks), [("ana".to_owned(), 1, 1), ("ben".to_owned(), 1, 1)]);
    ben.done(read(group, Seq(3))).await;
    ben.done(MarkDelivered {
        conversation: group,
        seq: Seq(5),
    })
    .await;
    let (second, marks) = marks_of(&mut ana, group).await;
    assert_eq!(of(&marks)[1], ("ben".to_owned(), 3, 5));
    assert_eq!(second.0, first.0 + 2);
    ben.done(read(group, Seq(2))).await;
    ben.done(mute(group, true)).await;
    assert_eq!(marks_of(&mut ana, group).await.0, second, "no mark changed");
}

#[tokio::test(start_paused = true)]
async fn a_mark_never_goes_back_and_never_passes_the_head() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    house.fill(group, 4).await;
    ben.done(read(group, Seq(4))).await;
    ben.done(read(group, Seq(2))).await;
    ben.done(MarkDelivered {
        conversation: group,
        seq: Seq(1),
    })
    .await;
    assert_eq!(ben.refused(read(group, Seq(6))).await.code, ErrorCode::InvalidArgument);
    let ahead = MarkDelivered {
        conversation: group,
        seq: Seq(6),
    };
    assert_eq!(ben.refused(ahead).await.code, ErrorCode::InvalidArgument);
    let entry = entry_of(&mut ben, group).await;
    assert_eq!((entry.read, entry.delivered, entry.unread), (Seq(4), Seq(4), 1));
}
