//! The first frames of a connection: hello, and the cursors right behind it.

use super::{ClientSettings, ClientView, Credential};
use crate::command::Token;
use crate::frame::{ClientFrame, Hello, Resume, ResumeCursor, SessionGrant};
use crate::id::Position;

/// Cursors in one frame. In JSON, the longer codec, one takes at most 105 bytes, so that a frame stays under 64 KiB.
const CURSORS_MAX: usize = 600;

pub(super) fn hello(
    settings: &ClientSettings,
    credential: Credential,
    session: Option<SessionGrant>,
    attempt: u64,
) -> ClientFrame {
    let (token, guest): (Option<Token>, Option<String>) = match credential {
        Credential::Token(token) => (Some(token), None),
        Credential::Guest(name) => (None, Some(name)),
        Credential::Handshake => (None, None),
    };
    ClientFrame::Hello(Hello {
        token,
        guest,
        session,
        attempt,
        client: settings.client.clone(),
        device: settings.device.clone(),
        wants: settings.wants.clone(),
    })
}

/// What the client has, in chunks; a fresh client sends one that is empty.
pub(super) fn resume(view: &ClientView, max: Option<u64>) -> Vec<ClientFrame> {
    let cursors: Vec<ResumeCursor> = view
        .conversations
        .iter()
        .map(|(conversation, state)| {
            let Position { seq, tag } = state.resumes_at();
            ResumeCursor {
                conversation: *conversation,
                seq,
                tag,
            }
        })
        .collect();
    let mut chunks: Vec<Resume> = cursors
        .chunks(CURSORS_MAX)
        .map(|chunk| Resume {
            epoch: view.epoch,
            cursors: chunk.to_vec(),
            ..Resume::default()
        })
        .collect();
    if chunks.is_empty() {
        chunks.push(Resume {
            epoch: view.epoch,
            ..Resume::default()
        });
    }
    let last = chunks.len() - 1;
    chunks[last].last = true;
    for chunk in &mut chunks {
        chunk.revision = view.revision;
        chunk.max = max;
    }
    chunks.into_iter().map(ClientFrame::Resume).collect()
}
