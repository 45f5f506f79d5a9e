//! A host that has nothing to do with chat: users log in, and a cookie says from then on who they are.
//!
//! `main.rs` beside it is the same host with a chat.
#![allow(clippy::print_stdout)]

use axum::extract::{Json, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Router, serve};
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use uuid::Uuid;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions = Sessions::default();
    let router = Router::new()
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/me", get(me))
        .with_state(sessions);
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".to_owned());
    let listener = TcpListener::bind(listen).await?;
    println!("Host: http://{}/", listener.local_addr()?);
    let stopped = async { drop(ctrl_c().await) };
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

async fn logout(sessions: State<Sessions>, headers: HeaderMap) -> StatusCode {
    let Some(user) = session_of(&headers).and_then(|session| sessions.lock().remove(session)) else {
        return StatusCode::UNAUTHORIZED;
    };
    println!("{user} logged out");
    StatusCode::NO_CONTENT
}

async fn me(State(sessions): State<Sessions>, headers: HeaderMap) -> Result<String, StatusCode> {
    sessions.user(&headers).ok_or(StatusCode::UNAUTHORIZED)
}
