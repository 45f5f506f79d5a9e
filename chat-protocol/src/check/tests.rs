use super::*;
use crate::command::{
    ConversationUpdate, InboxList, MemberRole, MessageSend, ReactionAdd, Token, WatchConversations, WatchPresence,
};
use crate::id::{CommandId, ConversationId, MessageId, UserId};
use serde_json::json;

fn conversation() -> ConversationId {
    "0190a000-0000-7000-8000-000000000001".parse().unwrap()
}

fn id() -> CommandId {
    "0190a000-0000-7000-8000-000000000002".parse().unwrap()
}

fn user(name: impl AsRef<str>) -> UserId {
    UserId::new(name).unwrap()
}

fn send(content: Content) -> Command {
    MessageSend {
        conversation: conversation(),
        id: MessageId::from(id()),
        content,
        reply_to: None,
    }
    .into()
}

fn code(result: Result<(), Refusal>) -> Option<ErrorCode> {
    result.err().map(|refusal| refusal.code)
}

const WRONG: Option<ErrorCode> = Some(ErrorCode::InvalidArgument);
const LARGE: Option<ErrorCode> = Some(ErrorCode::TooLarge);

fn with_meta(value: Value) -> Option<ErrorCode> {
    let Value::Object(meta) = value else {
        panic!("meta is a map");
    };
    let content = Content {
        meta: Some(meta),
        ..Content::text("a")
    };
    code(check(&send(content)))
}

#[test]
fn text_is_stored_as_it_came_but_for_control_characters() {
    for good in [
        "a",
        " ",
        "tab\tand\nnewline",
        "<script>",
        "\u{202e}gpj.exe",
        "\u{7f}",
        &"ä".repeat(8 * 1024),
    ] {
        assert_eq!(check(&send(Content::text(good))), Ok(()), "{good:?}");
    }
    for bad in ["", "\0", "a\rb", "\u{1b}[31m", "\u{8}"] {
        assert_eq!(code(check(&send(Content::text(bad)))), WRONG, "{bad:?}");
    }
    assert_eq!(code(check(&send(Content::text("a".repeat(TEXT_BYTES_MAX + 1))))), LARGE);
}

#[test]
fn meta_is_bounded_in_bytes_keys_and_depth() {
    assert_eq!(with_meta(json!({"a": [1, -5, 1.5, null, {"b": "c"}]})), None);
    let keys = |count: usize| Value::Object((0..count).map(|key| (key.to_string(), json!(0))).collect());
    assert_eq!(with_meta(keys(META_KEYS_MAX)), None);
    assert_eq!(with_meta(keys(META_KEYS_MAX + 1)), LARGE);
    assert_eq!(with_meta(json!({"a": "x".repeat(META_BYTES_MAX - 8)})), None);
    assert_eq!(with_meta(json!({"a": "x".repeat(META_BYTES_MAX - 7)})), LARGE);
    let nested = |depth: usize| (0..depth).fold(json!(0), |inner, _| json!({ "a": inner }));
    assert_eq!(with_meta(nested(META_DEPTH_MAX)), None);
    assert_eq!(with_meta(nested(META_DEPTH_MAX + 1)), WRONG);
    assert_eq!(with_meta(json!({"a": ["\0"]})), WRONG);
    assert_eq!(with_meta(json!({"a": {"\0": 1}})), WRONG);
    assert_eq!(with_meta(json!({"a": 9_007_199_254_740_992_u64})), WRONG);
    assert_eq!(with_meta(json!({"a": -9_007_199_254_740_992_i64})), WRONG);
}

#[test]
fn names_are_visible_and_do_not_turn_around() {
    let title = |title: &str| {
        code(check(
            &ConversationUpdate {
                conversation: conversation(),
                id: id(),
                title: Some(title.to_owned()),
                meta: None,
            }
            .into(),
        ))
    };
    for good in ["Team", "فريق", "👩‍💻", " a ", &"a".repeat(NAME_BYTES_MAX)] {
        assert_eq!(title(good), None, "{good:?}");
    }
    for bad in [
        "",
        " ",
        "\u{200b}",
        "\u{3164}",
        "\u{2800}\u{200d}",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\nb",
        "a\0",
    ] {
        assert_eq!(title(bad), WRONG, "{bad:?}");
    }
    assert_eq!(title(&"a".repeat(NAME_BYTES_MAX + 1)), LARGE);

    let file = |name: &str, media_type: &str, size: u64| {
        let attachments = vec![Attachment {
            id: "f".into(),
            name: name.into(),
            media_type: media_type.into(),
            size,
        }];
        code(check(&send(Content {
            text: None,
            attachments,
            ..Content::text("")
        })))
    };
    assert_eq!(file("a.png", "image/png", 5), None);
    assert_eq!(file("a.txt", "text/plain; charset=utf-8", NUMBER_MAX), None);
    assert_eq!(file("\u{202e}gpj.exe", "image/png", 5), WRONG);
    assert_eq!(file("\u{200b}", "image/png", 5), WRONG);
    assert_eq!(file("a", "png", 5), WRONG);
    assert_eq!(file("a", "image/", 5), WRONG);
    assert_eq!(file("a", "image/png", NUMBER_MAX + 1), WRONG);
}

#[test]
fn a_conversation_is_created_as_its_kind_allows() {
    let create = |kind: ConversationKind, title: Option<&str>, public: bool, members: usize| {
        code(check(
            &ConversationCreate {
                conversation: conversation(),
                id: id(),
                kind,
                title: title.map(str::to_owned),
                public,
                history: None,
                members: (0..members).map(|n| user(n.to_string())).collect(),
                meta: None,
            }
            .into(),
        ))
    };
    use ConversationKind::{Channel, Direct, Group};
    assert_eq!(create(Direct, None, false, 0), None);
    assert_eq!(create(Direct, None, false, 1), None);
    assert_eq!(create(Direct, None, false, 2), WRONG);
    assert_eq!(create(Direct, Some("a"), false, 1), WRONG);
    assert_eq!(create(Direct, None, true, 1), WRONG);
    assert_eq!(create(Group, Some("a"), false, 50), None);
    assert_eq!(create(Group, None, false, 51), LARGE);
    assert_eq!(create(Group, None, true, 0), WRONG);
    assert_eq!(create(Channel, Some("a"), true, 0), None);
    assert_eq!(create(ConversationKind::Unknown("room".into()), None, false, 0), WRONG);
}

#[test]
fn counts_and_sizes_have_their_bounds() {
    let reaction = |emoji: &str| {
        code(check(
            &ReactionAdd {
                conversation: conversation(),
                id: id(),
                message: id().into(),
                emoji: emoji.to_owned(),
            }
            .into(),
        ))
    };
    assert_eq!(reaction("👍"), None);
    assert_eq!(reaction(""), WRONG);
    assert_eq!(reaction(&"a".repeat(33)), LARGE);
    let list = |limit, page: Option<&str>| {
        let page = page.map(|page| PageToken(page.to_owned()));
        code(check(&InboxList { page, limit }.into()))
    };
    assert_eq!(list(Some(50), Some("x")), None);
    assert_eq!(list(Some(0), None), WRONG);
    assert_eq!(list(Some(51), None), WRONG);
    assert_eq!(list(None, Some(&"x".repeat(257))), LARGE);
    assert_eq!(list(None, Some("x\0")), WRONG);
    let users = (0..201).map(|n| user(n.to_string())).collect();
    assert_eq!(code(check(&WatchPresence { users }.into())), LARGE);
    let conversations = vec![conversation(); 21];
    assert_eq!(code(check(&WatchConversations { conversations }.into())), LARGE);
    let role = Role::Unknown("king".into());
    let give = MemberRole {
        conversation: conversation(),
        id: id(),
        user: user("anna"),
        role,
    };
    assert_eq!(code(check(&give.into())), WRONG);
}

#[test]
fn a_hello_has_bounds_too() {
    let hello = |change: fn(&mut Hello)| {
        let mut hello = Hello {
            token: Some(Token("t".into())),
            ..Hello::default()
        };
        change(&mut hello);
        check_hello(&hello).is_ok()
    };
    assert!(hello(|_| ()));
    assert!(hello(|hello| hello.guest = Some("Zoë".into())));
    assert!(!hello(|hello| hello.guest = Some("\u{200b}".into())));
    assert!(!hello(|hello| hello.guest = Some("a".repeat(65))));
    assert!(!hello(|hello| hello.device = Some("a".repeat(65))));
    assert!(!hello(|hello| hello.wants = vec!["a".into(); 33]));
}
