//! History, page by page, and who may turn the pages.

use super::house::House;
use super::say::*;
use chat_core::code::ErrorCode;
use chat_core::command::*;
use chat_core::conversation::{ConversationKind, HistoryVisibility};
use chat_core::frame::{HistoryPage, Outcome};
use chat_core::id::{ConversationId, MessageId, Position, Seq, Tag};
use chat_core::message::Content;
use chat_testkit::wire::{Wire, events};

fn window(conversation: ConversationId, around: Option<u64>, limit: Option<u64>) -> HistoryList {
    HistoryList {
        around: around.map(Seq),
        limit,
        ..history(conversation)
    }
}

fn before(conversation: ConversationId, seq: u64, limit: Option<u64>) -> HistoryList {
    HistoryList {
        before: Some(Seq(seq)),
        limit,
        ..history(conversation)
    }
}

fn after(conversation: ConversationId, seq: u64, limit: Option<u64>) -> HistoryList {
    HistoryList {
        after: Some(Seq(seq)),
        limit,
        ..history(conversation)
    }
}

/// The first and last seq on a page, how many there are, and whether there is more on either side.
fn shape(page: &HistoryPage) -> (u64, u64, usize, bool, bool) {
    let seqs: Vec<u64> = page.messages.iter().map(|message| message.seq.0).collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
    let (first, last) = (seqs.first().copied().unwrap_or(0), seqs.last().copied().unwrap_or(0));
    (first, last, seqs.len(), page.more_before, page.more_after)
}

async fn page(wire: &mut Wire, list: HistoryList) -> (u64, u64, usize, bool, bool) {
    shape(&page_of(wire.ask(list).await))
}

#[tokio::test(start_paused = true)]
async fn history_opens_before_after_and_around() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    house.fill(group, 300).await;
    let cases = [
        (history(group), (252, 301, 50, true, false)),
        (window(group, None, Some(10)), (292, 301, 10, true, false)),
        (window(group, None, Some(150)), (152, 301, 150, true, false)),
        (before(group, 102, None), (52, 101, 50, true, true)),
        (before(group, 12, Some(20)), (2, 11, 10, false, true)),
        (before(group, 2, None), (0, 0, 0, false, true)),
        (before(group, 10_000, Some(3)), (299, 301, 3, true, false)),
        (after(group, 0, None), (2, 51, 50, false, true)),
        (after(group, 281, Some(50)), (282, 301, 20, true, false)),
        (after(group, 301, None), (0, 0, 0, true, false)),
        (window(group, Some(100), Some(10)), (95, 104, 10, true, true)),
        (window(group, Some(2), Some(10)), (2, 6, 5, false, true)),
        (window(group, Some(301), Some(10)), (296, 301, 6, true, false)),
        (window(group, Some(100), Some(1)), (100, 100, 1, true, true)),
    ];
    for (list, expected) in cases {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(page(&mut ana, list.clone()).await, expected, "{list:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn history_is_turned_page_by_page_without_a_gap_in_either_direction() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    // Among other events, which are not messages.
    for n in 0..20 {
        house.fill(group, 5).await;
        house
            .engine
            .system()
            .store(add(group, &format!("user {n}")))
            .await
            .unwrap();
    }
    let (mut seen, mut end) = (Vec::new(), u64::MAX >> 11);
    loop {
        let page = page_of(ana.ask(before(group, end, Some(7))).await);
        seen.extend(page.messages.iter().rev().map(|message| message.seq.0));
        end = *seen.last().unwrap();
        if !page.more_before {
            break;
        }
    }
    assert_eq!(seen.len(), 100);
    seen.reverse();
    let (mut again, mut end) = (Vec::new(), 0);
    loop {
        let page = page_of(ana.ask(after(group, end, Some(9))).await);
        again.extend(page.messages.iter().map(|message| message.seq.0));
        end = *again.last().unwrap();
        if !page.more_after {
            break;
        }
    }
    assert_eq!(seen, again);
}

#[tokio::test(start_paused = true)]
async fn a_page_ends_by_its_bytes_and_holds_at_least_one_message() {
    let house = House::open().await;
    let mut ana = house.guest("ana").await;
    let group = group(&mut ana, &[]).await;
    let system = house.engine.system();
    for n in 0..12 {
        let content = Content::text(format!("{n} {}", "x".repeat(15 * 1024)));
        system.send(group, fresh_message(), content).await.unwrap();
    }
    // 48 KiB: three of them fit.
    assert_eq!(page(&mut ana, history(group)).await, (11, 13, 3, true, false));
    assert_eq!(page(&mut ana, before(group, 11, None)).await, (8, 10, 3, true, true));
    assert_eq!(page(&mut ana, after(group, 1, None)).await, (2, 4, 3, false, true));
    let (first, last, count, ..) = page(&mut ana, window(group, Some(7), None)).await;
    assert!(
        first <= 7 && last >= 7 && (1..=3).contains(&count),
        "{first} {last} {count}"
    );
    let log = LogList {
        conversation: group,
        after: Position::START,
        limit: None,
    };
    let Ok(Outcome::Log(log)) = ana.ask(log).await else {
        panic!("a log")
    };
    assert!(log.more && (3..=4).contains(&log.items.len()), "{}", log.items.len());
}

#[tokio::test(start_paused = true)]
async fn history_shows_what_its_conversation_lets_a_member_see() {
    for (visibility, first) in [(HistoryVisibility::Joined, 6), (HistoryVisibility::All, 2)] {
        let house = House::open().await;
        let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
        let mut command = create(ConversationKind::Group, &[]);
        command.history = Some(visibility.clone());
        let group = ana.stored(command).await.conversation;
        let (early, _) = say(&mut ana, group, "early").await;
        house.fill(group, 2).await;
        ana.stored(add(group, "ben")).await;
        house.fill(group, 3).await;
        let all = visibility == HistoryVisibility::All;
        let (from, _, _, more_before, _) = page(&mut ben, history(group)).await;
        assert_eq!((from, more_before), (first, false), "{visibility}");
        assert_eq!(page(&mut ben, before(group, 6, None)).await.2, if all { 3 } else { 0 });
        let seen = page(&mut ben, window(group, Some(3), Some(4))).await;
        assert_eq!(seen.0, first, "{visibility}: {seen:?}");
        // What one may not see cannot be edited, answered, reacted to, or asked about.
        let asks = |message: MessageId| -> Vec<Command> {
            let mut reply = text(group, "re");
            reply.reply_to = Some(message);
            let emoji = "👍".to_owned();
            let who = ReactionList {
                conversation: group,
                message,
                emoji,
                page: None,
                limit: None,
            };
            vec![react(group, message, "👍").into(), reply.into(), who.into()]
        };
        for (ask, nowhere) in asks(early).into_iter().zip(asks(fresh_message())) {
            let (name, answer, nothing) = (ask.name(), ben.ask(ask).await, ben.refused(nowhere).await);
            assert_eq!(nothing.code, ErrorCode::NotFound);
            if all {
                assert!(answer.is_ok(), "{name}: {answer:?}");
            } else {
                let mut error = answer.unwrap_err();
                error.req = nothing.req;
                assert_eq!(error, nothing, "{name}");
            }
        }
        // Removed, one sees nothing; back again, one sees from there on, or everything.
        let before_removal = ana.stored(remove(group, "ben")).await.seq;
        house.fill(group, 2).await;
        for ask in [Command::from(history(group)), members(group).into(), log(group).into()] {
            assert_eq!(ben.refused(ask).await.code, ErrorCode::NotFound);
        }
        ana.stored(add(group, "ben")).await;
        house.fill(group, 1).await;
        let page = page_of(ben.ask(history(group)).await);
        let meanwhile = page
            .messages
            .iter()
            .filter(|m| m.seq > before_removal && m.seq.0 < before_removal.0 + 3);
        assert_eq!(meanwhile.count(), if all { 2 } else { 0 }, "{visibility}");
        assert_eq!(page.messages.iter().any(|m| text_of(m) == "early"), all);
    }
}

fn log(conversation: ConversationId) -> LogList {
    LogList {
        conversation,
        after: Position::START,
        limit: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_former_member_finds_nothing_in_any_list() {
    let house = House::open().await;
    let [mut ana, mut ben, mut cy] = house.guests(["ana", "ben", "cy"]).await;
    let ended = group(&mut ana, &["ben"]).await;
    let removed = group(&mut ana, &["ben"]).await;
    let left = group(&mut ana, &["ben"]).await;
    let (message, _) = say(&mut ana, removed, "hi").await;
    ana.stored(remove(removed, "ben")).await;
    ben.stored(leave(left)).await;
    ana.stored(ConversationDelete {
        conversation: ended,
        id: fresh(),
    })
    .await;
    let asks = |conversation| -> Vec<Command> {
        let emoji = "x".to_owned();
        vec![
            history(conversation).into(),
            log(conversation).into(),
            LogList {
                after: Position {
                    seq: Seq(99),
                    tag: Tag(99),
                },
                ..log(conversation)
            }
            .into(),
            members(conversation).into(),
            ConversationGet { conversation }.into(),
            MarkList {
                conversation,
                page: None,
                limit: None,
            }
            .into(),
            ReactionList {
                conversation,
                message,
                emoji,
                page: None,
                limit: None,
            }
            .into(),
            read(conversation, Seq(1)).into(),
            MarkDelivered {
                conversation,
                seq: Seq(1),
            }
            .into(),
            InboxMute {
                conversation,
                muted: true,
            }
            .into(),
            InboxArchive {
                conversation,
                archived: true,
            }
            .into(),
        ]
    };
    for conversation in [removed, left, ended] {
        for (there, nowhere) in asks(conversation).into_iter().zip(asks(fresh_conversation())) {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            let (name, mut there, mut nowhere) = (there.name(), ben.refused(there).await, cy.refused(nowhere).await);
            (there.req, nowhere.req) = (None, None);
            assert_eq!(there, nowhere, "{name}");
            assert_eq!(there.code, ErrorCode::NotFound, "{name}");
        }
    }
    // Nobody finds a conversation that is over, not even its owner.
    for ask in asks(ended) {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let name = ask.name();
        assert_eq!(ana.refused(ask).await.code, ErrorCode::NotFound, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_a_message_from_before_a_join_never_shows_it() {
    let house = House::open().await;
    let [mut ana, mut ben] = house.guests(["ana", "ben"]).await;
    let group = group(&mut ana, &[]).await;
    let (secret, _) = say(&mut ana, group, "a secret").await;
    ana.stored(add(group, "ben")).await;
    ben.drain().await;
    ana.stored(react(group, secret, "+1")).await;
    ana.stored(edit(group, secret, "another secret")).await;
    say(&mut ana, group, "welcome").await;
    let live = ben.drain().await;
    assert_eq!(told_all(events(&live)), ["new welcome"]);
    // And again, when it happens in ben's absence.
    let memory = ben.leave();
    ana.stored(edit(group, secret, "a third secret")).await;
    ana.stored(delete(group, secret)).await;
    say(&mut ana, group, "there you are").await;
    let (ben, missed) = Wire::come_back(&house.connector, memory).await;
    assert_eq!(told_all(events(&missed)), ["new there you are"]);
    let heard = serde_json::to_string(&(live, missed)).unwrap();
    assert!(!heard.contains("secret"), "{heard}");
    assert_eq!(ben.memory().cursors[&group].seq, Seq(9));
}
