//! gRPC and chat on one port: tonic's services are an axum router, and the chat is one more path of it.
//!
//! ```sh
//! cargo run --example tonic_side_by_side
//! grpcurl -plaintext 127.0.0.1:7000 grpc.health.v1.Health/Check
//! cargo run --example chat -- --as ana --server ws://127.0.0.1:7000/chat
//! ```
//!
//! gRPC speaks HTTP/2, a WebSocket begins with HTTP/1.1; the server tells them apart by their first bytes. The health
//! service stands for those of your own.
#![allow(clippy::print_stdout)]

use axum::serve;
use chat_core::{Engine, Guests};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsService};
use examples::lobby;
use std::error::Error;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::health_reporter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".to_owned());
    let engine = Engine::builder()
        .store(MemoryStore::new())
        .hooks(Guests)
        .build()
        .await?;
    lobby::open(&engine).await?;
    let (health, health_service) = health_reporter();
    health.set_service_status("chat", ServingStatus::Serving).await;

    let chat = WsService::with_tokens(engine.acceptor(), WsConfig::default());
    let router = Routes::new(health_service)
        .into_axum_router()
        .route_service("/chat", chat);

    let listener = TcpListener::bind(listen).await?;
    println!("Chat: ws://{}/chat", listener.local_addr()?);
    tokio::select! {
        served = serve(listener, router) => served?,
        _ = ctrl_c() => {}
    }
    health.set_service_status("chat", ServingStatus::NotServing).await;
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
