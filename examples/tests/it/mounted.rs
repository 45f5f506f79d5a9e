//! What a host must know when it ends: its server's own graceful shutdown does not wait for sockets.

use crate::process::SOON;
use crate::wire::{Heard, greet};
use axum::Router;
use chat_core::{Engine, Guests};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsService};
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

#[tokio::test]
async fn a_hosts_graceful_shutdown_leaves_its_sockets_to_the_engine_which_ends_them() {
    let engine = Engine::builder().store(MemoryStore::new()).hooks(Guests);
    let engine = engine.build().await.expect("an engine");
    let service = WsService::with_tokens(engine.acceptor(), WsConfig::default());
    let router = Router::new().route_service("/chat", service);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let serving = tokio::spawn(serving.into_future());
    let (wire, welcome) = greet(address, &[], json!({ "type": "hello", "guest": "ana" })).await;
    assert_eq!(welcome.frame()["type"], "welcome");
    let mut wire = wire.expect("connected");

    stop.send(()).expect("it serves");
    let served = timeout(SOON, serving).await.expect("it waits for no socket");
    served.expect("no panic").expect("no error");
    wire.say(&json!({ "type": "resume", "last": true })).await;
    wire.wait_for("synced").await;
    assert_eq!(engine.counts().connections, 1);

    let (last, ()) = tokio::join!(wire.last_word(), engine.shutdown(Duration::from_secs(5)));
    assert!(matches!(last, Heard::Closed(1012, _)), "{last:?}");
    assert_eq!(engine.counts().connections, 0);
}
