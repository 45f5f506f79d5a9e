//! What was seen of conversations when messages were last written to them: the next ones are judged by it without a look.
//!
//! Nothing is believed of it until the head of the log is found to be the same as then: all that the judge looks at
//! changes together with the head. It is never more than a guess that saves a question.

use crate::rows::{Members, Place};
use crate::writes::{Writes, Written};
use chat_core::command::Command;
use chat_core::id::{ConversationId, Epoch, Position};
use chat_core::store::{Actor, Append, AppendItem};
use std::collections::{HashMap, HashSet};

/// So many conversations and members are known; beyond that everything is forgotten, and looked at once more.
const MAX: usize = 50_000;

/// A conversation in which somebody else writes as well is looked at for so many groups before it is guessed at again.
const LOOKS: u32 = 16;

#[derive(Default)]
pub(crate) struct Known {
    epoch: Option<Epoch>,
    seen: HashMap<ConversationId, Seen>,
    /// How many conversations and members are in `seen`.
    count: usize,
    /// For how many more groups a conversation is to be looked at.
    doubts: HashMap<ConversationId, u32>,
    /// Of the group that is under way.
    guessed: HashSet<ConversationId>,
}

struct Seen {
    place: Place,
    members: Members,
}

impl Known {
    /// In which log.
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Takes out the conversations of which enough is known to judge all of these batches.
    pub fn take(&mut self, batches: &[&Append]) -> (HashMap<ConversationId, Place>, HashMap<ConversationId, Members>) {
        let mut asked: HashMap<ConversationId, bool> = HashMap::new();
        for batch in batches {
            let suffices = asked.entry(batch.conversation).or_insert(true);
            *suffices = *suffices && self.suffices(batch);
        }
        let (mut places, mut members) = (HashMap::new(), HashMap::new());
        for (id, _) in asked.into_iter().filter(|(_, suffices)| *suffices) {
            if let Some(seen) = self.seen.remove(&id) {
                self.count -= seen.count();
                self.guessed.insert(id);
                places.insert(id, seen.place);
                members.insert(id, seen.members);
            }
        }
        (places, members)
    }

    /// Takes a conversation from one place to another, between which there are messages of others alone.
    pub fn go_on(&mut self, conversation: ConversationId, (from, to): (Position, Position)) {
        if let Some(seen) = self.seen.get_mut(&conversation)
            && seen.place.head == from
        {
            seen.place.head = to;
        }
    }

    fn suffices(&self, batch: &Append) -> bool {
        let Some(seen) = self.seen.get(&batch.conversation) else {
            return false;
        };
        let suffices = |item: &AppendItem| match (&item.command, &item.actor) {
            // What it answers would have to be looked up.
            (Command::MessageSend(send), _) if send.reply_to.is_some() => false,
            (Command::MessageSend(_), Actor::User(user)) => seen.members.contains_key(user),
            (Command::MessageSend(_), Actor::System) => true,
            _ => false,
        };
        batch.items.iter().all(suffices)
    }

    /// Adds those whom nobody looked at this time: at the same head they are members as they were.
    pub fn add_members(
        &mut self,
        places: &HashMap<ConversationId, Place>,
        members: &mut HashMap<ConversationId, Members>,
    ) {
        for (id, place) in places {
            let Some(seen) = self.seen.remove(id) else { continue };
            self.count -= seen.count();
            if seen.place.head == place.head {
                let members = members.entry(*id).or_default();
                for (user, member) in seen.members {
                    members.entry(user).or_insert(member);
                }
            }
        }
    }

    /// Whether nobody looked at the conversation of the group under way.
    pub fn is_guessed(&self, conversation: ConversationId) -> bool {
        self.guessed.contains(&conversation)
    }

    /// Takes what the group has made of the conversations in which it was written, and ends it.
    pub fn learn(&mut self, mut writes: Writes, mut members: HashMap<ConversationId, Members>, written: &Written) {
        if let Some((epoch, _)) = written.said {
            self.epoch = Some(epoch);
        }
        let written = &written.conversations;
        for id in std::mem::take(&mut self.guessed) {
            if !written.contains(&id) {
                self.doubts.insert(id, LOOKS);
            }
        }
        for id in written {
            if let Some(looks) = self.doubts.get_mut(id) {
                *looks -= 1;
                if *looks == 0 {
                    self.doubts.remove(id);
                }
                continue;
            }
            let Some((mut place, _)) = writes.places.remove(id) else {
                continue;
            };
            // They may be long, and no message is judged by them.
            (place.conversation.title, place.conversation.meta) = (None, None);
            let members = members.remove(id).unwrap_or_default();
            let seen = Seen { place, members };
            self.count += seen.count();
            self.seen.insert(*id, seen);
        }
        if self.count + self.doubts.len() > MAX {
            *self = Self::default();
        }
    }

    /// Of what has gone on in another way.
    pub fn forget(&mut self, conversations: impl Iterator<Item = ConversationId>) {
        for id in conversations {
            if let Some(seen) = self.seen.remove(&id) {
                self.count -= seen.count();
            }
        }
    }
}

impl Seen {
    fn count(&self) -> usize {
        1 + self.members.len()
    }
}
