//! Two users, one node.

use super::house::House;
use super::say::*;
use chat_core::code::ErrorCode;
use chat_core::codec::Codec;
use chat_core::command::*;
use chat_core::conversation::{ConversationKind, Role};
use chat_core::event::EventKind;
use chat_core::frame::{Outcome, Resume};
use chat_core::id::Seq;
use chat_core::message::Content;
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Memory, Wire, events};

#[tokio::test(start_paused = true)]
async fn two_users_chat() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    let (_, stored) = say(&mut ana, group, "hello").await;
    assert_eq!((stored.seq, stored.duplicate), (Seq(2), false));
    let heard = ben.event().await;
    assert_eq!(told(&heard), "new hello");
    assert_eq!(
        (heard.seq, heard.tag, heard.actor),
        (stored.seq, stored.tag, Some(user("ana")))
    );
    say(&mut ben, group, "good morning").await;
    assert_eq!(told_all(events(&ana.drain().await)), ["new hello", "new good morning"]);
}

#[tokio::test(start_paused = true)]
async fn json_and_messagepack_say_the_same() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let mut packed = Wire::dial(&house.connector, Dial::new(Codec::MessagePack)).await;
    packed.hello(Memory::hello_of("ana")).await;
    packed.resume(Resume::default()).await;
    let group = group(&mut ana, &[]).await;
    let (message, _) = say(&mut packed, group, "grüße 👋").await;
    packed.stored(react(group, message, "🎉")).await;
    ana.stored(edit(group, message, "mended")).await;
    assert_eq!(ana.drain().await, packed.drain().await);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_answered_as_the_first_time_and_stored_once() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    let command = text(group, "once");
    let first = ana.stored(command.clone()).await;
    let again = ana.stored(command.clone()).await;
    assert_eq!(
        again,
        chat_core::frame::Stored {
            duplicate: true,
            ..first
        }
    );
    // Another content, or another sender, is another command.
    let other = MessageSend {
        content: Content::text("twice"),
        ..command.clone()
    };
    assert_eq!(ana.refused(other).await.code, ErrorCode::IdConflict);
    assert_eq!(ben.refused(command.clone()).await.code, ErrorCode::IdConflict);
    // In another conversation the id means nothing.
    let elsewhere = super::say::group(&mut ana, &[]).await;
    let independent = ana
        .stored(MessageSend {
            conversation: elsewhere,
            ..command
        })
        .await;
    assert!(!independent.duplicate);
    assert_eq!(told_all(events(&ben.drain().await)), ["new once"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_answers_again_after_its_sender_was_removed() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    let command = text(group, "mine");
    ben.stored(command.clone()).await;
    ana.stored(remove(group, "ben")).await;
    assert!(ben.stored(command).await.duplicate);
    assert_eq!(ben.refused(text(group, "more")).await.code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_direct_conversation_is_found_by_its_pair_from_both_sides() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let first = ana.stored(create(ConversationKind::Direct, &["ben"])).await;
    say(&mut ana, first.conversation, "hi").await;
    let found = ben.stored(create(ConversationKind::Direct, &["ana"])).await;
    assert_eq!((found.conversation, found.duplicate), (first.conversation, true));
    let again = ana.stored(create(ConversationKind::Direct, &["ben"])).await;
    assert_eq!((again.conversation, again.duplicate), (first.conversation, true));
    say(&mut ben, found.conversation, "hello").await;
    let notes = ana.stored(create(ConversationKind::Direct, &[])).await;
    assert!(!notes.duplicate, "notes to self are a conversation of their own");
    // It is fixed: nobody joins, leaves, or is added.
    for command in [
        Command::from(leave(first.conversation)),
        add(first.conversation, "cy").into(),
    ] {
        assert_eq!(ana.refused(command).await.code, ErrorCode::InvalidArgument);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_sees_a_public_channels_title_and_joins() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let channel = ana.stored(public_channel()).await.conversation;
    say(&mut ana, channel, "before").await;
    let Ok(Outcome::Conversation(view)) = ben.ask(ConversationGet { conversation: channel }).await else {
        panic!("a public channel is seen")
    };
    assert_eq!(view.conversation.title.as_deref(), Some("a title"));
    assert!(
        view.entry.is_none() && view.members.is_empty(),
        "and nothing more of it"
    );
    assert_eq!(ben.refused(history(channel)).await.code, ErrorCode::NotFound);
    ben.stored(join(channel)).await;
    say(&mut ana, channel, "after").await;
    assert_eq!(told_all(events(&ben.drain().await)), ["new after"]);
    let seen = page_of(ben.ask(history(channel)).await);
    assert_eq!(seen.messages.iter().map(text_of).collect::<Vec<_>>(), ["after"]);
}

#[tokio::test(start_paused = true)]
async fn everybody_does_what_their_role_allows_and_no_more() {
    let house = House::open().await;
    let [mut owner, mut admin, mut member] = house.guests(["owner", "admin", "member"]).await;
    let group = group(&mut owner, &["admin", "member", "other"]).await;
    owner.stored(role(group, "admin", Role::Admin)).await;
    let (message, _) = say(&mut member, group, "mine").await;
    let rename = || ConversationUpdate {
        conversation: group,
        id: fresh(),
        title: Some("new".to_owned()),
        meta: None,
    };
    let end = || ConversationDelete {
        conversation: group,
        id: fresh(),
    };
    for command in [
        Command::from(rename()),
        end().into(),
        add(group, "cy").into(),
        remove(group, "other").into(),
    ] {
        assert_eq!(member.refused(command).await.code, ErrorCode::Forbidden);
    }
    // Nobody edits another's text, an admin may delete it; only the owner touches admins.
    assert_eq!(
        admin.refused(edit(group, message, "theirs")).await.code,
        ErrorCode::Forbidden
    );
    admin.stored(delete(group, message)).await;
    admin.stored(rename()).await;
    admin.stored(remove(group, "other")).await;
    assert_eq!(admin.refused(remove(group, "owner")).await.code, ErrorCode::Forbidden);
    assert_eq!(
        admin.refused(role(group, "member", Role::Admin)).await.code,
        ErrorCode::Forbidden
    );
    assert_eq!(admin.refused(end()).await.code, ErrorCode::Forbidden);
    assert_eq!(owner.refused(leave(group)).await.code, ErrorCode::Conflict);
    // Ownership is handed over; the giver becomes an admin and may leave.
    owner.stored(role(group, "admin", Role::Owner)).await;
    assert_eq!(owner.refused(end()).await.code, ErrorCode::Forbidden);
    owner.stored(leave(group)).await;
    admin.stored(end()).await;
    let last = member.drain().await;
    assert!(matches!(
        events(&last).last().unwrap().kind,
        EventKind::ConversationDeleted(_)
    ));
    assert_eq!(member.refused(text(group, "anybody?")).await.code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn commands_of_one_connection_take_effect_in_the_order_sent() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    let mut asked = Vec::new();
    for n in 0..8 {
        asked.push(ana.begin(text(group, &n.to_string())).await);
    }
    let mut seqs = Vec::new();
    for req in asked {
        let Ok(Outcome::Stored(stored)) = ana.answer(req).await else {
            panic!("stored")
        };
        seqs.push(stored.seq.0);
    }
    assert_eq!(seqs, (2..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_host_writes_as_nobody_and_by_any_right() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    let system = house.engine.system();
    let sent = system
        .send(group, fresh_message(), Content::text("maintenance"))
        .await
        .unwrap();
    let heard = ben.event().await;
    assert_eq!((heard.seq, heard.actor.as_ref()), (sent.seq, None));
    system.store(add(group, "cy")).await.unwrap();
    let mut cy = house.guest("cy").await;
    // A backend acts in a user's name by that user's rights.
    let refused = house
        .engine
        .user(user("cy"))
        .store(remove(group, "ana"))
        .await
        .unwrap_err();
    assert_eq!(*refused.code(), ErrorCode::Forbidden);
    house
        .engine
        .user(user("cy"))
        .send(group, fresh_message(), Content::text("from afar"))
        .await
        .unwrap();
    assert_eq!(told(&cy.event().await), "new from afar");
}
