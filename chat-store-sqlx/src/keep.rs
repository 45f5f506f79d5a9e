//! What is written beside the log: marks and settings of the inbox, display data, leases; and what changed since.

use crate::database::Argument::{Flag, Id, Json, Number, Text};
use crate::database::{Answer, Database};
use crate::rows::{Columns, corrupt, needed, number, read, to_json, user};
use crate::statements::{Scene, head, id, scene, the_epoch};
use crate::writes::raise;
use chat_core::conversation::{MarkChange, raise_delivered, raise_read};
use chat_core::id::{ConversationId, NodeId, UserId};
use chat_core::store::{Changes, Horizon, InboxChange, InboxChanged, Lease, Read, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Leases that ran out longer ago than this are forgotten.
const LEASE_FORGOTTEN_AFTER_MS: u64 = 60_000;

/// Changes what is the user's own in a conversation.
pub(crate) async fn set_inbox(
    database: &mut impl Database,
    user: &UserId,
    conversation: ConversationId,
    change: InboxChange,
) -> Answer<InboxChanged> {
    // First the user, then the membership: the order of everybody who raises a revision.
    let statement = "SELECT revision FROM chat_users WHERE id = $1 LOCKED()";
    database.fetch(statement, &[Text(user.as_str())]).await?;
    let Scene { place, member, .. } = scene(database, conversation, Some(user)).await?;
    let (Some(place), Some(mut member)) = (place, member.filter(|member| member.ended.is_none())) else {
        return Ok(InboxChanged::NotFound);
    };
    let before = member.marks();
    let raised = match change {
        InboxChange::Read(to) => raise_read(&before, to, place.head.seq),
        InboxChange::Delivered(to) => raise_delivered(&before, to, place.head.seq),
        InboxChange::Muted(muted) if muted != member.muted => {
            member.muted = muted;
            MarkChange::Raised(before.clone())
        }
        InboxChange::Archived(archived) if archived != member.archived => {
            member.archived = archived;
            MarkChange::Raised(before.clone())
        }
        InboxChange::Muted(_) | InboxChange::Archived(_) => MarkChange::Unchanged,
    };
    let marks = match raised {
        MarkChange::Raised(marks) => marks,
        MarkChange::Unchanged => return Ok(InboxChanged::Unchanged),
        MarkChange::Ahead => return Ok(InboxChanged::Ahead),
    };
    database.begin_change().await?;
    let revisions = raise(database, &BTreeMap::from([(user.clone(), 1)])).await?;
    let revision = revisions.get(user).copied().unwrap_or_default();
    // A message of the user's may have moved the marks meanwhile: they only grow.
    let statement = "UPDATE chat_members SET read = CASE WHEN read < $3 THEN $3 ELSE read END, \
                     delivered = CASE WHEN delivered < $4 THEN $4 ELSE delivered END, muted = $5, archived = $6, \
                     revision = $7 WHERE conversation = $1 AND user_id = $2 AND joined = $8 AND ended IS NULL";
    let arguments = [
        id(conversation),
        Text(user.as_str()),
        Number(marks.read.0),
        Number(marks.delivered.0),
        Flag(member.muted),
        Flag(member.archived),
        Number(revision.0),
        Number(member.joined.0),
    ];
    if database.execute(statement, &arguments).await? == 0 {
        return Ok(InboxChanged::NotFound);
    }
    if marks != before {
        let statement = "INSERT INTO chat_marks AS k (conversation, revision) VALUES ($1, 1) \
                         ON CONFLICT (conversation) DO UPDATE SET revision = k.revision + 1";
        database.execute(statement, &[id(conversation)]).await?;
    }
    Ok(InboxChanged::Changed {
        marks,
        kind: place.conversation.kind,
        member_count: place.conversation.member_count,
    })
}

/// Whether this is what others are shown of a user.
pub(crate) async fn is_shown(database: &mut impl Database, user: &UserId, display: &Value) -> Answer<bool> {
    let statement = "SELECT id FROM chat_users WHERE id = $1 AND display = $2";
    let arguments = [Text(user.as_str()), Json(to_json(display)?)];
    Ok(!database.fetch(statement, &arguments).await?.is_empty())
}

/// Keeps what others are shown of a user; whether it changed.
pub(crate) async fn put_display(database: &mut impl Database, user: &UserId, display: &Value) -> Answer<bool> {
    let statement = "INSERT INTO chat_users AS u (id, display) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET \
                     display = excluded.display WHERE u.display IS DISTINCT FROM excluded.display";
    let arguments = [Text(user.as_str()), Json(to_json(display)?)];
    Ok(database.execute(statement, &arguments).await? > 0)
}

/// Renews a node's lease and tells all others.
pub(crate) async fn renew_lease(database: &mut impl Database, node: NodeId, ttl: Duration) -> Answer<Vec<Lease>> {
    let now = database.now().await?;
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let statement = "INSERT INTO chat_leases (node, until) VALUES ($1, $2) \
                     ON CONFLICT (node) DO UPDATE SET until = excluded.until";
    let until = Number(now.0.saturating_add(ttl_ms));
    database.execute(statement, &[Id(*node.as_uuid()), until]).await?;
    let statement = "DELETE FROM chat_leases WHERE until <= $1";
    let forgotten = now.0.saturating_sub(LEASE_FORGOTTEN_AFTER_MS);
    database.execute(statement, &[Number(forgotten)]).await?;
    let statement = "SELECT node, until FROM chat_leases WHERE node <> $1 ORDER BY node";
    let rows = database.fetch(statement, &[Id(*node.as_uuid())]).await?;
    let lease = |row| {
        let node = read(Columns::uuid(row, "node"))?.and_then(NodeId::new);
        Ok(Lease {
            node: node.ok_or_else(|| corrupt("a lease without a node"))?,
            remaining: Duration::from_millis(number(row, "until")?.saturating_sub(now.0)),
            at: now,
        })
    };
    rows.iter().map(lease).collect()
}

pub(crate) async fn release_lease(database: &mut impl Database, node: NodeId) -> Answer<()> {
    let statement = "DELETE FROM chat_leases WHERE node = $1";
    database.execute(statement, &[Id(*node.as_uuid())]).await?;
    Ok(())
}

/// How far a reader of changes has come.
#[derive(Serialize, Deserialize)]
struct Reached {
    /// The numbers of transactions mean something within one life of the log only.
    life: String,
    /// Everything before this transaction was told.
    from: u64,
    /// In the middle of a page: where it ended, and from where to ask once all pages are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<Page>,
}

#[derive(Serialize, Deserialize)]
struct Page {
    next: u64,
    /// The last conversation told, or all of them.
    conversation: Option<(u64, ConversationId)>,
    user: Option<(u64, UserId)>,
}

/// What changed since a horizon; without one, where the horizon is now.
///
/// A horizon is a transaction before which all have ended, so nothing that commits late slips under it; what commits
/// between it and the next one may be told twice. After whatever may have taken the log back, a restore of the tables or
/// another server, everything is told again: what a reader knows may be gone.
pub(crate) async fn heads_changed_since(
    database: &mut impl Database,
    horizon: Option<&Horizon>,
    limit: usize,
) -> Answer<Read<Changes>> {
    let epoch = the_epoch(database).await?;
    let statement = "SELECT NEXT() AS next, LIFE() AS life FROM chat_store";
    let rows = database.fetch(statement, &[]).await?;
    let row = rows.first().ok_or_else(|| corrupt("a store without an identity"))?;
    let (next, life) = (number(row, "next")?, needed(row, "life")?);
    let mut changes = Changes {
        horizon: reached(&life, next, None)?,
        heads: Vec::new(),
        users: Vec::new(),
        more: false,
    };
    let Some(horizon) = horizon else {
        return Ok(Read { epoch, value: changes });
    };
    let mut since: Reached = serde_json::from_str(&horizon.0)
        .map_err(|_| StoreError::Corrupt("this horizon is not one of mine".to_owned()))?;
    if since.from > next || since.life != life {
        since = Reached {
            life: life.clone(),
            from: 0,
            page: None,
        };
    }
    let mut page = since.page.unwrap_or(Page {
        next,
        conversation: None,
        user: None,
    });
    let limit = limit.max(1);
    if page.user.is_none() {
        let statement = "SELECT id AS conversation, head_seq, head_tag, NUMBER(changed) AS stamp \
                         FROM chat_conversations WHERE changed >= STAMP($1) \
                         AND (changed > STAMP($2) OR changed = STAMP($2) AND id > $3) ORDER BY changed, id LIMIT $4";
        let (stamp, last) = match page.conversation {
            Some((stamp, id)) => (stamp, *id.as_uuid()),
            None => (0, uuid::Uuid::nil()),
        };
        let arguments = [
            Number(since.from),
            Number(stamp),
            Id(last),
            Number((limit as u64).saturating_add(1)),
        ];
        let rows = database.fetch(statement, &arguments).await?;
        changes.more = rows.len() > limit;
        for row in rows.iter().take(limit) {
            let head = head(row)?;
            page.conversation = Some((number(row, "stamp")?, head.conversation));
            changes.heads.push(head);
        }
    }
    let room = limit - changes.heads.len();
    if !changes.more {
        let statement = "SELECT id AS user_id, NUMBER(changed) AS stamp FROM chat_users WHERE changed >= STAMP($1) \
                         AND (changed > STAMP($2) OR changed = STAMP($2) AND id > $3) ORDER BY changed, id LIMIT $4";
        let (stamp, last) = match &page.user {
            Some((stamp, user)) => (*stamp, user.as_str()),
            None => (0, ""),
        };
        let arguments = [
            Number(since.from),
            Number(stamp),
            Text(last),
            Number((room as u64).saturating_add(1)),
        ];
        let rows = database.fetch(statement, &arguments).await?;
        changes.more = rows.len() > room;
        for row in rows.iter().take(room) {
            let Some(user) = user(row, "user_id")? else { continue };
            changes.users.push(user.clone());
            page.user = Some((number(row, "stamp")?, user));
        }
    }
    changes.horizon = match changes.more {
        true => reached(&life, since.from, Some(page))?,
        false => reached(&life, page.next, None)?,
    };
    Ok(Read { epoch, value: changes })
}

fn reached(life: &str, from: u64, page: Option<Page>) -> Answer<Horizon> {
    let life = life.to_owned();
    to_json(&Reached { life, from, page }).map(Horizon)
}

/// Brings stamps that lie in the future into the present: those of a cluster that had come further, out of which this
/// database was restored, would be told at every reading. What is stamped anew is told once more.
#[cfg(feature = "postgres")]
pub(crate) async fn bring_stamps_here(database: &mut impl Database) -> Answer<()> {
    for statement in [
        "UPDATE chat_conversations SET changed = CHANGE() WHERE changed >= pg_snapshot_xmax(pg_current_snapshot())",
        "UPDATE chat_users SET changed = CHANGE() WHERE changed >= pg_snapshot_xmax(pg_current_snapshot())",
    ] {
        database.execute(statement, &[]).await?;
    }
    Ok(())
}
