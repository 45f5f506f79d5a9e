//! What a client keeps from connection to connection, and the rule by which it holds the engine to order.

use chat_core::code::ResetReason;
use chat_core::conversation::InboxEntry;
use chat_core::event::{Event, EventKind};
use chat_core::frame::{Hello, LogItem, Resume, ResumeCursor, ServerFrame, SessionGrant};
use chat_core::id::{ConversationId, Epoch, Position, Revision, Seq, UserId};
use std::collections::BTreeMap;

/// What a client keeps from connection to connection.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Who one is.
    pub user: Option<UserId>,
    /// The session to go on with.
    pub session: Option<SessionGrant>,
    /// The last connection's attempt number.
    pub attempt: u64,
    /// The epoch of the cursors.
    pub epoch: Option<Epoch>,
    /// The revision of the inbox.
    pub revision: Option<Revision>,
    /// The last position that was heard of each conversation.
    pub cursors: BTreeMap<ConversationId, Position>,
    /// What the welcome said.
    welcomed: Option<Epoch>,
    /// Since when one is a member.
    joined: BTreeMap<ConversationId, Seq>,
}

impl Memory {
    /// The hello of a guest who was never here.
    pub fn hello_of(name: &str) -> Hello {
        Hello {
            guest: Some(name.to_owned()),
            attempt: 1,
            wants: ["typing", "presence", "receipts"].map(str::to_owned).into(),
            ..Hello::default()
        }
    }

    /// The hello of the next connection.
    ///
    /// # Panics
    /// Before the first welcome.
    pub fn hello(&self) -> Hello {
        let user = self.user.as_ref().expect("this client was welcomed once");
        Hello {
            session: self.session.clone(),
            attempt: self.attempt + 1,
            ..Self::hello_of(user.as_str())
        }
    }

    /// What the next connection resumes with.
    pub fn resume(&self) -> Resume {
        let cursors = self.cursors.iter().map(|(conversation, at)| ResumeCursor {
            conversation: *conversation,
            seq: at.seq,
            tag: at.tag,
        });
        Resume {
            epoch: self.epoch,
            revision: self.revision,
            cursors: cursors.collect(),
            max: None,
            last: true,
        }
    }

    pub(super) fn take(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Welcome(welcome) => {
                self.user = Some(welcome.user.clone());
                self.session = Some(welcome.session.clone());
                self.welcomed = Some(welcome.epoch);
                self.epoch = self.epoch.or(self.welcomed);
            }
            ServerFrame::Inbox(inbox) => {
                for entry in &inbox.entries {
                    self.begin(entry, false);
                }
                if inbox.last {
                    self.revision = Some(inbox.revision);
                }
            }
            ServerFrame::Reset(reset) => match (&reset.conversation, &reset.entry) {
                (None, _) => {
                    self.cursors.clear();
                    (self.epoch, self.revision) = (self.welcomed, None);
                }
                (Some(_), Some(entry)) => self.begin(entry, true),
                (Some(conversation), None) => {
                    assert_eq!(reset.reason, ResetReason::NotFound, "a reset brings an entry");
                    self.cursors.remove(conversation);
                }
            },
            ServerFrame::Event(event) => self.event(event),
            ServerFrame::Skip(skip) => {
                let to = Position {
                    seq: skip.to,
                    tag: skip.tag,
                };
                self.go(skip.conversation, skip.from, to);
            }
            ServerFrame::Page(page) => {
                for item in &page.items {
                    match item {
                        LogItem::Event(event) => self.event(event),
                        LogItem::Skip(skip) => self.go(skip.conversation, skip.from, item.position()),
                    }
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, entry: &InboxEntry, anew: bool) {
        let id = entry.conversation.id;
        if anew || !self.cursors.contains_key(&id) {
            self.cursors.insert(id, entry.head);
        }
        self.joined.insert(id, entry.joined);
    }

    fn event(&mut self, event: &Event) {
        self.go(event.conversation, event.seq, event.position());
        let own = |user: &UserId| Some(user) == self.user.as_ref();
        let ends = match &event.kind {
            EventKind::MemberLeft(left) => own(&left.user),
            EventKind::MemberRemoved(removed) => own(&removed.user),
            EventKind::ConversationDeleted(_) => true,
            _ => false,
        };
        let joined = self.joined.get(&event.conversation).copied().unwrap_or(Seq::ZERO);
        if ends && event.seq > joined {
            self.cursors.remove(&event.conversation);
        }
    }

    fn go(&mut self, conversation: ConversationId, first: Seq, to: Position) {
        let at = self.cursors.get_mut(&conversation);
        let at = at.unwrap_or_else(|| panic!("{conversation} was not announced, yet {first} of it came"));
        assert_eq!(first, at.seq.next(), "what follows {at:?} in {conversation}");
        *at = to;
    }
}
