//! Rows that take more than one frame: what comes again, too often, too fast, or from who is not there.

use crate::line::{Heard, Line};
use crate::row::{IN_PROCESS, REQ, Row, story};
use crate::stage::Stage;
use chat_core::frame::ServerFrame;
use chat_core::message::Content;
use chat_core::{Command, Limits};
use serde_json::{Value, json};
use std::time::Duration;

// One row a line: it is a table.
#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    vec![
        story("right.stranger", "every command of a stranger", |stage| Box::pin(sees_nothing(stage, "$eve")), "not_found"),
        story("right.stranger", "every command of who was removed", |stage| Box::pin(sees_nothing(stage, "$cy")), "not_found"),
        story("right.typing", "a stranger", |stage| Box::pin(types(stage, "$eve")), "reply done"),
        story("right.typing", "who was removed", |stage| Box::pin(types(stage, "$cy")), "reply done"),
        story("state.mark", "read and behind what was read", |stage| Box::pin(goes_back(stage)), "reply done"),
        story("state.id", "the same message", |stage| Box::pin(again(stage, "$ana", "$group", json!({"text": "once"}))), "reply duplicate"),
        story("state.id", "the same message, its fields in another order", |stage| Box::pin(again(stage, "$ana", "$group", json!({"type": "text", "text": "once"}))), "reply duplicate"),
        story("state.id", "other content", |stage| Box::pin(again(stage, "$ana", "$group", json!({"text": "twice"}))), "id_conflict"),
        story("state.id", "the same content of somebody else", |stage| Box::pin(again(stage, "$ben", "$group", json!({"text": "once"}))), "id_conflict"),
        story("state.id", "another conversation", |stage| Box::pin(again(stage, "$ana", "$private", json!({"text": "once"}))), "reply stored"),
        story("state.id", "another command", |stage| Box::pin(of_another_command(stage)), "id_conflict"),
        story("pace.commands", "61 at once", |stage| Box::pin(commands(stage)), "rate_limited").bounded(|limits, _| slow(limits)),
        story("pace.messages", "21 of one user, over two connections", |stage| Box::pin(messages(stage, ["$ana", "$ana"])), "rate_limited").bounded(|limits, _| limits.sends_per_user = (1, 8)),
        story("pace.messages", "more than a conversation takes, of two users", |stage| Box::pin(messages(stage, ["$ana", "$ben"])), "rate_limited").bounded(|limits, _| limits.sends_per_conversation = (1, 8)),
        story("pace.directs", "one more than an hour allows", |stage| Box::pin(directs(stage)), "rate_limited").bounded(|limits, _| limits.directs_per_hour = 5),
        story("pace.counts", "members of a group", |stage| Box::pin(members(stage)), "limit_exceeded").bounded(|limits, _| limits.rules.group_members_max = 4),
        story("pace.counts", "conversations of a user", |stage| Box::pin(conversations(stage)), "limit_exceeded").bounded(|limits, _| limits.rules.inbox_max = 6),
        story("pace.counts", "emojis on a message", |stage| Box::pin(emojis(stage)), "limit_exceeded").bounded(|limits, _| limits.rules.reactions_max = 3),
        story("pace.unread", "half a MiB of messages", |stage| Box::pin(reads_nothing(stage)), "close 4003").on(IN_PROCESS).bounded(|limits, _| limits.write_stall_max = Duration::from_secs(1)),
        story("pace.token", "a command when it ran out", |stage| Box::pin(ran_out(stage, true)), "token_expired").bounded(|limits, _| limits.connection.expiry_grace = Duration::from_secs(600)),
        story("pace.token", "no fresh one when it ran out", |stage| Box::pin(ran_out(stage, false)), "close 4002").bounded(|limits, _| limits.connection.expiry_grace = Duration::from_secs(1)),
        story("pace.errors", "that the codec finds", |stage| Box::pin(errors(stage, "message:fly", json!({}))), "close 4509"),
        story("pace.errors", "that the engine finds", |stage| Box::pin(errors(stage, "mark:read", json!({"conversation": "$group", "seq": 99}))), "close 4509"),
    ]
}

/// Budgets that do not fill up again while a row plays.
fn slow(limits: &mut Limits) {
    limits.connection.commands_per_second = 1;
}

fn send(conversation: &str, id: &str, content: Value) -> Value {
    json!({"conversation": conversation, "id": id, "content": content})
}

/// Every command that names a conversation, of who is not in it: each error is the one that a conversation gets that
/// never was, to the byte.
async fn sees_nothing(stage: Stage, who: &str) -> Heard {
    let channel = stage.said(&json!({"conversation": "$new", "id": "$new", "kind": "channel"}));
    assert_eq!(
        stage
            .line("$ana")
            .await
            .ask("conversation:create", channel.clone())
            .await
            .answer,
        "reply stored"
    );
    let private = channel["conversation"].as_str().unwrap();
    let mut last = None;
    let mut asked = 0;
    for name in Command::NAMES {
        let Some(data) = about(name) else { continue };
        // Sixty commands at once are all that one connection may send.
        let mut line = stage.line(who).await;
        let mut errors = Vec::new();
        for conversation in ["$group", private, "$unknown"] {
            let mut data = data.clone();
            data["conversation"] = conversation.into();
            line.say(&json!({"type": "command", "req": REQ, "command": name, "data": stage.said(&data)}))
                .await;
            errors.push(error(&mut line).await);
        }
        assert!(errors.iter().all(|error| *error == errors[2]), "{name}: {errors:?}");
        assert_eq!(errors[0].code.as_str(), "not_found", "{name}");
        let error = &errors[0];
        last = Some(Heard {
            req: error.req,
            ..Heard::new(error.code.as_str(), &error.message)
        });
        asked += 1;
    }
    assert_eq!(asked, 22);
    last.unwrap()
}

async fn error(line: &mut Line) -> chat_core::frame::ErrorFrame {
    loop {
        match line.next().await.unwrap() {
            ServerFrame::Error(error) => return error,
            ServerFrame::Reply(reply) => panic!("expected an error, heard {reply:?}"),
            _ => {}
        }
    }
}

/// The data of a command about a conversation that must exist, but for the conversation.
fn about(name: &str) -> Option<Value> {
    Some(match name {
        // Opens what is not there; says nothing to who is not there; is about no conversation, or about any number.
        "conversation:create" | "typing" | "inbox:list" | "watch:presence" | "watch:conversations" | "auth:refresh" => {
            return None;
        }
        "message:send" => json!({"id": "$new", "content": {"text": "x"}}),
        "message:edit" => json!({"id": "$new", "message": "$anas", "content": {"text": "x"}}),
        "message:delete" => json!({"id": "$new", "message": "$anas"}),
        "reaction:add" | "reaction:remove" => json!({"id": "$new", "message": "$anas", "emoji": "👍"}),
        "conversation:update" => json!({"id": "$new", "title": "x"}),
        "conversation:delete" | "conversation:join" | "conversation:leave" => json!({"id": "$new"}),
        "member:add" | "member:remove" => json!({"id": "$new", "user": "$ana"}),
        "member:role" => json!({"id": "$new", "user": "$ana", "role": "admin"}),
        "mark:read" | "mark:delivered" => json!({"seq": 1}),
        "inbox:mute" => json!({"muted": true}),
        "inbox:archive" => json!({"archived": true}),
        "log:list" => json!({"after": {"seq": 10, "tag": "$tag"}}),
        "reaction:list" => json!({"message": "$anas", "emoji": "👍"}),
        _ => json!({}),
    })
}

/// Typing of who is no member is told to nobody; that a member types is.
async fn types(stage: Stage, who: &str) -> Heard {
    let mut watcher = stage.nobody().await;
    watcher
        .hello(stage.said(&json!({"type": "hello", "guest": "$adam", "wants": ["typing"]})))
        .await;
    watcher.say(&json!({"type": "resume", "last": true})).await;
    watcher.synced().await;
    let watch = stage.said(&json!({"conversations": ["$group"]}));
    assert_eq!(watcher.ask("watch:conversations", watch).await.answer, "reply done");
    let typing = stage.said(&json!({"conversation": "$group", "active": true}));
    let heard = stage.line(who).await.ask("typing", typing.clone()).await;
    stage.line("$ben").await.ask("typing", typing).await;
    loop {
        if let ServerFrame::Signal(signal) = watcher.next().await.unwrap() {
            let shown = serde_json::to_value(signal).unwrap().to_string();
            assert!(shown.contains(&stage.scene.names["$ben"]), "{shown}");
            return heard;
        }
    }
}

async fn goes_back(stage: Stage) -> Heard {
    let mut line = stage.line("$ben").await;
    let mut last = None;
    for seq in [9, 3, 0] {
        let mark = stage.said(&json!({"conversation": "$group", "seq": seq}));
        last = Some(line.ask("mark:read", mark).await);
    }
    let view = json!({"type": "command", "req": 8, "command": "conversation:get", "data": {"conversation": "$group"}});
    line.say(&stage.said(&view)).await;
    loop {
        if let ServerFrame::Reply(reply) = line.next().await.unwrap() {
            let view = serde_json::to_value(reply.result).unwrap();
            assert_eq!(view["conversation"]["entry"]["read"], 9);
            return last.unwrap();
        }
    }
}

const ID: &str = "0189abcd-0000-7000-8000-0000000000aa";

/// Ana sends a message; then this comes with its id.
async fn again(stage: Stage, who: &str, conversation: &str, content: Value) -> Heard {
    let first = stage.said(&send("$group", ID, json!({"text": "once"})));
    assert_eq!(
        stage.line("$ana").await.ask("message:send", first).await.answer,
        "reply stored"
    );
    let second = stage.said(&send(conversation, ID, content));
    stage.line(who).await.ask("message:send", second).await
}

async fn of_another_command(stage: Stage) -> Heard {
    let mut line = stage.line("$ana").await;
    let update = stage.said(&json!({"conversation": "$group", "id": ID, "title": "another"}));
    assert_eq!(line.ask("conversation:update", update).await.answer, "reply stored");
    let message = stage.said(&send("$group", ID, json!({"text": "x"})));
    line.ask("message:send", message).await
}

async fn commands(stage: Stage) -> Heard {
    let mut line = stage.line("$ana").await;
    for n in 0..60 {
        let heard = line.ask("inbox:list", json!({})).await;
        assert_eq!(heard.answer, "reply inbox", "number {n}");
    }
    first_refused(&mut line, "inbox:list", |_| json!({})).await
}

/// Asks again and again; a slow run may fill the budget up by a few.
async fn first_refused(line: &mut Line, command: &str, data: impl Fn(usize) -> Value) -> Heard {
    let mut heard = Heard::new("", "");
    for n in 0..20 {
        heard = line.ask(command, data(n)).await;
        if !heard.answer.starts_with("reply ") {
            break;
        }
    }
    heard
}

async fn messages(stage: Stage, who: [&str; 2]) -> Heard {
    let mut lines = [stage.line(who[0]).await, stage.line(who[1]).await];
    let mut heard = Heard::new("", "");
    // The scene's own messages count as well.
    for n in 0..40 {
        let message = stage.said(&send("$group", "$new", json!({"text": "x"})));
        heard = lines[n % 2].ask("message:send", message).await;
        if heard.answer != "reply stored" {
            break;
        }
    }
    heard
}

async fn directs(stage: Stage) -> Heard {
    let mut line = stage.line("$eve").await;
    first_refused(&mut line, "conversation:create", |n| {
        stage.said(
            &json!({"conversation": "$new", "id": "$new", "kind": "direct", "members": [format!("stranger {n}")]}),
        )
    })
    .await
}

async fn members(stage: Stage) -> Heard {
    let mut line = stage.line("$ana").await;
    // Cy was removed, so there are three; the fourth is cy again.
    let add = |name: &str| stage.said(&json!({"conversation": "$group", "id": "$new", "user": name}));
    assert_eq!(line.ask("member:add", add("$cy")).await.answer, "reply stored");
    let direct = stage.said(&json!({"conversation": "$new", "id": "$new", "kind": "direct", "members": ["$eve"]}));
    assert_eq!(line.ask("conversation:create", direct).await.answer, "reply stored");
    line.ask("member:add", add("$eve")).await
}

async fn conversations(stage: Stage) -> Heard {
    let mut line = stage.line("$ana").await;
    first_refused(&mut line, "conversation:create", |_| {
        stage.said(&json!({"conversation": "$new", "id": "$new", "kind": "group"}))
    })
    .await
}

async fn emojis(stage: Stage) -> Heard {
    let mut line = stage.line("$ana").await;
    first_refused(&mut line, "reaction:add", |n| {
        stage.said(&json!({"conversation": "$group", "id": "$new", "message": "$anas", "emoji": n.to_string()}))
    })
    .await
}

async fn errors(stage: Stage, command: &str, data: Value) -> Heard {
    let mut line = stage.line("$ana").await;
    for _ in 0..20 {
        let heard = line.ask(command, stage.said(&data)).await;
        assert_eq!(heard.req, Some(REQ), "{heard:?}");
    }
    line.answer().await
}

/// A token that is good for a second.
async fn ran_out(stage: Stage, asks: bool) -> Heard {
    let mut line = stage.nobody().await;
    line.hello(json!({"type": "hello", "token": "brief ana"})).await;
    line.say(&json!({"type": "resume", "last": true})).await;
    line.synced().await;
    let mut heard = Heard::new("reply inbox", "");
    while asks && heard.answer == "reply inbox" {
        tokio::time::sleep(Duration::from_millis(200)).await;
        heard = line.ask("inbox:list", json!({})).await;
    }
    if asks { heard } else { line.answer().await }
}

/// Reads nothing until it was given up; a network of 64 KiB is between it and the engine.
async fn reads_nothing(stage: Stage) -> Heard {
    let engine = &stage.house.engine;
    let before = engine.counts().users;
    let mut line = stage.line("$ana").await;
    let group = stage.scene.names["$group"].parse().unwrap();
    let system = engine.system();
    for _ in 0..32 {
        let content = Content::text("x".repeat(16_384));
        system.send(group, system.mint().into(), content).await.unwrap();
    }
    // Who is given up is out of every index before the last word is said.
    for _ in 0..2_000 {
        if engine.counts().users == before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    loop {
        if let Err(ending) = line.next().await {
            return ending;
        }
    }
}
