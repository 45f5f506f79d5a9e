//! A conversation that the host makes by itself, under an id that clients know.
//!
//! Both ids are constants: whatever store is behind the engine, making the Lobby again at the next start is the same
//! command again and changes nothing. A client joins with `conversation:join`.

use chat_core::command::ConversationCreate;
use chat_core::conversation::{ConversationKind, HistoryVisibility};
use chat_core::id::{CommandId, ConversationId};
use chat_core::{CommandError, Engine, ErrorCode};

/// The Lobby's id: clients are written to join it.
pub const LOBBY: &str = "10bb1e00-0000-4000-8000-000000000001";

/// The id of the command that makes it.
const LOBBY_CREATE: &str = "10bb1e00-0000-4000-8000-000000000002";

/// The Lobby's id, read.
pub fn id() -> ConversationId {
    LOBBY.parse().expect("the constant is a UUID")
}

/// Makes the Lobby, a public channel whose whole history everybody may read, unless it is there.
///
/// # Errors
/// When the store does not answer.
pub async fn open(engine: &Engine) -> Result<(), CommandError> {
    let id: CommandId = LOBBY_CREATE.parse().expect("the constant is a UUID");
    let create = ConversationCreate {
        conversation: self::id(),
        id,
        kind: ConversationKind::Channel,
        title: Some("Lobby".to_owned()),
        public: true,
        history: Some(HistoryVisibility::All),
        members: Vec::new(),
        meta: None,
    };
    match engine.system().store(create).await {
        // It was made by another version, in other words: it is there.
        Err(error) if matches!(error.code(), ErrorCode::Conflict | ErrorCode::IdConflict) => Ok(()),
        made => made.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_core::command::ConversationJoin;
    use chat_core::id::UserId;
    use chat_store_memory::MemoryStore;

    #[tokio::test]
    async fn everybody_may_join_the_lobby_and_making_it_again_changes_nothing() {
        let engine = Engine::builder().store(MemoryStore::new()).build().await;
        let engine = engine.expect("the memory store answers");
        open(&engine).await.expect("made");
        open(&engine).await.expect("made again");
        let ana = engine.user(UserId::new("ana").expect("a name"));
        let join = ConversationJoin {
            conversation: id(),
            id: ana.mint(),
        };
        let stored = ana.store(join).await.expect("joined");
        assert_eq!(stored.seq.0, 2, "created once, joined once");
        engine.kill();
    }
}
