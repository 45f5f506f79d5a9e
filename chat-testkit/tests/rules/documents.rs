//! The pages show what the data says, and the data says what the code does.

use crate::data::{Data, Limit, Right, Rule, at, data, read};
use chat_core::code::{CloseCode, ErrorCode};
use chat_core::codec::Codec;
use chat_core::conversation::{ConversationKind, Standing, policy};
use chat_core::id::{NUMBER_MAX, UserId};
use chat_core::store::Refusal;
use chat_core::{Command, Limits};
use chat_protocol::check;
use chat_transport_ws::WsConfig;
use serde_json::json;

/// Pages with tables from the data. A table stands between `<!-- from limits.toml: NAME -->` and `<!-- end -->`.
const PAGES: [&str; 2] = ["docs/limits.md", "docs/protocol.md"];

#[test]
fn the_documents_show_every_table_of_the_data_once() {
    let data = data();
    let mut shown = Vec::new();
    for page in PAGES {
        let found = read(page);
        let wanted = filled(&data, &found, &mut shown);
        if std::env::var_os("CHAT_WRITE_DOCS").is_some() {
            std::fs::write(at(page), &wanted).unwrap();
            continue;
        }
        let differs = found
            .lines()
            .zip(wanted.lines())
            .find(|(found, wanted)| found != wanted);
        assert!(
            found == wanted,
            "{page} is not what docs/limits.toml says; to write it anew: \
             CHAT_WRITE_DOCS=1 cargo test -p chat-testkit --test rules documents\n{differs:#?}"
        );
    }
    let mut tables: Vec<String> = data.limits.keys().map(|name| format!("limits.{name}")).collect();
    tables.extend(data.rules.keys().map(|name| format!("rules.{name}")));
    tables.extend(["codes.close", "codes.error", "may.commands"].map(str::to_owned));
    tables.sort();
    shown.sort();
    assert_eq!(shown, tables);
}

/// The page with its tables as the data has them.
fn filled(data: &Data, page: &str, shown: &mut Vec<String>) -> String {
    const BEGIN: &str = "<!-- from limits.toml: ";
    const END: &str = "<!-- end -->";
    let mut filled = String::new();
    let mut rest = page;
    while let Some(begin) = rest.find(BEGIN) {
        let (before, table) = rest.split_at(begin);
        let (head, table) = table.split_once(" -->").unwrap();
        let name = &head[BEGIN.len()..];
        let (_, after) = table
            .split_once(END)
            .unwrap_or_else(|| panic!("the table {name} has no end"));
        filled.push_str(&format!("{before}{head} -->\n{}{END}", table_of(data, name)));
        shown.push(name.to_owned());
        rest = after;
    }
    filled + rest
}

fn table_of(data: &Data, name: &str) -> String {
    let (kind, name) = name.split_once('.').unwrap();
    match (kind, name) {
        ("limits", name) => limits(&data.limits[name]),
        ("rules", name) => rules(&data.rules[name]),
        ("codes", "close") => closes(data),
        ("codes", "error") => errors(data),
        ("may", "commands") => rights(&data.may.commands),
        _ => panic!("the data has no table {kind}.{name}"),
    }
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let row: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        table.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    table
}

fn limits(limits: &[Limit]) -> String {
    let row = |limit: &Limit| {
        let code = |text: &str| format!("`{text}`");
        vec![
            code(&limit.name),
            code(&limit.default),
            limit.unit.clone(),
            limit.reached.clone(),
        ]
    };
    table(&["field", "default", "unit", "reached"], limits.iter().map(row))
}

fn rules(rules: &[Rule]) -> String {
    let row = |rule: &Rule| {
        let answers: Vec<String> = rule.answer.iter().map(|answer| format!("`{answer}`")).collect();
        let also = match rule.also.as_str() {
            "" => String::new(),
            also => format!("; {also}"),
        };
        vec![format!("`{}`", rule.id), rule.input.clone(), answers.join(", ") + &also]
    };
    table(&["rule", "input", "answer"], rules.iter().map(row))
}

fn closes(data: &Data) -> String {
    let row = |close: &crate::data::Close| {
        let joined = |first: String, between: &str, second: &str| match second {
            "" => first,
            second => format!("{first}{between}{second}"),
        };
        let back = if close.back { "yes" } else { "no" };
        let between = if close.back { ", " } else { "; " };
        vec![
            close.number.to_string(),
            joined(format!("`{}`", close.reason), ": ", &close.means),
            joined(back.to_owned(), between, &close.with),
        ]
    };
    table(&["code", "reason", "come back"], data.codes.close.iter().map(row))
}

fn errors(data: &Data) -> String {
    let row = |error: &crate::data::Error| {
        let retryable = if error.retryable { "retryable: " } else { "" };
        vec![format!("`{}`", error.code), format!("{retryable}{}", error.what)]
    };
    table(&["code", "what to do"], data.codes.error.iter().map(row))
}

fn rights(rights: &[Right]) -> String {
    let least = |letters: &String| -> String {
        let who = ["anyone", "members", "admins", "the owner", "the host"];
        match (letters.find('+'), letters.contains('x')) {
            (Some(standing), _) => who[standing].to_owned(),
            (None, true) => "`conflict`".to_owned(),
            (None, false) => "nobody".to_owned(),
        }
    };
    let row = |right: &Right| {
        let mut row = vec![format!("`{}`", right.command)];
        row.extend([&right.direct, &right.group, &right.channel, &right.public].map(least));
        row
    };
    table(
        &["command", "direct", "group", "channel", "public channel"],
        rights.iter().map(row),
    )
}

#[test]
fn every_limit_of_the_code_has_its_default_in_the_data() {
    let data = data();
    let of = |groups: &[&str]| -> Vec<(String, String)> {
        let limits = groups.iter().flat_map(|group| &data.limits[*group]);
        let mut named: Vec<_> = limits
            .map(|limit| (limit.name.clone(), limit.default.clone()))
            .collect();
        named.sort();
        named
    };
    let engine = of(&["node", "session", "connection", "users", "times"]);
    assert_eq!(engine, fields(&Limits::default()));
    let mut websocket = fields(&WsConfig::default());
    websocket.retain(|(name, _)| !["path", "origins", "trusted_proxies"].contains(&name.as_str()));
    assert_eq!(of(&["websocket"]), websocket);
    let mut content: Vec<(String, String)> = CONTENT.map(|(name, max)| (name.to_owned(), max.to_string())).into();
    content.sort();
    assert_eq!(of(&["content"]), content);
    // The settings of a store's sessions are its own: its source says them.
    let (postgres, sqlite) = (
        read("chat-store-sqlx/src/postgres.rs"),
        read("chat-store-sqlx/src/sqlite.rs"),
    );
    for (name, default) in of(&["store"]) {
        let seconds = default.trim_end_matches('s');
        let said = postgres.contains(&format!("(\"{name}\", \"{default}\"),"))
            || sqlite.contains(&format!("const {name}: Duration = Duration::from_secs({seconds});"));
        assert!(said, "{name} is not {default} in chat-store-sqlx");
    }
}

const CONTENT: [(&str, u64); 23] = [
    ("TEXT_BYTES_MAX", check::TEXT_BYTES_MAX as u64),
    ("META_BYTES_MAX", check::META_BYTES_MAX as u64),
    ("META_KEYS_MAX", check::META_KEYS_MAX as u64),
    ("META_DEPTH_MAX", check::META_DEPTH_MAX as u64),
    ("DEPTH_MAX", Codec::DEPTH_MAX as u64),
    ("TYPE_BYTES_MAX", check::TYPE_BYTES_MAX as u64),
    ("ATTACHMENTS_MAX", check::ATTACHMENTS_MAX as u64),
    ("ATTACHMENT_ID_BYTES_MAX", check::ATTACHMENT_ID_BYTES_MAX as u64),
    ("NAME_BYTES_MAX", check::NAME_BYTES_MAX as u64),
    ("MEDIA_TYPE_BYTES_MAX", check::MEDIA_TYPE_BYTES_MAX as u64),
    ("EMOJI_BYTES_MAX", check::EMOJI_BYTES_MAX as u64),
    ("FIRST_MEMBERS_MAX", check::FIRST_MEMBERS_MAX as u64),
    ("WATCHED_USERS_MAX", check::WATCHED_USERS_MAX as u64),
    ("WATCHED_CONVERSATIONS_MAX", check::WATCHED_CONVERSATIONS_MAX as u64),
    ("PAGE_MAX", check::PAGE_MAX),
    ("LOG_PAGE_MAX", check::LOG_PAGE_MAX),
    ("PAGE_TOKEN_BYTES_MAX", check::PAGE_TOKEN_BYTES_MAX as u64),
    ("TOKEN_BYTES_MAX", check::TOKEN_BYTES_MAX as u64),
    ("LABEL_BYTES_MAX", check::LABEL_BYTES_MAX as u64),
    ("WANTS_MAX", check::WANTS_MAX as u64),
    ("SECRET_BYTES_MAX", check::SECRET_BYTES_MAX as u64),
    ("BYTES_MAX", UserId::BYTES_MAX as u64),
    ("NUMBER_MAX", NUMBER_MAX),
];

/// Every field and its value, sorted; a host writes those of `rules` with that name before them.
fn fields(value: &impl std::fmt::Debug) -> Vec<(String, String)> {
    let text = format!("{value:?}");
    let (_, mut rest) = text.split_once(" { ").unwrap();
    let mut fields = Vec::new();
    let mut within = Vec::new();
    while let Some((name, behind)) = rest.split_once(": ") {
        // A structure, whose fields follow, or a value, in which a comma may stand between parentheses.
        let is_structure = behind.split_once(' ').is_some_and(|(word, _)| {
            behind[word.len()..].starts_with(" { ") && word.chars().all(char::is_alphanumeric)
        });
        if is_structure {
            within.push(name);
            rest = &behind[behind.find(" { ").unwrap() + 3..];
            continue;
        }
        let mut depth = 0;
        let end = behind.find(|c| {
            depth += i32::from(c == '(' || c == '[') - i32::from(c == ')' || c == ']');
            depth == 0 && (c == ',' || c == ' ')
        });
        let (value, behind) = behind.split_at(end.unwrap());
        let prefix = if within.last() == Some(&"rules") { "rules." } else { "" };
        fields.push((format!("{prefix}{name}"), value.to_owned()));
        rest = behind;
        while let Some(after) = rest.strip_prefix(" }") {
            within.pop();
            rest = after;
        }
        rest = rest.trim_start_matches([',', ' ']);
    }
    fields.sort();
    fields
}

#[test]
fn every_code_is_in_the_data_as_it_is_in_the_code() {
    let data = data();
    let closes: Vec<_> = data
        .codes
        .close
        .iter()
        .map(|close| (close.number, close.reason.as_str(), close.back))
        .collect();
    let known = CloseCode::KNOWN
        .iter()
        .map(|code| (code.number(), code.reason(), code.is_retryable()));
    assert_eq!(closes, known.collect::<Vec<_>>());
    let errors: Vec<_> = data
        .codes
        .error
        .iter()
        .map(|error| (error.code.as_str(), error.retryable))
        .collect();
    let known = ErrorCode::KNOWN.iter().map(|code| (code.as_str(), code.is_retryable()));
    assert_eq!(errors, known.collect::<Vec<_>>());
}

#[test]
fn the_policy_allows_what_the_data_says() {
    let rights = data().may.commands;
    let names: Vec<&str> = rights.iter().map(|right| right.command.as_str()).collect();
    assert_eq!(names, Command::NAMES);
    for right in &rights {
        let command = example(&right.command);
        for (kind, public, letters) in [
            (ConversationKind::Direct, false, &right.direct),
            (ConversationKind::Group, false, &right.group),
            (ConversationKind::Channel, false, &right.channel),
            (ConversationKind::Channel, true, &right.public),
        ] {
            let standings = [
                Standing::Stranger,
                Standing::Member,
                Standing::Admin,
                Standing::Owner,
                Standing::System,
            ];
            let found: String = standings
                .map(|standing| match policy(&command, &kind, public, standing) {
                    Ok(()) => '+',
                    Err(Refusal::NotFound) => '?',
                    Err(Refusal::Forbidden(_)) => '-',
                    Err(Refusal::InvalidArgument(_)) => '!',
                    Err(Refusal::Conflict(_)) => 'x',
                    Err(other) => panic!("{}: {other}", right.command),
                })
                .iter()
                .collect();
            assert_eq!(found, *letters, "{} in a {kind}, public: {public}", right.command);
        }
    }
}

/// A command of this name: its fields are those of all commands, of which each takes its own.
fn example(name: &str) -> Command {
    let id = "0189abcd-0000-7000-8000-000000000001";
    let fields = json!({
        "conversation": id, "id": id, "message": id, "content": {"text": "x"}, "emoji": "x", "kind": "group",
        "user": "ana", "role": "admin", "seq": 1, "muted": true, "archived": true, "active": true,
        "after": {"seq": 1, "tag": "0000000000000001"}, "users": [], "conversations": [], "token": "x",
    });
    // Its `after` is a seq, no position.
    let fields = match name {
        "history:list" => json!({ "conversation": id }),
        _ => fields,
    };
    Command::from_parts(name, &fields).unwrap()
}
