//! A server of a screenful: one log a conversation, dedup by id, resume. Not the engine; enough for the client to be
//! driven through lost connections.

use super::*;
use std::collections::BTreeMap;

pub(super) struct Server {
    pub(super) epoch: Epoch,
    pub(super) logs: BTreeMap<ConversationId, Vec<Event>>,
    resuming: Option<Epoch>,
    cursors: BTreeMap<ConversationId, Seq>,
}

impl Server {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            logs: BTreeMap::new(),
            resuming: None,
            cursors: BTreeMap::new(),
        }
    }

    /// Answers one frame.
    pub(super) fn take(&mut self, frame: &ClientFrame) -> Vec<ServerFrame> {
        match frame {
            ClientFrame::Hello(_) => {
                self.cursors.clear();
                self.resuming = None;
                vec![ServerFrame::Welcome(welcome(self.epoch))]
            }
            ClientFrame::Resume(resume) => {
                self.resuming = self.resuming.or(resume.epoch);
                let cursors = resume.cursors.iter().map(|cursor| (cursor.conversation, cursor.seq));
                self.cursors.extend(cursors);
                if resume.last { self.resume() } else { vec![] }
            }
            ClientFrame::Command { req, command } => self.command(*req, command),
            ClientFrame::Ping => vec![ServerFrame::Pong],
            ClientFrame::Pong => vec![],
        }
    }

    fn resume(&mut self) -> Vec<ServerFrame> {
        let mut out = Vec::new();
        if self.resuming.is_some_and(|epoch| epoch != self.epoch) {
            self.cursors.clear();
            out.push(ServerFrame::Reset(Reset {
                conversation: None,
                reason: ResetReason::Epoch,
                entry: None,
            }));
        }
        let fresh = self.logs.iter().filter(|(id, _)| !self.cursors.contains_key(*id));
        let entries = fresh.map(|(id, log)| snapshot(*id, log.len() as u64)).collect();
        out.push(ServerFrame::Inbox(InboxPush {
            entries,
            revision: Revision(0),
            last: true,
        }));
        for (id, seq) in &self.cursors {
            let missed = self.logs.get(id).into_iter().flatten().filter(|event| event.seq > *seq);
            out.push(ServerFrame::Page(Page {
                conversation: *id,
                items: missed.cloned().map(LogItem::Event).collect(),
                more: false,
            }));
        }
        out.push(ServerFrame::Synced(Synced { revision: Revision(0) }));
        out
    }

    fn command(&mut self, req: u64, command: &Command) -> Vec<ServerFrame> {
        let (Some(id), Some(conversation)) = (command.id(), command.conversation()) else {
            return vec![reply(req, Outcome::Done {})];
        };
        let joins = matches!(command, Command::ConversationJoin(_));
        if !joins && !self.logs.contains_key(&conversation) {
            return vec![error(req, ErrorCode::NotFound, None)];
        }
        let log = self.logs.entry(conversation).or_default();
        let answer = |seq: u64| {
            let Outcome::Stored(mut stored) = stored(1, id, seq) else {
                unreachable!()
            };
            stored.conversation = conversation;
            reply(req, Outcome::Stored(stored))
        };
        if let Some(first) = log.iter().find(|event| event.id == id) {
            return vec![answer(first.seq.0)];
        }
        let seq = log.len() as u64 + 1;
        let mut event = match joins {
            true => event(
                1,
                seq,
                MemberJoined {
                    member: Member {
                        user: user("ann"),
                        role: Role::Member,
                        joined: Seq(seq),
                        display: None,
                    },
                    member_count: 1,
                },
            ),
            false => new(1, seq, "ann"),
        };
        event.conversation = conversation;
        event.id = id;
        log.push(event.clone());
        let push = match joins {
            true => ServerFrame::Inbox(InboxPush {
                entries: vec![snapshot(conversation, seq)],
                revision: Revision(seq),
                last: true,
            }),
            false => ServerFrame::Event(event),
        };
        vec![push, answer(seq)]
    }
}

fn snapshot(id: ConversationId, head: u64) -> InboxEntry {
    let mut entry = entry(1, head);
    entry.conversation.id = id;
    entry
}
