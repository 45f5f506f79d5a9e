//! A host's own test: two of its users talk, with no socket.

use chat_client::{Client, Content, EventKind, Update};
use chat_core::{ConversationCreate, ConversationKind, Engine, Guests, UserId};
use chat_store_memory::MemoryStore;
use chat_testkit::transport::in_process;

#[tokio::test]
async fn two_users_of_a_host_talk_without_a_socket() {
    let (transport, connector) = in_process();
    let builder = Engine::builder().store(MemoryStore::new()).hooks(Guests);
    let engine = builder.transport(transport).build().await.unwrap();
    let (ann, _) = Client::builder(connector.clone()).guest("ann").start().unwrap();
    let (ben, mut updates) = Client::builder(connector).guest("ben").start().unwrap();
    assert!(ben.synced().await);

    let conversation = ann.conversation_id();
    ann.create(ConversationCreate {
        conversation,
        id: ann.command_id(),
        kind: ConversationKind::Direct,
        title: None,
        public: false,
        history: None,
        members: vec![UserId::new("ben").unwrap()],
        meta: None,
    })
    .await
    .unwrap();
    ann.send(conversation, Content::text("hello")).await.unwrap();

    let heard = loop {
        let update = updates.recv().await.expect("the client runs");
        if let Update::Event(event) = update
            && let EventKind::MessageNew(new) = event.kind
        {
            break new.message.content.unwrap().text;
        }
    };
    assert_eq!(heard.as_deref(), Some("hello"));
    ann.close().await;
    ben.close().await;
    engine.kill();
}
