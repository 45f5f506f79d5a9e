//! What the judge has to know of the items of a group, loaded once.

use super::{Desk, REACTION_USERS_MAX};
use crate::database::{Answer, Database};
use crate::statements::{self, Asked, ReactionKey};
use chat_core::command::Command;
use chat_core::conversation::{Touches, touches};
use chat_core::id::{ConversationId, MessageId, UserId};
use chat_core::message::Message;
use chat_core::store::{Append, AppendItem};
use std::collections::{BTreeSet, HashSet};

impl Desk {
    pub(super) async fn load(database: &mut impl Database, batches: &[&Append]) -> Answer<Self> {
        let mut asked = Vec::new();
        let mut also = Also::default();
        for (batch, item) in items(batches) {
            let (conversation, touches) = (batch.conversation, touches(item));
            asked.push(Asked {
                conversation,
                id: item.command.id(),
                user_id: item.actor.user(),
            });
            also.take(conversation, item, touches);
        }
        let named = also.users.iter().map(|(conversation, user)| Asked {
            conversation: *conversation,
            id: None,
            user_id: Some(user),
        });
        asked.extend(named);

        let mut desk = Self::of(statements::basis(database, &asked).await?);
        desk.load_also(database, also).await?;
        Ok(desk)
    }

    /// What only some commands need.
    async fn load_also(&mut self, database: &mut impl Database, also: Also) -> Answer<()> {
        if !also.messages.is_empty() {
            let found = statements::messages_by_id(database, &also.messages).await?;
            let by_id = |(conversation, message): (_, Message)| ((conversation, message.id), message);
            self.messages = found.into_iter().map(by_id).collect();
        }
        let key = |(conversation, message, emoji): &(ConversationId, MessageId, String)| {
            let message = self.messages.get(&(*conversation, *message))?.seq;
            Some(ReactionKey {
                conversation: *conversation,
                message,
                emoji: emoji.clone(),
            })
        };
        let chosen = also.reactions.iter();
        let chosen: Vec<_> = chosen
            .filter_map(|(reaction, user)| Some((key(reaction)?, user.clone())))
            .collect();
        if !chosen.is_empty() {
            self.chosen = statements::chosen(database, &chosen).await?.into_iter().collect();
        }
        let taken_back: HashSet<_> = also.taken_back.iter().filter_map(key).collect();
        for reaction in taken_back {
            let users =
                statements::first_users(database, &reaction, REACTION_USERS_MAX + also.taken_back.len()).await?;
            self.first_users.insert(reaction, users);
        }
        for pair in also.pairs {
            if let Some(first) = statements::direct(database, &pair).await? {
                self.directs.insert(pair, first);
            }
        }
        if !also.joining.is_empty() {
            self.inboxes = statements::inboxes(database, &also.joining).await?;
        }
        for conversation in also.ended {
            let members = statements::current_members(database, conversation).await?;
            self.all_members.insert(conversation, members.into_iter().collect());
        }
        Ok(())
    }
}

fn items<'a>(batches: &'a [&'a Append]) -> impl Iterator<Item = (&'a Append, &'a AppendItem)> {
    let items = |batch: &&'a Append| {
        let batch: &'a Append = batch;
        batch.items.iter().map(move |item| (batch, item))
    };
    batches.iter().flat_map(items)
}

/// What the items of a group touch beside their own id and actor.
#[derive(Default)]
struct Also {
    users: Vec<(ConversationId, UserId)>,
    messages: Vec<(ConversationId, MessageId)>,
    reactions: Vec<((ConversationId, MessageId, String), UserId)>,
    taken_back: Vec<(ConversationId, MessageId, String)>,
    pairs: BTreeSet<(UserId, UserId)>,
    joining: Vec<UserId>,
    ended: BTreeSet<ConversationId>,
}

impl Also {
    fn take(&mut self, conversation: ConversationId, item: &AppendItem, touches: Touches<'_>) {
        self.users.extend(touches.user.map(|user| (conversation, user.clone())));
        let messages = touches.message.into_iter().chain(touches.reply_to);
        self.messages.extend(messages.map(|message| (conversation, message)));
        if let (Some(message), Some(emoji), Some(user)) = (touches.message, touches.emoji, item.actor.user()) {
            let reaction = (conversation, message, emoji.to_owned());
            if matches!(item.command, Command::ReactionRemove(_)) {
                self.taken_back.push(reaction.clone());
            }
            self.reactions.push((reaction, user.clone()));
        }
        self.pairs.extend(touches.pair);
        self.joining.extend(touches.joining);
        if matches!(item.command, Command::ConversationDelete(_)) {
            self.ended.insert(conversation);
        }
    }
}
