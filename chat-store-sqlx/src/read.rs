//! Reading: pages of logs, messages, inboxes and lists, from what a snapshot of the database gives.

use crate::database::{Answer, Database};
use crate::desk::named;
use crate::rows::{Logged, Membership, Place, corrupt};
use crate::statements::{self, Glance, ListPage, ReactionKey, Scene, Seated, Seats, Span};
use chat_core::command::PageToken;
use chat_core::conversation::{
    Conversation, ConversationKind, Current, InboxEntry, Member, PageRoom, Visible, render, was_written_after,
};
use chat_core::event::Skip;
use chat_core::frame::{ConversationView, HistoryPage, InboxPage, LogItem, MarkPage, MemberPage, ReactionPage};
use chat_core::id::{ConversationId, Epoch, MessageId, Seq, Tag, Timestamp, UserId};
use chat_core::message::Message;
use chat_core::store::{HistoryQuery, ListQuery, LogPage, LogQuery, LogRead, Read, Window};
use serde_json::Value;
use std::collections::HashMap;

/// How many members come with a conversation.
const VIEW_MEMBERS_MAX: usize = 50;

/// Rows of a log that are read at once: a page of long messages ends long before its limit.
const LOG_ROWS: usize = 64;

pub(crate) async fn log(database: &mut impl Database, query: &LogQuery) -> Answer<Read<LogRead>> {
    let scene = statements::scene(database, query.conversation, query.viewer.as_ref()).await?;
    let (epoch, Some(place)) = (scene.epoch, scene.place) else {
        return said(scene.epoch, LogRead::NotFound);
    };
    let visible = match (&query.viewer, &scene.member) {
        (None, _) => Visible::ALL,
        (Some(_), Some(member)) => place.visible(member),
        (Some(_), None) => return said(epoch, LogRead::NotFound),
    };
    let end = visible.ended.unwrap_or(place.head.seq);
    if query.after > end {
        return said(epoch, LogRead::Ahead);
    }
    let ended = match visible.ended {
        Some(ended) => Some(row_at(database, query.conversation, ended).await?),
        None => None,
    };
    let head = ended.as_ref().map_or(place.head, |ended| ended.row.position());
    let ended_at = ended.map(|ended| (ended.row.seq, ended.row.at));

    let mut page = Page {
        place: &place,
        visible,
        ended_at,
        room: PageRoom::new(query.limit, query.bytes),
        items: Vec::new(),
    };
    let after = tag_at(database, query.conversation, query.after).await?;
    let mut next = query.after.next();
    if next < visible.from {
        let before = visible.from.previous();
        page.skip(next, before, tag_at(database, query.conversation, before).await?);
        next = visible.from;
    }
    'page: while next <= end && !page.room.is_spent() {
        let rows = statements::log(database, query.conversation, next, LOG_ROWS.min(query.limit.max(1))).await?;
        let displays = displays_of(database, &rows).await?;
        if rows.first().map(|logged| logged.row.seq) != Some(next) {
            return Err(corrupt("a log with a gap"));
        }
        for logged in rows {
            if next > end || !page.take(&logged, &displays)? {
                break 'page;
            }
            next = logged.row.seq.next();
        }
    }
    let page = LogPage {
        after,
        items: page.items,
        head,
        ended: visible.ended,
    };
    said(epoch, LogRead::Page(page))
}

/// A page of a log while it fills.
struct Page<'a> {
    place: &'a Place,
    visible: Visible,
    /// When the viewer's membership ended, and at which seq.
    ended_at: Option<(Seq, Timestamp)>,
    room: PageRoom,
    items: Vec<LogItem>,
}

impl Page<'_> {
    /// Takes a row as its viewer may see it; `false` when there is no room.
    fn take(&mut self, logged: &Logged, displays: &HashMap<UserId, Value>) -> Answer<bool> {
        let now = Now {
            conversation: &self.place.conversation,
            message: logged.message.as_ref(),
            displays,
        };
        let event = render(&logged.row, &now)?;
        let is_later = self
            .ended_at
            .is_some_and(|(ended, at)| was_written_after(&event, ended, at));
        if self.visible.hides(&event) || is_later {
            return Ok(self.skip(logged.row.seq, logged.row.seq, logged.row.tag));
        }
        Ok(self.push(LogItem::Event(event)))
    }

    fn skip(&mut self, from: Seq, to: Seq, tag: Tag) -> bool {
        self.push(LogItem::Skip(Skip {
            conversation: self.place.conversation.id,
            from,
            to,
            tag,
        }))
    }

    fn push(&mut self, item: LogItem) -> bool {
        let fits = self.room.take_item(&item);
        if fits {
            self.items.push(item);
        }
        fits
    }
}

/// A row is rendered with what it names, as it is in the snapshot.
struct Now<'a> {
    conversation: &'a Conversation,
    message: Option<&'a Message>,
    displays: &'a HashMap<UserId, Value>,
}

impl Current for Now<'_> {
    fn conversation(&self) -> Conversation {
        self.conversation.clone()
    }

    fn message(&self, id: MessageId) -> Option<Message> {
        self.message.filter(|message| message.id == id).cloned()
    }

    fn display(&self, user: &UserId) -> Option<Value> {
        self.displays.get(user).cloned()
    }
}

async fn displays_of(database: &mut impl Database, rows: &[Logged]) -> Answer<HashMap<UserId, Value>> {
    let users: Vec<UserId> = rows
        .iter()
        .flat_map(|logged| named(&logged.row.kind))
        .cloned()
        .collect();
    if users.is_empty() {
        return Ok(HashMap::new());
    }
    statements::displays(database, &users).await
}

async fn row_at(database: &mut impl Database, conversation: ConversationId, seq: Seq) -> Answer<Logged> {
    let rows = statements::log(database, conversation, seq, 1).await?;
    let row = rows.into_iter().find(|logged| logged.row.seq == seq);
    row.ok_or_else(|| corrupt("a log with a gap"))
}

async fn tag_at(database: &mut impl Database, conversation: ConversationId, seq: Seq) -> Answer<Tag> {
    if seq == Seq::ZERO {
        return Ok(Tag::ZERO);
    }
    Ok(row_at(database, conversation, seq).await?.row.tag)
}

pub(crate) async fn history(database: &mut impl Database, query: &HistoryQuery) -> Answer<Read<Option<HistoryPage>>> {
    let scene = statements::scene(database, query.conversation, query.viewer.as_ref()).await?;
    let epoch = scene.epoch;
    let Some((place, visible)) = visible_now(scene, query.viewer.as_ref()) else {
        return said(epoch, None);
    };
    let from = visible.from;
    let beyond = place.head.seq.next();
    let before = |seq: Seq| Span { from, before: seq };
    let at_and_after = |seq: Seq| Span {
        from: from.max(seq),
        before: beyond,
    };
    let after = |seq: Seq| at_and_after(seq.next());

    let side = |limit, bytes| PageRoom::new(limit, bytes);
    let (limit, bytes) = (query.limit.max(1), query.bytes);
    let id = query.conversation;
    let mut messages = match query.window {
        Window::Newest => nearest(database, id, at_and_after(from), true, side(limit, bytes), limit).await?,
        Window::Before(seq) => nearest(database, id, before(seq), true, side(limit, bytes), limit).await?,
        Window::After(seq) => nearest(database, id, after(seq), false, side(limit, bytes), limit).await?,
        Window::Around(seq) => {
            let older = query.limit / 2;
            let newer = (query.limit - older).max(1);
            let span = at_and_after(seq);
            let mut both = nearest(database, id, span, false, side(newer, bytes / 2), newer).await?;
            if older > 0 {
                both.extend(nearest(database, id, before(seq), true, side(older, bytes / 2), older).await?);
            }
            both
        }
    };
    messages.sort_unstable_by_key(|message| message.seq);
    let (earlier, later) = match (messages.first(), messages.last(), query.window) {
        (Some(first), Some(last), _) => (Some(before(first.seq)), Some(after(last.seq))),
        (_, _, Window::Before(seq)) => (None, Some(at_and_after(seq))),
        (_, _, Window::After(seq)) => (Some(before(seq.next())), None),
        (_, _, Window::Newest | Window::Around(_)) => (None, None),
    };
    let page = HistoryPage {
        conversation: id,
        messages,
        more_before: is_there(database, id, earlier).await?,
        more_after: is_there(database, id, later).await?,
        head: place.head,
    };
    said(epoch, Some(page))
}

/// The nearest messages first, as many as go into the page.
async fn nearest(
    database: &mut impl Database,
    conversation: ConversationId,
    mut span: Span,
    newest_first: bool,
    mut room: PageRoom,
    limit: usize,
) -> Answer<Vec<Message>> {
    let mut taken: Vec<Message> = Vec::new();
    while taken.len() < limit && span.from < span.before {
        let chunk = LOG_ROWS.min(limit - taken.len());
        let messages = statements::messages(database, conversation, span, newest_first, chunk).await?;
        let is_last = messages.len() < chunk;
        for message in messages {
            if !room.take_message(&message) {
                return Ok(taken);
            }
            match newest_first {
                true => span.before = message.seq,
                false => span.from = message.seq.next(),
            }
            taken.push(message);
        }
        if is_last {
            break;
        }
    }
    Ok(taken)
}

async fn is_there(database: &mut impl Database, conversation: ConversationId, span: Option<Span>) -> Answer<bool> {
    match span {
        Some(span) if span.from < span.before => Ok(!statements::messages(database, conversation, span, false, 1)
            .await?
            .is_empty()),
        _ => Ok(false),
    }
}

/// What a viewer sees as a member now, or the host, who sees everything.
fn visible_now(scene: Scene, viewer: Option<&UserId>) -> Option<(Place, Visible)> {
    let place = scene.place.filter(|place| !place.deleted)?;
    let visible = match viewer {
        None => Visible::ALL,
        Some(_) => place.visible(&scene.member.filter(|member| member.ended.is_none())?),
    };
    Some((place, visible))
}

/// Entries of the user's inbox, in the order of conversation ids.
pub(crate) async fn entries(database: &mut impl Database, user: &UserId, which: Seats<'_>) -> Answer<Vec<InboxEntry>> {
    let seats = statements::seats(database, user, which).await?;
    if seats.is_empty() {
        return Ok(Vec::new());
    }
    let glance = |(place, member): &(Place, Membership)| {
        let visible_from = place.visible(member).from;
        Glance {
            conversation: place.conversation.id,
            visible_from,
            unread_from: visible_from.max(member.read.next()),
        }
    };
    let glances: Vec<_> = seats.iter().map(glance).collect();
    let mut seen = statements::glances(database, user, &glances).await?;
    let is_direct = |place: &Place| place.conversation.kind == ConversationKind::Direct;
    let direct = seats.iter().filter(|(place, _)| is_direct(place));
    let direct: Vec<_> = direct.map(|(place, _)| place.conversation.id).collect();
    let mut both: HashMap<ConversationId, Vec<Member>> = HashMap::new();
    if !direct.is_empty() {
        for seated in statements::members_of_all(database, &direct).await? {
            both.entry(seated.conversation).or_default().push(shown(seated));
        }
    }
    let entry = |(place, member): (Place, Membership)| {
        let id = place.conversation.id;
        let (last_message, unread) = seen.remove(&id).unwrap_or_default();
        InboxEntry {
            conversation: place.conversation,
            head: place.head,
            role: member.role,
            joined: member.joined,
            last_message,
            unread,
            read: member.read,
            delivered: member.delivered,
            muted: member.muted,
            archived: member.archived,
            revision: member.revision,
            members: both.remove(&id).unwrap_or_default(),
        }
    };
    Ok(seats.into_iter().map(entry).collect())
}

pub(crate) async fn inbox(
    database: &mut impl Database,
    user: &UserId,
    page: Option<&PageToken>,
    (limit, bytes): (usize, usize),
) -> Answer<InboxPage> {
    let limit = limit.max(1);
    // A token that is none of ours is before or behind every id, as it would be in the order of texts.
    let beyond = page.map(|page| page.0.parse::<ConversationId>());
    let beyond = match beyond {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return Ok(nothing()),
    };
    let mut room = PageRoom::new(limit, bytes);
    let mut inbox = nothing();
    for entry in entries(database, user, Seats::Beyond(beyond, limit.saturating_add(1))).await? {
        if !room.take_entry(&entry) {
            inbox.next = inbox
                .entries
                .last()
                .map(|last| PageToken(last.conversation.id.to_string()));
            break;
        }
        inbox.entries.push(entry);
    }
    Ok(inbox)
}

fn nothing() -> InboxPage {
    InboxPage {
        entries: Vec::new(),
        next: None,
    }
}

pub(crate) async fn conversation(
    database: &mut impl Database,
    conversation: ConversationId,
    viewer: Option<&UserId>,
) -> Answer<Read<Option<ConversationView>>> {
    let scene = statements::scene(database, conversation, viewer).await?;
    let epoch = scene.epoch;
    let Some(place) = scene.place.filter(|place| !place.deleted) else {
        return said(epoch, None);
    };
    let mut view = ConversationView {
        conversation: place.conversation,
        entry: None,
        members: Vec::new(),
    };
    if let Some(user) = viewer {
        view.entry = entries(database, user, Seats::Of(&[conversation])).await?.pop();
        if view.entry.is_none() {
            // What anyone may see of a public channel, and nothing of any other.
            return said(epoch, view.conversation.public.then_some(view));
        }
    }
    let page = ListPage {
        conversation,
        after: "",
        limit: VIEW_MEMBERS_MAX,
    };
    view.members = statements::members(database, page)
        .await?
        .into_iter()
        .map(shown)
        .collect();
    said(epoch, Some(view))
}

pub(crate) async fn members(database: &mut impl Database, query: &ListQuery) -> Answer<Read<Option<MemberPage>>> {
    let scene = statements::scene(database, query.conversation, query.viewer.as_ref()).await?;
    let epoch = scene.epoch;
    if visible_now(scene, query.viewer.as_ref()).is_none() {
        return said(epoch, None);
    }
    let (members, next) = member_page(database, query).await?;
    let members = members.into_iter().map(shown).collect();
    said(epoch, Some(MemberPage { members, next }))
}

pub(crate) async fn marks(database: &mut impl Database, query: &ListQuery) -> Answer<Read<Option<MarkPage>>> {
    let scene = statements::scene(database, query.conversation, query.viewer.as_ref()).await?;
    let epoch = scene.epoch;
    if visible_now(scene, query.viewer.as_ref()).is_none() {
        return said(epoch, None);
    }
    let (members, next) = member_page(database, query).await?;
    let page = MarkPage {
        marks: members.into_iter().map(|seated| seated.member.marks()).collect(),
        revision: statements::marks_revision(database, query.conversation).await?,
        next,
    };
    said(epoch, Some(page))
}

async fn member_page(database: &mut impl Database, query: &ListQuery) -> Answer<(Vec<Seated>, Option<PageToken>)> {
    let members = statements::members(database, list_page(query)).await?;
    Ok(paged(members, query.limit, |seated| seated.member.user.to_string()))
}

pub(crate) async fn reactions(
    database: &mut impl Database,
    query: &ListQuery,
    message: MessageId,
    emoji: &str,
) -> Answer<Read<Option<ReactionPage>>> {
    let scene = statements::scene(database, query.conversation, query.viewer.as_ref()).await?;
    let epoch = scene.epoch;
    let Some((_, visible)) = visible_now(scene, query.viewer.as_ref()) else {
        return said(epoch, None);
    };
    let found = statements::messages_by_id(database, &[(query.conversation, message)])
        .await?
        .pop();
    let Some((_, message)) = found.filter(|(_, message)| visible.contains(message.seq)) else {
        return said(epoch, None);
    };
    let reaction = ReactionKey {
        conversation: query.conversation,
        message: message.seq,
        emoji: emoji.to_owned(),
    };
    let page = list_page(query);
    let users = statements::reaction_users(database, &reaction, page.after, page.limit).await?;
    let (users, next) = paged(users, query.limit, ToString::to_string);
    said(epoch, Some(ReactionPage { users, next }))
}

/// One more than the page holds, which tells whether there is more.
fn list_page(query: &ListQuery) -> ListPage<'_> {
    ListPage {
        conversation: query.conversation,
        after: query.page.as_ref().map_or("", |page| page.0.as_str()),
        limit: query.limit.max(1).saturating_add(1),
    }
}

/// A page, and the key of its last item as the token of the next one, if there is more.
fn paged<T>(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> String) -> (Vec<T>, Option<PageToken>) {
    let limit = limit.max(1);
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| has_more).map(|last| PageToken(key(last)));
    (items, next)
}

fn shown(seated: Seated) -> Member {
    Member {
        user: seated.member.user,
        role: seated.member.role,
        joined: seated.member.joined,
        display: seated.display,
    }
}

fn said<T>(epoch: Epoch, value: T) -> Answer<Read<T>> {
    Ok(Read { epoch, value })
}
