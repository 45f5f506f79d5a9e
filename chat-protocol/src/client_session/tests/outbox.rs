use super::*;

fn ids(effects: &[ClientEffect]) -> Vec<CommandId> {
    let commands = commands(effects).into_iter();
    commands.filter_map(|(_, command)| command.id()).collect()
}

fn id(n: u8) -> CommandId {
    message_id(n).into()
}

#[test]
fn one_command_of_a_conversation_is_in_flight_in_the_order_submitted() {
    let mut client = Client::synced(vec![]);
    assert_eq!(ids(&client.submit(1, send(1, 1))), [id(1)]);
    assert!(ids(&client.submit(2, send(1, 2))).is_empty());
    assert_eq!(
        ids(&client.submit(3, send(2, 3))),
        [id(3)],
        "another conversation does not wait"
    );
    let effects = client.frame(reply(1, stored(1, id(1), 5)));
    assert_eq!((tickets(&effects), ids(&effects)), (vec![(1, true)], vec![id(2)]));
}

#[test]
fn what_was_not_answered_is_sent_again_with_the_same_id_after_a_lost_connection() {
    let mut client = Client::synced(vec![]);
    client.submit(1, send(1, 1));
    client.submit(2, send(1, 2));
    let effects = client.input(ClientInput::Closed(None));
    assert!(tickets(&effects).is_empty());
    client.submit(3, send(1, 3));
    client.tick();
    client.input(ClientInput::Connected(Credential::Handshake));
    let effects = client.welcome(epoch(1));
    assert_eq!(commands(&effects), [(1, &send(1, 1))]);
    let effects = client.frame(reply(1, stored(1, id(1), 5)));
    assert_eq!(ids(&effects), [id(2)]);
}

#[test]
fn unavailable_and_rate_limited_wait_and_hold_only_their_conversation() {
    for code in [ErrorCode::Unavailable, ErrorCode::RateLimited] {
        let mut client = Client::synced(vec![]);
        client.submit(1, send(1, 1));
        client.submit(2, send(1, 2));
        let effects = client.frame(error(1, code, Some(300)));
        assert!(effects.is_empty(), "{effects:?}");
        assert_eq!(ids(&client.submit(3, send(2, 3))), [id(3)]);
        let start = client.now;
        assert_eq!(ids(&client.tick()), [id(1)]);
        assert_eq!(client.now - start, Duration::from_millis(300));
    }
}

#[test]
fn a_definite_error_goes_to_the_application_with_its_command_and_the_next_goes_on() {
    let mut client = Client::synced(vec![]);
    client.submit(1, send(1, 1));
    client.submit(2, send(1, 2));
    let effects = client.frame(error(1, ErrorCode::Forbidden, None));
    assert_eq!(tickets(&effects), [(1, false)]);
    assert_eq!(ids(&effects), [id(2)]);
    let failed = effects.iter().any(|effect| {
        matches!(effect, ClientEffect::Update(Update::Failed { command, error })
            if **command == send(1, 1) && error.code() == Some(&ErrorCode::Forbidden))
    });
    assert!(failed, "{effects:?}");
}

#[test]
fn no_more_is_in_flight_than_the_server_takes() {
    let mut client = Client::synced(vec![]);
    let mut sent = 0;
    for n in 1..=20 {
        sent += ids(&client.submit(n.into(), send(n, n))).len();
    }
    assert_eq!(sent, 8);
    assert_eq!(ids(&client.frame(reply(3, stored(3, id(3), 1)))), [id(9)]);
}

#[test]
fn a_full_outbox_refuses_instead_of_growing() {
    let mut client = Client::new();
    client.session.settings.outbox_commands_max = 2;
    client.submit(1, send(1, 1));
    client.submit(2, send(1, 2));
    let effects = client.submit(3, send(1, 3));
    let result = Err(CommandError::QueueFull);
    assert_eq!(effects, [ClientEffect::Settled { ticket: 3, result }]);
}

/// The client of the next tests: two sends wait, the server was killed and has forgotten everything.
fn forgotten() -> Client {
    let mut client = Client::synced(vec![entry(1, 4)]);
    client.submit(1, send(1, 1));
    client.submit(2, send(1, 2));
    client.input(ClientInput::Closed(None));
    client.tick();
    client.input(ClientInput::Connected(Credential::Handshake));
    let effects = client.welcome(epoch(2));
    assert!(
        ids(&effects).is_empty(),
        "the server's epoch is another one: wait for its reset"
    );
    let effects = client.frame(ServerFrame::Reset(Reset {
        conversation: None,
        reason: ResetReason::Epoch,
        entry: None,
    }));
    assert!(ids(&effects).is_empty());
    client
}

#[test]
fn after_reset_epoch_sends_wait_for_the_join_and_then_go_out_in_order() {
    let mut client = forgotten();
    client.inbox(vec![], 0);
    let effects = client.frame(ServerFrame::Synced(Synced { revision: Revision(0) }));
    let held = Update::Held {
        conversation: conversation(1),
        commands: 2,
    };
    assert!(effects.contains(&ClientEffect::Update(held)));
    assert!(
        ids(&client.submit(3, send(1, 3))).is_empty(),
        "later ones keep their place"
    );
    assert_eq!(
        ids(&client.submit(4, join(1, 9))),
        [command_id(9)],
        "the join overtakes"
    );
    let effects = client.frame(reply(1, stored(1, command_id(9), 2)));
    assert_eq!((tickets(&effects), ids(&effects)), (vec![(4, true)], vec![id(1)]));
    assert_eq!(ids(&client.frame(reply(2, stored(1, id(1), 3)))), [id(2)]);
    assert_eq!(ids(&client.frame(reply(3, stored(1, id(2), 4)))), [id(3)]);
}

#[test]
fn after_reset_epoch_what_is_submitted_before_the_join_waits_for_it_too() {
    let mut client = Client::synced(vec![entry(1, 4), entry(2, 4)]);
    client.input(ClientInput::Closed(None));
    client.tick();
    client.input(ClientInput::Connected(Credential::Handshake));
    client.welcome(epoch(2));
    client.frame(ServerFrame::Reset(Reset {
        conversation: None,
        reason: ResetReason::Epoch,
        entry: None,
    }));
    client.inbox(vec![entry(2, 1)], 1);
    client.frame(ServerFrame::Synced(Synced { revision: Revision(1) }));
    // Nothing waited when the log was lost; the application has not joined again yet.
    let effects = client.submit(1, send(1, 1));
    let held = Update::Held {
        conversation: conversation(1),
        commands: 1,
    };
    assert_eq!(effects, [ClientEffect::Update(held)]);
    assert_eq!(ids(&client.submit(2, send(2, 2))), [id(2)], "that one is there");
    client.frame(reply(1, stored(2, id(2), 2)));
    assert_eq!(
        ids(&client.submit(3, send(3, 3))),
        [id(3)],
        "and that one was never known"
    );
    client.frame(reply(2, stored(3, id(3), 2)));
    assert_eq!(ids(&client.submit(4, join(1, 9))), [command_id(9)]);
    assert_eq!(ids(&client.frame(reply(3, stored(1, command_id(9), 2)))), [id(1)]);
    client.frame(reply(4, stored(1, id(1), 3)));
    assert_eq!(ids(&client.submit(5, send(1, 4))), [id(4)], "from now on as ever");
}

#[test]
fn after_reset_epoch_an_inbox_entry_lets_sends_go_on() {
    let mut client = forgotten();
    assert_eq!(ids(&client.inbox(vec![entry(1, 2)], 1)), [id(1)]);
}

#[test]
fn after_reset_epoch_a_refused_join_leaves_sends_held_until_released_or_discarded() {
    let mut client = forgotten();
    client.submit(3, join(1, 9));
    let effects = client.frame(error(1, ErrorCode::NotFound, None));
    assert_eq!((tickets(&effects), ids(&effects)), (vec![(3, false)], vec![]));
    let effects = client.input(ClientInput::Discard(conversation(1)));
    assert_eq!(tickets(&effects), [(1, false), (2, false)]);

    let mut client = forgotten();
    assert_eq!(ids(&client.input(ClientInput::Release(conversation(1)))), [id(1)]);
}

#[test]
fn a_restored_outbox_goes_out_in_order_and_is_held_when_the_log_is_another() {
    let restored = |made| Restored {
        user: Some(user("ann")),
        epoch: Some(epoch(1)),
        commands: vec![
            RestoredCommand {
                ticket: 1,
                command: send(1, 1),
                epoch: Some(made),
            },
            RestoredCommand {
                ticket: 2,
                command: send(1, 2),
                epoch: None,
            },
        ],
    };
    let mut client = Client::new();
    client.input(ClientInput::Restore(restored(epoch(1))));
    client.connect();
    assert_eq!(ids(&client.welcome(epoch(1))), [id(1)]);

    let mut client = Client::new();
    client.input(ClientInput::Restore(restored(epoch(9))));
    client.connect();
    assert!(ids(&client.welcome(epoch(1))).is_empty(), "made for an earlier log");
    assert_eq!(ids(&client.inbox(vec![entry(1, 3)], 1)), [id(1)]);
}

#[test]
fn sends_follow_a_direct_conversation_that_was_there_already() {
    let mut client = Client::synced(vec![]);
    let create = ConversationCreate {
        conversation: conversation(1),
        id: command_id(1),
        kind: ConversationKind::Direct,
        title: None,
        public: false,
        history: None,
        members: vec![user("bob")],
        meta: None,
    };
    client.submit(1, create);
    client.submit(2, send(1, 2));
    let effects = client.frame(reply(1, stored(7, command_id(1), 1)));
    assert!(effects.contains(&ClientEffect::Redirected {
        from: conversation(1),
        to: conversation(7),
    }));
    assert_eq!(commands(&effects), [(2, &send(7, 2))]);
}

#[test]
fn a_request_fails_with_the_connection_but_marks_are_sent_again() {
    let mut client = Client::synced(vec![entry(1, 9)]);
    let conversation = conversation(1);
    client.submit(1, ConversationGet { conversation });
    client.submit(
        2,
        MarkRead {
            conversation,
            seq: Seq(4),
        },
    );
    client.submit(
        3,
        MarkRead {
            conversation,
            seq: Seq(7),
        },
    );
    client.submit(
        4,
        MarkRead {
            conversation,
            seq: Seq(6),
        },
    );
    let effects = client.input(ClientInput::Closed(None));
    let result = Err(CommandError::Disconnected);
    assert!(effects.contains(&ClientEffect::Settled { ticket: 1, result }));
    assert_eq!(tickets(&effects).len(), 1);
    client.tick();
    client.input(ClientInput::Connected(Credential::Handshake));
    let effects = client.welcome(epoch(1));
    let latest = MarkRead {
        conversation,
        seq: Seq(7),
    }
    .into();
    assert_eq!(commands(&effects), [(1, &latest)]);
    let effects = client.frame(reply(1, Outcome::Done {}));
    let mut answered = tickets(&effects);
    answered.sort_unstable();
    assert_eq!(answered, [(2, true), (3, true), (4, true)]);
}

#[test]
fn a_request_made_before_the_connection_waits_for_it_and_typing_does_not() {
    let mut client = Client::new();
    let conversation = conversation(1);
    assert!(client.submit(1, ConversationGet { conversation }).is_empty());
    let typing = Typing {
        conversation,
        active: true,
    };
    assert_eq!(tickets(&client.submit(2, typing)), [(2, false)]);
    client.connect();
    assert_eq!(commands(&client.welcome(epoch(1))).len(), 1);
}

#[test]
fn what_waits_is_told_in_the_order_of_submission_over_all_conversations() {
    let mut client = Client::new();
    for (id, conversation) in [(1, 2), (2, 1), (3, 2)] {
        client.submit(id.into(), send(conversation, id));
    }
    let waiting: Vec<Command> = client.session.outbox().cloned().collect();
    assert_eq!(waiting, [send(2, 1), send(1, 2), send(2, 3)]);
}

#[test]
fn a_stopped_client_keeps_its_outbox_and_ends_its_requests() {
    let mut client = Client::new();
    let conversation = conversation(1);
    client.submit(1, ConversationGet { conversation });
    client.submit(2, send(1, 2));
    let effects = client.input(ClientInput::Stop);
    assert_eq!(tickets(&effects), [(1, false)]);
    assert_eq!(client.session.outbox_len(), 1);
}
