//! Who may do what: every command of every member of every kind of conversation, carried out by the engine, answers as
//! the one table of the policy says.

use super::house::House;
use super::say::*;
use chat_core::code::ErrorCode;
use chat_core::command::*;
use chat_core::conversation::ConversationKind::{Channel, Direct, Group};
use chat_core::conversation::{ConversationKind, Role, Standing, policy};
use chat_core::engine::Act;
use chat_core::frame::Outcome;
use chat_core::id::{ConversationId, MessageId, Position, Seq, UserId};
use chat_core::store::Refusal;

/// A conversation with one of each standing in it, and the one who acts.
struct Scene {
    conversation: ConversationId,
    message: MessageId,
    actor: UserId,
    act: Act,
}

async fn scene(house: &House, n: usize, kind: &ConversationKind, public: bool, standing: Standing) -> Scene {
    let named = |name: &str| format!("{name} {n}");
    let [owner, admin, member, bob] = ["owner", "admin", "member", "bob"].map(named);
    let as_user = |name: &str| house.engine.user(user(name));
    let others = [admin.as_str(), member.as_str(), bob.as_str()];
    let members = if *kind == Direct { &others[1..2] } else { &others[..] };
    let mut open = create(kind.clone(), members);
    open.public = public;
    let conversation = as_user(&owner).store(open).await.unwrap().conversation;
    if *kind != Direct {
        as_user(&owner)
            .store(role(conversation, &admin, Role::Admin))
            .await
            .unwrap();
    }
    let actor = match standing {
        Standing::Owner => owner.clone(),
        Standing::Admin => admin,
        Standing::Member => member,
        _ => named("stranger"),
    };
    // One's own message with one's own reaction, or somebody's when one is nobody here.
    let writer = if standing == Standing::Stranger { &owner } else { &actor };
    let said = text(conversation, "hi");
    let message = said.id;
    as_user(writer).store(said).await.unwrap();
    as_user(writer).store(react(conversation, message, "+1")).await.unwrap();
    Scene {
        conversation,
        message,
        act: as_user(&actor),
        actor: user(&actor),
    }
}

/// The command of this name, such that nothing but a right could be missing.
fn command(name: &str, scene: &Scene, n: usize) -> Command {
    let Scene {
        conversation, message, ..
    } = *scene;
    let (id, page, limit, emoji) = (fresh(), None, None, "+1".to_owned());
    match name {
        "message:send" => text(conversation, "more").into(),
        "message:edit" => edit(conversation, message, "ho").into(),
        "message:delete" => delete(conversation, message).into(),
        "reaction:add" => react(conversation, message, "+2").into(),
        "reaction:remove" => ReactionRemove {
            conversation,
            id,
            message,
            emoji,
        }
        .into(),
        "conversation:create" => ConversationCreate {
            conversation,
            ..create(Group, &[])
        }
        .into(),
        "conversation:update" => ConversationUpdate {
            conversation,
            id,
            title: Some("new".to_owned()),
            meta: None,
        }
        .into(),
        "conversation:delete" => ConversationDelete { conversation, id }.into(),
        "conversation:join" => join(conversation).into(),
        "conversation:leave" => leave(conversation).into(),
        "member:add" => add(conversation, &format!("cy {n}")).into(),
        "member:remove" => remove(conversation, &format!("bob {n}")).into(),
        "member:role" => role(conversation, &format!("bob {n}"), Role::Admin).into(),
        "mark:read" => read(conversation, Seq(1)).into(),
        "mark:delivered" => MarkDelivered {
            conversation,
            seq: Seq(1),
        }
        .into(),
        "inbox:mute" => InboxMute {
            conversation,
            muted: true,
        }
        .into(),
        "inbox:archive" => InboxArchive {
            conversation,
            archived: true,
        }
        .into(),
        "inbox:list" => InboxList { page, limit }.into(),
        "history:list" => history(conversation).into(),
        "log:list" => LogList {
            conversation,
            after: Position::START,
            limit,
        }
        .into(),
        "conversation:get" => ConversationGet { conversation }.into(),
        "member:list" => members(conversation).into(),
        "mark:list" => MarkList {
            conversation,
            page,
            limit,
        }
        .into(),
        "reaction:list" => ReactionList {
            conversation,
            message,
            emoji,
            page,
            limit,
        }
        .into(),
        "typing" => Typing {
            conversation,
            active: true,
        }
        .into(),
        "watch:presence" => WatchPresence { users: Vec::new() }.into(),
        "watch:conversations" => WatchConversations {
            conversations: vec![conversation],
        }
        .into(),
        "auth:refresh" => AuthRefresh {
            token: Token("t".to_owned()),
        }
        .into(),
        other => panic!("{other} has no row"),
    }
}

/// What the table says, and for what it allows, what the state still says.
fn expected(command: &Command, kind: &ConversationKind, public: bool, standing: Standing) -> Option<ErrorCode> {
    if let Command::Typing(_) | Command::WatchPresence(_) | Command::WatchConversations(_) | Command::AuthRefresh(_) =
        command
    {
        // These belong to a connection, which a backend has not.
        return Some(ErrorCode::InvalidArgument);
    }
    match policy(command, kind, public, standing) {
        Err(Refusal::NotFound) => return Some(ErrorCode::NotFound),
        Err(Refusal::Forbidden(_)) => return Some(ErrorCode::Forbidden),
        Err(Refusal::InvalidArgument(_)) => return Some(ErrorCode::InvalidArgument),
        Err(Refusal::Conflict(_)) => return Some(ErrorCode::Conflict),
        Err(other) => panic!("{other}"),
        Ok(()) => {}
    }
    match command {
        // Who is there already cannot join, and who owns it cannot leave.
        Command::ConversationJoin(_) if standing != Standing::Stranger => Some(ErrorCode::Conflict),
        Command::ConversationLeave(_) if standing == Standing::Owner => Some(ErrorCode::Conflict),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn every_command_of_everybody_in_every_kind_of_conversation_answers_as_the_policy_says() {
    let house = House::open().await;
    let kinds = [(Direct, false), (Group, false), (Channel, false), (Channel, true)];
    let standings = [Standing::Stranger, Standing::Member, Standing::Admin, Standing::Owner];
    let mut n = 0;
    for name in Command::NAMES {
        for (kind, public) in &kinds {
            for standing in standings {
                if *kind == Direct && standing > Standing::Member {
                    continue;
                }
                n += 1;
                let scene = scene(&house, n, kind, *public, standing).await;
                let command = command(name, &scene, n);
                assert_eq!(command.name(), *name);
                let expected = expected(&command, kind, *public, standing);
                let title = format!("{name} by {standing:?} in a {kind}, public: {public}");
                match (scene.act.execute(command).await, expected) {
                    (Ok(_), None) => {}
                    (Err(error), Some(code)) => assert_eq!(*error.code(), code, "{title}: {error}"),
                    (answer, expected) => panic!("{title}: {answer:?}, not {expected:?}"),
                }
                // Whoever sees nothing of it has nothing of it in their inbox either.
                let Ok(Outcome::Inbox(inbox)) = scene
                    .act
                    .execute(InboxList {
                        page: None,
                        limit: None,
                    })
                    .await
                else {
                    panic!("an inbox")
                };
                let came = *name == "conversation:join" && *public;
                let went = matches!(*name, "conversation:leave" | "conversation:delete");
                if !went {
                    let is_there = standing != Standing::Stranger || came;
                    assert_eq!(!inbox.entries.is_empty(), is_there, "{title}: {}", scene.actor);
                }
            }
        }
    }
    assert!(n > 350, "{n} cells of the table");
}
