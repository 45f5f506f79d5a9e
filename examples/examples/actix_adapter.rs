//! A chat in an actix-web host, whose streams may not leave their thread: [`chat`] is the whole adapter.
//!
//! ```sh
//! cargo run --example actix_adapter
//! cargo run --example chat -- --as ana --server ws://127.0.0.1:7000/chat
//! ```
//!
//! The session runs on the engine's runtime. Two channels carry its bytes to the thread that actix serves the connection
//! on, and hold up whoever is too fast.
#![allow(clippy::print_stdout)]

use actix_web::http::{StatusCode, Version};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use chat_core::{Engine, Guests};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsService};
use examples::lobby;
use futures_util::{StreamExt, stream};
use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::signal::ctrl_c;
use tokio::sync::mpsc;

/// Chunks that wait in either direction.
const CHUNKS_MAX: usize = 8;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".to_owned());
    let engine = Engine::builder()
        .store(MemoryStore::new())
        .hooks(Guests)
        .build()
        .await?;
    lobby::open(&engine).await?;

    let service = web::Data::new(WsService::with_tokens(engine.acceptor(), WsConfig::default()));
    let runtime = web::Data::new(Handle::current());
    let app = move || {
        let app = App::new().app_data(service.clone()).app_data(runtime.clone());
        app.route("/", web::get().to(async || "a host"))
            .route("/chat", web::get().to(chat))
    };
    let server = HttpServer::new(app).workers(2).disable_signals().bind(listen)?;
    println!("Chat: ws://{}/chat", server.addrs()[0]);
    let running = server.run();
    let handle = running.handle();
    let serving = tokio::spawn(running);
    ctrl_c().await?;
    // First the sockets, which the server's own end would cut off.
    engine.shutdown(Duration::from_secs(5)).await;
    handle.stop(true).await;
    serving.await??;
    Ok(())
}

/// Asks the chat with the request's head, and answers what it says; then copies bytes until either side ends.
async fn chat(
    request: HttpRequest,
    mut body: web::Payload,
    service: web::Data<WsService>,
    runtime: web::Data<Handle>,
) -> Result<HttpResponse, Box<dyn Error>> {
    // actix has the types of an older version of the crate `http`.
    let version = match request.version() {
        Version::HTTP_11 => http::Version::HTTP_11,
        _ => http::Version::HTTP_10,
    };
    let mut head = http::Request::builder()
        .version(version)
        .method(request.method().as_str())
        .uri(request.uri().to_string());
    for (name, value) in request.headers() {
        head = head.header(name.as_str(), value.as_bytes());
    }
    let mut head = head.body(())?;
    // A host with a login inserts its `Identity` here too, and mounts `WsService::new`.
    if let Some(address) = request.peer_addr() {
        head.extensions_mut().insert(address);
    }

    let (answer, upgrade) = service.begin(&head);
    let mut response = HttpResponse::build(StatusCode::from_u16(answer.status().as_u16())?);
    for (name, value) in answer.headers() {
        response.insert_header((name.as_str(), value.as_bytes()));
    }
    let Some(upgrade) = upgrade else {
        return Ok(response.body(answer.into_body()));
    };
    let (from_client, incoming) = mpsc::channel(CHUNKS_MAX);
    let (outgoing, mut to_client) = mpsc::channel(CHUNKS_MAX);
    runtime.spawn(upgrade.run_channels(incoming, outgoing));
    // Ends with the connection, or with the session, which closes the channel.
    actix_web::rt::spawn(async move {
        while let Some(Ok(chunk)) = body.next().await {
            if from_client.send(chunk).await.is_err() {
                return;
            }
        }
    });
    let written =
        stream::poll_fn(move |context| to_client.poll_recv(context).map(|chunk| chunk.map(Ok::<_, Infallible>)));
    Ok(response.upgrade("websocket").streaming(written))
}
