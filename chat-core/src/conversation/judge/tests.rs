use super::*;
use crate::conversation::examples::{command, conversation, id, message, user};
use crate::conversation::facts::MemberFacts;
use crate::dedup::fingerprint;
use crate::store::{Prior, Secret};
use chat_protocol::conversation::{Conversation, ConversationKind, HistoryVisibility, Role};
use chat_protocol::frame::Stored;
use chat_protocol::id::{Seq, Tag, Timestamp};
use chat_protocol::message::{Content, Message, Reaction};

fn item(actor: Actor, command: Command) -> AppendItem {
    AppendItem {
        actor,
        fingerprint: fingerprint(&Secret([1; 32]), &command),
        command,
    }
}

fn ann() -> Actor {
    Actor::User(user("ann"))
}

/// A group at seq 9, of three, where ann has this role.
fn group(role: Option<Role>) -> Facts {
    Facts {
        at: Timestamp(50),
        conversation: Some(ConversationFacts {
            conversation: Conversation {
                id: conversation(),
                kind: ConversationKind::Group,
                title: None,
                public: false,
                history: HistoryVisibility::Joined,
                meta: None,
                created_at: Timestamp(1),
                member_count: 3,
            },
            head: Position {
                seq: Seq(9),
                tag: Tag(99),
            },
            deleted: false,
            owner: Some(user("olga")),
        }),
        actor: role.map(|role| MemberFacts {
            role,
            visible_from: Seq(4),
        }),
        ..Facts::default()
    }
}

fn written(seq: u64, sender: &str) -> Message {
    Message {
        id: message(),
        seq: Seq(seq),
        sender: Some(user(sender)),
        at: Timestamp(2),
        version: 2,
        changed: Seq(seq),
        edited_at: None,
        deleted_at: None,
        reply_to: None,
        content: Some(Content::text("x")),
        reactions: Vec::new(),
    }
}

fn prior(item: &AppendItem) -> Prior {
    Prior {
        actor: item.actor.clone(),
        fingerprint: Some(item.fingerprint),
        stored: Stored {
            conversation: conversation(),
            id: id(),
            seq: Seq(5),
            tag: Tag(5),
            at: Timestamp(5),
            duplicate: false,
        },
    }
}

fn refusal(facts: &Facts, actor: Actor, name: &str) -> Refusal {
    match judge(facts, &item(actor, command(name)), &RuleLimits::default()) {
        Verdict::Refused(refusal) => refusal,
        other => panic!("{name} was not refused: {other:?}"),
    }
}

fn change(facts: &Facts, actor: Actor, name: &str) -> Change {
    match judge(facts, &item(actor, command(name)), &RuleLimits::default()) {
        Verdict::Write(change) => *change,
        other => panic!("{name} was not written: {other:?}"),
    }
}

const DURABLE: [&str; 13] = [
    "message:send",
    "message:edit",
    "message:delete",
    "reaction:add",
    "reaction:remove",
    "conversation:create",
    "conversation:update",
    "conversation:delete",
    "conversation:join",
    "conversation:leave",
    "member:add",
    "member:remove",
    "member:role",
];

#[test]
fn what_is_stored_answers_again_whatever_became_of_its_actor() {
    for name in DURABLE {
        let item = item(ann(), command(name));
        let mut facts = group(None);
        facts.prior = Some(prior(&item));
        facts.conversation.as_mut().unwrap().deleted = true;
        let Verdict::Duplicate(stored) = judge(&facts, &item, &RuleLimits::default()) else {
            panic!("{name} was judged anew");
        };
        assert!(stored.duplicate && stored.seq == Seq(5), "{name}");
    }
}

#[test]
fn a_stranger_finds_nothing_where_something_is_was_or_never_was() {
    let mut deleted = group(Some(Role::Owner));
    deleted.conversation.as_mut().unwrap().deleted = true;
    let mut taken = group(None);
    taken.prior = Some(prior(&item(Actor::System, command("message:send"))));
    for name in DURABLE {
        assert_eq!(refusal(&group(None), ann(), name), Refusal::NotFound, "{name}");
        assert_eq!(
            refusal(&taken, ann(), name),
            Refusal::NotFound,
            "{name} with a taken id"
        );
        assert_eq!(
            refusal(&deleted, ann(), name),
            Refusal::NotFound,
            "{name} after the end"
        );
        if name != "conversation:create" {
            assert_eq!(
                refusal(&Facts::default(), ann(), name),
                Refusal::NotFound,
                "{name} nowhere"
            );
        }
    }
}

#[test]
fn a_taken_id_is_told_to_members_before_role_and_state_are_looked_at() {
    let mut facts = group(Some(Role::Member));
    facts.prior = Some(prior(&item(Actor::System, command("message:send"))));
    for name in DURABLE {
        assert_eq!(refusal(&facts, ann(), name), Refusal::IdConflict, "{name}");
    }
}

#[test]
fn a_row_follows_the_head_and_its_tag_is_chained() {
    let change = change(&group(Some(Role::Member)), ann(), "message:send");
    assert_eq!((change.row.seq, change.row.at), (Seq(10), Timestamp(50)));
    assert_eq!(
        change.row.tag,
        chain(Tag(99), conversation(), Seq(10), "message:new", id())
    );
    assert!(matches!(&change.writes[..], [Write::InsertMessage(m), Write::MoveReadMark { .. }] if m.seq == Seq(10)));
}

#[test]
fn a_message_before_ones_join_is_not_there() {
    let mut facts = group(Some(Role::Member));
    facts.message = Some(written(3, "ann"));
    facts.reacted = true;
    for name in ["message:edit", "message:delete", "reaction:add", "reaction:remove"] {
        assert_eq!(refusal(&facts, ann(), name), Refusal::NotFound, "{name}");
    }
    let Command::MessageSend(mut send) = command("message:send") else {
        unreachable!()
    };
    send.reply_to = Some(message());
    let reply = item(ann(), send.into());
    for answered in [None, Some(Seq(3))] {
        facts.reply_to = answered;
        let verdict = judge(&facts, &reply, &RuleLimits::default());
        assert!(matches!(verdict, Verdict::Refused(Refusal::NotFound)), "{answered:?}");
    }
    facts.reply_to = Some(Seq(4));
    assert!(matches!(
        judge(&facts, &reply, &RuleLimits::default()),
        Verdict::Write(_)
    ));
}

#[test]
fn nobody_edits_anothers_text_and_only_admins_delete_it() {
    let mut facts = group(Some(Role::Owner));
    facts.message = Some(written(5, "bob"));
    assert!(matches!(refusal(&facts, ann(), "message:edit"), Refusal::Forbidden(_)));
    change(&facts, ann(), "message:delete");
    facts.actor.as_mut().unwrap().role = Role::Member;
    assert!(matches!(
        refusal(&facts, ann(), "message:delete"),
        Refusal::Forbidden(_)
    ));
    // A system message is nobody's own.
    facts.message.as_mut().unwrap().sender = None;
    assert!(matches!(refusal(&facts, ann(), "message:edit"), Refusal::Forbidden(_)));
    change(&facts, Actor::System, "message:edit");
}

#[test]
fn a_stale_version_is_told_the_current_one_and_what_was_deleted_is_gone() {
    let mut facts = group(Some(Role::Member));
    facts.message = Some(written(5, "ann"));
    facts.reacted = true;
    let Command::MessageEdit(mut edit) = command("message:edit") else {
        unreachable!()
    };
    edit.version = Some(1);
    let verdict = judge(&facts, &item(ann(), edit.into()), &RuleLimits::default());
    assert!(matches!(verdict, Verdict::Refused(Refusal::VersionConflict(2))));
    let edited = change(&facts, ann(), "message:edit");
    assert!(matches!(edited.writes[..], [Write::EditMessage { version: 3, .. }]));

    facts.message.as_mut().unwrap().deleted_at = Some(Timestamp(9));
    for name in ["message:edit", "message:delete", "reaction:add", "reaction:remove"] {
        assert_eq!(refusal(&facts, ann(), name), Refusal::Gone, "{name}");
    }
}

#[test]
fn a_reaction_is_put_once_taken_once_and_bounded_in_kinds() {
    let mut facts = group(Some(Role::Member));
    let mut message = written(5, "bob");
    message.reactions = (0..50)
        .map(|number| Reaction {
            emoji: format!("e{number}"),
            count: 1,
            users: vec![user("bob")],
        })
        .collect();
    facts.message = Some(message);
    assert_eq!(refusal(&facts, ann(), "reaction:remove"), Refusal::NotFound);
    assert!(matches!(
        refusal(&facts, ann(), "reaction:add"),
        Refusal::LimitExceeded(_)
    ));
    facts.message.as_mut().unwrap().reactions[7].emoji = "+1".to_owned();
    change(&facts, ann(), "reaction:add");
    facts.reacted = true;
    change(&facts, ann(), "reaction:remove");
    assert!(matches!(refusal(&facts, ann(), "reaction:add"), Refusal::Conflict(_)));
    assert!(matches!(
        refusal(&facts, Actor::System, "reaction:add"),
        Refusal::InvalidArgument(_)
    ));
}

#[test]
fn the_last_owner_cannot_leave_and_hands_over_instead() {
    let mut facts = group(Some(Role::Owner));
    assert!(matches!(
        refusal(&facts, ann(), "conversation:leave"),
        Refusal::Conflict(_)
    ));
    facts.conversation.as_mut().unwrap().owner = Some(user("ann"));
    facts.user = Some(Role::Member);
    let Command::MemberRole(mut role) = command("member:role") else {
        unreachable!()
    };
    role.role = Role::Owner;
    let Verdict::Write(change) = judge(&facts, &item(ann(), role.into()), &RuleLimits::default()) else {
        panic!("not handed over");
    };
    let set = |name, role| Write::SetRole { user: user(name), role };
    assert_eq!(change.writes, [set("ann", Role::Admin), set("bob", Role::Owner)]);
}

#[test]
fn only_the_owner_touches_admins() {
    let mut facts = group(Some(Role::Admin));
    for role in [Role::Admin, Role::Owner] {
        facts.user = Some(role);
        assert!(matches!(refusal(&facts, ann(), "member:remove"), Refusal::Forbidden(_)));
    }
    facts.user = Some(Role::Member);
    change(&facts, ann(), "member:remove");
    assert!(matches!(refusal(&facts, ann(), "member:role"), Refusal::Forbidden(_)));
    facts.actor.as_mut().unwrap().role = Role::Owner;
    facts.user = Some(Role::Admin);
    change(&facts, ann(), "member:remove");
    facts.user = None;
    assert_eq!(refusal(&facts, ann(), "member:remove"), Refusal::NotFound);
    assert_eq!(refusal(&facts, ann(), "member:role"), Refusal::NotFound);
}

#[test]
fn members_and_inboxes_have_their_bounds() {
    let mut facts = group(Some(Role::Admin));
    facts.inboxes.insert(user("bob"), 10_000);
    assert!(matches!(
        refusal(&facts, ann(), "member:add"),
        Refusal::LimitExceeded(_)
    ));
    facts.inboxes.insert(user("bob"), 9_999);
    change(&facts, ann(), "member:add");
    facts.conversation.as_mut().unwrap().conversation.member_count = 1_000;
    assert!(matches!(
        refusal(&facts, ann(), "member:add"),
        Refusal::LimitExceeded(_)
    ));
    facts.conversation.as_mut().unwrap().conversation.kind = ConversationKind::Channel;
    change(&facts, ann(), "member:add");
    facts.user = Some(Role::Member);
    assert!(matches!(refusal(&facts, ann(), "member:add"), Refusal::Conflict(_)));
}

#[test]
fn anybody_joins_a_public_channel_once() {
    let mut facts = group(None);
    let place = &mut facts.conversation.as_mut().unwrap().conversation;
    (place.kind, place.public) = (ConversationKind::Channel, true);
    let joined = change(&facts, ann(), "conversation:join");
    assert!(matches!(joined.row.kind, LogKind::MemberJoined { member_count: 4, .. }));
    facts.actor = Some(MemberFacts {
        role: Role::Member,
        visible_from: Seq(1),
    });
    assert!(matches!(
        refusal(&facts, ann(), "conversation:join"),
        Refusal::Conflict(_)
    ));
    assert!(matches!(
        refusal(&facts, Actor::System, "conversation:join"),
        Refusal::InvalidArgument(_)
    ));
}

fn create(kind: ConversationKind, members: &[&str]) -> chat_protocol::command::ConversationCreate {
    let Command::ConversationCreate(mut create) = command("conversation:create") else {
        unreachable!()
    };
    create.kind = kind;
    create.members = members.iter().map(|name| user(name)).collect();
    create
}

#[test]
fn a_direct_conversation_is_between_two_or_for_one_and_found_by_its_pair() {
    let judged = |facts: &Facts, actor, members: &[&str]| {
        let command = create(ConversationKind::Direct, members).into();
        judge(facts, &item(actor, command), &RuleLimits::default())
    };
    let nowhere = Facts::default();
    let pair_of = |verdict| match verdict {
        Verdict::Write(change) => match change.writes.into_iter().next() {
            Some(Write::CreateConversation { pair, .. }) => pair.unwrap(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let (one, other) = (user("ann"), user("bob"));
    assert_eq!(pair_of(judged(&nowhere, ann(), &["bob"])), (one.clone(), other.clone()));
    assert_eq!(
        pair_of(judged(&nowhere, Actor::User(other.clone()), &["ann"])),
        (one.clone(), other.clone())
    );
    assert_eq!(
        pair_of(judged(&nowhere, Actor::System, &["bob", "ann"])),
        (one.clone(), other)
    );
    assert_eq!(pair_of(judged(&nowhere, ann(), &["ann"])), (one.clone(), one));
    for (actor, members) in [(ann(), &["bob", "carl"][..]), (Actor::System, &[])] {
        let verdict = judged(&nowhere, actor, members);
        assert!(matches!(verdict, Verdict::Refused(Refusal::InvalidArgument(_))));
    }
    let there = Facts {
        direct: Some(prior(&item(Actor::System, command("conversation:create"))).stored),
        ..Facts::default()
    };
    assert!(matches!(judged(&there, ann(), &["bob"]), Verdict::Duplicate(stored) if stored.duplicate));
}

#[test]
fn the_creator_owns_a_group_and_what_the_host_makes_has_no_owner() {
    let roles = |actor| {
        let command = create(ConversationKind::Group, &["bob", "ann", "bob"]).into();
        match judge(&Facts::default(), &item(actor, command), &RuleLimits::default()) {
            Verdict::Write(change) => match change.row.kind {
                LogKind::ConversationCreated { members } => members,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let names = |actor| {
        let members = roles(actor);
        members
            .into_iter()
            .map(|m| (m.user.to_string(), m.role))
            .collect::<Vec<_>>()
    };
    let (ann_, bob) = ("ann".to_owned(), "bob".to_owned());
    assert_eq!(names(ann()), [(ann_.clone(), Role::Owner), (bob.clone(), Role::Member)]);
    assert_eq!(names(Actor::System), [(bob, Role::Member), (ann_, Role::Member)]);
}

#[test]
fn what_does_not_fit_the_kind_makes_no_sense() {
    let mut titled = create(ConversationKind::Direct, &["bob"]);
    titled.title = Some("us".to_owned());
    let mut public = create(ConversationKind::Group, &[]);
    public.public = true;
    let unknown = create(ConversationKind::Unknown("forum".to_owned()), &[]);
    for command in [titled, public, unknown] {
        let verdict = judge(&Facts::default(), &item(ann(), command.into()), &RuleLimits::default());
        assert!(matches!(verdict, Verdict::Refused(Refusal::InvalidArgument(_))));
    }
}
