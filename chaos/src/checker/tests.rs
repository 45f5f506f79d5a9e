//! Bad histories made by hand, each flagged by its right name, and good ones that pass.
//!
//! The world: one group, made by ann with ben and cas; ann and ben write, cas is removed and comes back.

mod ends;
mod messages;
mod wire;

use super::*;
use crate::history::{Entry, Note, Writing};
use crate::truth::{Membership, Reading};
use chat_client::protocol::id::{Position, Tag};

const ANN: &str = "ann";
const BEN: &str = "ben";
const CAS: &str = "cas";

fn group() -> ConversationId {
    ConversationId::from_parts(1, [1; 10])
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name")
}

/// The id of the command that made the event at this seq of the good log.
fn id(seq: u64) -> CommandId {
    CommandId::from_parts(seq, [2; 10])
}

fn at(seq: u64) -> Position {
    Position {
        seq: Seq(seq),
        tag: Tag(seq * 1_000),
    }
}

fn row(seq: u64, actor: &str, change: Change) -> Row {
    Row {
        position: at(seq),
        id: id(seq),
        actor: Some(user(actor)),
        change,
    }
}

/// The message of the command of this seq.
fn message(seq: u64) -> MessageId {
    id(seq).into()
}

fn wrote(seq: u64) -> Change {
    Change::Message(message(seq))
}

/// The text of the command of this seq: each is of another length.
fn letters(seq: u64) -> usize {
    usize::try_from(seq).expect("small")
}

fn says(seq: u64) -> Says {
    Says::Text(id(seq), letters(seq))
}

fn rows() -> Vec<Row> {
    vec![
        row(1, ANN, Change::Began([ANN, BEN, CAS].map(user).to_vec())),
        row(2, ANN, wrote(2)),
        row(3, BEN, wrote(3)),
        row(4, ANN, Change::Ended(user(CAS))),
        row(5, ANN, wrote(5)),
        row(6, ANN, Change::Began(vec![user(CAS)])),
        row(7, BEN, wrote(7)),
    ]
}

fn reading(by: &str, rows: &[Row]) -> Reading {
    let member = |name, joined, read| {
        let membership = Membership {
            joined: Seq(joined),
            read: Seq(read),
        };
        ((group(), user(name)), membership)
    };
    let messages = rows.iter().filter_map(|row| {
        let Change::Message(message) = row.change else {
            return None;
        };
        let says = Says::Text(
            message.into(),
            letters((1..10).find(|seq| self::message(*seq) == message)?),
        );
        Some(((group(), message), Body { version: 1, says }))
    });
    Reading {
        messages: messages.collect(),
        by: by.to_owned(),
        logs: [(group(), rows.iter().map(|row| (row.position, row.id)).collect())].into(),
        members: [member(ANN, 1, 5), member(BEN, 1, 7), member(CAS, 6, 0)].into(),
    }
}

fn truth_of(rows: Vec<Row>) -> Truth {
    Truth {
        readings: vec![reading("node 0", &rows), reading("SQL", &rows)],
        logs: [(group(), rows)].into(),
    }
}

fn started(keeps_outbox: bool, outbox: &[u64]) -> Note {
    Note::Started {
        keeps_outbox,
        outbox: outbox.iter().map(|seq| id(*seq)).collect(),
    }
}

fn asked(seq: u64) -> Note {
    Note::Asked {
        conversation: group(),
        id: id(seq),
        sends: true,
        writes: [2, 3, 5, 7, 8, 9].contains(&seq).then(|| Writing {
            message: message(seq),
            letters: Some(letters(seq)),
        }),
    }
}

/// Asks for a change of the message of another seq.
fn asked_about(seq: u64, of: u64, letters: Option<usize>) -> Note {
    Note::Asked {
        conversation: group(),
        id: id(seq),
        sends: false,
        writes: Some(Writing {
            message: message(of),
            letters,
        }),
    }
}

fn stored(seq: u64) -> Note {
    Note::Stored {
        conversation: group(),
        id: id(seq),
        by: id(seq),
        position: at(seq),
    }
}

fn shown(seq: u64) -> Note {
    Note::Event {
        conversation: group(),
        position: at(seq),
        id: id(seq),
        message: None,
    }
}

fn entry(head: u64, joined: u64, read: u64) -> Note {
    Note::Inbox {
        conversation: group(),
        head: at(head),
        joined: Seq(joined),
        read: Seq(read),
        delivered: Seq(0),
    }
}

fn skipped(from: u64, to: u64) -> Note {
    Note::Skipped {
        conversation: group(),
        from: Seq(from),
        to: Seq(to),
    }
}

fn marked(read: u64) -> Note {
    Note::Marked {
        conversation: group(),
        joined: Seq(1),
        read: Seq(read),
    }
}

/// Everything as it should be.
struct World {
    truth: Truth,
    ann: Vec<Note>,
    ben: Vec<Note>,
    cas: Vec<Note>,
}

fn good() -> World {
    let ann = [started(false, &[]), asked(1), stored(1), entry(1, 1, 1)];
    let ann = ann
        .into_iter()
        .chain([asked(2), shown(2), stored(2), shown(3), marked(3)]);
    let ann = ann.chain([asked(4), asked(5), asked(6), stored(4), shown(4), stored(5)]);
    let ann = ann.chain([shown(5), shown(6), stored(6), shown(7)]);
    let ben = [
        started(false, &[]),
        entry(1, 1, 0),
        shown(2),
        asked(3),
        stored(3),
        shown(3),
    ];
    let ben = ben
        .into_iter()
        .chain([shown(4), shown(5), shown(6), asked(7), stored(7), shown(7)]);
    let cas = [started(false, &[]), entry(1, 1, 0), shown(2), shown(3), shown(4)];
    let cas = cas.into_iter().chain([entry(6, 6, 0), shown(7)]);
    World {
        truth: truth_of(rows()),
        ann: ann.collect(),
        ben: ben.collect(),
        cas: cas.collect(),
    }
}

fn check(world: World) -> Verdict {
    let mut checker = Checker::new(&world.truth);
    for (name, notes) in [(ANN, world.ann), (BEN, world.ben), (CAS, world.cas)] {
        let entries = notes.into_iter().map(|note| Entry { at: 0, note });
        checker.client(name, &user(name), entries);
    }
    checker.finish()
}

/// Spoils the good history and expects one kind of violation, and no other.
#[track_caller]
fn flags(fault: Fault, spoil: impl FnOnce(&mut World)) {
    let mut world = good();
    spoil(&mut world);
    let verdict = check(world);
    let kinds: Vec<Fault> = Fault::ALL
        .into_iter()
        .filter(|fault| verdict.count(*fault) > 0)
        .collect();
    assert_eq!(kinds, [fault], "{:#?}", verdict.kept);
}

#[track_caller]
fn passes(change: impl FnOnce(&mut World)) {
    let mut world = good();
    change(&mut world);
    let verdict = check(world);
    assert!(verdict.is_clean(), "{:#?}", verdict.kept);
}

/// Puts something before the first note like this.
fn before(notes: &mut Vec<Note>, place: &Note, what: impl IntoIterator<Item = Note>) {
    let index = notes.iter().position(|note| note == place).expect("it is there");
    notes.splice(index..index, what);
}

fn without(notes: &mut Vec<Note>, what: &Note) {
    let count = notes.len();
    notes.retain(|note| note != what);
    assert_eq!(notes.len(), count - 1, "it was there once");
}

/// Takes the event at this seq out of the log, as if the answer had been a lie.
fn lose(truth: &mut Truth, seq: u64) {
    let mut rows = rows();
    rows.remove(usize::try_from(seq).expect("small") - 1);
    for (row, seq) in rows.iter_mut().zip(1..) {
        row.position = at(seq);
    }
    *truth = truth_of(rows);
}

#[test]
fn a_good_history_passes() {
    passes(|_| ());
}

#[test]
fn an_ack_that_is_not_in_the_log_is_lost() {
    flags(Fault::LostAcked, |world| {
        world.ben.extend([
            asked(8),
            Note::Stored {
                conversation: group(),
                id: id(8),
                by: id(8),
                position: at(8),
            },
        ]);
    });
}

#[test]
fn an_ack_of_a_place_where_something_else_stands_is_lost() {
    flags(Fault::LostAcked, |world| {
        let ack = Note::Stored {
            conversation: group(),
            id: id(7),
            by: id(7),
            position: at(5),
        };
        before(&mut world.ben, &shown(7), [ack]);
    });
}

#[test]
fn a_log_that_lost_an_acked_message_is_found_by_its_ack() {
    let mut world = good();
    lose(&mut world.truth, 5);
    assert!(check(world).count(Fault::LostAcked) > 0);
}

#[test]
fn a_command_that_was_kept_and_never_went_out_is_lost() {
    flags(Fault::LostKept, |world| {
        world.ben.extend([asked(8), started(true, &[8]), entry(7, 1, 7)])
    });
}

#[test]
fn a_command_that_a_living_client_never_got_an_answer_to_is_unanswered() {
    flags(Fault::Unanswered, |world| world.ben.push(asked(8)));
}

#[test]
fn an_id_that_stands_twice_in_a_log_is_a_duplicate() {
    flags(Fault::Duplicated, |world| {
        let mut rows = rows();
        let mut again = row(8, BEN, Change::Message(id(7).into()));
        again.id = id(7);
        rows.push(again);
        world.truth = truth_of(rows);
        let note = Note::Event {
            conversation: group(),
            position: at(8),
            id: id(7),
            message: None,
        };
        for notes in [&mut world.ann, &mut world.ben, &mut world.cas] {
            notes.push(note.clone());
        }
    });
}

#[test]
fn an_event_that_an_application_is_shown_twice_is_a_duplicate() {
    flags(Fault::Duplicated, |world| world.cas.push(shown(7)));
}

#[test]
fn an_event_that_nobody_asked_for_is_unexpected() {
    flags(Fault::Unexpected, |world| {
        without(&mut world.ben, &asked(3));
    });
}

#[test]
fn an_event_by_somebody_else_than_who_asked_is_unexpected() {
    flags(Fault::Unexpected, |world| {
        let mut rows = rows();
        rows[4].actor = Some(user(BEN));
        world.truth = truth_of(rows);
    });
}

#[test]
fn an_event_that_is_shown_and_is_in_no_log_is_unexpected() {
    flags(Fault::Unexpected, |world| world.cas.push(shown(8)));
}

#[test]
fn a_version_that_is_shown_and_not_stored_is_unexpected() {
    flags(Fault::Unexpected, |world| {
        without(&mut world.cas, &shown(2));
        let note = Note::Event {
            conversation: group(),
            position: at(2),
            id: id(2),
            message: Some((message(2), 3, Some(id(2)))),
        };
        before(&mut world.cas, &shown(3), [note]);
    });
}

#[test]
fn what_was_refused_and_is_in_the_log_is_unexpected() {
    flags(Fault::Unexpected, |world| {
        without(&mut world.ben, &stored(7));
        let refused = Note::Refused {
            conversation: group(),
            id: id(7),
            code: "conflict".to_owned(),
        };
        world.ben.push(refused);
    });
}

#[test]
fn a_view_in_another_order_than_the_log_is_reordered() {
    flags(Fault::Reordered, |world| {
        without(&mut world.ben, &shown(5));
        before(&mut world.ben, &asked(7), [shown(5)]);
    });
}

#[test]
fn an_event_that_is_shown_at_another_place_than_the_logs_is_reordered() {
    flags(Fault::Reordered, |world| {
        let note = Note::Event {
            conversation: group(),
            position: at(3),
            id: id(2),
            message: None,
        };
        before(&mut world.ben, &shown(5), [note]);
    });
}

#[test]
fn a_log_in_another_order_than_its_sender_asked_in_is_reordered() {
    flags(Fault::Reordered, |world| {
        without(&mut world.ann, &asked(5));
        before(&mut world.ann, &asked(4), [asked(5)]);
    });
}

#[test]
fn an_event_that_was_left_out_is_a_gap() {
    flags(Fault::Gap, |world| without(&mut world.ben, &shown(5)));
}

#[test]
fn an_event_of_a_conversation_that_was_not_begun_is_a_gap() {
    flags(Fault::Gap, |world| {
        without(&mut world.cas, &entry(1, 1, 0));
        world.cas.retain(|note| ![shown(3), shown(4)].contains(note));
    });
}

#[test]
fn the_last_event_that_a_member_was_never_shown_is_never_read() {
    flags(Fault::NeverRead, |world| without(&mut world.ann, &shown(7)));
}

#[test]
fn a_member_who_was_never_told_of_the_conversation_has_never_read_it() {
    flags(Fault::NeverRead, |world| world.cas.truncate(5));
}

#[test]
fn a_message_that_was_skipped_though_it_was_a_members_to_read_is_never_read() {
    flags(Fault::NeverRead, |world| {
        without(&mut world.ben, &shown(5));
        before(&mut world.ben, &shown(6), [skipped(5, 5)]);
    });
}

#[test]
fn an_event_after_a_removal_is_delivered_after_removal() {
    flags(Fault::AfterRemoval, |world| {
        before(&mut world.cas, &entry(6, 6, 0), [shown(5)])
    });
}

#[test]
fn an_event_before_the_new_membership_is_known_is_delivered_after_removal() {
    flags(Fault::AfterRemoval, |world| {
        before(&mut world.cas, &entry(6, 6, 0), [shown(6)])
    });
}

#[test]
fn a_message_that_a_removed_user_wrote_is_after_removal() {
    flags(Fault::AfterRemoval, |world| {
        let mut rows = rows();
        rows[4].actor = Some(user(CAS));
        world.truth = truth_of(rows);
        for note in [asked(5), stored(5)] {
            without(&mut world.ann, &note);
            before(&mut world.cas, &entry(6, 6, 0), [note]);
        }
    });
}

#[test]
fn a_mark_that_is_shown_behind_an_earlier_one_went_back() {
    flags(Fault::MarkWentBack, |world| world.ann.push(entry(7, 1, 2)));
}

#[test]
fn a_mark_that_a_new_process_is_shown_behind_what_was_set_went_back() {
    flags(Fault::MarkWentBack, |world| {
        world.ann.extend([started(true, &[]), entry(7, 1, 2)])
    });
}

#[test]
fn a_mark_that_was_set_and_is_not_there_in_the_end_went_back() {
    flags(Fault::MarkWentBack, |world| world.ann.push(marked(6)));
}

#[test]
fn a_node_that_sees_another_log_disagrees() {
    flags(Fault::Disagreement, |world| {
        let log = world.truth.readings[1].logs.get_mut(&group()).expect("it is there");
        log[4].1 = id(9);
    });
}

#[test]
fn a_reader_who_sees_less_disagrees() {
    flags(Fault::Disagreement, |world| {
        let log = world.truth.readings[0].logs.get_mut(&group()).expect("it is there");
        log.pop();
    });
}

#[test]
fn a_reader_who_sees_another_membership_disagrees() {
    flags(Fault::Disagreement, |world| {
        world.truth.readings[1].members.remove(&(group(), user(CAS)));
    });
}
