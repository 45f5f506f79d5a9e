//! Reading: pages of logs, messages, inboxes and lists.

use crate::changes::Changed;
use crate::place::{Place, Written};
use crate::state::{Now, State};
use chat_core::command::PageToken;
use chat_core::conversation::{PageRoom, Visible, render, was_written_after};
use chat_core::event::Skip;
use chat_core::frame::{ConversationView, HistoryPage, InboxPage, LogItem, MarkPage, MemberPage, ReactionPage};
use chat_core::id::{ConversationId, MessageId, Position, Revision, Seq, UserId};
use chat_core::message::Message;
use chat_core::store::{
    Changes, HistoryQuery, Horizon, ListQuery, LogPage, LogQuery, LogRead, Membership, Memberships, StoreError, Window,
};

/// How many members come with a conversation.
const VIEW_MEMBERS_MAX: usize = 50;

pub(crate) fn log(state: &State, query: &LogQuery) -> Result<LogRead, StoreError> {
    let Some(place) = state.place(query.conversation) else {
        return Ok(LogRead::NotFound);
    };
    let visible = match &query.viewer {
        None => Visible::ALL,
        Some(user) => match place.members.get(user) {
            Some(member) => place.visible(member),
            None => return Ok(LogRead::NotFound),
        },
    };
    let end = visible.ended.unwrap_or(place.head().seq);
    if query.after > end {
        return Ok(LogRead::Ahead);
    }
    let skip = |from, to| {
        let (conversation, tag) = (query.conversation, place.tag(to));
        LogItem::Skip(Skip {
            conversation,
            from,
            to,
            tag,
        })
    };
    let ended_at = visible.ended.and_then(|ended| Some((ended, place.row(ended)?.at)));
    let mut items = Vec::new();
    let mut budget = PageRoom::new(query.limit, query.bytes);
    let mut next = query.after.next();
    if next < visible.from {
        let before = skip(next, visible.from.previous());
        budget.take_item(&before);
        items.push(before);
        next = visible.from;
    }
    while next <= end && !budget.is_spent() {
        let Some(row) = place.row(next) else { break };
        let event = render(row, &Now { state, place })?;
        let is_later = ended_at.is_some_and(|(ended, at)| was_written_after(&event, ended, at));
        let item = match visible.hides(&event) || is_later {
            true => skip(next, next),
            false => LogItem::Event(event),
        };
        if !budget.take_item(&item) {
            break;
        }
        items.push(item);
        next = next.next();
    }
    Ok(LogRead::Page(LogPage {
        after: place.tag(query.after),
        items,
        head: Position {
            seq: end,
            tag: place.tag(end),
        },
        ended: visible.ended,
    }))
}

pub(crate) fn history(state: &State, query: &HistoryQuery) -> Option<HistoryPage> {
    let place = state.place(query.conversation)?;
    let from = place.visible_now(query.viewer.as_ref())?.from;
    let is_there = |mut messages: std::collections::btree_map::Range<'_, Seq, Written>| messages.next().is_some();
    let before = |seq: Seq| place.messages.range(from..seq.max(from));
    let after = |seq: Seq| place.messages.range(from.max(seq.next())..);
    let at_and_after = |seq: Seq| place.messages.range(from.max(seq)..);

    let page = |limit| PageRoom::new(limit, query.bytes);
    let mut messages: Vec<Message> = match query.window {
        Window::Newest => take(page(query.limit), at_and_after(from).rev()),
        Window::Before(seq) => take(page(query.limit), before(seq).rev()),
        Window::After(seq) => take(page(query.limit), after(seq)),
        Window::Around(seq) => {
            let older = query.limit / 2;
            let side = |limit| PageRoom::new(limit, query.bytes / 2);
            let mut both = take(side(query.limit - older), at_and_after(seq));
            if older > 0 {
                both.extend(take(side(older), before(seq).rev()));
            }
            both
        }
    };
    messages.sort_unstable_by_key(|message| message.seq);
    let (more_before, more_after) = match (messages.first(), messages.last(), query.window) {
        (Some(first), Some(last), _) => (is_there(before(first.seq)), is_there(after(last.seq))),
        (_, _, Window::Before(seq)) => (false, is_there(at_and_after(seq))),
        (_, _, Window::After(seq)) => (is_there(before(seq.next())), false),
        (_, _, Window::Newest | Window::Around(_)) => (false, false),
    };
    Some(HistoryPage {
        conversation: query.conversation,
        messages,
        more_before,
        more_after,
        head: place.head(),
    })
}

/// The nearest messages first, as many as go into the page.
fn take<'a>(mut page: PageRoom, nearest: impl Iterator<Item = (&'a Seq, &'a Written)>) -> Vec<Message> {
    let messages = nearest.map(|(_, written)| written.now());
    messages.take_while(|message| page.take_message(message)).collect()
}

pub(crate) fn memberships(state: &State, user: &UserId, changed_after: Option<Revision>) -> Memberships {
    let membership = |id: &ConversationId| {
        let place = state.place(*id)?;
        let member = place.member(user)?;
        Some(Membership {
            conversation: *id,
            joined: member.joined,
            visible_from: place.visible(member).from,
            head: place.head(),
            revision: member.revision,
        })
    };
    let conversations = state.users.get(user).into_iter().flat_map(|user| &user.conversations);
    Memberships {
        revision: state.revision(user),
        memberships: conversations
            .filter_map(membership)
            .filter(|membership| changed_after.is_none_or(|revision| membership.revision > revision))
            .collect(),
    }
}

pub(crate) fn inbox(state: &State, user: &UserId, page: Option<&PageToken>, mut budget: PageRoom) -> InboxPage {
    let conversations = state.users.get(user).into_iter().flat_map(|user| &user.conversations);
    let beyond = conversations.filter(|id| page.is_none_or(|page| id.to_string() > page.0));
    let mut inbox = InboxPage {
        entries: Vec::new(),
        next: None,
    };
    for entry in beyond.filter_map(|id| state.entry(user, *id)) {
        if !budget.take_entry(&entry) {
            inbox.next = inbox
                .entries
                .last()
                .map(|last| PageToken(last.conversation.id.to_string()));
            break;
        }
        inbox.entries.push(entry);
    }
    inbox
}

pub(crate) fn conversation(
    state: &State,
    conversation: ConversationId,
    viewer: Option<&UserId>,
) -> Option<ConversationView> {
    let place = state.place(conversation).filter(|place| !place.deleted)?;
    let entry = viewer.and_then(|user| state.entry(user, conversation));
    if viewer.is_some() && entry.is_none() {
        // What anyone may see of a public channel, and nothing of any other.
        return place.conversation.public.then(|| ConversationView {
            conversation: place.conversation.clone(),
            entry: None,
            members: Vec::new(),
        });
    }
    let members = place.members().take(VIEW_MEMBERS_MAX);
    Some(ConversationView {
        conversation: place.conversation.clone(),
        entry,
        members: members.map(|(user, member)| state.shown(user, member)).collect(),
    })
}

pub(crate) fn members(state: &State, query: &ListQuery) -> Option<MemberPage> {
    let place = listed(state, query)?;
    let members = place.members();
    let members = members.map(|(user, member)| (user.to_string(), state.shown(user, member)));
    let (members, next) = paged(members, query.page.as_ref(), query.limit);
    Some(MemberPage { members, next })
}

pub(crate) fn marks(state: &State, query: &ListQuery) -> Option<MarkPage> {
    let place = listed(state, query)?;
    let members = place.members();
    let marks = members.map(|(user, member)| (user.to_string(), member.marks.clone()));
    let (marks, next) = paged(marks, query.page.as_ref(), query.limit);
    Some(MarkPage {
        marks,
        revision: place.marks_revision,
        next,
    })
}

pub(crate) fn reactions(state: &State, query: &ListQuery, message: MessageId, emoji: &str) -> Option<ReactionPage> {
    let place = listed(state, query)?;
    let visible = place.visible_now(query.viewer.as_ref())?;
    let written = place.written(message)?;
    if !visible.contains(written.message.seq) {
        return None;
    }
    let mut users = written.users_of(emoji).to_vec();
    users.sort_unstable();
    let users = users.into_iter().map(|user| (user.to_string(), user));
    let (users, next) = paged(users, query.page.as_ref(), query.limit);
    Some(ReactionPage { users, next })
}

/// The conversation of a list, if the viewer is a member of it, or the host.
fn listed<'a>(state: &'a State, query: &ListQuery) -> Option<&'a Place> {
    let place = state.place(query.conversation)?;
    place.visible_now(query.viewer.as_ref())?;
    Some(place)
}

/// A page of what is in the order of its keys; its token is the last key on it.
fn paged<T>(
    items: impl Iterator<Item = (String, T)>,
    page: Option<&PageToken>,
    limit: usize,
) -> (Vec<T>, Option<PageToken>) {
    let mut rest = items
        .skip_while(|(key, _)| page.is_some_and(|page| *key <= page.0))
        .peekable();
    let mut taken = Vec::new();
    let mut next = None;
    for (key, item) in rest.by_ref().take(limit.max(1)) {
        taken.push(item);
        next = Some(PageToken(key));
    }
    (taken, next.filter(|_| rest.peek().is_some()))
}

pub(crate) fn heads_changed_since(
    state: &State,
    horizon: Option<&Horizon>,
    limit: usize,
) -> Result<Changes, StoreError> {
    let last = state.changes.last();
    let mut changes = Changes {
        horizon: Horizon(last.to_string()),
        heads: Vec::new(),
        users: Vec::new(),
        more: false,
    };
    let Some(Horizon(since)) = horizon else {
        return Ok(changes);
    };
    let since = since
        .parse()
        .map_err(|_| StoreError::Corrupt("this horizon is not one of mine".to_owned()))?;
    let mut reached = since;
    let mut rest = state.changes.since(since).peekable();
    for (number, changed) in rest.by_ref().take(limit.max(1)) {
        reached = number;
        match changed {
            Changed::Conversation(id) => changes.heads.extend(state.head(*id)),
            Changed::User(user) => changes.users.push(user.clone()),
        }
    }
    if rest.peek().is_some() {
        changes.more = true;
        changes.horizon = Horizon(reached.to_string());
    }
    Ok(changes)
}
