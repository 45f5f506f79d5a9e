use super::*;

fn unread(client: &Client) -> u64 {
    client.entry(1).unread
}

#[test]
fn events_after_the_head_keep_the_entry_true() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    client.frame(ServerFrame::Event(new(1, 5, "bob")));
    client.frame(ServerFrame::Event(new(1, 6, "bob")));
    assert_eq!((unread(&client), client.entry(1).head), (2, position(6)));
    assert_eq!(client.entry(1).last_message.as_ref().unwrap().seq, Seq(6));
    client.frame(ServerFrame::Event(deleted(1, 7, 6, "bob")));
    assert_eq!(unread(&client), 1);
    assert!(client.entry(1).last_message.as_ref().unwrap().is_deleted());
    client.frame(ServerFrame::Event(new(1, 8, "ann")));
    assert_eq!((unread(&client), client.entry(1).read), (0, Seq(8)));
}

#[test]
fn events_up_to_the_head_of_an_entry_are_in_it_already() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    let mut newer = entry(1, 6);
    newer.read = Seq(4);
    newer.unread = 2;
    newer.revision = Revision(2);
    client.inbox(vec![newer], 2);
    client.frame(ServerFrame::Event(new(1, 5, "bob")));
    client.frame(ServerFrame::Event(new(1, 6, "bob")));
    assert_eq!(unread(&client), 2);
    client.frame(ServerFrame::Event(new(1, 7, "bob")));
    assert_eq!(unread(&client), 3);
}

#[test]
fn a_message_that_arrives_as_its_tombstone_never_counts() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    let message = tombstone(5, 7, "bob");
    client.frame(ServerFrame::Event(event(1, 5, MessageNew { message })));
    client.frame(ServerFrame::Event(new(1, 6, "bob")));
    client.frame(ServerFrame::Event(deleted(1, 7, 5, "bob")));
    assert_eq!(unread(&client), 1);
}

#[test]
fn a_mark_from_another_device_counts_exactly_even_when_read_a_little_earlier() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    for seq in 5..=9 {
        client.frame(ServerFrame::Event(new(1, seq, "bob")));
    }
    client.frame(ServerFrame::Event(deleted(1, 10, 7, "bob")));
    // True at 8, when 7 was not deleted and 9 not there yet: read up to 6, so that 7 and 8 were unread.
    let mut pushed = entry(1, 8);
    pushed.read = Seq(6);
    pushed.unread = 2;
    pushed.muted = true;
    pushed.revision = Revision(2);
    client.inbox(vec![pushed.clone()], 2);
    assert_eq!((unread(&client), client.entry(1).read), (2, Seq(6)), "8 and 9");
    assert!(client.entry(1).muted);
    assert_eq!(client.entry(1).head, position(10));
    // The same again, and an older one, change nothing.
    pushed.muted = false;
    client.inbox(vec![pushed], 2);
    assert!(client.entry(1).muted);
}

#[test]
fn ones_own_mark_counts_exactly_or_asks_the_server() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    let conversation = conversation(1);
    for seq in 5..=9 {
        client.frame(ServerFrame::Event(new(1, seq, "bob")));
    }
    client.submit(
        1,
        MarkRead {
            conversation,
            seq: Seq(7),
        },
    );
    client.frame(reply(1, Outcome::Done {}));
    assert_eq!(unread(&client), 2);
    client.submit(
        2,
        MarkRead {
            conversation,
            seq: Seq(9),
        },
    );
    client.frame(reply(2, Outcome::Done {}));
    assert_eq!(unread(&client), 0);

    let mut deep = entry(1, 100);
    deep.read = Seq(10);
    deep.unread = 70;
    let mut client = Client::synced(vec![deep.clone()]);
    client.submit(
        1,
        MarkRead {
            conversation,
            seq: Seq(50),
        },
    );
    let effects = client.frame(reply(1, Outcome::Done {}));
    let [(req, Command::ConversationGet(_))] = commands(&effects)[..] else {
        panic!("{effects:?}");
    };
    deep.read = Seq(50);
    deep.unread = 33;
    client.frame(reply(
        req,
        Outcome::Conversation(ConversationView {
            conversation: deep.conversation.clone(),
            entry: Some(deep),
            members: vec![],
        }),
    ));
    assert_eq!(unread(&client), 33);
}

#[test]
fn what_one_reads_or_writes_was_delivered() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    client.frame(ServerFrame::Event(new(1, 5, "bob")));
    let conversation = conversation(1);
    client.submit(
        1,
        MarkRead {
            conversation,
            seq: Seq(5),
        },
    );
    client.frame(reply(1, Outcome::Done {}));
    assert_eq!(client.entry(1).delivered, Seq(5));
    client.frame(ServerFrame::Event(new(1, 6, "ann")));
    assert_eq!(client.entry(1).delivered, Seq(6));
}

#[test]
fn a_message_before_ones_join_is_never_the_last_one() {
    let mut joined = entry(1, 9);
    joined.joined = Seq(9);
    joined.conversation.history = HistoryVisibility::Joined;
    let edited = |changed| Message {
        changed: Seq(changed),
        version: 2,
        ..message(4, "bob")
    };
    let mut client = Client::synced(vec![joined]);
    let message = edited(10);
    client.frame(ServerFrame::Event(event(1, 10, MessageUpdated { message })));
    assert_eq!(client.entry(1).last_message, None);
    // Where everybody sees everything it is.
    let mut client = Client::synced(vec![entry(1, 9)]);
    let message = edited(10);
    client.frame(ServerFrame::Event(event(1, 10, MessageUpdated { message })));
    assert_eq!(client.entry(1).last_message, Some(edited(10)));
}

#[test]
fn a_mark_never_goes_back() {
    let mut client = Client::synced(vec![entry(1, 9)]);
    let mut older = entry(1, 9);
    older.read = Seq(3);
    older.unread = 5;
    client.inbox(vec![older], 2);
    assert_eq!((client.entry(1).read, unread(&client)), (Seq(9), 0));
}

#[test]
fn the_count_stays_at_its_cap() {
    let mut start = entry(1, 2_000);
    start.read = Seq(0);
    start.unread = 999;
    let mut client = Client::synced(vec![start]);
    client.frame(ServerFrame::Event(new(1, 2_001, "bob")));
    client.frame(ServerFrame::Event(new(1, 2_002, "bob")));
    assert_eq!(unread(&client), 1_000);
    let effects = client.frame(ServerFrame::Event(deleted(1, 2_003, 2_002, "bob")));
    assert_eq!(commands(&effects).len(), 1, "more than 999 less one is not known here");
}

#[test]
fn roles_and_titles_follow_the_log() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    let role = |who, role| MemberRoleChanged { user: user(who), role };
    client.frame(ServerFrame::Event(event(1, 5, role("ann", Role::Owner))));
    assert_eq!(client.entry(1).role, Role::Owner);
    client.frame(ServerFrame::Event(event(1, 6, role("bob", Role::Owner))));
    assert_eq!(client.entry(1).role, Role::Admin);
    let mut conversation = entry(1, 4).conversation;
    conversation.title = Some("renamed".to_owned());
    client.frame(ServerFrame::Event(event(1, 7, ConversationUpdated { conversation })));
    assert_eq!(client.entry(1).conversation.title.as_deref(), Some("renamed"));
}
