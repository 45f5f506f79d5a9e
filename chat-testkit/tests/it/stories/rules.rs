//! Commands that the rules refuse: each with its own code.

use super::house::House;
use super::say::*;
use chat_core::code::ErrorCode;
use chat_core::command::*;
use chat_core::conversation::{ConversationKind, Role};
use chat_testkit::wire::Wire;
use std::time::Duration;
use tokio::time::sleep;

/// Refused with this code; so far apart, protocol errors never add up to a close.
pub async fn refuses(wire: &mut Wire, command: impl Into<Command>, code: ErrorCode) {
    sleep(Duration::from_millis(3_200)).await;
    let command = command.into();
    let name = format!("{command:?}");
    let error = wire.ask(command).await.expect_err(&name);
    assert_eq!(error.code, code, "{name}: {}", error.message);
}
#[tokio::test(start_paused = true)]
async fn members_are_bounded_and_moved_by_the_rules() {
    let house = House::limited(|limits| {
        limits.rules.group_members_max = 4;
        limits.rules.inbox_max = 3;
    })
    .await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let (conflict, full) = (ErrorCode::Conflict, ErrorCode::LimitExceeded);
    refuses(
        &mut ana,
        create(ConversationKind::Group, &["b", "c", "d", "e"]),
        full.clone(),
    )
    .await;
    let group = group(&mut ana, &["ben", "cy", "di"]).await;
    refuses(&mut ana, add(group, "eve"), full.clone()).await;
    refuses(&mut ana, add(group, "ben"), conflict.clone()).await;
    refuses(&mut ana, remove(group, "eve"), ErrorCode::NotFound).await;
    refuses(&mut ana, role(group, "eve", Role::Admin), ErrorCode::NotFound).await;
    refuses(&mut ana, remove(group, "ana"), conflict.clone()).await;
    refuses(&mut ana, role(group, "ben", Role::Member), conflict.clone()).await;
    refuses(&mut ana, role(group, "ana", Role::Member), conflict.clone()).await;
    refuses(&mut ana, leave(group), conflict.clone()).await;
    refuses(&mut ben, join(group), conflict.clone()).await;
    ana.stored(remove(group, "di")).await;
    ana.stored(add(group, "eve")).await;
    // A user has room for so many conversations, whoever adds them.
    for _ in 0..2 {
        super::say::group(&mut ben, &[]).await;
    }
    refuses(&mut ben, create(ConversationKind::Group, &[]), full.clone()).await;
    let own = super::say::group(&mut ana, &[]).await;
    refuses(&mut ana, add(own, "ben"), full).await;
    ben.stored(leave(group)).await;
    ana.stored(add(own, "ben")).await;
}

#[tokio::test(start_paused = true)]
async fn messages_are_changed_by_the_rules() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &["ben"]).await;
    let elsewhere = super::say::group(&mut ana, &["ben"]).await;
    let (mine, _) = say(&mut ana, group, "mine").await;
    let (theirs, _) = say(&mut ben, group, "theirs").await;
    let (foreign, _) = say(&mut ana, elsewhere, "elsewhere").await;
    let reply = |to| MessageSend {
        reply_to: Some(to),
        ..text(group, "re")
    };
    let (not_found, gone) = (ErrorCode::NotFound, ErrorCode::Gone);
    // Nobody edits another's, only an admin deletes it; what is not in this conversation is not there.
    refuses(&mut ana, edit(group, theirs, "x"), ErrorCode::Forbidden).await;
    refuses(&mut ben, delete(group, mine), ErrorCode::Forbidden).await;
    for message in [foreign, fresh_message()] {
        refuses(&mut ana, edit(group, message, "x"), not_found.clone()).await;
        refuses(&mut ana, delete(group, message), not_found.clone()).await;
        refuses(&mut ana, react(group, message, "x"), not_found.clone()).await;
        refuses(&mut ana, reply(message), not_found.clone()).await;
    }
    // A stale version says which one is current.
    ana.stored(MessageEdit {
        version: Some(1),
        ..edit(group, mine, "two")
    })
    .await;
    let stale = MessageEdit {
        version: Some(1),
        ..edit(group, mine, "three")
    };
    let error = ana.refused(stale).await;
    assert_eq!(
        (error.code, error.version, error.retryable),
        (ErrorCode::VersionConflict, Some(2), false)
    );
    // Reactions: once, and taken away once.
    let unreact = |emoji: &str| ReactionRemove {
        conversation: group,
        id: fresh(),
        message: mine,
        emoji: emoji.to_owned(),
    };
    for emoji in ["", "\n"] {
        refuses(&mut ben, react(group, mine, emoji), ErrorCode::InvalidArgument).await;
    }
    refuses(&mut ben, react(group, mine, &"x".repeat(33)), ErrorCode::TooLarge).await;
    refuses(&mut ben, unreact("👍"), not_found.clone()).await;
    ben.stored(react(group, mine, "👍")).await;
    refuses(&mut ben, react(group, mine, "👍"), ErrorCode::Conflict).await;
    ben.stored(unreact("👍")).await;
    for n in 0..50 {
        ana.stored(react(group, mine, &n.to_string())).await;
        sleep(Duration::from_millis(50)).await;
    }
    refuses(&mut ana, react(group, mine, "one too many"), ErrorCode::LimitExceeded).await;
    ben.stored(react(group, mine, "7")).await;
    // A tombstone takes nothing more; it may still be answered, for it was there.
    ana.stored(delete(group, mine)).await;
    refuses(&mut ana, edit(group, mine, "x"), gone.clone()).await;
    refuses(&mut ana, delete(group, mine), gone.clone()).await;
    refuses(&mut ben, react(group, mine, "👍"), gone.clone()).await;
    refuses(&mut ben, unreact("7"), gone).await;
    ben.stored(reply(mine)).await;
    // An id that is taken is a conflict, whatever took it.
    let taken = MessageSend {
        id: mine,
        ..text(group, "other")
    };
    refuses(&mut ana, taken.clone(), ErrorCode::IdConflict).await;
    refuses(&mut ben, taken, ErrorCode::IdConflict).await;
}
