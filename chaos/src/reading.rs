//! The last look: the logs and the inboxes through every node, and the same rows by SQL.

use crate::population::Seat;
use crate::stage::{DATABASE, Problem, Stage};
use crate::text::Says;
use crate::truth::{Body, Change, Membership, Reading, Row, Truth};
use chat_client::protocol::command::LogList;
use chat_client::protocol::event::{Event, EventKind};
use chat_client::protocol::frame::LogItem;
use chat_client::protocol::id::{CommandId, ConversationId, Position, Seq, Tag, UserId};
use chat_client::{Client, Outcome, WsConnector};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{sleep, timeout};

/// How long one user's look may take.
const LOOKS_WITHIN: Duration = Duration::from_secs(120);

/// So many users look at a time.
const LOOKING_MAX: usize = 32;

/// Looks at everything.
///
/// # Errors
/// When a node or the database does not answer.
pub async fn read(stage: &Stage) -> Result<Truth, Problem> {
    let mut truth = Truth::default();
    let ours: BTreeSet<ConversationId> = stage
        .population
        .conversations()
        .map(|(_, founding)| founding.conversation)
        .collect();
    for (number, node) in stage.nodes.iter().enumerate() {
        let mut reading = Reading {
            by: format!("node {number}"),
            ..Reading::default()
        };
        for look in through(node.address, &stage.population.seats).await? {
            for (conversation, membership) in look.members {
                reading.members.insert((conversation, look.user.clone()), membership);
            }
            for (conversation, events) in look.logs {
                let rows = events.iter().map(|event| (event.position(), event.id)).collect();
                reading.logs.insert(conversation, rows);
                for message in events.iter().filter_map(|event| event.kind.message()) {
                    let body = Body {
                        version: message.version,
                        says: Says::of(message),
                    };
                    reading.add(conversation, message.id, body);
                }
                if number == 0 {
                    truth.logs.insert(conversation, events.iter().map(row).collect());
                }
            }
        }
        reading
            .members
            .retain(|(conversation, _), _| ours.contains(conversation));
        truth.readings.push(reading);
    }
    truth.readings.push(block_in_place(|| by_sql(stage, &ours))?);
    Ok(truth)
}

/// What one user saw.
struct Look {
    user: UserId,
    members: BTreeMap<ConversationId, Membership>,
    logs: Vec<(ConversationId, Vec<Event>)>,
}

async fn through(node: SocketAddr, seats: &[Seat]) -> Result<Vec<Look>, Problem> {
    let mut waiting = seats.iter().filter(|seat| seat.device == 0).cloned();
    let mut looking = JoinSet::new();
    let mut looks = Vec::new();
    loop {
        while looking.len() < LOOKING_MAX
            && let Some(seat) = waiting.next()
        {
            looking.spawn(async move { timeout(LOOKS_WITHIN, look(node, seat)).await });
        }
        match looking.join_next().await {
            Some(look) => looks.push(look???),
            None => return Ok(looks),
        }
    }
}

async fn look(node: SocketAddr, seat: Seat) -> Result<Look, Problem> {
    let connector = WsConnector::new(&format!("ws://{node}/chat"))?;
    let (client, updates) = Client::builder(connector).guest(seat.user.as_str()).start()?;
    drop(updates);
    if !client.synced().await {
        return Err(format!("{} is not let in", seat.user).into());
    }
    let members = client.with_state(|view| {
        let memberships = view.conversations.iter().map(|(id, state)| {
            let membership = Membership {
                joined: state.entry.joined,
                read: state.entry.read,
            };
            (*id, membership)
        });
        memberships.collect()
    });
    let mut logs = Vec::new();
    // Whoever founded a conversation was there from its first event on, and still is.
    for founding in &seat.founds {
        logs.push((founding.conversation, log(&client, founding.conversation).await?));
    }
    client.close().await;
    Ok(Look {
        user: seat.user,
        members,
        logs,
    })
}

async fn log(client: &Client, conversation: ConversationId) -> Result<Vec<Event>, Problem> {
    let mut events = Vec::new();
    let mut after = Position::START;
    loop {
        let page = match client
            .execute(LogList {
                conversation,
                after,
                limit: None,
            })
            .await
        {
            Ok(Outcome::Log(page)) => page,
            Ok(other) => return Err(format!("a log is answered with {other:?}").into()),
            Err(error) if error.is_retryable() => {
                sleep(Duration::from_millis(200)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for item in page.items {
            match item {
                LogItem::Event(event) => {
                    after = event.position();
                    events.push(event);
                }
                LogItem::Skip(skip) => {
                    return Err(format!("a founder of {conversation} is not shown {}", skip.from).into());
                }
            }
        }
        if !page.more {
            return Ok(events);
        }
    }
}

fn row(event: &Event) -> Row {
    let change = match &event.kind {
        EventKind::MessageNew(new) => Change::Message(new.message.id),
        EventKind::MessageUpdated(updated) => Change::Edited {
            message: updated.message.id,
            of: updated.message.seq,
        },
        EventKind::MessageDeleted(deleted) => Change::Deleted {
            message: deleted.message.id,
            of: deleted.message.seq,
        },
        EventKind::ReactionAdded(added) => Change::Reacted(added.message.seq),
        EventKind::ReactionRemoved(removed) => Change::Reacted(removed.message.seq),
        EventKind::ConversationCreated(created) => {
            Change::Began(created.members.iter().map(|member| member.user.clone()).collect())
        }
        EventKind::MemberJoined(joined) => Change::Began(vec![joined.member.user.clone()]),
        EventKind::MemberLeft(left) => Change::Ended(left.user.clone()),
        EventKind::MemberRemoved(removed) => Change::Ended(removed.user.clone()),
        _ => Change::Nothing,
    };
    Row {
        position: event.position(),
        id: event.id,
        actor: event.actor.clone(),
        change,
    }
}

fn by_sql(stage: &Stage, ours: &BTreeSet<ConversationId>) -> Result<Reading, Problem> {
    let mut reading = Reading {
        by: "SQL".to_owned(),
        ..Reading::default()
    };
    let log = "select conversation, seq, tag, id from chat_log order by conversation, seq";
    for line in stage.postgres.psql(DATABASE, log)?.lines() {
        let [conversation, seq, tag, id] = fields(line)?;
        let conversation: ConversationId = conversation.parse()?;
        if !ours.contains(&conversation) {
            continue;
        }
        let position = Position {
            seq: Seq(seq.parse()?),
            // The database has no unsigned numbers: the same 64 bits.
            tag: Tag(tag.parse::<i64>()?.cast_unsigned()),
        };
        let id: CommandId = id.parse()?;
        reading.logs.entry(conversation).or_default().push((position, id));
    }
    let messages = "select conversation, id, version, deleted_at is not null, content is not null, \
                    content::json->>'text' from chat_messages";
    for line in stage.postgres.psql(DATABASE, messages)?.lines() {
        let [conversation, id, version, is_deleted, is_there, text] = fields(line)?;
        let conversation: ConversationId = conversation.parse()?;
        if ours.contains(&conversation) {
            let body = Body {
                version: version.parse()?,
                says: Says::read(is_deleted == "t", (is_there == "t").then_some(text)),
            };
            reading.add(conversation, id.parse()?, body);
        }
    }
    let members = "select conversation, user_id, joined, read from chat_members where ended is null";
    for line in stage.postgres.psql(DATABASE, members)?.lines() {
        let [conversation, user, joined, read] = fields(line)?;
        let conversation: ConversationId = conversation.parse()?;
        if ours.contains(&conversation) {
            let membership = Membership {
                joined: Seq(joined.parse()?),
                read: Seq(read.parse()?),
            };
            reading.members.insert((conversation, user.parse()?), membership);
        }
    }
    Ok(reading)
}

fn fields<const COUNT: usize>(line: &str) -> Result<[&str; COUNT], Problem> {
    let fields: Vec<&str> = line.split('|').collect();
    fields
        .try_into()
        .map_err(|_| format!("a row that is not understood: {line}").into())
}
