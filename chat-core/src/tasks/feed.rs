//! What a session reads from the store: the answer to resume, memberships that changed, and logs that it is behind in.
//!
//! One story, run by the session's own task beside everything else. Interest is registered before anything is read,
//! so that what happens between the read and the live flow is noticed; live flow begins when a page reaches beyond
//! everything that was offered meanwhile.

use crate::conversation::{PageRoom, Visible};
use crate::engine::Inner;
use crate::hooks::Identity;
use crate::session::{PageEnd, Session, Work};
use crate::store::{LogPage, LogQuery, LogRead, Membership, Memberships, Read, StoreError};
use chat_protocol::code::ResetReason;
use chat_protocol::conversation::InboxEntry;
use chat_protocol::frame::{InboxPush, LogItem, Page, Reset, Resume, ServerFrame, Synced};
use chat_protocol::id::{ConversationId, Epoch, Position, Revision, UserId};
use chat_protocol::planted::{Bug, is_planted};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How long to wait before the store is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Feeds a session until it is dropped; what is to be shown of its user is kept first, if that is still to be done.
pub(crate) async fn run(inner: Arc<Inner>, session: Arc<Session>, unshown: Option<Identity>, resume: Resume) {
    let user = session
        .who()
        .expect("a session is identified before it is fed")
        .user
        .clone();
    let feed = Feed {
        epoch: inner.epoch(),
        inner,
        session,
        user,
    };
    if let Some(identity) = unshown
        && let Err(error) = feed.inner.in_turn(feed.inner.keep_display(&identity)).await
    {
        tracing::warn!(%error, "what to show of a user was not kept");
    }
    feed.resume(resume).await;
    let mut last = None;
    loop {
        match feed.session.next_work(last) {
            Work::Memberships(since) => feed.memberships(since).await,
            Work::Recheck(conversation) => feed.recheck(conversation).await,
            Work::Watches(watches, users) => {
                let sharing = until_answered(|| feed.inner.in_turn(feed.inner.store.sharing(&feed.user, &users))).await;
                feed.session.keep_watching(&feed.inner.hub, watches, &sharing);
            }
            Work::CatchUp(conversation, at) => {
                last = Some(conversation);
                feed.catch_up(conversation, at).await;
            }
            Work::Synced(revision) => feed.session.send(&ServerFrame::Synced(Synced { revision })),
            Work::Nothing => feed.session.roused().await,
        }
    }
}

struct Feed {
    inner: Arc<Inner>,
    session: Arc<Session>,
    user: UserId,
    /// Of which incarnation the session's places are: no read of another one moves them.
    epoch: Epoch,
}

/// How a conversation is begun at attach.
enum Begin {
    /// From the client's cursor.
    Cursor(Position),
    /// From the head of the entry that is sent: it is new to the client.
    Entry,
    /// As `Entry`, and the client is told to forget what it had.
    Reset(ResetReason),
}

impl Feed {
    // ---- resume ------------------------------------------------------------------------------------------------

    async fn resume(&self, resume: Resume) {
        let (mut cursors, mut revision) = (BTreeMap::new(), resume.revision);
        if resume.epoch == Some(self.epoch) {
            cursors.extend(
                resume
                    .cursors
                    .iter()
                    .map(|cursor| (cursor.conversation, cursor.position())),
            );
        } else if resume.epoch.is_some() || !resume.cursors.is_empty() {
            // Judged once and before membership: it tells nothing about any conversation.
            self.send_reset(None, ResetReason::Epoch, None);
            revision = None;
        }
        for (conversation, at) in &cursors {
            self.listen(*conversation, *at);
        }
        let read = self.memberships_of(None).await;
        let begin = self.judge(&read, &mut cursors, resume.max);
        let news: Vec<ConversationId> = read
            .memberships
            .iter()
            .filter(|m| {
                revision.is_none_or(|had| m.revision > had) || !matches!(begin[&m.conversation], Begin::Cursor(_))
            })
            .map(|m| m.conversation)
            .collect();
        for membership in &read.memberships {
            let head = self
                .inner
                .hub
                .delivered_at_least(membership.conversation, membership.head);
            if let Begin::Cursor(at) = begin[&membership.conversation] {
                let at = if is_planted(Bug::ResumeAtHead) {
                    membership.head
                } else {
                    at
                };
                self.session
                    .visible_from(membership.conversation, membership.visible_from);
                self.session.place(membership.conversation, at, head);
            }
        }
        self.begin_entries(&news, &begin, read.revision).await;
        for conversation in cursors.into_keys() {
            self.session.room().await;
            self.unlisten(conversation);
            self.send_reset(Some(conversation), ResetReason::NotFound, None);
        }
        self.session.attach(read.revision);
    }

    /// Decides for each membership how it begins; what is left in `cursors` belongs to no membership.
    fn judge(
        &self,
        read: &Memberships,
        cursors: &mut BTreeMap<ConversationId, Position>,
        max: Option<u64>,
    ) -> BTreeMap<ConversationId, Begin> {
        let mut begin = BTreeMap::new();
        for Membership { conversation, head, .. } in &read.memberships {
            let how = match cursors.remove(conversation) {
                None => {
                    self.listen(*conversation, *head);
                    Begin::Entry
                }
                Some(at) if at.seq > head.seq => Begin::Reset(ResetReason::Ahead),
                Some(at) if at.seq == head.seq && at.tag != head.tag => Begin::Reset(ResetReason::Epoch),
                Some(at) if max.is_some_and(|max| head.seq.0 - at.seq.0 > max) => Begin::Reset(ResetReason::TooOld),
                Some(at) => Begin::Cursor(at),
            };
            begin.insert(*conversation, how);
        }
        begin
    }

    /// Sends the entries of these conversations, in pages at the pace at which the client reads; conversations that
    /// are new or reset begin at the head of their entry.
    async fn begin_entries(
        &self,
        conversations: &[ConversationId],
        begin: &BTreeMap<ConversationId, Begin>,
        revision: Revision,
    ) {
        let room = || PageRoom::new(self.inner.limits.page_entries_max, self.inner.limits.page_bytes_max);
        let (mut page, mut left) = (Vec::new(), room());
        for chunk in conversations.chunks(self.inner.limits.page_entries_max) {
            let mut missing: BTreeSet<_> = chunk.iter().copied().collect();
            for entry in self.entries_of(chunk).await {
                let conversation = entry.conversation.id;
                missing.remove(&conversation);
                if let Some(Begin::Reset(reason)) = begin.get(&conversation) {
                    let head = entry.head;
                    self.session.room().await;
                    self.session.visible_from(conversation, Visible::of_entry(&entry).from);
                    self.send_reset(Some(conversation), reason.clone(), Some(entry));
                    self.session.place(conversation, head, head);
                    continue;
                }
                if !left.take_entry(&entry) {
                    self.send_inbox(std::mem::take(&mut page), begin, revision, false).await;
                    left = room();
                    left.take_entry(&entry);
                }
                page.push(entry);
            }
            for conversation in missing {
                self.ended_meanwhile(conversation, begin.get(&conversation));
            }
        }
        self.send_inbox(page, begin, revision, true).await;
    }

    /// A membership ended between the read that found it and the read of its entry.
    fn ended_meanwhile(&self, conversation: ConversationId, begin: Option<&Begin>) {
        match begin {
            // The client has it, and gets the rest of its log, the end included.
            Some(Begin::Cursor(_)) => {}
            Some(Begin::Reset(_)) => {
                self.unlisten(conversation);
                self.send_reset(Some(conversation), ResetReason::NotFound, None);
            }
            Some(Begin::Entry) | None => self.session.lose_interest(&self.inner.hub, conversation),
        }
    }

    // ---- memberships that changed ------------------------------------------------------------------------------

    async fn memberships(&self, since: Revision) {
        let read = self.memberships_of(Some(since)).await;
        if read.revision <= since {
            return;
        }
        let mut begin = BTreeMap::new();
        for membership in &read.memberships {
            let known = self.session.is_listening(membership.conversation);
            if known {
                self.session.rejoined(membership.conversation, membership.joined);
            }
            let how = if known {
                Begin::Cursor(membership.head)
            } else {
                Begin::Entry
            };
            if !known {
                self.listen(membership.conversation, membership.head);
                self.inner
                    .hub
                    .delivered_at_least(membership.conversation, membership.head);
            }
            begin.insert(membership.conversation, how);
        }
        let conversations: Vec<_> = begin.keys().copied().collect();
        self.begin_entries(&conversations, &begin, read.revision).await;
        self.session.memberships_read(read.revision);
    }

    /// A membership ended here; one that began later may have been read before, and its entry was for nothing.
    async fn recheck(&self, conversation: ConversationId) {
        if self.session.is_listening(conversation) {
            return;
        }
        self.listen(conversation, Position::START);
        match self.entries_of(&[conversation]).await.pop() {
            Some(entry) => {
                let begin = BTreeMap::from([(conversation, Begin::Entry)]);
                let revision = entry.revision;
                self.inner.hub.delivered_at_least(conversation, entry.head);
                self.send_inbox(vec![entry], &begin, revision, true).await;
            }
            None => self.session.lose_interest(&self.inner.hub, conversation),
        }
    }

    // ---- logs --------------------------------------------------------------------------------------------------

    async fn catch_up(&self, conversation: ConversationId, at: Position) {
        // A place that had ended and stands again is of a log that goes on, if there is a new membership.
        self.listen(conversation, at);
        let query = LogQuery {
            conversation,
            viewer: Some(self.user.clone()),
            after: at.seq,
            limit: self.inner.limits.page_events_max,
            bytes: self.inner.limits.page_bytes_max,
        };
        match self.read(self.inner.store.log(query)).await {
            Ok(LogRead::Page(page)) if page.after != at.tag => self.reset(conversation, ResetReason::Epoch).await,
            Ok(LogRead::Page(page)) => self.take(conversation, at, page).await,
            Ok(LogRead::Ahead) => self.reset(conversation, ResetReason::Ahead).await,
            Ok(LogRead::TooOld) => self.reset(conversation, ResetReason::TooOld).await,
            Ok(LogRead::NotFound) => {
                self.unlisten(conversation);
                self.send_reset(Some(conversation), ResetReason::NotFound, None);
            }
            Err(error) => {
                tracing::debug!(%error, "catching up: the store did not answer");
                sleep(RETRY).await;
            }
        }
    }

    async fn take(&self, conversation: ConversationId, at: Position, page: LogPage) {
        let to = page.items.last().map_or(at, LogItem::position);
        let end = match page.ended {
            Some(last) if to.seq >= last => PageEnd::Ended,
            _ => {
                // A first listener again: delivery begins here, if nobody has said where.
                let delivered = self.inner.hub.delivered_at_least(conversation, page.head);
                PageEnd::More(if is_planted(Bug::LiveWithoutBackfill) {
                    page.head
                } else {
                    delivered
                })
            }
        };
        let empty = page.items.is_empty();
        let more = to.seq < page.head.seq && !matches!(end, PageEnd::Ended);
        let bytes = frame_of(conversation, page.items, more).map(|frame| self.session.format.write(&frame));
        self.session
            .take_page(&self.inner.hub, conversation, at, bytes, &end, to);
        if empty && self.session.is_behind(conversation) {
            // Something was offered that the store does not show yet: give it a moment.
            sleep(RETRY / 10).await;
        }
    }

    /// Tells the client to forget what it has of a conversation, and begins again at its head.
    async fn reset(&self, conversation: ConversationId, reason: ResetReason) {
        self.session.unsee(conversation);
        match self.entries_of(&[conversation]).await.pop() {
            Some(entry) => {
                let head = entry.head;
                self.inner.hub.delivered_at_least(conversation, head);
                self.session.visible_from(conversation, Visible::of_entry(&entry).from);
                self.send_reset(Some(conversation), reason, Some(entry));
                self.session.place(conversation, head, head);
            }
            None => {
                self.unlisten(conversation);
                self.send_reset(Some(conversation), ResetReason::NotFound, None);
            }
        }
    }

    // ---- small steps -------------------------------------------------------------------------------------------

    fn listen(&self, conversation: ConversationId, at: Position) {
        self.session.listen(&self.inner.hub, conversation, at);
    }

    fn unlisten(&self, conversation: ConversationId) {
        self.session.unlisten(&self.inner.hub, conversation);
    }

    fn send_reset(&self, conversation: Option<ConversationId>, reason: ResetReason, entry: Option<InboxEntry>) {
        self.session.send(&ServerFrame::Reset(Reset {
            conversation,
            reason,
            entry,
        }));
    }

    /// Sends a page of entries; conversations that begin with theirs go on at its head, behind the page.
    async fn send_inbox(
        &self,
        entries: Vec<InboxEntry>,
        begin: &BTreeMap<ConversationId, Begin>,
        revision: Revision,
        last: bool,
    ) {
        self.session.room().await;
        let heads = self.session.send_entries(InboxPush {
            entries,
            revision,
            last,
        });
        for (conversation, head) in heads {
            if matches!(begin.get(&conversation), Some(Begin::Entry)) {
                self.session.begin(conversation, head);
            }
        }
    }

    async fn memberships_of(&self, changed_after: Option<Revision>) -> Memberships {
        let ask = || self.inner.store.memberships(&self.user, changed_after);
        until_answered(|| self.read(ask())).await
    }

    async fn entries_of(&self, conversations: &[ConversationId]) -> Vec<InboxEntry> {
        let ask = || self.inner.store.entries(&self.user, conversations);
        until_answered(|| self.read(ask())).await
    }

    async fn read<T>(&self, asked: impl Future<Output = Result<Read<T>, StoreError>>) -> Result<T, StoreError> {
        self.inner.in_turn(self.inner.read_at(self.epoch, asked)).await
    }
}

/// Asks the store again until it answers; the session's own deadlines end the wait.
async fn until_answered<T, F: Future<Output = Result<T, StoreError>>>(mut ask: impl FnMut() -> F) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                tracing::debug!(%error, "the store did not answer");
                sleep(RETRY).await;
            }
        }
    }
}

/// The frame for a stretch of a log: a single item travels as itself.
fn frame_of(conversation: ConversationId, mut items: Vec<LogItem>, more: bool) -> Option<ServerFrame> {
    Some(match items.len() {
        0 => return None,
        1 => match items.remove(0) {
            LogItem::Event(event) => ServerFrame::Event(event),
            LogItem::Skip(skip) => ServerFrame::Skip(skip),
        },
        _ => ServerFrame::Page(Page {
            conversation,
            items,
            more,
        }),
    })
}
