//! What users and the host look at, by seed: every kind of read, by members, former members and strangers.

use super::ask::Ask;
use super::world::World;
use chat_core::id::{CommandId, ConversationId, Seq, UserId};
use chat_core::store::{HistoryQuery, ListQuery, LogQuery, Window};

impl World {
    /// The next thing that somebody looks at.
    pub fn look(&mut self) -> Ask {
        let place = self.some_place();
        let conversation = self.place_to_read(place);
        let user = self.viewer(place);
        let viewer = (!self.random.chance(0.15)).then(|| user.clone());
        match self.random.below(0..18) {
            0..5 => Ask::Log(LogQuery {
                conversation,
                viewer,
                after: self.seq(place),
                limit: self.limit(),
                bytes: self.bytes(),
            }),
            5..8 => Ask::History(HistoryQuery {
                conversation,
                viewer,
                window: self.window(place),
                limit: self.limit(),
                bytes: self.bytes(),
            }),
            8 => {
                let anywhere = self.random.chance(0.2);
                let here = self
                    .acknowledged
                    .keys()
                    .filter(|(place, _)| anywhere || *place == conversation);
                let ids: Vec<CommandId> = here.map(|(_, id)| *id).collect();
                let unknown = CommandId::from_parts(1, self.random.bytes());
                let id = if ids.is_empty() || self.random.chance(0.1) {
                    unknown
                } else {
                    self.pick(&ids)
                };
                Ask::Lookup(conversation, id)
            }
            9 => Ask::Memberships(
                user,
                self.random.chance(0.6).then(|| usize::from(self.random.chance(0.5))),
            ),
            10 => {
                let conversations = self.some_conversations();
                Ask::Entries(user, conversations)
            }
            11 => Ask::Inbox(user, self.limit(), self.bytes()),
            12 => Ask::Conversation(conversation, viewer),
            13 => Ask::Members(self.list(conversation, viewer)),
            14 => Ask::Marks(self.list(conversation, viewer)),
            15 => {
                let (message, emoji, _) = self.some_message(place);
                Ask::Reactions(self.list(conversation, viewer), message, emoji)
            }
            16 => Ask::Heads(self.some_conversations()),
            _ => {
                let others = self.users.iter().filter(|other| **other != user).cloned().collect();
                Ask::Sharing(user, others)
            }
        }
    }

    /// One where the user was a member once, if there is one and as it comes; else any.
    pub fn place_to_read_as(&mut self, user: &UserId) -> usize {
        let was_here = |place: &usize| self.places[*place].fold.former.contains_key(user);
        let former: Vec<usize> = (0..self.places.len()).filter(was_here).collect();
        if former.is_empty() || self.random.chance(0.5) {
            return self.some_place();
        }
        self.pick(&former)
    }

    fn place_to_read(&mut self, place: usize) -> ConversationId {
        if self.random.chance(0.05) {
            return self.unknown_conversation();
        }
        self.places[place].id
    }

    fn some_conversations(&mut self) -> Vec<ConversationId> {
        let mut all: Vec<ConversationId> = self.places.iter().map(|place| place.id).collect();
        all.retain(|_| self.random.chance(0.8));
        all.push(self.unknown_conversation());
        all
    }

    fn list(&mut self, conversation: ConversationId, viewer: Option<UserId>) -> ListQuery {
        ListQuery {
            conversation,
            viewer,
            page: None,
            limit: self.limit(),
        }
    }

    /// Anywhere in a log, and a little beyond.
    fn seq(&mut self, place: usize) -> Seq {
        let head = self.places[place].fold.head.seq;
        let beyond = if self.random.chance(0.1) { 4 } else { 1 };
        Seq(self.random.below(0..head.0 + beyond))
    }

    fn window(&mut self, place: usize) -> Window {
        let seq = self.seq(place);
        self.pick(&[
            Window::Newest,
            Window::Before(seq),
            Window::After(seq),
            Window::Around(seq),
        ])
    }

    fn limit(&mut self) -> usize {
        self.pick(&[1, 2, 3, 7, 50])
    }

    fn bytes(&mut self) -> usize {
        self.pick(&[1, 600, 1_500, 4_000, usize::MAX, usize::MAX])
    }
}
