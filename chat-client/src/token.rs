//! Where tokens come from.

use async_trait::async_trait;
use chat_protocol::command::Token;
use std::sync::Arc;

/// Brings the host’s tokens: asked before each connection, and when the server says that the present one runs out.
#[async_trait]
pub trait TokenProvider: Send + Sync + 'static {
    /// A token that is good now; nothing when there is none, then it is asked again later.
    async fn token(&self) -> Option<Token>;
}

/// Always the same token.
#[async_trait]
impl TokenProvider for Token {
    async fn token(&self) -> Option<Token> {
        Some(self.clone())
    }
}

#[async_trait]
impl<P: TokenProvider + ?Sized> TokenProvider for Arc<P> {
    async fn token(&self) -> Option<Token> {
        (**self).token().await
    }
}
