use super::*;
use chat_protocol::command::{ConversationCreate, MessageSend};
use chat_protocol::conversation::ConversationKind;
use chat_protocol::id::MessageId;
use chat_protocol::message::Content;

fn conversation(n: u8) -> ConversationId {
    ConversationId::from_parts(1, [n; 10])
}

fn epoch() -> Epoch {
    Epoch::from_parts(2, [1; 10])
}

fn add(ticket: Ticket) -> Record {
    let command = MessageSend {
        conversation: conversation(1),
        id: MessageId::from_parts(3, [ticket as u8; 10]),
        content: Content::text(format!("message {ticket}\nwith a second line")),
        reply_to: None,
    };
    Record::Add {
        ticket,
        epoch: Some(epoch()),
        command: command.into(),
    }
}

fn known() -> Record {
    Record::Known {
        user: UserId::new("ann").unwrap(),
        epoch: epoch(),
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("outbox")
    }

    fn open(&self) -> Journal {
        Journal::open(self.path()).unwrap()
    }
}

fn tickets(journal: &Journal) -> Vec<Ticket> {
    journal.kept().commands.keys().copied().collect()
}

#[test]
fn what_was_added_and_not_done_is_there_again() {
    let folder = Folder::new();
    let mut journal = folder.open();
    journal.write(vec![known(), add(1), add(2)], true).unwrap();
    journal.write(vec![Record::Done(1)], false).unwrap();
    journal.write(vec![add(3)], true).unwrap();
    let kept = journal.kept().clone();
    drop(journal);
    let journal = folder.open();
    assert_eq!(*journal.kept(), kept);
    assert_eq!(tickets(&journal), [2, 3]);
}

#[test]
fn a_torn_last_line_is_cut_off_wherever_it_tore() {
    let folder = Folder::new();
    let mut journal = folder.open();
    journal.write(vec![add(1)], true).unwrap();
    drop(journal);
    let whole = std::fs::read(folder.path()).unwrap();
    let mut second = Vec::new();
    write_line(&mut second, &line_of(&add(2))).unwrap();
    for torn in 0..second.len() {
        std::fs::write(folder.path(), [&whole, &second[..torn]].concat()).unwrap();
        let mut journal = folder.open();
        assert_eq!(tickets(&journal), [1], "torn after {torn} bytes");
        journal.write(vec![add(3)], true).unwrap();
        drop(journal);
        assert_eq!(tickets(&folder.open()), [1, 3], "torn after {torn} bytes");
    }
}

#[test]
fn a_line_in_the_middle_that_cannot_be_read_is_an_error_with_its_number() {
    let folder = Folder::new();
    let mut journal = folder.open();
    journal.write(vec![add(1)], true).unwrap();
    drop(journal);
    let mut bytes = std::fs::read(folder.path()).unwrap();
    bytes.extend_from_slice(b"{\"add\":\n{\"done\":1}\n");
    std::fs::write(folder.path(), bytes).unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(error, OutboxError::Corrupt { line: 3, .. }), "{error}");
}

#[test]
fn a_newer_format_is_refused() {
    let folder = Folder::new();
    std::fs::write(folder.path(), "{\"outbox\":2}\n").unwrap();
    let error = Journal::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn one_client_at_a_time() {
    let folder = Folder::new();
    let journal = folder.open();
    assert!(matches!(Journal::open(folder.path()), Err(OutboxError::InUse(_))));
    drop(journal);
    folder.open();
}

#[test]
fn the_file_stays_short_and_keeps_what_waits() {
    let folder = Folder::new();
    let mut journal = folder.open();
    journal.write(vec![known(), add(1)], true).unwrap();
    for ticket in 2..3_000 {
        journal.write(vec![add(ticket)], false).unwrap();
        journal.write(vec![Record::Done(ticket)], false).unwrap();
    }
    assert!(journal.lines <= LINES_MIN + 2, "{} lines", journal.lines);
    journal.write(vec![add(5_000)], true).unwrap();
    drop(journal);
    let journal = folder.open();
    assert_eq!(tickets(&journal), [1, 5_000]);
    assert!(journal.kept().known.is_some());
}

#[test]
fn a_redirected_command_is_read_with_its_new_address() {
    let folder = Folder::new();
    let mut journal = folder.open();
    let create = ConversationCreate {
        conversation: conversation(2),
        id: chat_protocol::id::CommandId::from_parts(3, [9; 10]),
        kind: ConversationKind::Direct,
        title: None,
        public: false,
        history: None,
        members: vec![],
        meta: None,
    };
    let create = Record::Add {
        ticket: 2,
        epoch: None,
        command: create.into(),
    };
    let (from, to) = (conversation(1), conversation(7));
    journal
        .write(vec![add(1), create, Record::Moved { from, to }], true)
        .unwrap();
    drop(journal);
    let restored = folder.open().kept().restore();
    let addresses: Vec<_> = restored
        .commands
        .iter()
        .map(|kept| kept.command.conversation())
        .collect();
    assert_eq!(addresses, [Some(to), Some(conversation(2))]);
}

#[test]
fn a_create_that_found_another_conversation_is_sent_again_as_it_was() {
    let folder = Folder::new();
    let (from, to) = (conversation(1), conversation(7));
    let create = ConversationCreate {
        conversation: from,
        id: chat_protocol::id::CommandId::from_parts(3, [9; 10]),
        kind: ConversationKind::Direct,
        title: None,
        public: false,
        history: None,
        members: vec![UserId::new("ben").unwrap()],
        meta: None,
    };
    let create = Record::Add {
        ticket: 1,
        epoch: None,
        command: create.into(),
    };
    let mut journal = folder.open();
    // Killed before `Done` of the create: its answer comes once more, and says the same.
    journal
        .write(vec![create.clone(), add(2), Record::Moved { from, to }], true)
        .unwrap();
    drop(journal);
    let kept = folder.open().kept().restore().commands;
    let Record::Add { command, .. } = create else {
        unreachable!("it is made above")
    };
    assert_eq!(kept[0].command, command);
    assert_eq!(kept[1].command.conversation(), Some(to));
}
