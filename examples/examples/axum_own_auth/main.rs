//! A host with a login of its own, and a chat for those who are logged in.
//!
//! `before.rs` beside it is the same host without a chat; what was added here is marked. The cookie lets a browser's page
//! of the same origin into the chat, and a logout closes the sockets of who logged out.
//!
//! ```sh
//! cargo run --example axum_own_auth
//! curl -i -H 'content-type: application/json' -d '{"name":"ana","password":"teapot"}' http://127.0.0.1:7000/login
//! wscat -o http://127.0.0.1:7000 -H 'Cookie: session=THE COOKIE' -c ws://127.0.0.1:7000/chat
//! {"type":"hello"}
//! ```
#![allow(clippy::print_stdout)]

use axum::extract::{Extension, Json, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Router, serve};
use chat_core::{Engine, Identity, UserId};
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsService};
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use uuid::Uuid;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions = Sessions::default();
    // Added: the engine, and its way in behind what says who somebody is.
    let engine = Engine::builder().store(MemoryStore::new()).build().await?;
    let chat = WsService::new(engine.acceptor(), WsConfig::default());
    let router = Router::new()
        .route_service("/chat", chat)
        .layer(from_fn_with_state(sessions.clone(), identify))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/me", get(me))
        .layer(Extension(engine.clone()))
        .with_state(sessions);
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".to_owned());
    let listener = TcpListener::bind(listen).await?;
    println!("Host: http://{}/", listener.local_addr()?);
    // Added: then the chat ends, before the server, whose own end does not wait for sockets.
    let stopped = async move { drop((ctrl_c().await, engine.shutdown(std::time::Duration::from_secs(5)).await)) };
    serve(listener, router).with_graceful_shutdown(stopped).await?;
    Ok(())
}

/// Who is logged in, by the session's id.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<HashMap<String, String>>>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose cookie this is.
    fn user(&self, headers: &HeaderMap) -> Option<String> {
        self.lock().get(session_of(headers)?).cloned()
    }
}

fn session_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?.split("; ");
    cookies.into_iter().find_map(|cookie| cookie.strip_prefix("session="))
}

#[derive(serde::Deserialize)]
struct Login {
    name: String,
    password: String,
}

async fn login(State(sessions): State<Sessions>, Json(login): Json<Login>) -> impl IntoResponse {
    let pair = (login.name.as_str(), login.password.as_str());
    if ![("ana", "teapot"), ("ben", "kettle")].contains(&pair) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let session = Uuid::new_v4().to_string();
    let cookie = format!("session={session}; HttpOnly; SameSite=Lax; Path=/");
    sessions.lock().insert(session, login.name);
    Ok([(header::SET_COOKIE, cookie)])
}

async fn logout(sessions: State<Sessions>, engine: Extension<Engine>, headers: HeaderMap) -> StatusCode {
    let Some(user) = session_of(&headers).and_then(|session| sessions.lock().remove(session)) else {
        return StatusCode::UNAUTHORIZED;
    };
    println!("{user} logged out");
    // Added: sockets that are open end with the session.
    if let Ok(user) = UserId::new(user) {
        engine.revoke(&user);
    }
    StatusCode::NO_CONTENT
}

async fn me(State(sessions): State<Sessions>, headers: HeaderMap) -> Result<String, StatusCode> {
    sessions.user(&headers).ok_or(StatusCode::UNAUTHORIZED)
}

/// Added: tells the chat whom the cookie lets in.
async fn identify(State(sessions): State<Sessions>, mut request: Request, next: Next) -> impl IntoResponse {
    let user = sessions.user(request.headers());
    if let Some(user) = user.and_then(|user| UserId::new(user).ok()) {
        request.extensions_mut().insert(Identity::new(user));
    }
    next.run(request).await
}
