use super::*;

fn log_page(n: u8, items: Vec<LogItem>, more: bool) -> Outcome {
    Outcome::Log(Page {
        conversation: conversation(n),
        items,
        more,
    })
}

fn items(n: u8, seqs: std::ops::RangeInclusive<u64>) -> Vec<LogItem> {
    seqs.map(|seq| LogItem::Event(new(n, seq, "bob"))).collect()
}

#[test]
fn each_event_is_handed_out_once_and_in_order() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    assert_eq!(events(&client.frame(ServerFrame::Event(new(1, 5, "bob")))), [5]);
    assert!(client.frame(ServerFrame::Event(new(1, 5, "bob"))).is_empty());
    assert!(client.frame(ServerFrame::Event(new(1, 3, "bob"))).is_empty());
    let page = Page {
        conversation: conversation(1),
        items: items(1, 4..=8),
        more: false,
    };
    assert_eq!(events(&client.frame(ServerFrame::Page(page))), [6, 7, 8]);
    assert_eq!(client.cursor(1), 8);
}

#[test]
fn an_unknown_kind_moves_the_cursor_and_is_handed_out() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    let unknown = EventKind::Unknown(UnknownKind {
        name: "poll:opened".to_owned(),
        data: serde_json::Map::new(),
    });
    assert_eq!(events(&client.frame(ServerFrame::Event(event(1, 5, unknown)))), [5]);
    assert_eq!(events(&client.frame(ServerFrame::Event(new(1, 6, "bob")))), [6]);
}

#[test]
fn a_skip_keeps_one_to_n_provable() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    let skip = Skip {
        conversation: conversation(1),
        from: Seq(5),
        to: Seq(9),
        tag: position(9).tag,
    };
    let effects = client.frame(ServerFrame::Skip(skip.clone()));
    assert_eq!(effects, [ClientEffect::Update(Update::Skipped(skip.clone()))]);
    assert_eq!(
        client.session.view().conversations[&conversation(1)].cursor,
        position(9)
    );
    assert!(client.frame(ServerFrame::Skip(skip)).is_empty());
    assert_eq!(events(&client.frame(ServerFrame::Event(new(1, 10, "bob")))), [10]);
}

#[test]
fn a_gap_is_fetched_once_and_what_came_too_early_with_it() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    let effects = client.frame(ServerFrame::Event(new(1, 7, "bob")));
    let [(req, Command::LogList(list))] = commands(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((list.after, events(&effects)), (position(4), vec![]));
    assert!(
        client.frame(ServerFrame::Event(new(1, 8, "bob"))).is_empty(),
        "one fetch at a time"
    );
    let effects = client.frame(reply(req, log_page(1, items(1, 5..=6), true)));
    assert_eq!(events(&effects), [5, 6]);
    let req = commands(&effects)[0].0;
    // The page was read before 8 was there: 8 was dropped here, so that it has to be asked for once more.
    let effects = client.frame(reply(req, log_page(1, items(1, 7..=7), false)));
    assert_eq!(events(&effects), [7]);
    let req = commands(&effects)[0].0;
    let effects = client.frame(reply(req, log_page(1, items(1, 8..=8), false)));
    assert_eq!(events(&effects), [8]);
    assert!(commands(&effects).is_empty());
    assert_eq!(events(&client.frame(ServerFrame::Event(new(1, 9, "bob")))), [9]);
}

#[test]
fn a_gap_that_the_server_cannot_fill_now_is_asked_for_later() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    let req = commands(&client.frame(ServerFrame::Event(new(1, 7, "bob"))))[0].0;
    assert!(commands(&client.frame(error(req, ErrorCode::Unavailable, Some(500)))).is_empty());
    let start = client.now;
    let effects = client.tick();
    assert_eq!(client.now - start, Duration::from_millis(500));
    let req = commands(&effects)[0].0;
    client.frame(reply(req, log_page(1, vec![], false)));
    assert_eq!(
        commands(&client.tick()).len(),
        1,
        "an empty page does not make a busy loop"
    );
}

#[test]
fn a_lost_connection_takes_its_gaps_with_it() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    client.frame(ServerFrame::Event(new(1, 7, "bob")));
    client.input(ClientInput::Closed(None));
    client.tick();
    let effects = client.input(ClientInput::Connected(Credential::Handshake));
    let ClientFrame::Resume(resume) = sent(&effects)[1] else {
        panic!("{effects:?}");
    };
    assert_eq!(resume.cursors[0].seq, Seq(4), "resume brings what was missed");
    assert!(commands(&client.welcome(epoch(1))).is_empty());
}

#[test]
fn reset_of_one_conversation_starts_it_at_the_fresh_entry_or_drops_it() {
    let mut client = Client::synced(vec![entry(1, 4), entry(2, 4)]);
    let reset = |n, reason, entry| {
        ServerFrame::Reset(Reset {
            conversation: Some(conversation(n)),
            reason,
            entry,
        })
    };
    client.frame(reset(1, ResetReason::TooOld, Some(entry(1, 6_000))));
    assert_eq!(client.cursor(1), 6_000);
    client.frame(reset(2, ResetReason::NotFound, None));
    assert!(!client.session.view().conversations.contains_key(&conversation(2)));
    assert!(client.frame(ServerFrame::Event(new(2, 5, "bob"))).is_empty());
}

#[test]
fn reset_epoch_drops_all_cursors_and_the_revision() {
    let mut client = Client::synced(vec![entry(1, 40), entry(2, 4)]);
    client.input(ClientInput::Closed(None));
    client.tick();
    client.input(ClientInput::Connected(Credential::Handshake));
    client.welcome(epoch(2));
    assert_eq!(
        client.session.view().epoch,
        Some(epoch(1)),
        "nothing is dropped before the server says so"
    );
    client.frame(ServerFrame::Reset(Reset {
        conversation: None,
        reason: ResetReason::Epoch,
        entry: None,
    }));
    let view = client.session.view();
    assert!(view.conversations.is_empty());
    assert_eq!((view.epoch, view.revision), (Some(epoch(2)), None));
    client.inbox(vec![entry(1, 3)], 1);
    assert_eq!(client.cursor(1), 3);
    assert_eq!(events(&client.frame(ServerFrame::Event(new(1, 4, "bob")))), [4]);
}

#[test]
fn ones_own_removal_is_the_last_event() {
    let mut client = Client::synced(vec![entry(1, 4)]);
    let removed = MemberRemoved {
        user: user("ann"),
        member_count: 1,
    };
    assert_eq!(events(&client.frame(ServerFrame::Event(event(1, 5, removed)))), [5]);
    assert!(client.frame(ServerFrame::Event(new(1, 6, "bob"))).is_empty());
    assert!(client.session.view().conversations.is_empty());
    // Added again: a new entry, a new cursor.
    let mut again = entry(1, 9);
    again.joined = Seq(9);
    client.inbox(vec![again], 2);
    assert_eq!(events(&client.frame(ServerFrame::Event(new(1, 10, "bob")))), [10]);
}
