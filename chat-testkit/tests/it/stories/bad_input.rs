//! What looks like bad input and is none. What is, is in the table of bad input.

use super::house::House;
use super::say::*;
use chat_core::command::*;
use chat_core::conversation::ConversationKind;
use chat_core::message::{Attachment, Content};
use serde_json::{Map, Value};

fn object(keys: usize, length: usize) -> Map<String, Value> {
    (0..keys)
        .map(|n| (format!("key {n}"), Value::from("x".repeat(length))))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn content_at_its_bounds_is_stored_as_it_came() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    let bidi_and_html = "\u{202e}<script>alert(1)</script>\tand\n[links](javascript:1)";
    for words in [
        bidi_and_html.to_owned(),
        "x".repeat(16 * 1024),
        "👩‍👩‍👧‍👦".to_owned(),
        " ".to_owned(),
    ] {
        let (message, _) = say(&mut ana, group, &words).await;
        let page = page_of(ana.ask(history(group)).await);
        let last = page.messages.last().unwrap();
        assert_eq!((last.id, text_of(last)), (message, words.as_str()));
    }
    let mut whole = text(group, "x");
    whole.content = Content {
        kind: "offer".to_owned(),
        text: None,
        attachments: vec![Attachment {
            id: "f1".to_owned(),
            name: "photo.jpg".to_owned(),
            media_type: "image/jpeg".to_owned(),
            size: 1 << 40,
        }],
        meta: Some(object(32, 100)),
    };
    ana.stored(whole.clone()).await;
    let page = page_of(ana.ask(history(group)).await);
    assert_eq!(page.messages.last().unwrap().content, Some(whole.content));
}

#[tokio::test(start_paused = true)]
async fn fifty_first_members_are_taken_and_a_direct_conversation_with_oneself_is_a_note() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let many: Vec<String> = (0..50).map(|n| format!("user {n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let group = ana.stored(create(ConversationKind::Group, &many)).await.conversation;
    assert_eq!(entry_of(&mut ana, group).await.conversation.member_count, 51);
    // A direct conversation with oneself is a note, however it is asked for.
    let alone = ana.stored(create(ConversationKind::Direct, &[])).await.conversation;
    let named = ana.stored(create(ConversationKind::Direct, &["ana"])).await;
    assert_eq!((named.conversation, named.duplicate), (alone, true));
    assert_eq!(entry_of(&mut ana, alone).await.conversation.member_count, 1);
}

#[tokio::test(start_paused = true)]
async fn a_page_token_that_is_none_of_ours_is_a_place_like_any_other() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    let token = |text: &str| Some(PageToken(text.to_owned()));
    for strange in ["x", "~~~", "\u{10ffff}"] {
        assert!(
            ana.ask(InboxList {
                page: token(strange),
                limit: None
            })
            .await
            .is_ok()
        );
        let list = MemberList {
            page: token(strange),
            ..members(group)
        };
        assert!(ana.ask(list).await.is_ok());
    }
}
