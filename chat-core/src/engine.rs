//! The engine: a cheap handle to everything on this node.

mod acceptor;
mod act;
mod builder;
mod inner;
mod probe;
mod ringing;

pub use acceptor::{Acceptor, Permit, Refusal};
pub use act::Act;
pub use builder::{BuildError, Builder};
pub(crate) use inner::Inner;

use crate::hooks::Identity;
use crate::store::{Actor, Changes, Horizon, Read, StoreError};
use crate::tasks::reconcile;
use chat_protocol::code::CloseCode;
use chat_protocol::id::{ConversationId, Epoch, NodeId, UserId};
use chat_protocol::signal::PresenceSignal;
use std::sync::Arc;
use std::time::Duration;

/// A cheap handle to the engine: clone it into every part of a host.
///
/// Dropping handles ends nothing; [`shutdown`](Engine::shutdown) does.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

impl Engine {
    /// Begins to put an engine together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What a transport or a mounted service hands connections to.
    pub fn acceptor(&self) -> Acceptor {
        Acceptor::of(self.inner.clone())
    }

    /// Acts as a user, by their rights: everything that a client can do but what belongs to a connection.
    pub fn user(&self, user: UserId) -> Act {
        Act::new(self.inner.clone(), Actor::User(user))
    }

    /// Acts as the host, which may do anything: its messages are system messages.
    pub fn system(&self) -> Act {
        Act::new(self.inner.clone(), Actor::System)
    }

    /// Where clients connect, one for each transport, such as `ws://127.0.0.1:7000/chat`.
    pub fn addresses(&self) -> &[String] {
        &self.inner.addresses
    }

    /// This run of this node.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// One word for the store in use, such as `memory`.
    pub fn store_name(&self) -> &'static str {
        self.inner.store.name()
    }

    /// One word for the backplane in use, such as `alone`.
    pub fn backplane_name(&self) -> &'static str {
        self.inner.backplane.name()
    }

    /// The incarnation of the store's log.
    pub fn epoch(&self) -> Epoch {
        self.inner.epoch()
    }

    /// Keeps what others are shown of a user, and tells those who watch them.
    ///
    /// # Errors
    /// The store's; then it is unknown whether it was kept.
    pub async fn set_display(&self, user: &UserId, display: serde_json::Value) -> Result<(), StoreError> {
        let identity = Identity::new(user.clone()).with_display(display);
        self.inner.keep_display(&identity).await
    }

    /// Whether a user is online on any node, and how fresh that is.
    pub fn presence(&self, user: &UserId) -> PresenceSignal {
        self.inner.presence_of(user)
    }

    /// Says that a conversation's log may have grown: after a host's own transaction. Without it, reconcile sees it
    /// a few seconds later.
    pub fn ring(&self, conversation: ConversationId) {
        self.inner.nudge(conversation, crate::tasks::conversation::Input::Look);
        self.inner.ring_look(conversation);
    }

    /// Ends every session of a user: after a ban or a changed password. On this node at once and surely, sockets that were
    /// open and whose hello is judged later included; the others are rung, again and again for two lives of a lease; one
    /// that hears nothing for so long ends nothing before the user's proof runs out. A host that cannot wait for that
    /// calls this on every node. It ends sessions, not proofs: see that a proof from before lets nobody in again.
    pub fn revoke(&self, user: &UserId) {
        self.inner.revoke(user);
    }

    /// What changed since a horizon, for a host that must miss nothing; without one, only where the horizon is now.
    ///
    /// # Errors
    /// The store's.
    pub async fn changes(&self, horizon: Option<&Horizon>) -> Result<Read<Changes>, StoreError> {
        self.inner
            .store
            .heads_changed_since(horizon, reconcile::CHANGES_MAX)
            .await
    }

    /// Connections open on this node, and users with at least one.
    pub fn counts(&self) -> Counts {
        self.inner.counts()
    }

    /// Whether this node serves: not starting, not draining, and its store answered lately.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn ready(&self) -> Result<(), &'static str> {
        self.inner.ready()
    }

    /// Why what other nodes do is seen late here, a few seconds instead of at once, if that is so: the backplane is gone, or
    /// this node does not hear itself through it. Such a node serves: nothing is lost, and it stays [`ready`](Engine::ready).
    pub fn degraded(&self) -> Option<&'static str> {
        self.inner.degraded()
    }

    /// Drains this node: accepts nothing new, answers what was accepted, tells clients when to come back, closes
    /// 1012, gives its lease back. After `grace` what is left is closed at once.
    ///
    /// A host that has mounted the engine calls this beside its own server's graceful shutdown, which does not wait for
    /// sockets that are WebSockets by then.
    ///
    /// # Cancel safety
    /// Dropped early, the drain goes on but nobody waits for it.
    pub async fn shutdown(&self, grace: Duration) {
        self.inner.shutdown(grace).await;
    }

    /// Stops everything at once, as a kill would: nothing is answered, no lease is given back. For tests of hosts.
    pub fn kill(&self) {
        self.inner.killed.cancel();
        self.inner.stop.0.cancel();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("node", &self.inner.node)
            .finish_non_exhaustive()
    }
}

/// What a node carries now. All of it is back where it was some seconds after everybody has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Open connections, those that have not said hello included.
    pub connections: usize,
    /// Users with at least one session here.
    pub users: usize,
    /// Conversations with a listener here.
    pub conversations: usize,
    /// Bytes of shared payloads and queues that are alive.
    pub queued_bytes: usize,
    /// Sessions that a connection has.
    pub sessions: usize,
    /// Users and conversations that somebody here watches.
    pub watched: usize,
    /// Users of this node who count as online, those in their grace included.
    pub online: usize,
    /// Topics that this node listens to, or did a moment ago.
    pub topics: usize,
    /// Conversations whose task runs.
    pub active: usize,
    /// Addresses that are remembered because of their connections or their rate.
    pub addresses: usize,
    /// Users and conversations that are remembered because of their rates.
    pub rates: usize,
    /// Signals that wait to be told.
    pub signals: usize,
    /// Tasks of the engine.
    pub tasks: usize,
}

/// The close code that ends a revoked session.
pub(crate) const REVOKED: (CloseCode, &str) = (CloseCode::SessionRevoked, "session_revoked");
