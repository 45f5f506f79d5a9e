//! A host whose users bring tokens that somebody else signs: an identity provider with a key set at an address.
//!
//! ```sh
//! cargo run --example axum_jwt -- http://127.0.0.1:8000/jwks.json my-audience
//! wscat -c ws://127.0.0.1:7000/chat -H 'Authorization: Bearer THE TOKEN'
//! {"type":"hello"}
//! ```
//!
//! A browser's page cannot set that header: it puts the token into its first frame, `{"type":"hello","token":"…"}`, or
//! offers it as a subprotocol, `chat.token.…`, beside `chat.v1.json`. How tokens are judged is in `src/jwt.rs`, to copy.
#![allow(clippy::print_stdout)]

use async_trait::async_trait;
use axum::http::uri::{PathAndQuery, Scheme};
use axum::http::{Request, Uri, header};
use axum::routing::get;
use axum::{Router, serve};
use chat_core::Engine;
use chat_store_memory::MemoryStore;
use chat_transport_ws::{WsConfig, WsService};
use examples::jwt::{JwtHooks, KeyProblem, KeySource, Keys};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::ctrl_c;
use tokio::time::{sleep, timeout};

/// No key set is larger.
const SET_BYTES_MAX: usize = 64 * 1024;

/// How often it is fetched, so that a key which is withdrawn admits nobody any more.
const REFRESH: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .ok_or("say where the key set is, such as http://127.0.0.1:8000/jwks.json")?;
    let audience = arguments
        .next()
        .ok_or("say for which audience tokens are, such as my-audience")?;
    let listen = arguments.next().unwrap_or("127.0.0.1:7000".to_owned());

    let issuer = Issuer(address.parse()?);
    let keys = issuer.fetch().await?.fit_to_start()?;
    println!("Tokens are signed with {keys}.");
    let hooks = JwtHooks::new(keys, Some(&audience), None).with_source(issuer);
    let engine = Engine::builder()
        .store(MemoryStore::new())
        .hooks(hooks.clone())
        .build()
        .await?;
    let chat = WsService::with_tokens(engine.acceptor(), WsConfig::default());
    let router = Router::new().route("/", get("a host")).route_service("/chat", chat);

    let listener = TcpListener::bind(listen).await?;
    println!("Chat: ws://{}/chat", listener.local_addr()?);
    let refresh = async {
        loop {
            sleep(REFRESH).await;
            hooks.refresh_keys().await;
        }
    };
    tokio::select! {
        served = serve(listener, router) => served?,
        () = refresh => {}
        _ = ctrl_c() => {}
    }
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Where the key set is.
struct Issuer(Uri);

#[async_trait]
impl KeySource for Issuer {
    async fn fetch(&self) -> Result<Keys, KeyProblem> {
        let unread = |why: String| KeyProblem::Unread(format!("{}: {why}", self.0));
        let fetched = timeout(Duration::from_secs(1), fetch(&self.0)).await;
        let text = fetched.map_err(|_| unread("no answer in time".to_owned()))?;
        Keys::jwks(&text.map_err(|error| unread(error.to_string()))?)
    }
}

/// One request over plain HTTP, so only for an issuer on this machine or in a network that you trust: who can change the
/// answer can sign tokens. For `https` put the client here that your service has already, such as reqwest.
async fn fetch(uri: &Uri) -> Result<String, Box<dyn Error + Send + Sync>> {
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err("this example fetches http:// only; for https put your own client into `fetch`".into());
    }
    let host = uri.authority().ok_or("no host")?;
    // An IPv6 address is in brackets.
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, host.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let path = uri.path_and_query().cloned();
    let path = path.unwrap_or(PathAndQuery::from_static("/"));
    let request = Request::get(path).header(header::HOST, host.as_str());
    let request = request.header(header::CONNECTION, "close").body(String::new())?;
    let answer = async move {
        let answer = sender.send_request(request).await?;
        if !answer.status().is_success() {
            return Err(format!("the answer is {}", answer.status()).into());
        }
        let body = Limited::new(answer.into_body(), SET_BYTES_MAX).collect().await?;
        Ok(String::from_utf8(body.to_bytes().to_vec())?)
    };
    let (_, answer) = tokio::join!(connection, answer);
    answer
}
