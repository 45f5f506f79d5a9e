//! Lists: of members, marks, reactions, and the inbox, page by page.

use super::house::House;
use super::say::*;
use chat_core::command::*;
use chat_core::conversation::{ConversationKind, HistoryVisibility};
use chat_core::frame::{Outcome, Resume, ServerFrame};
use chat_testkit::transport::Dial;
use chat_testkit::wire::{Memory, Wire, events};
use std::collections::BTreeSet;

#[tokio::test(start_paused = true)]
async fn members_and_marks_come_in_pages_in_the_order_of_their_ids() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    for n in 0..120 {
        house
            .engine
            .system()
            .store(add(group, &format!("user {n:03}")))
            .await
            .unwrap();
    }
    for limit in [None, Some(7)] {
        let (mut token, mut users, mut marked) = (None, Vec::new(), Vec::new());
        loop {
            let list = MemberList {
                conversation: group,
                page: token.clone(),
                limit,
            };
            let Ok(Outcome::Members(page)) = ana.ask(list).await else {
                panic!("members")
            };
            let list = MarkList {
                conversation: group,
                page: token,
                limit,
            };
            let Ok(Outcome::Marks(marks)) = ana.ask(list).await else {
                panic!("marks")
            };
            assert!(page.members.len() <= usize::try_from(limit.unwrap_or(50)).unwrap());
            users.extend(page.members.into_iter().map(|member| member.user));
            marked.extend(marks.marks.into_iter().map(|marks| marks.user));
            assert_eq!(page.next, marks.next);
            token = page.next;
            if token.is_none() {
                break;
            }
            assert!(token.as_ref().unwrap().0.len() <= 256);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(users.len(), 121);
        assert!(users.is_sorted() && users == marked);
    }
    // A conversation itself brings no more than 50 of them, and says how many there are.
    let Ok(Outcome::Conversation(view)) = ana.ask(ConversationGet { conversation: group }).await else {
        panic!("a conversation")
    };
    assert_eq!((view.members.len(), view.conversation.member_count), (50, 121));
    assert!(
        view.members.iter().any(|member| member.display.is_some()),
        "display data rides along"
    );
}

#[tokio::test(start_paused = true)]
async fn who_reacted_comes_in_pages() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let mut command = create(ConversationKind::Group, &[]);
    command.history = Some(HistoryVisibility::All);
    let group = ana.stored(command).await.conversation;
    let (message, _) = say(&mut ana, group, "vote").await;
    for n in 0..60 {
        let name = format!("user {n:03}");
        house.engine.system().store(add(group, &name)).await.unwrap();
        house
            .engine
            .user(user(&name))
            .store(react(group, message, "👍"))
            .await
            .unwrap();
    }
    let shown = &page_of(ana.ask(history(group)).await).messages[0].reactions[0];
    assert_eq!((shown.count, shown.users.len()), (60, 5), "a few ride along");
    let ask = |page| ReactionList {
        conversation: group,
        message,
        emoji: "👍".to_owned(),
        page,
        limit: None,
    };
    let (mut token, mut users) = (None, BTreeSet::new());
    loop {
        let Ok(Outcome::Reactions(page)) = ana.ask(ask(token)).await else {
            panic!("reactions")
        };
        users.extend(page.users);
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(users.len(), 60);
    let nobody = ReactionList {
        emoji: "👎".to_owned(),
        ..ask(None)
    };
    assert!(matches!(ana.ask(nobody).await, Ok(Outcome::Reactions(page)) if page.users.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn an_inbox_of_several_hundred_conversations_comes_whole_at_resume_and_by_list() {
    const COUNT: usize = 420;
    let house = House::open().await;
    let backend = house.engine.user(user("ana"));
    let mut all = BTreeSet::new();
    for _ in 0..COUNT {
        let stored = backend.store(create(ConversationKind::Group, &["ben"])).await.unwrap();
        all.insert(stored.conversation);
    }
    // At resume, in pages of at most 50, the last of them marked.
    let mut ben = Wire::dial(&house.connector, Dial::default()).await;
    ben.hello(Memory::hello_of("ben")).await;
    let frames = ben.resume(Resume::default()).await;
    let mut pushed = BTreeSet::new();
    for (index, frame) in frames.iter().enumerate() {
        let ServerFrame::Inbox(inbox) = frame else {
            panic!("{frame:?}")
        };
        assert!(inbox.entries.len() <= 50);
        assert_eq!(inbox.last, index + 1 == frames.len());
        pushed.extend(inbox.entries.iter().map(|entry| entry.conversation.id));
    }
    assert_eq!(pushed, all);
    // By list, in a stable order, while what happens meanwhile moves nothing.
    let (mut token, mut listed) = (None, Vec::new());
    loop {
        let Ok(Outcome::Inbox(page)) = ben
            .ask(InboxList {
                page: token,
                limit: Some(40),
            })
            .await
        else {
            panic!("an inbox")
        };
        assert!(page.entries.len() <= 40);
        listed.extend(page.entries.iter().map(|entry| entry.conversation.id));
        token = page.next;
        if token.is_none() {
            break;
        }
        house.fill(listed[0], 1).await;
    }
    assert!(listed.is_sorted(), "in a stable order");
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), all);
    assert_eq!(listed.len(), COUNT);
    // Away and back: only what changed comes again, and every log goes on where it was.
    ben.drain().await;
    let memory = ben.leave();
    for conversation in &all {
        house.fill(*conversation, 1).await;
    }
    let (_, frames) = Wire::come_back(&house.connector, memory).await;
    assert_eq!(events(&frames).len(), COUNT);
    let entries = frames.iter().filter_map(|frame| match frame {
        ServerFrame::Inbox(inbox) => Some(inbox.entries.len()),
        _ => None,
    });
    assert_eq!(entries.sum::<usize>(), 0);
}
