//! Our server as it is measured: the engine on the memory store, behind its own WebSocket listener or mounted in axum.
//!
//! Nothing is switched off. Limits that a load test needs raised are raised by configuration here, never in the
//! defaults.

use crate::load::{self, Shape};
use axum::Router;
use chat_backplane_redis::RedisBackplane;
use chat_core::command::{ConversationCreate, MemberAdd};
use chat_core::conversation::ConversationKind;
use chat_core::id::UserId;
use chat_core::{Builder, CommandError, Engine, Guests, Limits};
use chat_store_memory::MemoryStore;
use chat_store_sqlx::PostgresOptions;
use chat_transport_ws::{WsConfig, WsService, WsTransport};
use std::error::Error;
use std::future::pending;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// Where a cluster keeps everything.
pub(crate) const SCHEMA: &str = "chat_bench_cluster";

/// What a node of a cluster is told.
#[derive(Debug, Clone)]
pub struct Node {
    /// What all nodes share.
    pub postgres: String,
    /// What rings between them.
    pub redis: String,
    /// Whether this one makes what is there.
    pub first: bool,
}

/// How many members `conversation:create` takes; the others are added.
const CREATED_WITH: usize = 50;

/// Serves on a free loopback port until the process ends; the conversations are there with all their members.
pub async fn serve(shape: Shape) -> Result<(), Box<dyn Error>> {
    let mut config = WsConfig::default();
    config.handshakes_per_address_max = config.handshakes_max;
    let transport = WsTransport::new((Ipv4Addr::LOCALHOST, 0).into(), config);
    let engine = engine(shape).transport(transport).build().await?;
    populate(&engine, shape).await?;
    listen(&engine).await
}

async fn listen(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let port = engine.addresses()[0]
        .trim_start_matches("ws://127.0.0.1:")
        .trim_end_matches("/chat")
        .parse()?;
    load::say_ready(port)?;
    pending().await
}

/// The same behind axum, as a host mounts it.
pub async fn serve_mounted(shape: Shape) -> Result<(), Box<dyn Error>> {
    let engine = engine(shape).build().await?;
    populate(&engine, shape).await?;
    let service = WsService::with_tokens(engine.acceptor(), WsConfig::default());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    load::say_ready(listener.local_addr()?.port())?;
    Ok(axum::serve(listener, Router::new().route_service("/chat", service)).await?)
}

/// One node of several: on a PostgreSQL schema that they share, with Redis between them.
///
/// The first makes the schema and the conversations before it says that it listens.
pub async fn serve_node(shape: Shape, node: &Node) -> Result<(), Box<dyn Error>> {
    let store = PostgresOptions::new().schema(SCHEMA).connect(&node.postgres).await?;
    if node.first {
        store.migrate().await?;
    }
    let mut config = WsConfig::default();
    config.handshakes_per_address_max = config.handshakes_max;
    let transport = WsTransport::new((Ipv4Addr::LOCALHOST, 0).into(), config);
    let engine = Engine::builder()
        .store(store)
        .backplane(RedisBackplane::connect(&node.redis).await?)
        .hooks(Guests)
        .limits(raised(shape.connections()))
        .transport(transport)
        .build()
        .await?;
    if node.first {
        populate(&engine, shape).await?;
    }
    listen(&engine).await
}

fn engine(shape: Shape) -> Builder {
    let builder = Engine::builder().store(MemoryStore::new()).hooks(Guests);
    builder.limits(raised(shape.connections()))
}

/// All clients come from one address, at once, and write as often as they are told.
pub(crate) fn raised(connections: usize) -> Limits {
    const AMPLE: u32 = 1_000_000;
    let mut limits = Limits::default();
    limits.connections_per_address_max = limits.connections_max.max(connections);
    limits.unauthenticated_max = connections;
    limits.handshakes_per_address = AMPLE;
    limits.handshakes_per_second = AMPLE;
    limits.sends_per_user = (AMPLE, AMPLE);
    limits.sends_per_conversation = (AMPLE, AMPLE);
    limits.connection.commands_per_second = AMPLE;
    limits.connection.commands_burst = AMPLE;
    limits.connection.inbound_bytes_per_second = 1024 * AMPLE;
    limits.connection.inbound_bytes_burst = 1024 * AMPLE;
    limits
}

async fn populate(engine: &Engine, shape: Shape) -> Result<(), CommandError> {
    for index in 0..shape.conversations {
        create(engine, index, shape.members).await?;
    }
    Ok(())
}

/// Creates the conversation of this number with so many members.
pub(crate) async fn create(engine: &Engine, index: usize, members: usize) -> Result<(), CommandError> {
    let system = engine.system();
    let conversation = load::conversation(index);
    let mut members: Vec<UserId> = (0..members).map(|member| load::user(index, member)).collect();
    let others = members.split_off(members.len().min(CREATED_WITH));
    system
        .store(ConversationCreate {
            conversation,
            id: system.mint(),
            kind: ConversationKind::Channel,
            title: Some(format!("conversation {index}")),
            public: false,
            history: None,
            members,
            meta: None,
        })
        .await?;
    for user in others {
        let id = system.mint();
        system.store(MemberAdd { conversation, id, user }).await?;
    }
    Ok(())
}
