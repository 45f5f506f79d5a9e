use crate::server::{Server, conversation};
use chat_client::*;
use std::time::Duration;

#[tokio::test]
async fn a_killed_client_sends_what_waited_with_the_same_ids() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::file(folder.path().join("outbox"));
    let server = Server::new();
    let (ann, _) = server.client("ann", 1).outbox(outbox.clone()).start().unwrap();
    ann.join(conversation()).await.unwrap();
    // The first is stored and its answer lost; the second never leaves.
    server.lock().mute = true;
    let (first, _) = ann.post(conversation(), Content::text("first"));
    let (second, _) = ann.post(conversation(), Content::text("second"));
    while ann.outbox_len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(ann);
    server.lock().mute = false;
    let (ann, _) = loop {
        // The lock is free once the killed task is gone.
        match server.client("ann", 2).outbox(outbox.clone()).start() {
            Ok(started) => break started,
            Err(OutboxError::InUse(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
    };
    while ann.outbox_len() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(server.texts(conversation()), ["first", "second"]);
    let log = server.lock().logs[&conversation()].clone();
    let ids: Vec<CommandId> = log[1..].iter().map(|event| event.id).collect();
    assert_eq!(ids, [first.into(), second.into()]);
}

#[tokio::test(start_paused = true)]
async fn a_memory_outbox_that_is_handed_on_does_the_same() {
    let outbox = Outbox::memory();
    let server = Server::new();
    server.lock().down = true;
    let (ann, _) = server.client("ann", 1).outbox(outbox.clone()).start().unwrap();
    let join = protocol::command::ConversationJoin {
        conversation: conversation(),
        id: ann.command_id(),
    };
    drop(ann.enqueue(join));
    drop(ann.post(conversation(), Content::text("kept")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(ann);
    server.lock().down = false;
    let (ann, _) = server.client("ann", 2).outbox(outbox).start().unwrap();
    let waiting: Vec<&str> = ann.outbox().iter().map(Command::name).collect();
    assert_eq!(waiting, ["conversation:join", "message:send"]);
    assert!(ann.synced().await);
    while ann.outbox_len() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.texts(conversation()), ["kept"]);
}

#[tokio::test]
async fn an_outbox_that_cannot_be_written_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::file(folder.path().join("no such folder").join("outbox"));
    let error = Server::new().client("ann", 1).outbox(outbox).start().unwrap_err();
    assert!(matches!(error, OutboxError::Io { .. }), "{error}");
}
